"""Refusals in the form of Stripe's: a status and an `error` object."""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """Answered to the client as `{"error": {...}}` with `status`."""

    def __init__(
        self, status: int, message: str, *, kind: str = "invalid_request_error", **fields: Any
    ) -> None:
        super().__init__(message)
        self.status = status
        self.fields = {"type": kind, "message": message} | {k: v for k, v in fields.items() if v is not None}

    def body(self) -> dict[str, Any]:
        return {"error": self.fields}


def missing(kind: str, object_id: str, *, param: str = "id") -> Refusal:
    noun = kind.rsplit(".", 1)[-1]
    return Refusal(404, f"No such {noun}: '{object_id}'", code="resource_missing", param=param)


def invalid(message: str, *, param: str | None = None, code: str | None = None) -> Refusal:
    return Refusal(400, message, param=param, code=code)


def required(param: str) -> Refusal:
    return invalid(f"Missing required param: {param}.", param=param, code="parameter_missing")


def declined(message: str, *, code: str, decline_code: str | None = None, **fields: Any) -> Refusal:
    """A card that is not charged: 402 `card_error`."""
    return Refusal(402, message, kind="card_error", code=code, decline_code=decline_code, **fields)
