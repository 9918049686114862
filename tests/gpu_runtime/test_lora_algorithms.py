"""Every algorithm equals the weight difference that its paper and its trainer define, merged by hand.

Tolerance: 1e-5 of the largest value in float32; adapters are added to a layer's output instead of its
weight, so sums are formed in another order.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gpu_runtime.adapters.applied import applied
from gpu_runtime.adapters.deltas import Full, Kronecker, LowRank
from gpu_runtime.errors import UnsupportedCombination, WeightsCorrupt
from gpu_runtime.tiny.pipelines import tiny_pipeline
from tests.gpu_runtime.lora_files import load, merge, write_lora
from tests.gpu_runtime.rendering import relative_error

LINEAR = "down_blocks.1.attentions.0.transformer_blocks.0.ff.net.0.proj"
CONVOLUTION = "down_blocks.1.resnets.0.conv1"
STRIDED = "down_blocks.0.downsamplers.0.conv"
POINTWISE = "down_blocks.1.attentions.0.proj_in"
LAYERS = (LINEAR, CONVOLUTION, STRIDED, POINTWISE)

TOLERANCE = 1e-5
STRENGTH = 0.6

Written = tuple[dict[str, Tensor], Tensor]
"""A layer's tensors by part, and the difference that they define."""


@pytest.fixture(scope="module")
def unet() -> Any:
    return tiny_pipeline("sd15").unet


def numbers(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.3


def divisor(value: int) -> int:
    """The largest factor that is at most the root: how LyCORIS splits a side."""
    return max(factor for factor in range(1, math.isqrt(value) + 1) if value % factor == 0)


def locon(shape: tuple[int, ...], *, is_tucker: bool = False) -> Written:
    out, inside, *kernel = shape
    rank, alpha = 2, 1.0
    up = numbers(out, rank, *(1 for _ in kernel), seed=1)
    if is_tucker:
        down, mid = numbers(rank, inside, 1, 1, seed=2), numbers(rank, rank, *kernel, seed=3)
        weight = torch.einsum("or,rskl,si->oikl", up[:, :, 0, 0], mid, down[:, :, 0, 0])
        parts = {"lora_down.weight": down, "lora_up.weight": up, "lora_mid.weight": mid}
    else:
        down = numbers(rank, inside, *kernel, seed=2)
        weight = torch.einsum("or,ri->oi", up.flatten(1), down.flatten(1)).reshape(shape)
        parts = {"lora_down.weight": down, "lora_up.weight": up}
    return parts | {"alpha": torch.tensor(alpha)}, weight * alpha / rank


def loha(shape: tuple[int, ...], *, rank: int = 2, is_tucker: bool = False) -> Written:
    out, inside, *kernel = shape
    alpha = 1.5
    if is_tucker:
        parts = {
            "hada_t1": numbers(rank, rank, *kernel, seed=1),
            "hada_w1_a": numbers(rank, out, seed=2),
            "hada_w1_b": numbers(rank, inside, seed=3),
            "hada_t2": numbers(rank, rank, *kernel, seed=4),
            "hada_w2_a": numbers(rank, out, seed=5),
            "hada_w2_b": numbers(rank, inside, seed=6),
        }
        first, second = (
            torch.einsum(
                "ijkl,jr,ip->prkl", parts[f"hada_t{n}"], parts[f"hada_w{n}_b"], parts[f"hada_w{n}_a"]
            )
            for n in (1, 2)
        )
        weight = first * second
    else:
        columns = inside * math.prod(kernel)
        parts = {
            "hada_w1_a": numbers(out, rank, seed=2),
            "hada_w1_b": numbers(rank, columns, seed=3),
            "hada_w2_a": numbers(out, rank, seed=5),
            "hada_w2_b": numbers(rank, columns, seed=6),
        }
        weight = (parts["hada_w1_a"] @ parts["hada_w1_b"]) * (parts["hada_w2_a"] @ parts["hada_w2_b"])
    return parts | {"alpha": torch.tensor(alpha)}, weight.reshape(shape) * alpha / rank


def lokr(shape: tuple[int, ...], *, is_low_rank: bool = False, is_tucker: bool = False) -> Written:
    out, inside, *kernel = shape
    a1, b1 = divisor(out), divisor(inside)
    a2, b2 = out // a1, inside // b1
    rank, alpha = 2, 1.0
    scale = alpha / rank
    left = numbers(a1, b1, seed=1)
    parts = {"lokr_w1": left}
    if is_tucker:
        core, outer, inner = (
            numbers(rank, rank, *kernel, seed=2),
            numbers(rank, a2, seed=3),
            numbers(rank, b2, seed=4),
        )
        right = torch.einsum("ijkl,ip,jr->prkl", core, outer, inner).contiguous()
        parts |= {"lokr_t2": core, "lokr_w2_a": outer, "lokr_w2_b": inner}
    elif is_low_rank:
        outer, inner = numbers(a2, rank, seed=3), numbers(rank, b2 * math.prod(kernel), seed=4)
        w1_a, w1_b = numbers(a1, rank, seed=5), numbers(rank, b1, seed=6)
        left, right = w1_a @ w1_b, (outer @ inner).reshape(a2, b2, *kernel)
        parts = {"lokr_w1_a": w1_a, "lokr_w1_b": w1_b, "lokr_w2_a": outer, "lokr_w2_b": inner}
    else:
        right, scale = numbers(a2, b2, *kernel, seed=2), 1.0
        parts |= {"lokr_w2": right}
    weight = torch.kron(left.reshape(a1, b1, *(1 for _ in kernel)), right)
    return parts | {"alpha": torch.tensor(alpha)}, weight * scale


def full(shape: tuple[int, ...]) -> Written:
    weight = numbers(*shape, seed=1)
    return {"diff": weight}, weight


def run(unet: Any) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    latents = torch.randn(2, 4, 16, 16, generator=generator)
    context = torch.randn(2, 5, unet.config.cross_attention_dim, generator=generator)
    with torch.inference_mode():
        predicted: Tensor = unet(latents, torch.tensor([500.0, 20.0]), encoder_hidden_states=context)[0]
    return predicted


def merged(unet: Any, weights: Mapping[str, Tensor]) -> Tensor:
    changed = copy.deepcopy(unet)
    merge(changed, {path: weight * STRENGTH for path, weight in weights.items()})
    return run(changed)


CASES: dict[str, Any] = {
    "LoCon": locon,
    "LoCon with a Tucker core": lambda shape: locon(shape, is_tucker=True),
    "LoHa": loha,
    "LoHa of a high rank": lambda shape: loha(shape, rank=8),
    "LoHa with Tucker cores": lambda shape: loha(shape, is_tucker=True),
    "LoKr": lokr,
    "LoKr with low-rank factors": lambda shape: lokr(shape, is_low_rank=True),
    "LoKr with a Tucker core": lambda shape: lokr(shape, is_tucker=True),
    "full difference": full,
}


@pytest.mark.parametrize("algorithm", list(CASES))
def test_equals_the_merged_weights(algorithm: str, unet: Any, tmp_path: Path) -> None:
    tensors, weights = {}, {}
    for path in LAYERS:
        shape = tuple(unet.get_submodule(path).weight.shape)
        if "Tucker" in algorithm and len(shape) == 2:
            continue
        parts, weights[path] = CASES[algorithm](shape)
        stem = "lora_unet_" + path.replace(".", "_")
        tensors |= {f"{stem}.{part}": tensor for part, tensor in parts.items()}
    use = load(write_lora(tmp_path / "l", tensors), {"unet": unet}, scale=STRENGTH)
    plain, expected = run(unet), merged(unet, weights)
    # All rows alike, and rows of which only one has it.
    with applied(unet, "unet", [[use], [use]]):
        assert relative_error(run(unet), expected) <= TOLERANCE
    with applied(unet, "unet", [[], [use]]):
        mixed = run(unet)
    assert relative_error(mixed[1], expected[1]) <= TOLERANCE
    assert torch.equal(mixed[0], plain[0])
    assert relative_error(expected, plain) > 100 * TOLERANCE, "the control: the adapter does something"


def test_small_products_stay_products(unet: Any, tmp_path: Path) -> None:
    """LoHa is kept as factors where that is smaller, and LoKr is never multiplied out."""
    shape = tuple(unet.get_submodule(LINEAR).weight.shape)
    stem = "lora_unet_" + LINEAR.replace(".", "_")
    kinds = {}
    for name, (parts, _) in {
        "small": loha(shape, rank=2),
        "large": loha(shape, rank=8),
        "kronecker": lokr(shape),
    }.items():
        file = write_lora(tmp_path / name, {f"{stem}.{part}": tensor for part, tensor in parts.items()})
        (kinds[name],) = load(file, {"unet": unet}).lora.layers["unet"][LINEAR]
    assert isinstance(kinds["small"], LowRank)
    assert kinds["small"].rank == 4
    assert isinstance(kinds["large"], Full)
    assert isinstance(kinds["kronecker"], Kronecker)
    assert kinds["kronecker"].size_bytes < kinds["large"].size_bytes / 4


@pytest.mark.parametrize("path", [LINEAR, CONVOLUTION])
def test_bias_difference_is_added(path: str, unet: Any, tmp_path: Path) -> None:
    layer = unet.get_submodule(path)
    weight, bias = numbers(*layer.weight.shape, seed=1), numbers(layer.weight.shape[0], seed=2)
    stem = "lora_unet_" + path.replace(".", "_")
    file = write_lora(tmp_path / "l", {f"{stem}.diff": weight, f"{stem}.diff_b": bias})
    use = load(file, {"unet": unet}, scale=STRENGTH)
    changed = copy.deepcopy(unet)
    merge(changed, {path: weight * STRENGTH})
    changed.get_submodule(path).bias.data += bias * STRENGTH
    expected = run(changed)
    with applied(unet, "unet", [[use], [use]]):
        assert relative_error(run(unet), expected) <= TOLERANCE
    with applied(unet, "unet", [[use], []]):
        assert relative_error(run(unet)[0], expected[0]) <= TOLERANCE


def test_bias_of_a_peft_adapter_is_added(unet: Any, tmp_path: Path) -> None:
    shape = tuple(unet.get_submodule(LINEAR).weight.shape)
    down, up, bias = numbers(2, shape[1], seed=1), numbers(shape[0], 2, seed=2), numbers(shape[0], seed=3)
    stem = f"unet.{LINEAR}"
    tensors = {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up, f"{stem}.lora_B.bias": bias}
    use = load(write_lora(tmp_path / "l", tensors), {"unet": unet}, scale=STRENGTH)
    changed = copy.deepcopy(unet)
    merge(changed, {LINEAR: up @ down * STRENGTH})
    changed.get_submodule(LINEAR).bias.data += bias * STRENGTH
    with applied(unet, "unet", [[use], [use]]):
        assert relative_error(run(unet), run(changed)) <= TOLERANCE


def test_lokr_on_a_fused_projection_is_split() -> None:
    left, right = numbers(6, 2, seed=1), numbers(4, 3, seed=2)
    product = torch.kron(left, right)
    whole = Kronecker(left, right, 0.5)
    aligned = whole.rows(((8, 16),))
    assert isinstance(aligned, Kronecker)
    torch.testing.assert_close(torch.kron(aligned.left, aligned.right), product[8:16])
    crossing = whole.rows(((6, 9), (0, 2)))
    assert isinstance(crossing, Full)
    torch.testing.assert_close(crossing.weight, torch.cat([product[6:9], product[:2]]))
    assert crossing.scale == 0.5


@pytest.mark.parametrize(
    ("ending", "algorithm"),
    [
        ("dora_scale", "DoRA"),
        ("lora_magnitude_vector.weight", "DoRA"),
        ("oft_blocks", "OFT"),
        ("a1.weight", "GLoRA"),
        ("on_input", "IA3"),
    ],
)
def test_other_algorithms_are_refused_by_name(ending: str, algorithm: str, unet: Any, tmp_path: Path) -> None:
    stem = "lora_unet_" + LINEAR.replace(".", "_")
    parts, _ = locon(tuple(unet.get_submodule(LINEAR).weight.shape))
    tensors = {f"{stem}.{part}": tensor for part, tensor in parts.items()} | {
        f"{stem}.{ending}": torch.ones(4)
    }
    with pytest.raises(UnsupportedCombination, match=f"LoRA a style is a {algorithm}"):
        load(write_lora(tmp_path / "l", tensors), {"unet": unet})


@pytest.mark.parametrize(
    "damage",
    [
        {"lora_up.weight": None},
        {"lora_down.weight": None},
        {"lora_up.weight": torch.zeros(7, 2)},
        {"lora_down.weight": torch.zeros(2, 7)},
        {"lora_down.weight": torch.zeros(3)},
        {"alpha": torch.zeros(2)},
        {"lora_mid.weight": torch.zeros(3, 3, 1, 1)},
    ],
    ids=["no up", "no down", "up too short", "down too narrow", "down a vector", "alpha a list", "odd core"],
)
def test_one_layer_that_does_not_fit_is_damage(
    damage: dict[str, Tensor | None], unet: Any, tmp_path: Path
) -> None:
    tensors: dict[str, Tensor] = {}
    for path in LAYERS:
        parts, _ = locon(tuple(unet.get_submodule(path).weight.shape))
        changed = {**parts, **damage} if path == LINEAR else parts
        stem = "lora_unet_" + path.replace(".", "_")
        tensors |= {f"{stem}.{part}": value for part, value in changed.items() if value is not None}
    with pytest.raises(WeightsCorrupt, match="does not fit in 1 layers; lora_unet_down_blocks_1_"):
        load(write_lora(tmp_path / "l", tensors), {"unet": unet})


@pytest.mark.parametrize(
    "parts",
    [
        {
            "hada_w1_a": (200_000, 1),
            "hada_w1_b": (1, 200_000),
            "hada_w2_a": (200_000, 1),
            "hada_w2_b": (1, 200_000),
        },
        {"lokr_w1_a": (200_000, 1), "lokr_w1_b": (1, 200_000), "lokr_w2": (2, 2, 3, 3)},
        {"lokr_w1": (1, 1), "lokr_w2_a": (200_000, 1), "lokr_w2_b": (1, 200_000)},
        {"lokr_w1": (1, 1), "lokr_w2_a": (1, 60_000), "lokr_w2_b": (1, 60_000), "lokr_t2": (1, 1, 3, 3)},
        {
            "lora_down.weight": (5_000, 16, 1, 1),
            "lora_up.weight": (16, 5_000, 1, 1),
            "lora_mid.weight": (1, 1, 3, 3),
        },
    ],
    ids=["LoHa", "LoKr left", "LoKr right", "LoKr core", "LoCon core"],
)
def test_factors_that_would_make_a_giant_product_are_not_multiplied(
    parts: dict[str, tuple[int, ...]], unet: Any, tmp_path: Path
) -> None:
    """Products of hundreds of gigabytes out of files of a few megabytes."""
    stem = "lora_unet_" + CONVOLUTION.replace(".", "_")
    file = write_lora(tmp_path / "l", {f"{stem}.{part}": torch.zeros(shape) for part, shape in parts.items()})
    with pytest.raises(UnsupportedCombination, match="LoRA a style is for another network"):
        load(file, {"unet": unet})


def test_numbers_that_are_not_finite_are_damage(unet: Any, tmp_path: Path) -> None:
    parts, _ = locon(tuple(unet.get_submodule(LINEAR).weight.shape))
    parts["lora_up.weight"][0, 0] = float("nan")
    stem = "lora_unet_" + LINEAR.replace(".", "_")
    file = write_lora(tmp_path / "l", {f"{stem}.{part}": tensor for part, tensor in parts.items()})
    with pytest.raises(WeightsCorrupt, match="not finite"):
        load(file, {"unet": unet})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"alpha": torch.tensor(math.nan)}, "a scale of nan"),
        ({"alpha": torch.tensor(math.inf)}, "a scale of inf"),
        ({"alpha": torch.tensor(-1e30)}, r"a scale of -5e\+29"),
        ({"lora_down.weight": torch.ones(0, 32), "lora_up.weight": torch.ones(256, 0)}, "is empty"),
        ({"lora_down.weight": torch.ones(0, 32)}, "is empty"),
    ],
)
def test_scales_and_ranks_that_mean_nothing_are_damage(
    change: dict[str, Tensor], reason: str, unet: Any, tmp_path: Path
) -> None:
    parts, _ = locon(tuple(unet.get_submodule(LINEAR).weight.shape))
    stem = "lora_unet_" + LINEAR.replace(".", "_")
    tensors = {f"{stem}.{part}": tensor for part, tensor in (parts | change).items()}
    file = write_lora(tmp_path / "l", tensors)
    with pytest.raises(WeightsCorrupt, match=f"LoRA a style: .*{stem}: .*{reason}"):
        load(file, {"unet": unet})


@pytest.mark.parametrize("alpha", ["NaN", "Infinity", "1e30", "1" + "0" * 400])
def test_declared_scale_that_means_nothing_is_damage(alpha: str, unet: Any, tmp_path: Path) -> None:
    parts, _ = locon(tuple(unet.get_submodule(LINEAR).weight.shape))
    tensors = {
        f"unet.{LINEAR}.lora_A.weight": parts["lora_down.weight"],
        f"unet.{LINEAR}.lora_B.weight": parts["lora_up.weight"],
    }
    metadata = {"lora_adapter_metadata": f'{{"unet.lora_alpha": {alpha}}}'}
    file = write_lora(tmp_path / "l", tensors, metadata=metadata)
    with pytest.raises(WeightsCorrupt, match=rf"{re.escape(LINEAR)}: .*a scale of"):
        load(file, {"unet": unet})
