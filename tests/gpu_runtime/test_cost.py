"""What a step of a row costs: the price list against operations counted over the real networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import gpu_runtime.weights
from gpu_runtime.batching.batch_key import batch_key
from gpu_runtime.batching.cost import PRICES, UNKNOWN_PRICE, price_of, row_cost, row_tflop
from gpu_runtime.messages import CheckpointRef, ControlRef, ImageInput
from tests.gpu_runtime.driving import image_request

SHIPPED = Path(gpu_runtime.weights.__file__).parent / "shipped"
SIDE_PX = 512


def blank(*shape: int) -> torch.Tensor:
    return torch.empty(shape, device="meta")


def unet_inputs(config: dict[str, Any]) -> dict[str, Any]:
    """Any: diffusers configurations are untyped."""
    return {
        "sample": blank(1, config["in_channels"], SIDE_PX // 8, SIDE_PX // 8),
        "timestep": blank(1),
        "encoder_hidden_states": blank(1, 77, config["cross_attention_dim"]),
    }


def flux_inputs(config: dict[str, Any]) -> dict[str, Any]:
    tokens = (SIDE_PX // 16) ** 2
    return {
        "hidden_states": blank(1, tokens, 64),
        "encoder_hidden_states": blank(1, 512, config["joint_attention_dim"]),
        "pooled_projections": blank(1, config["pooled_projection_dim"]),
        "timestep": blank(1),
        "img_ids": blank(tokens, 3),
        "txt_ids": blank(512, 3),
        "guidance": blank(1),
    }


@pytest.mark.parametrize(
    ("family", "folder", "inputs"),
    [("sd15", "sd15-base/unet", unet_inputs), ("flux", "flux-dev/transformer", flux_inputs)],
    ids=["unet", "transformer"],
)
def test_price_is_what_the_network_computes(family: str, folder: str, inputs: Any) -> None:
    config = json.loads((SHIPPED / folder / "config.json").read_text())
    with torch.device("meta"):
        network = getattr(diffusers, config["_class_name"]).from_config(config)
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(**inputs({**network.config}))
    counted = counter.get_total_flops() / 1e12
    assert price_of(family).tflop(SIDE_PX * SIDE_PX) == pytest.approx(counted, rel=0.02)


def test_prices_rise_faster_than_pixels() -> None:
    for price in (*PRICES.values(), UNKNOWN_PRICE):
        assert price.tflop(1024 * 1024) > 2 * price.tflop(512 * 512)
        assert price.tflop(2048 * 2048) > 4 * price.tflop(1024 * 1024)


def test_row_costs_more_with_guidance_controls_and_references() -> None:
    flux = CheckpointRef(name="flux", family="flux", path="/nonexistent", digest="f", variant="kontext")
    picture = ImageInput(data=b"", digest="d")
    control = ControlRef(name="edges", path="/nonexistent", digest="c", image=picture)
    plain = image_request("r", flux, width=1024, height=1024)
    cost = row_cost(plain)
    assert cost == pytest.approx(row_tflop(batch_key(plain)))
    guided = image_request("r", flux, width=1024, height=1024, true_guidance_scale=4.0)
    assert row_cost(guided) == pytest.approx(2 * cost)
    edited = image_request("r", flux, width=1024, height=1024, references=(picture,))
    assert 1.8 * cost < row_cost(edited) < 2.5 * cost
    controlled = image_request("r", flux, width=1024, height=1024, controls=(control, control))
    assert row_cost(controlled) == pytest.approx(1.54 * cost)


def test_unknown_family_has_a_price() -> None:
    assert price_of("sana") is UNKNOWN_PRICE
