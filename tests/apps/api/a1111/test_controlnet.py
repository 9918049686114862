"""The ControlNet extension: its lists, its detectors, and its units in requests."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.api.a1111.units import BALANCES, CONTROL_MODES
from apps.catalog.models import CatalogEntry
from apps.core import clock
from apps.generation.choices import Balance, ControlType, Kind, Resize
from apps.generation.lifecycle import finish_cancel, lease_of
from apps.generation.models import GenerationJob
from apps.quotas.models import DailyUsage
from tests.apps.api import jobs
from tests.apps.api.a1111.conftest import A1111Client, bad_field, opened, picture, refusal
from tests.cast import Cast
from tests.factories import give_plan, make_adapter, make_checkpoint


@pytest.fixture
def canny(ada: A1111Client) -> CatalogEntry:
    """A ControlNet for edges."""
    return make_adapter("canny-15", kind="controlnet", variant="canny", digest="ab" * 32)


def draw_with(ada: A1111Client, *units: Any, **fields: Any) -> Any:
    return ada.draw(alwayson_scripts={"controlnet": {"args": list(units)}}, **fields)


def the_images_job() -> GenerationJob:
    return GenerationJob.objects.exclude(kind=Kind.DETECT).get()


def test_version_and_settings(ada: A1111Client) -> None:
    assert ada.get("/controlnet/version").json() == {"version": 2}
    assert ada.get("/controlnet/settings").json() == {"control_net_unit_count": 5}


def test_models(ada: A1111Client, canny: CatalogEntry) -> None:
    assert ada.get("/controlnet/model_list").json() == {"model_list": ["canny-15 [abababab]"]}


def test_modules_are_those_that_run(ada: A1111Client) -> None:
    before = ada.get("/controlnet/module_list").json()
    make_adapter("hed", kind="preprocessor", variant="softedge", family="")
    after = ada.get("/controlnet/module_list").json()

    assert before["module_list"][:2] == ["none", "canny"]
    assert "softedge_hed" not in before["module_list"]
    assert "softedge_hed" in after["module_list"]
    assert after["module_detail"].keys() == set(after["module_list"])
    assert after["module_detail"]["canny"]["sliders"][1] == {"name": "Canny Low Threshold"}


def test_modules_by_their_labels(ada: A1111Client) -> None:
    assert ada.get("/controlnet/module_list?alias_names=true").json()["module_list"][:2] == ["none", "canny"]


def test_types(ada: A1111Client, canny: CatalogEntry) -> None:
    types = ada.get("/controlnet/control_types").json()["control_types"]

    assert types["Canny"] == {
        "module_list": ["none", "canny"],
        "model_list": ["None", "canny-15 [abababab]"],
        "default_option": "canny",
        "default_model": "canny-15 [abababab]",
    }
    assert "canny-15 [abababab]" in types["All"]["model_list"]
    assert "Depth" not in types


def test_a_unit_and_its_map(ada: A1111Client, canny: CatalogEntry) -> None:
    unit = {
        "image": picture(),
        "module": "canny",
        "model": "canny-15 [abababab]",
        "weight": 0.8,
        "guidance_start": 0.1,
        "guidance_end": 0.9,
        "threshold_a": 50,
        "threshold_b": 120,
        "processor_res": 384,
        "resize_mode": "Resize and Fill",
    }

    body = draw_with(ada, unit, seed=3).json()

    resolved = the_images_job().resolved
    [control] = resolved.controls
    assert (resolved.kind, resolved.resize) == (Kind.TXT2IMG, Resize.PAD)
    assert (control.network.name, control.type, control.is_hint) == ("canny-15", ControlType.CANNY, False)
    assert (control.scale, control.start, control.end, control.resolution_px) == (0.8, 0.1, 0.9, 384)
    assert (control.threshold_a, control.threshold_b) == (50.0, 120.0)
    # The image, then the map that it followed.
    assert len(body["images"]) == 2
    detect = GenerationJob.objects.get(kind=Kind.DETECT).resolved.detect
    assert detect is not None
    assert (detect.wish.type, detect.wish.threshold_a) == (ControlType.CANNY, 50.0)
    assert "ControlNet 0" in json.loads(body["info"])["extra_generation_params"]


def test_a_picture_that_is_a_map_already(ada: A1111Client, canny: CatalogEntry) -> None:
    body = draw_with(ada, {"input_image": picture(colour="red"), "model": "canny-15"}).json()

    [control] = the_images_job().resolved.controls
    assert (control.is_hint, control.type) == (True, ControlType.CANNY)
    assert opened(body["images"][1]).getpixel((0, 0)) == (255, 0, 0)
    assert GenerationJob.objects.count() == 1


def test_a_map_that_is_not_wanted(ada: A1111Client, canny: CatalogEntry) -> None:
    body = draw_with(ada, {"image": picture(), "module": "canny", "save_detected_map": False}).json()

    assert len(body["images"]) == 1
    assert GenerationJob.objects.count() == 1


def test_img2img_lends_its_picture(ada: A1111Client, canny: CatalogEntry) -> None:
    response = ada.redraw(
        alwayson_scripts={"ControlNet": {"args": [{"module": "canny", "pixel_perfect": True}]}}
    )

    resolved = the_images_job().resolved
    assert response.status_code == 200
    assert resolved.controls[0].picture == resolved.image
    assert resolved.controls[0].resolution_px == 64


def test_units_that_are_off_and_flags_of_old_clients(ada: A1111Client) -> None:
    assert draw_with(ada, True, False, {"enabled": False, "module": "nonsense"}).status_code == 200


def test_an_interrupt_takes_the_map_with_it(ada: A1111Client, canny: CatalogEntry, worker: Any) -> None:
    def interrupt(job: GenerationJob) -> None:
        ada.post("interrupt")
        finish_cancel(lease=lease_of(job), worker=jobs.WORKER, now=clock.now())

    worker(interrupt)

    assert draw_with(ada, {"image": picture(), "module": "canny"}).json()["images"] == []
    assert set(GenerationJob.objects.values_list("state", flat=True)) == {"canceled"}


def test_with_a_refused_map_nothing_is_accepted(ada: A1111Client, canny: CatalogEntry, cast: Cast) -> None:
    give_plan(cast.account, calls_per_day=1)

    assert draw_with(ada, {"image": picture(), "module": "canny"}).status_code == 429
    assert not GenerationJob.objects.exists()
    assert not DailyUsage.objects.exists()


@pytest.mark.parametrize(
    ("unit", "field"),
    [
        ({"module": "canny"}, "alwayson_scripts.ControlNet.args.0.image"),
        ({"image": "x", "weight": 9}, "alwayson_scripts.ControlNet.args.0.weight"),
        ({"image": "x", "mask": "x"}, "alwayson_scripts.ControlNet.args.0.mask"),
        ({"image": 5}, "alwayson_scripts.ControlNet.args.0.image"),
        ("canny", "alwayson_scripts.ControlNet.args.0"),
    ],
)
def test_wrong_units(ada: A1111Client, canny: CatalogEntry, unit: Any, field: str) -> None:
    assert bad_field(draw_with(ada, unit))[0] == field


def test_what_a_unit_cannot_name(ada: A1111Client, canny: CatalogEntry) -> None:
    image = picture()
    assert refusal(draw_with(ada, {"image": image, "module": "nonsense"})) == (
        422,
        "Module not available: nonsense",
    )
    assert refusal(draw_with(ada, {"image": image, "model": "nope"})) == (
        422,
        "ControlNet model nope not found",
    )
    field, message = bad_field(draw_with(ada, {"image": image}))
    assert field == "alwayson_scripts.ControlNet.args.0.model"
    assert "union_control_type" in message


def test_a_missing_network_is_named(ada: A1111Client) -> None:
    response = draw_with(ada, {"image": picture(), "module": "canny"})

    assert (refusal(response)[0], response["X-Darkroom-Error"]) == (400, "model_not_installed")


@pytest.mark.parametrize("name", ["controlnet_input_images", "controlnet_images"])
def test_detecting(ada: A1111Client, name: str) -> None:
    body = ada.post("/controlnet/detect", {"controlnet_module": "canny", name: [picture(), picture()]}).json()

    assert body["info"] == "Success"
    assert [opened(image).size for image in body["images"]] == [(64, 64)] * 2


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"controlnet_module": "canny"}, "No image selected"),
        ({"controlnet_module": "x", "controlnet_input_images": [picture()]}, "Module not available: x"),
    ],
)
def test_nothing_to_detect(ada: A1111Client, fields: dict[str, Any], detail: str) -> None:
    assert refusal(ada.post("/controlnet/detect", fields)) == (422, detail)


def test_a_detector_without_weights(ada: A1111Client) -> None:
    response = ada.post(
        "/controlnet/detect", {"controlnet_module": "depth_midas", "controlnet_input_images": [picture()]}
    )

    assert (refusal(response)[0], response["X-Darkroom-Error"]) == (400, "model_not_installed")


@pytest.mark.parametrize(
    ("mode", "balance"),
    [
        (0, Balance.BALANCED),
        ("My prompt is more important", Balance.PROMPT),
        ("controlnet is more important", Balance.CONTROL),
        (2, Balance.CONTROL),
    ],
)
def test_what_counts_more(ada: A1111Client, canny: CatalogEntry, mode: int | str, balance: Balance) -> None:
    unit = {"image": picture(), "module": "canny", "model": "canny-15", "control_mode": mode}

    response = draw_with(ada, unit)

    assert response.status_code == 200, response.content
    assert [used.balance for used in the_images_job().resolved.controls] == [balance]
    [text] = json.loads(response.json()["info"])["infotexts"]
    assert CONTROL_MODES[BALANCES.index(balance)] in text


def test_what_counts_more_is_for_unets(ada: A1111Client) -> None:
    make_checkpoint("flux-dev", family="flux")
    make_adapter("canny-flux", kind="controlnet", variant="canny", family="flux")
    unit = {"image": picture(), "module": "canny", "model": "canny-flux", "control_mode": 2}

    field, message = bad_field(draw_with(ada, unit, override_settings={"sd_model_checkpoint": "flux-dev"}))

    assert field == "alwayson_scripts.ControlNet"
    assert "flux" in message
