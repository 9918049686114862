"""From arguments to the fields of a job: one table of options, on which everything else rests.

What a field takes, its choices and its meaning come from the server's own tables (`facts`).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from darkroom.cli.exits import UsageError
from darkroom.cli.facts import FACTS, Fact
from darkroom.pictures import DIGEST_CHARS
from darkroom.schema import Kind

ALL: Final = "all"
"""Every kind of job."""
DRAWING: Final = "drawing"
"""Kinds that draw, with a model and a prompt."""
DRAWING_KINDS: Final[frozenset[Kind]] = frozenset(
    {"txt2img", "img2img", "inpaint", "outpaint", "controlnet", "edit"}
)
MEDIA_TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "jpg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One flag; what it takes is by `path`, or by `read` for what no single field says."""

    flags: tuple[str, ...]
    path: str
    """`part.field` inside an object, `list[]` for one more item; "" where `read` gives several fields."""
    scope: str
    """ALL, DRAWING, or a kind with others behind commas."""
    read: Callable[[str], object] | None = None
    meaning: str = ""
    """Default: the server's."""
    metavar: str = ""

    @property
    def name(self) -> str:
        """Of the attribute that argparse makes."""
        return "field_" + self.flags[-1].strip("-").replace("-", "_")

    @property
    def fact(self) -> Fact:
        return FACTS.get(self.path) or Fact("string", self.meaning)

    def is_for(self, kind: Kind) -> bool:
        """Whether jobs of `kind` have it."""
        return (
            self.scope == ALL
            or (self.scope == DRAWING and kind in DRAWING_KINDS)
            or kind in self.scope.split(",")
        )


def picture(text: str) -> object:
    """An address as it is, `-` for what is piped in, else a file."""
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith(("http://", "https://", "data:")):
        return text
    if Path(text).is_file():
        return Path(text)
    is_upload = len(text) == DIGEST_CHARS and set(text) <= set("0123456789abcdef")
    if is_upload:
        return text
    raise argparse.ArgumentTypeError(f"there is no file {text}")


def size(text: str) -> Mapping[str, int]:
    """`768x512`, or `512` for a square."""
    wide, cross, high = text.lower().partition("x")
    try:
        return {"width": int(wide), "height": int(high if cross else wide)}
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be like 768x512 or 512, not {text}") from None


def media_type(text: str) -> str:
    """`png`, `jpeg` or `webp`."""
    if text.lower() not in MEDIA_TYPES:
        raise argparse.ArgumentTypeError(f"must be png, jpeg or webp, not {text}")
    return MEDIA_TYPES[text.lower()]


def lora(text: str) -> Mapping[str, object]:
    """`name` or `name:0.8`."""
    name, scale = _scaled(text)
    return {"name": name} | ({} if scale is None else {"scale": scale})


def control(text: str) -> Mapping[str, object]:
    """`canny=photo.jpg` or `canny=photo.jpg:0.7`."""
    kind, file = _pair(text, "canny=photo.jpg")
    file, scale = (file, None) if Path(file).is_file() else _scaled(file)
    return {"type": kind, "picture": picture(file)} | ({} if scale is None else {"scale": scale})


def ip_adapter(text: str) -> Mapping[str, object]:
    """`name=photo.jpg` or `name=photo.jpg:0.6`."""
    name, file = _pair(text, "name=photo.jpg")
    file, scale = (file, None) if Path(file).is_file() else _scaled(file)
    return {"name": name, "pictures": [picture(file)]} | ({} if scale is None else {"scale": scale})


def assignment(text: str) -> Mapping[str, object]:
    """`path=value`: the value as JSON, or as text where it is none; `path=@file` is a picture."""
    path, value = _pair(text, "hires.scale=2")
    return {path: picture(value[1:]) if value.startswith("@") else _json(value)}


def _pair(text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"must be like {example}, not {text}")
    return name, value


def _scaled(text: str) -> tuple[str, float | None]:
    """The number behind the last colon, if there is one: addresses have colons, too."""
    name, colon, number = text.rpartition(":")
    try:
        return (name, float(number)) if colon else (text, None)
    except ValueError:
        return text, None


def _json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text


CUT_OUT: Final = "remove_background"
OPTIONS: Final[tuple[Option, ...]] = (
    Option(
        flags=("-m", "--model"),
        path="model",
        scope=DRAWING,
        meaning="name or alias; default: the only one there is",
        metavar="NAME",
    ),
    Option(
        flags=("-s", "--size"),
        path="",
        scope=DRAWING,
        read=size,
        meaning="pixels; default: the picture's, else the model's own",
        metavar="WxH",
    ),
    Option(flags=("--aspect",), path="aspect_ratio", scope=DRAWING, metavar="W:H"),
    Option(flags=("-n", "--samples"), path="num_images", scope=DRAWING, metavar="N"),
    Option(flags=("--steps",), path="steps", scope=DRAWING, metavar="N"),
    Option(flags=("--guidance",), path="guidance_scale", scope=DRAWING, metavar="X"),
    Option(flags=("--seed",), path="seed", scope=DRAWING, metavar="N"),
    Option(flags=("--negative",), path="negative_prompt", scope=DRAWING, metavar="TEXT"),
    Option(flags=("--sampler",), path="sampler", scope=DRAWING),
    Option(flags=("--schedule",), path="schedule", scope=DRAWING),
    Option(flags=("--tier",), path="tier", scope=DRAWING),
    Option(flags=("--vae",), path="vae", scope=DRAWING, metavar="NAME"),
    Option(
        flags=("--lora",),
        path="loras[]",
        scope=DRAWING,
        read=lora,
        meaning="may be repeated; its strength is 1 unless said",
        metavar="NAME[:X]",
    ),
    Option(flags=("--embedding",), path="embeddings[]", scope=DRAWING, metavar="NAME"),
    Option(flags=("--image",), path="image", scope="txt2img,controlnet", metavar="FILE"),
    Option(flags=("--mask",), path="mask", scope="txt2img", metavar="FILE"),
    Option(
        flags=("--strength",), path="strength", scope="txt2img,img2img,inpaint,controlnet,edit", metavar="X"
    ),
    Option(flags=("--resize",), path="resize", scope="txt2img,img2img,inpaint,controlnet,edit"),
    Option(
        flags=("--control",),
        path="controls[]",
        scope=DRAWING,
        read=control,
        meaning="follow the outlines, depth or pose of a picture; may be repeated",
        metavar="TYPE=FILE[:X]",
    ),
    Option(
        flags=("--ip-adapter",),
        path="ip_adapters[]",
        scope=DRAWING,
        read=ip_adapter,
        meaning="prompt with a picture; may be repeated",
        metavar="NAME=FILE[:X]",
    ),
    Option(flags=("--reference",), path="references[]", scope="edit", metavar="FILE"),
    *(
        Option(flags=(f"--{side}",), path=f"expand.{side}", scope="outpaint", metavar="PX")
        for side in ("left", "right", "top", "bottom")
    ),
    Option(flags=("--overlap",), path="expand.overlap_px", scope="outpaint", metavar="PX"),
    Option(flags=("--factor",), path="upscale.factor", scope="upscale", metavar="N"),
    Option(flags=("--upscaler",), path="upscale.upscaler", scope="upscale", metavar="NAME"),
    Option(flags=("--enhance-faces",), path="upscale.enhance_faces", scope="upscale"),
    Option(flags=("--background",), path="background.picture", scope=CUT_OUT, metavar="FILE"),
    Option(flags=("--colour",), path="background.colour", scope=CUT_OUT, metavar="#RRGGBB"),
    Option(flags=("--only-mask",), path="background.only_mask", scope=CUT_OUT),
    Option(flags=("--matting",), path="background.alpha_matting", scope=CUT_OUT),
    Option(flags=("--which",), path="face_swap.which", scope="face_swap"),
    Option(flags=("--reference-face",), path="face_swap.reference", scope="face_swap", metavar="FILE"),
    Option(flags=("--resolution",), path="detect.resolution_px", scope="detect", metavar="PX"),
    Option(
        flags=("--format",),
        path="output.media_type",
        scope=ALL,
        read=media_type,
        meaning="png, jpeg or webp; default: by the name of --output, else png",
        metavar="FORMAT",
    ),
    Option(flags=("--quality",), path="output.quality", scope=ALL, metavar="N"),
    Option(flags=("--prompt",), path="prompt", scope="nsfw_check", metavar="TEXT", meaning="what to judge"),
    Option(flags=("--track-id",), path="track_id", scope=ALL, metavar="TEXT"),
    Option(
        flags=("--set",),
        path="",
        scope=ALL,
        read=assignment,
        meaning="any other field of the API, such as hires.scale=2 or mask_options.blur_px=8",
        metavar="FIELD=VALUE",
    ),
)


def add_options(parser: argparse.ArgumentParser, kind: Kind) -> None:
    """Give a command the flags of its kind."""
    for option in OPTIONS:
        if option.is_for(kind):
            _add(parser, option)


def _add(parser: argparse.ArgumentParser, option: Option) -> None:
    fact = option.fact
    meaning = (option.meaning or fact.meaning) + _range(fact)
    if fact.kind == "boolean":
        parser.add_argument(
            *option.flags, dest=option.name, action="store_const", const=True, help=_help(meaning)
        )
        return
    is_several = option.path.endswith("[]") or option.flags == ("--set",)
    parser.add_argument(
        *option.flags,
        dest=option.name,
        action="append" if is_several else "store",
        type=option.read or reader_of(fact),
        choices=fact.choices or None,
        metavar=option.metavar or ("|".join(fact.choices) if len(fact.choices) <= 4 else "WORD"),
        help=_help(meaning + (f"; one of {', '.join(fact.choices)}" if len(fact.choices) > 4 else "")),
    )


def reader_of(fact: Fact) -> Callable[[str], object]:
    """What argparse calls with the text of a field."""
    kinds: Mapping[str, Callable[[str], object]] = {"integer": int, "number": float, "picture": picture}
    return kinds.get(fact.kind, str)


def _range(fact: Fact) -> str:
    if fact.lowest is None or fact.highest is None or fact.highest > 10**9:
        return ""
    return f"; {fact.lowest:g} to {fact.highest:g}"


def _help(text: str) -> str:
    return text.replace("%", "%%")


def fields_of(arguments: argparse.Namespace, kind: Kind) -> dict[str, Any]:
    """The fields that were given, objects and lists put together. Raises UsageError for a wrong path."""
    fields: dict[str, Any] = {}
    for option in OPTIONS:
        value = getattr(arguments, option.name, None)
        if value is None or not option.is_for(kind):
            continue
        if option.path:
            put(fields, option.path, value)
            continue
        for several in value if isinstance(value, list) else [value]:
            for path, each in several.items():
                put(fields, path, each)
    return fields


def put(fields: dict[str, Any], path: str, value: object) -> None:
    """Set a field; `part.field` inside an object, `list[]` one list."""
    *parts, last = path.removesuffix("[]").split(".")
    place: Any = fields
    for part in parts:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise UsageError(f"{path} is set as a whole and in part.")
    if path.endswith("[]") and isinstance(value, Sequence):
        place[last] = [*place.get(last, []), *value]
    else:
        place[last] = value
