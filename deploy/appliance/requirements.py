"""Which packages pyproject.toml asks for, and a stamp that says whether a venv has them.

Standard library only: it runs before anything is installed. It installs nothing itself.
Run as `python -m deploy.appliance.requirements list|stamp [extra ...]`.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CONSTRAINTS = REPOSITORY / "deploy" / "constraints.txt"
CLIENT = REPOSITORY / "apps" / "client" / "pyproject.toml"
"""Of the client, which is installed where it lies: its code is current at once, its metadata are not."""

_EXTRAS_OF = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)\[(?P<extras>[^\]]+)\]$")


def list_requirements(pyproject: Path, extras: list[str]) -> list[str]:
    """The project's requirements with those of `extras`, in file order and without repetition.

    An extra that names the project itself (`darkroom[training]`) stands for that extra's requirements.
    Raises KeyError for an extra that pyproject.toml does not define.
    """
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    optional: dict[str, list[str]] = project.get("optional-dependencies", {})
    found: dict[str, None] = dict.fromkeys(project["dependencies"])
    waiting = list(extras)
    seen: set[str] = set()
    while waiting:
        extra = waiting.pop(0)
        if extra in seen:
            continue
        seen.add(extra)
        for requirement in optional[extra]:
            own = _EXTRAS_OF.match(requirement)
            if own and own["name"] == project["name"]:
                waiting += [name.strip() for name in own["extras"].split(",")]
            else:
                found[requirement] = None
    return list(found)


def stamp(requirements: list[str], *files: Path) -> str:
    """A digest that changes when a requirement, one of the files or the Python version does."""
    digest = hashlib.sha256(sys.version.encode())
    for requirement in requirements:
        digest.update(requirement.encode() + b"\n")
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:32]


def main(arguments: list[str]) -> int:
    """Print the requirements one a line, or their stamp."""
    action, *extras = arguments
    requirements = list_requirements(REPOSITORY / "pyproject.toml", extras)
    print("\n".join(requirements) if action == "list" else stamp(requirements, CONSTRAINTS, CLIENT))
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
