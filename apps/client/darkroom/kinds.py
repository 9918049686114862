"""A plan for each kind of job, with what it needs in front; everything else are fields, by name.

`KINDS` is the list of them, which the command line reads as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Unpack, cast

from darkroom.core import Core, Plan
from darkroom.jobs import Asking, generate
from darkroom.pictures import Picture
from darkroom.records import Job
from darkroom.schema import Control, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRow:
    """One kind of job."""

    method: str
    """Of the clients."""
    command: str
    """Of the command line."""
    takes: tuple[str, ...]
    """Fields in front, in order; `part.field` is inside an object."""
    meaning: str
    may_lack: tuple[str, ...] = ()
    """Of `takes`: what can be left out, where another field says enough."""


KINDS: Final[Mapping[Kind, KindRow]] = {
    "txt2img": KindRow(
        method="text_to_image",
        command="generate",
        takes=("prompt",),
        meaning="make images from words",
    ),
    "img2img": KindRow(
        method="image_to_image",
        command="image-to-image",
        takes=("image", "prompt"),
        meaning="make an image anew, as the words say",
    ),
    "inpaint": KindRow(
        method="inpaint",
        command="inpaint",
        takes=("image", "mask", "prompt"),
        meaning="make anew what is white in the mask",
    ),
    "outpaint": KindRow(
        method="outpaint",
        command="outpaint",
        takes=("image", "prompt"),
        meaning="let an image grow at its sides",
    ),
    "controlnet": KindRow(
        method="control",
        command="control",
        takes=("prompt",),
        meaning="make images that follow the outlines, depth or pose of another",
    ),
    "edit": KindRow(
        method="edit",
        command="edit",
        takes=("image", "prompt"),
        meaning="change an image as the words say, with a model made for it",
    ),
    "upscale": KindRow(
        method="upscale",
        command="upscale",
        takes=("image",),
        meaning="enlarge an image",
    ),
    "remove_background": KindRow(
        method="remove_background",
        command="remove-background",
        takes=("image",),
        meaning="cut out what stands in front",
    ),
    "object_removal": KindRow(
        method="remove_object",
        command="remove-object",
        takes=("image", "mask"),
        meaning="erase what is white in the mask",
    ),
    "face_swap": KindRow(
        method="face_swap",
        command="face-swap",
        takes=("image", "face_swap.source"),
        meaning="put the face of one picture into another",
    ),
    "detect": KindRow(
        method="detect",
        command="detect",
        takes=("image", "detect.type"),
        meaning="show the map that a ControlNet would follow",
    ),
    "caption": KindRow(
        method="caption",
        command="caption",
        takes=("image",),
        meaning="say in words what an image shows",
    ),
    "mask": KindRow(
        method="mask",
        command="mask",
        takes=("image", "text"),
        meaning="find something by words and give its mask",
    ),
    "nsfw_check": KindRow(
        method="check_nsfw",
        command="check-nsfw",
        takes=("image",),
        meaning="say how unsuitable an image is, a prompt, or both",
        may_lack=("image",),
    ),
}


def text_to_image(core: Core, prompt: str | None = None, /, **fields: Unpack[Asking]) -> Plan[Job]:
    """Make images from words. Waits for them; raises Refused, JobFailed and WaitTimeout."""
    return _made(core, "txt2img", fields, prompt)


def image_to_image(
    core: Core, image: Picture | None = None, prompt: str | None = None, /, **fields: Unpack[Asking]
) -> Plan[Job]:
    """Make `image` anew as `prompt` says; `strength` is how much of it is new."""
    return _made(core, "img2img", fields, image, prompt)


def inpaint(
    core: Core,
    image: Picture | None = None,
    mask: Picture | None = None,
    prompt: str | None = None,
    /,
    **fields: Unpack[Asking],
) -> Plan[Job]:
    """Make anew what is white in `mask`."""
    return _made(core, "inpaint", fields, image, mask, prompt)


def outpaint(
    core: Core, image: Picture | None = None, prompt: str | None = None, /, **fields: Unpack[Asking]
) -> Plan[Job]:
    """Let `image` grow by `expand={"left": 128, ...}`."""
    return _made(core, "outpaint", fields, image, prompt)


def control(
    core: Core,
    prompt: str | None = None,
    controls: Sequence[Control] | None = None,
    /,
    **fields: Unpack[Asking],
) -> Plan[Job]:
    """Make images that follow pictures: `[{"type": "canny", "picture": Path("photo.jpg")}]`."""
    given = fields if controls is None else cast(Asking, {**fields, "controls": controls})
    return _made(core, "controlnet", given, prompt)


def edit(
    core: Core, image: Picture | None = None, prompt: str | None = None, /, **fields: Unpack[Asking]
) -> Plan[Job]:
    """Change `image` as `prompt` says, by a model made for it; `references` are further pictures."""
    return _made(core, "edit", fields, image, prompt)


def upscale(
    core: Core, image: Picture | None = None, factor: int | None = None, /, **fields: Unpack[Asking]
) -> Plan[Job]:
    """Enlarge `image` by `factor`, or as the field `upscale` says."""
    given = fields if factor is None else cast(Asking, _with(fields, "upscale.factor", factor))
    return _made(core, "upscale", given, image)


def remove_background(core: Core, image: Picture | None = None, /, **fields: Unpack[Asking]) -> Plan[Job]:
    """Cut out what stands in front; `background` says what is put behind."""
    return _made(core, "remove_background", fields, image)


def remove_object(
    core: Core, image: Picture | None = None, mask: Picture | None = None, /, **fields: Unpack[Asking]
) -> Plan[Job]:
    """Erase what is white in `mask`."""
    return _made(core, "object_removal", fields, image, mask)


def face_swap(
    core: Core, image: Picture | None = None, source: Picture | None = None, /, **fields: Unpack[Asking]
) -> Plan[Job]:
    """Put the face of `source` into `image`; `face_swap={"which": "all"}` replaces every one."""
    return _made(core, "face_swap", fields, image, source)


def detect(
    core: Core, image: Picture | None = None, kind: str | None = None, /, **fields: Unpack[Asking]
) -> Plan[Job]:
    """The map of a ControlNet: `detect(photo, "canny")`."""
    return _made(core, "detect", fields, image, kind)


def caption(core: Core, image: Picture | None = None, /, **fields: Unpack[Asking]) -> Plan[Job]:
    """What `image` shows, in words: `job.caption`."""
    return _made(core, "caption", fields, image)


def mask(
    core: Core, image: Picture | None = None, text: str | None = None, /, **fields: Unpack[Asking]
) -> Plan[Job]:
    """The mask of what `text` names in `image`."""
    return _made(core, "mask", fields, image, text)


def check_nsfw(core: Core, image: Picture | None = None, /, **fields: Unpack[Asking]) -> Plan[Job]:
    """How unsuitable `image` is, `prompt`, or both: `job.result`, and `job.safety` in words."""
    return _made(core, "nsfw_check", fields, image)


def _made(core: Core, kind: Kind, fields: Mapping[str, Any], *given: object) -> Plan[Job]:
    """A job of `kind`; `given` are the fields in front, None where they come by name."""
    wanted: Mapping[str, Any] = fields
    for path, value in zip(KINDS[kind].takes, given, strict=True):
        if value is not None:
            wanted = _with(wanted, path, value)
    return generate(core, kind, **cast(Asking, wanted))


def _with(fields: Mapping[str, Any], path: str, value: object) -> dict[str, Any]:
    """`fields` with one more, which may lie inside an object."""
    name, _, inner = path.partition(".")
    return {**fields, name: _with(fields.get(name) or {}, inner, value) if inner else value}
