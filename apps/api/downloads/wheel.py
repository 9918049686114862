"""The client's wheel, made of apps/client as pip wants it: without a build tool, without a network.

It has the same bytes each time. A wheel of pure Python is a zip of its files and of four texts about them
(the PyPA's binary distribution format, version 1.0). A test holds it against what setuptools builds.
"""

from __future__ import annotations

import base64
import hashlib
import io
import tomllib
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

CLIENT: Final = Path(__file__).resolve().parents[2] / "client"
WHEEL: Final = "Wheel-Version: 1.0\nGenerator: darkroom\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
# The earliest that a zip can say: when files were last touched is no part of what they hold.
NO_TIME: Final = (1980, 1, 1, 0, 0, 0)
READABLE: Final = 0o100644 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Wheel:
    """A built distribution."""

    project: str
    """As pip names it: `darkroom-client`."""
    file: str
    """Name of the file."""
    data: bytes
    requires_python: str

    @property
    def sha256(self) -> str:
        """Hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()


@cache
def client_wheel() -> Wheel:
    """Made once a process: the code does not change while it runs."""
    return build_wheel(CLIENT)


def build_wheel(folder: Path) -> Wheel:
    """The wheel of the distribution in `folder`. Raises OSError and KeyError for one that is not whole."""
    described = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))
    project: dict[str, Any] = described["project"]  # Any: TOML
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    info = f"{stem}.dist-info"
    files = _package_files(folder, described["tool"]["setuptools"])
    files |= {
        f"{info}/METADATA": _metadata(project, (folder / project["readme"]).read_text(encoding="utf-8")),
        f"{info}/WHEEL": WHEEL,
        f"{info}/entry_points.txt": _entry_points(project),
    }
    contents = {name: text.encode() for name, text in files.items()}
    contents[f"{info}/RECORD"] = _record(contents, f"{info}/RECORD")
    return Wheel(
        project=project["name"],
        file=f"{stem}-py3-none-any.whl",
        data=_zip(contents),
        requires_python=project["requires-python"],
    )


def _package_files(folder: Path, layout: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for package in layout["packages"]:
        place = folder.joinpath(*package.split("."))
        for pattern in ("*.py", *layout.get("package-data", {}).get(package, ())):
            for file in sorted(place.glob(pattern)):
                found[file.relative_to(folder).as_posix()] = file.read_text(encoding="utf-8")
    return found


def _metadata(project: Mapping[str, Any], readme: str) -> str:
    head = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
        "Description-Content-Type: text/markdown",
        *(f"Requires-Dist: {requirement}" for requirement in project["dependencies"]),
    ]
    return "\n".join([*head, "", readme])


def _entry_points(project: Mapping[str, Any]) -> str:
    return "\n".join(
        ["[console_scripts]", *(f"{name} = {target}" for name, target in project["scripts"].items()), ""]
    )


def _record(contents: Mapping[str, bytes], own: str) -> bytes:
    """Every file with its digest and length; of itself neither can be known."""
    lines = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in contents.items()]
    return "\n".join([*lines, f"{own},,", ""]).encode()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def _zip(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    # Stored, not deflated: what zlib makes of the same bytes depends on its version.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in contents.items():
            entry = zipfile.ZipInfo(name, date_time=NO_TIME)
            entry.external_attr = READABLE
            archive.writestr(entry, data)
    return buffer.getvalue()
