"""Webhooks, keys and usage in the reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from apps.api.native import keys, webhooks
from apps.api.native.keys_fields import LIST_PARAMETERS as KEY_PARAMETERS
from apps.api.native.keys_fields import describe as describe_keys
from apps.api.native.webhooks_fields import LIST_PARAMETERS, REPLAY_FIELDS, SECRET_FIELDS, TEST_FIELDS
from apps.api.reference.native_jobs import DONE, page_of, referring
from apps.api.reference.operations import IDEMPOTENCY, Answer, JsonSchema, Parameter, Said
from apps.api.reference.shapes import shape_of
from apps.api.reference.typed import schema_of_result
from apps.apikeys.choices import Scope

TAG_WEBHOOKS: Final = "Webhooks"
TAG_KEYS: Final = "Keys and usage"
DELIVERY: Final = {
    "id": "msg_2b7c9d0e",
    "event": "job.succeeded",
    "job_id": 1024,
    "import_id": None,
    "url": "https://shop.example/hook",
    "state": "delivered",
    "attempts": 1,
    "last_status": 204,
    "last_error": None,
    "created_at": "2026-03-02T12:00:04.000000Z",
    "next_attempt_at": None,
    "ended_at": "2026-03-02T12:00:04.300000Z",
}
TRY: Final = {
    "started_at": "2026-03-02T12:00:04.100000Z",
    "duration_ms": 180,
    "status": 204,
    "error": None,
    "answer": "",
}
ENDPOINT: Final = {
    "address": "https://shop.example/hook",
    "failures": 5,
    "paused_until": "2026-03-02T12:01:00.000000Z",
    "disabled_at": None,
    "last_error": "503",
}
SECRET: Final = {"ends_with": "q8f3", "created_at": "2026-03-01T08:00:00.000000Z", "ends_at": None}
KEY: Final = {
    "id": "ab12cd34",
    "name": "build server",
    "account": "studio",
    "scopes": ["images:generate", "jobs:read"],
    "allowed_models": [],
    "allowed_addresses": [],
    "daily_cap": None,
    "monthly_cap": None,
    "queue_depth": None,
    "max_parallel": None,
    "state": "active",
    "is_current": False,
    "created_at": "2026-03-01T08:00:00.000000Z",
    "expires_at": None,
    "last_used_at": None,
}
MONTH_UNLIMITED: Final = {
    "limit": None,
    "used": 419,
    "remaining": None,
    "resets_at": "2026-04-01T00:00:00.000000Z",
}
USAGE: Final = {
    "account": "studio",
    "plan": "studio",
    "calls": {
        "limit": 1000,
        "used": 7,
        "reserved": 0,
        "remaining": 993,
        "resets_at": "2026-03-03T00:00:00.000000Z",
    },
    "month": {
        "calls": MONTH_UNLIMITED,
        "included": {**MONTH_UNLIMITED, "limit": 10_000, "remaining": 9_581},
        "free_today": {"limit": 0, "used": 0, "remaining": 0, "resets_at": "2026-03-03T00:00:00.000000Z"},
    },
    "fair_use": {"limit": None, "exceeded": False, "weight": 2.0, "full_weight": 2.0},
    "key": {
        "day": None,
        "month": None,
        "queue": {"limit": None, "open": 0},
        "parallel": {"limit": 2, "running": 0},
    },
    "budgets": [
        {
            "key": None,
            "is_hard": True,
            "limit_micro": 50_000_000,
            "spent_micro": 12_000,
            "remaining_micro": 49_988_000,
            "resets_at": "2026-04-01T00:00:00.000000Z",
        }
    ],
    "money": {
        "currency": "usd",
        "wallet_micro": 4_988_000,
        "promo_micro": 0,
        "held_micro": 0,
        "owed_micro": 0,
        "spent_micro": 12_000,
        "keys": [{"key": "ab12cd34", "calls": 6, "images": 6, "price_micro": 12_000}],
    },
    "queue": {"limit": 50, "open": 0},
    "parallel": {"limit": None, "running": 0},
    "service_level": None,
    "devices": [],
    "max_images": 4,
    "kinds": ["txt2img", "img2img"],
    "days": [{"day": "2026-03-01", "calls": 412}],
}
READ: Final = (401, 403, 503)
ACTED: Final = (400, 401, 403, 409, 413, 503)

Words = Mapping[str, tuple[Callable[[object], object], str]]


def _query(table: Words) -> tuple[Parameter, ...]:
    return tuple(
        Parameter(name=name, place="query", schema=schema_of_result(read), meaning=meaning)
        for name, (read, meaning) in table.items()
    )


def _body(table: Words, *required: str) -> JsonSchema:
    properties = {
        name: schema_of_result(read) | {"description": meaning} for name, (read, meaning) in table.items()
    }
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def _items(item: str, example: object) -> Answer:
    """A list that has no pages."""
    items = {"type": "array", "items": {"$ref": f"#/components/schemas/{item}"}}
    schema = {"type": "object", "required": ["items"], "properties": {"items": items}}
    return Answer(meaning="All of them.", schema=schema, example={"items": [example]})


def _delivery(meaning: str) -> Answer:
    waiting = {**DELIVERY, "state": "waiting", "attempts": 0, "last_status": None, "ended_at": None}
    return referring("DeliveryBody", meaning, waiting, "Location", "Idempotent-Replayed")


SAID_WEBHOOKS: Final[Mapping[tuple[type, str], Said]] = {
    (webhooks.DeliveryListView, "get"): Said(
        summary="What was and will be delivered",
        scope=Scope.JOBS_READ,
        parameters=_query(LIST_PARAMETERS),
        answers={200: page_of("DeliveryBody", DELIVERY)},
        refusals=(400, *READ),
    ),
    (webhooks.DeliveryView, "get"): Said(
        summary="One delivery with its attempts",
        scope=Scope.JOBS_READ,
        answers={
            200: referring(
                "DeliveryDetail", "All of it.", {**DELIVERY, "body": '{"status":"success"}', "tries": [TRY]}
            )
        },
        refusals=(401, 403, 404, 503),
    ),
    (webhooks.ReplayView, "post"): Said(
        summary="Send one delivery again",
        description="Delivered or not.",
        scope=Scope.WEBHOOKS_WRITE,
        parameters=(IDEMPOTENCY,),
        answers={202: _delivery("It will be sent.")},
        refusals=(400, 401, 403, 404, 409, 503),
    ),
    (webhooks.ReplayFailedView, "post"): Said(
        summary="Send again all that was given up",
        scope=Scope.WEBHOOKS_WRITE,
        parameters=(IDEMPOTENCY,),
        body=_body(REPLAY_FIELDS),
        is_body_required=False,
        examples={"since noon": {"since": "2026-03-02T12:00:00Z"}},
        answers={
            202: Answer(
                meaning="How many will be sent.",
                schema=shape_of({"count": 0}),
                example={"count": 3},
                headers=("Idempotent-Replayed",),
            )
        },
        refusals=ACTED,
    ),
    (webhooks.EndpointsView, "get"): Said(
        summary="Endpoints that fail, are paused or disabled",
        scope=Scope.JOBS_READ,
        answers={200: _items("EndpointBody", ENDPOINT)},
        refusals=READ,
    ),
    (webhooks.SecretView, "get"): Said(
        summary="Which secrets sign at present",
        scope=Scope.JOBS_READ,
        answers={200: _items("SecretBody", SECRET)},
        refusals=READ,
    ),
    (webhooks.SecretView, "post"): Said(
        summary="Make the next signing secret",
        description="It is shown this once. Idempotency-Key does not count here: no answer is kept.",
        scope=Scope.WEBHOOKS_WRITE,
        body=_body(SECRET_FIELDS),
        is_body_required=False,
        examples={"at once": {"overlap_s": 0}},
        answers={
            201: Answer(
                meaning="The new secret.",
                schema={
                    "allOf": [
                        {"$ref": "#/components/schemas/SecretBody"},
                        shape_of({"secret": ""}),
                    ]
                },
                example={"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", **SECRET},
            )
        },
        refusals=ACTED,
    ),
    (webhooks.TestView, "post"): Said(
        summary="Send a message that tells of nothing",
        scope=Scope.WEBHOOKS_WRITE,
        parameters=(IDEMPOTENCY,),
        body=_body(TEST_FIELDS, "url"),
        examples={"a test": {"url": "https://shop.example/hook"}},
        answers={202: _delivery("It will be sent.")},
        refusals=ACTED,
    ),
}

SAID_KEYS: Final[Mapping[tuple[type, str], Said]] = {
    (keys.KeyListView, "get"): Said(
        summary="Keys of your account",
        scope=Scope.KEYS_WRITE,
        parameters=tuple(
            Parameter(
                name=name,
                place="query",
                schema={"type": "integer", "minimum": 1, "maximum": highest},
                meaning=meaning,
            )
            for name, (highest, meaning) in KEY_PARAMETERS.items()
        ),
        answers={200: page_of("KeyBody", KEY)},
        refusals=(400, *READ),
    ),
    (keys.KeyListView, "post"): Said(
        summary="Make a key",
        description="Its text is shown this once. It may do no more than the key that asks.",
        scope=Scope.KEYS_WRITE,
        body=describe_keys()["keys"],
        examples={"for a build server": {"name": "build server", "scopes": ["images:generate"]}},
        answers={
            201: referring(
                "IssuedKeyBody",
                "The new key.",
                {"key": "dkr_ab12cd34_0a1b2c3d4e5f60718293a4b5c6d7e8f9", **KEY},
            )
        },
        refusals=ACTED,
    ),
    (keys.KeyView, "get"): Said(
        summary="One key",
        description="`current` is the key that asks, which needs no scope for that.",
        scope=Scope.KEYS_WRITE,
        answers={200: referring("KeyBody", "Without its secret.", KEY)},
        refusals=(401, 403, 404, 503),
    ),
    (keys.KeyView, "delete"): Said(
        summary="Revoke a key",
        description="The key that asks, or one that can do no more than it.",
        scope=Scope.KEYS_WRITE,
        answers={200: referring("KeyBody", "Revoked, at once.", {**KEY, "state": "revoked"})},
        refusals=(400, 401, 403, 404, 409, 503),
    ),
    (keys.UsageView, "get"): Said(
        summary="What you have used, and what the plan allows",
        scope=Scope.JOBS_READ,
        answers={200: referring("UsageBody", "Today, and the days before.", USAGE)},
        refusals=READ,
    ),
}

WEBHOOK_EXAMPLE: Final = {
    "type": "job.succeeded",
    "timestamp": "2026-03-02T12:00:04.000000Z",
    "data": DONE,
}
"""What a webhook of the native API says."""
