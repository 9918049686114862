"""What was there before an exchange of the native API or of OpenAI's dialect, and who asks.

Each situation is a function that uses the product's own services; what it returns are placeholders that the
request may use, such as `<job>`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.db import OperationalError
from pytest import MonkeyPatch

from apps.accounts.choices import SafetyRule
from apps.apikeys.choices import ALL_SCOPES, DEFAULT_SCOPES, Scope
from apps.artifacts.models import Artifact
from apps.catalog.models import CatalogEntry
from apps.core import clock
from apps.generation.deleting import delete_images
from apps.generation.models import GenerationJob
from apps.quotas.budgets import set_budget
from apps.webhooks.claiming import claim_due
from apps.webhooks.models import Delivery
from apps.webhooks.recording import Tried, record_attempts
from apps.webhooks.sending import Outcome
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.apps.generation.paying import fill_wallet, give_credit, publish_prices
from tests.apps.webhooks.rows import queue_row
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan, make_account, make_adapter, make_checkpoint, make_key

Known = Mapping[str, str]
FIRST: Final = {"Idempotency_Key": "first"}
WANTED: Final = {"model": "tiny", "prompt": "a red fox", "seed": 42}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where a situation is set up."""

    cast: Cast
    clock: FrozenClock
    settings: Any
    """pytest-django's, which are put back."""
    patches: MonkeyPatch

    @property
    def ada(self) -> ApiClient:
        return ApiClient(self.cast.key_text)

    def submit(self, **fields: object) -> GenerationJob:
        """A job of Ada's, queued."""
        answer = self.ada.post("/v1/jobs", WANTED | fields, **FIRST)
        assert answer.status_code == 202, answer.content
        return GenerationJob.objects.get(pk=answer.json()["id"])

    def known(self, job: GenerationJob) -> Known:
        return {"<job>": str(job.pk)}


def _queued(stage: Stage) -> Known:
    return stage.known(stage.submit())


def _running(stage: Stage) -> Known:
    job = stage.submit(previews=True)
    claimed = jobs.claim(job)
    stage.clock.advance(seconds=1.5)
    jobs.progress(claimed, 10)
    return stage.known(job)


def _finished(stage: Stage) -> Known:
    job = stage.submit(track_id="order 7")
    claimed = jobs.claim(job)
    stage.clock.advance(seconds=1.84)
    jobs.finish(claimed)
    return stage.known(job)


def _deleted(stage: Stage) -> Known:
    known = _finished(stage)
    job = GenerationJob.objects.get(pk=known["<job>"])
    delete_images(job=job, actor=stage.cast.key.ref, now=clock.now())
    return known


def _failed(stage: Stage) -> Known:
    job = stage.submit()
    jobs.fail(jobs.claim(job))
    return stage.known(job)


def _answered(stage: Stage) -> Known:
    """A request of OpenAI's dialect that has its images."""
    wanted = {"model": "tiny", "prompt": "a red fox"}
    answer = stage.ada.post("/v1/images/generations", wanted, Idempotency_Key="openai")
    assert answer.status_code == 200, answer.content
    return {}


def _expired(stage: Stage) -> Known:
    known = _answered(stage)
    Artifact.objects.all().delete()
    return known


def _several(stage: Stage) -> Known:
    for _ in range(3):
        assert stage.ada.post("/v1/jobs", WANTED).status_code == 202
    jobs.run_all()
    return {}


def _month_used_up(stage: Stage) -> Known:
    give_plan(stage.cast.account, calls_per_month=0)
    return {}


def _plan_for_another_model(stage: Stage) -> Known:
    give_plan(stage.cast.account, models=["another"])
    return {}


def _used_up(stage: Stage) -> Known:
    give_plan(stage.cast.account, calls_per_day=0)
    return {}


def no_money(stage: Stage) -> Known:
    """Every call costs 0.2 cents, and there is nothing that would pay."""
    give_plan(stage.cast.account, included_calls_per_month=0)
    publish_prices()
    return {}


def used_up_budget(stage: Stage) -> Known:
    """There is money, and a limit below the price of a call."""
    give_plan(stage.cast.account, included_calls_per_month=0)
    publish_prices(20_000)
    fill_wallet(stage.cast.account, 5_000_000)
    set_budget(
        account=stage.cast.account,
        api_key=None,
        limit_micro=10_000,
        is_hard=True,
        webhook_url="",
        actor=stage.cast.key.ref,
        now=clock.now(),
    )
    return {}


def _full_wallet(stage: Stage) -> Known:
    """Every call costs money, and there is enough."""
    no_money(stage)
    fill_wallet(stage.cast.account, 5_000_000)
    give_credit(stage.cast.account, 1_500)
    return {}


def _full_queue(stage: Stage) -> Known:
    give_plan(stage.cast.account, queue_depth=1)
    return _queued(stage)


def _one_image(stage: Stage) -> Known:
    give_plan(stage.cast.account, max_samples=1)
    return {}


def _no_upscaling(stage: Stage) -> Known:
    give_plan(stage.cast.account, kinds=["upscale"])
    return {}


def _catalogue(stage: Stage) -> Known:
    make_checkpoint("off", is_enabled=False)
    make_checkpoint("private", visibility="private", owner=stage.cast.account, aliases=["acme/private"])
    make_adapter("ink")
    make_adapter("wide", family="sdxl")
    return {}


def _with_preview(stage: Stage) -> Known:
    known = _catalogue(stage)
    preview = {"file": "a" * 64 + ".webp", "media_type": "image/webp", "width": 64, "height": 64}
    CatalogEntry.objects.filter(name="private").update(previews=[preview])
    return {**known, "<preview>": str(preview["file"])}


def _delivery(stage: Stage) -> Known:
    """One that was tried once in vain."""
    row = queue_row(stage.cast.account)
    outcome = Outcome(
        started_at=clock.now(),
        duration_ms=120,
        status=500,
        error="The endpoint answered 500.",
        answer="oh no",
        retry_after_s=3600.0,
    )
    claimed = claim_due(deliverer="me", now=clock.now())
    record_attempts([Tried(delivery=each, outcome=outcome) for each in claimed], now=clock.now())
    return {"<event>": row.event_id}


def _sending(stage: Stage) -> Known:
    row = queue_row(stage.cast.account)
    Delivery.objects.filter(pk=row.pk).update(state="sending", claimed_by="me")
    return {"<event>": row.event_id}


def _import(stage: Stage) -> Known:
    answer = stage.ada.post("/v1/imports", {"url": "https://example.com/a.safetensors"})
    assert answer.status_code == 202, answer.content
    return {"<import>": str(answer.json()["id"])}


def _canceled_import(stage: Stage) -> Known:
    known = _import(stage)
    assert stage.ada.post(f"/v1/imports/{known['<import>']}/cancel").status_code == 200
    return known


def _begun_upload(stage: Stage) -> Known:
    answer = stage.ada.post("/v1/imports/uploads", {"filename": "a.safetensors", "size_bytes": 10})
    assert answer.status_code == 201, answer.content
    return {"<upload>": str(answer.json()["id"])}


def _second_key(stage: Stage) -> Known:
    made = make_key(stage.cast.account, name="second", scopes=DEFAULT_SCOPES)
    return {"<second>": made.key.prefix}


def _block(stage: Stage) -> Known:
    stage.cast.account.safety = SafetyRule.BLOCK
    stage.cast.account.save(update_fields=["safety"])
    make_adapter("falcon", kind="safety", family="", variant="image")
    return {}


def _away(stage: Stage) -> Known:
    def refuse(*args: object, **options: object) -> None:
        raise OperationalError("the server is gone")

    stage.patches.setattr("apps.api.views.identify_caller", refuse)
    return {}


def _bug(stage: Stage) -> Known:
    def break_down(*args: object, **options: object) -> None:
        raise RuntimeError("nobody foresaw this")

    stage.patches.setattr("apps.api.views.identify_caller", break_down)
    return {}


def _small_bodies(stage: Stage) -> Known:
    stage.settings.MAX_BODY_BYTES = stage.settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1_000_000
    return {}


Situations = Mapping[str, Callable[[Stage], Known]]

SITUATIONS: Final[Situations] = {
    "nothing": lambda stage: {},
    "a queued job": _queued,
    "a running job": _running,
    "a finished job": _finished,
    "a finished job without its images": _deleted,
    "a failed job": _failed,
    "a finished request": _answered,
    "a finished request whose images are gone": _expired,
    "three finished jobs": _several,
    "a used-up quota": _used_up,
    "a used-up month": _month_used_up,
    "a plan for another model": _plan_for_another_model,
    "no money": no_money,
    "a used-up budget": used_up_budget,
    "a full wallet": _full_wallet,
    "a full queue": _full_queue,
    "a plan for 1 image": _one_image,
    "a plan for upscaling alone": _no_upscaling,
    "a catalogue": _catalogue,
    "a model with a preview": _with_preview,
    "a delivery that failed once": _delivery,
    "a delivery under way": _sending,
    "a queued import": _import,
    "a canceled import": _canceled_import,
    "an upload that has begun": _begun_upload,
    "a second key": _second_key,
    "an account whose rule is to block": _block,
    "a database that is away": _away,
    "a fault of ours": _bug,
    "a limit of 1 MB for bodies": _small_bodies,
}


def key_of(who: str, cast: Cast) -> str | None:
    """Whose key a request carries."""
    match who:
        case "ada":
            return cast.key_text
        case "cleo":
            return cast.strangers_key_text
        case "otto":
            return make_key(make_account("operator"), scopes=ALL_SCOPES).plaintext
        case "a reader":
            return make_key(cast.account, scopes=[Scope.JOBS_READ]).plaintext
        case "a key that sees to keys of one model":
            scopes = [*DEFAULT_SCOPES, Scope.KEYS_WRITE]
            return make_key(cast.account, scopes=scopes, allowed_checkpoints=["tiny"]).plaintext
        case "a key for another model":
            return make_key(cast.account, allowed_checkpoints=["other"]).plaintext
        case "a forged key":
            return "dkr_00000000_" + "0" * 40
        case "nobody":
            return None
    raise ValueError(f"nobody is called {who!r}")
