"""Fixtures and rules that all tests share."""

import importlib.util
import json
import os
import shutil
import sys
import sysconfig
import venv
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

pytest.register_assert_rewrite("tests.browser")

from tests.browser import LabServer, running_lab  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).resolve().parent.parent

# The same examples on each run: a red test is red again, and CI does not meet what nobody has seen. No database and no
# deadline for the same reason.
hypothesis.settings.register_profile("zbudlab", derandomize=True, database=None, deadline=None, max_examples=60)
hypothesis.settings.load_profile("zbudlab")


@pytest.hookimpl(tryfirst=True)  # before -m picks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What uses the `browser` fixture is marked so and comes last: it is the slowest by far, and Playwright leaves an
    asyncio loop running in this thread, over which others could trip."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def no_browser(reason: str) -> None:
    """Skip, or fail where a browser was promised."""
    if os.environ.get("ZBUDLAB_BROWSER") == "required":
        pytest.fail(f"ZBUDLAB_BROWSER=required, but {reason}", pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout in a folder with spaces and letters beyond ASCII, as the set-up leaves it: lab.py works there.

    Its environment is a new one that finds the packages of this one, since there may be no network to install from.
    """
    if os.name == "nt":
        pytest.skip("its environment is made of links to this one")
    folder = tmp_path_factory.mktemp("checkout") / "mój zbud läb"
    made_by_others = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", "results.json")
    for name in ("zbudlab", "notebooks", "docs", "benchmarks", "tools", "fieldlab"):
        shutil.copytree(ROOT / name, folder / name, ignore=made_by_others)
    for name in ("lab.py", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    spec = importlib.util.spec_from_file_location("installed_lab", folder / "lab.py")
    assert spec and spec.loader
    lab = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lab)
    venv.create(lab.ENV, symlinks=True)
    for name in ("share", "etc"):  # JupyterLab itself, its extensions and their settings
        (lab.ENV / name).symlink_to(Path(sys.prefix, name))
    site = Path(sysconfig.get_path("purelib", "venv", {"base": str(lab.ENV), "platbase": str(lab.ENV)}))
    (site / "packages.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    (site / "_editable_impl_zbudlab.pth").write_text(str(folder), encoding="utf-8")  # as pip leaves it
    lab.finish()
    lab.CONFIG.mkdir()  # tests/browser.py steers window.jupyterapp
    exposed = json.dumps({"LabApp": {"expose_app_in_browser": True}})
    (lab.CONFIG / "jupyter_lab_config.json").write_text(exposed, encoding="utf-8")
    lab.STAMP.write_text(lab.fingerprint())
    return folder


@pytest.fixture(scope="session")
def lab_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    """A real JupyterLab on a copy of the notebooks."""
    private = tmp_path_factory.mktemp("lab")
    folder = private / "notebooks"
    if (ROOT / "notebooks").is_dir():
        shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    else:
        folder.mkdir()
    with running_lab(folder, private) as server:
        yield server


@pytest.fixture(scope="session")
def browser() -> Iterator["Browser"]:
    """The system's Chromium (or the one that ZBUDLAB_CHROMIUM names), driven by Playwright."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome", "msedge")
    program = os.environ.get("ZBUDLAB_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not program:
        no_browser("no Chromium was found (ZBUDLAB_CHROMIUM can name one)")
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        no_browser(f"Playwright cannot be imported: {error}")
    quiet = "--disable-gpu --disable-quic --no-first-run --disable-background-networking --disable-component-update"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=[*quiet.split(), "--disable-sync"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: "Browser", request: pytest.FixtureRequest) -> Iterator["Page"]:
    """A fresh window. Whatever the page itself complains about is in `page.errors`, and fails the test at its end."""
    with browser.new_context(viewport={"width": 1280, "height": 1500}) as context:
        page: Any = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(f"page error: {error}"))
        page.on("console", lambda said: said.type == "error" and page.errors.append(f"console error: {said.text}"))
        yield page
    if "lab_server" in request.fixturenames:
        request.getfixturevalue("lab_server").stop_kernels()
    assert page.errors == []
