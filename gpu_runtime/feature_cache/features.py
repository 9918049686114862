"""What forward rows remember of their earlier steps, from one denoiser call to the next.

Kept with the row, never with the network, so that no row can be given another's. A call reads what its rows
remember and notes what they will; only `commit` changes a row, so that a call may be repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from gpu_runtime.families.family import ForwardInputs, Row


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFeatures:
    """Of one forward row, from its latest call in which all blocks ran. Tensors [1, ...] on the device."""

    first: Tensor
    """By which a later call tells whether much has changed: what the first block makes."""
    rest: Tensor
    """What the skipped blocks would be asked for."""
    reused: int = 0
    """Calls since then that used it."""

    @property
    def size_bytes(self) -> int:
        """Of both tensors."""
        return self.first.nbytes + self.rest.nbytes


ImageFeatures = tuple[RowFeatures | None, RowFeatures | None]
"""`Row.features`: of an image's conditional row, and of its unconditional one."""

NOTHING: ImageFeatures = (None, None)


class CallFeatures:
    """Of all forward rows of one denoiser call."""

    def __init__(self, rows: Sequence[Row], inputs: ForwardInputs, *, threshold: float) -> None:
        """`inputs` are those of `rows`; `threshold` as in `EngineConfig.reuse_threshold`."""
        self._threshold = threshold
        self._places = [(owner, 0) for owner in range(len(rows))] + [(owner, 1) for owner in inputs.guided]
        remembered = [row.features or NOTHING for row in rows]
        self._earlier = [remembered[owner][half] for owner, half in self._places]
        self._found: dict[int, RowFeatures] = {}

    def part(self, part: slice) -> PartFeatures:
        """Of some of the rows."""
        return PartFeatures(
            earlier=tuple(self._earlier[part]),
            found=self._found,
            start=part.start,
            threshold=self._threshold,
        )

    def commit(self, rows: Sequence[Row]) -> None:
        """Have the rows remember what the call found. `rows` are those of the constructor."""
        halves: list[list[RowFeatures | None]] = [list(NOTHING) for _ in rows]
        for position, (owner, half) in enumerate(self._places):
            halves[owner][half] = self._found.get(position)
        for row, (conditional, unconditional) in zip(rows, halves, strict=True):
            row.features = (conditional, unconditional)

    @property
    def reused(self) -> int:
        """Forward rows of the call that reused what they remember."""
        return sum(found.reused > 0 for found in self._found.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFeatures:
    """Of the forward rows of one part of a call."""

    earlier: tuple[RowFeatures | None, ...]
    found: dict[int, RowFeatures]
    """By position in the whole call; filled by the network's call."""
    start: int
    """Position of the part's first row."""
    threshold: float

    def note_computed(self, row: int, *, first: Tensor, rest: Tensor) -> None:
        """All blocks ran for this row of the part; the tensors are [1, ...] views, which are copied."""
        self.found[self.start + row] = RowFeatures(first=first.clone(), rest=rest.clone())

    def note_reused(self, row: int) -> None:
        """Blocks were skipped for this row of the part."""
        earlier = self.earlier[row]
        if earlier is not None:
            self.found[self.start + row] = replace(earlier, reused=earlier.reused + 1)
