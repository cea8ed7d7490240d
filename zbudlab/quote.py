"""The package's own source, quoted in a lesson: what is shown is what runs."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any


class Quote(str):
    """Source text that shows itself as code."""

    def _repr_markdown_(self) -> str:
        return f"```python\n{self}\n```"

    def __repr__(self) -> str:
        return str(self)


def quote(*things: Any) -> Quote:
    """The source of functions and classes, dedented, without their docstrings' examples being run.

    >>> print(quote(Quote.__repr__))
    def __repr__(self) -> str:
        return str(self)
    """
    return Quote("\n\n".join(textwrap.dedent(inspect.getsource(thing)).rstrip() for thing in things))
