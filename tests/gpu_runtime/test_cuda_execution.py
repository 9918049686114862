"""Compiled regions, fp8 and policy where there is a device for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from gpu_runtime.config import EngineConfig
from gpu_runtime.devices import HOPPER, choose_device
from gpu_runtime.engine import Engine
from gpu_runtime.execution.fp8 import Fp8Weights, fast_products
from gpu_runtime.execution.graphs import CHECKED_REPLAYS, Graph, Graphs
from gpu_runtime.execution.recording import CudaRecorder
from gpu_runtime.execution.regions import RegionCompiler, State
from gpu_runtime.messages import CheckpointRef, ImageRequest, Tier
from gpu_runtime.tiny.pipelines import make_tiny
from tests.bench.gpu.bench import compiler_of
from tests.gpu_runtime.driving import image_request, pixels, run_all
from tests.gpu_runtime.test_fp8 import MOST_ERROR, FluxTransformerBlock, off_by

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"),
]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> CheckpointRef:
    folder = make_tiny("sd3", tmp_path_factory.mktemp("tiny") / "sd3")
    return CheckpointRef(name="sd3", family="sd3", path=str(folder), digest="sd3")


def graphs_of(engine: Engine) -> Graphs | None:
    prepare = engine._residency._weights._pool._prepare
    graphs: Graphs | None = prepare.__self__.graphs  # type: ignore[union-attr]  # an Execution's
    return graphs


def recorded_in(engine: Engine) -> list[Graph]:
    graphs = graphs_of(engine)
    assert graphs is not None
    return [graph for network in graphs._networks for graph in network._graphs.values()]


def images_of(engine: Engine, wanted: Sequence[ImageRequest]) -> list[np.ndarray]:
    """One after the other."""
    return [pixels(run_all(engine, [each]).images(each.request_id)[0].data) for each in wanted]


def compiler(engine: Engine) -> RegionCompiler:
    found = compiler_of(engine)
    assert found is not None
    return found


def test_regions_compile_in_the_background_and_come_back_after_a_restart(
    checkpoint: CheckpointRef, tmp_path: Path
) -> None:
    wanted = image_request("r", checkpoint, width=64, height=64)
    images = []
    for _ in range(2):
        engine = Engine(EngineConfig(compile_cache=str(tmp_path)))
        for _ in range(2):
            images.append(pixels(run_all(engine, [wanted]).images("r")[0].data))
            compiler(engine).wait()
        assert compiler(engine).count(State.READY) > 0
        assert compiler(engine).count(State.FAILED) == 0
        engine.close()
    assert all(abs(image - images[0]).max() <= 8 for image in images), "bfloat16 is rounded elsewhere"
    assert list(tmp_path.glob("compiled-*.bin"))


@pytest.mark.parametrize("mode", ["off", "regional"])
def test_graphs_give_the_images_of_the_same_calls_without(mode: str, checkpoint: CheckpointRef) -> None:
    """Compared before they are used, and given up with what they hold."""
    wanted = [
        image_request(f"{steps}", checkpoint, width=64, height=64, seeds=(steps,), steps=steps)
        for steps in (12, 24, 36)
    ]
    plain = Engine(EngineConfig(compile="off", cuda_graphs="off"))
    replaying = Engine(EngineConfig(compile=mode))
    assert graphs_of(plain) is None
    if mode != "off":
        images_of(replaying, wanted)
        compiler(replaying).wait()
    expected = images_of(plain, wanted)
    for _ in range(2):
        images = images_of(replaying, wanted)
        assert all(abs(a - b).max() <= 8 for a, b in zip(images, expected, strict=True)), (
            "bfloat16 is rounded"
        )
        assert recorded_in(replaying), "nothing was recorded; the log says why"
        assert all(graph.checks == CHECKED_REPLAYS for graph in recorded_in(replaying))
    graphs = graphs_of(replaying)
    assert graphs is not None
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    assert graphs.drop() > 0
    torch.cuda.empty_cache()
    assert torch.cuda.memory_reserved() < before
    assert graphs.size_bytes == 0
    for engine in (plain, replaying):
        engine.close()


def test_graphs_outlast_a_swap_within_their_slot(checkpoint: CheckpointRef, tmp_path: Path) -> None:
    other = make_tiny("sd3", tmp_path / "other", seed=1)
    other_ref = CheckpointRef(name="other", family="sd3", path=str(other), digest="other")
    first, second = (
        image_request(each.name, each, width=64, height=64, steps=24) for each in (checkpoint, other_ref)
    )
    plain = Engine(EngineConfig(compile="off", cuda_graphs="off"))
    images_of(plain, [first])
    # Room for one of them.
    budget_mb = 1.2 * plain.info().weights_bytes / 2**20
    engine = Engine(EngineConfig(compile="off", weights_budget_mb=budget_mb))
    images_of(engine, [first])
    before = recorded_in(engine)
    assert before
    swapped = images_of(engine, [second])[0]
    assert engine.info().resident == ("other",)
    assert all(ours is theirs for ours, theirs in zip(before, recorded_in(engine), strict=True))
    assert abs(swapped - images_of(plain, [second])[0]).max() <= 8
    engine.unload()
    assert recorded_in(engine) == []
    for each in (plain, engine):
        each.close()


def test_call_that_waits_for_the_device_leaves_it_usable() -> None:
    """torch reports the refusal to record like a fault of the device, and ends the recording itself."""
    recorder = CudaRecorder(torch.device("cuda:0"))
    value = torch.ones(4, device="cuda")
    with pytest.raises(RuntimeError):
        recorder.record(lambda: value.sum().item())
    recorder.release()
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    recording, doubled = recorder.record(lambda: value * 2)
    value.fill_(3)
    recording.replay()
    assert doubled.tolist() == [6.0] * 4
    assert recorder.measured_bytes() > 0
    recording.reset()


def test_exact_image_has_the_same_bytes_beside_others(checkpoint: CheckpointRef) -> None:
    engine = Engine(EngineConfig(exact_rows=8))
    watched = image_request("watched", checkpoint, width=64, height=64, tier=Tier.EXACT)
    others = [
        image_request(f"{i}", checkpoint, width=64, height=64, seeds=(i,), steps=i + 1, tier=Tier.EXACT)
        for i in range(5)
    ]
    alone = run_all(engine, [watched]).images("watched")[0].data
    assert run_all(engine, [*others, watched]).images("watched")[0].data == alone
    engine.close()


def test_fp8_product_is_near_that_of_bfloat16() -> None:
    if torch.cuda.get_device_capability() < HOPPER:
        pytest.skip("fp8 products need Hopper")
    torch.manual_seed(0)
    layer = nn.Linear(1024, 768).to("cuda", torch.bfloat16).requires_grad_(False)
    weights = Fp8Weights(nn.ModuleDict({"block": FluxTransformerBlock(layer)}))
    weights.filled()
    x = torch.randn(2, 77, 1024, device="cuda", dtype=torch.bfloat16)
    plain = layer(x)
    with fast_products(weights.layers):
        assert off_by(layer(x).float(), plain.float()) < MOST_ERROR


def test_policy_names_a_kernel_that_takes_every_shape() -> None:
    plan = choose_device(EngineConfig())
    assert plan.dtype_name in plan.reason
    for width in (40, 64, 160):
        q = torch.randn(1, 2, 16, width, device=plan.device, dtype=plan.dtype)
        assert nn.functional.scaled_dot_product_attention(q, q, q).isfinite().all()
