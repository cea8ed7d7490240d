"""The instruments: live pictures in a notebook.  The only package that imports ipywidgets or anywidget.

State lives in the timeline and the model; a widget holds names and an index.  The live picture is the very SVG that is
saved, with its parts made into targets (view.js).
"""

from .buddylab import BuddyLab, example
from .instrument import Instrument
from .stage import Stage
from .view import View

__all__ = ["BuddyLab", "Instrument", "Stage", "View", "example"]
