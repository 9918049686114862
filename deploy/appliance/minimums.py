"""What a machine must have, in one place; the manual quotes these numbers."""

from __future__ import annotations

from typing import Final

GIB: Final = 1024**3

PYTHON: Final = (3, 11)
"""Oldest Python the appliance runs on."""

CPU_CORES: Final = 1
"""Below it nothing runs; from two on the web side stays quick while the CPU draws."""

MEMORY_BYTES: Final = 3 * GIB
"""Memory of the machine, or of the container if that has a limit: torch, weights, web and PostgreSQL."""

FREE_MEMORY_BYTES: Final = 3 * GIB // 2
"""Memory that must be available when it starts; less ends in the kernel killing a process."""

INSTALL_DISK_BYTES: Final = 9 * GIB
"""Free disk where the packages go, for a first install: torch with its CUDA libraries, and pip's copies."""

HOME_DISK_BYTES: Final = 2 * GIB
"""Free disk where DARKROOM_HOME lies: the database, logs and a day of images."""

ARCHITECTURES: Final = ("x86_64", "aarch64")
"""Processors that torch and the PostgreSQL binaries are published for."""
