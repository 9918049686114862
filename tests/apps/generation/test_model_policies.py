"""What operators want of weights, as the engine of a worker hears it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from apps.catalog.models import CatalogEntry
from apps.generation import model_policies
from apps.generation.model_policies import ModelPolicies
from gpu_runtime.config import EngineConfig
from gpu_runtime.fake import FakeEngine
from gpu_runtime.messages import CheckpointRef, EngineInfo, HeldWeights, Residency
from tests.clocks import FrozenClock
from tests.factories import make_adapter, make_checkpoint


@dataclass
class RecordingEngine(FakeEngine):
    """The fake engine with a memory of what it was told about weights."""

    config: EngineConfig = field(default_factory=lambda: EngineConfig(runtime="fake"))
    warmed: list[CheckpointRef] = field(default_factory=list)
    unloaded: list[str | None] = field(default_factory=list)
    digests: tuple[str, ...] = ()
    pinned: frozenset[str] = frozenset()

    def warm(self, checkpoint: CheckpointRef) -> None:
        self.warmed.append(checkpoint)

    def unload(self, digest: str | None = None) -> int:
        self.unloaded.append(digest)
        return 0

    def info(self) -> EngineInfo:
        held = tuple(
            HeldWeights(
                name=digest,
                digest=digest,
                family="sd15",
                residency=Residency.RESIDENT,
                size_bytes=1,
                is_pinned=digest in self.pinned,
                idle_s=0.0,
            )
            for digest in self.digests
        )
        return replace(super().info(), held=held, resident=self.digests)


@pytest.fixture
def engine() -> RecordingEngine:
    return RecordingEngine(EngineConfig(runtime="fake"))


@pytest.fixture
def policies(
    db: None, clock: FrozenClock, engine: RecordingEngine, monkeypatch: pytest.MonkeyPatch
) -> ModelPolicies:
    monkeypatch.setattr(model_policies, "LOOK_INTERVAL_S", 0.0)
    return ModelPolicies(engine)


def names(refs: list[CheckpointRef]) -> list[str]:
    return [ref.name for ref in refs]


def test_warm_and_pinned_checkpoints_are_loaded_the_most_used_first(
    policies: ModelPolicies, engine: RecordingEngine
) -> None:
    make_checkpoint("cold")
    make_checkpoint("warm", residency_policy="warm", use_count=2, digest="w")
    make_checkpoint("pinned", residency_policy="pinned", use_count=7, digest="p")
    make_checkpoint("off", residency_policy="pinned", is_enabled=False)
    make_adapter("ink", residency_policy="pinned")
    policies.apply()
    assert names(engine.warmed) == ["pinned", "warm"]
    assert [ref.is_pinned for ref in engine.warmed] == [True, False]


def test_what_is_resident_is_left_alone(policies: ModelPolicies, engine: RecordingEngine) -> None:
    make_checkpoint("warm", residency_policy="warm", digest="warm")
    engine.digests = ("warm",)
    policies.apply()
    assert (engine.warmed, engine.unloaded) == ([], [])


def test_a_busy_engine_is_not_asked_to_warm(
    policies: ModelPolicies, engine: RecordingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_checkpoint("warm", residency_policy="warm")
    policies.note_work()
    policies.apply()
    assert engine.warmed == []
    monkeypatch.setattr(model_policies, "QUIET_S", 0.0)
    policies.apply()
    assert names(engine.warmed) == ["warm"]


def test_a_requested_reload_happens_once(
    policies: ModelPolicies, engine: RecordingEngine, clock: FrozenClock
) -> None:
    make_checkpoint("tiny", digest="a" * 64)
    policies.note_work()
    CatalogEntry.objects.update(reload_requested_at=clock.now() + timedelta(seconds=1))
    policies.apply()
    policies.apply()
    assert engine.unloaded == ["a" * 64]
    assert names(engine.warmed) == ["tiny"]


def test_a_reload_waits_for_the_requests_that_use_the_weights(
    policies: ModelPolicies, engine: RecordingEngine, clock: FrozenClock
) -> None:
    make_checkpoint("tiny", digest="used", reload_requested_at=clock.now() + timedelta(seconds=1))
    policies.note_work()
    engine.digests = ("used",)
    policies.apply()
    assert engine.warmed == []
    engine.digests = ()
    policies.apply()
    policies.apply()
    assert names(engine.warmed) == ["tiny"]


def test_reloads_from_before_the_worker_started_do_not_concern_it(
    db: None, clock: FrozenClock, engine: RecordingEngine
) -> None:
    make_checkpoint("tiny", reload_requested_at=clock.now() - timedelta(seconds=1))
    ModelPolicies(engine).apply()
    assert engine.unloaded == []


@pytest.mark.parametrize("gone", [{"is_enabled": False}, {"deleted": True}])
def test_weights_of_what_is_gone_leave_the_device(
    policies: ModelPolicies, engine: RecordingEngine, clock: FrozenClock, gone: dict[str, object]
) -> None:
    make_checkpoint("stays", digest="stays")
    make_checkpoint("goes", digest="goes")
    changes = {"deleted_at": clock.now(), "is_enabled": False} if "deleted" in gone else gone
    CatalogEntry.objects.filter(name="goes").update(**changes)
    engine.digests = ("stays", "goes")
    policies.apply()
    assert engine.unloaded == ["goes"]


def test_a_resident_checkpoint_learns_of_its_pin_and_of_its_end(
    policies: ModelPolicies, engine: RecordingEngine
) -> None:
    make_checkpoint("newly", digest="newly", residency_policy="pinned")
    make_checkpoint("no-more", digest="no-more")
    make_checkpoint("same", digest="same", residency_policy="pinned")
    engine.digests, engine.pinned = ("newly", "no-more", "same"), frozenset({"no-more", "same"})
    policies.apply()
    assert [(ref.name, ref.is_pinned) for ref in engine.warmed] == [("newly", True), ("no-more", False)]


def test_weights_of_operations_are_no_checkpoint_to_warm(
    policies: ModelPolicies, engine: RecordingEngine
) -> None:
    make_adapter("sharper", kind="upscaler", digest="u", residency_policy="pinned")
    engine.digests = ("u", "deleted")
    policies.apply()
    assert not engine.warmed
    assert engine.unloaded == ["deleted"]


def test_of_two_names_for_one_digest_the_pinned_one_decides(
    policies: ModelPolicies, engine: RecordingEngine
) -> None:
    make_checkpoint("one", digest="d", residency_policy="pinned")
    make_checkpoint("two", digest="d", residency_policy="warm")
    policies.apply()
    assert names(engine.warmed) == ["one"]
    engine.digests, engine.pinned, engine.warmed = ("d",), frozenset({"d"}), []
    policies.apply()
    assert engine.warmed == []
