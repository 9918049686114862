"""Whether anything of the ModelsLab dialect has no recorded exchange: paths, kinds of values, refusals."""

from __future__ import annotations

from typing import Any

import pytest

from apps.api.modelslab.endpoints import ENDPOINTS
from apps.api.modelslab.fields import general
from apps.api.modelslab.fields.table import Field
from apps.api.modelslab.views import GenerationView
from tests.architecture.test_errors import section
from tests.contracts.coverage import codes_shown
from tests.contracts.modelslab_paths import OTHER_PATHS, endpoint_at, place_of, routes
from tests.contracts.recording import Exchange, list_exchanges

EXCHANGES = list_exchanges()
BY_NAME = {exchange.name: exchange for exchange in EXCHANGES}

REFUSALS = {
    "missing key": ("refused_without_key", 401, "api_key_missing"),
    "bad key": ("refused_wrong_key", 401, "api_key_invalid"),
    "key without the scope": ("refused_scope", 403, "scope_missing"),
    "customer at the operator's": ("enterprise_refused_customer", 403, "scope_missing"),
    "no calls left today": ("refused_quota", 429, "daily_quota_exhausted"),
    "no calls left this month": ("refused_month", 429, "monthly_quota_exhausted"),
    "nothing pays": ("refused_payment", 402, "payment_required"),
    "budget is spent": ("refused_budget", 402, "budget_exhausted"),
    "queue is full": ("refused_queue_full", 429, "queue_full"),
    "more images than the plan has": ("refused_too_many_for_plan", 403, "too_many_images"),
    "kind that the plan has not": ("refused_kind_not_in_plan", 403, "kind_not_in_plan"),
    "model that the key may not use": ("refused_model_of_key", 403, "checkpoint_not_allowed"),
    "model that the plan has not": ("refused_model_not_in_plan", 403, "model_not_in_plan"),
    "unknown model": ("refused_unknown_model", 400, "checkpoint_not_found"),
    "disabled model": ("refused_disabled_model", 403, "model_disabled"),
    "model that is not installed": ("refused_caption_model", 400, "model_not_installed"),
    "missing field": ("refused_prompt_missing", 400, "invalid_field"),
    "bad address of a picture": ("refused_picture_behind_a_password", 400, "invalid_field"),
    "private address": ("refused_private_address", 400, "invalid_field"),
    "unreadable picture": ("refused_unreadable_picture", 400, "invalid_field"),
    "bad webhook": ("refused_webhook", 400, "invalid_field"),
    "prompt against the rules": ("refused_prompt_rules", 400, "prompt_blocked"),
    "images against the rules": ("fetch_blocked", 200, None),
    "not offered": ("refused_training", 400, "not_offered"),
    "failed job": ("fetch_failed", 200, None),
    "canceled job": ("fetch_canceled", 200, None),
    "queued job": ("fetch_pending", 200, None),
    "running job": ("fetch_running", 200, None),
    "expired images": ("fetch_expired", 200, None),
    "unknown id": ("fetch_unknown_id", 404, "not_found"),
    "id that is no number": ("fetch_uuid", 404, "not_found"),
    "somebody else's id": ("fetch_strangers_job", 404, "not_found"),
    "no id": ("fetch_without_id", 400, "invalid_field"),
    "wrong method": ("refused_wrong_method", 405, "method_not_allowed"),
    "unknown path": ("refused_unknown_path", 404, "not_found"),
    "malformed JSON": ("refused_bad_json", 400, "malformed_body"),
    "body that is no object": ("refused_body_no_object", 400, "malformed_body"),
    "field that is named twice": ("refused_field_twice", 400, "malformed_body"),
    "fault of the server": ("fault_of_ours", 500, "internal_error"),
    "database that is away": ("database_away", 503, "database_unavailable"),
    "body that is too large": ("refused_body_too_large", 413, "body_too_large"),
}
"""Each class of errors: the exchange that shows it, its HTTP status and our code."""
STATUS = {
    "fetch_pending": "processing",
    "fetch_running": "processing",
}
"""`status` of the body, where it is not "error"."""


def test_every_path_is_recorded_or_leads_where_a_recorded_one_leads() -> None:
    shown = [place_of(exchange.request["path"]) for exchange in EXCHANGES]
    recorded_routes = {match.route for match in shown}
    recorded_endpoints = [endpoint_at(match) for match in shown]
    replayed = {f"api/{path}" for paths in OTHER_PATHS.values() for path in paths}

    for route, view in routes().items():
        if route in recorded_routes | replayed:
            continue
        # What makes something knows its path, so that each of its paths is replayed.
        assert view[0] is not GenerationView, route
        assert view in recorded_endpoints, route


@pytest.mark.parametrize("name", REFUSALS)
def test_every_class_of_errors_is_recorded(name: str) -> None:
    exchange_name, status, code = REFUSALS[name]
    response = BY_NAME[exchange_name].response
    body = response["body"]

    assert (response["status"], response["headers"].get("X-Darkroom-Error")) == (status, code)
    assert body["status"] == STATUS.get(exchange_name, "error")
    assert body["message"] == body["messege"] != ""


def test_all_refusals_are_of_a_class() -> None:
    shown = {code for _, _, code in REFUSALS.values()}
    others = {"embedding_not_found", "lora_not_found", "vae_not_found", "model_not_found", "family_mismatch"}
    others |= {"conflict", "invalid_idempotency_key", "idempotency_mismatch"}

    codes = {exchange.response["headers"].get("X-Darkroom-Error") for exchange in EXCHANGES}

    assert codes == shown | others


def test_each_fault_has_an_exchange() -> None:
    # Django refuses what cannot be read at all before any dialect sees it.
    assert section("Faults").keys() - codes_shown(EXCHANGES) == {"bad_request"}


def test_every_kind_of_value_has_a_refusal() -> None:
    refused = {type(field.read).__name__ for exchange in EXCHANGES for field in _refused_fields(exchange)}
    known = {type(field.read).__name__ for field in _all_fields()}

    assert refused == known


def _all_fields() -> list[Field]:
    tables = [*(endpoint.table for endpoint in ENDPOINTS.values()), *general.TABLES]
    return [field for table in tables for field in table]


def _refused_fields(exchange: Exchange) -> list[Field]:
    """The field that a value was refused of; what is missing or cannot be fetched was never read."""
    path = exchange.request["path"].removeprefix("/api/")
    message: Any = exchange.response["body"]["message"] if exchange.response["status"] == 400 else ""
    if path not in ENDPOINTS or "is required" in message:
        return []
    return [field for field in ENDPOINTS[path].table if message.startswith(f"{field.theirs} ")]
