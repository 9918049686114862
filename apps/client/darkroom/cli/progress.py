"""Shows how far a job or an import is: a bar that moves for people, a line now and then for logs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn

from darkroom.cli.output import Output, duration, plain, size
from darkroom.records import Event, ImportEvent, ImportProgressed, Progressed, StateChanged


class Shown(Protocol):
    """Somewhere to tell how far it is."""

    def tell(self, words: str, *, done: float = 0, total: float | None = None, tail: str = "") -> None: ...


class Bar:
    """A live line on a terminal."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self._progress = progress
        self._task = task

    def tell(self, words: str, *, done: float = 0, total: float | None = None, tail: str = "") -> None:
        self._progress.update(self._task, description=plain(words), completed=done, total=total, tail=tail)


class Lines:
    """A line whenever the words change; never one a step."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._told = ""

    def tell(self, words: str, *, done: float = 0, total: float | None = None, tail: str = "") -> None:
        if words != self._told:
            self._told = words
            self._output.note(words)


@contextmanager
def shown(output: Output, words: str) -> Iterator[Shown]:
    """The bar is gone when the block ends: what is then said stands in its place."""
    if not output.is_live:
        lines = Lines(output)
        yield lines
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[tail]}", style="dim"),
    )
    with Progress(*columns, console=output.words, transient=True) as progress:
        yield Bar(progress, progress.add_task(words, total=None, tail=""))


class JobProgress:
    """Turns a job's events into words."""

    def __init__(self, place: Shown, job_id: int) -> None:
        self._place = place
        self._job_id = job_id
        self._state = "queued"

    def take(self, event: Event) -> None:
        """Show one event."""
        match event:
            case StateChanged(state=state):
                self._state = state
                self._place.tell(self._words())
            case Progressed(step=step, total=total, queue_position=place, eta_s=eta_s):
                if self._state == "queued":
                    self._place.tell(self._words(place), tail=_eta(eta_s))
                else:
                    tail = f"{step}/{total} steps  {_eta(eta_s)}" if total else ""
                    self._place.tell(self._words(), done=step, total=total or None, tail=tail)

    def _words(self, place: int = 0) -> str:
        if self._state == "queued":
            return f"job {self._job_id} waits" + (f", place {place} of the queue" if place else "")
        return f"job {self._job_id} {self._state}"


class ImportShown:
    """Turns an import's events into words."""

    def __init__(self, place: Shown, import_id: int) -> None:
        self._place = place
        self._import_id = import_id
        self._state = "queued"

    def take(self, event: ImportEvent) -> None:
        """Show one event."""
        match event:
            case StateChanged(state=state):
                self._state = state
                self._place.tell(f"import {self._import_id} {state}")
            case ImportProgressed(phase=phase, bytes_done=done, bytes_total=total, eta_s=eta_s):
                words = f"import {self._import_id} {phase or self._state}"
                tail = f"{size(done)} of {size(total)}  {_eta(eta_s or 0.0)}" if total else ""
                self._place.tell(words, done=done, total=total or None, tail=tail)

    def sent(self, done: int, total: int) -> None:
        """Bytes of a local file on their way."""
        self._place.tell("uploading", done=done, total=total, tail=f"{size(done)} of {size(total)}")


def _eta(seconds: float) -> str:
    return f"about {duration(seconds)}" if seconds >= 1 else ""
