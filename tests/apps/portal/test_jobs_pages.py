"""The jobs log: found by what it says, seen by who may, tried again, stopped and cleared."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client

from apps.apikeys.portal import portal_key
from apps.artifacts.models import Artifact
from apps.audit.models import AuditEvent
from apps.core import clock as core_clock
from apps.generation.models import GenerationJob
from apps.portal.jobs.shown import redacted
from apps.portal.paging import PAGE
from tests.apps.api import jobs as worker
from tests.apps.api.client import ApiClient
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint

LIST = "/portal/jobs"
XSS = '<script>alert("x")</script>'


@pytest.fixture(autouse=True)
def checkpoint(cast: Cast) -> None:
    make_checkpoint("tiny")
    make_checkpoint("other")


def submit(cast: Cast, **fields: Any) -> GenerationJob:
    body = {"model": "tiny", "prompt": "a red fox"} | fields
    response = ApiClient(cast.key_text).post("/v1/jobs", body)
    assert response.status_code == 202, response.content
    return GenerationJob.objects.get(pk=response.json()["id"])


def done(cast: Cast, **fields: Any) -> GenerationJob:
    return worker.finish(worker.claim(submit(cast, **fields)))


def act(browser: Client, job: GenerationJob, what: str, **fields: Any) -> Any:
    return browser.post(f"{LIST}/{job.pk}/{what}", {"token": str(uuid4())} | fields, follow=True)


def listed(browser: Client, query: str = "") -> set[int]:
    response = browser.get(f"{LIST}{query}")
    assert response.status_code == 200
    return {shown.job.pk for shown in response.context["jobs"]}


def test_the_log_shows_what_was_asked_and_what_came_of_it(ada: Client, cast: Cast) -> None:
    job = done(cast)

    html = ada.get(LIST).content.decode()

    assert f"#{job.pk}" in html and "a red fox" in html and "Succeeded" in html and "test key" in html
    assert html.count('<img src="/media/') == 1, "without a host: pages may have another name than the API"


@pytest.mark.parametrize(
    ("query", "finds"),
    [
        ("?state=queued", {"open"}),
        ("?state=succeeded", {"done", "other"}),
        ("?kind=txt2img", {"open", "done", "other"}),
        ("?kind=upscale", set()),
        ("?model=other", {"other"}),
        ("?model=%00", set()),
        ("?since=2026-03-02", {"open", "done", "other"}),
        ("?since=2026-03-03", set()),
        ("?until=2026-03-02", {"open", "done", "other"}),
        ("?until=2026-03-01", set()),
        ("?until=9999-12-31", {"open", "done", "other"}),
        ("?since=nonsense", {"open", "done", "other"}),
        ("?state=nonsense", {"open", "done", "other"}),
        ("?before=0", set()),
        ("?before=-1", {"open", "done", "other"}),
        ("?before=99999999999999999999", {"open", "done", "other"}),
    ],
)
def test_filters(ada: Client, cast: Cast, query: str, finds: set[str]) -> None:
    jobs = {"done": done(cast), "other": done(cast, model="other"), "open": submit(cast)}

    if "%00" in query:
        # The form refuses it; nothing is asked of the database.
        assert listed(ada, query) == {job.pk for job in jobs.values()}
        return
    assert listed(ada, query) == {jobs[name].pk for name in finds}


def test_jobs_of_one_key(ada: Client, cast: Cast) -> None:
    job = submit(cast)
    portal = portal_key(account=cast.account, now=core_clock.now())

    assert listed(ada, f"?key={cast.key.prefix}") == {job.pk}
    assert listed(ada, f"?key={portal.prefix}") == set()
    # A stranger's key is no choice, and tells nothing.
    assert listed(ada, f"?key={cast.strangers_key.prefix}") == {job.pk}


def test_days_are_the_accounts_own(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    cast.account.time_zone = "Pacific/Auckland"
    cast.account.save(update_fields=["time_zone"])
    job = submit(cast)

    assert listed(ada, "?since=2026-03-03") == {job.pk}, "noon in UTC is the next day there"


def test_pages_lead_on(ada: Client, cast: Cast) -> None:
    cast.plan.limits["queue_depth"] = 100
    cast.plan.save()
    jobs = [submit(cast) for _ in range(PAGE + 2)]

    first = ada.get(LIST)
    second = ada.get(f"{LIST}{first.context['page'].more}")

    assert len(first.context["jobs"]) == PAGE
    assert [shown.job.pk for shown in second.context["jobs"]] == [jobs[1].pk, jobs[0].pk]
    assert second.context["page"].more == "" and second.context["page"].newest


def test_a_job_shows_request_response_and_times(ada: Client, cast: Cast) -> None:
    job = done(cast, seed=7)

    response = ada.get(f"{LIST}/{job.pk}")

    html = response.content.decode()
    assert json.loads(response.context["request_json"])["request"]["seed"] == 7
    assert json.loads(response.context["response_json"])["state"] == "succeeded"
    assert "Where the time went" in html and "Waiting" in html


def test_secrets_are_not_shown(ada: Client, cast: Cast) -> None:
    job = submit(cast, webhook="https://example.com/hook?token=s3cret")

    html = ada.get(f"{LIST}/{job.pk}").content.decode()

    assert "example.com/hook" in html
    assert "s3cret" not in html


def test_redaction_reaches_everything() -> None:
    asked = {"api_key": "x", "deep": [{"Authorization": "y", "seed": 7}], "url": "https://me:pw@a/b?c=d"}

    assert redacted(asked) == {
        "api_key": "•••",
        "deep": [{"Authorization": "•••", "seed": 7}],
        "url": "https://a/b?•••",
    }


def test_a_prompt_stays_text(ada: Client, cast: Cast) -> None:
    job = submit(cast, prompt=XSS, track_id=XSS)

    for path in (LIST, f"{LIST}/{job.pk}", f"{LIST}/{job.pk}/row", f"{LIST}/{job.pk}/live"):
        html = ada.get(path).content.decode()
        assert XSS not in html


def test_open_jobs_are_asked_for_until_they_end(ada: Client, cast: Cast) -> None:
    job = submit(cast)

    assert "hx-get" in ada.get(f"{LIST}/{job.pk}/row").content.decode()
    live = ada.get(f"{LIST}/{job.pk}/live")
    assert live.status_code == 200 and "hx-get" in live.content.decode()

    worker.finish(worker.claim(job))
    row, live = (ada.get(f"{LIST}/{job.pk}/{part}") for part in ("row", "live"))
    # 286 ends htmx's asking, and the page is read anew with its pictures.
    assert (row.status_code, live.status_code, live["HX-Refresh"]) == (286, 286, "true")
    assert "hx-get" not in row.content.decode()


@pytest.mark.parametrize("path", ["", "/row", "/live", "/retry", "/cancel", "/delete"])
def test_a_strangers_job_is_not_found_and_noted(cleo: Client, cast: Cast, path: str) -> None:
    job = submit(cast)
    address = f"{LIST}/{job.pk}{path}"

    response = cleo.get(address) if path in ("", "/row", "/live") else act(cleo, job, path[1:])

    assert response.status_code == 404
    assert AuditEvent.objects.get(name="portal.foreign_id").account_id == cast.strangers_account.pk
    assert GenerationJob.objects.get().state == "queued"


def test_ids_beyond_what_there_can_be(ada: Client) -> None:
    assert ada.get(f"{LIST}/99999999999999999999999").status_code == 404


def test_a_viewer_looks_and_changes_nothing(viewer: Client, cast: Cast) -> None:
    finished, waiting = done(cast), submit(cast)

    page = viewer.get(f"{LIST}/{finished.pk}").content.decode()
    assert "Try again" not in page and "Delete" not in page
    for job, what in ((finished, "retry"), (finished, "delete"), (waiting, "cancel")):
        assert act(viewer, job, what).status_code == 403
    assert GenerationJob.objects.count() == 2
    assert Artifact.objects.filter(job_id=finished.pk).exists()
    assert not GenerationJob.objects.get(pk=waiting.pk).is_cancel_requested


def test_trying_again_asks_for_the_same(ada: Client, cast: Cast) -> None:
    job = done(cast, seed=7, width=256, height=128, steps=9, negative_prompt="fog", track_id="order 7")

    response = act(ada, job, "retry")

    again = GenerationJob.objects.exclude(pk=job.pk).get()
    assert f"Job {again.pk} was asked for." in response.content.decode()
    assert again.api_key is not None and again.api_key.is_portal
    assert again.request == job.request
    assert again.track_id == "order 7"


def test_a_double_click_tries_once(ada: Client, cast: Cast) -> None:
    job, token = done(cast), str(uuid4())

    for _ in range(2):
        act(ada, job, "retry", token=token)

    assert GenerationJob.objects.count() == 2


def test_trying_again_without_pictures_says_so(ada: Client, cast: Cast) -> None:
    job = submit(cast)
    request = job.request | {"kind": "img2img", "image": {"digest": "0" * 64, "width": 8, "height": 8}}
    GenerationJob.objects.filter(pk=job.pk).update(kind="img2img", request=request)

    page = act(ada, job, "retry").content.decode()

    assert "image" in page.lower()
    assert GenerationJob.objects.count() == 1


def test_canceling(ada: Client, cast: Cast) -> None:
    job = submit(cast)

    act(ada, job, "cancel")

    assert GenerationJob.objects.get().state == "canceled"
    assert "can be canceled" in act(ada, job, "cancel").content.decode()


def test_deleting_takes_the_pictures_and_leaves_the_line(ada: Client, cast: Cast) -> None:
    job = done(cast)

    assert "Pictures deleted: 1." in act(ada, job, "delete").content.decode()

    assert not Artifact.objects.filter(job_id=job.pk).exists()
    assert listed(ada) == {job.pk}
    assert "Pictures deleted: 0." in act(ada, job, "delete").content.decode()


def test_what_goes_on_has_no_pictures_to_delete(ada: Client, cast: Cast) -> None:
    job = submit(cast)

    assert "ended" in act(ada, job, "delete").content.decode()
    assert GenerationJob.objects.get().state == "queued"
