"""Which files of a folder are the weights: a repository often has several versions of the same ones."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.variants import ORDERS

_FILE = re.compile(
    r"(?P<stem>.+?)(\.(?P<variant>fp16|bf16|fp32|fp8|ema|non_ema|nonema|ema_only))?"
    r"(-(?P<number>\d{5})-of-(?P<total>\d{5}))?(\.(?P<late>fp16|bf16|fp32|fp8|ema|non_ema))?"
    r"\.(?P<suffix>safetensors|bin|ckpt|pt|pth)"
)
_NO_WEIGHTS = frozenset(
    {"training_args.bin", "optimizer.bin", "scheduler.bin", "random_states_0.pkl", "optimizer.pt"}
)
"""Left behind by trainers."""

_STEMS = ("diffusion_pytorch_model", "model", "pytorch_model", "pytorch_lora_weights", "adapter_model")
_VARIANTS = (*ORDERS["keep"], "fp32", "ema", "ema_only")
"""In the order of preference."""

MAX_JSON_BYTES = 20_000_000
MAX_FILES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFiles:
    """One version of a component's weights, in one file or in shards."""

    stem: str
    variant: str
    """"" for the plain version, else "fp16"…"""
    files: tuple[Path, ...]
    is_pickle: bool


def versions(folder: Path) -> list[WeightFiles]:
    """Every version of weights directly in the folder, the preferred one first.

    Raises WeightsCorrupt when shards of the preferred version are missing and there is no other.
    """
    groups: dict[tuple[str, str, bool], dict[int, Path]] = {}
    totals: dict[tuple[str, str, bool], int] = {}
    for file in _files(folder):
        match = _FILE.fullmatch(file.name)
        if match is None or file.name in _NO_WEIGHTS:
            continue
        key = (match["stem"], match["variant"] or match["late"] or "", match["suffix"] != "safetensors")
        groups.setdefault(key, {})[int(match["number"] or 0)] = file
        totals[key] = int(match["total"] or 0)
    complete = {key for key, files in groups.items() if _missing(files, totals[key]) is None}
    if groups and not complete:
        key = min(groups, key=_rank)
        raise WeightsCorrupt(
            f"{folder.name} is incomplete: "
            f"shard {_missing(groups[key], totals[key])} of {totals[key]} is missing"
        )
    return [
        WeightFiles(
            stem=key[0],
            variant=key[1],
            is_pickle=key[2],
            files=tuple(groups[key][n] for n in sorted(groups[key])),
        )
        for key in sorted(complete, key=_rank)
    ]


def read_json(file: Path) -> dict[str, Any]:
    """A configuration file, {} where there is none. Raises WeightsCorrupt for a damaged one. Any: JSON."""
    if not file.is_file():
        return {}
    if file.stat().st_size > MAX_JSON_BYTES:
        raise WeightsCorrupt(f"{file.name} is damaged: it has {file.stat().st_size} bytes")
    try:
        parsed = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise WeightsCorrupt(f"{file.name} is damaged: {error}") from error
    if not isinstance(parsed, dict):
        raise WeightsCorrupt(f"{file.name} is damaged: it is no object")
    return parsed


def _files(folder: Path) -> list[Path]:
    files = []
    for position, entry in enumerate(folder.iterdir()):
        if position >= MAX_FILES:
            raise WeightsCorrupt(f"{folder.name} has more than {MAX_FILES} entries")
        if entry.is_file() and entry.name.isprintable():
            files.append(entry)
    return sorted(files)


def _missing(files: Mapping[int, Path], total: int) -> int | None:
    """The first shard that is not there, None when all are, or when there is one whole file."""
    if 0 in files:
        return None
    return next((number for number in range(1, total + 1) if number not in files), None)


def _rank(key: tuple[str, str, bool]) -> tuple[bool, int, int, str]:
    stem, variant, is_pickle = key
    return (
        is_pickle,
        _STEMS.index(stem) if stem in _STEMS else len(_STEMS),
        _VARIANTS.index(variant) if variant in _VARIANTS else len(_VARIANTS),
        stem + variant,
    )
