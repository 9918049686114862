"""Errors that reach no view: JSON for API paths, a plain page for browsers."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client, RequestFactory

from apps.api import unhandled


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/api/x", "application/json"),
        ("/v1/images/x", "application/json"),
        ("/openai/v1/x", "application/json"),
        ("/sdapi/v1/x", "application/json"),
        ("/v1/x", "application/problem+json"),
        ("/nothing/here", "text/html"),
    ],
)
def test_each_asker_gets_its_own_shape(db: None, path: str, content_type: str) -> None:
    request = RequestFactory().get(path)

    answers = [
        unhandled.bad_request(request, ValueError()),
        unhandled.not_found(request, ValueError()),
        unhandled.server_error(request),
    ]

    assert [answer.status_code for answer in answers] == [400, 404, 500]
    assert {answer["Content-Type"].partition(";")[0] for answer in answers} == {content_type}


def test_forged_host_is_refused_in_the_dialects_shape(db: None, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["images.example.com"]

    response = Client(raise_request_exception=False).post("/api/v6/images/text2img", HTTP_HOST="evil.example")

    assert response.status_code in (400, 401)
    assert response.json()["status"] == "error"
