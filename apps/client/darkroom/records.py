"""Jobs, models and imports as a program meets them: the server's facts, and what follows from them."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from darkroom.bodies import Body, decode
from darkroom.schema import ImportFacts, ImportProgress, JobFacts, ModelFacts, Progress
from darkroom.sse import ServerEvent

OPEN_STATES: Final = frozenset({"queued", "running"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(JobFacts):
    """A job: what was asked, how far it is, and its images once it has ended."""

    @property
    def is_done(self) -> bool:
        """Whether it has ended, in whatever way."""
        return bool(self.state) and self.state not in OPEN_STATES

    @property
    def is_succeeded(self) -> bool:
        return self.state == "succeeded"

    @property
    def caption(self) -> str:
        """Of jobs of the kind caption."""
        return str(self.result.get("caption") or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model(ModelFacts):
    """A model of the catalogue; a single one has more in `raw` than one of a list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Import(ImportFacts):
    """An import of a model."""

    @property
    def is_done(self) -> bool:
        return self.finished_at is not None

    @property
    def is_succeeded(self) -> bool:
        return self.state == "succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class StateChanged(Body):
    """It waits, runs, or has ended."""

    id: int = 0
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progressed(Progress):
    """A step is done, or the place in the queue has changed."""

    queue_position: int = 0
    eta_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview(Body):
    """What one image looks like so far; for jobs that asked for `previews`."""

    index: int = 0
    step: int = 0
    image: str = ""
    """A data URL."""

    @property
    def data(self) -> bytes:
        """The JPEG."""
        return base64.b64decode(self.image.partition(",")[2])


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Body):
    """The end of a job."""

    job: Job


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportProgressed(ImportProgress):
    """Bytes have arrived, or a phase has begun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportDone(Body):
    """The end of an import."""

    model_import: Import


Event: TypeAlias = StateChanged | Progressed | Preview | Done
ImportEvent: TypeAlias = StateChanged | ImportProgressed | ImportDone


def job_event(event: ServerEvent, data: Mapping[str, Any]) -> Event | None:
    """None for events of later servers."""
    match event.name:
        case "state":
            return decode(StateChanged, data)
        case "progress":
            return decode(Progressed, data)
        case "preview":
            return decode(Preview, data)
        case "done":
            return Done(job=decode(Job, data), raw=data)
    return None


def import_event(event: ServerEvent, data: Mapping[str, Any]) -> ImportEvent | None:
    """None for events of later servers."""
    match event.name:
        case "state":
            return decode(StateChanged, data)
        case "progress":
            return decode(ImportProgressed, data)
        case "done":
            return ImportDone(model_import=decode(Import, data), raw=data)
    return None
