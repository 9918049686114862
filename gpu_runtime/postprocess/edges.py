"""HED: soft edges by a VGG-16 with a side output at each of its five scales.

Source: Xie and Tu 2015, arXiv:1504.06375. Knows nothing about ControlNet.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from gpu_runtime.postprocess.pieces import finish, with_share
from gpu_runtime.postprocess.strips import convolved

CHANNELS = ((3, 64, 64), (64, 128, 128), (128, 256, 256, 256), (256, 512, 512, 512), (512, 512, 512, 512))
"""Input and outputs of the convolutions of each scale."""

MEAN_BGR = (104.00699, 116.66877, 122.67892)
"""Subtracted from 0 to 255 pixels, blue first, as in the training of the backbone."""


class HED(nn.Module):
    """[B, 3, H, W] RGB, 0 to 1, to edge probabilities [B, 1, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(*(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(channels)))
            for channels in CHANNELS
        )
        self.sides = nn.ModuleList(nn.Conv2d(channels[-1], 1, 1) for channels in CHANNELS)
        self.fuse = nn.Conv2d(len(CHANNELS), 1, 1)
        self.register_buffer("mean", torch.tensor(MEAN_BGR).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        return finish(self.parts(image))

    def parts(self, image: Tensor) -> Generator[float, None, Tensor]:
        """The same in pieces: yields the share that is done."""
        x = image.flip(1) * 255 - self.get_buffer("mean")
        sides = []
        for scale, (block, side) in enumerate(zip(self.blocks, self.sides, strict=True)):
            if scale:
                x = functional.max_pool2d(x, 2, ceil_mode=True)
            share = (scale + 0.5) / len(CHANNELS)
            for convolution in block:  # type: ignore[attr-defined]  # ModuleList forgets its element's type
                answer = yield from with_share(convolved(convolution, x), share)
                x = functional.relu(answer)
                yield share
            sides.append(
                functional.interpolate(side(x), size=image.shape[-2:], mode="bilinear", align_corners=False)
            )
        yield 1.0
        return torch.sigmoid(self.fuse(torch.cat(sides, 1)))


def load_hed(tensors: Mapping[str, Tensor]) -> HED:
    """The network with these weights: floats, or int8 with a scale for each output channel beside them.

    float32 in eval mode. Raises ValueError when names or shapes differ.
    """
    network = HED()
    weights = {
        name: _whole(tensor, tensors.get(f"{name}_scale"))
        for name, tensor in tensors.items()
        if not name.endswith("_scale")
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise ValueError(f"these tensors are not HED's: {error}") from None
    network.requires_grad_(False)
    return network.eval()


def _whole(tensor: Tensor, scale: Tensor | None) -> Tensor:
    if scale is None:
        return tensor.float()
    return tensor.float() * scale.float().view(-1, *[1] * (tensor.dim() - 1))
