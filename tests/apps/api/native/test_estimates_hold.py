"""What POST /v1/estimate says is charged, for any kind and size; and nothing where nothing is delivered."""

from __future__ import annotations

import random
from typing import Any

import pytest

from apps.billing.models import UsageEvent
from apps.catalog.models import CatalogEntry
from apps.core import clock
from apps.generation.choices import DENOISING_KINDS, Kind
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from apps.quotas.models import DailyUsage
from tests.apps.api import jobs
from tests.apps.api.modelslab.workbench import install_utilities, mask, picture, run
from tests.apps.api.native.conftest import NativeClient
from tests.factories import make_adapter, make_checkpoint

SCENE = picture(64, 48)
HOLE = mask(64, 48)
PICTURES: dict[Kind, dict[str, Any]] = {
    Kind.TXT2IMG: {},
    Kind.IMG2IMG: {"image": SCENE},
    Kind.INPAINT: {"image": SCENE, "mask": HOLE},
    Kind.OUTPAINT: {"image": SCENE, "expand": {"left": 32, "bottom": 40}},
    Kind.CONTROLNET: {"controls": [{"type": "canny", "picture": SCENE}]},
    Kind.EDIT: {"image": SCENE, "model": "kontext"},
    Kind.UPSCALE: {"image": SCENE},
    Kind.REMOVE_BACKGROUND: {"image": SCENE},
    Kind.OBJECT_REMOVAL: {"image": SCENE, "mask": HOLE},
    Kind.FACE_SWAP: {"image": SCENE, "face_swap": {"source": SCENE}},
    Kind.DETECT: {"image": SCENE, "detect": {"type": "canny"}},
    Kind.CAPTION: {"image": SCENE},
    Kind.MASK: {"image": SCENE, "text": "a hat"},
    Kind.NSFW_CHECK: {"image": SCENE},
}
"""What each kind cannot do without."""
FIXED_SIZE = {Kind.OUTPAINT}


@pytest.fixture(autouse=True)
def weights(checkpoint: CatalogEntry) -> None:
    """Everything that any kind may need."""
    install_utilities()
    for variant in ("caption", "text_mask"):
        make_adapter(f"a-{variant}", kind="preprocessor", family="", variant=variant)
    make_adapter("control-canny", kind="controlnet", variant="canny")
    make_checkpoint("kontext", family="flux", variant="kontext", digest="1" * 64)


def draw(kind: Kind, seed: int) -> dict[str, Any]:
    """A request of this kind, like nobody's and the same each time."""
    dice = random.Random(f"{kind} {seed}")
    asked: dict[str, Any] = {"kind": kind, **PICTURES[kind]}
    if kind in DENOISING_KINDS:
        asked |= {"model": asked.get("model", "tiny"), "prompt": "a red fox"}
        asked["num_images"] = dice.randint(1, 3)
        if kind not in FIXED_SIZE:
            asked |= {"width": dice.randrange(64, 200, 8), "height": dice.randrange(64, 200, 8)}
        if dice.random() < 0.4:
            asked["upscale"] = dice.choice([{"factor": 2}, {"factor": 3}, {"width": 333, "height": 222}])
    if kind is Kind.UPSCALE:
        asked["upscale"] = dice.choice([{"factor": 4}, {"width": 130, "height": 99}, {"factor": 2}])
    if dice.random() < 0.3:
        asked["output"] = {"media_type": "image/webp"}
    return asked


def figures(body: Any) -> dict[str, int]:
    return {name: body[name] for name in ("calls", "images", "pixels")}


def settled() -> tuple[int, int]:
    """Calls of all days: charged, and held."""
    rows = DailyUsage.objects.all()
    return sum(row.settled for row in rows), sum(row.reserved for row in rows)


def submitted(ada: NativeClient, asked: dict[str, Any]) -> GenerationJob:
    answer = ada.post("/v1/jobs", asked)
    assert answer.status_code == 202, answer.content
    return GenerationJob.objects.get(pk=answer.json()["id"])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", Kind)
def test_the_estimate_is_the_charge(ada: NativeClient, kind: Kind, seed: int) -> None:
    asked = draw(kind, seed)
    said = ada.post("/v1/estimate", asked)
    assert said.status_code == 200, said.content
    assert (settled(), GenerationJob.objects.count()) == ((0, 0), 0)

    job = submitted(ada, asked)
    assert settled() == (0, said.json()["calls"])
    run(job.pk)

    event = UsageEvent.objects.get()
    assert figures(vars(event)) == figures(said.json())
    assert settled() == (event.calls, 0)


@pytest.mark.parametrize("end", ["failed", "canceled"])
def test_what_delivers_nothing_takes_nothing(ada: NativeClient, end: str) -> None:
    job = submitted(ada, draw(Kind.TXT2IMG, 0))
    assert job.api_key is not None
    if end == "failed":
        jobs.fail(jobs.claim(job))
    else:
        cancel_job(job=job, actor=job.api_key.ref, now=clock.now())

    assert settled() == (0, 0)
    assert not UsageEvent.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [{"steps": 0}, {"model": "nope"}, {"prompt": "a nude child"}, {"num_images": 16}, {"width": 4097}],
    ids=str,
)
def test_what_would_be_refused_is_refused_an_estimate_alike(ada: NativeClient, wrong: dict[str, Any]) -> None:
    asked = draw(Kind.TXT2IMG, 0) | wrong
    answers = [ada.post(path, asked) for path in ("/v1/estimate", "/v1/jobs")]

    problems = [{**answer.json(), "request_id": ""} for answer in answers]
    assert problems[0] == problems[1]
    assert answers[0].status_code == answers[1].status_code == 400
    assert jobs.traces() == jobs.NOTHING
