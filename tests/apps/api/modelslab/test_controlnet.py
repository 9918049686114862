"""ControlNet requests of v5, v6, v7 and enterprise."""

from __future__ import annotations

import pytest

from apps.catalog.models import CatalogEntry
from apps.generation.choices import ControlType, Kind
from apps.generation.resolved import ResolvedRequest
from tests.apps.api.client import PROMPT, ApiClient
from tests.apps.api.modelslab.workbench import made, mask, picture, refused

V5 = "/api/v5/controlnet"
ENTERPRISE = "/api/v1/enterprise/controlnet"
SCENE = PROMPT | {"init_image": picture(128, 64)}

Controlnets = dict[str, CatalogEntry]


def types_of(resolved: ResolvedRequest) -> list[tuple[str, ControlType, bool]]:
    return [(used.network.name, used.type, used.is_hint) for used in resolved.controls]


@pytest.mark.parametrize("path", [V5, "/api/v6/images/controlnet", "/api/v7/images/controlnet"])
def test_a_type_finds_its_network_and_its_detector(
    ada: ApiClient, controlnets: Controlnets, path: str
) -> None:
    resolved = made(ada.post(path, SCENE | {"controlnet_model": "canny", "controlnet_type": "canny"}))

    assert resolved.kind is Kind.CONTROLNET
    assert types_of(resolved) == [("control-canny", ControlType.CANNY, False)]
    assert (resolved.image, resolved.width, resolved.height) == (None, 128, 64)


def test_a_type_alone_is_enough(ada: ApiClient, controlnets: Controlnets) -> None:
    assert types_of(made(ada.post(V5, SCENE | {"controlnet_type": "hed"}))) == [
        ("control-softedge", ControlType.SOFTEDGE, False)
    ]


def test_several_networks_follow_one_picture(ada: ApiClient, controlnets: Controlnets) -> None:
    fields = {"controlnet_model": "openpose, canny", "controlnet_type": "canny"}
    answer = ada.post(V5, SCENE | fields | {"controlnet_conditioning_scale": "0.5,1.5"})

    resolved = made(answer)
    assert [(used.type, used.scale) for used in resolved.controls] == [
        (ControlType.OPENPOSE, 0.5),
        (ControlType.CANNY, 1.5),
    ]
    assert len({used.picture for used in resolved.controls}) == 1
    meta = answer.json()["meta"]
    assert meta["controlnet_model"] == "control-openpose,control-canny"
    assert (meta["controlnet_type"], meta["controlnet_conditioning_scale"]) == ("openpose,canny", "0.5,1.5")


def test_as_many_scales_as_networks(ada: ApiClient, controlnets: Controlnets) -> None:
    fields = {"controlnet_model": "openpose,canny", "controlnet_conditioning_scale": "1,1,1"}

    assert refused(ada.post(V5, SCENE | fields)) == (
        "controlnet_conditioning_scale must be one number, or 2 as controlnet_model has, not 3"
    )


@pytest.mark.parametrize(
    ("path", "fields", "is_hint"),
    [
        (V5, {}, False),
        (V5, {"auto_hint": "no"}, True),
        (ENTERPRISE, {}, True),
        (ENTERPRISE, {"auto_hint": "yes"}, False),
        (V5, {"control_image": picture(64, 64)}, True),
        (V5, {"control_image": picture(64, 64), "auto_hint": "yes"}, False),
    ],
)
def test_when_hints_are_found_in_the_picture(
    ada: ApiClient, controlnets: Controlnets, path: str, fields: dict[str, object], is_hint: bool
) -> None:
    resolved = made(ada.post(path, SCENE | {"controlnet_model": "canny"} | fields))

    assert [used.is_hint for used in resolved.controls] == [is_hint]


def test_strength_begins_from_the_init_image(ada: ApiClient, controlnets: Controlnets) -> None:
    fields = SCENE | {"controlnet_model": "canny", "control_image": picture(64, 64)}

    resolved = made(ada.post(V5, fields | {"strength": 0.55}))

    assert resolved.image is not None
    assert (resolved.image.width, resolved.strength) == (128, 0.55)
    assert resolved.controls[0].picture.width == 64


def test_inpainting_by_a_network(ada: ApiClient, controlnets: Controlnets) -> None:
    fields = SCENE | {"controlnet_model": "inpaint", "mask_image": mask(128, 64)}

    resolved = made(ada.post(V5, fields))

    assert resolved.mask is not None
    assert types_of(resolved) == [("control-inpaint", ControlType.INPAINT, False)]


def test_a_network_by_its_own_name_knows_its_type(ada: ApiClient, controlnets: Controlnets) -> None:
    assert types_of(made(ada.post(V5, SCENE | {"controlnet_model": "control-depth", "auto_hint": "no"}))) == [
        ("control-depth", ControlType.DEPTH, True)
    ]


@pytest.mark.parametrize(("asked", "used"), [(5, "5"), (9, "5"), ("20,0.5", "5,0.5")])
def test_a_scale_of_enterprise_counts_as_the_highest(
    ada: ApiClient, controlnets: Controlnets, asked: object, used: str
) -> None:
    names = "canny,openpose" if "," in used else "canny"
    fields = {"controlnet_model": names, "controlnet_conditioning_scale": asked}

    answer = ada.post("/api/v1/enterprise/controlnet", SCENE | fields)

    assert [f"{control.scale:g}" for control in made(answer).controls] == used.split(",")
    assert answer.json()["meta"]["controlnet_conditioning_scale"] == used


def test_guess_mode_needs_no_prompt(ada: ApiClient, controlnets: Controlnets) -> None:
    fields = SCENE | {"prompt": "", "controlnet_model": "canny"}

    assert refused(ada.post(V5, fields)) == "prompt is required"
    assert made(ada.post(V5, fields | {"guess_mode": "yes"})).prompt == "high quality"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "controlnet_model is required"),
        (
            {"controlnet_model": "mlsd"},
            "No ControlNet of type mlsd for sd15 is installed on this server: import one",
        ),
        ({"controlnet_model": "nobodys-net"}, "Model not found: nobodys-net"),
        ({"controlnet_model": "canny", "init_image": None}, "init_image is required, or control_image"),
        (
            {"controlnet_model": "canny,canny,canny,canny,canny,canny"},
            "controlnet_model must be 1 to 5 names",
        ),
        ({"controlnet_model": "canny", "controlnet_conditioning_scale": 21}, "controlnet_conditioning_scale"),
        ({"controlnet_model": "inpaint"}, "mask_image is required for a control image of type inpaint"),
        (
            {"controlnet_model": "canny", "control_image": [picture(), picture()]},
            "control_image must be one picture, or 1 as controlnet_model has, not 2",
        ),
    ],
)
def test_refusals(ada: ApiClient, controlnets: Controlnets, fields: dict[str, object], message: str) -> None:
    assert refused(ada.post(V5, SCENE | fields)).startswith(message)
