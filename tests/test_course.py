"""notebooks/README.md, the page for instructors: what it says of the notebooks is what the notebooks say."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

import zbudlab
from tools import notebooks
from zbudlab.exercises import EXERCISES, PREDICTIONS

PAGE = notebooks.FOLDER / "README.md"
TEXT = PAGE.read_text(encoding="utf-8")
MAIN = (notebooks.ROOT / "README.md").read_text(encoding="utf-8")
HUB = notebooks.FOLDER / "room" / "jupyterhub_config.py"
BOOKS = {path.name[:2]: path for path in sorted(notebooks.FOLDER.glob("[0-9]*.ipynb"))}
INSTRUMENTS = [name for name, module in zbudlab._LATER.items() if module == "widgets"]
NUMBERS = {"Forty": 40, "Forty-five": 45, "Fifty": 50, "Sixty": 60}


def section(title: str, text: str = TEXT) -> str:
    """What stands under a heading, up to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(title)}.*?\n(.*?)(?=^#{{1,2}} |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, title
    deeper = found[2].split(f"\n{found[1]} ")[0]
    return deeper


def rows(text: str, columns: int) -> list[list[str]]:
    """The tables with so many columns, without their heads."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    lines = [row for row in cells if len(row) == columns]
    return [
        row
        for before, row, after in zip([[""], *lines], lines, [*lines[1:], [""]], strict=False)
        if not row[0].startswith("---") and not after[0].startswith("---")
    ]


def by_number(some: list[list[str]]) -> dict[str, list[str]]:
    return {re.sub(r"\W", "", row[0])[:2]: row[1:] for row in some}


MAP = by_number(rows(section("The map"), 5))
QUIZ = by_number(rows(section("The map"), 4))
STEPS = {
    number: {name: int(minutes) for name, minutes in re.findall(r"\*(.+?)\* (\d+)", row[0])}
    for number, row in by_number(rows(section("Timings"), 2)).items()
}
SCHEDULES = {
    int(total): rows(section(f"{total} {rest}"), 3)
    for total, rest in re.findall(r"^### (\d+) (minutes: .+)$", TEXT, re.MULTILINE)
}


def cells(number: str) -> list[Any]:
    return list(nbformat.read(BOOKS[number], as_version=4).cells)


def prose(number: str) -> str:
    return "\n".join(cell.source for cell in cells(number) if cell.cell_type == "markdown")


def minutes_of(number: str) -> int:
    (minutes,) = re.findall(r"\*\*Minutes\.\*\* (\d+)\.", prose(number))
    return int(minutes)


def tagged(number: str, tag: str) -> list[str]:
    return [notebooks.named(cell, tag) for cell in cells(number) if tag in notebooks.tags(cell)]


def test_all_notebooks_are_there() -> None:
    assert list(MAP) == list(QUIZ) == list(STEPS) == list(BOOKS)
    spoken = section("To discuss")
    asked = {number: spoken.partition(f"**{number}.**")[2].partition("\n**")[0].count("?") for number in BOOKS}
    assert set(asked.values()) == {3}, asked
    whole = sum(map(minutes_of, BOOKS))
    assert f"{len(BOOKS)} notebooks, {whole} minutes".replace("9", "Nine", 1) in TEXT


@pytest.mark.parametrize("number", BOOKS)
class TestEachNotebook:
    def test_its_minutes(self, number: str) -> None:
        minutes = minutes_of(number)
        assert int(MAP[number][1]) == minutes
        assert sum(STEPS[number].values()) == minutes
        assert all(step % 5 == 0 for step in STEPS[number].values())
        aside = "".join(cell.source for cell in cells(number) if "instructor" in notebooks.tags(cell))
        for word in re.findall(r"^([\w-]+) minutes:", aside, re.MULTILINE):
            assert NUMBERS[word] == minutes

    def test_its_minutes_and_title_in_the_main_readme(self, number: str) -> None:
        (row,) = re.findall(rf"^\| \[?{number} (.+?)(?:\]\(.*?\))? \|.*?\| (\d+) \|", MAIN, re.MULTILINE)
        assert row == (re.findall(r"^# (.+)", prose(number), re.MULTILINE)[0], str(minutes_of(number)))

    def test_its_steps_are_headings_in_their_order(self, number: str) -> None:
        headings = re.findall(r"^##+ (.+)$", prose(number), re.MULTILINE)
        places = [headings.index(step) for step in STEPS[number]]
        assert places == sorted(places)
        assert places[0] == 0, "nothing stands before the first step but the opening"

    def test_its_instruments(self, number: str) -> None:
        code = "\n".join(cell.source for cell in cells(number) if cell.cell_type == "code")
        used = re.findall(rf"\b({'|'.join(INSTRUMENTS)})\(", code)
        assert MAP[number][3].split(", ") == list(dict.fromkeys(used))

    def test_its_predictions_and_exercises_by_name(self, number: str) -> None:
        predictions, exercises, more = (re.findall("`(.+?)`", cell) for cell in QUIZ[number])
        assert predictions == tagged(number, "predict")
        assert exercises == tagged(number, "exercise")
        bank = [name for some in (PREDICTIONS, EXERCISES) for name, one in some.items() if one.notebook == number]
        assert sorted(predictions + exercises + more) == sorted(bank)


def steps_of(number: str, words: str) -> list[int]:
    """The minutes of what a schedule takes of a notebook: all of it, or one step, or those from one to another."""
    if words == "whole":
        return list(STEPS[number].values())
    names = list(STEPS[number])
    first, *last = re.findall(r"\*(.+?)\*", words)
    return list(STEPS[number].values())[names.index(first) : names.index(last[0] if last else first) + 1]


def test_there_are_three_schedules() -> None:
    assert len(SCHEDULES) == 3 and min(SCHEDULES) == 90
    taken = [re.findall(r"^\d\d", what) for _, _, what in SCHEDULES[max(SCHEDULES)]]
    assert {number for some in taken for number in some} == set(BOOKS) - {"02"}


@pytest.mark.parametrize("total", SCHEDULES)
def test_a_schedule_adds_up(total: int) -> None:
    clock = 9 * 60
    for at, minutes, what in SCHEDULES[total]:
        assert at == f"{clock // 60}:{clock % 60:02}", what
        clock += int(minutes)
        if what not in ("break", "lunch"):
            number, words = what.split(", ", 1)
            assert sum(steps_of(number, words)) == int(minutes), what
    assert clock - 9 * 60 == total


def test_a_day_is_not_one_long_stretch() -> None:
    for some in SCHEDULES.values():
        stretches = itertools.groupby(some, key=lambda row: row[2] in ("break", "lunch"))
        assert max(sum(int(row[1]) for row in part) for pause, part in stretches if not pause) <= 110


def test_what_people_say_is_in_the_bank() -> None:
    table = [row for row in rows(section("What goes wrong where"), 4) if row[0] in BOOKS]
    assert {row[0] for row in table} == set(BOOKS) - {"00"}
    for number, name, said, _ in table:
        kind = PREDICTIONS[name.strip("`")]
        assert kind.notebook == number
        assert said in [misconception.name for misconception in kind.wrong], name


def test_its_links_lead_somewhere() -> None:
    targets = re.findall(r"\]\(([^)#]+)\)", TEXT)
    assert len(targets) > len(BOOKS)
    for target in targets:
        assert (PAGE.parent / target).exists(), target


def test_its_voice() -> None:
    assert re.findall(r"\b(?:simply|just|obviously)\b|[a-z]!", TEXT, re.IGNORECASE) == []
    levels = [
        len(mark) for mark in re.findall(r"^(#+) ", re.sub(r"```.*?```", "", TEXT, flags=re.DOTALL), re.MULTILINE)
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


# ---------------------------------------------------------------------- the room


class Fake:
    """Stands in for JupyterHub's `c`: notes what is set, as "JupyterHub.bind_url"."""

    def __init__(self, noted: dict[str, Any], name: str = "") -> None:
        self.__dict__.update(_noted=noted, _name=name)

    def __getattr__(self, name: str) -> Fake:
        return Fake(self._noted, f"{self._name}{name}.")

    def __setattr__(self, name: str, value: Any) -> None:
        self._noted[self._name + name] = value


@pytest.fixture(scope="module")
def hub() -> dict[str, Any]:
    noted: dict[str, Any] = {}
    exec(compile(HUB.read_text(encoding="utf-8"), HUB.name, "exec"), {"get_config": lambda: Fake(noted)})
    return noted


def test_a_hub_lets_in_accounts_of_the_machine_and_nobody_else(hub: dict[str, Any]) -> None:
    assert hub["JupyterHub.authenticator_class"] == "pam"
    assert hub["LocalAuthenticator.allowed_groups"] == {"zbudlab"}
    assert hub["Authenticator.allow_all"] is hub["LocalAuthenticator.create_system_users"] is False
    assert hub["Authenticator.admin_users"] == set()
    assert not [name for name in hub if re.search("token|password|dummy|service", name, re.IGNORECASE)]


def test_a_hub_listens_on_loopback_only(hub: dict[str, Any]) -> None:
    places = {name: value for name, value in hub.items() if re.search("url$|ip$", name) and "db_url" not in name}
    places.pop("Spawner.default_url")  # a page, not a place
    assert len(places) == 4
    for name, value in places.items():
        assert re.fullmatch(r"(http://)?127\.0\.0\.1(:\d+)?", value), name
    assert hub["JupyterHub.bind_url"].removeprefix("http://") in TEXT, "what the web server in front passes on to"


def test_a_hub_limits_each_learner(hub: dict[str, Any]) -> None:
    assert hub["JupyterHub.spawner_class"] == "systemd"  # one that holds them to it
    assert (hub["Spawner.mem_limit"], hub["Spawner.cpu_limit"]) == ("1G", 1.0)
    assert hub["SystemdSpawner.disable_user_sudo"] is hub["SystemdSpawner.isolate_tmp"] is True
    assert hub["Spawner.disable_user_config"] is True
    assert hub["JupyterHub.active_server_limit"] >= 30


def test_a_hub_and_the_page_name_the_same_places(hub: dict[str, Any]) -> None:
    state = Path("/var/lib/zbudlab")
    assert Path(hub["JupyterHub.cookie_secret_file"]).parent == state
    assert hub["JupyterHub.db_url"] == f"sqlite:///{state}/hub.sqlite"
    assert f"install -d -m 700 {state}\n" in TEXT
    assert hub["Spawner.cmd"] == ["/opt/zbudlab/.venv/bin/jupyterhub-singleuser"]
    assert "cd /opt/zbudlab\n" in TEXT
    assert f"/etc/skel/{hub['Spawner.notebook_dir'].removeprefix('~/')}/" in TEXT
    assert hub["Spawner.default_url"] == f"/lab/tree/{BOOKS['00'].name}"
    assert "groupadd zbudlab\n" in TEXT
    assert HUB.relative_to(notebooks.ROOT).as_posix() in TEXT
