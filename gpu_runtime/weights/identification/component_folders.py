"""One component's folder: its configuration, and the one model among the files beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.reading import open_files
from gpu_runtime.weights.identification.weight_files import WeightFiles, read_json, versions

_CONFIGS = ("config.json", "adapter_config.json")
MAX_NAMED = 5


def open_component(folder: Path) -> tuple[Contents, WeightFiles]:
    """What the folder holds, and in which files.

    Raises NotRecognised for a folder without weights or with several models, and what reading raises.
    """
    config: Mapping[str, Any] = next((found for n in _CONFIGS if (found := read_json(folder / n))), {})
    chosen = _choose(folder)
    return open_files(chosen, config), chosen


def _choose(folder: Path) -> WeightFiles:
    """The one model of the folder; versions of the same weights count as one."""
    found = versions(folder)
    if not found:
        inner = sorted(entry.name for entry in folder.iterdir() if entry.is_dir())
        also = f"; it has the folders {', '.join(inner[:MAX_NAMED])}" if inner else ""
        raise NotRecognised(f"{folder.name} holds no weights{also}")
    safe = [each for each in found if not each.is_pickle] or found
    stems = sorted({each.stem for each in safe})
    if len(stems) > 1:
        named = ", ".join(stems[:MAX_NAMED]) + ("…" if len(stems) > MAX_NAMED else "")
        raise NotRecognised(f"{folder.name} holds {len(stems)} models ({named}); import one of its files")
    return safe[0]
