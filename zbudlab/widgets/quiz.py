"""Live views of a prediction and of an exercise: radio buttons and buttons, all of them native controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import ipywidgets

from ..exercises.marks import inline, plain
from .instrument import button

if TYPE_CHECKING:
    from ..exercises import Exercise, Question


def _status(paragraphs: list[str]) -> str:
    """Something that was said, for eyes and for a screen reader."""
    return f'<div role="status">{"".join(f"<p>{inline(part)}</p>" for part in paragraphs)}</div>'


class Quiz(ipywidgets.VBox):  # type: ignore[misc]
    """A question: choose, then "Answer" shows the choice beside the model's answer; "Another one" is a new seed."""

    def __init__(self, question: Question) -> None:
        self.head, self.said = ipywidgets.HTML(), ipywidgets.HTML()
        self.answer = button("Answer", "show your choice beside the model's answer", self.reveal)
        self.other = button("Another one", "the same kind of question, from a new seed", self.another)
        super().__init__()
        self.show(question)

    def show(self, question: Question) -> None:
        self.question = question
        self.head.value, self.said.value = question.head_html(), ""
        texts = [(plain(option.text), number) for number, option in enumerate(question.options, 1)]
        # A new one each time: once one of its options was chosen, the page does not show that none is.
        self.options = ipywidgets.RadioButtons(options=texts, value=None, layout=ipywidgets.Layout(width="auto"))
        self.answer.disabled = False
        self.children = [self.head, self.options, ipywidgets.HBox([self.answer, self.other]), self.said]

    def reveal(self) -> None:
        """What the model says, once there is something to hold it against."""
        if self.options.value is None:
            self.said.value = _status(["Choose first: Tab moves, the space bar chooses."])
            return
        self.options.disabled = self.answer.disabled = True
        self.said.value = _status(self.question.reveal(self.options.value))

    def another(self) -> None:
        self.show(self.question.another())

    def __repr__(self) -> str:
        return f"<Quiz: {self.question!r}>"


class Task(ipywidgets.VBox):  # type: ignore[misc]
    """An exercise, with a button that gives one hint more each time."""

    def __init__(self, task: Exercise) -> None:
        self.task, self.given = task, 0
        self.hints = ipywidgets.HTML()
        self.more = button("A hint", "one at a time, three in all", self.hint)
        super().__init__([ipywidgets.HTML(task.head_html()), ipywidgets.HBox([self.more]), self.hints])

    def hint(self) -> None:
        self.given = min(self.given + 1, len(self.task.hints))
        self.hints.value = _status([f"Hint {n}. {text}" for n, text in enumerate(self.task.hints[: self.given], 1)])
        self.more.description = "Another hint"
        self.more.disabled = self.given == len(self.task.hints)

    def __repr__(self) -> str:
        return f"<Task: {self.task!r}>"
