"""Cases in which a picture alone is worked on, or read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from apps.generation.choices import ControlType, Replacement
from tests.contact_sheet.case import (
    ASTRONAUT,
    BALLS,
    COFFEE,
    MOTORCYCLE,
    PERSON,
    ROCKET,
    Body,
    Case,
    Photo,
)


def _maps() -> Sequence[Case]:
    shown = {ControlType.OPENPOSE: ASTRONAUT, ControlType.FACE: ASTRONAUT, ControlType.MLSD: MOTORCYCLE}
    # No network for these ships: what has no classical method of its own is refused with what to import.
    refused = {ControlType.DEPTH, ControlType.NORMAL, ControlType.SEGMENTATION}
    cases = []
    for kind in ControlType:
        body = {"kind": "detect", "image": shown.get(kind, COFFEE), "detect": {"type": kind.value}}
        if kind is ControlType.INPAINT:
            body["mask"] = Photo("mask of the spoon")
        if kind is ControlType.TILE:
            body["detect"] = {"type": kind.value, "threshold_a": 8}
        cases.append(
            Case(name=kind.value, section="Maps for ControlNets", body=body, is_refused=kind in refused)
        )
    return cases


def _enlarged() -> Sequence[Case]:
    names = ("realesrgan-x4plus", "realesr-animevideov3", "waifu2x-photo", "waifu2x-art", "lanczos")
    body = {"kind": "upscale", "image": Photo("eye of the cat")}
    by_names = [
        Case(
            name=f"4 times by {name}",
            section="Upscaling",
            body=body | {"upscale": {"factor": 4, "upscaler": name}},
        )
        for name in names
    ]
    by_factors = [
        Case(
            name=f"{factor} times",
            section="Upscaling",
            body=body | {"upscale": {"factor": factor, "upscaler": "realesr-animevideov3"}},
        )
        for factor in (2, 3, 8)
    ]
    faces = {"factor": 2, "upscaler": "lanczos", "enhance_faces": True}
    enhanced = Case(
        name="faces enhanced",
        section="Upscaling",
        body={"kind": "upscale", "image": ASTRONAUT, "upscale": faces},
        is_refused=True,
    )
    return [*by_names, *by_factors, enhanced]


def _cut_out() -> Sequence[Case]:
    options: Mapping[str, Body] = {
        "transparent": {},
        "matting": {"alpha_matting": True},
        "smooth mask": {"post_process_mask": True},
        "only the mask": {"only_mask": True},
        "what is behind": {"inverse_mask": True},
        "on a colour": {"colour": "#2e7d32"},
        "before another picture": {"picture": ROCKET},
    }
    section = "Background removal"
    body = {"kind": "remove_background"}
    people = [
        Case(name=name, section=section, body=body | {"image": ASTRONAUT, "background": wish})
        for name, wish in options.items()
    ]
    things = Case(
        name="a thing before a plain backdrop",
        section=section,
        body=body | {"image": Photo("cup on paper"), "background": {"colour": "#2e7d32"}},
    )
    nobody = Case(
        name="a thing before anything",
        section=section,
        body=body | {"image": MOTORCYCLE, "background": {}},
        is_refused=True,
        remark="needs a network for things of any kind, which does not ship",
    )
    return [*people, things, nobody]


def _erased() -> Sequence[Case]:
    shown = {"mask of the shuttle": ASTRONAUT, "mask of the tower": ROCKET, "mask of the spoon": COFFEE}
    shown["mask of the badge"] = ASTRONAUT
    cases = [
        Case(
            name=mask.removeprefix("mask of "),
            section="Object removal",
            body={"kind": "object_removal", "image": photo, "mask": Photo(mask)},
        )
        for mask, photo in shown.items()
    ]
    grown = {"mask_options": {"grow_px": 6, "blur_px": 2}}
    return [
        *cases,
        Case(name="the tower, mask grown", section=cases[1].section, body={**cases[1].body, **grown}),
    ]


def _faces() -> Sequence[Case]:
    section = "Face swap"
    crowd = Photo("two people")
    wishes: Mapping[str, Body] = {
        "one": {"image": ASTRONAUT, "face_swap": {"source": PERSON}},
        "the other way round": {"image": PERSON, "face_swap": {"source": ASTRONAUT}},
        "the one like the reference": {
            "image": crowd,
            "face_swap": {"source": ASTRONAUT, "reference": PERSON, "which": "reference"},
        },
        "all": {"image": crowd, "face_swap": {"source": PERSON, "which": "all"}},
    }
    cases = [
        Case(name=name, section=section, body={"kind": "face_swap"} | dict(wish))
        for name, wish in wishes.items()
    ]
    nobody = {"kind": "face_swap", "image": COFFEE, "face_swap": {"source": ASTRONAUT}}
    return [*cases, Case(name="nobody there", section=section, body=nobody, is_refused=True)]


def _judged() -> Sequence[Case]:
    section = "Safety"
    checks = [
        Case(name=f"check: {photo.name}", section=section, body={"kind": "nsfw_check", "image": photo})
        for photo in (ASTRONAUT, BALLS)
    ]
    body = {"kind": "upscale", "image": BALLS, "upscale": {"factor": 2, "upscaler": "lanczos"}}
    replaced = [
        Case(
            name=f"replaced: {how.value or 'not at all'}",
            section=section,
            body=body | {"safety": {"check": True} | ({"replacement": how.value} if how.value else {})},
        )
        for how in Replacement
    ]
    return [*checks, *replaced]


def _read() -> Sequence[Case]:
    section = "Words and masks"
    mask = {"kind": "mask", "image": COFFEE, "text": "the cup"}
    return [
        Case(name="caption", section=section, body={"kind": "caption", "image": COFFEE}, is_refused=True),
        Case(name="mask from words", section=section, body=mask, is_refused=True),
    ]


WORKED_ON: Final[Sequence[Case]] = (
    *_maps(),
    *_enlarged(),
    *_cut_out(),
    *_erased(),
    *_faces(),
    *_judged(),
    *_read(),
)
