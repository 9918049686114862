"""Endpoints of the native API for the caller itself: the account's keys, and what it has used."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from django.http import HttpResponse
from rest_framework.request import Request

from apps.api.bodies import read_fields
from apps.api.native.keys_fields import read_key, read_list, renamed
from apps.api.native.keys_render import UsageFacts, key_body, usage_body
from apps.api.native.models import json_response
from apps.api.native.money_render import money_of
from apps.api.native.views import NativeView
from apps.apikeys.choices import Scope
from apps.apikeys.delegation import access_key, issue_by_key, revoke_by_key
from apps.apikeys.models import ApiKey
from apps.core import clock
from apps.core.errors import InvalidField
from apps.generation.devices import kept_devices
from apps.generation.selectors import count_open_jobs
from apps.plans.selectors import get_entitlements
from apps.quotas.selectors import get_key_caps, get_month, get_usage, list_budgets, list_days

HISTORY_DAYS: Final = 30


class KeyListView(NativeView):
    """Keys of the account, newest first, and the way to a new one."""

    def get(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.KEYS_WRITE)
        limit, before = read_list(http.GET)
        now = clock.now()
        rows = list(
            ApiKey.objects.filter(account_id=key.account_id, is_portal=False, pk__lt=before).order_by("-pk")[
                : limit + 1
            ]
        )
        shown = rows[:limit]
        return json_response(
            {
                "items": [key_body(row, asked_by=key, now=now) for row in shown],
                "next_cursor": str(shown[-1].pk) if len(rows) > limit else None,
            }
        )

    def post(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.KEYS_WRITE)
        terms = read_key(read_fields(http))
        now = clock.now()
        # Without Idempotency-Key: the answer would be kept, and the secret with it.
        try:
            issued = issue_by_key(maker=key, terms=terms, now=now)
        except InvalidField as error:
            raise renamed(error) from None
        body = {"key": issued.plaintext, **key_body(issued.key, asked_by=key, now=now)}
        return json_response(body, HTTPStatus.CREATED)


class KeyView(NativeView):
    """One key, by the public part of its text; `current` is the key that asks, whatever its scopes."""

    def get(self, request: Request, key_id: str) -> HttpResponse:
        http = request._request
        if key_id == "current":
            key = found = self.find_caller(http, {})
        else:
            key = self.identify(http, {}, Scope.KEYS_WRITE)
            found = access_key(maker=key, prefix=key_id)
        return json_response(key_body(found, asked_by=key, now=clock.now()))

    def delete(self, request: Request, key_id: str) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.KEYS_WRITE)
        now = clock.now()
        revoked = revoke_by_key(maker=key, prefix=key_id, now=now)
        return json_response(key_body(revoked, asked_by=key, now=now))


class UsageView(NativeView):
    """Today's calls, the queue, what the plan allows, and the days before."""

    def get(self, request: Request) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.JOBS_READ)
        account, now = key.account, clock.now()
        entitlements = get_entitlements(account)
        facts = UsageFacts(
            key=key,
            usage=get_usage(account=account, entitlements=entitlements, now=now),
            month=get_month(account=account, entitlements=entitlements, now=now),
            caps=get_key_caps(account=account, keys=[key], now=now)[key.pk],
            budgets=[
                each
                for each in list_budgets(account=account, now=now)
                if each.budget.api_key_id in (None, key.pk)
            ],
            money=money_of(account, now=now),
            entitlements=entitlements,
            open_jobs=count_open_jobs(account=account, api_key=key),
            devices=kept_devices(account=account, now=now),
            days=list_days(account=account, now=now, count=HISTORY_DAYS),
        )
        return json_response(usage_body(facts))
