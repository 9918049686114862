"""What rows of the fast tier remember is counted, and is the first thing to go when memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gpu_runtime.batching.batch_key import batch_key
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.execution.calling import current
from gpu_runtime.families.family import Conditioning, ForwardInputs, Row
from gpu_runtime.families.sd15 import StableDiffusion15
from gpu_runtime.feature_cache.features import RowFeatures
from gpu_runtime.feature_cache.memory import FeatureMemory
from gpu_runtime.held import HeldRequest
from gpu_runtime.messages import CheckpointRef, ImageRequest, Tier
from gpu_runtime.telemetry import TickKind, TickReport
from gpu_runtime.weights import assembly
from gpu_runtime.weights.assembly import allowance_of
from gpu_runtime.weights.budget import CPU_MOST, CPU_SHARE, MIB, ActivationPeaks, Allowance
from gpu_runtime.weights.device_weights import DeviceWeights
from gpu_runtime.weights.source import WeightsSource
from tests.gpu_runtime.driving import drive, image_request, pixels, run_all

ALWAYS = 1e6
"""A threshold below which every change is."""

GIB = 2**30


class Crowded(StableDiffusion15):
    """Has room for `capacity` forward rows, or for `beside_features` where rows remember something."""

    engine: Engine
    capacity = 10**6
    beside_features = 10**6
    decodes_beside_features = True
    calls: list[int]

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        rows = part.stop - part.start
        is_remembering = current().features is not None or remembered_bytes(self.engine) > 0
        if rows > (self.beside_features if is_remembering else self.capacity):
            raise torch.OutOfMemoryError("out of memory")
        self.calls.append(rows)
        return super().forward(inputs, part)

    def decode(self, latents: Tensor, vae: object = None) -> Tensor:
        if not self.decodes_beside_features and remembered_bytes(self.engine):
            raise torch.OutOfMemoryError("out of memory")
        return super().decode(latents, vae)


def remembered_bytes(engine: Engine) -> int:
    return FeatureMemory(engine._register.rows).size_bytes


Build = Callable[..., tuple[Engine, type[Crowded]]]


@pytest.fixture
def build() -> Build:
    def build(**settings: object) -> tuple[Engine, type[Crowded]]:
        family = type("Crowded", (Crowded,), {"calls": []})

        def load(checkpoint: CheckpointRef, source: WeightsSource) -> Crowded:
            return family(source)

        fields = {"device": "cpu", "compile": "off", "reuse_threshold": ALWAYS, "check_invariants": True}
        engine = Engine(EngineConfig.from_mapping({**fields, **settings}), families={"sd15": load})
        family.engine = engine
        return engine, family

    return build


def fast(checkpoint: CheckpointRef, name: str = "r", **changes: object) -> ImageRequest:
    fields = {"tier": Tier.FAST, "seeds": (1, 2), "steps": 4}
    return image_request(name, checkpoint, **{**fields, **changes})


def step_reports(engine: Engine) -> list[TickReport]:
    return [report for report in engine.take_ticks() if report.kind is TickKind.STEPS]


def test_telemetry_shows_what_rows_remember_until_they_retire(
    build: Build, checkpoint: CheckpointRef
) -> None:
    engine, _ = build()
    run_all(engine, [fast(checkpoint)])
    reports = [report.feature_bytes for report in step_reports(engine)]
    run_all(engine, [fast(checkpoint, guidance_scale=1.0, seeds=(1,), steps=2)])
    half, _ = [report.feature_bytes for report in step_reports(engine)]
    assert half > 0
    assert reports == [4 * half, 4 * half, 4 * half, 0], "two images, a row for each half of their guidance"


def test_row_that_retires_is_freed_before_the_turn_ends(
    build: Build, checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others of the turn, and its previews, come after it."""
    engine, _ = build()
    engine.submit(fast(checkpoint, steps=1))
    retired: list[Row] = []
    retire = engine._register.retire

    def noting(held: HeldRequest, index: int, latents: Tensor) -> None:
        row = held.images[index].row
        assert row is not None
        retired.append(row)
        retire(held, index, latents)
        assert row.features is None

    monkeypatch.setattr(engine._register, "retire", noting)
    drive(engine)
    assert len(retired) == 2


def test_features_go_before_a_call_is_made_smaller(build: Build, checkpoint: CheckpointRef) -> None:
    engine, family = build()
    request = fast(checkpoint)
    engine.submit(request)
    engine.step()
    family.beside_features = 0
    image = drive(engine).images("r")[0]
    assert family.calls == [4] * 4
    assert engine._calls.row_limit(batch_key(request)) > 4
    # It is as if it had never reused anything.
    plain = run_all(build()[0], [replace(request, tier=Tier.STANDARD)]).images("r")[0]
    assert abs(pixels(image.data) - pixels(plain.data)).max() <= 1


def test_rows_remember_nothing_for_a_while_after_memory_ran_out(
    build: Build, checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gpu_runtime.calls.SHRUNK_TURNS", 3)
    engine, family = build()
    family.beside_features = 0
    engine.submit(fast(checkpoint, steps=6))
    for _ in range(2):
        engine.step()
    family.beside_features = 10**6
    drive(engine)
    assert [report.feature_bytes > 0 for report in step_reports(engine)] == [False] * 3 + [True] * 2 + [False]


@pytest.mark.parametrize("tier", [Tier.STANDARD, Tier.EXACT])
def test_features_of_others_go_for_calls_of_every_tier(
    tier: Tier, build: Build, checkpoint: CheckpointRef
) -> None:
    engine, family = build(max_rows=1)
    engine.submit(fast(checkpoint, seeds=(1,)))
    engine.step()
    assert remembered_bytes(engine)
    family.beside_features = 0
    engine.submit(image_request("s", checkpoint, tier=tier, account="ben"))
    outcome = drive(engine)
    assert all(len(outcome.images(name)) == 1 for name in "rs")
    assert set(family.calls) == {2}


def test_features_go_for_a_decode(build: Build, checkpoint: CheckpointRef) -> None:
    engine, family = build()
    family.decodes_beside_features = False
    outcome = run_all(engine, [fast(checkpoint, steps=8), fast(checkpoint, "short", steps=2)])
    assert len(outcome.images("short")) == len(outcome.images("r")) == 2


def test_features_go_before_weights_do(
    build: Build, checkpoint: CheckpointRef, v_checkpoint: CheckpointRef
) -> None:
    engine, _ = build()
    run_all(engine, [image_request("old", v_checkpoint, steps=1)])
    engine.submit(fast(checkpoint))
    engine.step()
    weights = engine._residency._weights
    here, held = weights.size_bytes, remembered_bytes(engine)
    assert held
    allowance = weights._allowance()
    weights._allowance = lambda: replace(
        allowance,
        target_bytes=here + held // 2 - remembered_bytes(engine),
        spare_bytes=remembered_bytes(engine),
    )
    weights._make_room(held // 4)
    assert (weights.size_bytes, remembered_bytes(engine)) == (here, 0)
    drive(engine)


def test_features_go_when_a_load_finds_the_device_full(build: Build, checkpoint: CheckpointRef) -> None:
    engine, _ = build()
    engine.submit(fast(checkpoint))
    engine.step()
    weights: DeviceWeights = engine._residency._weights
    here = weights.size_bytes

    def load() -> str:
        if remembered_bytes(engine):
            raise torch.OutOfMemoryError("out of memory")
        return "loaded"

    assert weights._evicting_while_full(load) == "loaded"
    assert weights.size_bytes == here
    drive(engine)


def row(*halves: int) -> Row:
    """Remembers so many bytes for each half."""
    features = [
        RowFeatures(first=torch.zeros(1, half // 8), rest=torch.zeros(1, half // 8)) for half in halves
    ]
    conditioning = Conditioning(positive=None, negative=None, guidance_scale=1.0)  # type: ignore[arg-type]
    remembered = (*features, None, None)[:2] if halves else None
    return Row(conditioning=conditioning, sampler=None, latents=torch.zeros(1), features=remembered)  # type: ignore[arg-type]


def test_budget_of_weights_counts_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "usable_device_bytes", lambda device: 80 * GIB)
    peaks = ActivationPeaks()
    peaks.record("sdxl", width=1024, height=1024, rows=4, size_bytes=8 * GIB, now=0.0)
    features = FeatureMemory(lambda: rows)
    rows: list[Row] = []

    def ask(device: str, weights_budget_mb: int = 0) -> Allowance:
        config = EngineConfig(lora_budget_mb=0, weights_budget_mb=weights_budget_mb)
        return allowance_of(
            config, torch.device(device), peaks, spare=features, clock=lambda: 0.0, free_host=10 * GIB
        )()

    rows = [row(MIB, 2 * MIB), row(MIB), row()]
    assert features.size_bytes == 4 * MIB
    on_device, on_host = ask("cuda"), ask("cpu")
    assert on_device.target_bytes == 80 * GIB - 10 * GIB - 4 * MIB
    assert on_host.target_bytes == CPU_SHARE * 10 * GIB - 4 * MIB
    assert (on_device.most_bytes, on_host.most_bytes) == (80 * GIB, CPU_MOST * 10 * GIB)
    assert on_device.spare_bytes == on_host.spare_bytes == 4 * MIB
    configured = ask("cuda", weights_budget_mb=100)
    assert (configured.target_bytes, configured.spare_bytes) == (100 * MIB, 0)
    assert features.drop() == 4 * MIB
    assert features.drop() == features.size_bytes == ask("cuda").spare_bytes == 0
