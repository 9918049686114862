"""What was measured of calls in a file, so that a restart knows b* and the time that is left from the start.

One file for each device, dtype and torch, since measurements hold for no other; workers of like devices write
the same one, and the last one counts. It decides nothing but what is expected, so a damaged file is passed
over.
"""

from __future__ import annotations

import hashlib
import json
import logging
import tempfile
from pathlib import Path
from typing import NamedTuple

from gpu_runtime.estimates import Estimates

log = logging.getLogger(__name__)

SAVE_EVERY_S = 300.0
"""What a crash loses."""

MOST_BYTES = 2**24
"""Larger files are not ours: a thousand shapes take less than one megabyte."""


class MeasuredOn(NamedTuple):
    """What measurements hold for."""

    device: str
    """Its name, as the driver or the processor has it."""
    dtype: str
    torch: str
    """Version."""


class LearnedTimes:
    """Keeps the measurements of one engine."""

    def __init__(self, folder: Path, measured_on: MeasuredOn, estimates: Estimates) -> None:
        """`estimates` are those that are kept. Reads and writes nothing."""
        name = hashlib.sha256("\n".join(measured_on).encode()).hexdigest()[:16]
        self.file = folder / f"times-{name}.json"
        self._measured_on = measured_on._asdict()
        self._estimates = estimates
        self._written = ""
        self._saved_at: float | None = None

    def load(self) -> bool:
        """Have the estimates begin from the file; False where there is none of use. Never raises."""
        try:
            if self.file.stat().st_size > MOST_BYTES:
                raise ValueError(f"it has more than {MOST_BYTES} bytes")
            read = json.loads(self.file.read_text(encoding="utf-8"))
            if read["measured_on"] != self._measured_on:
                raise ValueError(f"it was measured on {read['measured_on']}")
            self._estimates.restore(read["times"])
        except FileNotFoundError:
            return False
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            log.warning("measured times in %s are passed over: %r", self.file, error)
            return False
        return True

    def save_if_due(self, now: float) -> None:
        """Save every SAVE_EVERY_S; `now` in monotonic seconds."""
        if self._saved_at is None:
            self._saved_at = now
        elif now - self._saved_at >= SAVE_EVERY_S:
            self._saved_at = now
            self.save()

    def save(self) -> None:
        """Write what was measured, if that is more than what was written before; a failure is logged."""
        kept = {"measured_on": self._measured_on, "times": self._estimates.as_plain()}
        text = json.dumps(kept, indent=1, allow_nan=False)
        if text == self._written:
            return
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Beside it, so that nobody ever reads half of it; in a place of this process alone.
            with tempfile.TemporaryDirectory(dir=self.file.parent, prefix=".saving-") as beside:
                written = Path(beside) / self.file.name
                written.write_text(text, encoding="utf-8")
                written.replace(self.file)
        except OSError as error:
            log.warning("measured times could not be saved in %s: %s", self.file, error)
            return
        self._written = text
