"""Compiled regions, fp8 and policy where there is a device for them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from gpu_runtime.config import EngineConfig
from gpu_runtime.devices import HOPPER, choose_device
from gpu_runtime.engine import Engine
from gpu_runtime.execution.fp8 import Fp8Weights, fast_products
from gpu_runtime.execution.regions import RegionCompiler, State
from gpu_runtime.messages import CheckpointRef, Tier
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
