"""Predictions and exercises: the model's answers, the misconceptions' answers, and checks that cannot be fooled."""

import builtins
import json
import random
import re
import sys
import time
from typing import Any

import pytest

from zbudlab import exercise, predict
from zbudlab.exercises import EXERCISES, PREDICTIONS, Checked, Exercise, Misconception, Prediction, Question
from zbudlab.exercises.marks import as_html, as_text, inline, marked, paragraphs
from zbudlab.exercises.task import KINDS, Patience, Refused, TookTooLong, holds_dots
from zbudlab.widgets.quiz import Quiz, Task
from zbudlab.zbud import ZbudPool

SEEDS = range(1, 25)
MANY = range(200)
SUMS = Prediction(
    "sums",
    "99",
    scene=lambda chance: (chance.randint(2, 9), chance.randint(2, 9)),
    ask=lambda s: f"What is `{s[0]} + {s[1]}`?",
    answer=lambda s: s[0] + s[1],
    why=lambda s: "Count.",
    wrong=(
        Misconception("Times", lambda s: s[0] * s[1], "It is plus."),
        Misconception("Right by chance", lambda s: s[0] + s[1]),
        Misconception("Nothing to say", lambda s: None),
        Misconception("Times again", lambda s: s[0] * s[1]),
        Misconception("One more", lambda s: s[0] + s[1] + 1),
    ),
)


def unmarked(text: str) -> str:
    """What a reader sees of an HTML text, spaces evened out."""
    text = re.sub(r"<[^>]*>", " ", text)
    for mark, char in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"), ("&quot;", '"'), ("&#x27;", "'")):
        text = text.replace(mark, char)
    return " ".join(text.split())


# ---------------------------------------------------------------------- predictions: the machinery


def test_a_question_is_its_seeds_alone() -> None:
    for seed in SEEDS:
        one, other = SUMS.question(seed), SUMS.question(seed)
        assert str(one) == str(other) and one.html() == other.html()
    assert len({str(SUMS.question(seed)) for seed in SEEDS}) > 10
    assert str(SUMS.question(3).another()) == str(SUMS.question(4))


def test_misconceptions_that_lead_nowhere_or_to_the_right_answer_are_left_out() -> None:
    for seed in SEEDS:
        question = SUMS.question(seed)
        names = [option.behind.name for option in question.options if option.behind]
        assert set(names) == {"Times", "One more"}  # not the one that is right, nor the one that repeats another
        assert sum(option.right for option in question.options) == 1


def test_a_scene_with_too_few_ways_to_be_wrong_is_passed_over() -> None:
    assert all(len(SUMS.question(seed).options) >= 3 for seed in MANY)
    twos = Prediction(
        "twos",
        "99",
        scene=lambda chance: chance.choice((2, 3)),
        ask=str,
        answer=lambda n: n + n,
        why=str,
        wrong=(Misconception("times", lambda n: n * n), Misconception("more", lambda n: n + n + 1)),
    )
    assert {twos.question(seed).text for seed in SEEDS} == {"3"}  # 2 + 2 is 2 * 2


def test_each_function_gets_a_scene_of_its_own() -> None:
    spoilt = Prediction(
        "spoilt",
        "99",
        scene=lambda chance: [1],
        ask=lambda s: str(s.append(2) or s),
        answer=lambda s: len(s) + len(s.append(3) or ""),
        why=lambda s: str(s),
        wrong=tuple(
            Misconception(str(i), lambda s, i=i: len(s) + 5 + i + 0 * len(s.append(4) or "")) for i in range(2)
        ),
    )
    question = spoilt.question(1)
    assert [option.text for option in question.options] == ["1", "6", "7"] and question.reveal(1)[1] == "[1]"


def test_numbers_are_in_order_and_words_are_not_by_rightness() -> None:
    assert [int(option.text) for option in SUMS.question(5).options] == sorted(
        int(option.text) for option in SUMS.question(5).options
    )
    places = {PREDICTIONS["third-tenant"].question(seed).right for seed in MANY}
    assert len(places) > 2


def test_choosing_shows_both_answers_the_reason_and_the_misconception() -> None:
    question = SUMS.question(1)
    right = question.options[question.right - 1].text
    assert question.reveal(question.right) == [f"You say: {right}. So does the model.", "Count."]
    for number, option in enumerate(question.options, 1):
        if option.behind:
            said = question.reveal(number)
            assert said[0] == f"You say: {option.text}. The model says: {right}."
            assert said[1] == "Count." and said[2] == str(option.behind)
            assert repr(question.choose(number)).count("\n\n") == 2
    for number in (0, 9):
        with pytest.raises(ValueError, match=f"there is no option {number}; choose a number from 1 to 3"):
            question.choose(number)


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match=r"there is no prediction 'x'; known: chunks, "):
        predict("x")
    with pytest.raises(ValueError, match=r"there is no exercise 'x'; known: offsets, "):
        exercise("x")


def test_a_thought_is_marked_as_one() -> None:
    assert marked("Times", "It is plus.") == 'You may have thought: "Times." But it is plus.'
    assert marked("Once", "A page, twice.").endswith("But a page, twice.")
    for word in ("Linux", "MMAP", "`_count`", "3.10", "PG_slab"):  # not ordinary words
        assert marked("So", f"{word} says no.").endswith(f"But {word} says no.")
    assert marked("So", "") == 'You may have thought: "So."'
    assert Refused("1", "2", "So it is. Not here. Nor there.").text == (
        'Seen: 1. Expected: 2. You may have thought: "So it is." But not here. Nor there.'
    )
    assert Refused("1", "2", "There are many.").text == "Seen: 1. Expected: 2. There are many."
    assert Refused("1", "2").text == "Seen: 1. Expected: 2."


def test_a_reader_goes_by_either_of_its_names() -> None:
    check = EXERCISES["counterexample"].check
    for name in ("migrate_scanner", "isolate_migratepages", "hwpoison-inject", "inject"):
        assert "the reader" not in check((name, {"mapping": 9})).text, name
    assert check(("memory_failure", {"_mapcount": -128})), "one that writes what it would not"
    assert not check(([], {"mapping": 9}))


def test_markup() -> None:
    assert paragraphs("  a\n  b\n\n  c ") == ["a b", "c"]
    assert as_html("a <b\n\n`c`") == "<p>a &lt;b</p><p><code>c</code></p>"
    assert inline("no marks") == "no marks"
    assert max(map(len, as_text("word " * 100).splitlines())) <= 100


# ---------------------------------------------------------------------- predictions: the bank


@pytest.mark.parametrize("kind", PREDICTIONS.values(), ids=list(PREDICTIONS))
class TestEveryPrediction:
    def test_of_the_book(self, kind: Prediction) -> None:
        question = predict(kind.name)
        assert question.seed == kind.seed
        assert 3 <= len(question.options) <= 6
        assert "!!" not in question.html() and len(question.html()) < 40_000

    def test_every_seed_makes_one_with_a_single_right_answer(self, kind: Prediction) -> None:
        questions = [kind.question(seed) for seed in SEEDS]
        for question in questions:
            texts = [option.text for option in question.options]
            assert len(set(texts)) == len(texts) >= 3
            assert sum(option.right for option in question.options) == 1
            assert question.options[question.right - 1].text == kind.show(kind.answer(question._scene()))
        assert len({str(question) for question in questions}) > 3

    def test_the_same_again(self, kind: Prediction) -> None:
        assert predict(kind.name, seed=7).html() == predict(kind.name, seed=7).html()

    def test_what_is_said_when_it_is_answered(self, kind: Prediction) -> None:
        question = predict(kind.name)
        for number, option in enumerate(question.options, 1):
            said = question.reveal(number)
            assert len(said) == (2 if option.right else 3)
            assert option.text in said[0] and len(said[1]) > 10
            assert all(part.rstrip().endswith((".", ")", ">")) for part in said[1:]), said

    def test_nothing_is_given_away_above_the_fold(self, kind: Prediction) -> None:
        """The saved page asks, and keeps reason, rightness and misconceptions behind a fold; the text twin has none."""
        question = predict(kind.name)
        before, fold = question.html().split("<details><summary>what the model says", 1)
        why = unmarked(as_html(kind.why(question._scene())))
        assert why in unmarked(fold) and why not in unmarked(before) and why not in " ".join(str(question).split())
        for option in question.options:
            assert unmarked(inline(option.text)) in unmarked(before)
            if option.behind:
                assert unmarked(inline(str(option.behind))) in unmarked(fold)
                assert unmarked(inline(option.behind.name)) + "." not in unmarked(before)
        options = before[before.index("<ol>") :]
        assert len(set(re.findall(r"<li[^>]*>", options))) == 1  # all marked alike

    def test_the_voice(self, kind: Prediction) -> None:
        question = predict(kind.name)
        said = " ".join([question.text, kind.why(question._scene()), *map(str, kind.wrong)])
        assert not re.search(r"\b(?:simply|just|obviously)\b|[a-z]!(?!\w)", said)


def test_three_or_four_predictions_for_every_notebook() -> None:
    for number in range(1, 9):
        assert sum(kind.notebook == f"{number:02}" for kind in PREDICTIONS.values()) >= 4
        assert 1 <= sum(task.notebook == f"{number:02}" for task in EXERCISES.values()) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", PREDICTIONS.values(), ids=list(PREDICTIONS))
def test_every_misconception_leads_somebody_astray(kind: Prediction) -> None:
    """Over many seeds each is behind some option, and the right answer is not always the same."""
    questions = [kind.question(seed) for seed in MANY]
    met = {option.behind.name for question in questions for option in question.options if option.behind}
    assert met >= {misconception.name for misconception in kind.wrong[:2]}
    assert len(met) >= 2
    assert len({question.options[question.right - 1].text for question in questions}) > 1


def test_an_answer_is_what_the_model_does() -> None:
    """Two kinds, held to the pool by another way than theirs."""
    for seed in SEEDS:
        question = PREDICTIONS["best-fit"].question(seed)
        scene = question._scene()
        pool: ZbudPool = scene.pool
        fresh = max(pool.mine) + 1
        pfn = pool.alloc(64 * scene.chunks).pfn
        assert question.options[question.right - 1].text == ("a new page" if pfn == fresh else f"p{pfn}")
        question = PREDICTIONS["second-offset"].question(seed)
        scene = question._scene()
        chunks = -(-scene.size // 64)
        assert int(question.options[question.right - 1].text) == 4096 - 64 * chunks


# ---------------------------------------------------------------------- exercises


def run(task: Exercise, source: str) -> Checked:
    """An answer checked as in a notebook: after the cell that it replaces, its code is run, its target handed over."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(task.stub, "<cell>", "exec"), names)
    exec(compile(source, "<cell>", "exec"), names)
    return task.check(names[task.target])


def as_cells(*sources: str) -> Any:
    """Whole cells, run one after the other, with the value of the last line."""
    names: dict[str, Any] = {"__name__": "__main__", "exercise": exercise}
    value = None
    for source in sources:
        *lines, last = source.splitlines()
        exec(compile("\n".join(lines), "<cell>", "exec"), names)
        value = eval(last, names)
    return value


def broken(*arguments: Any) -> Any:
    raise RuntimeError("no such luck")


def endless(*arguments: Any) -> Any:
    while True:
        pass


@pytest.mark.parametrize("task", EXERCISES.values(), ids=list(EXERCISES))
class TestEveryExercise:
    def test_the_reference_is_right(self, task: Exercise) -> None:
        checked = run(task, task.solution)
        assert checked and checked.word == "right", checked
        assert len(checked.text) > 20 and repr(checked).startswith("right: ")
        assert as_cells(task.student_cell, task.solution_cell) == checked

    def test_an_untouched_cell_is_not_yet_answered(self, task: Exercise) -> None:
        checked = as_cells(task.student_cell)
        assert not checked and checked.word == "not yet", checked
        assert task.target in checked.text and "hint" in checked.text

    def test_stored_wrong_answers_are_refused_with_their_message(self, task: Exercise) -> None:
        assert len({wrong.source for wrong in task.wrong}) == len(task.wrong) >= 3
        assert len({wrong.says for wrong in task.wrong}) >= 3
        for wrong in task.wrong:
            checked = run(task, wrong.source)
            assert checked.word == "no", wrong.source
            assert wrong.says in checked.text, (wrong, checked)
            assert re.match(r"Seen: .*\. Expected: .*\.", checked.text, re.DOTALL), checked.text

    def test_at_least_two_are_explained_by_a_misconception(self, task: Exercise) -> None:
        said = [run(task, wrong.source).text for wrong in task.wrong]
        thoughts = {thought for text in said for thought in re.findall(r"You may have thought: .*? But .*", text)}
        assert len(thoughts) >= 2, said

    @pytest.mark.parametrize("answer", [None, ..., NotImplemented, [1, ...], {"a": ...}, (...,)])
    def test_no_answer_at_all(self, task: Exercise, answer: Any) -> None:
        assert task.check(answer).word == "not yet"
        assert task.check().word == "not yet"

    @pytest.mark.parametrize("answer", [5, "", "yes", b"x", [], {}, object(), 2.5, int, True, [None], (1, 2, 3)])
    def test_nonsense(self, task: Exercise, answer: Any) -> None:
        checked = task.check(answer)
        assert checked.word == "no" and checked.text.startswith("Seen: "), checked
        assert len(checked.text) < 900

    def test_an_answer_that_raises(self, task: Exercise) -> None:
        assert "RuntimeError: no such luck" in task.check(broken).text or task.wants != "a function"
        assert task.check(broken).word == "no"

    def test_a_function_that_takes_nothing(self, task: Exercise) -> None:
        assert task.check(lambda: 5).word == "no"

    def test_three_hints_and_no_fourth(self, task: Exercise) -> None:
        assert len(set(task.hints)) == 3
        for number in (1, 2, 3):
            assert repr(task.hint(number)).startswith(f"Hint {number} of 3. ")
        assert repr(task.hint()).startswith("Hint 3 of 3. ")
        with pytest.raises(ValueError, match="there is no hint 4; there are 3"):
            task.hint(4)

    def test_how_it_is_shown(self, task: Exercise) -> None:
        assert task.kind in KINDS
        html, text = task.html(), str(task)
        assert html.count("<details>") == html.count("</details>") == 3
        shown = unmarked(html.split("<details>")[0])
        for hint in task.hints:
            assert unmarked(inline(hint)) in unmarked(html) and unmarked(inline(hint)) not in shown
            assert hint.replace("`", "") not in " ".join(text.split())
        assert task.title in text and task.name in text
        assert task.solution.strip() not in html + text

    def test_its_cells(self, task: Exercise) -> None:
        for cell in (task.student_cell, task.solution_cell):
            assert len(cell.splitlines()) <= 12
            assert max(map(len, cell.splitlines())) <= 100
            assert cell.splitlines()[-1] == f'exercise("{task.name}").check({task.target})'

    def test_the_voice(self, task: Exercise) -> None:
        said = " ".join([task.statement, task.title, *task.hints, run(task, task.solution).text])
        assert not re.search(r"\b(?:simply|just|obviously|well done|great)\b|[a-z]!(?!\w)", said, re.IGNORECASE)


def test_hints_are_given_one_after_the_other() -> None:
    task = EXERCISES["offsets"]
    task.hint(1)
    assert [repr(task.hint())[:6] for _ in range(3)] == ["Hint 2", "Hint 3", "Hint 3"]


@pytest.mark.slow
def test_an_answer_that_does_not_end() -> None:
    begun = time.process_time()
    checked = exercise("offsets").check(endless)
    assert checked.word == "no" and "within 2 seconds" in checked.text
    assert time.process_time() - begun < 4


def test_the_limit_gives_back_the_trace_function() -> None:
    before = sys.gettrace()
    with pytest.raises(KeyError), Patience().running():
        raise KeyError
    assert sys.gettrace() is before


def test_the_limit_is_for_all_calls_together() -> None:
    patience = Patience()
    patience.left = 0.2

    def calls() -> None:
        for _ in range(1000):
            with patience.running():
                sum(i for i in range(10_000))

    with pytest.raises(TookTooLong):
        calls()
    assert patience.left < 0


def test_dots_are_found_wherever_they_are() -> None:
    assert holds_dots([1, (2, {"a": ...})]) and not holds_dots([1, (2, {"a": 3})])


def test_a_changed_stub_is_an_answer() -> None:
    task = EXERCISES["list-after"]
    same = (
        "def list_after(first, last, slot):\n    # with a remark\n    if slot == 'FIRST':\n        return 63 - first\n"
    )
    assert run(task, same + "    return 63 - last").word == "not yet"  # only spelt otherwise
    assert run(task, same + "    return 62 - last").word == "no"


@pytest.mark.slow
def test_nothing_is_printed_read_or_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(EXERCISES["suspects"], EXERCISES["suspects"].solution)  # the recording is loaded once
    monkeypatch.setattr(builtins, "open", broken)
    for task in EXERCISES.values():
        assert run(task, task.solution)
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_a_check_says_the_same_each_time() -> None:
    random.seed(1)
    one = [run(task, task.wrong[0].source) for task in EXERCISES.values()]
    random.seed(2)
    assert [run(task, task.wrong[0].source) for task in EXERCISES.values()] == one


# ---------------------------------------------------------------------- live


def test_a_quiz_reveals_nothing_before_something_was_chosen() -> None:
    quiz = Quiz(predict("chunks"))
    assert quiz.options.value is None and quiz.said.value == ""
    quiz.answer.click()
    assert "Choose first" in quiz.said.value and "model" not in quiz.said.value
    assert not quiz.options.disabled


def test_a_quiz_shows_yours_beside_the_models() -> None:
    question = predict("chunks")
    for number, option in enumerate(question.options, 1):
        quiz = Quiz(question)
        assert [text for text, _ in quiz.options.options] == [option.text for option in question.options]
        quiz.options.value = number
        quiz.answer.click()
        said = unmarked(quiz.said.value)
        assert f"You say: {option.text}." in said and 'role="status"' in quiz.said.value
        assert (option.behind is None) == ("So does the model" in said)
        assert quiz.options.disabled and quiz.answer.disabled


def test_another_one_is_another_question_to_be_answered() -> None:
    quiz = Quiz(predict("chunks"))
    quiz.options.value = 1
    quiz.answer.click()
    quiz.other.click()
    assert quiz.question.seed == predict("chunks").seed + 1
    assert quiz.options.value is None and quiz.said.value == "" and not quiz.answer.disabled
    assert quiz.head.value == predict("chunks").another().head_html()


def test_hints_by_button() -> None:
    task = Task(exercise("offsets"))
    assert task.hints.value == ""
    for number in (1, 2, 3):
        assert not task.more.disabled
        task.more.click()
        assert task.hints.value.count("<p>Hint ") == number
    assert task.more.disabled


@pytest.mark.parametrize("thing", [predict("best-fit"), exercise("offsets")], ids=["prediction", "exercise"])
def test_live_and_saved_side_by_side(thing: Question | Exercise) -> None:
    bundle = thing._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"] == thing.html() and bundle["text/plain"] == str(thing)
    json.dumps(bundle)
    assert repr(thing).startswith("<")


def test_without_widgets_there_is_the_saved_form(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith(("zbudlab.widgets", "ipywidgets"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    assert set(predict("chunks")._repr_mimebundle_()) == {"text/html", "text/plain"}


def test_the_controls_say_what_they_do() -> None:
    quiz, task = Quiz(predict("chunks")), Task(exercise("offsets"))
    assert [button.description for button in (quiz.answer, quiz.other, task.more)] == [
        "Answer",
        "Another one",
        "A hint",
    ]
    assert all(len(button.tooltip) > 10 for button in (quiz.answer, quiz.other, task.more))
    assert "Quiz" in repr(quiz) and "Task" in repr(task)
