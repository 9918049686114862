"""Scales that a LoRA file declares in its header instead of beside its tensors."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from gpu_runtime.adapters.lora_build import DeclaredScale
from gpu_runtime.adapters.lora_keys import Part, sort_names

ADAPTER_KEY = "lora_adapter_metadata"
"""diffusers writes peft's configuration under this key, each value with its component before it."""


class DeclaredScales:
    """What the header says; without anything, alpha equals the rank and the scale is 1."""

    def __init__(self, header: Mapping[str, str] | None) -> None:
        self._values: Mapping[str, Any] = {}  # Any: JSON
        try:
            values = json.loads((header or {}).get(ADAPTER_KEY, "{}"))
        except (ValueError, RecursionError):
            values = {}
        if isinstance(values, dict):
            self._values = values

    def of(self, component: str, path: str) -> DeclaredScale:
        """The scale of one layer, for its rank."""
        alpha = self._alpha(component, path)
        uses_root = self._values.get(f"{component}.use_rslora") is True

        def scale(rank: int) -> float:
            if alpha is None:
                return 1.0
            return alpha / (math.sqrt(rank) if uses_root else rank)

        return scale

    def _alpha(self, component: str, path: str) -> float | None:
        """peft's rule: the first pattern that matches the end of the path, else the common value."""
        special = self._values.get(f"{component}.alpha_pattern")
        for pattern, value in (special if isinstance(special, dict) else {}).items():
            if _matches(pattern, path):
                return _number(value)
        return _number(self._values.get(f"{component}.lora_alpha"))


def declared_alphas(header: Mapping[str, str], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, float]:
    """The header's scales as the alpha of each layer, by the name of an alpha tensor: for files that are kept
    without their header. Empty where the header declares none.

    `shapes` are those of the file's tensors. diffusers is the only writer, and names layers in full.
    """
    scales = DeclaredScales(header)
    alphas = {}
    for stem, parts in sort_names(shapes).parts.items():
        component, _, path = stem.partition(".")
        sides = shapes[parts[Part.DOWN]] if Part.DOWN in parts and Part.ALPHA not in parts else ()
        rank = sides[0] if sides else 0
        scale = scales.of(component, path)(rank) if rank else 1.0
        if scale != 1.0:
            alphas[f"{stem}.alpha"] = scale * rank
    return alphas


def _matches(pattern: str, path: str) -> bool:
    """The header is the file's own text: a pattern is taken literally, since regular expressions can hang."""
    literal = pattern.lstrip("^").removesuffix("$").replace("\\.", ".")
    return path == literal or path.endswith(f".{literal}")


def _number(value: object) -> float | None:
    """JSON as Python reads it has numbers that are not finite, and integers that are no float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
