"""Runs the appliance's processes in the foreground: starts, restarts and stops them in order.

Written here because neither honcho nor circus does all of it: honcho restarts nothing, circus brings a
message broker, and neither binds children to its own life, ends the whole process group of a dead child, or
keeps PostgreSQL for last.

One thread runs the loop and starts every child: the kernel's death signal follows the *thread* that started
it. Other threads talk to the loop through `post()`. Knows nothing about what the children are.
"""

from __future__ import annotations

import contextlib
import os
import queue
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Final

from deploy.appliance.logs import LogSink

FIRST_BACKOFF_S: Final = 0.2
MAX_BACKOFF_S: Final = 10.0
STEADY_S: Final = 30.0
"""A child that lived this long starts again without a wait that grew."""
_TICK_S: Final = 0.5
_CHUNK_BYTES: Final = 65536
_LINE_BYTES_MAX: Final = 64_000
_CHILD_EXEC: Final = Path(__file__).with_name("child_exec.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildSpec:
    """What to run and how to end it."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace_s: float = 10.0
    """Time between the stop signal and the end of the whole process group."""
    stop_rank: int = 0
    """Children of a rank are stopped together, and only when those of every lower rank have ended."""
    before_start: Callable[[], None] | None = None
    """Clears what an earlier run left behind; runs before every start, in the supervisor's loop."""
    is_bound: bool = False
    """Whether `argv` already binds the child to this process (`child_exec`)."""


@dataclass(slots=True)
class Child:
    """A spec and its present process."""

    spec: ChildSpec
    process: subprocess.Popen[bytes] | None = None
    started_s: float = 0.0
    restarts: int = 0
    backoff_s: float = FIRST_BACKOFF_S
    start_at_s: float | None = None
    """When it is due to start again; None while it runs."""
    kill_at_s: float | None = None
    """When patience ends; None unless it was told to stop."""
    pending: bytearray = field(default_factory=bytearray)
    """Output since the last line end."""


class Supervisor:
    """Owns the children from `run()` to its return."""

    def __init__(self, sink: LogSink) -> None:
        self.sink = sink
        self.children: dict[str, Child] = {}
        self._selector = selectors.DefaultSelector()
        self._posted: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._waker, self._wakened = socket.socketpair()
        self._waker.setblocking(False)
        self._wakened.setblocking(False)
        self._selector.register(self._wakened, selectors.EVENT_READ, None)
        self._stop_requests = 0
        self._stop_handled = 0

    # --- for any thread ---

    def post(self, action: Callable[[], None]) -> None:
        """Runs `action` in the loop soon."""
        self._posted.put(action)
        self._wake()

    def add(self, spec: ChildSpec) -> None:
        """Starts a child and keeps it running from now on."""
        self.post(lambda: self._add(spec))

    def restart(self, name: str, reason: str) -> None:
        """Ends a child that no longer works, with its whole process group; it is started again at once."""

        def end() -> None:
            child = self.children.get(name)
            if child is not None and child.process is not None and not self._stop_handled:
                self._say(f"{name} {reason}; ending it")
                _signal_group(child.process.pid, signal.SIGKILL)

        self.post(end)

    def request_stop(self) -> None:
        """Asks the loop to stop everything in order; asking again makes it hurry."""
        self._stop_requests += 1
        self._wake()

    @property
    def is_stopping(self) -> bool:
        """Whether a stop was asked for."""
        return self._stop_requests > 0

    # --- the loop ---

    def run(self) -> None:
        """Returns after a requested stop, when every child has ended. Call it from the main thread."""
        with self._signals():
            while not (self._stop_handled and self._all_ended()):
                self._step()
        self._drain_output()
        self._waker.close()
        self._wakened.close()
        self._selector.close()

    def _step(self) -> None:
        for key, _ in self._selector.select(self._timeout_s()):
            if key.data is None:
                with contextlib.suppress(BlockingIOError):
                    self._wakened.recv(4096)
            else:
                self._read(key.data)
        while not self._posted.empty():
            self._posted.get()()
        for child in self.children.values():
            self._notice_end(child)
        if self._stop_requests > self._stop_handled:
            self._begin_stop(hurry=self._stop_handled > 0)
            self._stop_handled = self._stop_requests
        if self._stop_handled:
            self._continue_stop()
        else:
            self._start_due()

    def _timeout_s(self) -> float:
        due = [
            at
            for child in self.children.values()
            for at in (child.start_at_s, child.kill_at_s)
            if at is not None
        ]
        return max(0.0, min([_TICK_S, *(at - time.monotonic() for at in due)]))

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT, SIGTERM and a closed terminal ask for a stop; SIGCHLD only wakes the loop."""

        def stop(_number: int, _frame: FrameType | None) -> None:
            self.request_stop()

        def wake(_number: int, _frame: FrameType | None) -> None:
            self._wake()

        handlers = {signal.SIGINT: stop, signal.SIGTERM: stop, signal.SIGCHLD: wake}
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asks to survive the terminal
            handlers[signal.SIGHUP] = stop
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError, OSError):
            self._waker.send(b"\0")

    # --- starting ---

    def _add(self, spec: ChildSpec) -> None:
        child = self.children[spec.name] = Child(spec)
        if not self._stop_handled:
            self._start(child)

    def _start_due(self) -> None:
        for child in self.children.values():
            if child.start_at_s is not None and child.start_at_s <= time.monotonic():
                child.restarts += 1
                self._start(child)

    def _start(self, child: Child) -> None:
        spec = child.spec
        bind = [
            sys.executable,
            "-I",
            "-S",
            str(_CHILD_EXEC),
            str(os.getpid()),
            str(int(spec.stop_signal)),
            "-",
        ]
        if spec.before_start is not None:
            spec.before_start()
        child.process = subprocess.Popen(
            [*([] if spec.is_bound else bind), *spec.argv],
            env=dict(spec.env),
            cwd=spec.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        child.started_s = time.monotonic()
        child.start_at_s = None
        assert child.process.stdout is not None
        os.set_blocking(child.process.stdout.fileno(), False)
        self._selector.register(child.process.stdout, selectors.EVENT_READ, child)

    # --- output ---

    def _read(self, child: Child) -> bool:
        """Takes what the pipe holds now; False if that was nothing, or the end."""
        assert child.process is not None
        assert child.process.stdout is not None
        try:
            data = os.read(child.process.stdout.fileno(), _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(child.process.stdout)
            child.process.stdout.close()
        child.pending += data
        *lines, rest = bytes(child.pending).split(b"\n")
        if rest and (not data or len(rest) > _LINE_BYTES_MAX):
            lines, rest = [*lines, rest], b""
        child.pending[:] = rest
        for line in lines:
            self.sink.write(child.spec.name, line.rstrip(b"\r"))
        return bool(data)

    def _drain_output(self, only: Child | None = None) -> None:
        """Takes what is left in the pipes of ended children."""
        for key in list(self._selector.get_map().values()):
            child = key.data
            if child is None or (only is not None and child is not only):
                continue
            stdout = child.process.stdout
            while self._read(child):
                pass
            if not stdout.closed:  # a process outside the group still holds the other end
                self._selector.unregister(stdout)
                stdout.close()

    # --- ends ---

    def _notice_end(self, child: Child) -> None:
        """If the process has ended: ends the rest of its group, reaps it, and plans the next start."""
        process = child.process
        if process is None or not _has_ended(process.pid):
            return
        # Not reaped yet, so the number still belongs to this group: nobody else's processes can be hit.
        _signal_group(process.pid, signal.SIGKILL)
        code = process.wait()
        self._drain_output(child)
        child.process, child.kill_at_s = None, None
        if self._stop_handled or self._stop_requests:
            return
        if time.monotonic() - child.started_s >= STEADY_S:
            child.backoff_s = FIRST_BACKOFF_S
        child.start_at_s = time.monotonic() + child.backoff_s
        self._say(f"{child.spec.name} {_describe_end(code)}; starting it again in {child.backoff_s:.1f} s")
        child.backoff_s = min(child.backoff_s * 2, MAX_BACKOFF_S)

    def _begin_stop(self, *, hurry: bool) -> None:
        """Cancels planned starts; in a hurry, ends every group but the last rank's, PostgreSQL."""
        last_rank = max((child.spec.stop_rank for child in self._live()), default=0)
        for child in self.children.values():
            child.start_at_s = None
        if not hurry:
            self._say("stopping; press Ctrl-C again to hurry")
            return
        self._say("hurrying")
        for child in self._live():
            if child.spec.stop_rank < last_rank or self._stop_requests > 2:
                child.kill_at_s = time.monotonic()

    def _continue_stop(self) -> None:
        """Tells the lowest rank that still lives to stop, and ends who did not listen."""
        live = self._live()
        if not live:
            return
        rank = min(child.spec.stop_rank for child in live)
        now_s = time.monotonic()
        for child in live:
            assert child.process is not None
            if child.kill_at_s is not None and child.kill_at_s <= now_s:
                _signal_group(child.process.pid, signal.SIGKILL)
                child.kill_at_s = now_s + 1.0
            elif child.kill_at_s is None and child.spec.stop_rank == rank:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child.process.pid, child.spec.stop_signal)
                child.kill_at_s = now_s + child.spec.stop_grace_s

    def _live(self) -> list[Child]:
        return [child for child in self.children.values() if child.process is not None]

    def _all_ended(self) -> bool:
        return not self._live()

    def _say(self, text: str) -> None:
        self.sink.write("super", text.encode())


def _has_ended(pid: int) -> bool:
    """Whether our child has ended; leaves it unreaped."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _signal_group(leader: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def _describe_end(code: int) -> str:
    """How a process ended, in words."""
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"was ended by {signal.Signals(-code).name}"
        return f"was ended by signal {-code}"
    return f"exited with status {code}"
