"""Exercises: a task, three hints, and a check that runs the answer against the model.

A check never ends in a traceback.  An untouched cell is told "not yet"; a wrong answer is told what was seen, what was
expected, and which misconception would explain it; a right one, what makes it right.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any

from .marks import as_html, as_text, inline, marked, plain
from .question import Misconception, Said, live

SECONDS = 2.0  # that an answer may run
KINDS = ("fill in", "bug hunt", "adversarial")


class Refused(Exception):
    """What was `seen`, what was `expected`, and what would explain it, if anything does.

    `because` is a misconception in one sentence and what is the case in the rest; or a single sentence that is true.
    """

    def __init__(self, seen: str, expected: str, because: str = "") -> None:
        super().__init__(seen, expected, because)
        thought, _, but = because.partition(". ")
        self.text = f"Seen: {seen}. Expected: {expected}. {marked(thought, but) if but else because}".rstrip()


class Untouched(Exception):
    """There is no answer yet."""


class TookTooLong(BaseException):
    """An answer ran for more than SECONDS.  Not an Exception, so that the answer itself does not catch it."""


@dataclass(frozen=True)
class Checked:
    """What came of a check: `word` is right, no, or not yet."""

    word: str
    text: str

    def __bool__(self) -> bool:
        return self.word == "right"

    def __repr__(self) -> str:
        return as_text(plain(f"{self.word}: {self.text}"))


@dataclass(frozen=True)
class Wrong:
    """A stored wrong answer, as source text, and words that must be in what the check says of it."""

    source: str
    says: str


@dataclass(frozen=True)
class Exercise:
    """A task.  `stub` and `solution` define `target`; `judge` is given it, and returns what makes it right, or raises.
    The solution's cell stands behind the stub's, and relies on what that imports.

    `wants` is "a function", or words for the data that are wanted.
    """

    name: str
    notebook: str
    kind: str
    title: str
    statement: str
    target: str
    stub: str
    hints: tuple[str, str, str]
    judge: Callable[[Any], str]
    solution: str
    wrong: tuple[Wrong, ...]
    wants: str = "a function"

    # ------------------------------------------------------------------ cells

    def cell(self, source: str) -> str:
        """A notebook cell: an answer, and the call that checks it."""
        return f'{source.strip()}\n\nexercise("{self.name}").check({self.target})'

    @property
    def student_cell(self) -> str:
        return self.cell(self.stub)

    @property
    def solution_cell(self) -> str:
        return self.cell(self.solution)

    # ------------------------------------------------------------------ hints and checks

    def hint(self, n: int | None = None) -> Said:
        """Hint `n` of three; without a number, the one after the last that was asked for.

        Raises ValueError if there is no such hint.
        """
        n = min(_asked.get(self.name, 0) + 1, len(self.hints)) if n is None else n
        if n not in range(1, len(self.hints) + 1):
            raise ValueError(f"there is no hint {n}; there are {len(self.hints)}")
        _asked[self.name] = n
        return Said(as_text(plain(f"Hint {n} of {len(self.hints)}. {self.hints[n - 1]}")))

    def check(self, answer: Any = None) -> Checked:
        """Run an answer against the model; nothing is raised."""
        try:
            if untouched(answer, self):
                raise Untouched
            if self.wants == "a function" and not callable(answer):
                raise Refused(f"`{shown(answer)}`", "a function")
            PATIENCE.left = SECONDS
            return Checked("right", self.judge(answer))
        except (Untouched, NotImplementedError):
            stands = f"`{self.target}` is as it was; change the cell and run it again"
            return Checked("not yet", f'{stands}. exercise("{self.name}").hint() helps.')
        except Refused as refused:
            return Checked("no", refused.text)
        except TookTooLong:
            return Checked("no", f"Seen: no answer within {SECONDS:g} seconds. Expected: one, for every case.")
        except Exception as error:
            raised = f"Seen: {type(error).__name__}: {error}".rstrip(": ").rstrip(".")
            return Checked("no", f"{raised}. Expected: {self.wants}, which the model can run.")

    # ------------------------------------------------------------------ showing

    def head_html(self) -> str:
        return f"<p><strong>Exercise, {self.kind}: {inline(self.title)}</strong></p>{as_html(self.statement)}"

    def html(self) -> str:
        """The task as it is saved: each hint is folded into the one before it."""
        folded = ""
        for n, hint in reversed(list(enumerate(self.hints, 1))):
            folded = f"<details><summary>hint {n}</summary>{as_html(hint)}{folded}</details>"
        return f"<div>{self.head_html()}{folded}</div>"

    def __str__(self) -> str:
        head = f"Exercise, {self.kind}: {self.title}\n\n{as_text(self.statement)}"
        return plain(f'{head}\n\nexercise("{self.name}").hint() gives a hint; there are {len(self.hints)}')

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, Any]:
        return live("Task", self) | {"text/html": self.html(), "text/plain": str(self)}

    def __repr__(self) -> str:
        return f"<Exercise {self.name}, {self.kind}: {self.title}>"


_asked: dict[str, int] = {}  # how many hints of each exercise were asked for


# ---------------------------------------------------------------------- is there an answer at all?


def untouched(answer: Any, task: Exercise) -> bool:
    """Whether an answer is what stood in the cell before anybody wrote in it."""
    if answer is None or answer is NotImplemented or holds_dots(answer):
        return True
    stub: dict[str, Any] = {}
    exec(task.stub, stub)
    was = stub[task.target]
    code, code_was = (getattr(f, "__code__", None) for f in (answer, was))
    if isinstance(code, CodeType) and isinstance(code_was, CodeType):
        return fingerprint(code) == fingerprint(code_was)
    return type(answer) is type(was) and bool(answer == was)


def holds_dots(answer: Any) -> bool:
    """Whether an answer is `...`, or a list that still has one in it."""
    if isinstance(answer, (list, tuple, set)):
        return any(map(holds_dots, answer))
    if isinstance(answer, dict):
        return any(map(holds_dots, answer.values()))
    return answer is Ellipsis


def fingerprint(code: CodeType) -> tuple[Any, ...]:
    """What a function does, whatever file and line it stands in."""
    constants = tuple(fingerprint(c) if isinstance(c, CodeType) else (type(c), c) for c in code.co_consts)
    return code.co_code, code.co_names, code.co_varnames, constants


# ---------------------------------------------------------------------- running it


class Patience:
    """The processor time that an answer may take, over all of its calls: `left` seconds."""

    def __init__(self) -> None:
        self.left = SECONDS

    @contextmanager
    def running(self) -> Iterator[None]:
        """Raise TookTooLong in whatever Python code is running when it is used up, unless it is the package's own."""
        end = time.process_time() + self.left

        def line(frame: FrameType, event: str, arg: Any) -> Any:
            if time.process_time() > end:
                raise TookTooLong
            return line

        def call(frame: FrameType, event: str, arg: Any) -> Any:
            return None if frame.f_globals.get("__name__", "").startswith("zbudlab") else line(frame, event, arg)

        before = sys.gettrace()
        sys.settrace(call)
        try:
            yield
        finally:
            sys.settrace(before)
            self.left = end - time.process_time()


PATIENCE = Patience()


def shown(value: Any, most: int = 120) -> str:
    """An answer in a message: not too much of it."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def ask(answer: Callable[..., Any], *arguments: Any, words: str = "") -> Any:
    """What an answer returns for some arguments; if it raises, that is what was seen."""
    try:
        with PATIENCE.running():
            returned = answer(*arguments)
    except (NotImplementedError, Refused):
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}".rstrip(": ").rstrip(".")
        raise Refused(f"{what}, for {words or call_words(answer, arguments)}", "an answer for every case") from None
    if returned is NotImplemented or holds_dots(returned):
        raise Untouched
    return returned


def call_words(answer: Any, arguments: Sequence[Any]) -> str:
    return f"`{getattr(answer, '__name__', 'it')}({', '.join(map(shown, arguments))})`"


def hold(
    answer: Callable[..., Any],
    cases: Iterable[Any],
    model: Callable[[Any], Any],
    misconceptions: Sequence[Misconception] = (),
    *,
    arguments: Callable[[Any], tuple[Any, ...]] = tuple,
    words: Callable[[Any], str] | None = None,
    show: Callable[[Any], str] = shown,
) -> int:
    """Hold a function to the model, case by case; returns the number of cases.

    Raises Refused for the first case in which it differs, with the misconception that explains the answers best.
    """
    answers = []
    first = None
    for case in cases:
        say = words(case) if words else call_words(answer, arguments(case))
        got, expected = ask(answer, *arguments(case), words=say), model(case)
        answers.append((case, got, got == expected))
        if got != expected and first is None:
            first = f"`{show(got)}` for {say}", f"`{show(expected)}`"
    if first is None:
        return len(answers)
    raise Refused(*first, explanation(answers, misconceptions))


def explanation(answers: Sequence[tuple[Any, Any, bool]], misconceptions: Sequence[Misconception]) -> str:
    """The misconception that leads to what was seen: in all cases, or in all that are wrong, or at least in the first.

    `answers` are the cases with what was seen in each, and whether that is right.  Returned as Refused takes it.
    """
    wrong = [answer for answer in answers if not answer[2]]
    for some in (answers, wrong, wrong[:1]):
        for misconception in misconceptions:
            if all(misconception.answer(case) == got for case, got, _ in some):
                return f"{misconception.name}. {misconception.but}"
    return ""
