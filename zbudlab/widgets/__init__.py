"""The instruments: live pictures in a notebook.  The only package that imports ipywidgets or anywidget.

State lives in the timeline and the model; a widget holds names and an index.  The live picture is the very SVG that is
saved, with its parts made into targets (view.js).
"""

from .bitmap import MemmapView
from .buddylab import BuddyLab, example
from .instrument import Instrument
from .pagexray import PageXray, pair
from .peekerbench import PeekerBench, bench_example
from .safetymatrix import SafetyMatrix
from .schemebuilder import SchemeBuilder
from .stage import Stage
from .threadwalk import ThreadWalk
from .view import View

__all__ = [
    "BuddyLab",
    "Instrument",
    "MemmapView",
    "PageXray",
    "PeekerBench",
    "SafetyMatrix",
    "SchemeBuilder",
    "Stage",
    "ThreadWalk",
    "View",
    "bench_example",
    "example",
    "pair",
]
