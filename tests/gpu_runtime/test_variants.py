"""Which version of the same weights is taken."""

from __future__ import annotations

import pytest

from gpu_runtime.weights.variants import common_variant, variant_of, without_variant


@pytest.mark.parametrize(
    ("name", "variant", "plain"),
    [
        ("model.safetensors", "", "model.safetensors"),
        ("model.fp16.safetensors", "fp16", "model.safetensors"),
        ("model.fp16-00001-of-00002.safetensors", "fp16", "model-00001-of-00002.safetensors"),
        ("model-00001-of-00002.bf16.safetensors", "bf16", "model-00001-of-00002.safetensors"),
        ("model.non_ema.bin", "non_ema", "model.bin"),
        ("model.fp16fix.safetensors", "", "model.fp16fix.safetensors"),
    ],
)
def test_variants_are_part_of_the_name(name: str, variant: str, plain: str) -> None:
    assert (variant_of(name), without_variant(name)) == (variant, plain)


@pytest.mark.parametrize(
    ("offered", "precision", "variant"),
    [
        ([{"", "fp16"}, {"", "fp16"}], "keep", "fp16"),
        ([{"", "fp16"}, {""}], "keep", ""),
        ([{"", "fp16"}, set()], "keep", "fp16"),
        ([{"", "fp16", "bf16"}], "bfloat16", "bf16"),
        ([{"", "fp16"}], "bfloat16", ""),
        ([{"", "bf16"}], "float16", ""),
        ([{"bf16"}, {"fp16"}], "keep", ""),
        ([], "keep", ""),
    ],
)
def test_one_variant_for_all_components(offered: list[set[str]], precision: str, variant: str) -> None:
    assert common_variant(offered, precision) == variant
