"""Whatever a client with a valid key sends: an answer in the dialect's shapes, and no fault of the server."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.api.a1111.extras import FIELDS as EXTRAS
from apps.api.a1111.fields import FIELDS
from apps.api.a1111.options import OPTIONS
from apps.api.a1111.units import UNIT_FIELDS
from apps.generation.models import GenerationJob
from tests.apps.api.a1111.conftest import A1111Client, picture

NAMES = [field.name for field in FIELDS]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**400), max_value=10**400)
    | st.floats()
    | st.text(alphabet=st.characters(codec=None, exclude_categories=()), max_size=30)
    | st.sampled_from(["Euler a", "1e999", "0x10", "١٢", "tiny", "-1", "NaN", "\ud800", "\0", "<lora:a:b>"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)
UNITS = st.lists(st.dictionaries(st.sampled_from([*UNIT_FIELDS, "image"]), VALUES, max_size=4), max_size=2)
SCRIPTS = st.fixed_dictionaries(
    {}, optional={"ControlNet": st.fixed_dictionaries({"args": UNITS}), "Refiner": VALUES}
)
SPECIAL = st.fixed_dictionaries(
    {},
    optional={
        "alwayson_scripts": SCRIPTS | VALUES,
        "override_settings": st.dictionaries(st.sampled_from([*OPTIONS, "other"]), VALUES, max_size=3),
    },
)


def some_of(names: list[str]) -> st.SearchStrategy[dict[str, object]]:
    """A few fields, so that what comes after reading them is reached as well."""
    return st.dictionaries(st.sampled_from(names), VALUES, max_size=3)


OBJECTS = st.builds(lambda plain, special: plain | special, some_of(NAMES), SPECIAL)
OTHERS = [*EXTRAS, *OPTIONS, "imageList", "model", "id_task", "id_live_preview", "controlnet_threshold_a"]
PICTURES = st.fixed_dictionaries(
    {},
    optional={
        "image": st.just(picture()) | VALUES,
        "controlnet_module": st.just("canny") | VALUES,
        "controlnet_input_images": st.just([picture()]) | VALUES,
    },
)
SETTINGS = settings(
    max_examples=80,
    deadline=None,
    # The same cases in every run; to look for new ones, raise the number and drop this line.
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


def assert_well_formed(response: Any) -> None:
    body = json.loads(response.content)
    if response.status_code == 200:
        return
    if response.status_code == 500:
        # Theirs for pictures that cannot be read, and for models that are not there.
        known = body["detail"].startswith("Invalid encoded image: ") or body["error"] == "RuntimeError"
        assert known, body
    assert "detail" in body


@SETTINGS
@given(fields=OBJECTS)
def test_any_drawing(ada: A1111Client, fields: dict[str, object]) -> None:
    GenerationJob.objects.all().delete()

    # Drawing itself is not what is tried here.
    assert_well_formed(ada.post("txt2img", {"width": 64, "height": 64} | fields))


@SETTINGS
@given(fields=OBJECTS)
def test_any_redrawing(ada: A1111Client, fields: dict[str, object]) -> None:
    GenerationJob.objects.all().delete()

    assert_well_formed(ada.post("img2img", {"width": 64, "height": 64, "init_images": [picture()]} | fields))


@SETTINGS
@given(
    path=st.sampled_from(
        [
            "options",
            "extra-single-image",
            "extra-batch-images",
            "png-info",
            "interrogate",
            "/controlnet/detect",
            "/internal/progress",
        ]
    ),
    fields=st.builds(lambda plain, special: plain | special, some_of(OTHERS), PICTURES),
)
def test_anything_else(ada: A1111Client, path: str, fields: dict[str, object]) -> None:
    GenerationJob.objects.all().delete()

    assert_well_formed(ada.post(path, fields))
