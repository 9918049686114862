"""What an IP-adapter's file holds, told from its header: which make it is, and which denoiser it fits.

The layouts are those that diffusers' `load_ip_adapter` reads: two groups of tensors, one that turns pictures
into tokens (`image_proj`) and one with keys and values for the denoiser's attention layers (`ip_adapter`);
XLabs' files for FLUX.1 name both in their own way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.weights.safetensors_header import read_header

_PROJECTION = ("image_proj.", "ip_adapter_proj_model.")
_ATTENTION = ("ip_adapter.", "double_blocks.")

_RENAMED = {
    "processor.": "",
    "ip_adapter_double_stream_k_proj": "to_k_ip",
    "ip_adapter_double_stream_v_proj": "to_v_ip",
}
"""XLabs' names and those of the others."""

_KEY = re.compile(r"(0|[1-9][0-9]*)\.to_k_ip\.weight")
"""One spelling of each number, so that names can be made of numbers again."""


class Make(StrEnum):
    """How pictures become tokens."""

    PLAIN = "plain"
    """A linear layer from the encoder's summary (ImageProjection)."""
    FULL = "full"
    """Two layers for each of the encoder's tokens (IPAdapterFullImageProjection)."""
    PLUS = "plus"
    """A resampler of the encoder's tokens (IPAdapterPlusImageProjection)."""
    TIMED = "timed"
    """A resampler that knows the timestep (IPAdapterTimeImageProjection)."""

    @property
    def reads_hidden_states(self) -> bool:
        """Whether it is given the encoder's tokens instead of its summary."""
        return self is not Make.PLAIN


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One file."""

    make: Make
    picture_width: int
    """Of what the encoder gives."""
    layers: tuple[tuple[int, ...], ...]
    """Shapes of the weights of its keys, [out, in], in the order of the denoiser's layers."""


def sorted_name(name: str) -> tuple[str, str] | None:
    """The group of a tensor, "image_proj" or "ip_adapter", and its name there; None for others."""
    for group, prefixes in (("image_proj", _PROJECTION), ("ip_adapter", _ATTENTION)):
        for prefix in prefixes:
            if name.startswith(prefix):
                return group, _renamed(name.removeprefix(prefix))
    return None


def layer_numbers(names: Iterable[str]) -> list[int]:
    """Numbers of the attention layers among the names of "ip_adapter", ascending."""
    return sorted(int(match[1]) for name in names if (match := _KEY.fullmatch(name)))


def read_layout(title: str, file: Path) -> Layout:
    """What the file holds. `title` names it in faults.

    Raises CheckpointMissing, WeightsCorrupt, or UnsupportedCombination for a make that is not supported.
    """
    if not file.is_file():
        raise CheckpointMissing(f"{title}: {file} is not there")
    shapes: dict[str, dict[str, Sequence[int]]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in read_header(file).tensors.items():
        found = sorted_name(name)
        if found:
            shapes[found[0]][found[1]] = tensor.shape
    projection, attention = shapes["image_proj"], shapes["ip_adapter"]
    if not projection or not attention:
        raise UnsupportedCombination(f"{title} is no IP-adapter: it has no image_proj or no ip_adapter")
    _refuse_faces(title, projection, attention)
    make, width = _make_of(title, projection)
    keys = [attention[f"{number}.to_k_ip.weight"] for number in layer_numbers(attention)]
    return Layout(make=make, picture_width=width, layers=tuple(tuple(key) for key in keys))


def require_layers(title: str, layout: Layout, expected: Sequence[tuple[int, ...]]) -> None:
    """Raise UnsupportedCombination unless its layers have the shapes that the denoiser's want."""
    if layout.layers != tuple(expected):
        raise UnsupportedCombination(
            f"{title} was made for another family of checkpoints: its {len(layout.layers)} layers are not "
            f"those of this one's {len(expected)}"
        )


def _renamed(name: str) -> str:
    for theirs, ours in _RENAMED.items():
        name = name.replace(theirs, ours)
    return name


def _refuse_faces(
    title: str, projection: Mapping[str, Sequence[int]], attention: Mapping[str, Sequence[int]]
) -> None:
    is_face_id = (
        any("to_k_lora" in name for name in attention)
        or "perceiver_resampler.proj_in.weight" in projection
        or ("norm.weight" in projection and "proj.0.weight" in projection)
    )
    if is_face_id:
        raise UnsupportedCombination(
            f"{title} is a FaceID adapter: it reads faces through insightface, which is not supported; plus "
            "and full adapters for faces are"
        )


def _make_of(title: str, projection: Mapping[str, Sequence[int]]) -> tuple[Make, int]:
    """The make, and how wide its input is."""
    if "proj.weight" in projection:
        return Make.PLAIN, _width(title, projection["proj.weight"])
    if "proj.3.weight" in projection:
        return Make.FULL, _width(title, projection.get("proj.0.weight", ()))
    if "latents" in projection and "proj_in.weight" in projection:
        is_timed = "time_embedding.linear_1.weight" in projection
        return Make.TIMED if is_timed else Make.PLUS, _width(title, projection["proj_in.weight"])
    raise UnsupportedCombination(f"{title} turns pictures into tokens in a way that is not supported")


def _width(title: str, shape: Sequence[int]) -> int:
    """Columns of a matrix. Raises WeightsCorrupt where it is none."""
    if len(shape) != 2:
        raise WeightsCorrupt(f"{title} has a projection of shape {tuple(shape)}")
    return int(shape[1])
