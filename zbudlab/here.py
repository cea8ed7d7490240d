"""What the Python that runs this may lack: numpy, in a browser.

>>> need_numpy()
"""

from __future__ import annotations

import sys

IN_BROWSER = sys.platform == "emscripten"  # Pyodide, the Python of the browser edition


class NotHere(ImportError):
    """What was asked for needs a package that this Python does not have.  A notebook shows the sentence alone."""

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def need_numpy() -> None:
    """To be called before numpy is imported: raises NotHere, which says in one sentence what else there is."""
    try:
        import numpy  # noqa: F401
    except ModuleNotFoundError:
        here, instead = "this Python", "python3 lab.py sets up one that does"
        if IN_BROWSER:
            here, instead = "the browser edition", "what it prints elsewhere stands on the page to read"
            _go_on()
        raise NotHere(
            f"This looks at a whole memmap at once, with numpy, which {here} does not have: {instead}, and a reader's "
            "visit(memmap, pfn) tells the story of one page here, too."
        ) from None


def _go_on() -> None:
    """Have the sentence printed where it ends a cell: JupyterLite forgets what waits behind a cell that failed."""
    from IPython.core.getipython import get_ipython

    if shell := get_ipython():
        shell.set_custom_exc((NotHere,), lambda shell, kind, missing, *trace, **how: print(missing))  # type: ignore[no-untyped-call]
