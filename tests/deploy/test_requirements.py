"""pyproject.toml against deploy/constraints.txt, and the stamp that makes a second start fast."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from deploy.appliance.requirements import CONSTRAINTS, REPOSITORY, list_requirements, stamp

PYPROJECT = REPOSITORY / "pyproject.toml"


def canonical(requirement: str) -> str:
    name = re.split(r"[\[<>=~! ;]", requirement, maxsplit=1)[0]
    return re.sub(r"[-_.]+", "-", name).lower()


def pins() -> dict[str, str]:
    lines = [line for line in CONSTRAINTS.read_text().splitlines() if line and not line.startswith("#")]
    return {canonical(line): line for line in lines}


def test_every_requirement_is_pinned_to_one_version() -> None:
    found = pins()
    missing = [
        name
        for name in map(canonical, list_requirements(PYPROJECT, ["training", "test"]))
        if name not in found
    ]
    assert missing == []
    assert [line for line in found.values() if not re.fullmatch(r"[\w.-]+==[\w.!]+", line)] == []


def test_torch_is_pinned_without_a_build_suffix() -> None:
    assert pins()["torch"] == "torch==2.13.0"


def test_an_extra_that_names_the_project_brings_its_requirements(tmp_path: Path) -> None:
    file = tmp_path / "pyproject.toml"
    file.write_text(
        '[project]\nname = "x"\ndependencies = ["a"]\n'
        '[project.optional-dependencies]\ntrain = ["b", "a"]\ntest = ["x[train]", "c"]\n'
    )
    assert list_requirements(file, ["test"]) == ["a", "c", "b"]
    with pytest.raises(KeyError):
        list_requirements(file, ["missing"])


def test_the_stamp_follows_requirements_and_pins(tmp_path: Path) -> None:
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("a==1\n")
    first = stamp(["a"], constraints)
    assert stamp(["a"], constraints) == first
    assert stamp(["a", "b"], constraints) != first
    constraints.write_text("a==2\n")
    assert stamp(["a"], constraints) != first


def test_the_stamp_follows_the_client(tmp_path: Path) -> None:
    client = tmp_path / "pyproject.toml"
    client.write_text('version = "1"')
    first = stamp(["a"], CONSTRAINTS, client)
    client.write_text('version = "2"')
    assert stamp(["a"], CONSTRAINTS, client) != first


def test_what_builds_the_client_comes_with_the_packages() -> None:
    # Its installation is told not to fetch anything.
    assert "setuptools" in pins()
