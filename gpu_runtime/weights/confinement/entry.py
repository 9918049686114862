"""First program of a sandbox: gives up what the work does not need, then becomes the work.

    python -P -m gpu_runtime.weights.confinement.entry SPEC PROGRAM ARGUMENT...

SPEC is the JSON of `sandbox.Confinement`. Reports on descriptor `report`, in one line of JSON, which
protections hold and why others do not; a kernel that refuses one is no reason to stop, the caller decides.
Standard library only.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpu_runtime.weights.confinement import kernel, landlock, seccomp

_LIBRARIES = (
    "/usr/lib",
    "/usr/lib64",
    "/lib",
    "/lib64",
    "/usr/local/lib",
    "/usr/bin",
    "/bin",
    "/etc/ld.so.cache",
)
_DEVICES = ("/dev/urandom", "/dev/random", "/dev/zero", "/usr/share/zoneinfo", "/etc/localtime")
_FACTS = ("/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/sys/devices/system", "/sys/fs/cgroup")

CPU_GRACE_S = 5


def main(arguments: list[str]) -> None:
    spec = json.loads(arguments[0])
    program = arguments[1:]
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != spec["parent"]:
        raise SystemExit("the parent is gone")
    report: dict[str, str] = {}
    _try(report, "namespaces", lambda: _leave_namespaces())
    _try(report, "no_new_privs", lambda: kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1))
    if os.geteuid() == 0:
        _try(report, "capabilities", lambda: _become_less(spec))
    _try(report, "landlock", lambda: landlock.restrict(_rights(spec)))
    _try(report, "seccomp", lambda: seccomp.install())
    _try(report, "limits", lambda: _limit(spec["limits"]))
    os.write(spec["report"], (json.dumps(report) + "\n").encode())
    os.close(spec["report"])
    os.execv(program[0], program)  # noqa: S606 - becoming the program is what this one is for


def _try(report: dict[str, str], name: str, protect: Callable[[], object]) -> None:
    try:
        protect()
    except OSError as error:
        report[name] = str(error)
    else:
        report[name] = ""


def _leave_namespaces() -> None:
    """A network of its own, without any interface that is up; and its own System V and POSIX queues."""
    wanted = kernel.CLONE_NEWNET | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS
    user, group = os.geteuid(), os.getegid()
    try:
        kernel.unshare(wanted)
    except PermissionError:
        # Without privileges only a new user namespace may have a new network. Everyone keeps their id in it.
        kernel.unshare(wanted | kernel.CLONE_NEWUSER)
        Path("/proc/self/setgroups").write_text("deny", encoding="ascii")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1", encoding="ascii")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1", encoding="ascii")


def _become_less(spec: dict[str, Any]) -> None:  # Any: values of a JSON object
    """As root: no capabilities, and the owner of the work folder where that user can read what is needed."""
    owner = Path(spec["work"]).stat()
    if owner.st_uid == 0:
        kernel.drop_capabilities()
        return
    if not _can_read(owner.st_uid, owner.st_gid, [sys.executable, __file__, *spec["readable"]]):
        # Stays root, but may still write in the folder of another.
        kernel.drop_capabilities(but=kernel.CAP_DAC_OVERRIDE)
        return
    kernel.drop_capabilities()
    os.setgroups([])
    os.setgid(owner.st_gid)
    os.setuid(owner.st_uid)
    # Changing the user clears it.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)


def _can_read(user: int, group: int, paths: list[str]) -> bool:
    """Whether that user can reach and read every one of these files and folders."""
    os.setegid(group)
    os.seteuid(user)
    try:
        return all(os.access(path, os.R_OK, effective_ids=True) for path in paths)
    finally:
        os.seteuid(0)
        os.setegid(0)


def _rights(spec: dict[str, Any]) -> list[tuple[Path, int]]:  # Any: values of a JSON object
    paths = {name: [Path(path) for path in spec[name]] for name in ("readable", "appendable", "writable")}
    source = Path(__file__).resolve().parents[2]
    python = {Path(path) for path in (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)}
    interpreter = {Path(sys.executable), Path(sys.executable).resolve()}
    read = [*python, *interpreter, source, *map(Path, (*_LIBRARIES, *_DEVICES, *_FACTS)), *paths["readable"]]
    return [
        (Path(f"/proc/{os.getpid()}"), landlock.READ),
        # The import system lists the folder that holds the package, and reads nothing else in it.
        (source.parent, landlock.LIST),
        (Path("/dev/null"), landlock.READ | landlock.WRITE_FILE),
        *((path, landlock.READ) for path in read),
        *((path, landlock.ADD) for path in paths["appendable"]),
        *((path, landlock.WRITE) for path in paths["writable"]),
    ]


def _limit(limits: dict[str, int]) -> None:
    for name, value in limits.items():
        kind = getattr(resource, name)
        _, most = resource.getrlimit(kind)
        allowed = value if most == resource.RLIM_INFINITY else min(value, most)
        # At the first limit of processor time the kernel says which limit it was, at the second it kills.
        grace = CPU_GRACE_S if name == "RLIMIT_CPU" else 0
        resource.setrlimit(kind, (allowed, allowed + grace if most == resource.RLIM_INFINITY else allowed))


if __name__ == "__main__":
    main(sys.argv[1:])
