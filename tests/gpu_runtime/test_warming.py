"""Checkpoints that operators want warm: when they are loaded, and when they are left alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef
from gpu_runtime.tiny.pipelines import make_tiny
from tests.gpu_runtime.driving import drive, image_request, run_all
from tests.gpu_runtime.weight_store import Clock, TinyStore, megabytes, size_of

MINUTES = 60.0


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> TinyStore:
    return TinyStore(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def first(store: TinyStore) -> CheckpointRef:
    return store.checkpoint("first", seed=1)


@pytest.fixture(scope="module")
def second(store: TinyStore) -> CheckpointRef:
    return store.checkpoint("second", seed=2)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def engine(first: CheckpointRef, clock: Clock) -> Iterator[Engine]:
    """Has room for one."""
    config = EngineConfig(check_invariants=True, weights_budget_mb=megabytes(size_of(first)))
    engine = Engine(config, clock=clock)
    yield engine
    engine.close()


@pytest.fixture
def broken(tmp_path: Path) -> CheckpointRef:
    folder = make_tiny("sd15", tmp_path / "broken")
    file = next((folder / "unet").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    return CheckpointRef(name="broken", family="sd15", path=str(folder), digest="broken")


def warm(engine: Engine, *checkpoints: CheckpointRef) -> tuple[str, ...]:
    """What is resident after having asked for these, each by itself."""
    for checkpoint in checkpoints:
        engine.warm(checkpoint)
        drive(engine)
    return engine.info().resident


def test_broken_checkpoint_is_read_once_in_a_while(
    engine: Engine, broken: CheckpointRef, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert warm(engine, broken) == ()
        clock.sleep(3 * MINUTES)
    assert len(caplog.records) == 1
    clock.sleep(1 * MINUTES)
    warm(engine, broken)
    assert len(caplog.records) == 2


def test_broken_checkpoint_does_not_even_count_as_work(engine: Engine, broken: CheckpointRef) -> None:
    warm(engine, broken)
    engine.warm(broken)
    assert not engine.has_work()


def test_mended_checkpoint_is_loaded_at_once(engine: Engine, broken: CheckpointRef) -> None:
    warm(engine, broken)
    make_tiny("sd15", Path(broken.path))
    assert warm(engine, broken) == ("broken",)


def test_missing_checkpoint_that_appears_is_loaded_at_once(
    engine: Engine, first: CheckpointRef, tmp_path: Path
) -> None:
    late = replace(first, path=str(tmp_path / "late"))
    assert warm(engine, late) == ()
    Path(late.path).symlink_to(first.path)
    assert warm(engine, late) == ("first",)


def test_unloading_makes_a_broken_checkpoint_be_tried_again(
    engine: Engine, broken: CheckpointRef, caplog: pytest.LogCaptureFixture
) -> None:
    """As an operator does who asks for it to be loaded anew."""
    warm(engine, broken)
    engine.unload(broken.digest)
    warm(engine, broken)
    assert len(caplog.records) == 2


def test_failure_of_one_checkpoint_does_not_keep_a_request_from_trying(
    engine: Engine, broken: CheckpointRef
) -> None:
    warm(engine, broken)
    make_tiny("sd15", Path(broken.path))
    assert len(run_all(engine, [image_request("r", broken)]).images("r")) == 1


def test_two_warm_checkpoints_without_room_for_both_do_not_push_each_other_out(
    engine: Engine,
    first: CheckpointRef,
    second: CheckpointRef,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "gpu_runtime.weights.warming")
    for _ in range(5):
        assert warm(engine, first, second) == ("first",)
        clock.sleep(1 * MINUTES)
    assert engine._residency.loads == 3
    assert [record.getMessage() for record in caplog.records] == [
        "checkpoint second is not warmed: what is in use lately leaves no room"
    ]


def test_warm_checkpoint_takes_the_place_of_one_that_nobody_used_for_long(
    engine: Engine, first: CheckpointRef, second: CheckpointRef, clock: Clock
) -> None:
    run_all(engine, [image_request("r", first)])
    clock.sleep(9 * MINUTES)
    assert warm(engine, second) == ("first",)
    clock.sleep(2 * MINUTES)
    assert warm(engine, second) == ("second",)


def test_pinned_checkpoint_takes_any_place_but_that_of_another_pinned_one(
    engine: Engine, first: CheckpointRef, second: CheckpointRef, clock: Clock
) -> None:
    assert warm(engine, first, replace(second, is_pinned=True)) == ("second",)
    assert warm(engine, first, replace(first, is_pinned=True)) == ("second",)
    clock.sleep(20 * MINUTES)
    assert warm(engine, first) == ("second",)


def test_warm_checkpoint_shares_what_is_there(store: TinyStore, first: CheckpointRef, clock: Clock) -> None:
    tune = store.checkpoint("tune", seed=5, base=1)
    for spare, resident in ((0, ("first", "tune")), (-1, ("first",))):
        budget = megabytes(size_of(first, tune) + spare)
        engine = Engine(EngineConfig(weights_budget_mb=budget), clock=clock)
        assert warm(engine, first, tune) == resident
        engine.close()


def test_whole_pipeline_is_warmed_into_free_room_only(
    store: TinyStore, first: CheckpointRef, clock: Clock
) -> None:
    pixart = store.checkpoint("pixart", "pixart", seed=6)
    for spare, resident in ((0, ("first", "pixart")), (-1, ("first",))):
        budget = megabytes(size_of(first, pixart) + spare)
        engine = Engine(EngineConfig(weights_budget_mb=budget), clock=clock)
        assert warm(engine, first, pixart) == resident
        engine.close()
