"""Which ControlNets run in a call, for which rows, and how their results are spread over the call's rows."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gpu_runtime.controls.use import ControlUse
from gpu_runtime.families.family import ForwardInputs
from gpu_runtime.host_values import on_device
from gpu_runtime.weights.loans import NetworkLoan

INNERMOST = 12
"""Number of the middle block of Stable Diffusion's UNet, which has twelve results of blocks before it."""

FADING = 0.825
"""Share of its strength that a fading control has in a block of what it has in the next one further in.

As AUTOMATIC1111's ControlNet has it for "My prompt is more important", and for XL's fewer blocks the same,
counted from the outermost.
"""


@dataclass(slots=True, kw_only=True)
class Run:
    """One call of one ControlNet, for all rows of the denoiser's call that have it in the same way."""

    loan: NetworkLoan
    uses: list[tuple[ControlUse, ...]] = field(default_factory=list)
    """For each of its own rows, the pictures that it reads together; one for most networks."""
    sources: list[int] = field(default_factory=list)
    """For each of its own rows, the forward row whose latents and prompt it is given."""
    entries: list[int] = field(default_factory=list)
    """Its own row whose result is added to each of `rows`."""
    rows: list[int] = field(default_factory=list)
    """Rows of the denoiser's call, counted from the part's first, that get a result."""
    _moved: tuple[Tensor, Tensor] | None = None
    _scales: dict[int, Tensor] = field(default_factory=dict)
    _sources_moved: Tensor | None = None

    def source_rows(self, values: Tensor) -> Tensor:
        """A tensor with a row for each forward row of the whole call, for its own rows."""
        if self._sources_moved is None:
            self._sources_moved = on_device(self.sources, dtype=torch.int64, device=values.device)
        return values[self._sources_moved]

    def pictures(self, which: int = 0) -> Tensor:
        """The pictures of its own rows at this place among those read together: [rows, C, H, W]."""
        return torch.cat([uses[which].shown for uses in self.uses])

    def modes(self, device: torch.device) -> Tensor:
        """The kind of map of each of its own rows, int64 [rows, 1]."""
        return on_device([[uses[0].mode or 0] for uses in self.uses], dtype=torch.int64, device=device)

    def spread(self, result: Tensor, rows: int, *, block: int = INNERMOST) -> Tensor:
        """Its results [own rows, ...] for a call of so many rows, at their scales; zeros for the others.

        `block` counts a UNet's blocks from the outermost, 0, to INNERMOST, by which some results fade.
        """
        entries, targets = self._places(result.device)
        scales = self._scales_at(block, result.device)
        # In float32: a scale of 0.6 has three digits in bfloat16.
        scaled = (result[entries] * scales.view(-1, *[1] * (result.dim() - 1))).to(result.dtype)
        if self.rows == list(range(rows)):
            return scaled
        blank = result.new_zeros((rows, *result.shape[1:]))
        return blank.index_add_(0, targets, scaled)

    def _places(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """`entries` and `rows` on the device: moved there once for all results."""
        if self._moved is None:
            self._moved = (
                on_device(self.entries, dtype=torch.int64, device=device),
                on_device(self.rows, dtype=torch.int64, device=device),
            )
        return self._moved

    def _scales_at(self, block: int, device: torch.device) -> Tensor:
        """Of `entries`, float32 on the device: the same for all blocks where nothing fades."""
        depth = block if any(self._fades(entry) for entry in self.entries) else INNERMOST
        if depth not in self._scales:
            scales = [self._scale(entry, depth) for entry in self.entries]
            self._scales[depth] = on_device(scales, dtype=torch.float32, device=device)
        return self._scales[depth]

    def _scale(self, entry: int, block: int) -> float:
        """Where several pictures are read together, their scales have done their work inside the network."""
        uses = self.uses[entry]
        own = uses[0].scale if len(uses) == 1 else 1.0
        return own * FADING ** (INNERMOST - block) if self._fades(entry) else own

    def _fades(self, entry: int) -> bool:
        return all(use.fades for use in self.uses[entry])


def plan_runs(
    inputs: ForwardInputs, part: slice, *, source_of: Callable[[int], int] = lambda row: row
) -> list[Run]:
    """The runs for these forward rows. `source_of` says of a forward row which one's result it gets."""
    runs: dict[Hashable, Run] = {}
    done: dict[Hashable, int] = {}
    for position, row in enumerate(range(inputs.latents.shape[0])[part]):
        for place, uses in enumerate(_grouped(inputs.controls[row])):
            key = _alike(uses)
            run = runs.setdefault(key, Run(loan=uses[0].loan))
            source = source_of(row)
            entry = done.get((key, source, place))
            if entry is None:
                entry = done[key, source, place] = len(run.uses)
                run.uses.append(uses)
                run.sources.append(source)
            run.entries.append(entry)
            run.rows.append(position)
    return list(runs.values())


def _grouped(uses: Sequence[ControlUse]) -> list[tuple[ControlUse, ...]]:
    """What is read at once: each by itself, or all of one network and balance."""
    groups: dict[Hashable, list[ControlUse]] = {}
    for place, use in enumerate(uses):
        groups.setdefault(use.reading if use.is_joined else place, []).append(use)
    return [tuple(group) for group in groups.values()]


def _alike(uses: Sequence[ControlUse]) -> Hashable:
    """Rows with equal ones share a run: networks that join pictures take modes and scales for all rows."""
    modes = tuple(use.mode for use in uses if use.is_joined)
    scales = tuple(use.scale for use in uses) if len(uses) > 1 else ()
    return uses[0].loan, modes, scales
