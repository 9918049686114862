"""What one import is asked to do and what it answers. Plain values; progress goes out through a function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_runtime.weights.importing.components import Component, Writing
from gpu_runtime.weights.store import Store
from gpu_runtime.weights.taxonomy import Identified

OnProgress = Callable[[str, int, int], None]
"""Phase, bytes done, bytes in all."""

REPORT_EVERY_BYTES = 32 << 20


@dataclass(slots=True, kw_only=True)
class ImportJob:
    """One import."""

    source: Path
    """A file, or the folder of a downloaded repository."""
    store: Store
    work: Path
    """Empty, and in the file system of the store."""
    precision: str = "keep"
    donors: tuple[Path, ...] = ()
    """Folders in the store whose components may stand in for what a single file lacks."""
    on_progress: OnProgress = field(default=lambda phase, done, total: None)
    _done: int = 0
    _told: int = 0
    _total: int = 0

    def expect(self, total_bytes: int) -> None:
        """How many bytes components to be written have, beside those expected before."""
        self._total += total_bytes
        self.on_progress("converting", self._done, self._total)

    def writing(self) -> Writing:
        """How components of this import are written."""
        return Writing(store=self.store, work=self.work, precision=self.precision, on_bytes=self._count)

    def _count(self, size: int) -> None:
        # Headers count as well, so that it can be a little more than was expected.
        self._done = min(self._done + size, self._total)
        is_end = self._done == self._total and self._told < self._total
        if self._done - self._told >= REPORT_EVERY_BYTES or is_end:
            self._told = self._done
            self.on_progress("converting", self._done, self._total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What is in the store now."""

    identified: Identified
    path: Path
    digest: str
    size_bytes: int
    components: tuple[Component, ...]
    details: Mapping[str, Any] = field(default_factory=dict)
    """Beside those of identification. Any: JSON values."""

    def to_json(self) -> dict[str, object]:
        """As the contract of the import child has it."""
        found = self.identified
        details = {name: list(v) if isinstance(v, tuple) else v for name, v in found.details.items()}
        return {
            "kind": str(found.kind),
            "family": found.family,
            "variant": found.variant,
            "path": str(self.path),
            "digest": self.digest,
            "size_bytes": self.size_bytes,
            "components": [
                {
                    "name": each.name,
                    "class_name": each.class_name,
                    "digest": each.digest,
                    "size_bytes": each.size_bytes,
                    "dtype": each.dtype,
                }
                for each in self.components
            ],
            "title": found.title,
            "trigger_words": list(found.trigger_words),
            "licence": found.licence,
            "details": {**details, **self.details},
        }
