"""Which files of a repository make the model: safetensors before pickles, one precision, no duplicates.

Repositories carry the same weights several times: in several precisions, for several frameworks, and as one
file beside the folder of its parts. Works on names alone.
"""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from apps.catalog.imports.failures import ImportFailure
from apps.catalog.imports.options import ImportOptions
from gpu_runtime.weights.variants import ORDERS, common_variant, variant_of, without_variant

SAFE: Final = (".safetensors", ".sft")
PICKLED: Final = (".ckpt", ".pt", ".pth", ".bin")
WEIGHTS: Final = (*SAFE, *PICKLED)
ONNX: Final = ".onnx"
ONNX_PLACE: Final = re.compile(r"(onnx/)?[^/]+\.onnx")
# Configurations, tokenizers and vocabularies.
SIDE_FILES: Final = (".json", ".txt", ".model", ".spm", ".jinja")
# The same weights for other frameworks, or not weights at all although they end like some.
FOREIGN: Final = re.compile(
    r"(^|/)(flax_|tf_|rust_|openvino_|onnx/|.*\.onnx|training_args\.bin|optimizer\.|scheduler\.bin|random_states)"
)
SHARD: Final = re.compile(r"-\d{5}-of-\d{5}")
# Judges images after the fact; the appliance has its own, and these are as large as a text encoder.
SKIPPED_COMPONENTS: Final = frozenset({"safety_checker"})
SHOWN: Final = 8
ADAPTER: Final = re.compile(r"ip[-_]?adapter")
SMALLER_ENCODER: Final = re.compile(r"vit[-_]?h")
ENCODER_FOLDER: Final = "image_encoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A file as the repository lists it."""

    name: str
    size: int | None
    sha256: str


def choose_files(
    listed: Sequence[Listed], *, options: ImportOptions, index: Mapping[str, object]
) -> list[Listed]:
    """The files to fetch. `index` is the repository's model_index.json, {} when it has none.

    Raises ImportFailure no_weights, choose_file, file_not_found.
    """
    safe = [item for item in listed if _is_safe_name(item.name)]
    if options.file:
        return _one_file(safe, options)
    if options.file_patterns:
        chosen = [item for item in safe if any(fnmatch.fnmatch(item.name, p) for p in options.file_patterns)]
        return _with_weights(chosen, safe, options)
    usable = [item for item in safe if not FOREIGN.search(item.name)]
    if index:
        return _with_weights(_pipeline(usable, index, options.precision), safe, options)
    root = [item for item in usable if "/" not in item.name]
    if any(item.name == "config.json" for item in root) and _weights(root):
        return _with_weights(_folder(root, ORDERS[options.precision]), safe, options)
    single = _single(usable, safe, options)
    return [single, *_encoder_beside(single, safe, options)]


def _one_file(listed: list[Listed], options: ImportOptions) -> list[Listed]:
    for item in listed:
        if item.name == options.file:
            return [item, *_encoder_beside(item, listed, options)]
    # A folder of the repository, such as one of many ControlNets.
    prefix = options.file.rstrip("/") + "/"
    inside = [item for item in listed if item.name.startswith(prefix) and not FOREIGN.search(item.name)]
    direct = [item for item in inside if "/" not in item.name.removeprefix(prefix)]
    if _weights(direct):
        return _folder(direct, ORDERS[options.precision])
    raise ImportFailure(
        "file_not_found", f"{options.address} has no file {options.file}. It has {_show(_weights(listed))}."
    )


def _with_weights(chosen: list[Listed], listed: list[Listed], options: ImportOptions) -> list[Listed]:
    if _weights(chosen):
        return chosen
    raise no_weights(options.address, listed)


def no_weights(address: str, listed: Sequence[Listed]) -> ImportFailure:
    """The refusal, with what there is instead."""
    return ImportFailure("no_weights", f"{address} has no weights: it holds {_show(listed)}.")


def _pipeline(listed: list[Listed], index: Mapping[str, object], precision: str) -> list[Listed]:
    """The components that the index names, each in one form."""
    names = {
        name
        for name, value in index.items()
        if isinstance(value, list) and any(value) and name not in SKIPPED_COMPONENTS
    }
    chosen = [item for item in listed if item.name == "model_index.json"]
    parts = [
        [item for item in listed if PurePosixPath(item.name).parts[:-1] == (name,)] for name in sorted(names)
    ]
    offered = [{variant_of(PurePosixPath(item.name).name) for item in _weights(part)} for part in parts]
    order = (common_variant(offered, precision), *ORDERS[precision])
    return chosen + [item for part in parts for item in _folder(part, order)]


def _folder(listed: list[Listed], order: Sequence[str]) -> list[Listed]:
    """One component: its side files, and its weights once. Shards and their index stay together."""
    weights = _weights(listed)
    kept = _one_form(weights, order)
    kept_stems = {_stem(item.name) for item in kept}
    side = [
        item
        for item in listed
        if item.name.endswith(SIDE_FILES)
        and (".index." not in item.name or _index_stem(item.name) in kept_stems)
    ]
    return [*side, *kept]


def _one_form(weights: list[Listed], order: Sequence[str]) -> list[Listed]:
    safe = [item for item in weights if item.name.endswith(SAFE)]
    pool = safe or weights
    by_variant: dict[str, list[Listed]] = defaultdict(list)
    for item in pool:
        by_variant[variant_of(PurePosixPath(item.name).name)].append(item)
    ranked = [*order, *sorted(by_variant)]
    chosen = next((by_variant[name] for name in ranked if name in by_variant), [])
    by_stem: dict[str, list[Listed]] = defaultdict(list)
    for item in chosen:
        by_stem[_stem(item.name)].append(item)
    for stem in sorted(by_stem, key=_preference):
        files = by_stem[stem]
        shards = [item for item in files if SHARD.search(item.name)]
        return [item for item in files if item not in shards] or shards
    return []


def _preference(stem: str) -> tuple[int, str]:
    """diffusers' and transformers' own names first."""
    known = ("diffusion_pytorch_model", "model", "pytorch_model")
    base = PurePosixPath(stem).name.split(".")[0]
    return (known.index(base) if base in known else len(known), stem)


def _single(listed: list[Listed], everything: list[Listed], options: ImportOptions) -> Listed:
    """The one weights file of a repository that is no folder of parts."""
    weights = _weights(listed)
    candidates = [item for item in weights if "/" not in item.name] or weights
    candidates = [item for item in candidates if item.name.endswith(SAFE)] or candidates
    if not candidates:
        # Cut-out networks are published in no other format; deeper down lie conversions of larger models.
        candidates = [item for item in everything if ONNX_PLACE.fullmatch(item.name.lower())]
    if not candidates:
        raise no_weights(options.address, everything)
    if len(candidates) == 1:
        return candidates[0]
    for item in candidates:
        if item.name == "pytorch_lora_weights.safetensors":
            return item
    stems = {without_variant(item.name) for item in candidates}
    if len(stems) == 1:
        # Identification, which takes the file out of a local folder, does not know of a wish for precision.
        return _one_form(candidates, ORDERS["keep"])[0]
    raise ImportFailure(
        "choose_file",
        f"{options.address} has several models; name one file of {_show(candidates)}.",
    )


def _encoder_beside(item: Listed, listed: Sequence[Listed], options: ImportOptions) -> list[Listed]:
    """The encoder of pictures in an IP-adapter's repository: the adapter is of no use without it.

    Not for a file of a known digest, which is asked for by itself, nor for adapters that see with others.
    """
    file = PurePosixPath(item.name)
    if options.expected_sha256 or not ADAPTER.search(file.name.lower()) or "faceid" in file.name.lower():
        return []
    folders = [
        config.parent
        for config in (PurePosixPath(each.name) for each in listed)
        if config.name == "config.json" and config.parent.name == ENCODER_FOLDER
    ]
    # h94's repository, whose layout others took over: ViT-H is with the adapters for SD 1, which were first.
    first = PurePosixPath("models", ENCODER_FOLDER) if SMALLER_ENCODER.search(file.name.lower()) else None
    preferred = [
        each for each in (first, file.parent / ENCODER_FOLDER, PurePosixPath(ENCODER_FOLDER)) if each
    ]
    folder = next((each for each in preferred if each in folders), folders[0] if len(folders) == 1 else None)
    if folder is None:
        return []
    inside = [each for each in listed if PurePosixPath(each.name).parent == folder]
    return _folder(inside, ORDERS[options.precision])


def _stem(name: str) -> str:
    """What shards of one file have in common, extension included."""
    return SHARD.sub("", name)


def _index_stem(name: str) -> str:
    """`model.safetensors.index.fp16.json` and `model.safetensors.index.json` -> the stem they index."""
    match = re.fullmatch(
        r"(?P<base>.+)\.(?P<suffix>safetensors|bin)\.index(?:\.(?P<variant>\w+))?\.json", name
    )
    if match is None:
        return name
    variant = f".{match['variant']}" if match["variant"] else ""
    return f"{match['base']}{variant}.{match['suffix']}"


def _weights(listed: Sequence[Listed]) -> list[Listed]:
    return [item for item in listed if item.name.endswith(WEIGHTS) and not FOREIGN.search(item.name)]


def _is_safe_name(name: str) -> bool:
    parts = name.split("/")
    return (
        all(part and not part.startswith(".") and len(part) <= 200 for part in parts)
        and name.isprintable()
        and "\\" not in name
        and len(parts) <= 8
    )


def _show(listed: Sequence[Listed]) -> str:
    names = sorted(item.name for item in listed)
    if not names:
        return "no files"
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
