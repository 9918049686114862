"""How much rows of the `fast` tier remember, and how it is given up when memory runs out.

At 1024 x 1024 pixels in bfloat16 a forward row remembers 24 MB (SDXL) to 50 MB (FLUX), from its first step to
its last, also while others have their turns. It is on the device, so the budget of weights counts it
(`weights/assembly.py`); and it is the first thing to go where memory is short, because all that is lost is
that the next step of each row runs in full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gpu_runtime.families.family import Row
from gpu_runtime.feature_cache.features import NOTHING


class FeatureMemory:
    """What all rows of one engine remember. Kept with the rows; nothing is kept here."""

    def __init__(self, rows: Callable[[], Iterable[Row]] = tuple) -> None:
        """`rows` gives all rows that are between their first and their last step."""
        self._rows = rows

    @property
    def size_bytes(self) -> int:
        """Bytes on the device now."""
        return sum(map(_size_of, self._rows()))

    def drop(self) -> int:
        """Have all rows forget what they remember. Returns the bytes freed."""
        freed = 0
        for row in self._rows():
            freed += _size_of(row)
            row.features = None
        return freed


def _size_of(row: Row) -> int:
    remembered = (half for half in row.features or NOTHING if half is not None)
    return sum(half.size_bytes for half in remembered)
