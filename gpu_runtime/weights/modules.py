"""Builds the module of an architecture without any weights, and knows which tensors it wants.

Parameters are born without memory and without random numbers. Buffers that no file carries (position ids,
rotary frequencies) are computed by the constructor, in the default dtype that the libraries set while they
load, so that a module from here equals one from `from_pretrained`; a test compares them.

Any throughout: diffusers' and transformers' classes reach us untyped.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import init_empty_weights  # type: ignore[import-untyped]  # it ships no types
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.initialization import no_init_weights

from gpu_runtime.weights.network_config import own_settings

IRRELEVANT_SETTINGS = frozenset(
    {"_class_name", "_commit_hash", "_diffusers_version", "_name_or_path"}
    | {"architectures", "dtype", "torch_dtype", "transformers_version"}
)
"""Of a configuration file, what says nothing about the module."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What two components must share to take turns in one slot."""

    class_name: str
    config: str
    """The complete configuration as JSON: values of the file over the class's defaults."""
    dtype: torch.dtype
    device: torch.device


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a module."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    names: tuple[str, ...]
    """Its names in the module, more than one for tied weights."""

    @property
    def size_bytes(self) -> int:
        """Bytes it takes on the device."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


def architecture_of(
    network_class: Any, config: Mapping[str, Any], dtype: torch.dtype, device: torch.device
) -> Architecture:
    """The key under which components share slots.

    Raises TypeError or ValueError for a strange `config`, UnsupportedCombination for a quantised network.
    """
    complete = complete_settings(network_class, config)
    kept = {name: value for name, value in complete.items() if name not in IRRELEVANT_SETTINGS}
    return Architecture(
        class_name=network_class.__name__,
        config=json.dumps(kept, sort_keys=True, default=str),
        dtype=dtype,
        device=device,
    )


def complete_settings(network_class: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a configuration file over the class's defaults. Raises as `architecture_of`."""
    own = _own_part(network_class, config)
    if is_transformers(network_class):
        return dict(_config_of(network_class, own).to_dict())
    parameters = inspect.signature(network_class.__init__).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    return defaults | own


def build_module(network_class: Any, config: Mapping[str, Any], dtype: torch.dtype) -> Any:
    """A module in eval mode with its parameters on the meta device; `dtype` is the default while it is built.

    Raises what the class raises for a configuration it does not accept, and as `architecture_of`.
    """
    own = _own_part(network_class, config)
    with torch.inference_mode(False), _default_dtype(dtype), no_init_weights(), init_empty_weights():
        if is_transformers(network_class):
            module = network_class(_config_of(network_class, own))
        else:
            module = network_class.from_config(own)
    if is_transformers(network_class):
        # Above, every parameter was replaced as it was registered, which broke the ties made meanwhile.
        module.tie_weights()
    return module.eval().requires_grad_(False)


def tensor_specs(module: nn.Module, dtype: torch.dtype) -> dict[str, TensorSpec]:
    """The tensors that a file must bring, each under its first name, in the module's order."""
    names: dict[int, list[str]] = {}
    tensors: dict[int, Tensor] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
        tensors[id(tensor)] = tensor
    kept = _kept_dtypes(module, dtype)
    return {
        own[0]: TensorSpec(
            shape=tuple(tensors[key].shape),
            dtype=_wanted_dtype(own[0], tensors[key], dtype, kept),
            names=tuple(own),
        )
        for key, own in names.items()
    }


def is_transformers(network_class: Any) -> bool:
    """Whether a class is one of transformers, and not of diffusers."""
    return issubclass(network_class, PreTrainedModel)


def _own_part(network_class: Any, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a configuration says about this network: that of a whole CLIP says it of both halves."""
    own = own_settings(network_class.__name__, config)
    name = network_class.config_class.base_config_key if is_transformers(network_class) else ""
    part = own.get(name)
    return part if isinstance(part, dict) else own


def _config_of(network_class: Any, own: Mapping[str, Any]) -> Any:
    """transformers' object for a network's settings. Raises ValueError for values of the wrong type."""
    try:
        return network_class.config_class.from_dict(own)
    except StrictDataclassError as error:
        # Derived from Exception alone, so that no handler for strange values would know it.
        raise ValueError(str(error)) from error


def _wanted_dtype(
    name: str, tensor: Tensor, dtype: torch.dtype, kept: Mapping[str, torch.dtype]
) -> torch.dtype:
    """As both libraries decide: whole numbers stay, and what a class keeps more precise; the rest follows."""
    if not tensor.is_floating_point():
        return tensor.dtype
    return next((kept[part] for part in name.split(".") if part in kept), dtype)


def _kept_dtypes(module: Any, dtype: torch.dtype) -> dict[str, torch.dtype]:
    """Parts of names whose tensors the class wants in another dtype."""
    if is_transformers(type(module)):
        return dict(module._get_dtype_plan(dtype))
    return dict.fromkeys(type(module)._keep_in_fp32_modules or (), torch.float32)


@contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
