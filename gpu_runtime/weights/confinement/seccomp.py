"""Which calls the process may make: no sockets, no new processes, no reach into others.

Standard library only. Source: Documentation/userspace-api/seccomp_filter.rst of Linux; call numbers from its
syscall tables. What is refused fails with EPERM, so that a library that asks politely goes on without.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping
from dataclasses import dataclass

from gpu_runtime.weights.confinement.kernel import PR_SET_SECCOMP, prctl

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENT_AT = 0, 4, 16
_ALLOW = 0x7FFF0000
_REFUSE = 0x00050000
_KILL = 0x80000000
_FILTER_MODE = 2
_CLONE_THREAD = 0x00010000


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Call numbers of one architecture."""

    architecture: int
    refused: Mapping[str, int]
    clone: int
    clone3: int
    tgkill: int
    foreign_from: int = 0
    """Numbers from here on belong to another calling convention; 0 for none."""


_ANYWHERE = {"io_uring_setup": 425, "pidfd_open": 434, "pidfd_getfd": 438, "pidfd_send_signal": 424}

X86_64 = Calls(
    architecture=0xC000003E,
    refused={
        "socket": 41, "connect": 42, "bind": 49, "listen": 50, "fork": 57, "vfork": 58, "kill": 62,
        "ptrace": 101, "rt_sigqueueinfo": 129, "pivot_root": 155, "chroot": 161, "mount": 165, "umount2": 166,
        "tkill": 200, "kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "unshare": 272,
        "rt_tgsigqueueinfo": 297, "perf_event_open": 298, "setns": 308, "process_vm_readv": 310,
        "process_vm_writev": 311, "bpf": 321, "userfaultfd": 323, **_ANYWHERE,
    },
    clone=56,
    clone3=435,
    tgkill=234,
    foreign_from=0x40000000,
)  # fmt: skip

AARCH64 = Calls(
    architecture=0xC00000B7,
    refused={
        "umount2": 39, "mount": 40, "pivot_root": 41, "chroot": 51, "unshare": 97, "kexec_load": 104,
        "ptrace": 117, "kill": 129, "tkill": 130, "rt_sigqueueinfo": 138, "socket": 198, "bind": 200,
        "listen": 201, "connect": 203, "add_key": 217, "request_key": 218, "keyctl": 219,
        "rt_tgsigqueueinfo": 240, "perf_event_open": 241, "setns": 268, "process_vm_readv": 270,
        "process_vm_writev": 271, "bpf": 280, "userfaultfd": 282, **_ANYWHERE,
    },
    clone=220,
    clone3=435,
    tgkill=131,
)  # fmt: skip

_MACHINES = {"x86_64": X86_64, "aarch64": AARCH64}


def install() -> None:
    """Refuse those calls from now on, also for programs started from here.

    Needs no_new_privs. Raises OSError, also for an architecture whose numbers are not known here.
    """
    calls = _MACHINES.get(platform.machine())
    if calls is None:
        raise OSError(f"no call numbers for {platform.machine()}")
    code = program(calls, process=os.getpid())
    instructions = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(instructions))
    holder = ctypes.create_string_buffer(header, len(header))
    prctl(PR_SET_SECCOMP, _FILTER_MODE, ctypes.addressof(holder))


def program(calls: Calls, *, process: int) -> bytes:
    """The filter as instructions of 8 bytes; `process` may send itself signals (how abort() works)."""
    lines = [
        _line(_LOAD, _ARCHITECTURE_AT),
        _line(_JUMP_EQUAL, calls.architecture, 1, 0),
        _line(_RETURN, _KILL),
        _line(_LOAD, _NUMBER_AT),
    ]
    refuse = _line(_RETURN, _REFUSE | errno.EPERM)
    if calls.foreign_from:
        lines += [_line(_JUMP_GREATER_EQUAL, calls.foreign_from, 0, 1), refuse]
    for number in sorted(set(calls.refused.values())):
        lines += [_line(_JUMP_EQUAL, number, 0, 1), refuse]
    # "Not there" makes the C library fall back to clone, whose flags a filter can see.
    lines += [_line(_JUMP_EQUAL, calls.clone3, 0, 1), _line(_RETURN, _REFUSE | errno.ENOSYS)]
    allow = _line(_RETURN, _ALLOW)
    only_threads = [_line(_LOAD, _ARGUMENT_AT), _line(_JUMP_SET, _CLONE_THREAD, 1, 0), refuse, allow]
    lines += [_line(_JUMP_EQUAL, calls.clone, 0, len(only_threads)), *only_threads]
    only_itself = [_line(_LOAD, _ARGUMENT_AT), _line(_JUMP_EQUAL, process, 1, 0), refuse, allow]
    lines += [_line(_JUMP_EQUAL, calls.tgkill, 0, len(only_itself)), *only_itself]
    return b"".join([*lines, allow])


def _line(operation: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", operation, if_true, if_false, value)
