"""POST /v1/images/edits and /variations: pictures in, and what is made of them."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from apps.catalog.models import CatalogEntry
from apps.generation.choices import Kind, Resize
from tests.apps.api import jobs
from tests.apps.api.openai.conftest import (
    EDIT,
    OpenAIClient,
    error_of,
    picture,
    the_job,
)
from tests.factories import make_checkpoint

HOLE = (8, 8, 40, 40)


@pytest.fixture
def kontext(ada: OpenAIClient) -> CatalogEntry:
    """A model made for editing."""
    return make_checkpoint("kontext", family="flux", variant="kontext")


def test_a_mask_marks_by_transparency_what_is_made_anew(ada: OpenAIClient) -> None:
    response = ada.edit(image=picture(), mask=picture(hole=HOLE))

    resolved = the_job().resolved
    assert response.status_code == 200
    assert resolved.kind == Kind.INPAINT
    assert resolved.image is not None and resolved.mask is not None
    assert resolved.mask_options.from_alpha
    assert (resolved.strength, resolved.width, resolved.height) == (1.0, 64, 64)


def test_the_answer_counts_the_picture_but_not_the_mask(ada: OpenAIClient) -> None:
    usage = ada.edit(image=picture(), mask=picture(hole=HOLE)).json()["usage"]

    assert usage["input_tokens_details"] == {"text_tokens": 3, "image_tokens": 4}


def test_without_a_mask_the_transparent_part_is_meant(ada: OpenAIClient) -> None:
    ada.edit(image=picture(hole=HOLE))

    resolved = the_job().resolved
    assert resolved.kind == Kind.INPAINT
    assert resolved.mask == resolved.image


def test_an_opaque_picture_is_begun_from(ada: OpenAIClient) -> None:
    ada.edit(image=picture(size=(96, 64)))

    resolved = the_job().resolved
    assert (resolved.kind, resolved.strength) == (Kind.IMG2IMG, 0.7)
    assert (resolved.width, resolved.height) == (96, 64)


@pytest.mark.parametrize(
    ("fields", "strength"),
    [
        ({"input_fidelity": "low"}, 0.7),
        ({"input_fidelity": "high"}, 0.5),
        ({"strength": "0.25"}, 0.25),
        ({"input_fidelity": "high", "strength": "0.25"}, 0.25),
    ],
)
def test_how_much_of_the_picture_is_kept(ada: OpenAIClient, fields: dict[str, str], strength: float) -> None:
    ada.edit(image=picture(), **fields)

    assert the_job().resolved.strength == strength


def test_another_size_crops(ada: OpenAIClient) -> None:
    ada.edit(image=picture(size=(96, 64)), size="64x64")

    resolved = the_job().resolved
    assert (resolved.width, resolved.height, resolved.resize) == (64, 64, Resize.CROP)


def test_a_model_made_for_editing_edits(ada: OpenAIClient, kontext: CatalogEntry) -> None:
    pictures = [picture(), picture(colour="red"), picture(colour="navy")]

    ada.form(EDIT, {"prompt": "both", "model": "kontext", "image[]": pictures})

    resolved = the_job().resolved
    assert resolved.kind == Kind.EDIT
    assert len(resolved.references) == 3


def test_sixteen_pictures_at_most(ada: OpenAIClient, kontext: CatalogEntry) -> None:
    def edit(count: int) -> Any:
        return ada.form(EDIT, {"prompt": "all", "model": "kontext", "image[]": [picture()] * count})

    assert edit(16).status_code == 200
    assert len(the_job().resolved.references) == 16
    assert error_of(edit(17))[1]["message"] == "image must be 1 to 16 pictures, not 17."


def test_such_a_model_takes_a_mask_as_well(ada: OpenAIClient, kontext: CatalogEntry) -> None:
    ada.edit(model="kontext", image=picture(), mask=picture(hole=HOLE))

    resolved = the_job().resolved
    assert (resolved.kind, resolved.mask is not None) == (Kind.EDIT, True)
    assert resolved.mask_options.from_alpha


def test_several_pictures_need_a_model_made_for_editing(ada: OpenAIClient) -> None:
    response = ada.form(EDIT, {"prompt": "both", "model": "tiny", "image[]": [picture(), picture()]})

    assert error_of(response) == (
        400,
        {
            "message": "image must be one picture for this model; several need one made for editing,"
            " such as FLUX.1 Kontext.",
            "type": "invalid_request_error",
            "param": "image",
            "code": "invalid_value",
        },
    )
    assert jobs.traces() == jobs.NOTHING


@pytest.mark.parametrize("name", ["image", "image[]", "image[0]", "images", "images[]"])
def test_names_of_the_file_part(ada: OpenAIClient, name: str) -> None:
    assert ada.form(EDIT, {"prompt": "x", "model": "tiny", name: picture()}).status_code == 200


def test_pictures_in_json(ada: OpenAIClient) -> None:
    link = "data:image/png;base64," + base64.b64encode(picture()).decode()

    for image in (link, [link], [{"image_url": link}], {"image_url": {"url": link}}):
        response = ada.post(EDIT, {"prompt": "x", "model": "tiny", "image": image})
        assert response.status_code == 200, response.json()


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (
            {"image": picture(), "mask": picture(size=(32, 32), hole=(0, 0, 8, 8))},
            "mask must have the size of the first image, 64 x 64 pixels, not 32 x 32.",
        ),
        (
            {"image": picture(), "mask": picture()},
            "mask has no transparent parts to read the mask from.",
        ),
        (
            {"image": b"GIF is not what this is"},
            "image is no picture, or of an unknown type, which is not taken: send PNG, JPEG, WebP or GIF.",
        ),
        ({"image": picture(), "strength": "2"}, 'strength must be a number from 0 to 1, not "2".'),
    ],
)
def test_unusable_pictures(ada: OpenAIClient, parts: dict[str, Any], message: str) -> None:
    status, error = error_of(ada.edit(**parts))

    assert (status, error["message"], error["code"]) == (400, message, "invalid_value")
    assert error["param"] == message.split()[0]
    assert jobs.traces() == jobs.NOTHING


def test_an_edit_needs_a_picture(ada: OpenAIClient) -> None:
    assert error_of(ada.edit())[1] == {
        "message": "Missing required parameter: 'image'.",
        "type": "invalid_request_error",
        "param": "image",
        "code": "missing_required_parameter",
    }


def test_a_mask_that_is_named_twice(ada: OpenAIClient) -> None:
    response = ada.form(EDIT, {"prompt": ["x", "y"], "image": picture()})

    assert error_of(response)[1]["message"] == "The request body names the field 'prompt' more than once."


def test_a_variation_begins_from_the_picture_and_needs_no_words(ada: OpenAIClient) -> None:
    body = ada.vary(image=picture(), n="2", size="64x64").json()

    resolved = the_job().resolved
    assert (resolved.kind, resolved.prompt, resolved.strength) == (Kind.IMG2IMG, "a picture", 0.6)
    assert len(body["data"]) == 2


def test_a_variation_takes_words_and_strength_as_extras(ada: OpenAIClient) -> None:
    ada.vary(image=picture(), prompt="a blue fox", strength="0.3")

    resolved = the_job().resolved
    assert (resolved.prompt, resolved.strength) == ("a blue fox", 0.3)


def test_transparent_parts_mean_nothing_to_a_variation(ada: OpenAIClient) -> None:
    ada.vary(image=picture(hole=HOLE))

    assert the_job().resolved.kind == Kind.IMG2IMG
