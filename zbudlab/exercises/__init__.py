"""Predictions and exercises: questions that the model answers, and checks that run the answers they are given.

    predict("chunks")              a question, with the options to choose from
    predict("chunks", seed=7)      another of its kind; every seed makes one
    exercise("offsets")            a task, with hints that are asked for
    exercise("offsets").check(f)   what the model makes of an answer

question.py and task.py are the machinery; the questions stand in a module for each notebook.  Nothing is written and
nothing leaves the machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from . import book01, book02, book03, book04, book05, book06, book07, book08
from .question import Misconception, Option, Prediction, Question
from .task import Checked, Exercise, Wrong

_BOOKS = (book01, book02, book03, book04, book05, book06, book07, book08)
PREDICTIONS: Mapping[str, Prediction] = MappingProxyType({p.name: p for book in _BOOKS for p in book.PREDICTIONS})
EXERCISES: Mapping[str, Exercise] = MappingProxyType({e.name: e for book in _BOOKS for e in book.EXERCISES})


def predict(name: str, seed: int | None = None) -> Question:
    """A question of the kind `name`; without a seed the one that stands in the book.

    In a notebook it shows itself with buttons; elsewhere `print` it and call `choose`.  Raises ValueError for a name
    that is not in PREDICTIONS.

    >>> question = predict("chunks", seed=4)
    >>> question.options[0].text, str(question) == str(predict("chunks", seed=4))
    ('23', True)
    """
    if name not in PREDICTIONS:
        raise ValueError(f"there is no prediction {name!r}; known: {', '.join(PREDICTIONS)}")
    kind = PREDICTIONS[name]
    return kind.question(kind.seed if seed is None else seed)


def exercise(name: str) -> Exercise:
    """The exercise `name`.  Raises ValueError for a name that is not in EXERCISES."""
    if name not in EXERCISES:
        raise ValueError(f"there is no exercise {name!r}; known: {', '.join(EXERCISES)}")
    return EXERCISES[name]


__all__ = [
    "EXERCISES",
    "PREDICTIONS",
    "Checked",
    "Exercise",
    "Misconception",
    "Option",
    "Prediction",
    "Question",
    "Wrong",
    "exercise",
    "predict",
]
