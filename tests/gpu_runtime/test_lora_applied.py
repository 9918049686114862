"""Adapters of single rows: exact for rows without any, independent of neighbours, and gone afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gpu_runtime.adapters.applied import applied
from gpu_runtime.adapters.bank import AdapterBank
from gpu_runtime.adapters.use import LoraUse
from gpu_runtime.config import EngineConfig
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.execution import regions
from gpu_runtime.execution.preparing import Execution
from gpu_runtime.tiny.lora import make_tiny_lora
from gpu_runtime.tiny.pipelines import tiny_pipeline
from tests.gpu_runtime.lora_files import ROOM, factors, lora_ref, write_lora
from tests.gpu_runtime.rendering import relative_error
from tests.gpu_runtime.weight_store import PLAN

TOLERANCE = 1e-5
ROWS = 4


@pytest.fixture(scope="module")
def unet() -> Any:
    return tiny_pipeline("sd15").unet


@pytest.fixture(scope="module")
def bank() -> AdapterBank:
    return AdapterBank(ROOM)


@pytest.fixture(scope="module")
def styles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three adapters of different ranks."""
    folder = tmp_path_factory.mktemp("loras")
    return [
        make_tiny_lora("sd15", folder / f"{seed}.safetensors", rank=rank, seed=seed)
        for seed, rank in enumerate((2, 4, 7))
    ]


@pytest.fixture
def uses(bank: AdapterBank, unet: Any, styles: list[Path]) -> list[LoraUse]:
    return [
        use
        for file, scale in zip(styles, (0.8, -0.5, 1.0), strict=True)
        for use in bank.uses([lora_ref(file, scale)], "sd15", {"unet": unet})
    ]


def run(unet: Any, rows: slice = slice(None)) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(ROWS, 4, 16, 16, generator=generator)[rows]
    context = torch.randn(ROWS, 5, unet.config.cross_attention_dim, generator=generator)[rows]
    times = torch.tensor([500.0, 20.0, 999.0, 3.0])[rows]
    with torch.inference_mode():
        predicted: Tensor = unet(latents, times, encoder_hidden_states=context)[0]
    return predicted


def run_with(unet: Any, rows: Sequence[Sequence[LoraUse]]) -> Tensor:
    with applied(unet, "unet", rows):
        return run(unet)


def hooks(network: Any) -> int:
    return sum(len(module._forward_hooks) for module in network.modules())


def alone(unet: Any, row: int, uses: Sequence[LoraUse]) -> Tensor:
    with applied(unet, "unet", [uses]):
        return run(unet, slice(row, row + 1))[0]


def test_rows_without_adapters_are_the_same_to_the_bit(unet: Any, uses: list[LoraUse]) -> None:
    plain = run(unet)
    a, b, _ = uses
    mixed = run_with(unet, [[], [a], [], [a, b]])
    assert torch.equal(mixed[0], plain[0])
    assert torch.equal(mixed[2], plain[2])
    assert relative_error(mixed[1], plain[1]) > 0.01
    assert relative_error(mixed[3], plain[3]) > 0.01


@pytest.mark.parametrize(
    "layout",
    ["a b c ab", "a a b b", "a b a b", "ab ab ab -", "b - - a", "c c c a", "a a a a", "ab - ba -"],
)
def test_each_row_equals_itself_alone(layout: str, unet: Any, uses: list[LoraUse]) -> None:
    named = dict(zip("abc", uses, strict=True))
    rows = [[named[name] for name in row if name != "-"] for row in layout.split()]
    batch = run_with(unet, rows)
    for position, row in enumerate(rows):
        assert relative_error(batch[position], alone(unet, position, row)) <= TOLERANCE


def test_neighbours_of_other_adapters_do_not_matter(unet: Any, uses: list[LoraUse]) -> None:
    a, b, c = uses
    first, second = run_with(unet, [[a], [b], [b], [c]]), run_with(unet, [[a], [c], [c], [b, c]])
    assert relative_error(first[0], second[0]) <= TOLERANCE


def test_no_hook_without_adapters(
    unet: Any, uses: list[LoraUse], bank: AdapterBank, styles: list[Path]
) -> None:
    (unused,) = bank.uses([lora_ref(styles[0], 0.0)], "sd15", {"unet": unet})
    for rows in ([], [[], []], [[unused]]):
        with applied(unet, "unet", rows):
            assert hooks(unet) == 0
    with applied(unet, "text_encoder", [[uses[0]]]):
        assert hooks(unet) == 0
    with applied(unet, "unet", [[uses[0]]]):
        assert hooks(unet) == len(uses[0].lora.layers["unet"]) > 100


def test_no_hook_is_left_behind(unet: Any, uses: list[LoraUse]) -> None:
    plain = run(unet)
    with pytest.raises(ZeroDivisionError), applied(unet, "unet", [[uses[0]]] * ROWS):
        raise ZeroDivisionError
    assert hooks(unet) == 0
    with pytest.raises(UnsupportedCombination, match=r"adapters of 2 rows met a layer .* called with 4"):
        run_with(unet, [[uses[0]], [uses[1]]])
    assert hooks(unet) == 0
    assert torch.equal(run(unet), plain)


def test_no_weight_changes(unet: Any, uses: list[LoraUse]) -> None:
    before = {name: value.clone() for name, value in unet.state_dict().items()}
    run_with(unet, [[use] for use in uses] + [uses])
    assert all(torch.equal(value, before[name]) for name, value in unet.state_dict().items())


def test_opening_twice_adds_both(unet: Any, uses: list[LoraUse]) -> None:
    a, b, _ = uses
    with applied(unet, "unet", [[a]] * ROWS):
        nested = run_with(unet, [[b]] * ROWS)
        assert hooks(unet) == len(a.lora.layers["unet"])
    assert relative_error(nested, run_with(unet, [[a, b]] * ROWS)) <= TOLERANCE
    assert hooks(unet) == 0


def test_strengths_scale_and_add(unet: Any, bank: AdapterBank, tmp_path: Path) -> None:
    """In one layer the sum of two adapters is linear in their strengths."""
    path = "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"
    shape = tuple(unet.get_submodule(path).weight.shape)
    weights, refs = [], []
    for seed, scale in ((1, 0.5), (2, -2.0)):
        down, up = factors(shape, rank=2 + seed, seed=seed)
        tensors = {f"unet.{path}.lora_A.weight": down, f"unet.{path}.lora_B.weight": up}
        refs.append(lora_ref(write_lora(tmp_path / f"{seed}", tensors), scale))
        weights.append(up @ down * scale)
    both = bank.uses(refs, "sd15", {"unet": unet})
    layer = unet.get_submodule(path)
    x = torch.randn(2, 9, shape[1], generator=torch.Generator().manual_seed(3))
    with torch.inference_mode(), applied(unet, "unet", [both, both[1:]]):
        found = layer(x)
    expected = x @ layer.weight.T
    torch.testing.assert_close(
        found[0], expected[0] + x[0] @ (weights[0] + weights[1]).T, rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(found[1], expected[1] + x[1] @ weights[1].T, rtol=1e-5, atol=1e-5)


def test_a_compiled_network_does_not_ignore_adapters(
    uses: list[LoraUse], monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs = []

    def backend(graph: Any, _inputs: Any) -> Any:
        graphs.append(graph)
        return graph.forward

    network = tiny_pipeline("sd15").unet
    expected = run_with(network, [[uses[0]]] * ROWS)
    monkeypatch.setattr(regions, "BACKEND", backend)
    Execution(EngineConfig(compile="whole"), PLAN).prepare(network)
    run(network)
    made = len(graphs)
    assert made > 0
    found = run_with(network, [[uses[0]]] * ROWS)
    assert relative_error(found, expected) <= TOLERANCE
    assert relative_error(run(network), expected) > 0.01
    assert len(graphs) == made, "neither the adapters nor the call after them made a graph"
    torch._dynamo.reset()


def test_half_precision_stays_close_to_full(uses: list[LoraUse], styles: list[Path]) -> None:
    full = tiny_pipeline("sd15").unet
    half = tiny_pipeline("sd15").unet.to(torch.bfloat16)
    own = AdapterBank(ROOM)
    (use,) = own.uses([lora_ref(styles[0], 0.8)], "sd15", {"unet": half})
    layer = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_out.0"
    assert use.lora.layers["unet"][layer][0].tensors()[0].dtype is torch.bfloat16
    x = torch.randn(2, 9, full.get_submodule(layer).in_features, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode(), applied(half, "unet", [[use], []]), applied(full, "unet", [[uses[0]], []]):
        expected = full.get_submodule(layer)(x)
        found = half.get_submodule(layer)(x.to(torch.bfloat16))
    assert found.dtype is torch.bfloat16
    assert relative_error(found.float(), expected) <= 0.02
