"""Demonstrate how this is safe: verdicts, the matrix, counterexamples, and how far the implicit tag carries."""

from .explore import Answer, Step, demonstrate
from .judge import Verdict, demands, judge
from .price import Placement, Price, price
from .readers import READERS, Reader
from .real import matrix
from .recogniser import implicit, score

__all__ = [
    "READERS",
    "Answer",
    "Placement",
    "Price",
    "Reader",
    "Step",
    "Verdict",
    "demands",
    "demonstrate",
    "implicit",
    "judge",
    "matrix",
    "price",
    "score",
]
