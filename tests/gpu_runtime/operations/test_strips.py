"""Convolutions in strips: the same result, and no slice with more work than a processor does in 150 ms."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from gpu_runtime.postprocess import strips
from gpu_runtime.postprocess.edges import HED
from gpu_runtime.postprocess.pieces import finish, with_share
from gpu_runtime.postprocess.strips import convolved
from gpu_runtime.postprocess.upscalers import RRDBNet, SRVGGNetCompact, UpConv7

MOST = 200_000
"""Products a strip, in place of the many that a real picture has."""


@pytest.fixture(autouse=True)
def _small_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strips, "MOST_PRODUCTS", MOST)


def largest_slice(work: Generator[Any, None, Any]) -> tuple[int, int]:
    """Products of the slice that has most of them, and how many slices there were."""
    sums: list[int] = []
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        sums.extend(counter.get_total_flops() // 2 for _ in work)
        sums.append(counter.get_total_flops() // 2)
    return max(after - before for before, after in zip([0, *sums], sums, strict=False)), len(sums)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("size", [(37, 20), (8, 90), (3, 5)])
def test_strips_make_what_the_whole_makes(padding: int, kernel: int, size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(12, 20, kernel, padding=padding).requires_grad_(False)
    image = torch.randn(2, 12, *size)
    made = finish(convolved(layer, image))
    assert made.shape == layer(image).shape
    assert torch.allclose(made, layer(image), atol=1e-5)


@pytest.mark.parametrize(
    "network",
    [HED(), RRDBNet(blocks=1, features=16, growth=8), SRVGGNetCompact(convolutions=2, features=16)],
    ids=["HED", "RRDB", "SRVGG"],
)
def test_no_slice_of_a_network_is_long(network: nn.Module) -> None:
    image = torch.rand(1, 3, 24, 8)
    # A strip has at least one row; the widest layers' rows are what cannot be cut.
    row = max(
        layer.weight.numel() * 8 * getattr(network, "scale", 1)
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
    )
    most, slices = largest_slice(network.parts(image))  # type: ignore[operator]  # each has parts
    assert most <= max(2 * MOST, row)
    _, larger = largest_slice(network.parts(image.repeat(1, 1, 2, 2)))  # type: ignore[operator]
    assert larger > 1.5 * slices


@pytest.mark.parametrize("network", [HED(), RRDBNet(blocks=1), UpConv7()], ids=["HED", "RRDB", "UpConv7"])
def test_networks_answer_the_same_in_strips(network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.rand(1, 3, 40, 32)
    with torch.inference_mode():
        cut = network(image)
        monkeypatch.setattr(strips, "MOST_PRODUCTS", 1e12)
        whole = network(image)
    assert torch.allclose(cut, whole, atol=1e-4)


def test_shares_of_a_part_are_those_of_the_whole() -> None:
    def work() -> Generator[None, None, str]:
        yield
        yield
        return "made"

    def outer() -> Generator[float, None, str]:
        return (yield from with_share(work(), 0.3))

    assert finish(outer()) == "made"
    running = outer()
    shares = [next(running), next(running)]
    assert shares == [0.3, 0.3]
