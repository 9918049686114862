"""Bodies of events. Each dialect renders its own: settings.WEBHOOK_BODIES names the function of each.

Knows no dialect, and nothing of what a body says.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, cast

from django.conf import settings
from django.utils.module_loading import import_string

TEST_EVENT = "webhook.test"
TEST_DIALECT = "test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What is told."""

    event_id: str
    name: str
    """`job.` or `import.` and the state that it ended in, or `webhook.test`."""
    job_id: int | None
    """None for tests and imports."""
    created_at: datetime
    import_id: int | None = None


BodyOf: TypeAlias = Callable[[Event], Mapping[str, object]]
"""From an event to the body's JSON, which must be serialisable. Called again once a body has expired."""


def render_body(event: Event, *, dialect: str) -> bytes:
    """The event as `dialect` tells it. Raises whatever its function raises."""
    body_of = cast(BodyOf, import_string(settings.WEBHOOK_BODIES[dialect]))
    return json.dumps(body_of(event), separators=(",", ":"), allow_nan=False).encode("ascii")


def test_body(event: Event) -> Mapping[str, object]:
    """What the test button sends: nothing that a receiver could take for a job."""
    return {
        "type": TEST_EVENT,
        "timestamp": event.created_at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "data": {"message": "This is a test from your image server; nothing has happened."},
    }
