"""Predictions and exercises in a real JupyterLab, without a mouse."""

from typing import TYPE_CHECKING

from tests.browser import LabServer, expect, run_all_cells, shot, show
from zbudlab import exercise, predict

if TYPE_CHECKING:
    from playwright.sync_api import Page


def test_a_prediction_by_keyboard(page: "Page", lab_server: LabServer) -> None:
    question = predict("second-offset")
    panel = show(page, lab_server, "quiz.ipynb", 'from zbudlab import predict\npredict("second-offset")')
    assert "what the model says" not in panel.inner_text()  # the live view, not the saved one
    panel.get_by_role("button", name="Answer", exact=True).focus()
    page.keyboard.press("Enter")
    said = panel.get_by_role("status")
    expect(said, "Choose first")
    panel.get_by_role("radio").first.focus()
    page.keyboard.press("Space")
    for _ in question.options:  # through the options, to the buttons
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(said, rf"You say: {question.options[0].text}\..*{question.options[question.right - 1].text}")
    assert panel.get_by_role("radio").first.is_disabled()
    for option in panel.locator(".widget-radio-box label").all():  # nothing is cut off
        assert option.evaluate("label => label.scrollWidth <= label.clientWidth")
    shot(page, "quiz")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    text = question.another().text.split(",")[0].split("zbud ")[1]
    panel.get_by_text(text).first.wait_for()
    page.wait_for_function("() => [...document.querySelectorAll('input[type=radio]')].every(r => !r.disabled)")
    assert not any(radio.is_checked() for radio in panel.get_by_role("radio").all())


def test_hints_are_asked_for(page: "Page", lab_server: LabServer) -> None:
    panel = show(page, lab_server, "task.ipynb", 'from zbudlab import exercise\nexercise("offsets")')
    for number in (1, 2, 3):
        panel.get_by_role("button", name="hint").click()
        panel.get_by_text(f"Hint {number}. ").wait_for()
        assert panel.get_by_role("status").inner_text().count("Hint ") == number
    assert panel.get_by_role("button", name="hint").is_disabled()
    shot(page, "task")


def test_the_first_lesson_from_task_to_solution(page: "Page", lab_server: LabServer) -> None:
    """The learner's notebook says not yet, the other edition says right."""
    panel = run_all_cells(page, lab_server, "01-two-zpages-in-a-page.ipynb")
    panel.get_by_text("not yet: offset").wait_for()
    panel = run_all_cells(page, lab_server, "solutions/01-two-zpages-in-a-page.ipynb")
    panel.get_by_text("right: 52 handles").wait_for()
    assert panel.get_by_text(exercise("offsets").title).count() >= 1
