"""Textual inversions: vectors for the text encoders of one family."""

from __future__ import annotations

from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.said import clean, identified
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind
from gpu_runtime.weights.tensor_facts import TensorFacts

_FAMILY_BY_WIDTH = {768: "sd15", 1024: "sd2", 1280: "sdxl"}
_A1111 = "string_to_param."
MAX_VECTORS = 1024


def claim(contents: Contents) -> Identified | None:
    """An embedding by A1111's, diffusers' or XL's names."""
    encoders = _by_encoder(contents)
    if encoders is None:
        return None
    widths = tuple(facts.shape[-1] for facts in encoders.values())
    first = next(iter(encoders.values()))
    return identified(
        contents,
        ModelKind.EMBEDDING,
        family=_family(contents, encoders),
        file_format=FileFormat.OTHER,
        components=tuple(
            contents.component(encoder, "", _name_of(contents, facts)) for encoder, facts in encoders.items()
        ),
        details={
            "vectors": first.shape[0] if len(first.shape) == 2 else 1,
            "width": widths[0],
            "token": _token(contents),
        },
    )


def _by_encoder(contents: Contents) -> dict[str, TensorFacts] | None:
    """Vectors by the text encoder they are for, None for anything else than an embedding."""
    tensors = contents.tensors
    if not 1 <= len(tensors) <= 3 or not all(_are_vectors(each) for each in tensors.values()):
        return None
    names = set(tensors)
    if {"clip_l", "clip_g"} <= names or names == {"clip_l"} or names == {"clip_g"}:
        places = {"clip_l": "text_encoder", "clip_g": "text_encoder_2", "t5xxl": "text_encoder_3"}
        return (
            {places[name]: tensors[name] for name in places if name in tensors}
            if names <= set(places)
            else None
        )
    if len(tensors) != 1:
        return None
    (name,) = names
    is_known = name == "emb_params" or name.startswith((_A1111, "<"))
    is_token = tensors[name].shape[-1] in _FAMILY_BY_WIDTH and "." not in name
    return {"text_encoder": tensors[name]} if is_known or is_token else None


def _are_vectors(facts: TensorFacts) -> bool:
    return len(facts.shape) in (1, 2) and (len(facts.shape) == 1 or 1 <= facts.shape[0] <= MAX_VECTORS)


def _name_of(contents: Contents, facts: TensorFacts) -> str:
    return next(name for name, each in contents.tensors.items() if each is facts)


def _family(contents: Contents, encoders: dict[str, TensorFacts]) -> str:
    if "text_encoder_3" in encoders:
        return "sd3"
    if "text_encoder_2" in encoders:
        return "sdxl"
    width = encoders["text_encoder"].shape[-1]
    if width in _FAMILY_BY_WIDTH:
        return _FAMILY_BY_WIDTH[width]
    # No encoder of the field is this wide, so the vectors are for a small one made for tests.
    return "sd2" if contents.says("sd2") or {"sd", "2"} <= contents.words else "sd15"


def _token(contents: Contents) -> str:
    """The word the vectors stand for: the pickle's own name for them, else diffusers' name of the tensor."""
    said = contents.scalars.get("name")
    if isinstance(said, str) and said:
        return clean(said)
    name = contents.names[0]
    return clean(name) if len(contents.tensors) == 1 and name != "emb_params" and "." not in name else ""
