"""From a body to what is submitted: the whole way through an endpoint's table and translation."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from apps.api.bodies import JsonObject
from apps.api.modelslab.fields.table import Values, read_table, refuse_meaningful, take_in_pictures
from apps.api.modelslab.translation.asked import Asked, ClientOptions, Endpoint, renamed
from apps.apikeys.models import ApiKey
from apps.core.errors import InvalidField
from apps.generation.request import GenerationRequest
from apps.webhooks.wishes import WebhookWish

DIALECT: Final = "modelslab"
DEFAULT_THRESHOLD: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Translated:
    """A request as services take it, with what its answer needs."""

    request: GenerationRequest
    options: ClientOptions
    track_id: str | int | None
    webhook: WebhookWish | None
    values: Values
    """For the caller's own names in refusals that come later."""


def translate(endpoint: Endpoint, fields: JsonObject, *, key: ApiKey, now: datetime) -> Translated:
    """Reads, takes in the pictures, translates.

    Raises InvalidField with the caller's own name, and what choosing models raises.
    """
    values = read_table(endpoint.table, fields)
    refuse_meaningful(endpoint.refused, fields)
    asked = Asked(
        account=key.account,
        key=key,
        values=values,
        now=now,
        choose_model=endpoint.choose_model,
        is_enterprise=endpoint.is_enterprise,
    )
    try:
        # Before anything is fetched that would be of no use.
        webhook = _webhook(values)
        take_in_pictures(values, now=now)
        request = endpoint.translate(asked)
    except InvalidField as error:
        raise renamed(error, values, endpoint.table) from None
    return Translated(
        request=request,
        options=_options(endpoint, asked),
        track_id=values.get("track_id", None),
        webhook=webhook,
        values=values,
    )


def _webhook(values: Values) -> WebhookWish | None:
    url: str = values.get("webhook", "")
    return WebhookWish(url=url, dialect=DIALECT) if url else None


def _options(endpoint: Endpoint, asked: Asked) -> ClientOptions:
    values = asked.values
    return {
        "family": endpoint.family,
        "shape": endpoint.shape,
        "base64": values.get("base64", False),
        "temp": values.get("temp", False),
        "instant_response": values.get("instant_response", False),
        "threshold": values.get("threshold", DEFAULT_THRESHOLD),
        "echo": values.addresses | asked.echo,
    }
