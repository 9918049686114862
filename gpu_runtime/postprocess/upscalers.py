"""Upscaling networks: RRDBNet (ESRGAN, Real-ESRGAN), SRVGGNetCompact, and waifu2x' UpConv7.

Written from the papers and the tensor names of published files, which load unchanged. An image in is
[B, 3, H, W], 0 to 1; an image out is [B, 3, H * scale - 2 * border, W * scale - 2 * border], nominally
0 to 1. Knows nothing about tiles or files.

`parts` is `forward` in pieces: between two of them whoever drives it may let other work onto the device.

Sources: Wang et al. 2018, arXiv:1809.00219 (RRDB); Wang et al. 2021, arXiv:2107.10833 (Real-ESRGAN); Shi et
al. 2016, arXiv:1609.05158 (pixel shuffle).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Generator, Mapping
from functools import partial
from itertools import pairwise
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpu_runtime.postprocess.pieces import finish
from gpu_runtime.postprocess.strips import convolved

MAX_CHANNELS = 4096
"""Far above those of every published network."""

_NUMBERED = re.compile(r"body\.(\d{1,6})\.")

RESIDUAL_SCALE = 0.2
"""Of every residual branch in RRDB, from the paper."""


Parts: TypeAlias = Generator[None, None, Tensor]
"""Stops after each piece of the work; returns the image."""


class _DenseBlock(nn.Module):
    """Five convolutions, each seeing the outputs of all before it."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for i in range(4):
            self.add_module(f"conv{i + 1}", nn.Conv2d(features + i * growth, growth, 3, padding=1))
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, padding=1)

    def parts(self, x: Tensor) -> Parts:
        seen = [x]
        for i in range(4):
            made = yield from convolved(_layer(self, f"conv{i + 1}"), torch.cat(seen, 1))
            seen.append(functional.leaky_relu(made, 0.2))
        made = yield from convolved(self.conv5, torch.cat(seen, 1))
        return x + RESIDUAL_SCALE * made


class _ResidualDenseBlock(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = _DenseBlock(features, growth)
        self.rdb2 = _DenseBlock(features, growth)
        self.rdb3 = _DenseBlock(features, growth)

    def parts(self, x: Tensor) -> Parts:
        made = x
        for block in (self.rdb1, self.rdb2, self.rdb3):
            made = yield from block.parts(made)
        return x + RESIDUAL_SCALE * made


class RRDBNet(nn.Module):
    """Scale 4, 2 or 1: for 2 and 1 the image is first folded into channels, as Real-ESRGAN does."""

    border_px = 0

    def __init__(self, *, blocks: int, features: int = 64, growth: int = 32, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.fold = 4 // scale
        """Pixels to a side that are folded into channels; sides of images are multiples of it."""
        self.conv_first = nn.Conv2d(3 * self.fold**2, features, 3, padding=1)
        self.body = nn.Sequential(*(_ResidualDenseBlock(features, growth) for _ in range(blocks)))
        for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
            self.add_module(name, nn.Conv2d(features, features, 3, padding=1))
        self.conv_last = nn.Conv2d(features, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return finish(self.parts(image))

    def parts(self, image: Tensor) -> Parts:
        if self.fold > 1:
            image = functional.pixel_unshuffle(image, self.fold)
        first = self.conv_first(image)
        x = first
        for block in self.body:
            assert isinstance(block, _ResidualDenseBlock)  # Sequential forgets its elements' type
            x = yield from block.parts(x)
            yield
        x = first + (yield from convolved(_layer(self, "conv_body"), x))
        for name in ("conv_up1", "conv_up2"):
            larger = functional.interpolate(x, scale_factor=2, mode="nearest")
            made = yield from convolved(_layer(self, name), larger)
            x = functional.leaky_relu(made, 0.2)
            yield
        made = yield from convolved(_layer(self, "conv_hr"), x)
        yield
        return (yield from convolved(self.conv_last, functional.leaky_relu(made, 0.2)))


class SRVGGNetCompact(nn.Module):
    """A plain chain of convolutions that predicts what nearest-neighbour enlarging lacks."""

    border_px = 0
    fold = 1

    def __init__(self, *, convolutions: int, features: int = 64, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        self.body = nn.Sequential(*layers, nn.Conv2d(features, 3 * scale**2, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        return finish(self.parts(image))

    def parts(self, image: Tensor) -> Parts:
        x = image
        for layer in self.body:
            x = (yield from convolved(layer, x)) if isinstance(layer, nn.Conv2d) else layer(x)
            yield
        detail = functional.pixel_shuffle(x, self.scale)
        return detail + functional.interpolate(image, scale_factor=self.scale, mode="nearest")


class UpConv7(nn.Module):
    """Six convolutions without padding, one transposed: each side of the output loses 14 pixels."""

    scale = 2
    fold = 1
    border_px = 14
    """What is missing at each side of the output; the caller pads the input by half of it."""

    CHANNELS = (3, 16, 32, 64, 128, 128, 256)

    def __init__(self) -> None:
        super().__init__()
        for i, (given, made) in enumerate(pairwise(self.CHANNELS)):
            self.add_module(f"conv{i + 1}", nn.Conv2d(given, made, 3))
        self.conv7 = nn.ConvTranspose2d(256, 3, 4, stride=2, padding=3)

    def forward(self, image: Tensor) -> Tensor:
        return finish(self.parts(image))

    def parts(self, image: Tensor) -> Parts:
        x = image
        for i in range(1, 7):
            made = yield from convolved(_layer(self, f"conv{i}"), x)
            x = functional.leaky_relu(made, 0.1)
            yield
        return self.conv7(x)


def _layer(network: nn.Module, name: str) -> nn.Conv2d:
    """A convolution by its name in published files."""
    layer = network.get_submodule(name)
    assert isinstance(layer, nn.Conv2d)
    return layer


Upscaler = RRDBNet | SRVGGNetCompact | UpConv7


def build_upscaler(shapes: Mapping[str, tuple[int, ...]]) -> Upscaler:
    """The untrained network that tensors of these names and shapes belong to.

    Raises ValueError when they belong to none of them, before any memory is taken.
    """
    make = _maker(shapes)
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in make().state_dict().items()}
    odd = sorted(name for name in shapes.keys() | wanted.keys() if shapes.get(name) != wanted.get(name))
    if odd:
        raise ValueError(f"these tensors do not fill the network: {odd[0]} is missing, too much or misshapen")
    return make()


def _maker(shapes: Mapping[str, tuple[int, ...]]) -> Callable[[], Upscaler]:
    """What makes the network that these could be. Raises ValueError when there is none."""
    layers = _layers(shapes)
    if "conv_first.weight" in shapes:
        features, folded = _channels(shapes, "conv_first.weight")
        growth, _ = _channels(shapes, "body.0.rdb1.conv1.weight")
        scale = max(1, 4 // _side(folded))
        return partial(RRDBNet, blocks=layers, features=features, growth=growth, scale=scale)
    if "body.0.weight" in shapes:
        features, _ = _channels(shapes, "body.0.weight")
        made, _ = _channels(shapes, f"body.{layers - 1}.weight")
        convolutions = max(0, (layers - 3) // 2)
        return partial(SRVGGNetCompact, convolutions=convolutions, features=features, scale=_side(made))
    if "conv7.weight" in shapes:
        return UpConv7
    raise ValueError("these tensors belong to no upscaler that is known here")


def _side(channels: int) -> int:
    """Side of the squares of pixels that are folded into these channels."""
    return max(1, math.isqrt(channels // 3))


def _layers(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Numbered parts of the body: one more than the largest number. Raises ValueError for gaps."""
    found = (_NUMBERED.match(name) for name in shapes)
    numbers = {int(match[1]) for match in found if match}
    if numbers and max(numbers) >= len(numbers):
        raise ValueError("these tensors lack a part of the network's body")
    return len(numbers)


def _channels(shapes: Mapping[str, tuple[int, ...]], name: str) -> tuple[int, int]:
    """Channels out and in of a convolution. Raises ValueError unless it is one."""
    shape = shapes.get(name, ())
    if len(shape) != 4 or not all(1 <= side <= MAX_CHANNELS for side in shape):
        raise ValueError(f"these tensors have no convolution {name} of an upscaler")
    return shape[0], shape[1]


def load_upscaler(tensors: Mapping[str, Tensor]) -> Upscaler:
    """The network with these weights, float32, in eval mode. Raises ValueError for other tensors."""
    network = build_upscaler({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"these tensors do not fill the network: {error}") from None
    network.requires_grad_(False)
    return network.eval()
