"""Each endpoint once, from a client's request through the fake runtime to its answer on a fetch."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.urls import resolve
from PIL import Image

from apps.api.modelslab.endpoints import ENDPOINTS, FAMILIES
from apps.api.modelslab.fields.table import REQUIRED
from apps.api.modelslab.offers import TEXT_TO_IMAGE
from apps.api.modelslab.translation.asked import Endpoint, Shape
from apps.apikeys.choices import Scope
from apps.catalog.models import CatalogEntry
from apps.generation.choices import Kind
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.apps.api.modelslab.workbench import mask, picture, run
from tests.cast import Cast
from tests.factories import make_adapter, make_checkpoint, make_key

SCENE: dict[str, object] = {"init_image": picture()}
MASKED: dict[str, object] = {"init_image": picture(), "mask_image": mask()}
FACES: dict[str, object] = {"init_image": picture(), "target_image": picture(32, 32)}
SAMPLES: dict[str, dict[str, object]] = {
    "Text to image": {},
    "Image to image": SCENE,
    "Inpainting": MASKED,
    "Text to image led by control images": SCENE | {"controlnet_model": "canny"},
    "Text to image by a fast model": {},
    "Image to image by a fast model": SCENE,
    "Inpainting by a fast model": MASKED,
    "Background removal": {"image": picture()},
    "A picture grown beyond its edges": {"image": picture(), "width": 96, "height": 64},
    "A thing removed from a picture": MASKED,
    "Where in a picture something is": SCENE | {"specific_object": "fox"},
    "What a picture shows, in words": SCENE,
    "A picture enlarged": SCENE | {"scale": 2},
    "A new image of a person": {"face_image": picture()},
    "A portrait of a person": {"face_image": picture()},
    "A portrait of a person by FLUX": {"face_image": picture()},
    "A person in another garment": SCENE | {"cloth_image": picture(), "cloth_type": "dresses"},
    "Pictures edited as a prompt says": SCENE,
    "Several pictures mixed": {"init_image": [picture(), picture(32, 32)]},
    "A new thing in a picture's layout": {"image": picture()},
    "A picture edited by FLUX.1 Kontext": SCENE,
    "One face swapped": FACES | {"reference_image": picture(16, 16)},
    "All faces swapped": FACES,
    "Whether a picture is unsuitable": SCENE,
}
"""What each kind of endpoint needs beside a prompt and a model."""


@pytest.fixture
def studio(
    controlnets: dict[str, CatalogEntry],
    readers: dict[str, CatalogEntry],
    face_adapter: CatalogEntry,
    editor: CatalogEntry,
) -> None:
    """Everything that any endpoint needs."""
    make_adapter("flux-ip-plus-face", kind="ip_adapter", family="flux")
    for name in ("flux", "flux-klein", "pony-realism"):
        make_checkpoint(name, family="flux")
    for name in ("z-image-turbo", "qwen"):
        make_checkpoint(name)


def sample(endpoint: Endpoint) -> dict[str, object]:
    return {"model_id": _model(endpoint), "prompt": "a red fox"} | SAMPLES[endpoint.summary]


def _model(endpoint: Endpoint) -> str | None:
    """`tiny` where a model must be named; None leaves the choice to the server."""
    required = {field.ours for field in endpoint.table if field.default == REQUIRED}
    return "tiny" if "checkpoint" in required else None


FIRST_PATHS = list({endpoint.summary: path for path, endpoint in reversed(list(ENDPOINTS.items()))}.values())
"""The first path of each kind of endpoint."""


@pytest.mark.parametrize("path", FIRST_PATHS)
def test_from_the_request_to_the_fetched_result(ada: ApiClient, studio: None, path: str) -> None:
    endpoint = ENDPOINTS[path]
    accepted = ada.post(f"/api/{path}", sample(endpoint)).json()
    assert accepted["status"] == "processing", accepted
    assert accepted["fetch_result"] == f"http://testserver/api/{endpoint.family}/fetch/{accepted['id']}"

    run(accepted["id"])

    answer = ada.post(f"/api/{endpoint.family}/fetch/{accepted['id']}")
    body = answer.json()
    assert (answer.status_code, body["status"], body["id"]) == (200, "success", accepted["id"]), body
    if endpoint.shape is Shape.FINDINGS:
        assert body == {
            "status": "success",
            "id": accepted["id"],
            "images": [""],
            "has_nsfw_concept": [False],
        }
    elif endpoint.shape is Shape.WORDS:
        assert body["output"] == ["a test card"]
    else:
        links = [body["output"]] if endpoint.shape is Shape.LINK else body["output"]
        assert links == accepted["future_links"]
        assert [ada.get(link).status_code for link in links] == [200]


@pytest.mark.parametrize(
    ("path", "kind", "size"),
    [
        ("v6/images/text2img", Kind.TXT2IMG, (64, 64)),
        ("v6/images/img2img", Kind.IMG2IMG, (88, 64)),
        ("v6/images/inpaint", Kind.INPAINT, (88, 64)),
        ("v6/images/controlnet", Kind.CONTROLNET, (88, 64)),
        ("v6/image_editing/removebg_mask", Kind.REMOVE_BACKGROUND, (64, 48)),
        ("v6/image_editing/outpaint", Kind.OUTPAINT, (96, 64)),
        ("v6/image_editing/object_removal", Kind.OBJECT_REMOVAL, (64, 48)),
        ("v6/image_editing/mask_creator", Kind.MASK, (64, 48)),
        ("v6/image_editing/super_resolution", Kind.UPSCALE, (128, 96)),
        ("v6/faceswap/single_face_swap", Kind.FACE_SWAP, (64, 48)),
        ("v6/image_editing/qwen_edit", Kind.EDIT, (88, 64)),
    ],
)
def test_what_comes_out_has_the_right_size(
    ada: ApiClient, studio: None, path: str, kind: Kind, size: tuple[int, int]
) -> None:
    accepted = ada.post(f"/api/{path}", sample(ENDPOINTS[path])).json()

    job = run(accepted["id"])

    image = Image.open(io.BytesIO(_content(ada.get(accepted["future_links"][0]))))
    assert (job.kind, image.size) == (kind, size)


def _content(response: Any) -> bytes:
    return b"".join(response.streaming_content)


def test_every_kind_of_endpoint_has_a_sample() -> None:
    assert {endpoint.summary for endpoint in ENDPOINTS.values()} == SAMPLES.keys()


def test_every_path_leads_to_its_endpoint() -> None:
    for path, endpoint in ENDPOINTS.items():
        view = resolve(f"/api/{path}").func
        # Django's own attribute, which its stubs leave out.
        assert vars(view)["view_initkwargs"] == {"endpoint": endpoint}, path


def test_every_family_has_its_fetch(ada: ApiClient, studio: None) -> None:
    job_id = ada.submit().json()["id"]
    for family in FAMILIES:
        for answer in (
            ada.post(f"/api/{family}/fetch/{job_id}"),
            ada.get(f"/api/{family}/fetch/{job_id}"),
            ada.post(f"/api/{family}/fetch", {"request_id": str(job_id)}),
        ):
            assert (answer.status_code, answer.json()["id"]) == (200, job_id), family


def test_a_key_is_needed(anybody: ApiClient) -> None:
    for path in FIRST_PATHS:
        answer = anybody.post(f"/api/{path}", sample(ENDPOINTS[path]))
        assert (answer.status_code, answer["X-Darkroom-Error"]) == (401, "api_key_missing"), path


def test_a_key_without_the_scope_makes_nothing(cast: Cast, checkpoint: CatalogEntry) -> None:
    client = ApiClient(make_key(cast.account, scopes=[Scope.JOBS_READ]).plaintext)
    for path in FIRST_PATHS:
        answer = client.post(f"/api/{path}", sample(ENDPOINTS[path]))
        assert (answer.status_code, answer["X-Darkroom-Error"]) == (403, "scope_missing"), path
    assert jobs.traces() == jobs.NOTHING


def test_what_is_required_is_asked_for_by_name(ada: ApiClient, studio: None) -> None:
    for path in FIRST_PATHS:
        endpoint = ENDPOINTS[path]
        for field in endpoint.table:
            if field.default != REQUIRED:
                continue
            without = {name: value for name, value in sample(endpoint).items() if name not in field.names}
            answer = ada.post(f"/api/{path}", without)
            assert (answer.status_code, answer.json()["message"]) == (400, f"{field.theirs} is required")
    assert jobs.traces() == jobs.NOTHING


def test_tables_name_each_field_once() -> None:
    for path, endpoint in ENDPOINTS.items():
        names = [name for field in endpoint.table for name in field.names]
        assert sorted(names) == sorted(set(names)), path
        assert not set(names) & set(endpoint.refused), path


def test_the_first_endpoint_is_the_views_own() -> None:
    assert ENDPOINTS["v6/images/text2img"] == TEXT_TO_IMAGE
