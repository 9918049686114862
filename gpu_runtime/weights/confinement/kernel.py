"""Calls of the Linux kernel that Python has no names for. Standard library only; raises OSError."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUTS = 0x04000000

PR_SET_PDEATHSIG = 1
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_NO_NEW_PRIVS = 38

CAP_DAC_OVERRIDE = 1
LAST_CAPABILITY = 63
"""More than any kernel has; dropping one that does not exist fails without harm."""

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *arguments: int) -> None:
    """The process-control call, with up to four numbers."""
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    _require(_libc.prctl(ctypes.c_int(option), *padded))


def unshare(flags: int) -> None:
    """Leave the namespaces that the flags name for new ones."""
    _require(_libc.unshare(ctypes.c_int(flags)))


def syscall(number: int, *arguments: object) -> int:
    """Any other call by its number; pointers as ctypes objects."""
    return _require(int(_libc.syscall(ctypes.c_long(number), *arguments)))


def drop_capabilities(but: int | None = None) -> None:
    """Have none, or only that one, after the next program starts, even as root."""
    for capability in range(LAST_CAPABILITY + 1):
        if capability == but:
            continue
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:
            if capability == 0:
                raise
            return


def _require(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
