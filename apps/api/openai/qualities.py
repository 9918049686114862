"""What `quality` costs and gives: how many steps, in which tier, and who enlarges what the model cannot make.

| quality | steps | tier | larger than the model denoises |
|---|---|---|---|
| low | half of the model's own | fast | resampled |
| medium, auto, standard, not said | the model's own | standard | resampled |
| high, hd | half as many again | standard | resampled |
| xhigh | half as many again | standard | by the upscaler |
| max | twice as many | standard | by the upscaler |

`steps` and `tier` among the extra fields win over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from apps.generation.request import MAX_STEPS
from gpu_runtime.messages import Tier

MEDIUM: Final = "medium"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """One row of the table."""

    name: str
    """As answers call it, which know none of the older words."""
    steps: float
    """Times the checkpoint's own number."""
    tier: Tier = Tier.STANDARD
    is_upscaled: bool = False

    def steps_of(self, own: int) -> int | None:
        """1 to 150; None leaves it to the checkpoint."""
        if self.steps == 1.0:
            return None
        return min(MAX_STEPS, max(1, round(own * self.steps)))


_LOW = Quality(name="low", steps=0.5, tier=Tier.FAST)
_MEDIUM = Quality(name=MEDIUM, steps=1.0)
_HIGH = Quality(name="high", steps=1.5)

QUALITIES: Final[Mapping[str, Quality]] = {
    "auto": _MEDIUM,
    "low": _LOW,
    "medium": _MEDIUM,
    "high": _HIGH,
    "xhigh": Quality(name="xhigh", steps=1.5, is_upscaled=True),
    "max": Quality(name="max", steps=2.0, is_upscaled=True),
    "standard": _MEDIUM,
    "hd": _HIGH,
}
