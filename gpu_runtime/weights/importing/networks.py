"""Whether tensors are exactly those of a configuration, and the names they have in the canonical form."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.importing.sources import Tensors
from gpu_runtime.weights.importing.writer import Planned, header_of, stored_bytes
from gpu_runtime.weights.modules import TensorSpec, build_module, tensor_specs

_NEVER_STORED = re.compile(r".*\.(position_ids|num_batches_tracked|inv_freq|freqs_cis)")
"""Tables that are computed; older files carry them."""

EXACT = frozenset({"CLIPTextModel", "CLIPTextModelWithProjection", "T5EncoderModel"})
"""Classes of transformers whose tensors always get the module's own names."""

_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def build_empty(network_class: Any, config: Mapping[str, Any]) -> Any:  # Any: untyped in both libraries
    """The network without memory. Raises WeightsCorrupt when the class does not accept the configuration."""
    try:
        return build_module(network_class, config, torch.float32)
    except (TypeError, ValueError, KeyError, AttributeError, IndexError, RuntimeError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsCorrupt(f"its configuration makes no {network_class.__name__}: {what}") from error


def fit_folder(network_class: Any, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors of a repository's component, as its library loads them; what it ignores is left out.

    Raises WeightsCorrupt naming the first difference.
    """
    if network_class.__name__ in EXACT or hasattr(network_class, "load_config"):
        return fit(build_empty(network_class, config), tensors, is_strict=False)
    # transformers renames tensors of many architectures while it loads: it has to judge itself.
    _require_loadable(network_class, config, tensors)
    return dict(tensors)


def _require_loadable(network_class: Any, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Have transformers load a file that has only the header, onto the meta device."""
    plan = {name: Planned(tensor, tensor.dtype) for name, tensor in tensors.items()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        with (folder / "model.safetensors").open("wb") as stream:
            header = header_of(plan)
            stream.write(header)
            stream.truncate(len(header) + stored_bytes(plan))
        try:
            _, report = network_class.from_pretrained(
                folder,
                device_map="meta",
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                local_files_only=True,
                use_safetensors=True,
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
            raise WeightsCorrupt(f"{network_class.__name__} does not load: {error}") from error
    wrong = sorted(report["missing_keys"]) + sorted(each[0] for each in report["mismatched_keys"])
    if wrong:
        raise WeightsCorrupt(
            f"{network_class.__name__}: {wrong[0]} is missing or of another shape ({len(wrong)} are)"
        )


def fit(module: Any, tensors: Mapping[str, Tensor], *, is_strict: bool) -> Tensors:
    """The tensors under the module's own names, tied ones once.

    `is_strict` refuses tensors that the module has no place for, too; otherwise they are left out. Raises
    WeightsCorrupt naming the first difference.
    """
    what = type(module).__name__
    renamed = _renamed(module, tensors)
    specs = tensor_specs(module, torch.float32)
    fitted: Tensors = {}
    for name, spec in specs.items():
        found = next((each for each in spec.names if each in renamed), None)
        if found is None:
            raise WeightsCorrupt(f"{what}: the tensor {name} is missing{_hint(specs, renamed)}")
        tensor = renamed[found]
        if tuple(tensor.shape) != spec.shape:
            raise WeightsCorrupt(
                f"{what}: {name} has the shape {list(tensor.shape)} where {list(spec.shape)} belongs"
            )
        fitted[name] = tensor
    taken = {name for spec in specs.values() for name in spec.names}
    extra = sorted(name for name in renamed if name not in taken and not _NEVER_STORED.fullmatch(name))
    if is_strict and extra:
        raise WeightsCorrupt(f"{what}: {extra[0]} belongs to no part of it ({len(extra)} such tensors)")
    return fitted


def _hint(specs: Mapping[str, TensorSpec], renamed: Mapping[str, Tensor]) -> str:
    missing = sum(not any(name in renamed for name in spec.names) for spec in specs.values())
    return f" ({missing} of {len(specs)} are)" if missing > 1 else ""


def _renamed(module: Any, tensors: Mapping[str, Tensor]) -> Tensors:
    """Names of older releases of the libraries, as they are now."""
    renamed = dict(tensors)
    names = module.state_dict().keys()
    prefix = "text_model."
    if any(name.startswith(prefix) for name in renamed) and not any(n.startswith(prefix) for n in names):
        renamed = {name.removeprefix(prefix): tensor for name, tensor in renamed.items()}
    for path, part in module.named_modules():
        if getattr(part, "_from_deprecated_attn_block", False):
            _rename_attention(path, renamed)
    return renamed


def _rename_attention(path: str, tensors: Tensors) -> None:
    for old, new in _OLD_ATTENTION.items():
        for leaf in ("weight", "bias"):
            if (name := f"{path}.{old}.{leaf}") in tensors:
                tensor = tensors.pop(name)
                # Convolutions of one pixel, before they were linear layers.
                if leaf == "weight" and tensor.ndim == 4:
                    tensor = tensor[:, :, 0, 0]
                tensors[f"{path}.{new}.{leaf}"] = tensor
