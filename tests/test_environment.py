"""pyproject.toml, environment.yml and CITATION.cff say the same, and what is installed here is what they say."""

import datetime
import importlib.metadata
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
TESTED_WITH = [Requirement(line) for line in PROJECT["optional-dependencies"]["test"]]
CONDA: dict[str, Any] = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))


def conda_requirements() -> dict[str, SpecifierSet]:
    return {r.name: r.specifier for r in map(Requirement, (d for d in CONDA["dependencies"] if isinstance(d, str)))}


def test_conda_environment_asks_for_the_same_packages_with_the_same_bounds() -> None:
    needed = {requirement.name: requirement.specifier for requirement in NEEDED}
    python = {"python": SpecifierSet(PROJECT["requires-python"]), "pip": SpecifierSet()}
    assert conda_requirements() == needed | python


def test_conda_environment_takes_the_rest_from_this_checkout() -> None:
    assert set(CONDA) == {"name", "channels", "dependencies"}
    assert CONDA["name"] == PROJECT["name"]
    assert CONDA["channels"] == ["conda-forge"]
    assert [d["pip"] for d in CONDA["dependencies"] if isinstance(d, dict)] == [["-e .[test]"]]


@pytest.mark.parametrize("requirement", NEEDED + TESTED_WITH, ids=str)
def test_bounds_are_lower_ones_and_met_here(requirement: Requirement) -> None:
    assert [bound.operator for bound in requirement.specifier] == [">="]
    assert requirement.specifier.contains(importlib.metadata.version(requirement.name), prereleases=True)


def test_the_installed_zbudlab_is_this_checkout() -> None:
    import zbudlab

    assert Path(zbudlab.__file__).resolve().parent == ROOT / "zbudlab"
    assert importlib.metadata.version("zbudlab") == PROJECT["version"]


def test_the_citation_is_of_this_version() -> None:
    """What the format demands and what a reader looks for; the names of the keys are those of its version 1.2.0."""
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["cff-version"] == "1.2.0"
    assert all(isinstance(cited[key], str) and cited[key] for key in ("message", "title", "abstract"))
    assert cited["authors"] == PROJECT["authors"]
    assert cited["version"] == PROJECT["version"]
    assert cited["license"] == PROJECT["license"]
    assert cited["type"] == "software"
    assert isinstance(cited["date-released"], datetime.date)  # and not a text that looks like one
    known = {"cff-version", "message", "title", "authors", "abstract", "type", "license", "version", "date-released"}
    assert set(cited) - known == {"keywords"}
