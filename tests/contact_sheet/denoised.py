"""Cases in which a model draws: from words, from pictures, within masks, along maps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from apps.generation.choices import Fill, Resize
from tests.contact_sheet.case import (
    ASTRONAUT,
    CAT,
    COFFEE,
    ROCKET,
    STARTER,
    TINY,
    Body,
    Case,
    Photo,
)


def _texts() -> Sequence[Case]:
    section = "Text to image"
    prompt = "a 3d red apple on a blue background"
    more: Mapping[str, Body] = {
        "as it is": {},
        "another sampler": {"sampler": "euler", "schedule": "karras"},
        "hires fix": {"hires": {"scale": 2.0, "strength": 0.4}},
        "enlarged": {"upscale": {"factor": 4}},
        "cut out": {"background": {}},
    }
    cases = [
        Case(name=name, section=section, body={"kind": "txt2img", "prompt": prompt, **STARTER, **rest})
        for name, rest in more.items()
    ]
    refined = {
        "kind": "txt2img",
        "prompt": prompt,
        "model": "tiny-sdxl",
        "width": 64,
        "height": 64,
        "seed": 7,
    }
    refiner = {"refiner": {"model": "tiny-refiner", "switch_at": 0.6}}
    needs = ("tiny-sdxl", "tiny-refiner")
    return [
        *cases,
        Case(name="refiner", section=section, body=refined | refiner, needs=needs, remark=TINY),
    ]


def _from_pictures() -> Sequence[Case]:
    section = "From a picture"
    prompt = "a cartoon cat face on an orange background"
    body = {"kind": "img2img", "prompt": prompt, "image": CAT, "width": 128, "height": 128, **STARTER}
    strengths = [
        Case(name=f"strength {share:g}", section=section, body=body | {"strength": share})
        for share in (0.0, 0.3, 0.7)
    ]
    fits = [
        Case(
            name=f"resize {how.value}",
            section=section,
            body=body | {"strength": 0.0, "width": 256, "height": 256, "resize": how.value},
        )
        for how in Resize
    ]
    return [*strengths, *fits]


def _inpainted() -> Sequence[Case]:
    section = "Inpainting"
    body = {
        "kind": "inpaint",
        "prompt": "a 3d sunflower on a red background",
        "image": ASTRONAUT,
        "mask": Photo("mask of the badge"),
        "width": 512,
        "height": 512,
        **STARTER,
    }
    options = [
        Case(
            name=f"only the mask's surroundings, fill {fill.value}",
            section=section,
            body=body
            | {"mask_options": {"fill": fill.value, "only_masked": True, "blur_px": 4}, "strength": 0.8},
        )
        for fill in Fill
    ]
    inverted = body | {"mask_options": {"inverted": True, "blur_px": 8}, "strength": 0.5}
    return [*options, Case(name="inverted", section=section, body=inverted)]


def _outpainted() -> Sequence[Case]:
    section = "Outpainting"
    prompt = "a 3d rocket on a blue background"
    sides = {side: {side: 128} for side in ("left", "right", "top", "bottom")}
    sides["all sides, wide overlap"] = dict.fromkeys(sides, 96) | {"overlap_px": 48}
    return [
        Case(
            name=name,
            section=section,
            body={"kind": "outpaint", "prompt": prompt, "image": ROCKET, "expand": expand, **STARTER},
        )
        for name, expand in sides.items()
    ]


def _controlled() -> Sequence[Case]:
    section = "ControlNet"
    body = {
        "kind": "controlnet",
        "prompt": "a cup",
        "model": "tiny-sd15",
        "width": 128,
        "height": 128,
        "seed": 7,
    }
    one = {"model": "tiny-controlnet", "picture": COFFEE, "type": "canny"}
    two = one | {"type": "softedge", "scale": 0.5}
    needs = ("tiny-sd15", "tiny-controlnet")
    ready = one | {"is_hint": True}
    missing = {"kind": "controlnet", "prompt": "a cup", "controls": [{"picture": COFFEE, "type": "depth"}]}
    return [
        Case(name="one", section=section, body=body | {"controls": [one]}, needs=needs, remark=TINY),
        Case(name="two", section=section, body=body | {"controls": [one, two]}, needs=needs, remark=TINY),
        Case(name="a map", section=section, body=body | {"controls": [ready]}, needs=needs, remark=TINY),
        Case(name="not installed", section=section, body=STARTER | missing, is_refused=True),
    ]


def _edited() -> Sequence[Case]:
    section = "Edited by words, and by pictures"
    words = {"kind": "edit", "prompt": "make it blue", "width": 64, "height": 64, "steps": 2, "seed": 7}
    kontext = words | {"model": "tiny-kontext", "image": COFFEE}
    several = words | {"model": "tiny-edit", "references": [COFFEE, CAT]}
    adapter = {
        "kind": "txt2img",
        "prompt": "a cup",
        "model": "tiny-sd15",
        "width": 128,
        "height": 128,
        "seed": 7,
        "ip_adapters": [{"name": "tiny-ip-adapter", "pictures": [COFFEE], "scale": 0.8}],
    }
    needs = ("tiny-sd15", "tiny-picture-encoder", "tiny-ip-adapter")
    return [
        Case(name="Kontext", section=section, body=kontext, needs=("tiny-kontext",), remark=TINY),
        Case(name="several pictures", section=section, body=several, needs=("tiny-edit",), remark=TINY),
        Case(name="IP-adapter", section=section, body=adapter, needs=needs, remark=TINY),
    ]


DENOISED: Final[Sequence[Case]] = (
    *_texts(),
    *_from_pictures(),
    *_inpainted(),
    *_outpainted(),
    *_controlled(),
    *_edited(),
)
