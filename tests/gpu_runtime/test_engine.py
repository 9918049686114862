"""The engine's contract: events, cancellation, fairness, admission, residency, invariants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import CheckpointMissing, RuntimeFault, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.messages import (
    CheckpointRef,
    ImageDone,
    Progress,
    RequestCanceled,
    RequestDone,
    RequestFailed,
    Sampler,
)
from tests.gpu_runtime.driving import Outcome, drive, image_request, pixels, run_all
from tests.gpu_runtime.faulty_family import Faults
from tests.gpu_runtime.tiny_models import save_checkpoint
from tests.gpu_runtime.weight_store import megabytes, size_of


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(EngineConfig(check_invariants=True))
    yield engine
    engine.close()


def test_request_ends_with_its_images_in_the_promised_order(
    engine: Engine, checkpoint: CheckpointRef
) -> None:
    outcome = run_all(engine, [image_request("r", checkpoint, seeds=(3, 4), steps=3)])
    assert [e.step for e in outcome.events if isinstance(e, Progress)] == [2, 4, 6]
    assert {e.total for e in outcome.events if isinstance(e, Progress)} == {6}
    assert sorted((index, image.seed) for index, image in outcome.images("r").items()) == [(0, 3), (1, 4)]
    assert isinstance(outcome.events[-1], RequestDone)
    timings = outcome.events[-1].timings
    before_steps = timings.queued_s + timings.load_s + timings.encode_s
    parts = before_steps + timings.denoise_s + timings.decode_s + timings.encode_image_s
    assert 0 < parts <= timings.total_s
    assert not engine.has_work()
    assert engine.step() == []


def test_second_order_sampler_reports_steps_and_not_calls(engine: Engine, checkpoint: CheckpointRef) -> None:
    outcome = run_all(engine, [image_request("r", checkpoint, sampler=Sampler.HEUN, steps=4)])
    steps = [e.step for e in outcome.events if isinstance(e, Progress)]
    assert steps == sorted(steps)
    assert len(steps) == 7
    assert steps[-1] == 4


def test_same_seed_gives_the_same_file(engine: Engine, checkpoint: CheckpointRef) -> None:
    first = run_all(engine, [image_request("a", checkpoint)]).images("a")[0]
    second = run_all(engine, [image_request("b", checkpoint)]).images("b")[0]
    other = run_all(engine, [image_request("c", checkpoint, seeds=(8,))]).images("c")[0]
    assert first.data == second.data
    assert first.data != other.data


def test_image_has_the_output_size(engine: Engine, checkpoint: CheckpointRef) -> None:
    request = image_request("r", checkpoint, output_width=50, output_height=21)
    image = run_all(engine, [request]).images("r")[0]
    assert pixels(image.data).shape == (21, 50, 3)
    assert (image.width, image.height, image.media_type) == (50, 21, "image/png")


def test_progress_comes_at_most_once_a_step(engine: Engine, checkpoint: CheckpointRef) -> None:
    engine.submit(image_request("a", checkpoint, seeds=(1, 2, 3)))
    engine.submit(image_request("b", checkpoint, steps=9))
    while engine.has_work():
        reported = [e.request_id for e in engine.step() if isinstance(e, Progress)]
        assert len(reported) == len(set(reported))


@pytest.mark.parametrize("steps_before", [0, 1, 3])
def test_cancel_ends_a_request_and_leaves_neighbours_unchanged(
    steps_before: int, engine: Engine, checkpoint: CheckpointRef
) -> None:
    neighbour = image_request("stays", checkpoint, steps=6)
    undisturbed = run_all(engine, [neighbour]).images("stays")[0]
    engine.submit(image_request("goes", checkpoint, seeds=(1, 2), steps=6))
    engine.submit(neighbour)
    outcome = Outcome()
    for _ in range(steps_before):
        outcome.events += engine.step()
    engine.cancel("goes")
    assert engine.step().count(RequestCanceled(request_id="goes")) == 1
    drive(engine, outcome)
    # Up to one level: the sums of a product with fewer rows are ordered differently.
    assert abs(pixels(outcome.images("stays")[0].data) - pixels(undisturbed.data)).max() <= 1
    assert outcome.images("goes") == {}


def test_cancel_of_the_only_request_is_reported(engine: Engine, checkpoint: CheckpointRef) -> None:
    engine.submit(image_request("r", checkpoint))
    engine.step()
    engine.cancel("r")
    assert engine.has_work()
    assert engine.step() == [RequestCanceled(request_id="r")]
    assert not engine.has_work()


def test_cancel_while_an_image_is_being_finished_takes_effect(
    engine: Engine, checkpoint: CheckpointRef
) -> None:
    engine.submit(image_request("r", checkpoint, steps=1))
    engine.step()
    engine.cancel("r")
    assert drive(engine).events == [RequestCanceled(request_id="r")]


def test_cancel_of_an_unknown_request_is_ignored(engine: Engine) -> None:
    engine.cancel("nobody")
    assert not engine.has_work()


def test_request_submitted_again_after_a_cancel_ends_once(engine: Engine, checkpoint: CheckpointRef) -> None:
    engine.submit(image_request("r", checkpoint))
    engine.cancel("r")
    engine.submit(image_request("r", checkpoint))
    assert isinstance(drive(engine).final("r"), RequestDone)


def test_impossible_request_is_refused_at_once(engine: Engine, checkpoint: CheckpointRef) -> None:
    with pytest.raises(UnsupportedCombination, match="width must be a multiple of 8"):
        engine.submit(image_request("r", checkpoint, width=33))
    assert not engine.has_work()


def test_request_cannot_be_held_twice(engine: Engine, checkpoint: CheckpointRef) -> None:
    engine.submit(image_request("r", checkpoint))
    with pytest.raises(UnsupportedCombination, match="already held"):
        engine.submit(image_request("r", checkpoint))


def test_draining_engine_finishes_what_it_holds_and_takes_nothing(
    engine: Engine, checkpoint: CheckpointRef
) -> None:
    engine.submit(image_request("r", checkpoint))
    engine.drain()
    assert engine.free_rows() == 0
    with pytest.raises(RuntimeFault, match="draining"):
        engine.submit(image_request("late", checkpoint))
    assert isinstance(drive(engine).final("r"), RequestDone)


def test_single_image_behind_fifteen_finishes_long_before_them(checkpoint: CheckpointRef) -> None:
    engine = Engine(EngineConfig(check_invariants=True, max_rows=4))
    engine.submit(image_request("many", checkpoint, seeds=tuple(range(15)), steps=4))
    engine.step()
    engine.submit(image_request("one", checkpoint, steps=4, account="ben"))
    outcome = drive(engine)
    order = [e.request_id for e in outcome.events if isinstance(e, ImageDone)]
    assert order.index("one") <= 4
    assert len(outcome.images("many")) == 15


def test_many_image_request_leaves_rows_free_for_others(engine: Engine, checkpoint: CheckpointRef) -> None:
    assert engine.free_rows() == 16
    engine.submit(image_request("many", checkpoint, seeds=tuple(range(15))))
    assert engine.free_rows() == 12
    engine.submit(image_request("one", checkpoint))
    assert engine.free_rows() == 11


def test_isolated_request_shares_no_step(checkpoint: CheckpointRef) -> None:
    faults = Faults()
    engine = Engine(EngineConfig(check_invariants=True), families={"sd15": faults.load})
    engine.submit(image_request("a", checkpoint, guidance_scale=1.0))
    engine.submit(image_request("b", checkpoint, guidance_scale=1.0, is_isolated=True))
    assert engine.free_rows() == 0
    outcome = drive(engine)
    assert faults.largest_call == 1
    assert len(outcome.images("a")) == len(outcome.images("b")) == 1


def test_requests_for_different_checkpoints_take_turns(
    engine: Engine, checkpoint: CheckpointRef, v_checkpoint: CheckpointRef
) -> None:
    outcome = run_all(engine, [image_request("a", checkpoint), image_request("b", v_checkpoint)])
    assert outcome.images("a")[0].data != outcome.images("b")[0].data
    assert set(engine.info().resident) == {checkpoint.name, v_checkpoint.name}


def test_least_recently_used_checkpoint_makes_room_for_a_third(
    checkpoint: CheckpointRef, v_checkpoint: CheckpointRef, tmp_path: Path
) -> None:
    third = save_checkpoint(tmp_path / "third", seed=3)
    room_for_two = megabytes(size_of(checkpoint, v_checkpoint))
    engine = Engine(EngineConfig(check_invariants=True, weights_budget_mb=room_for_two))
    for name, which in (("a", checkpoint), ("b", v_checkpoint), ("c", checkpoint), ("d", third)):
        run_all(engine, [image_request(name, which)])
    assert engine.info().resident == (checkpoint.name, "third")


def test_missing_checkpoint_fails_its_own_requests_only(
    engine: Engine, checkpoint: CheckpointRef, tmp_path: Path
) -> None:
    missing = CheckpointRef(name="gone", family="sd15", path=str(tmp_path / "gone"), digest="gone")
    outcome = run_all(engine, [image_request("a", missing), image_request("b", checkpoint)])
    final = outcome.final("a")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, CheckpointMissing)
    assert isinstance(outcome.final("b"), RequestDone)


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder"])
def test_truncated_weights_are_named(component: str, engine: Engine, tmp_path: Path) -> None:
    broken = save_checkpoint(tmp_path / "broken", digest=f"broken-{component}")
    file = next((tmp_path / "broken" / component).glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-1])
    final = run_all(engine, [image_request("r", broken)]).final("r")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, WeightsCorrupt)
    assert component in str(final.fault)


@pytest.mark.parametrize("component", ["unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_missing_component_is_named(component: str, engine: Engine, tmp_path: Path) -> None:
    broken = save_checkpoint(tmp_path / "broken", digest=f"without-{component}")
    (tmp_path / "broken" / component).rename(tmp_path / "elsewhere")
    final = run_all(engine, [image_request("r", broken)]).final("r")
    assert isinstance(final, RequestFailed)
    assert isinstance(final.fault, CheckpointMissing)
    assert component in str(final.fault)


def test_expected_step_is_generous_before_and_honest_after_measuring(
    engine: Engine, checkpoint: CheckpointRef
) -> None:
    assert engine.expected_step_s() == 0
    engine.submit(image_request("r", checkpoint))
    assert engine.expected_step_s() >= 60
    drive(engine)
    engine.submit(image_request("s", checkpoint))
    assert 0 < engine.expected_step_s() < 5
