"""zbudlab."""
