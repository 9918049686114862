"""What was measured outlives a restart, and nothing that is wrong with the file does harm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gpu_runtime.batching.batch_key import BatchKey, batch_key
from gpu_runtime.batching.step_times import MIN_MEASUREMENTS
from gpu_runtime.batching.turns import UNLIMITED_ROWS
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.estimates import ESTIMATE_MARGIN, UNMEASURED_CALL_S, Estimates
from gpu_runtime.learned import SAVE_EVERY_S, LearnedTimes, MeasuredOn
from gpu_runtime.messages import CheckpointRef, Tier
from tests.gpu_runtime.driving import drive, image_request, run_all

KEY = BatchKey(checkpoint="c", family="sd15", width=512, height=512, tier=Tier.FAST, shape=(154,))
HERE = MeasuredOn("a processor", "float32", "2.0")


def measured() -> Estimates:
    """Of two row counts, the larger of which is no faster for each row."""
    estimates = Estimates()
    for rows, seconds in ((2, 0.2), (4, 0.4)):
        for _ in range(MIN_MEASUREMENTS):
            estimates.record_call(KEY, rows, seconds)
            estimates.record_decode(KEY, 1, 0.5)
    return estimates


def save(folder: Path, measured_on: MeasuredOn = HERE) -> LearnedTimes:
    kept = LearnedTimes(folder, measured_on, measured())
    kept.save()
    return kept


def reopened(folder: Path, measured_on: MeasuredOn = HERE) -> tuple[bool, Estimates]:
    """Whether there was something, and what is expected then."""
    estimates = Estimates()
    return LearnedTimes(folder, measured_on, estimates).load(), estimates


def test_restart_knows_how_long_calls_take_and_how_many_rows_to_share(tmp_path: Path) -> None:
    before = measured()
    save(tmp_path / "learned")
    found, after = reopened(tmp_path / "learned")
    assert found
    for rows in (1, 2, 3, 8):
        assert after.call_cost(KEY, rows) == before.call_cost(KEY, rows)
    assert after.best_rows(KEY) == before.best_rows(KEY) == 2
    assert after.decode_cost(KEY) == 0.5
    assert after.patience(1.0) == before.patience(1.0)
    other = BatchKey(checkpoint="c", family="sdxl", width=512, height=512)
    assert after.call_cost(other, 2) == before.call_cost(other, 2)


def test_watchdog_waits_for_the_first_call_of_every_process(tmp_path: Path) -> None:
    """It includes compiling and selection of kernels, whatever later ones took."""
    save(tmp_path)
    _, after = reopened(tmp_path)
    first = after.turn_s(KEY, rows=2, new_requests=0, is_resident=True)
    assert first == after.decode_s(KEY, images=1, is_resident=True) == ESTIMATE_MARGIN * UNMEASURED_CALL_S
    after.record_call(KEY, 2, 0.2)
    after.record_decode(KEY, 1, 0.5)
    assert after.turn_s(KEY, rows=2, new_requests=0, is_resident=True) == pytest.approx(0.2 * ESTIMATE_MARGIN)
    assert after.decode_s(KEY, images=1, is_resident=True) == pytest.approx(0.5 * ESTIMATE_MARGIN)


@pytest.mark.parametrize("field", MeasuredOn._fields)
def test_measurements_hold_for_their_device_dtype_and_torch_alone(field: str, tmp_path: Path) -> None:
    mine = save(tmp_path)
    other = HERE._replace(**{field: "another"})
    assert not reopened(tmp_path, other)[0]
    mine.file.rename(LearnedTimes(tmp_path, other, Estimates()).file)
    assert not reopened(tmp_path, other)[0], "nor does a file of another name"


def entry(**changes: Any) -> dict[str, Any]:
    fields = {
        "family": "f",
        "width": 8,
        "height": 8,
        "tier": "standard",
        "tokens": [],
        "rows": {"1": [0.1, 1]},
    }
    return {**fields, **changes}


def times(**changes: Any) -> dict[str, Any]:
    return {"calls": [entry()], "decodes": [], "call_s": 0.1, "s_per_tflop": None, **changes}


def test_file_that_somebody_wrote_by_hand_is_read(tmp_path: Path) -> None:
    file = save(tmp_path).file
    file.write_text(json.dumps({"measured_on": HERE._asdict(), "times": times()}))
    found, estimates = reopened(tmp_path)
    assert found
    assert estimates.call_cost(BatchKey(checkpoint="c", family="f", width=8, height=8), 1) == 0.1


@pytest.mark.parametrize(
    "damage",
    [
        [],
        {},
        None,
        times(calls=None),
        times(calls=[3]),
        times(calls=[entry(tier="none such")]),
        times(calls=[entry(rows=[1, 2])]),
        times(calls=[entry(rows={"1": [0.1]})]),
        times(calls=[entry(rows={"1": [-1.0, 1]})]),
        times(calls=[entry(rows={"1": [float("nan"), 1]})]),
        times(calls=[entry(rows={"0": [0.1, 1]})]),
        times(decodes=[entry(rows={"1": [0.1, 0]})]),
        times(call_s="fast"),
        times(s_per_tflop=float("inf")),
    ],
    ids=repr,
)
def test_damaged_values_are_passed_over_with_a_warning(
    damage: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = save(tmp_path).file
    file.write_text(json.dumps({"measured_on": HERE._asdict(), "times": damage}))
    found, estimates = reopened(tmp_path)
    assert not found
    assert "are passed over" in caplog.text
    assert estimates.as_plain() == Estimates().as_plain()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[]", b"7"], ids=repr)
def test_file_that_is_no_json_is_passed_over(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path).file.write_bytes(content)
    assert not reopened(tmp_path)[0]
    assert "are passed over" in caplog.text


def test_first_start_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert not reopened(tmp_path / "none")[0]
    assert caplog.text == ""


def test_write_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "learned"
    kept = save(folder)
    before = kept.file.read_bytes()

    def full(path: Path, *args: Any, **kwargs: Any) -> int:
        path.touch()
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    LearnedTimes(folder, HERE, Estimates()).save()
    assert kept.file.read_bytes() == before
    assert [file.name for file in folder.iterdir()] == [kept.file.name]
    assert "no space left" in caplog.text


def test_nothing_is_written_again_that_was_written_before(tmp_path: Path) -> None:
    kept = save(tmp_path)
    kept.file.unlink()
    kept.save()
    assert not kept.file.exists()


def test_engine_keeps_what_it_measured_every_few_minutes_and_when_it_drains(
    tmp_path: Path, checkpoint: CheckpointRef
) -> None:
    now = 0.0
    config = EngineConfig(device="cpu", learned=str(tmp_path / "learned"))
    engine = Engine(config, clock=lambda: now)
    request = image_request("r", checkpoint)
    run_all(engine, [request])
    assert not (tmp_path / "learned").exists()
    now = SAVE_EVERY_S
    run_all(engine, [request])
    (file,) = (tmp_path / "learned").iterdir()
    saved = file.read_text()
    engine.submit(request)
    engine.drain()
    drive(engine)
    assert file.read_text() != saved
    engine.close()
    again = Engine(config)
    expected = again._estimates.call_cost(batch_key(request), 2)
    assert expected == pytest.approx(engine._estimates.call_cost(batch_key(request), 2), rel=0.9)
    assert expected != Engine(EngineConfig(device="cpu"))._estimates.call_cost(batch_key(request), 2)
    assert again._estimates.best_rows(batch_key(request)) < UNLIMITED_ROWS
