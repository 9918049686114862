"""JSON as it leaves us: compact, ASCII (so that no half surrogate can break it), never NaN."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence


def json_bytes(value: Mapping[str, object] | Sequence[object]) -> bytes:
    """Encoded. Raises ValueError for NaN and infinities, which JSON does not have."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode("ascii")
