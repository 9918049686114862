"""Linear layers that multiply in fp8 for the `fast` tier: twice bfloat16's rate on Hopper.

Weights are quantised once when a slot is filled and kept beside the others, with a scale for each output; so
they cost half of bfloat16's memory more. Activations are quantised at each call with a scale for each token.
No scale is shared between rows of a batch: what a row gets does not depend on its neighbours.

Numbers are float8_e4m3fn: 3 bits after the leading one, so that a value is off by at most 1/16, and a sum of
many products by about 4 % of its spread (tests/gpu_runtime/test_fp8.py). Layers that steer the rest
(modulation, time embedding, the ends of the network) stay as they are: little work, much effect.

Source of the format: Micikevicius et al. 2022, arXiv:2209.05433.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

FP8 = torch.float8_e4m3fn
MOST = 448.0
"""Its largest number."""

LEAST_SCALE = 1e-12
"""Of rows of zeros, which would be divided by zero."""

MULTIPLE = 16
"""Of both sides of a weight, for the device's product."""

TRANSFORMER_BLOCKS = frozenset(
    {
        "BasicTransformerBlock",
        "FluxSingleTransformerBlock",
        "FluxTransformerBlock",
        "JointTransformerBlock",
    }
)
"""Classes of blocks whose layers are quantised."""


class Fp8Linear(nn.Linear):
    """A linear layer with a second weight. Instances of nn.Linear are made to this class in place."""

    fp8_weight: Tensor
    """[out, in], FP8; without elements while the slot is empty."""
    fp8_scale: Tensor
    """[1, out], float32."""
    is_fast: bool
    """Whether the second weight is used."""

    def forward(self, input: Tensor) -> Tensor:
        """[..., in] to [..., out], in the input's dtype."""
        if not self.is_fast:
            return super().forward(input)
        rows = input.reshape(-1, self.in_features)
        quantised, scale = quantise(rows)
        product = torch._scaled_mm(
            quantised,
            self.fp8_weight.t(),
            scale_a=scale,
            scale_b=self.fp8_scale,
            bias=self.bias,
            out_dtype=input.dtype,
        )
        return product.view(*input.shape[:-1], self.out_features)


def quantise(rows: Tensor) -> tuple[Tensor, Tensor]:
    """FP8 [n, k] and float32 scales [n, 1] of a matrix [n, k]: scale times FP8 is about the row."""
    values = rows.float()
    scale = (values.abs().amax(dim=1, keepdim=True) / MOST).clamp_(min=LEAST_SCALE)
    return (values / scale).clamp_(-MOST, MOST).to(FP8), scale


class Fp8Weights:
    """The second weights of one network. Implements `weights.slots.Prepared`."""

    def __init__(self, network: nn.Module) -> None:
        """Changes the class of layers that can be quantised; they have no second weight before `filled`."""
        self.layers = tuple(_quantisable(layer) for layer in list(_chosen(network)))

    @property
    def size_bytes(self) -> int:
        """Bytes of all second weights."""
        return sum(layer.in_features * layer.out_features + 4 * layer.out_features for layer in self.layers)

    def filled(self) -> None:
        """Quantise what the network has now."""
        with torch.no_grad():
            for layer in self.layers:
                weight, scale = quantise(layer.weight)
                layer.fp8_weight = _in_place(layer.fp8_weight, weight)
                layer.fp8_scale = _in_place(layer.fp8_scale, scale.t().contiguous())

    def emptied(self) -> None:
        """Give the memory back."""
        for layer in self.layers:
            layer.fp8_weight = layer.fp8_weight.new_empty(0)
            layer.fp8_scale = layer.fp8_scale.new_empty(0)


@contextmanager
def fast_products(layers: Sequence[Fp8Linear]) -> Iterator[None]:
    """While open, these layers multiply in fp8."""
    for layer in layers:
        layer.is_fast = True
    try:
        yield
    finally:
        for layer in layers:
            layer.is_fast = False


def _quantisable(layer: nn.Linear) -> Fp8Linear:
    """The same layer of the other class: names, hooks and whoever refers to it stay as they are."""
    layer.__class__ = Fp8Linear
    changed = cast(Fp8Linear, layer)
    device = layer.weight.device
    # Not persistent: no file carries them.
    changed.register_buffer("fp8_weight", torch.empty(0, dtype=FP8, device=device), persistent=False)
    changed.register_buffer("fp8_scale", torch.empty(0, device=device), persistent=False)
    changed.is_fast = False
    return changed


def _in_place(before: Tensor, values: Tensor) -> Tensor:
    """New values where the last ones were: recorded calls hold the address."""
    return before.copy_(values) if before.numel() else values


def _chosen(network: nn.Module) -> Iterator[nn.Linear]:
    """Layers of the network's transformer blocks that do much work and fit the device's product."""
    for block in network.modules():
        if type(block).__name__ not in TRANSFORMER_BLOCKS:
            continue
        for path, layer in block.named_modules():
            is_plain = type(layer) is nn.Linear and "norm" not in path
            if is_plain and layer.in_features % MULTIPLE == layer.out_features % MULTIPLE == 0:
                yield layer
