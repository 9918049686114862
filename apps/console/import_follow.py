"""Shows an import's course in the terminal until it ends, and runs it here when nobody else does.

Ctrl-C cancels the import; a second one ends the command at once.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Final

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from apps.catalog.choices import ImportPhase, ImportState
from apps.catalog.imports.lifecycle import Snapshot
from apps.catalog.imports.runner import run_import
from apps.catalog.imports.services import cancel_import
from apps.catalog.imports.tasks import this_worker
from apps.catalog.models import ModelImport
from apps.console.terminal import TERMINAL
from apps.core import clock
from apps.core.errors import Conflict

# An imports cluster that is alive and idle takes an import within about half a second.
CLUSTER_PATIENCE_S: Final = 2.0
POLL_S: Final = 0.25


def follow_import(row: ModelImport, *, is_here: bool = False, console: Console | None = None) -> ModelImport:
    """The import as it ended. `is_here` leaves the cluster no time to take it."""
    view = _View(row, console or Console(stderr=True))
    interrupt = _Interrupt(row)

    def on_beat(snapshot: Snapshot) -> None:
        view.show(snapshot)
        interrupt.act()

    with interrupt.heard(), view.shown():
        patience = time.monotonic() + (0.0 if is_here else CLUSTER_PATIENCE_S)
        while not row.is_terminal:
            if row.state == ImportState.QUEUED and time.monotonic() >= patience:
                run_import(import_id=row.pk, worker=this_worker(), on_beat=on_beat)
            else:
                time.sleep(POLL_S)
            row.refresh_from_db()
            on_beat(_snapshot_of(row))
    return row


class _Interrupt:
    """The first Ctrl-C cancels the import, the second is Python's own.

    The handler only notes it: it may run in the middle of a statement of the database.
    """

    def __init__(self, row: ModelImport) -> None:
        self._row = row
        self._is_wanted = False
        self._is_done = False

    @contextmanager
    def heard(self) -> Iterator[None]:
        before = signal.getsignal(signal.SIGINT)

        def note(_number: int, _frame: FrameType | None) -> None:
            self._is_wanted = True
            signal.signal(signal.SIGINT, before)

        signal.signal(signal.SIGINT, note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def act(self) -> None:
        """Cancel if that was asked for, once."""
        if self._is_wanted and not self._is_done:
            self._is_done = True
            # It may have ended this very moment.
            with suppress(Conflict):
                cancel_import(model_import=self._row, actor=TERMINAL, now=clock.now())


class _KnownBytes(DownloadColumn):
    """Nothing, as long as neither number is known."""

    def render(self, task: Task) -> Text:
        is_known = task.total is not None or task.completed > 0
        return super().render(task) if is_known else Text()


class _KnownSpeed(TransferSpeedColumn):
    """Nothing, as long as nothing moves."""

    def render(self, task: Task) -> Text:
        return super().render(task) if task.finished_speed or task.speed else Text()


class _View:
    """A bar where there is a terminal, a line for each phase elsewhere."""

    def __init__(self, row: ModelImport, console: Console) -> None:
        self._name = row.requested_name or row.address
        self._console = console
        self._phase = ""
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", justify="left"),
            BarColumn(bar_width=None),
            _KnownBytes(),
            _KnownSpeed(),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._task: TaskID | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        if not self._console.is_terminal:
            yield
            return
        with self._progress:
            yield

    def show(self, snapshot: Snapshot) -> None:
        label = ImportPhase(snapshot.phase).label
        if not self._console.is_terminal:
            if snapshot.phase != self._phase:
                self._console.print(f"{self._name}: {label.lower()}", highlight=False)
            self._phase = snapshot.phase
            return
        if self._task is None or snapshot.phase != self._phase:
            if self._task is not None:
                self._progress.remove_task(self._task)
            # A bar of its own for each phase: the speed of one says nothing of the next.
            self._task = self._progress.add_task(label, total=None)
            self._phase = snapshot.phase
        files = f" {snapshot.files_done}/{snapshot.files_total}" if snapshot.files_total > 1 else ""
        self._progress.update(
            self._task,
            description=f"{label}{files}",
            completed=snapshot.bytes_done,
            total=snapshot.bytes_total or None,
        )


def _snapshot_of(row: ModelImport) -> Snapshot:
    return Snapshot(
        phase=ImportPhase(row.phase) if row.phase else ImportPhase.LISTING,
        bytes_done=row.bytes_done,
        bytes_total=row.bytes_total,
        speed_bps=row.speed_bps,
        files_done=row.files_done,
        files_total=row.files_total,
    )
