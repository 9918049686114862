"""Runs a program that reads untrusted files: no network, no secrets, limited, and gone when time is up.

The program gets an empty environment, its work folder as home and current folder, a closed stdin, and by
`confinement/entry.py` what the kernel offers: namespaces without a network, no new privileges, no
capabilities, Landlock for files, seccomp for calls (no sockets, no processes), resource limits. Which of them
hold on this machine stands in the result; none is silently missing. Linux only; standard library only.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ENTRY = "gpu_runtime.weights.confinement.entry"

MAX_LINE_BYTES = 1_000_000
MAX_OUTPUT_BYTES = 50_000_000
STDERR_TAIL_BYTES = 8_000
POLL_S = 0.1
LIBRARIES_BYTES = 24 << 30
"""Address space beside the private memory: libraries and their reserves, which are not memory in use."""

_MEMORY_WORDS = (
    "MemoryError",
    "bad_alloc",
    "can't allocate memory",
    "Cannot allocate memory",
    "out of memory",
    "Memory allocation",
    "Thread creation failed",
    "can't start new thread",
    "failed to map segment",
)
"""How Python, C++, torch, OpenBLAS, OpenMP and the dynamic linker say it."""


class Outcome(StrEnum):
    """How the program ended."""

    EXITED = "exited"
    """By itself; see `exit_code`."""
    CRASHED = "crashed"
    """By a signal that we did not send."""
    TIMEOUT = "timeout"
    OUT_OF_MEMORY = "out_of_memory"
    CANCELED = "canceled"
    TOO_TALKATIVE = "too_talkative"
    """Wrote more than anyone would read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxResult:
    """What became of the program."""

    outcome: Outcome
    exit_code: int | None
    """None unless it exited by itself."""
    stderr_tail: str
    protections: Mapping[str, str]
    """By name: "" for one that held, else why it did not."""
    wall_s: float
    peak_memory_bytes: int
    """Most memory resident at a time; mapped files count while they are cached."""

    @property
    def is_network_isolated(self) -> bool:
        """Whether the kernel kept the program from every network."""
        return self.holds("namespaces") or self.holds("seccomp")

    def holds(self, protection: str) -> bool:
        """Whether a protection was active."""
        return self.protections.get(protection) == ""


def run_sandboxed(
    argv: Sequence[str],
    *,
    readable: Sequence[Path],
    writable: Sequence[Path],
    memory_bytes: int,
    cpu_s: int,
    wall_s: float,
    on_line: Callable[[str], None],
    appendable: Sequence[Path] = (),
    mapped_bytes: int = 0,
    file_bytes: int = 1 << 40,
    is_canceled: Callable[[], bool] = lambda: False,
) -> SandboxResult:
    """Run a program to its end and hand each line of its output to `on_line`.

    The first of `writable` is its work folder. In `appendable` folders it may put finished folders and
    read, but change nothing. `memory_bytes` is private memory; files that it maps to read, `mapped_bytes` in
    all, come on top. An exception from `on_line` or `is_canceled` kills the program and goes on upwards.
    """
    work = writable[0].resolve()
    report, report_end = os.pipe()
    limits = {
        "RLIMIT_DATA": memory_bytes,
        "RLIMIT_AS": memory_bytes + mapped_bytes + LIBRARIES_BYTES,
        "RLIMIT_CPU": cpu_s,
        "RLIMIT_FSIZE": file_bytes,
        "RLIMIT_NOFILE": 1024,
        "RLIMIT_CORE": 0,
    }
    spec = {
        "parent": os.getpid(),
        "work": str(work),
        "report": report_end,
        "readable": [str(path.resolve()) for path in readable],
        "appendable": [str(path.resolve()) for path in appendable],
        "writable": [str(path.resolve()) for path in writable],
        "limits": limits,
    }
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-P", "-s", "-m", ENTRY, json.dumps(spec), *argv],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=work,
        env=environment(work),
        pass_fds=(report_end,),
        start_new_session=True,
    )
    os.close(report_end)
    watch = _Watch(process, on_line=on_line, is_canceled=is_canceled, ends_at=started + wall_s)
    try:
        reason = watch.until_end()
    finally:
        status, usage = _end(process)
        protections = _read_report(report)
    return SandboxResult(
        outcome=reason or _judge(status, watch.stderr_tail),
        exit_code=os.waitstatus_to_exitcode(status) if os.WIFEXITED(status) and reason is None else None,
        stderr_tail=watch.stderr_tail,
        protections=protections,
        wall_s=time.monotonic() - started,
        peak_memory_bytes=usage * 1024,
    )


def environment(work: Path) -> dict[str, str]:
    """All that the program finds in its environment: no setting and no secret of ours."""
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": str(work),
        "TMPDIR": str(work),
        "USER": "import",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(REPOSITORY),
        "PYTHONSAFEPATH": "1",
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
    }


class _Watch:
    """Reads the program's output until it ends or must be ended."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        *,
        on_line: Callable[[str], None],
        is_canceled: Callable[[], bool],
        ends_at: float,
    ) -> None:
        self._process = process
        self._on_line = on_line
        self._is_canceled = is_canceled
        self._ends_at = ends_at
        self._pending = b""
        self._seen_bytes = 0
        self._stderr = b""

    @property
    def stderr_tail(self) -> str:
        return self._stderr.decode("utf-8", "replace")

    def until_end(self) -> Outcome | None:
        """None when the program closed its output by itself, else why it has to be killed."""
        with selectors.DefaultSelector() as selector:
            for stream in (self._process.stdout, self._process.stderr):
                assert stream is not None
                selector.register(stream, selectors.EVENT_READ)
            while selector.get_map():
                if self._is_canceled():
                    return Outcome.CANCELED
                left_s = self._ends_at - time.monotonic()
                if left_s <= 0:
                    return Outcome.TIMEOUT
                for key, _ in selector.select(min(left_s, POLL_S)):
                    data = os.read(key.fd, 65536)
                    if not data:
                        selector.unregister(key.fileobj)
                    elif key.fileobj is self._process.stderr:
                        self._stderr = (self._stderr + data)[-STDERR_TAIL_BYTES:]
                    elif not self._take(data):
                        return Outcome.TOO_TALKATIVE
        return self._until_exit()

    def _until_exit(self) -> Outcome | None:
        """A program may close its output and go on: time and cancellation hold for it all the same."""
        while os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if self._is_canceled():
                return Outcome.CANCELED
            if time.monotonic() > self._ends_at:
                return Outcome.TIMEOUT
            time.sleep(POLL_S / 10)
        return None

    def _take(self, data: bytes) -> bool:
        self._seen_bytes += len(data)
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            self._on_line(line.decode("utf-8", "replace"))
        return self._seen_bytes <= MAX_OUTPUT_BYTES and len(self._pending) <= MAX_LINE_BYTES


def _end(process: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Kill whatever is left of the program's group and collect it: wait status, and peak memory in KiB."""
    # Until it is collected its number cannot mean another process.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()
    return status, usage.ru_maxrss


def _judge(status: int, stderr: str) -> Outcome:
    is_about_memory = any(word in stderr for word in _MEMORY_WORDS)
    if os.WIFEXITED(status):
        failed = os.WEXITSTATUS(status) not in (0, 3)
        return Outcome.OUT_OF_MEMORY if failed and is_about_memory else Outcome.EXITED
    number = os.WTERMSIG(status)
    if number == signal.SIGXCPU:
        return Outcome.TIMEOUT
    # Nobody but the kernel, short of memory, kills it while we have not.
    if number == signal.SIGKILL or is_about_memory:
        return Outcome.OUT_OF_MEMORY
    return Outcome.CRASHED


def _read_report(descriptor: int) -> Mapping[str, str]:
    """What the entry wrote; empty when it did not get that far."""
    with os.fdopen(descriptor, "rb") as stream:
        data = stream.read(MAX_LINE_BYTES)
    try:
        report = json.loads(data)
    except ValueError:
        return {}
    return {str(name): str(why) for name, why in report.items()} if isinstance(report, dict) else {}
