"""Every recorded exchange of the AUTOMATIC1111 dialect, replayed; and whether one is missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from apps.api.a1111 import controlnet_views, errors, extras
from apps.api.a1111.fields import FIELDS, IMG2IMG, TXT2IMG, fields_of
from apps.api.a1111.urls import LISTS
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.apps.api.a1111.conftest import deliver, stop
from tests.architecture.test_errors import section
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.contracts.a1111_situations import A1111_SITUATIONS, words_of
from tests.contracts.coverage import Endpoint, codes_shown, endpoints_below, unrecorded
from tests.contracts.recording import Exchange, list_exchanges
from tests.contracts.replay import check
from tests.contracts.situations import Stage
from tests.factories import make_checkpoint

EXCHANGES = list_exchanges("a1111")
BASES = ("/sdapi/", "/internal/", "/controlnet/")
OPEN_TO_ALL = "GET /internal/ping has no exchange that is refused"


def _wait(job: GenerationJob) -> None:
    """Nobody works on it."""


ENDS: dict[str, Callable[[GenerationJob], object]] = {
    "<delivered>": deliver,
    "<fails>": jobs.fail,
    "<blocked>": lambda job: jobs.fail(job, "blocked_content", "The image was blocked by a rule."),
    "<interrupted>": stop,
    "<late>": _wait,
    # Nobody works on it and its time is not over: there was no place to wait.
    "<crowded>": _wait,
}
"""What becomes of a job while its caller waits, by a word in the exchange's prompt."""


@pytest.fixture
def stage(cast: Cast, clock: FrozenClock, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """With a model, a worker that ends jobs as soon as somebody waits for them, and 8 GB of memory."""

    def follow(job: GenerationJob, *, timeout_s: float) -> Iterator[GenerationJob]:
        if not job.is_terminal:
            word = next((word for word in ENDS if word in job.resolved.prompt), "<delivered>")
            ENDS[word](jobs.claim(job))
        job.refresh_from_db()
        yield job

    pages = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 2_000_000, "SC_AVPHYS_PAGES": 500_000}
    monkeypatch.setattr("apps.api.a1111.lists.os", SimpleNamespace(sysconf=pages.__getitem__))
    monkeypatch.setattr("apps.api.a1111.jobs.follow_job", follow)
    make_checkpoint("tiny", digest="0123456789abcdef" * 4)
    return Stage(cast=cast, clock=clock, settings=settings, patches=monkeypatch)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=[exchange.name for exchange in EXCHANGES])
def test_exchange(exchange: Exchange, stage: Stage) -> None:
    if "<late>" in exchange.request.get("body", {}).get("prompt", ""):
        stage.settings.A1111_WAIT_S = 0.0
    check(exchange, stage, A1111_SITUATIONS, **words_of(stage))


def routes() -> list[Endpoint]:
    """Every method of every path of the dialect."""
    return endpoints_below(*BASES)


def test_routes_are_found() -> None:
    # As many as section 16.1 of the wire facts has; an empty list would make the next test say nothing.
    assert len(routes()) == 43


def test_each_route_has_exchanges() -> None:
    assert unrecorded(routes(), EXCHANGES) == [OPEN_TO_ALL]


def test_a_route_without_exchanges_is_missed() -> None:
    without = [exchange for exchange in EXCHANGES if not exchange.request["path"].startswith("/internal/p")]

    assert "POST /internal/progress has no exchange that succeeds" in unrecorded(routes(), without)


def codes() -> set[str]:
    """The dialect's own, as its module defines them."""
    named = re.findall(r'^[A-Z_]+: Final = "([a-z_]+)"$', Path(errors.__file__).read_text(), re.MULTILINE)
    return set(named)


def test_each_code_of_the_dialect_has_a_row() -> None:
    assert section("Codes of AUTOMATIC1111").keys() | {"database_unavailable"} == codes()


def test_each_code_of_the_dialect_has_an_exchange() -> None:
    assert codes() - codes_shown(EXCHANGES) == set()


def test_each_fault_has_an_exchange() -> None:
    assert section("Faults").keys() - codes_shown(EXCHANGES) == {"bad_request"}


def test_every_field_of_a_generation_is_in_an_exchange() -> None:
    for endpoint in (TXT2IMG, IMG2IMG):
        sent: set[str] = set()
        for exchange in EXCHANGES:
            if exchange.request["path"] == f"/sdapi/v1/{endpoint}":
                sent |= set(exchange.request.get("body", {}))
        assert {field.name for field in fields_of(endpoint)} - sent == set(), endpoint
        assert sent - {field.name for field in FIELDS} == {"unknown_field"}, endpoint


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/sdapi/v1/extra-single-image", {"image", *extras.FIELDS}),
        ("/controlnet/detect", {"controlnet_input_images", *controlnet_views.DETECT_FIELDS}),
    ],
)
def test_every_field_of_other_posts_is_in_an_exchange(path: str, names: set[str]) -> None:
    asked = [each.request.get("body", {}) for each in EXCHANGES if each.request["path"] == path]

    assert names <= {name for body in asked for name in body}


def test_every_list_is_recorded_with_something_in_it() -> None:
    empty = {"hypernetworks", "prompt-styles"}
    shown = {
        exchange.request["path"]: exchange.response["body"]
        for exchange in EXCHANGES
        if exchange.response.get("status") == 200 and exchange.request["method"] == "GET"
    }

    for name in (*LISTS, "options"):
        assert bool(shown[f"/sdapi/v1/{name}"]) is (name not in empty), name
