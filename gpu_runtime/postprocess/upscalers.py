"""Upscaling networks: RRDBNet (ESRGAN, Real-ESRGAN), SRVGGNetCompact, and waifu2x' UpConv7.

Written from the papers and the tensor names of published files, which load unchanged. An image in is
[B, 3, H, W], 0 to 1; an image out is [B, 3, H * scale - 2 * border, W * scale - 2 * border], nominally
0 to 1. Knows nothing about tiles or files.

Sources: Wang et al. 2018, arXiv:1809.00219 (RRDB); Wang et al. 2021, arXiv:2107.10833 (Real-ESRGAN); Shi et
al. 2016, arXiv:1609.05158 (pixel shuffle).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

RESIDUAL_SCALE = 0.2
"""Of every residual branch in RRDB, from the paper."""


class _DenseBlock(nn.Module):
    """Five convolutions, each seeing the outputs of all before it."""

    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        for i in range(4):
            self.add_module(f"conv{i + 1}", nn.Conv2d(features + i * growth, growth, 3, padding=1))
        self.conv5 = nn.Conv2d(features + 4 * growth, features, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for i in range(4):
            convolved = self.get_submodule(f"conv{i + 1}")(torch.cat(seen, 1))
            seen.append(functional.leaky_relu(convolved, 0.2))
        return x + RESIDUAL_SCALE * self.conv5(torch.cat(seen, 1))


class _ResidualDenseBlock(nn.Module):
    def __init__(self, features: int, growth: int) -> None:
        super().__init__()
        self.rdb1 = _DenseBlock(features, growth)
        self.rdb2 = _DenseBlock(features, growth)
        self.rdb3 = _DenseBlock(features, growth)

    def forward(self, x: Tensor) -> Tensor:
        return x + RESIDUAL_SCALE * self.rdb3(self.rdb2(self.rdb1(x)))


class RRDBNet(nn.Module):
    """Scale 4, 2 or 1: for 2 and 1 the image is first folded into channels, as Real-ESRGAN does."""

    border_px = 0

    def __init__(self, *, blocks: int, features: int = 64, growth: int = 32, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        self.fold = 4 // scale
        self.conv_first = nn.Conv2d(3 * self.fold**2, features, 3, padding=1)
        self.body = nn.Sequential(*(_ResidualDenseBlock(features, growth) for _ in range(blocks)))
        for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
            self.add_module(name, nn.Conv2d(features, features, 3, padding=1))
        self.conv_last = nn.Conv2d(features, 3, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        if self.fold > 1:
            image = functional.pixel_unshuffle(image, self.fold)
        first = self.conv_first(image)
        x = first + self.get_submodule("conv_body")(self.body(first))
        for name in ("conv_up1", "conv_up2"):
            larger = functional.interpolate(x, scale_factor=2, mode="nearest")
            x = functional.leaky_relu(self.get_submodule(name)(larger), 0.2)
        x = functional.leaky_relu(self.get_submodule("conv_hr")(x), 0.2)
        return self.conv_last(x)


class SRVGGNetCompact(nn.Module):
    """A plain chain of convolutions that predicts what nearest-neighbour enlarging lacks."""

    border_px = 0

    def __init__(self, *, convolutions: int, features: int = 64, scale: int = 4) -> None:
        super().__init__()
        self.scale = scale
        layers: list[nn.Module] = [nn.Conv2d(3, features, 3, padding=1), nn.PReLU(features)]
        for _ in range(convolutions):
            layers += [nn.Conv2d(features, features, 3, padding=1), nn.PReLU(features)]
        self.body = nn.Sequential(*layers, nn.Conv2d(features, 3 * scale**2, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        detail = functional.pixel_shuffle(self.body(image), self.scale)
        return detail + functional.interpolate(image, scale_factor=self.scale, mode="nearest")


class UpConv7(nn.Module):
    """Six convolutions without padding, one transposed: each side of the output loses 14 pixels."""

    scale = 2
    border_px = 14
    """What is missing at each side of the output; the caller pads the input by half of it."""

    CHANNELS = (3, 16, 32, 64, 128, 128, 256)

    def __init__(self) -> None:
        super().__init__()
        for i, (given, made) in enumerate(pairwise(self.CHANNELS)):
            self.add_module(f"conv{i + 1}", nn.Conv2d(given, made, 3))
        self.conv7 = nn.ConvTranspose2d(256, 3, 4, stride=2, padding=3)

    def forward(self, image: Tensor) -> Tensor:
        x = image
        for i in range(1, 7):
            x = functional.leaky_relu(self.get_submodule(f"conv{i}")(x), 0.1)
        return self.conv7(x)


Upscaler = RRDBNet | SRVGGNetCompact | UpConv7


def build_upscaler(shapes: Mapping[str, tuple[int, ...]]) -> Upscaler:
    """The untrained network that tensors of these names and shapes belong to.

    Raises ValueError when they belong to none of them.
    """
    if "conv_first.weight" in shapes:
        blocks = 1 + max(int(name.split(".")[1]) for name in shapes if name.startswith("body."))
        features, folded = shapes["conv_first.weight"][:2]
        growth = shapes["body.0.rdb1.conv1.weight"][0]
        fold = round((folded / 3) ** 0.5)
        return RRDBNet(blocks=blocks, features=features, growth=growth, scale=4 // fold)
    if "body.0.weight" in shapes:
        last = max(int(name.split(".")[1]) for name in shapes)
        features = shapes["body.0.weight"][0]
        scale = round((shapes[f"body.{last}.weight"][0] / 3) ** 0.5)
        return SRVGGNetCompact(convolutions=(last - 2) // 2, features=features, scale=scale)
    if "conv7.weight" in shapes:
        return UpConv7()
    raise ValueError("these tensors belong to no upscaler that is known here")


def load_upscaler(tensors: Mapping[str, Tensor]) -> Upscaler:
    """The network with these weights, float32, in eval mode. Raises ValueError for other tensors."""
    network = build_upscaler({name: tuple(tensor.shape) for name, tensor in tensors.items()})
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise ValueError(f"these tensors do not fill the network: {error}") from None
    network.requires_grad_(False)
    return network.eval()
