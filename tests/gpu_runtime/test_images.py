"""Tensors to files."""

from __future__ import annotations

import numpy as np
import torch

from gpu_runtime.images import encode_png, resize, to_pixels
from tests.gpu_runtime.driving import pixels


def test_values_map_to_levels_and_are_clamped() -> None:
    image = torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0]).expand(3, 1, 5)
    assert to_pixels(image)[0, :, 0].tolist() == [0, 0, 128, 255, 255]


def test_png_is_lossless() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    for image in (noise, np.zeros((1, 1, 3), np.uint8), np.full((64, 64, 3), 200, np.uint8), noise[:, ::2]):
        assert np.array_equal(pixels(encode_png(image)), image)


def test_resize_changes_size_and_keeps_flat_colour() -> None:
    flat = np.full((16, 24, 3), 77, np.uint8)
    assert np.array_equal(resize(flat, width=50, height=10), np.full((10, 50, 3), 77, np.uint8))


def test_image_of_the_right_size_is_left_alone() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    assert resize(image, width=8, height=8) is image
