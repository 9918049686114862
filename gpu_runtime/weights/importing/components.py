"""Writes finished components into the store: networks, tokenizers, noise schedulers, single adapter files.

Each is written in the work folder first and placed whole. Knows how files look, not where tensors come from.
"""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.weights.importing.configs import (
    SHIPPED,
    Config,
    canonical_config,
    canonical_scheduler,
    to_json,
)
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.importing.sources import DTYPE_NAMES
from gpu_runtime.weights.importing.writer import Planned, stored_bytes, write_safetensors
from gpu_runtime.weights.own_parts import OWN_PARTS
from gpu_runtime.weights.store import Placed, Store, digest_of

FREE_BYTES = 256 << 20
"""Must stay free on the disk: the database may be on it, too."""

PRECISIONS: Mapping[str, torch.dtype | None] = {
    "keep": None,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}

TOKENIZER_SETTINGS = {
    "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>",
    "model_max_length": 77,
    "tokenizer_class": "CLIPTokenizer",
    "unk_token": "<|endoftext|>",
}
PAD_WITH_END = "<|endoftext|>"
PAD_WITH_BANG = "!"
"""OpenCLIP's encoders were trained with it: its id is 0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One part of a checkpoint, in the store."""

    name: str
    library: str
    class_name: str
    digest: str
    size_bytes: int
    dtype: str = ""
    """Of most of its bytes, in safetensors' spelling; "" for what holds no weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Writing:
    """Where and how components are written."""

    store: Store
    work: Path
    precision: str = "keep"
    """A key of PRECISIONS."""
    on_bytes: Callable[[int], None] = field(default=lambda _: None)
    """Called with the bytes written since the last call."""


def write_network(
    writing: Writing,
    name: str,
    network_class: Any,
    config: Config,
    tensors: Mapping[str, Tensor],
    extra: Mapping[str, bytes] | None = None,
) -> Component:
    """A network whose tensors fit it, with files to lie beside it. Any: untyped in both libraries."""
    is_diffusers = hasattr(network_class, "load_config")
    plan = plan_of(writing.precision, tensors, kept=_kept_precise(network_class))
    placed = _write_folder(
        writing,
        name,
        texts={"config.json": to_json(canonical_config(network_class, config))},
        weights=("diffusion_pytorch_model.safetensors" if is_diffusers else "model.safetensors", plan),
        files=extra,
    )
    return Component(
        name=name,
        library="diffusers" if is_diffusers or network_class.__name__ in OWN_PARTS else "transformers",
        class_name=network_class.__name__,
        digest=placed.digest,
        size_bytes=placed.size_bytes,
        dtype=main_dtype(plan),
    )


def write_weights(
    writing: Writing, name: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]
) -> Component:
    """One file of tensors that is no network by itself: an adapter, an embedding, an upscaler."""
    plan = plan_of(writing.precision, tensors, kept=())
    placed = _write_folder(
        writing, name, texts={"facts.json": to_json(facts)}, weights=("weights.safetensors", plan)
    )
    return Component(
        name=name,
        library="",
        class_name="",
        digest=placed.digest,
        size_bytes=placed.size_bytes,
        dtype=main_dtype(plan),
    )


def write_scheduler(writing: Writing, name: str, class_name: str, config: Mapping[str, Any]) -> Component:
    """A noise scheduler's configuration."""
    values = {**canonical_scheduler(config), "_class_name": class_name}
    placed = _write_folder(writing, name, texts={"scheduler_config.json": to_json(values)})
    return _without_weights(name, "diffusers", class_name, placed)


def write_clip_tokenizer(writing: Writing, name: str, pad_token: str) -> Component:
    """CLIP's tokenizer with the shipped vocabulary."""
    vocabulary = {
        file: (SHIPPED / "tokenizer" / file).read_text(encoding="utf-8")
        for file in ("merges.txt", "vocab.json")
    }
    settings = to_json({**TOKENIZER_SETTINGS, "pad_token": pad_token})
    placed = _write_folder(writing, name, texts={**vocabulary, "tokenizer_config.json": settings})
    return _without_weights(name, "transformers", "CLIPTokenizer", placed)


def write_files(
    writing: Writing, name: str, library: str, class_name: str, files: Mapping[str, bytes]
) -> Component:
    """Files as they are: another tokenizer, an image processor."""
    placed = _write_folder(writing, name, texts={}, files=files)
    return _without_weights(name, library, class_name, placed)


def plan_of(precision: str, tensors: Mapping[str, Tensor], kept: tuple[str, ...]) -> dict[str, Planned]:
    """In which dtype each tensor is stored; `kept` are parts of names that stay as precise as they are."""
    wanted = PRECISIONS[precision]

    def dtype_of(name: str, tensor: Tensor) -> torch.dtype:
        if tensor.dtype == torch.float64:
            return wanted or torch.float32
        if wanted is None or not tensor.dtype.is_floating_point:
            return tensor.dtype
        is_kept = any(part in kept for part in name.split("."))
        return tensor.dtype if is_kept and tensor.dtype == torch.float32 else wanted

    return {name: Planned(tensor, dtype_of(name, tensor)) for name, tensor in tensors.items()}


def main_dtype(plan: Mapping[str, Planned]) -> str:
    """The dtype of most of the bytes."""
    sizes: Counter[torch.dtype] = Counter()
    for each in plan.values():
        sizes[each.dtype] += each.size_bytes
    return DTYPE_NAMES[max(sizes, key=lambda dtype: (sizes[dtype], str(dtype)))] if sizes else ""


def require_disk(folder: Path, needed_bytes: int) -> None:
    """Raises ImportRefused unless so much fits, with something left."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes + FREE_BYTES:
        raise disk_full(
            f"{needed_bytes / 1e9:.1f} GB are needed below {folder} and {free / 1e9:.1f} GB are free there: "
            "remove models or give it a larger disk"
        )


def disk_full(message: str) -> ImportRefused:
    return ImportRefused(RefusalCode.DISK_FULL, message)


def _write_folder(
    writing: Writing,
    name: str,
    *,
    texts: Mapping[str, str],
    weights: tuple[str, Mapping[str, Planned]] | None = None,
    files: Mapping[str, bytes] | None = None,
) -> Placed:
    folder = writing.work / "components" / name
    folder.mkdir(parents=True)
    contents = {file: text.encode() for file, text in texts.items()} | dict(files or {})
    try:
        digests = {file: _write_file(folder / file, data) for file, data in contents.items()}
        size = sum(len(data) for data in contents.values())
        if weights is not None:
            file, plan = weights
            require_disk(folder, stored_bytes(plan))
            written = write_safetensors(folder / file, plan, writing.on_bytes)
            digests[file] = written.sha256
            size += written.size_bytes
        return writing.store.place_component(folder, digest_of(digests, size))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise disk_full(
                f"the disk of {writing.store.root} became full: remove models and retry"
            ) from error
        raise


def _write_file(file: Path, data: bytes) -> str:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def _without_weights(name: str, library: str, class_name: str, placed: Placed) -> Component:
    return Component(
        name=name,
        library=library,
        class_name=class_name,
        digest=placed.digest,
        size_bytes=placed.size_bytes,
    )


def _kept_precise(network_class: Any) -> tuple[str, ...]:
    return tuple(network_class._keep_in_fp32_modules or ())
