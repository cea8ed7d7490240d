"""Demonstrate how this is safe: verdicts, the matrix, counterexamples, and how far the implicit tag carries."""

from .explore import Answer, Step, demonstrate
from .judge import Verdict, demands, judge, matrix
from .readers import READERS, Reader
from .recogniser import implicit, score

__all__ = [
    "READERS",
    "Answer",
    "Reader",
    "Step",
    "Verdict",
    "demands",
    "demonstrate",
    "implicit",
    "judge",
    "matrix",
    "score",
]
