"""The page about webhooks names every field, path and delay there is, and no other."""

from __future__ import annotations

import re

from django.conf import settings

from apps.api.native.webhooks_fields import LIST_PARAMETERS, REPLAY_FIELDS, SECRET_FIELDS, TEST_FIELDS
from apps.api.native.webhooks_urls import urlpatterns
from apps.config.version import REPOSITORY_ROOT
from apps.webhooks.choices import DeliveryState
from apps.webhooks.circuit import TRIP_AFTER

PAGE = (REPOSITORY_ROOT / "templates" / "docs" / "webhooks.md").read_text(encoding="utf-8")
UNITS_S = {"second": 1, "minute": 60, "hour": 3600}


def rows(title: str) -> set[str]:
    """First cells of the table below a heading."""
    text = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE))


def test_fields_and_parameters() -> None:
    assert rows("Parameters of the log") == LIST_PARAMETERS.keys()
    assert rows("Fields of a test") == TEST_FIELDS.keys()
    assert rows("Fields of a replay") == REPLAY_FIELDS.keys()
    assert rows("Fields of a secret") == SECRET_FIELDS.keys()


def test_paths() -> None:
    told = set(re.findall(r"`(?:GET|POST) /v1/(webhooks/[a-z_{}/]+)` \|", PAGE))
    assert told == {str(pattern.pattern).replace("<str:event_id>", "{id}") for pattern in urlpatterns}


def test_states() -> None:
    for state in DeliveryState.values:
        assert f"`{state}`" in PAGE


def test_delays_and_limits() -> None:
    sentence = " ".join(PAGE.split("the next follows in ")[1].split("each give or take")[0].split())
    told = [
        int(number) * UNITS_S[unit] for number, unit in re.findall(r"(\d+) (second|minute|hour)s?", sentence)
    ]
    assert told == list(settings.WEBHOOK_RETRY_S)
    first_s, longest_s = settings.WEBHOOK_PAUSE_S
    assert (first_s, longest_s, TRIP_AFTER) == (30, 3600, 5)
    assert "Five failures in a row make it pause for 30 seconds" in PAGE
    assert f"At most {settings.WEBHOOK_PER_ENDPOINT} attempts" in PAGE
