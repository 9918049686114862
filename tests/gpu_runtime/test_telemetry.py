"""What the engine tells about its ticks and about where a request's time went."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gpu_runtime.batching.batch_key import batch_key
from gpu_runtime.batching.cost import price_of, row_tflop
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef, HiresFix, Priority, RefinerRef, RequestDone, Tier
from gpu_runtime.telemetry import MOST_KEPT, TickKind, TickLog, TickReport
from tests.gpu_runtime.control_references import ExtraNetworks
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints


def test_every_part_of_a_tick_is_reported_once(checkpoint: CheckpointRef) -> None:
    engine = Engine(EngineConfig(check_invariants=True))
    request = image_request("r", checkpoint, seeds=(1, 2), steps=3)
    run_all(engine, [request])
    reports = engine.take_ticks()
    kinds = [report.kind for report in reports]
    assert kinds == [TickKind.LOAD, TickKind.ENCODE, *[TickKind.STEPS] * 3, TickKind.DECODE]
    assert all(report.seconds > 0 for report in reports)
    steps = [report for report in reports if report.kind is TickKind.STEPS]
    assert {(report.rows, report.forward_rows, report.padded_rows) for report in steps} == {(2, 4, 0)}
    assert steps[0].tflop == pytest.approx(4 * row_tflop(batch_key(request)))
    assert reports[-1].rows == 2
    assert engine.take_ticks() == []


def test_steps_tell_how_long_others_have_waited(checkpoint: CheckpointRef) -> None:
    engine = Engine(EngineConfig(check_invariants=True, max_rows=1))
    first = image_request("first", checkpoint)
    others = [
        image_request("second", checkpoint, priority=Priority.BACKGROUND),
        image_request("third", checkpoint, priority=Priority.BACKGROUND),
    ]
    for request in (first, *others):
        engine.submit(request)
    engine.step()
    (report,) = [report for report in engine.take_ticks() if report.kind is TickKind.STEPS]
    assert set(report.oldest_wait_s) == {Priority.BACKGROUND}
    engine.close()


def test_work_of_a_refiner_has_its_own_price(tmp_path: Path) -> None:
    checkpoints = FamilyCheckpoints(tmp_path)
    checkpoint = replace(checkpoints.plain("sdxl-refiner"), variant="refiner")
    refiner = RefinerRef(checkpoint=checkpoint, switch_at=0.5)
    fields = {"width": 64, "height": 64, "seeds": (1, 2), "refiner": refiner}
    engine = Engine(EngineConfig(check_invariants=True))
    run_all(engine, [image_request("r", checkpoints.plain("sdxl"), **fields)])
    steps = [report.tflop for report in engine.take_ticks() if report.kind is TickKind.STEPS]
    own, refining = (4 * price_of("sdxl", variant).tflop(64 * 64) for variant in ("", "refiner"))
    assert steps == pytest.approx([own, own, refining, refining])
    assert own != pytest.approx(refining)


def test_work_of_controls_is_counted(tmp_path: Path) -> None:
    control = ExtraNetworks(tmp_path).control("sd15", 1)
    fields = {"width": 64, "height": 64, "controls": (control,), "steps": 1}
    engine = Engine(EngineConfig(check_invariants=True))
    run_all(engine, [image_request("r", FamilyCheckpoints(tmp_path).plain("sd15"), **fields)])
    (report,) = [report for report in engine.take_ticks() if report.kind is TickKind.STEPS]
    price = price_of("sd15")
    assert report.tflop == pytest.approx(2 * (1 + price.control_share) * price.tflop(64 * 64))


def test_rows_that_fill_up_a_call_are_counted_apart(checkpoint: CheckpointRef) -> None:
    engine = Engine(EngineConfig(check_invariants=True, exact_rows=4))
    run_all(engine, [image_request(f"r{seed}", checkpoint, tier=Tier.EXACT) for seed in range(3)])
    (report, *_) = [report for report in engine.take_ticks() if report.kind is TickKind.STEPS]
    assert (report.rows, report.forward_rows, report.padded_rows) == (3, 6, 2)


def test_parts_of_a_requests_time_make_up_the_whole(checkpoint: CheckpointRef) -> None:
    """Of two passes, whose first decode lies among the steps."""
    engine = Engine(EngineConfig(check_invariants=True))
    hires = HiresFix(width=48, height=48, strength=0.5, steps=4)
    final = run_all(engine, [image_request("r", checkpoint, hires=hires)]).final("r")
    assert isinstance(final, RequestDone)
    spent = final.timings
    before_steps = spent.queued_s + spent.load_s + spent.encode_s
    after = spent.decode_s + spent.encode_image_s
    assert before_steps + spent.denoise_s + after <= spent.total_s
    assert min(spent.load_s, spent.encode_s, spent.denoise_s, spent.decode_s, spent.encode_image_s) > 0


def test_reports_that_nobody_takes_do_not_pile_up() -> None:
    log = TickLog()
    for number in range(MOST_KEPT + 2):
        log.add(TickReport(kind=TickKind.LOAD, seconds=number))
    taken = log.take()
    assert (len(taken), taken[0].seconds) == (MOST_KEPT, 2.0)
