"""What the browser tests share: a JupyterLab of their own, and a learner's moves in it.

def test_slider(page, lab_server):
    panel = run_all_cells(page, lab_server, "02-memmap.ipynb")
    panel.get_by_role("slider").first.focus()
    page.keyboard.press("ArrowRight")
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},  # no pop-up over the page
    "notebook-extension/tracker": {"windowingMode": "none"},  # every cell stays in the page, seen or not
}
SECONDS = 60  # no single move takes that long on a slow machine with one core busy


@dataclass(frozen=True)
class LabServer:
    """A running JupyterLab; `folder` is its root: put further notebooks there."""

    url: str
    token: str
    folder: Path
    opens: str = "lab/tree"  # where notebooks are opened; Notebook 7 has "notebooks"

    def address(self, notebook: str) -> str:
        """Where `notebook` opens, logged in, with no tab left over from the test before."""
        return f"{self.url}/{self.opens}/{quote(notebook)}?reset&token={self.token}"

    def ask(self, method: str, path: str) -> Any:
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.url + path, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:
            return json.loads(answer.read() or "null")

    def stop_kernels(self) -> None:
        for session in self.ask("GET", "/api/sessions"):
            self.ask("DELETE", f"/api/sessions/{session['id']}")


def write_settings(folder: Path) -> None:
    """SETTINGS, where JUPYTERLAB_SETTINGS_DIR says."""
    for plugin, settings in SETTINGS.items():
        file = folder / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings))


@contextmanager
def running_lab(folder: Path, private: Path, *, notebook: bool = False) -> Iterator[LabServer]:
    """A JupyterLab (or a Notebook 7) on `folder`; all that it keeps (settings, tabs, history) goes to `private`."""
    write_settings(private / "settings")
    homes = {
        "JUPYTER_CONFIG_DIR": "config",
        "JUPYTER_RUNTIME_DIR": "runtime",
        "JUPYTERLAB_SETTINGS_DIR": "settings",
        "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
        "IPYTHONDIR": "ipython",
    }
    environment = os.environ | {name: str(private / home) for name, home in homes.items()}
    environment.pop("JUPYTER_TOKEN", None)
    flags = {
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": 0,
        "ServerApp.open_browser": False,
        "ServerApp.root_dir": folder,
        "ServerApp.allow_root": True,
        "LabApp.expose_app_in_browser": True,  # the moves below steer window.jupyterapp
        "JupyterNotebookApp.expose_app_in_browser": True,
        "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
        "LabApp.extension_manager": "readonly",
    }
    program = "notebook" if notebook else "jupyterlab"
    command = [sys.executable, "-m", program, *(f"--{name}={value}" for name, value in flags.items())]
    log = private / "lab.log"
    with log.open("wb") as out, subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process:
        try:
            server = _once_it_answers(process, private / "runtime", folder, log)
            yield replace(server, opens="notebooks") if notebook else server
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()


def _once_it_answers(process: "subprocess.Popen[bytes]", runtime: Path, folder: Path, log: Path) -> LabServer:
    end = time.monotonic() + SECONDS
    while time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
        for file in runtime.glob("jpserver-*.json"):
            try:
                told = json.loads(file.read_text())
                server = LabServer(told["url"].rstrip("/"), told["token"], folder)
                server.ask("GET", "/api/status")
            except (ValueError, urllib.error.URLError):  # half written; not listening yet
                continue
            return server
    raise RuntimeError(f"JupyterLab did not start; its log:\n{log.read_text(errors='replace')}")


# A learner's moves. Whether a cell is done is asked of JupyterLab itself, not read off the page.

_NOTEBOOK = "window.jupyterapp?.shell.currentWidget"
_KERNEL_IDLE = f"() => {_NOTEBOOK}?.sessionContext?.session?.kernel?.status === 'idle'"
_RUN = """() => { window.ran = false;
    jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.ran = true; }); }"""
_ERRORS = f"""() => [...{_NOTEBOOK}.content.model.cells].flatMap(cell => cell.outputs?.toJSON() ?? [])
    .filter(output => output.output_type === 'error').map(output => `${{output.ename}}: ${{output.evalue}}`)"""


def open_notebook(page: "Page", lab: LabServer, notebook: str) -> "Locator":
    """Open `notebook` (a path below the server's root) and wait for its kernel; the panel that holds its cells."""
    page.goto(lab.address(notebook))
    panel = page.locator(".jp-NotebookPanel:visible")
    panel.locator(".jp-Cell").first.wait_for(timeout=SECONDS * 1000)
    page.wait_for_function(_KERNEL_IDLE, timeout=SECONDS * 1000)
    return panel


def run_all_cells(page: "Page", lab: LabServer, notebook: str, errors: list[str] | None = None) -> "Locator":
    """Open `notebook`, forget its saved outputs, run all its cells; the errors they end with are `errors` (none)."""
    panel = open_notebook(page, lab, notebook)
    run_again(page, errors)
    return panel


def run_again(page: "Page", errors: list[str] | None = None) -> None:
    """Forget the outputs of the notebook that is open, and run all its cells."""
    page.wait_for_function(_KERNEL_IDLE, timeout=SECONDS * 1000)
    page.evaluate("() => window.jupyterapp.commands.execute('notebook:clear-all-cell-outputs')")
    page.evaluate(_RUN)
    page.wait_for_function("() => window.ran", timeout=SECONDS * 1000)
    page.wait_for_function(_KERNEL_IDLE, timeout=SECONDS * 1000)
    assert page.evaluate(_ERRORS) == (errors or [])


def show(page: "Page", lab: LabServer, name: str, *sources: str) -> "Locator":
    """A notebook of these code cells, opened and run; the panel that holds it."""
    import nbformat.v4

    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), lab.folder / name)
    return run_all_cells(page, lab, name)


def shot(page: "Page", name: str) -> None:
    """Keep a picture, if ZBUDLAB_SHOTS names a folder for it."""
    folder = os.environ.get("ZBUDLAB_SHOTS")
    if folder:
        page.screenshot(path=Path(folder, f"{name}.png"))


def expect(locator: "Locator", pattern: str) -> None:
    """Wait until the words match."""
    from playwright.sync_api import expect as playwright_expect

    playwright_expect(locator).to_have_text(re.compile(pattern), timeout=15_000)


def turn(page: "Page", theme: str) -> None:
    """JupyterLab's theme, Light or Dark; it stays until the next turn, in other tests too."""
    page.evaluate(f"() => jupyterapp.commands.execute('apputils:change-theme', {{theme: 'JupyterLab {theme}'}})")
    page.wait_for_selector(f"body[data-jp-theme-light={str(theme == 'Light').lower()}]", state="attached")
    page.wait_for_selector("#jupyterlab-splash", state="detached")


def dark(page: "Page") -> None:
    """JupyterLab's dark theme, and our pictures with it."""
    turn(page, "Dark")
    ink = "getComputedStyle(document.querySelector('.zl-view svg')).getPropertyValue('--zl-Z')"
    page.wait_for_function(f"() => ({ink}).trim() === '#ff7a4d'")
