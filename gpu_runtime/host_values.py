"""Numbers that the host knows, brought to the device without waiting for it.

`torch.tensor(values, device="cuda")` waits until the device has done all that it was given so far. Within a
denoiser's call that leaves it idle while the host catches up. So whatever is made of numbers at every step
goes through here: from pinned memory, in the order of the device's own work.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

Values: TypeAlias = Sequence[float] | Sequence[Sequence[float]]
"""Whole numbers count as well."""


def on_device(values: Values, *, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of these values, as `torch.tensor` makes it."""
    return to_device(torch.tensor(values, dtype=dtype), device)


def to_device(host: Tensor, device: torch.device) -> Tensor:
    """A tensor of the host's on the device. The caller does not write to it afterwards."""
    if device.type != "cuda":
        return host.to(device)
    # torch keeps pinned memory that a copy reads from being used again before the copy is done.
    return host.pin_memory().to(device, non_blocking=True)
