"""Convolutions cut into strips of rows, so that a slow device does other work between two of them.

A strip sees the rows around it that the convolution reaches: the result is that of the whole picture at once.
"""

from __future__ import annotations

from collections.abc import Generator

from torch import Tensor, nn
from torch.nn import functional

MOST_PRODUCTS = 1.5e9
"""Multiplications of a strip on a processor: about 80 ms of one core that does nothing else. A device with
cores by the thousand needs no strips: its convolutions are over in two milliseconds."""


def convolved(layer: nn.Conv2d, image: Tensor) -> Generator[None, None, Tensor]:
    """`layer(image)`, [B, C, H, W]; on a processor it stops after each strip of rows.

    On a device it never does: there the caller stops, after several layers. For square kernels, strides of 1.
    """
    if image.device.type != "cpu":
        made: Tensor = layer(image)
        return made
    reach = layer.kernel_size[0] // 2
    # As text it would be "same" or "valid", which no network here uses.
    border = int(layer.padding[0])
    height, width = (side + 2 * (border - reach) for side in image.shape[-2:])
    rows = max(1, int(MOST_PRODUCTS / (image.shape[0] * image.shape[-1] * layer.weight.numel())))
    if rows >= height:
        made = layer(image)
        yield
        return made
    whole = image.new_empty((image.shape[0], layer.out_channels, height, width))
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        # In rows of the image: a strip of the result reaches to both sides, beyond the picture into zeros.
        first, last = top - border, bottom - border + 2 * reach
        sides = (border, border, max(-first, 0), max(last - image.shape[-2], 0))
        seen = functional.pad(image[..., max(first, 0) : last, :], sides)
        whole[..., top:bottom, :] = functional.conv2d(seen, layer.weight, layer.bias)
        yield
    return whole
