"""The supervisor against real processes: what it restarts, ends, in which order, and leaves alone."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import psutil
import pytest

from deploy.appliance.logs import LogSink, RotatingFile
from deploy.appliance.supervisor import FIRST_BACKOFF_S, ChildSpec, Supervisor
from deploy.appliance.terminal import Terminal

REPOSITORY = Path(__file__).resolve().parents[2]
T = TypeVar("T")
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def supervisor(tmp_path: Path, screen: io.StringIO) -> Supervisor:
    return Supervisor(LogSink(tmp_path / "logs", Terminal(screen)))


def spec(name: str, code: str, tmp_path: Path, *, grace_s: float = 5.0, rank: int = 0) -> ChildSpec:
    return ChildSpec(
        name=name,
        argv=[sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        cwd=tmp_path,
        stop_grace_s=grace_s,
        stop_rank=rank,
    )


def supervise(supervisor: Supervisor, scenario: Callable[[], None]) -> None:
    """Runs `scenario` beside the loop, then stops everything; the scenario's failure is the test's."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            scenario()
        except BaseException as failure:  # noqa: BLE001  # carried to the test's own thread
            failures.append(failure)
        finally:
            supervisor.request_stop()

    thread = threading.Thread(target=run)
    thread.start()
    supervisor.run()
    thread.join()
    if failures:
        raise failures[0]


def wait_for(find: Callable[[], T | bool | None], timeout_s: float = 10.0) -> T:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        found = find()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("what was waited for did not happen")


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def pid_of(supervisor: Supervisor, name: str) -> int | None:
    child = supervisor.children.get(name)
    return child.process.pid if child and child.process else None


def test_killed_child_is_back_after_the_first_wait(
    supervisor: Supervisor, tmp_path: Path, screen: io.StringIO
) -> None:
    supervisor.add(spec("web", SLEEPER, tmp_path))

    def scenario() -> None:
        first = wait_for(lambda: pid_of(supervisor, "web"))
        os.kill(first, signal.SIGKILL)
        second = wait_for(lambda: (pid := pid_of(supervisor, "web")) != first and pid)
        assert not is_gone(int(second))

    supervise(supervisor, scenario)
    assert FIRST_BACKOFF_S < 1.0
    assert "web was ended by SIGKILL; starting it again in 0.2 s" in screen.getvalue()


def test_a_child_that_hangs_is_ended_and_started_again(supervisor: Supervisor, tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"
    supervisor.add(spec("gpu", deaf, tmp_path, grace_s=0.1))

    def scenario() -> None:
        first = wait_for(lambda: pid_of(supervisor, "gpu"))
        supervisor.restart("gpu", "has sent no heartbeat")
        wait_for(lambda: (pid_of(supervisor, "gpu") or first) != first)

    supervise(supervisor, scenario)
    assert "gpu has sent no heartbeat; ending it" in supervisor.sink.path("super").read_text()


def test_restarts_of_a_child_that_cannot_start_grow_apart(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.add(spec("web", "raise SystemExit(3)", tmp_path))
    supervise(
        supervisor,
        lambda: (
            wait_for(lambda: "web" in supervisor.children and supervisor.children["web"].restarts >= 2)
            and None
        ),
    )
    text = supervisor.sink.path("super").read_text()
    assert "web exited with status 3; starting it again in 0.2 s" in text
    assert "web exited with status 3; starting it again in 0.4 s" in text


def test_what_a_dead_child_left_behind_ends_with_it(supervisor: Supervisor, tmp_path: Path) -> None:
    code = f"""
        import subprocess, sys, time
        grandchild = subprocess.Popen([sys.executable, "-c", {SLEEPER!r}])
        open("grandchild", "w").write(str(grandchild.pid))
        time.sleep(600)
    """
    supervisor.add(spec("gpu", code, tmp_path))

    def scenario() -> None:
        file = tmp_path / "grandchild"
        grandchild = int(wait_for(lambda: file.exists() and file.read_text()))
        os.kill(wait_for(lambda: pid_of(supervisor, "gpu")), signal.SIGKILL)
        wait_for(lambda: is_gone(grandchild))

    supervise(supervisor, scenario)


def test_stop_ends_only_its_own(supervisor: Supervisor, tmp_path: Path) -> None:
    stranger = subprocess.Popen([sys.executable, "-c", SLEEPER], stdout=subprocess.DEVNULL)
    try:
        supervisor.add(spec("web", SLEEPER, tmp_path))
        own: list[int] = []
        supervise(supervisor, lambda: own.append(wait_for(lambda: pid_of(supervisor, "web"))))
        assert is_gone(own[0])
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_the_last_rank_stops_after_all_others_have_ended(supervisor: Supervisor, tmp_path: Path) -> None:
    code = """
        import signal, sys, time
        def stop(*_):
            time.sleep({delay})
            open("order", "a").write("{name} ")
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        open("{name}.up", "w").close()
        while True: time.sleep(1)
    """
    supervisor.add(spec("pg", code.format(name="pg", delay=0), tmp_path, rank=1))
    supervisor.add(spec("web", code.format(name="web", delay=0.3), tmp_path))
    supervisor.add(spec("gpu", code.format(name="gpu", delay=0.1), tmp_path))
    names = ("pg", "web", "gpu")
    supervise(
        supervisor, lambda: wait_for(lambda: all((tmp_path / f"{n}.up").exists() for n in names)) and None
    )
    assert (tmp_path / "order").read_text() == "gpu web pg "


def test_who_does_not_listen_is_ended_after_its_grace(supervisor: Supervisor, tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"
    supervisor.add(spec("gpu", deaf, tmp_path, grace_s=0.3))
    supervise(supervisor, lambda: wait_for(lambda: supervisor.sink.tail("gpu")) and None)
    assert is_gone_everywhere(supervisor)


def test_asking_twice_does_not_wait_for_the_grace(supervisor: Supervisor, tmp_path: Path) -> None:
    grace_s = 120.0
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)"
    supervisor.add(spec("gpu", deaf, tmp_path, grace_s=grace_s))
    supervisor.add(spec("pg", SLEEPER, tmp_path, rank=1))

    def scenario() -> None:
        wait_for(lambda: supervisor.sink.tail("gpu") and supervisor.sink.tail("pg"))
        supervisor.request_stop()
        wait_for(lambda: supervisor.children["gpu"].kill_at_s)

    started_s = time.monotonic()
    supervise(supervisor, scenario)
    assert time.monotonic() - started_s < grace_s


def test_children_die_with_a_killed_supervisor(tmp_path: Path) -> None:
    code = f"""
        import os, sys
        from pathlib import Path
        from deploy.appliance.logs import LogSink
        from deploy.appliance.supervisor import FIRST_BACKOFF_S, ChildSpec, Supervisor
        from deploy.appliance.terminal import Terminal
        supervisor = Supervisor(LogSink(Path("logs").absolute(), Terminal()))
        child = [sys.executable, "-c", "import os, time; print(os.getpid(), flush=True); time.sleep(600)"]
        supervisor.add(ChildSpec(name="web", argv=child, env=dict(os.environ), cwd=Path({str(tmp_path)!r})))
        supervisor.run()
    """
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    supervisor = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert supervisor.stdout is not None
    child = int(supervisor.stdout.readline().split()[-1])
    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()
    wait_for(lambda: is_gone(child))


def test_lines_reach_the_screen_with_a_prefix_and_the_file_whole(
    supervisor: Supervisor, tmp_path: Path, screen: io.StringIO
) -> None:
    code = "import sys, time; sys.stdout.write('one\\ntwo\\nlast'); sys.stdout.flush(); time.sleep(600)"
    supervisor.add(spec("web", code, tmp_path))
    supervise(supervisor, lambda: wait_for(lambda: len(supervisor.sink.tail("web")) >= 2) and None)
    assert supervisor.sink.tail("web") == ["one", "two", "last"]
    assert "web   | one\nweb   | two\n" in screen.getvalue()


def test_full_log_files_rotate_and_old_ones_go(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "web.log", max_bytes=30, kept=2)
    for number in range(10):
        file.write(b"line %d of eleven\n" % number)
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["web.log", "web.log.1", "web.log.2"]
    assert (tmp_path / "web.log").read_bytes() == b"line 9 of eleven\n"
    assert (tmp_path / "web.log.2").read_bytes() == b"line 7 of eleven\n"


def is_gone_everywhere(supervisor: Supervisor) -> bool:
    return all(child.process is None for child in supervisor.children.values())
