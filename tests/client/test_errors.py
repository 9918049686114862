"""Answers that refuse: the class, and all that a program or a person needs of them."""

from __future__ import annotations

import json

import pytest

from apps.core.errors import DomainError
from darkroom import errors
from darkroom.errors import BY_CODE, Refused, refusal
from darkroom.records import Job
from darkroom.schema import Failure
from tests.architecture.test_errors import refusals

REFUSALS = sorted(refusals(), key=lambda error: (error.code, error.__qualname__))


def answer(status: int, code: str, **more: object) -> errors.DarkroomError:
    return refusal(status, {}, json.dumps({"code": code, "detail": "no", **more}).encode())


def test_codes_are_those_of_the_server() -> None:
    assert BY_CODE.keys() <= {error.code for error in REFUSALS}


@pytest.mark.parametrize("error", REFUSALS, ids=lambda error: str(error.__name__))
def test_every_refusal_of_the_server_has_a_class_of_its_own_kind(error: type[DomainError]) -> None:
    made = answer(error.http_status, error.code)

    assert isinstance(made, Refused)
    # The base alone would say nothing of what to do.
    assert type(made) is not Refused, (error.code, error.http_status)
    assert (made.status, made.code) == (error.http_status, error.code)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "invalid_field", errors.InvalidRequest),
        (413, "body_too_large", errors.InvalidRequest),
        (401, "api_key_invalid", errors.AuthenticationError),
        (402, "payment_required", errors.PaymentRequired),
        (402, "budget_exhausted", errors.PaymentRequired),
        (403, "scope_missing", errors.PermissionDenied),
        (404, "not_found", errors.NotFound),
        (409, "idempotency_mismatch", errors.Conflict),
        (429, "daily_quota_exhausted", errors.QuotaExceeded),
        (429, "queue_full", errors.QueueFull),
        (400, "model_not_found", errors.ModelNotFound),
        (400, "model_not_installed", errors.ModelNotInstalled),
        (400, "prompt_blocked", errors.ContentRefused),
        (500, "internal_error", errors.ServerFault),
        (503, "database_unavailable", errors.ServerFault),
        (418, "code_of_tomorrow", errors.Refused),
    ],
)
def test_classes(status: int, code: str, kind: type[errors.DarkroomError]) -> None:
    assert type(answer(status, code)) is kind


@pytest.mark.parametrize(
    ("place", "field"),
    [
        ({"pointer": "#/controls/0/scale"}, "controls[0].scale"),
        ({"pointer": "#/a~1b~0c"}, "a/b~c"),
        ({"pointer": "#"}, ""),
        ({"parameter": "limit"}, "limit"),
        ({"header": "Idempotency-Key"}, "Idempotency-Key"),
    ],
)
def test_the_field_is_named(place: dict[str, str], field: str) -> None:
    made = answer(400, "invalid_field", errors=[{"detail": "must be less", **place}])

    assert isinstance(made, errors.InvalidRequest)
    assert (made.field, made.problems[0].detail) == (field, "must be less")


def test_the_request_id_is_in_the_message() -> None:
    body = json.dumps({"code": "not_found", "detail": "Request 9 was not found.", "request_id": "req_a"})

    assert str(refusal(404, {}, body.encode())) == "Request 9 was not found. [request req_a]"


@pytest.mark.parametrize(
    ("status", "headers", "body", "kind", "told"),
    [
        (301, {"location": "https://box/"}, b"", errors.UnexpectedAnswer, "points to https://box/"),
        (404, {}, b"<html>nginx</html>", errors.UnexpectedAnswer, "No Darkroom is at this address"),
        (404, {}, b'["no"]', errors.UnexpectedAnswer, "No Darkroom is at this address"),
        (502, {}, b"", errors.ServerFault, "answered 502 without saying why"),
        (400, {}, b"[" * 100_000, errors.UnexpectedAnswer, "No Darkroom"),
    ],
)
def test_answers_of_others(
    status: int, headers: dict[str, str], body: bytes, kind: type[errors.DarkroomError], told: str
) -> None:
    made = refusal(status, headers, body)

    assert type(made) is kind
    assert told in str(made)


def test_failed_jobs_tell_their_reason() -> None:
    job = Job(id=7, state="failed", error=Failure(code="no_face", message="No face was found."))

    error = errors.JobFailed(job)

    assert (str(error), error.code, error.job) == ("Job 7 failed: No face was found.", "no_face", job)
