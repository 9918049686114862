"""Idempotency keys for acts that make no job: a repeat of a request gets the answer of the first.

The record is written after the act, not with it: where two twins race, what they ask for must itself refuse
to happen twice. The loser then finds the winner's answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from django.db import transaction
from django.http import HttpRequest, HttpResponse

from apps.api.bodies import read_body
from apps.apikeys.models import ApiKey
from apps.core import clock
from apps.core.errors import Conflict
from apps.generation.idempotency import (
    IdempotencyClaim,
    StoredResponse,
    find_record,
    make_claim,
    store_response,
    stored_response,
    take_key,
)

Locate = Callable[[Mapping[str, Any]], str]
"""From the answer's JSON (Any) to the path of what was made."""
REPLAYED: Final = "Idempotent-Replayed"
"""A header of answers that are an earlier one's."""


def answer_once(
    http: HttpRequest,
    key: ApiKey,
    act: Callable[[], HttpResponse],
    *,
    claim: IdempotencyClaim | None = None,
    locate: Locate | None = None,
) -> HttpResponse:
    """`act`'s answer, or that of an earlier request with the same Idempotency-Key.

    The claim is made of the body unless one is given, for bodies that a library never sends twice alike.
    `locate` says what `Location` is, for the first answer as for repeats, of which the body alone is kept.
    Raises what `act` raises, and the refusals of the key: unusable, or used for something else.
    """
    answer = _answer(http, key, act, claim)
    if locate is not None:
        answer.headers["Location"] = locate(json.loads(answer.content))
    return answer


def _answer(
    http: HttpRequest, key: ApiKey, act: Callable[[], HttpResponse], claim: IdempotencyClaim | None
) -> HttpResponse:
    text = http.headers.get("Idempotency-Key")
    if text is None:
        return act()
    claim = claim or make_claim(key=text, method="POST", path=http.path, body=read_body(http))
    earlier = _find_answer(key, claim)
    if earlier is not None:
        return earlier
    try:
        answer = act()
    except Conflict:
        # A twin may have been faster.
        earlier = _find_answer(key, claim)
        if earlier is None:
            raise
        return earlier
    with transaction.atomic():
        take_key(account_id=key.account_id, claim=claim, now=clock.now())
    kept = StoredResponse(
        status=answer.status_code, content_type=answer.headers["Content-Type"], body=answer.content
    )
    store_response(account_id=key.account_id, key=claim.key, response=kept)
    return answer


def _find_answer(key: ApiKey, claim: IdempotencyClaim) -> HttpResponse | None:
    record = find_record(account_id=key.account_id, claim=claim)
    stored = stored_response(record) if record else None
    if stored is None:
        return None
    return HttpResponse(
        stored.body,
        status=stored.status,
        content_type=stored.content_type,
        headers={REPLAYED: "true"},
    )
