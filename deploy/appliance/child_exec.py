"""Becomes another program, bound to its parent's life and, as root, with another user's rights.

Run as a file: `child_exec.py PARENT_PID DEATH_SIGNAL USER PROGRAM [ARGUMENT ...]`; USER `-` keeps the
rights. Standard library only. A separate program, because between fork and exec of a threaded process this
can deadlock.
The kernel forgets the death signal when rights change, so it is asked for last.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import signal
import sys

_PR_SET_PDEATHSIG = 1


def become(parent_pid: int, death_signal: int, user: str, argv: list[str]) -> None:
    """Never returns: the process is `argv` afterwards, or has ended because its parent already had."""
    if user != "-":
        account = pwd.getpwnam(user)
        os.initgroups(user, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, death_signal, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:  # the parent died before the kernel was told to watch it
        sys.exit(128 + death_signal)
    # Python ignores these two and a program it becomes would go on doing so.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    os.execvp(argv[0], argv)  # noqa: S606  # becoming another program is what this file is for


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4:])
