"""Configurations: the shipped ones of each family, and the one form that equal settings have.

The canonical form leaves out what equals the class's default and what a file says about its own making, so
that one network out of two containers has one config.json. Noise-scheduler configurations stay as they are:
other classes read them, with other defaults.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_runtime.errors import WeightsCorrupt

Config = dict[str, Any]
"""A JSON object. Any: its values are JSON."""

SHIPPED = Path(__file__).resolve().parents[1] / "shipped"

_FOLDERS: Mapping[tuple[str, str], str] = {
    ("sd15", "inpaint"): "sd15-inpaint",
    ("sd2", "v"): "sd2-v",
    ("sd2", "inpaint"): "sd2-inpaint",
    ("sdxl", "inpaint"): "sdxl-inpaint",
    ("sdxl", "refiner"): "sdxl-refiner",
    ("sdxl", "turbo"): "sdxl-turbo",
    ("sdxl", "lightning"): "sdxl-lightning",
    ("sd3", "3.5-medium"): "sd3-3.5-medium",
    ("sd3", "3.5-large"): "sd3-3.5-large",
    ("flux", "schnell"): "flux-schnell",
    ("flux", "kontext"): "flux-kontext",
    ("flux", "fill"): "flux-fill",
}
_DEFAULTS = {
    "sd15": "sd15-base",
    "sd2": "sd2-base",
    "sdxl": "sdxl-base",
    "sd3": "sd3-medium",
    "flux": "flux-dev",
}

_ABOUT_THE_FILE = frozenset(
    {"_name_or_path", "_diffusers_version", "_commit_hash", "transformers_version", "torch_dtype", "dtype"}
    | {"_use_default_values", "_attn_implementation_autoset", "auto_map"}
)

_UNUSED_BY_CLIP = frozenset({"attention_dropout", "dropout", "initializer_factor", "initializer_range"})
"""Matter to training alone."""

_UNUSED_BY_T5 = frozenset(
    {"classifier_dropout", "decoder_start_token_id", "dropout_rate", "initializer_factor", "is_decoder"}
    | {"is_encoder_decoder", "n_positions", "num_decoder_layers", "output_past", "task_specific_params"}
    | {"use_cache", "tie_word_embeddings", "scale_decoder_outputs", "dense_act_fn", "is_gated_act"}
)
"""Matter to training, to the decoder, or follow from feed_forward_proj."""

_KNOWN_TEXT_ENCODERS = {
    "CLIPTextModel": _UNUSED_BY_CLIP | {"projection_dim"},
    "CLIPTextModelWithProjection": _UNUSED_BY_CLIP,
    "T5EncoderModel": _UNUSED_BY_T5,
}


def shipped_folder(family: str, variant: str) -> Path | None:
    """The shipped configurations of a family's variant; None for a family without any."""
    name = _FOLDERS.get((family, variant), _DEFAULTS.get(family))
    return SHIPPED / name if name else None


def read_json(file: Path) -> Config:
    """A JSON object. Raises WeightsCorrupt for anything else."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsCorrupt(f"{file.name} of {file.parent.name} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise WeightsCorrupt(f"{file.name} of {file.parent.name} is no object")
    return values


def to_json(values: Mapping[str, Any]) -> str:
    """The one text of an object."""
    return json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


_NEED_BOTH = ("UniDiffuserModel",)
"""Networks for which an absent number of output channels does not mean as many as come in."""


def canonical_config(network_class: Any, config: Mapping[str, Any]) -> Config:
    """The one form of a network's configuration. Any: classes of diffusers and transformers are untyped."""
    if hasattr(network_class, "load_config"):
        return _canonical_diffusers(network_class, config)
    return _canonical_transformers(network_class, config)


def complete_config(network_class: Any, config: Mapping[str, Any]) -> Config:
    """A configuration with what its canonical form leaves out."""
    if hasattr(network_class, "load_config"):
        parameters = inspect.signature(network_class.__init__).parameters
        return {name: _plain(each.default) for name, each in parameters.items()} | dict(config)
    complete: Config = network_class.config_class.from_dict(dict(config)).to_dict()
    return complete


def canonical_scheduler(config: Mapping[str, Any]) -> Config:
    """A noise scheduler's configuration without what it says about its file."""
    return {name: value for name, value in config.items() if name not in _ABOUT_THE_FILE}


def _canonical_diffusers(network_class: Any, config: Mapping[str, Any]) -> Config:
    parameters = inspect.signature(network_class.__init__).parameters
    defaults = {name: _plain(each.default) for name, each in parameters.items()}
    kept = {
        name: _plain(value)
        for name, value in config.items()
        if name in defaults and _plain(value) != defaults[name]
    }
    if kept.get("upcast_attention", True) is None:
        del kept["upcast_attention"]
    is_repeated = kept.get("out_channels", 0) == config.get("in_channels", defaults.get("in_channels"))
    if is_repeated and defaults.get("out_channels", 0) is None and network_class.__name__ not in _NEED_BOTH:
        del kept["out_channels"]
    return {"_class_name": network_class.__name__, **kept}


def _canonical_transformers(network_class: Any, config: Mapping[str, Any]) -> Config:
    raw = {name: value for name, value in config.items() if name not in _ABOUT_THE_FILE}
    raw["architectures"] = [network_class.__name__]
    unused = _KNOWN_TEXT_ENCODERS.get(network_class.__name__)
    if unused is None:
        # Nested configurations of all kinds: whatever their authors wrote is kept.
        return raw
    complete = network_class.config_class.from_dict(dict(raw)).to_dict()
    defaults = network_class.config_class().to_dict()
    kept = {
        name: _plain(value)
        for name, value in complete.items()
        if name not in unused | _ABOUT_THE_FILE and (name not in defaults or value != defaults[name])
    }
    return {**kept, "architectures": raw["architectures"], "model_type": complete["model_type"]}


def _plain(value: Any) -> Any:
    """As JSON has it: tuples are lists."""
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
