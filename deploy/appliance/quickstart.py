"""`deploy/quickstart` after the packages are there: one supervisor, and the first run beside it."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from deploy.appliance.environment import Environment, SettingError, read_environment
from deploy.appliance.first_run import INTERRUPTED, FirstRun
from deploy.appliance.logs import LogSink
from deploy.appliance.preflight import find_owner
from deploy.appliance.speed import measure_speed
from deploy.appliance.supervisor import Supervisor
from deploy.appliance.terminal import Terminal


def quickstart(arguments: list[str]) -> int:
    """Runs the appliance until it is told to stop, or until the first image with `--once`.

    With `--bench` the machine's speed is measured before that.

    0 after a first image, whatever stopped it later; 1 if there was none; 130 if it was interrupted before.
    """
    terminal = Terminal()
    try:
        environment = read_environment()
        with own_home(environment):
            if "--bench" in arguments and not measure_speed(environment, terminal):
                return 1
            return _run(environment, terminal, once="--once" in arguments, verbose="--verbose" in arguments)
    except SettingError as error:
        terminal.failed(str(error))
        return 1


def _run(environment: Environment, terminal: Terminal, *, once: bool, verbose: bool) -> int:
    sink = LogSink(environment.logs_dir, terminal, on_screen=verbose)
    supervisor = Supervisor(sink)
    first_run = FirstRun(environment, supervisor, terminal, once=once)
    thread = threading.Thread(target=first_run.run, name="first-run", daemon=True)
    thread.start()
    supervisor.run()
    first_run.everything_ended.set()
    thread.join(timeout=5)
    sink.close()
    if first_run.exit_status == INTERRUPTED:
        terminal.line("  Stopped before the first image.")
    return first_run.exit_status


@contextmanager
def own_home(environment: Environment) -> Iterator[None]:
    """Makes the home and holds its lock, one supervisor a home; SettingError if there is one already."""
    # Root's database runs as another account, which must pass through; what lies inside is closed.
    environment.home.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
    # The web server looks for collected static files there, and warns when there is no such folder.
    (environment.home / "static").mkdir(exist_ok=True)
    with environment.lock_file.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingError(
                f"Darkroom is already running on {environment.home} (process {find_owner(environment)})"
            ) from None
        file.seek(0)
        file.truncate()
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
