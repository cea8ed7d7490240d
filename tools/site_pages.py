"""The browser edition's pages: each notebook as plain HTML that needs no script and no other file, and the index."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import nbconvert
import nbformat
from pygments.formatters import HtmlFormatter

HERE = Path(__file__).parent
LINK = re.compile(r"(?<=\]\()((?:solutions/)?\d\d-[\w-]+)\.ipynb(?=[)#])")  # to another notebook, in Markdown
ROW = re.compile(r"^\| \[(.+?)\]\(notebooks/([\w-]+)\.ipynb\) \| (.+?) \| (\d+) \|", re.MULTILINE)


@dataclass(frozen=True)
class Lesson:
    """A row of the course map: a notebook's name, what it is called, the one thing it is about, how long it takes."""

    name: str
    title: str
    thing: str
    minutes: int


def course(readme: str) -> list[Lesson]:
    """The course map of the README.

    >>> course("| [00 Start here](notebooks/00-start-here.ipynb) | one live `strip` | 10 |")
    [Lesson(name='00-start-here', title='00 Start here', thing='one live `strip`', minutes=10)]
    """
    return [Lesson(name, title, thing, int(minutes)) for title, name, thing, minutes in ROW.findall(readme)]


def live(name: str) -> str:
    """Where a notebook is live, from the site's root, in a workspace of its own: the others need not be opened again.

    >>> live("solutions/00-start-here")
    'live/lab/index.html?workspace=solutions-00-start-here&path=solutions%2F00-start-here.ipynb'
    """
    return f"live/lab/index.html?workspace={name.replace('/', '-')}&path={quote(name, safe='')}.ipynb"


def relinked(markdown: str) -> str:
    """Markdown whose links to notebooks lead to the pages made of them.

    >>> relinked("[The pool](02-the-pool.ipynb), [zbud](https://example.org/02-a.ipynb)")
    '[The pool](02-the-pool.html), [zbud](https://example.org/02-a.ipynb)'
    """
    return LINK.sub(r"\1.html", markdown)


def page(title: str, body: str) -> str:
    """A whole page: its style is in it, and nothing else is asked for."""
    code, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("default", "github-dark"))
    style = f"{code}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n{_text('site_pages.css')}"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{html.escape(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def heading(notebook: Any) -> str:
    """The first heading of a notebook, without its marks; its first words where there is none."""
    found = re.search(r"^# +(.+)$", "\n".join(cell.source for cell in notebook.cells), re.MULTILINE)
    return found[1].replace("`", "") if found else "A notebook"


@cache
def exporter() -> Any:
    """What makes HTML of a notebook: its cells and nothing around them."""
    return nbconvert.HTMLExporter(
        template_name="basic", exclude_input_prompt=True, exclude_output_prompt=True, exclude_anchor_links=True
    )


def reading_page(notebook: Any, name: str, names: list[str]) -> str:
    """A notebook, as it was saved, as a page; `name` is its place among the `names` of all notebooks of the site."""
    notebook = nbformat.from_dict(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = relinked(cell.source)
    body, _ = exporter().from_notebook_node(notebook)
    bar = navigation(name, names)
    return page(f"{heading(notebook)} - zbudlab", f"{bar}\n<main>\n{body}</main>\n{bar}")


def navigation(name: str, names: list[str]) -> str:
    """The line at the top and at the bottom: to the index, to the neighbours in the same edition, to the live one."""
    up = "../" * (name.count("/") + 1)
    edition = [other for other in names if other.count("/") == name.count("/")]
    here = edition.index(name)
    steps = [("prev", other) for other in edition[:here][-1:]] + [("next", other) for other in edition[here + 1 :][:1]]
    links = [f'<a href="{up}index.html">zbudlab</a>']
    for rel, other in steps:
        number = Path(other).name[:2]
        arrow = f"\N{LEFTWARDS ARROW} {number}" if rel == "prev" else f"{number} \N{RIGHTWARDS ARROW}"
        links.append(f'<a rel="{rel}" href="{up}read/{other}.html" aria-label="notebook {number}">{arrow}</a>')
    links.append(f'<a class="run" href="{up}{html.escape(live(name))}">run this notebook</a>')
    return f"<nav>{' '.join(links)}</nav>"


def index_page(root: Path, names: list[str]) -> str:
    """The page to begin with: what this is, and the course map of root's README, with links into both editions.

    Raises ValueError if that map and the notebooks' `names` differ.
    """
    lessons = course((root / "README.md").read_text(encoding="utf-8"))
    if differ := {lesson.name for lesson in lessons} ^ {name for name in names if "/" not in name}:
        raise ValueError(f"README.md's table of the course and the folder of notebooks differ: {', '.join(differ)}")
    parts = {
        "@first@": html.escape(live(lessons[0].name)),
        "@picture@": (root / "docs" / "peekerbench.svg").read_text(encoding="utf-8"),
        "@rows@": "\n".join(row(lesson, names) for lesson in lessons),
    }
    body = _text("site_index.html")
    for place, content in parts.items():
        body = body.replace(place, content)
    return page("zbudlab", body)


def row(lesson: Lesson, names: list[str]) -> str:
    """A row of the course map."""
    thing = re.sub(r"`(.+?)`", r"<code>\1</code>", html.escape(lesson.thing))
    places = {"read": f"read/{lesson.name}.html", "run": live(lesson.name)}
    if f"solutions/{lesson.name}" in names:
        places["solved"] = f"read/solutions/{lesson.name}.html"
    links = " ".join(
        f'<a href="{html.escape(place)}" aria-label="{word} {html.escape(lesson.title)}">{word}</a>'
        for word, place in places.items()
    )
    return (
        f'<tr><th scope="row">{html.escape(lesson.title)}</th><td>{thing}</td>'
        f'<td class="number">{lesson.minutes}</td><td class="links">{links}</td></tr>'
    )
