"""What one step of one row costs, in TFLOP: what accounts are charged, and what telemetry divides by seconds.

The numbers were counted by `torch.utils.flop_counter` over diffusers' networks with the released
configurations at four sizes each, and fitted to `linear x + square x^2`, which they follow within 2 %: x is
megapixels for UNets, whose text matters little, and thousands of tokens, pictures' and text's together, for
transformers. `tests/gpu_runtime/test_cost.py` counts one of each again.

Families without an entry cost what a transformer of middling size does: only the ratio between requests
matters for fairness, and requests of one family keep theirs. Plain Python.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.messages import ImageRequest
from gpu_runtime.weights.family_facts import forward_rows

TOKEN_PX = 16 * 16
"""Pixels of one picture token of the transformer families."""

REFERENCE_TOKENS = 4096
"""Tokens of one picture to edit: FLUX Kontext brings it to about a megapixel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One architecture."""

    linear: float
    square: float
    text_tokens: int | None
    """Tokens of an ordinary prompt, for transformers; None for UNets."""
    control_share: float
    """Of one ControlNet beside one such network."""

    def tflop(self, pixels: int, *, extra_tokens: int = 0, controls: int = 0) -> float:
        """Of one forward row of so many pixels, with tokens beyond an ordinary prompt and ControlNets."""
        if self.text_tokens is None:
            size = pixels / 1e6
        else:
            size = (pixels / TOKEN_PX + self.text_tokens + extra_tokens) / 1e3
        return (self.linear * size + self.square * size * size) * (1 + controls * self.control_share)


PRICES: Mapping[tuple[str, str], Price] = {
    ("sd15", ""): Price(linear=2.596, square=1.777, text_tokens=None, control_share=0.36),
    ("sd2", ""): Price(linear=2.60, square=1.777, text_tokens=None, control_share=0.36),
    ("sdxl", ""): Price(linear=5.85, square=0.610, text_tokens=None, control_share=0.45),
    ("sdxl", "refiner"): Price(linear=5.89, square=1.026, text_tokens=None, control_share=0.45),
    ("sd3", ""): Price(linear=1.354, square=0.148, text_tokens=333, control_share=0.5),
    ("sd3", "3.5-medium"): Price(linear=1.517, square=0.232, text_tokens=333, control_share=0.5),
    ("sd3", "3.5-large"): Price(linear=5.38, square=0.371, text_tokens=333, control_share=0.5),
    ("flux", ""): Price(linear=12.92, square=0.699, text_tokens=512, control_share=0.27),
}
"""By family and variant; "" for all other variants. The 8-block ControlNets of SD 3.5 and the union one of
FLUX give the shares of transformers."""

UNKNOWN_PRICE = Price(linear=2.0, square=0.2, text_tokens=300, control_share=0.5)
"""A transformer of three billion parameters, between the medium and the large SD 3.5."""


def price_of(family: str, variant: str = "") -> Price:
    """The price list of an architecture."""
    return PRICES.get((family, variant)) or PRICES.get((family, "")) or UNKNOWN_PRICE


def row_tflop(key: BatchKey) -> float:
    """One forward row of an ordinary request with this key."""
    return price_of(key.family).tflop(key.width * key.height)


def row_cost(request: ImageRequest) -> float:
    """TFLOP of one step of one image of a request, its unconditional row included."""
    price = price_of(request.checkpoint.family, request.checkpoint.variant)
    tflop = price.tflop(
        request.width * request.height,
        extra_tokens=REFERENCE_TOKENS * len(request.references),
        controls=len(request.controls),
    )
    return forward_rows(request) * tflop
