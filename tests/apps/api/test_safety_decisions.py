"""The matrix of safety: rule, wish, prompt and image; what each answer says of it, and what is charged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from apps.accounts.choices import SafetyRule
from apps.api.modelslab.webhooks import webhook_body
from apps.billing.models import UsageEvent
from apps.core import clock
from apps.generation.choices import Replacement
from apps.generation.lifecycle import finish_job, lease_of
from apps.generation.models import GenerationJob
from apps.generation.settler import RunningJob, result_of
from apps.quotas.models import DailyUsage
from apps.webhooks.bodies import Event
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.apps.api.native.conftest import NativeClient
from tests.apps.api.openai.conftest import OpenAIClient, error_of
from tests.cast import Cast
from tests.factories import make_adapter, make_checkpoint, write_artifact

CLEAN = "a red fox"
UNDRESSED = "a nude woman on a sofa"
SAFE, UNSAFE = 0.1, 0.9
WISHES: list[str | None] = [None, *Replacement]
OFF, FLAG, BLUR, BLOCK = SafetyRule


def decision(rule: SafetyRule, wish: str | None) -> str:
    """About an unsuitable image. The caller may ask for more than the rule wants, never for less."""
    if rule is BLOCK:
        return "blocked"
    if rule is BLUR or wish:
        return "replaced"
    return "flagged" if rule is FLAG or wish is not None else "not looked at"


def work(job: GenerationJob, score: float) -> None:
    """What a worker does with images of this score: as the job's check says."""
    claimed = jobs.claim(job)
    check = claimed.resolved.check
    is_unsuitable = score >= 0.5
    if check is not None and check.is_blocking and is_unsuitable:
        jobs.fail(claimed, "blocked_content", "The image was not delivered.")
        return
    running = RunningJob(lease=lease_of(claimed), group=claimed.artifact_group, attempt=claimed.attempt)
    if check is not None:
        is_replaced = is_unsuitable and bool(check.replacement)
        running.notes[0] = {"nsfw": score, "is_nsfw": is_unsuitable, "is_replaced": is_replaced}
    finish_job(
        lease=lease_of(claimed),
        artifacts=[write_artifact(group=claimed.artifact_group)],
        timings={},
        worker=jobs.WORKER,
        now=clock.now(),
        result=result_of(running, {}),
    )


def charged() -> int:
    assert sum(row.reserved for row in DailyUsage.objects.all()) == 0
    return UsageEvent.objects.count()


@pytest.fixture(autouse=True)
def weights(cast: Cast) -> None:
    make_checkpoint("tiny")
    make_adapter("open-nsfw", kind="safety", family="", variant="image")


def set_rule(cast: Cast, rule: SafetyRule) -> None:
    cast.account.safety = rule
    cast.account.save(update_fields=["safety"])


def wished(wish: str | None) -> dict[str, Any]:
    """None asks for nothing, "" for a look alone."""
    if wish is None:
        return {}
    return {"safety": {"check": True, "replacement": wish} if wish else {"check": True}}


@pytest.mark.parametrize("score", [SAFE, UNSAFE])
@pytest.mark.parametrize("prompt", [CLEAN, UNDRESSED])
@pytest.mark.parametrize("rule", SafetyRule)
def test_native(cast: Cast, rule: SafetyRule, prompt: str, score: float) -> None:
    ada = NativeClient(cast.key_text)
    set_rule(cast, rule)
    for wish in WISHES:
        before = charged()
        answer = ada.create(prompt=prompt, **wished(wish))
        if rule is BLOCK and prompt == UNDRESSED:
            assert (answer.status_code, answer.json()["code"]) == (400, "prompt_blocked")
            assert "found: nude" in answer.json()["detail"]
            assert (charged(), GenerationJob.objects.count()) == (0, 0)
            continue
        work(GenerationJob.objects.get(pk=answer.json()["id"]), score)

        body = ada.get(f"/v1/jobs/{answer.json()['id']}").json()

        images = decision(rule, wish) if score == UNSAFE else "passed"
        images = "not looked at" if decision(rule, wish) == "not looked at" else images
        is_flagged = prompt == UNDRESSED and rule is not OFF
        said = body["safety"] or {"prompt": None, "images": None, "reason": None}
        assert said["images"] == (None if images == "not looked at" else images), wish
        assert said["prompt"] == ("flagged" if is_flagged else None), wish
        assert bool(said["reason"]) == (is_flagged or images in ("flagged", "replaced", "blocked")), wish
        assert body["state"] == ("failed" if images == "blocked" else "succeeded"), wish
        assert charged() - before == (0 if images == "blocked" else 1), wish


def test_the_reason_names_terms_and_scores(cast: Cast) -> None:
    ada = NativeClient(cast.key_text)
    set_rule(cast, BLUR)
    job_id = ada.create(prompt=UNDRESSED).json()["id"]
    work(GenerationJob.objects.get(pk=job_id), UNSAFE)

    assert ada.get(f"/v1/jobs/{job_id}").json()["safety"] == {
        "prompt": "flagged",
        "terms": ["nude"],
        "images": "replaced",
        "reason": "The prompt names: nude. 1 of 1 images found unsuitable and replaced: 0.90 of 1, where"
        " 0.5 is the limit.",
    }


@pytest.mark.parametrize(
    ("score", "severity"), [(SAFE, "safe"), (0.3, "low"), (0.6, "medium"), (UNSAFE, "high")]
)
def test_openai_says_it_of_each_image(
    cast: Cast, openai_worker: list[float], score: float, severity: str
) -> None:
    set_rule(cast, BLUR)
    openai_worker.append(score)
    client = OpenAIClient(cast.key_text)

    [image] = client.generate(prompt=UNDRESSED).json()["data"]
    event = b"".join(client.generate(prompt=CLEAN, stream=True).streaming_content)

    filtered = {"sexual": {"filtered": score >= 0.5, "severity": severity}}
    assert image["content_filter_results"] == filtered
    assert image["prompt_filter_results"] == {"sexual": {"filtered": False, "severity": "medium"}}
    assert f'"severity":"{severity}"'.encode() in event
    assert b"prompt_filter_results" not in event


def test_a1111_says_it_among_the_parameters(cast: Cast, a1111_worker: list[float]) -> None:
    set_rule(cast, BLUR)
    client, path = ApiClient(cast.key_text), "/sdapi/v1/txt2img"
    said = []
    for score in (UNSAFE, SAFE):
        a1111_worker.append(score)
        answer = client.post(path, {"prompt": CLEAN, "width": 64, "height": 64})
        said.append(json.loads(answer.json()["info"])["extra_generation_params"].get("Safety"))

    assert said == ["1 of 1 images found unsuitable and replaced: 0.90 of 1, where 0.5 is the limit.", None]


@pytest.mark.parametrize("score", [SAFE, UNSAFE])
@pytest.mark.parametrize("prompt", [CLEAN, UNDRESSED])
@pytest.mark.parametrize("rule", [OFF, FLAG, BLUR])
def test_modelslab_says_it_as_the_native_api_does(
    cast: Cast, rule: SafetyRule, prompt: str, score: float
) -> None:
    set_rule(cast, rule)
    client = ApiClient(cast.key_text)
    job_id = client.submit(prompt=prompt).json()["id"]
    work(GenerationJob.objects.get(pk=job_id), score)

    said = client.post(f"/api/v6/images/fetch/{job_id}").json()["meta"].get("safety")

    assert said == NativeClient(cast.key_text).get(f"/v1/jobs/{job_id}").json()["safety"]
    assert (said is None) == (rule is OFF)


def test_modelslab_says_why_it_blocked_in_fetches_and_webhooks(cast: Cast) -> None:
    set_rule(cast, BLOCK)
    client = ApiClient(cast.key_text)
    job_id = client.submit().json()["id"]
    work(GenerationJob.objects.get(pk=job_id), UNSAFE)
    event = Event(event_id="e", name="job.failed", job_id=job_id, created_at=clock.now())

    fetched = client.post(f"/api/v6/images/fetch/{job_id}").json()
    told = webhook_body(event)

    assert (fetched["status"], told["status"]) == ("error", "failed")
    assert (
        fetched["meta"]
        == told["meta"]
        == {
            "safety": {
                "prompt": None,
                "terms": [],
                "images": "blocked",
                "reason": "An image looks unsuitable, and this account's rule is to block those.",
            }
        }
    )


def test_modelslab_tells_webhooks_of_a_success_what_was_found(cast: Cast) -> None:
    set_rule(cast, BLUR)
    job_id = ApiClient(cast.key_text).submit().json()["id"]
    work(GenerationJob.objects.get(pk=job_id), UNSAFE)
    event = Event(event_id="e", name="job.succeeded", job_id=job_id, created_at=clock.now())

    meta: Any = webhook_body(event)["meta"]

    assert meta["safety"]["images"] == "replaced"
    assert "found unsuitable and replaced" in meta["safety"]["reason"]


def test_modelslab_says_it_with_a_flag(cast: Cast) -> None:
    set_rule(cast, BLUR)
    client = ApiClient(cast.key_text)
    flags = []
    for score in (UNSAFE, SAFE):
        work(GenerationJob.objects.get(pk=client.submit().json()["id"]), score)
        job_id = GenerationJob.objects.latest("pk").pk
        flags.append(client.post(f"/api/v6/images/fetch/{job_id}").json()["nsfw_content_detected"])

    assert flags == [True, False]


def test_openai_says_nothing_where_nothing_was_looked_at(cast: Cast, openai_worker: list[float]) -> None:
    openai_worker.append(UNSAFE)

    [image] = OpenAIClient(cast.key_text).generate(prompt=UNDRESSED).json()["data"]

    assert image.keys() == {"b64_json"}


def test_openai_is_refused_what_a_rule_blocks(cast: Cast, openai_worker: list[float]) -> None:
    set_rule(cast, BLOCK)
    openai_worker.append(UNSAFE)
    client = OpenAIClient(cast.key_text)

    status, error = error_of(client.generate(prompt=CLEAN))
    assert (status, error["code"], error["type"]) == (
        400,
        "moderation_blocked",
        "image_generation_user_error",
    )
    status, error = error_of(client.generate(prompt=UNDRESSED))
    assert (status, error["code"], error["param"]) == (400, "content_policy_violation", "prompt")
    assert charged() == 0


def work_for_waiters(monkeypatch: pytest.MonkeyPatch, place: str) -> list[float]:
    """Ends jobs as soon as somebody waits; the score that is put in last is that of their images."""
    scores: list[float] = []

    def follow(job: GenerationJob, *, timeout_s: float) -> Iterator[GenerationJob]:
        if not job.is_terminal:
            work(job, scores[-1])
        job.refresh_from_db()
        yield job

    monkeypatch.setattr(place, follow)
    return scores


@pytest.fixture
def openai_worker(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return work_for_waiters(monkeypatch, "apps.api.openai.outcomes.follow_job")


@pytest.fixture
def a1111_worker(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    return work_for_waiters(monkeypatch, "apps.api.a1111.jobs.follow_job")
