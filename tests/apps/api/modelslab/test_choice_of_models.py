"""Which model serves a request that names none; and webhooks, whose requests are any."""

from __future__ import annotations

from typing import Any

import pytest

from apps.api.modelslab.models_fields import BASE_MODELS, CATEGORIES
from apps.catalog.models import CatalogEntry
from apps.generation.choices import Kind
from gpu_runtime.weights.family_facts import FAMILY_FACTS
from tests.apps.api.client import V7, ApiClient
from tests.apps.api.modelslab.workbench import made, picture, refused
from tests.factories import make_checkpoint


def test_realtime_takes_a_fast_model(ada: ApiClient) -> None:
    make_checkpoint("slow", use_count=900)
    make_checkpoint("quick", family="sdxl", variant="turbo", use_count=1)

    assert made(ada.post("/api/v6/realtime/text2img", {"prompt": "a fox"})).checkpoint == "quick"
    assert made(ada.post("/api/v3/text2img", {"prompt": "a fox", "model_id": "slow"})).checkpoint == "quick"


def test_realtime_takes_the_operators_model(ada: ApiClient, settings: Any) -> None:
    make_checkpoint("quick", variant="turbo")
    settings.REALTIME_MODEL = "tiny"

    assert made(ada.post("/api/v6/realtime/text2img", {"prompt": "a fox"})).checkpoint == "tiny"


def test_realtime_without_a_fast_model_takes_what_is_used_most(ada: ApiClient) -> None:
    make_checkpoint("popular", use_count=9)
    make_checkpoint("inpainting", variant="inpaint", use_count=99)

    assert made(ada.post("/api/v6/realtime/text2img", {"prompt": "a fox"})).checkpoint == "popular"


def test_a_server_of_one_family_takes_a_model_of_it(ada: ApiClient) -> None:
    make_checkpoint("some-flux", family="flux")

    assert made(ada.post("/api/v1/enterprise/flux/text2img", {"prompt": "x"})).checkpoint == "some-flux"
    message = refused_now(ada.post("/api/v1/enterprise/z_image_turbo/text2img", {"prompt": "x"}))
    assert message == "Model not found: z-image-turbo"


@pytest.mark.parametrize(
    ("server", "family"), [("flux_klein", "flux2"), ("z_image_turbo", "z-image"), ("qwen", "qwen-image")]
)
def test_each_server_knows_its_family(ada: ApiClient, server: str, family: str) -> None:
    make_checkpoint("ours", family=family)

    answer = ada.post(f"/api/v1/enterprise/{server}/text2img", {"prompt": "x"})

    assert made(answer).checkpoint == "ours"


FLUX = "/api/v1/enterprise/flux"
FLUX_2 = {"prompt": "x", "deploy_type": "flux_2_dev"}


def make_flux_2(name: str, **fields: Any) -> CatalogEntry:
    return make_checkpoint(name, family="flux2", details={"pipeline_class": "Flux2Pipeline"}, **fields)


def test_deploy_type_leads_to_flux_2(ada: ApiClient) -> None:
    make_checkpoint("flux", family="flux", use_count=99)
    make_flux_2("small", variant="klein", use_count=9)
    first = made(ada.post(f"{FLUX}/text2img", FLUX_2)).checkpoint
    make_flux_2("tuned")
    second = ada.post(f"{FLUX}/text2img", FLUX_2).json()["meta"]["model_id"]
    make_flux_2("flux-2-dev")
    third = ada.post(f"{FLUX}/text2img", FLUX_2).json()["meta"]["model_id"]

    assert (first, second, third) == ("small", "tuned", "flux-2-dev")


@pytest.mark.parametrize("fields", [{}, {"deploy_type": "flux"}, {"deploy_type": ""}])
def test_without_it_the_server_has_flux_1(ada: ApiClient, fields: dict[str, str]) -> None:
    make_flux_2("flux-2-dev", use_count=99)
    make_checkpoint("some-flux", family="flux")

    assert made(ada.post(f"{FLUX}/text2img", {"prompt": "x"} | fields)).checkpoint == "some-flux"


def test_a_named_model_counts_more_than_deploy_type(ada: ApiClient) -> None:
    make_flux_2("flux-2-dev")

    assert made(ada.post(f"{FLUX}/text2img", FLUX_2 | {"model_id": "tiny"})).checkpoint == "tiny"


@pytest.mark.parametrize("path", ["text2img", "img2img"])
def test_flux_2_edits_ten_pictures(ada: ApiClient, path: str) -> None:
    make_flux_2("flux-2-dev")
    fields = FLUX_2 | {"init_image": [picture()] * 10}

    message = refused(ada.post(f"{FLUX}/{path}", fields | {"init_image": [picture()] * 11}))
    resolved = made(ada.post(f"{FLUX}/{path}", fields))

    assert message.startswith("init_image must be")
    assert (resolved.kind, len(resolved.references)) == (Kind.EDIT, 10)


def test_what_deploy_type_may_not_be(ada: ApiClient) -> None:
    make_checkpoint("flux", family="flux")

    assert refused(ada.post(f"{FLUX}/text2img", FLUX_2)) == (
        "No model of the FLUX.2 family is installed on this server:"
        " import FLUX.2 dev, under the name flux-2-dev."
    )
    assert refused(ada.post(f"{FLUX}/text2img", FLUX_2 | {"deploy_type": "flux_3"})).startswith(
        "deploy_type must be one of flux, flux_2_dev"
    )


def test_elsewhere_deploy_type_means_nothing(ada: ApiClient) -> None:
    make_flux_2("flux-2-dev")

    assert made(ada.submit(deploy_type="flux_2_dev")).checkpoint == "tiny"


def test_families_of_categories_are_families() -> None:
    named = {family for category in CATEGORIES.values() for family in category.families}

    assert named | set(BASE_MODELS.values()) <= FAMILY_FACTS.keys()


@pytest.mark.parametrize("path", ["v6/realtime/text2img", "v1/enterprise/flux/text2img"])
def test_a_model_that_edits_is_the_last_choice_for_a_prompt_alone(ada: ApiClient, path: str) -> None:
    CatalogEntry.objects.all().delete()
    make_checkpoint("editor", family="flux", variant="kontext", use_count=9)
    assert made(ada.post(f"/api/{path}", {"prompt": "x"})).checkpoint == "editor"

    make_checkpoint("maker", family="flux")
    accepted = ada.post(f"/api/{path}", {"prompt": "x"}).json()

    assert accepted["meta"]["model_id"] == "maker"


def refused_now(response: Any) -> str:
    """Of a client that has made something before."""
    assert response.status_code == 400
    return str(response.json()["message"])


def test_fields_in_the_query_string_count(ada: ApiClient) -> None:
    answer = ada.post("/api/v3/text2img?prompt=a+fox&seed=7", {"seed": 8})

    assert (made(answer).prompt, made(answer).seed) == ("a fox", 8)


def test_v7_fetch_result_stays_in_its_family(ada: ApiClient) -> None:
    assert "/api/v7/images/fetch/" in ada.submit(V7).json()["fetch_result"]


# --- webhooks ---


def test_a_webhook_is_kept_with_the_job(ada: ApiClient, settings: Any) -> None:
    body = ada.submit(webhook="https://example.com/hook", track_id=7).json()

    assert (body["meta"]["webhook"], body["meta"]["track_id"]) == ("https://example.com/hook", 7)


@pytest.mark.parametrize("name", ["webhook", "webhook_url"])
def test_an_unusable_webhook_is_refused_by_the_clients_name(ada: ApiClient, name: str) -> None:
    assert refused(ada.submit(**{name: "ftp://example.com"})).startswith(f"{name} must be a URL")
    assert refused(ada.submit(**{name: "https://127.0.0.1/hook"})).startswith(f"{name} cannot be used")
