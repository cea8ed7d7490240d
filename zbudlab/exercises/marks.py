"""The little markup that questions and tasks are written in: paragraphs, and `code` between backticks."""

from __future__ import annotations

import html
import re
import textwrap

WIDTH = 100
PROPER = {"Gorman", "Jennings", "Kozlowski", "Linux", "Magenheimer", "Morton", "Wilk"}  # keep their capital


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a text that was indented and wrapped to suit its source file."""
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip())]


def inline(text: str) -> str:
    """One paragraph as HTML.

    >>> inline("is `_count` < 0?")
    'is <code>_count</code> &lt; 0?'
    """
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))


def plain(text: str) -> str:
    """The same where nothing can be set in another typeface."""
    return text.replace("`", "")


def marked(thought: str, but: str) -> str:
    """What somebody may have thought, marked as that, and what is the case: no reader takes the one for the other.

    `but` begins with a capital, as a sentence of its own; an ordinary word loses it here.

    >>> marked("Readers only read", "Some take a reference first.")
    'You may have thought: "Readers only read." But some take a reference first.'
    """
    first = but.split(" ", 1)[0].rstrip(",.:;")
    if re.fullmatch(r"[A-Z][a-z']*", first) and first not in PROPER:
        but = but[0].lower() + but[1:]
    return f'You may have thought: "{thought}."' + (f" But {but}" if but else "")


def as_html(text: str) -> str:
    return "".join(f"<p>{inline(part)}</p>" for part in paragraphs(text))


def as_text(text: str) -> str:
    """Wrapped for a terminal."""
    return "\n\n".join(textwrap.fill(part, WIDTH, break_long_words=False) for part in paragraphs(text))
