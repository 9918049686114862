"""Whatever a client with a valid key sends to any endpoint: an answer in the dialect's shape, no 5xx."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apps.api.modelslab.endpoints import ENDPOINTS
from apps.api.modelslab.fields import general
from apps.api.modelslab.general_urls import GENERAL
from apps.catalog.models import CatalogEntry
from tests.apps.api.client import ApiClient
from tests.apps.api.modelslab.workbench import mask, picture
from tests.apps.api.test_fuzz import SETTINGS, VALUES

PATHS = [*ENDPOINTS, *GENERAL]
TABLES = [*(endpoint.table for endpoint in ENDPOINTS.values()), *general.TABLES]
NAMES = sorted({name for table in TABLES for field in table for name in field.names})
PICTURES = st.sampled_from([picture(), mask(), picture(8, 200), "http://127.0.0.1/a.png", "data:,", "aGk="])
FIELDS = st.dictionaries(st.sampled_from(NAMES), VALUES | PICTURES, max_size=6)
PLAUSIBLE = {
    "model_id": "tiny",
    "prompt": "a red fox",
    "init_image": picture(),
    "mask_image": mask(),
    "controlnet_model": "canny",
    "target_image": picture(),
    "face_image": picture(),
}
"""Enough for most endpoints, so that what else is sent matters."""


@SETTINGS
@given(fields=FIELDS, path=st.sampled_from(PATHS), is_plausible=st.booleans())
def test_any_fields_anywhere(
    ada: ApiClient,
    controlnets: dict[str, CatalogEntry],
    fields: dict[str, object],
    path: str,
    is_plausible: bool,
) -> None:
    response = ada.post(f"/api/{path}", PLAUSIBLE | fields if is_plausible else fields)

    assert response.status_code < 500, (path, response.content)
    body = response.json()
    assert body["status"] in ("success", "processing", "error")
    if body["status"] == "error":
        assert body["message"] == body["messege"] != ""
        assert response.status_code >= 400
