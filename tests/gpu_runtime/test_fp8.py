"""fp8 products: how far they are off, that rows do not mix, and that weights follow their slot."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers.models.attention import BasicTransformerBlock
from torch import Tensor, nn

from gpu_runtime.config import EngineConfig
from gpu_runtime.execution.calling import calling
from gpu_runtime.execution.fp8 import Fp8Linear, Fp8Weights, fast_products, quantise
from gpu_runtime.execution.preparing import Execution
from gpu_runtime.execution.regions import State
from gpu_runtime.messages import Tier
from tests.gpu_runtime.weight_store import PLAN

WIDTH = 64

MOST_ERROR = 0.05
"""Of the products' norm: 3 bits after the leading one on both sides, and the errors of a sum average out."""


class UNet2DConditionModel(nn.Module):
    """By its name a denoiser: one block of the real ones between two layers that stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.block: Any = BasicTransformerBlock(WIDTH, 2, WIDTH // 2, cross_attention_dim=WIDTH)
        self.odd = nn.Linear(WIDTH, 8)

    def forward(self, sample: Tensor, encoder_hidden_states: Tensor) -> Tensor:
        hidden = self.block(self.first(sample), encoder_hidden_states=encoder_hidden_states)
        result: Tensor = self.odd(hidden)
        return result


@pytest.fixture
def network() -> UNet2DConditionModel:
    torch.manual_seed(0)
    return UNet2DConditionModel().eval().requires_grad_(False)


def off_by(ours: Tensor, reference: Tensor) -> float:
    return float((ours - reference).norm() / reference.norm())


def test_quantised_rows_are_near_and_extremes_survive() -> None:
    torch.manual_seed(0)
    rows = torch.randn(5, 48) * torch.tensor([[1e-3], [1.0], [50.0], [1e4], [0.0]])
    rows[1, 7] = 300.0
    numbers, scale = quantise(rows)
    back = numbers.float() * scale
    assert numbers.dtype == torch.float8_e4m3fn
    assert scale.shape == (5, 1)
    # A value is off by at most 1/16 of itself, or by half of the smallest step beside a large neighbour.
    assert ((back - rows).abs() <= rows.abs() / 16 + scale * 2**-10).all()
    assert back[1, 7] == pytest.approx(300.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_product_is_near_that_of_full_precision(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(128, 96).to(dtype).requires_grad_(False)
    network = nn.ModuleDict({"block": FluxTransformerBlock(layer)})
    weights = Fp8Weights(network)
    weights.filled()
    x = torch.randn(2, 7, 128, dtype=dtype)
    plain = layer(x)
    with fast_products(weights.layers):
        fast = layer(x)
    assert fast.dtype == dtype
    assert fast.shape == plain.shape
    assert 0 < off_by(fast.float(), plain.float()) < MOST_ERROR
    assert torch.equal(layer(x), plain), "outside the block it is what it was"


class FluxTransformerBlock(nn.Module):
    def __init__(self, layer: nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, tokens: Tensor) -> Tensor:
        result: Tensor = self.layer(tokens)
        return result


class FluxTransformer2DModel(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, hidden_states: Tensor) -> Tensor:
        result: Tensor = self.block(hidden_states)
        return result


def test_only_the_large_layers_of_blocks_are_quantised(network: UNet2DConditionModel) -> None:
    names = set(network.state_dict())
    weights = Fp8Weights(network)
    quantised = {name for name, each in network.named_modules() if isinstance(each, Fp8Linear)}
    assert quantised == {
        *(f"block.attn{number}.to_{name}" for number in (1, 2) for name in ("q", "k", "v", "out.0")),
        "block.ff.net.0.proj",
        "block.ff.net.2",
    }
    assert set(network.state_dict()) == names, "files need not bring what is made from them"
    sizes = [layer.weight.numel() + 4 * layer.out_features for layer in weights.layers]
    assert weights.size_bytes == sum(sizes)


def test_fast_rows_do_not_mix_and_other_tiers_keep_their_bits(network: UNet2DConditionModel) -> None:
    text, sample = torch.randn(3, 5, WIDTH), torch.randn(3, 9, WIDTH)
    # What a neighbour brings must not change the scale of a row.
    sample[1] *= 1000
    plain = network(sample, text)
    prepared = Execution(EngineConfig(fp8=True), PLAN).prepare(network)
    assert prepared is not None
    prepared.filled()
    assert torch.equal(network(sample, text), plain)
    with calling(Tier.FAST):
        together = network(sample, text)
        alone = network(sample[:1], text[:1])
    assert 0 < off_by(together[0], plain[0]) < MOST_ERROR
    assert off_by(together[:1], alone) < 1e-6


def test_weights_follow_what_the_slot_is_filled_with(network: UNet2DConditionModel) -> None:
    weights = Fp8Weights(network)
    weights.filled()
    layer = weights.layers[0]
    before = layer.fp8_weight.float() * layer.fp8_scale.t()
    layer.weight.data.mul_(-2)
    weights.filled()
    assert torch.allclose(layer.fp8_weight.float() * layer.fp8_scale.t(), -2 * before)
    weights.emptied()
    assert all(each.fp8_weight.numel() == each.fp8_scale.numel() == 0 for each in weights.layers)


def test_compiled_region_multiplies_in_fp8_for_fast_rows_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpu_runtime.execution.regions.BACKEND", "eager")
    execution = Execution(EngineConfig(fp8=True, compile="regional"), PLAN)
    torch.manual_seed(0)
    block = FluxTransformerBlock(nn.Linear(WIDTH, WIDTH))
    network = FluxTransformer2DModel(block).eval().requires_grad_(False)
    sample = torch.randn(2, 9, WIDTH)
    plain = network(sample)
    prepared = execution.prepare(network)
    assert prepared is not None
    prepared.filled()
    with torch.inference_mode():
        for _ in range(2):
            standard = network(sample)
            with calling(Tier.FAST):
                fast = network(sample)
            execution.regions.wait()
    assert execution.regions.count(State.READY) == 2
    assert off_by(standard, plain) < 1e-6
    assert 1e-4 < off_by(fast, plain) < MOST_ERROR
