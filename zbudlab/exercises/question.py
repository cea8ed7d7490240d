"""Predictions: questions made from a seed.

The right answer comes out of the model, which is run on the scene in question.  The wrong ones come out of named
misconceptions: each is a function that computes what somebody who has it would say of the same scene.  One that says
the right thing here is left out.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from .marks import as_html, as_text, inline, marked, plain

if TYPE_CHECKING:
    from ..draw import Picture

LEAST = 3  # options, the right one among them


@dataclass(frozen=True)
class Misconception:
    """`name` says what it is, `but` what is the case; `answer` computes what it leads to (None: nothing, here)."""

    name: str
    answer: Callable[[Any], Any]
    but: str = ""

    def __str__(self) -> str:
        return marked(self.name, self.but)


@dataclass(frozen=True)
class Option:
    """One of the answers to choose from; `behind` is the misconception that leads to it, None for the right one."""

    text: str
    behind: Misconception | None

    @property
    def right(self) -> bool:
        return self.behind is None


@dataclass(frozen=True)
class Prediction:
    """A kind of question.

    `scene` makes what it is about, from a source of chance; `ask` words the question, `answer` runs the model on the
    scene, `why` gives the reason, `show` words an answer.  Each of them gets a scene of its own, made alike.  `picture`
    shows the scene, if there is something to see.  `seed` is the one in the book.
    """

    name: str
    notebook: str
    scene: Callable[[random.Random], Any]
    ask: Callable[[Any], str]
    answer: Callable[[Any], Any]
    why: Callable[[Any], str]
    wrong: tuple[Misconception, ...]
    show: Callable[[Any], str] = str
    picture: Callable[[Any], Picture] | None = None
    seed: int = 1

    def question(self, seed: int) -> Question:
        """The question that a seed makes: the first scene in which enough misconceptions lead astray."""
        for attempt in count():
            question = Question(self, seed, attempt)
            if len(question.options) >= LEAST:
                return question
        raise AssertionError("count() does not end")


class Question:
    """One question, with its options in the order in which they are shown.

    `choose(n)` takes the n-th option, counted from 1, and says what the model says; `another()` is the next question.
    """

    def __init__(self, kind: Prediction, seed: int, attempt: int = 0) -> None:
        self.kind, self.seed, self._attempt = kind, seed, attempt
        self.text = kind.ask(self._scene())
        self.options = self._options()
        self.picture = kind.picture(self._scene()) if kind.picture else None

    def _scene(self) -> Any:
        return self.kind.scene(random.Random(f"{self.kind.name} {self.seed} {self._attempt}"))

    def _options(self) -> list[Option]:
        right = self.kind.answer(self._scene())
        found: dict[str, tuple[Any, Misconception | None]] = {self.kind.show(right): (right, None)}
        for misconception in self.kind.wrong:
            answer = misconception.answer(self._scene())
            if answer is not None:
                found.setdefault(self.kind.show(answer), (answer, misconception))
        options = [(answer, Option(text, behind)) for text, (answer, behind) in found.items()]
        if all(isinstance(answer, int) for answer, _ in options):
            options.sort(key=lambda pair: int(pair[0]))
        else:
            random.Random(f"order {self.kind.name} {self.seed}").shuffle(options)
        return [option for _, option in options]

    @property
    def right(self) -> int:
        """The number of the right option, counted from 1."""
        return 1 + next(i for i, option in enumerate(self.options) if option.right)

    def another(self) -> Question:
        """The question of the next seed."""
        return self.kind.question(self.seed + 1)

    def reveal(self, n: int) -> list[str]:
        """Paragraphs: option `n` beside the model's answer, the reason, and the thought that leads to another answer.

        Raises ValueError if there is no such option.
        """
        if n not in range(1, len(self.options) + 1):
            raise ValueError(f"there is no option {n}; choose a number from 1 to {len(self.options)}")
        chosen, right = self.options[n - 1], self.options[self.right - 1]
        if chosen.behind is None:
            return [f"You say: {chosen.text}. So does the model.", self.kind.why(self._scene())]
        said = f"You say: {chosen.text}. The model says: {right.text}."
        return [said, self.kind.why(self._scene()), str(chosen.behind)]

    def choose(self, n: int) -> Said:
        """The same, to be printed."""
        return Said("\n\n".join(as_text(plain(part)) for part in self.reveal(n)))

    # ------------------------------------------------------------------ showing

    def head_html(self) -> str:
        """The question, and what there is to see."""
        text = as_html(f"Predict. {self.text}").replace("<p>Predict.", "<p><strong>Predict.</strong>", 1)
        return text + (self.picture.html() if self.picture else "")

    def html(self) -> str:
        """The question as it is saved: the answer is folded away."""
        options = "".join(f"<li>{inline(option.text)}</li>" for option in self.options)
        right = self.options[self.right - 1]
        others = "".join(
            f"<li>{inline(option.text)}<br>{inline(str(option.behind))}</li>"
            for option in self.options
            if option.behind
        )
        return (
            f"<div>{self.head_html()}<ol>{options}</ol><details><summary>what the model says</summary>"
            f"<p><strong>{inline(right.text)}</strong></p>{as_html(self.kind.why(self._scene()))}"
            f"<p>The other answers:</p><ul>{others}</ul></details></div>"
        )

    def __str__(self) -> str:
        lines = [as_text(plain(f"Predict. {self.text}"))]
        if self.picture:
            lines.append(self.picture.text)
        lines += [f"  {i} {plain(option.text)}" for i, option in enumerate(self.options, 1)]
        seed = "" if self.seed == self.kind.seed else f", {self.seed}"
        return "\n".join([*lines, f'predict("{self.kind.name}"{seed}).choose(1), or 2, ... says what the model says'])

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        """Live where there are widgets, and beside it what is saved."""
        return live("Quiz", self) | {"text/html": self.html(), "text/plain": str(self)}

    def __repr__(self) -> str:
        return f"<Question {self.kind.name}, seed {self.seed}: {len(self.options)} options>"


class Said(str):
    """Text that shows itself as it is."""

    def __repr__(self) -> str:
        return str(self)


def live(widget: str, thing: Any) -> dict[str, Any]:
    """The live view of a question or a task; nothing where ipywidgets is not installed."""
    try:
        from ..widgets import quiz
    except ModuleNotFoundError:
        return {}
    bundle = getattr(quiz, widget)(thing)._repr_mimebundle_()
    return dict(bundle[0] if isinstance(bundle, tuple) else bundle)
