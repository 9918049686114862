"""Which files the process may touch, by the kernel's Landlock module. Standard library only.

Source: Documentation/userspace-api/landlock.rst of Linux. The numbers are part of the kernel's stable
interface and the same on every architecture.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Sequence
from pathlib import Path

from gpu_runtime.weights.confinement.kernel import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH = 1

EXECUTE = 1 << 0
WRITE_FILE = 1 << 1
READ_FILE = 1 << 2
READ_DIR = 1 << 3
MAKE_DIR = 1 << 7
REFER = 1 << 13
TRUNCATE = 1 << 14
IOCTL_DEV = 1 << 15
_BASIC = (1 << 13) - 1
"""Every right of the first version."""

LIST = READ_DIR
READ = EXECUTE | READ_FILE | READ_DIR
ADD = READ | MAKE_DIR | REFER
"""Read, and move folders in; nothing that is there can be changed or removed."""
WRITE = _BASIC | REFER | TRUNCATE
_FOR_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV

_NETWORK = 0b11
"""Binding and connecting TCP."""
_SCOPES = 0b11
"""Abstract sockets of others, and signals to others."""

SMALLEST_VERSION = 3
"""Earlier ones cannot allow moves between folders, or cannot forbid truncation."""


def version() -> int:
    """The version the kernel speaks. Raises OSError where it has none, or it is off."""
    return syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))


def restrict(rights: Sequence[tuple[Path, int]]) -> None:
    """Allow only these rights, each for a path and all below it; paths that cannot be reached are skipped.

    Holds for this process and every program it starts. Raises OSError.
    """
    spoken = version()
    if spoken < SMALLEST_VERSION:
        raise OSError(f"Landlock version {spoken} is too old")
    handled = WRITE | (IOCTL_DEV if spoken >= 5 else 0)
    ruleset = _create(handled, spoken)
    try:
        for path, allowed in rights:
            _allow(ruleset, path, allowed & handled)
        syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _create(handled: int, spoken: int) -> int:
    fields = [handled]
    if spoken >= 4:
        fields.append(_NETWORK)
    if spoken >= 6:
        fields.append(_SCOPES)
    attributes = struct.pack(f"<{len(fields)}Q", *fields)
    return syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0))


def _allow(ruleset: int, path: Path, allowed: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        # What is not there, or cannot be reached anyway, needs no rule.
        return
    try:
        if not path.is_dir():
            allowed &= _FOR_FILES
        if allowed:
            rule = struct.pack("<Qi", allowed, descriptor)
            syscall(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(descriptor)
