"""Engines and pumps for tests: the fake engine with faults that a prompt cannot ask for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psycopg
import pytest
from django.db import connection, connections

from apps.generation import pump_session
from apps.generation.pump import Pump
from gpu_runtime.config import EngineConfig
from gpu_runtime.errors import RuntimeFault
from gpu_runtime.fake import FakeEngine
from gpu_runtime.fake_tools import fake_tools
from gpu_runtime.messages import EngineProtocol, Event, ImageEngine, ImageRequest, OnPixels
from gpu_runtime.telemetry import TickKind, TickReport
from gpu_runtime.workshop.workshop import Workshop
from tests.apps.generation.studio import PATIENCE_S


@dataclass
class ScriptedEngine(FakeEngine):
    """The fake engine; raises what `faults` holds, one a step, and remembers what it ran together."""

    config: EngineConfig = field(default_factory=lambda: EngineConfig(runtime="fake"))
    faults: list[Exception] = field(default_factory=list)
    refusal: RuntimeFault | None = None
    company: list[frozenset[str]] = field(default_factory=list)
    """Prompts that were held together, at each step."""
    load_s: float = 0.0
    """How long every step says that it loaded weights; it does not take that time."""
    loads_reported: int = 0

    def require_admissible(self, request: ImageRequest) -> None:
        if self.refusal is not None:
            raise self.refusal
        super().require_admissible(request)

    def submit(
        self, request: ImageRequest, *, on_pixels: OnPixels | None = None, on_between: OnPixels | None = None
    ) -> None:
        if self.refusal is not None:
            raise self.refusal
        super().submit(request, on_pixels=on_pixels, on_between=on_between)

    def step(self) -> list[Event]:
        if self.faults and self._held:
            raise self.faults.pop(0)
        if self._held:
            self.company.append(frozenset(held.request.prompt for held in self._held.values()))
        return super().step()

    def take_ticks(self) -> list[TickReport]:
        self.loads_reported += 1
        return [TickReport(kind=TickKind.LOAD, seconds=self.load_s)]


class TestPump(Pump):
    """A pump that can be run until something is true."""

    __test__ = False

    def __init__(self, build: Callable[[], ImageEngine] | None = None, *, device: str = "cpu") -> None:
        super().__init__(device=device)
        self.builds = 0
        self._build = build

    def _build_engine(self) -> EngineProtocol:
        self.builds += 1
        if self._build is None:
            return super()._build_engine()
        return Workshop(self._build(), fake_tools())

    def run_until(self, is_done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not is_done():
            assert time.monotonic() < deadline, "the pump did not get there"
            assert self.run_slice(seconds=0.01)

    def end(self) -> None:
        self._end_session()


MakePump = Callable[..., TestPump]


def hasten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that a person would not notice, shortened to what a test does not."""
    monkeypatch.setattr(pump_session, "IDLE_WAIT_S", 0.02)
    monkeypatch.setattr(pump_session, "POLL_S", 0.05)
    monkeypatch.setattr("apps.generation.progress.PROGRESS_INTERVAL_S", 0.0)
    monkeypatch.setattr("apps.generation.progress.PREVIEW_INTERVAL_S", 0.0)
    monkeypatch.setattr("apps.generation.pump.RECONNECT_S", 0.01)


def separate_connection() -> psycopg.Connection[tuple[object, ...]]:
    """A session that no product code knows of, on the test database."""
    parameters = dict(connections["default"].get_connection_params())
    for name in ("pool", "cursor_factory", "context", "prepare_threshold"):
        parameters.pop(name, None)
    return psycopg.connect(**parameters, autocommit=True)


def terminate_backends() -> int:
    """End every other session of this database, as a restart of the server would; how many there were."""
    connection.close()
    with separate_connection() as other:
        ended = other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
    return len(ended)


def count_sessions() -> int:
    """Sessions on this database besides the caller's own and the one that asks."""
    connection.close()
    with separate_connection() as other:
        row = other.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    return int(str(row[0]))
