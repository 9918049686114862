"""Request ids: made or taken over, echoed, and gone from the log when the request is."""

from __future__ import annotations

import logging

import pytest
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from apps.core.ids import new_request_id
from apps.core.logging import RequestIdFilter, request_id
from apps.core.middleware import RequestIdMiddleware


def answer(*, given: str | None = None) -> tuple[str, HttpResponse]:
    """The id the view saw, and the response."""
    seen: list[str] = []

    def view(request: HttpRequest) -> HttpResponse:
        seen.append(request_id.get())
        return HttpResponse()

    headers = {} if given is None else {"X-Request-Id": given}
    response = RequestIdMiddleware(view)(RequestFactory().get("/x?key=secret", headers=headers))
    return seen[0], response


def test_an_id_is_made_and_echoed() -> None:
    seen, response = answer()

    assert seen == response["X-Request-Id"]
    assert len(seen) == len(new_request_id()) == 24
    assert request_id.get() == ""


def test_a_harmless_id_of_the_caller_is_taken_over() -> None:
    assert answer(given="trace-1.2_3")[0] == "trace-1.2_3"


@pytest.mark.parametrize("given", ["", "a b", "a\tb", "x" * 65, "é", '"'])
def test_any_other_is_replaced(given: str) -> None:
    assert answer(given=given)[0].startswith("req_")


def test_the_access_line_holds_no_query_string(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="apps.access"):
        answer()

    [line] = [record.getMessage() for record in caplog.records]
    assert line.startswith("GET /x 200 ")


def test_log_records_name_the_request() -> None:
    record = logging.makeLogRecord({})

    token = request_id.set("abc")
    assert RequestIdFilter().filter(record)
    request_id.reset(token)

    assert record.__dict__["request_suffix"] == " [abc]"
    RequestIdFilter().filter(record)
    assert record.__dict__["request_suffix"] == ""
