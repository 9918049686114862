"""What was there before an exchange of the AUTOMATIC1111 dialect, beside what is there before others."""

from __future__ import annotations

import base64
from typing import Any, Final

from apps.catalog.models import CatalogEntry
from apps.core import clock
from apps.generation.choices import Kind
from apps.generation.deleting import delete_images
from apps.generation.lifecycle import lease_of
from apps.generation.models import GenerationJob
from apps.generation.progress import keep_previews
from apps.generation.request import GenerationRequest
from apps.generation.services import submit_generation
from gpu_runtime.messages import Preview
from gpu_runtime.metadata.files import with_texts
from gpu_runtime.work import Encoding
from tests.apps.api import jobs
from tests.apps.api.a1111.conftest import A1111Client, picture
from tests.contracts.situations import SITUATIONS, Known, Situations, Stage
from tests.factories import give_plan, make_adapter, make_checkpoint, png_bytes

TASK: Final = "task(txt2img-abc1234)"
INFOTEXT: Final = (
    "a lighthouse\nNegative prompt: fog\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x768"
)
REPEATED: Final[dict[str, Any]] = {"prompt": "a red fox", "width": 64, "height": 64, "seed": 42}


def _waiting(stage: Stage) -> Known:
    submit_generation(
        account=stage.cast.account,
        api_key=stage.cast.key,
        request=GenerationRequest(kind=Kind.TXT2IMG, checkpoint="tiny", prompt="a red fox", steps=20),
        client_options={"dialect": "a1111", "task_id": TASK, "n_iter": 2, "batch_size": 1},
        track_id=None,
        now=clock.now(),
    )
    return {}


def _running(stage: Stage) -> Known:
    _waiting(stage)
    job = jobs.claim()
    jobs.progress(job, 5)
    data = png_bytes(width=16, height=16)
    keep_previews({lease_of(job): Preview(request_id="1", index=0, step=5, data=data)})
    return {}


def _ended(stage: Stage) -> Known:
    _waiting(stage)
    jobs.finish(jobs.claim())
    return {}


def _repeated(stage: Stage) -> Known:
    """An earlier request of Ada's with the key "first"; its images are there."""
    answer = A1111Client(stage.cast.key_text).post("txt2img", REPEATED, Idempotency_Key="first")
    assert answer.status_code == 200, answer.content
    return {}


def _expired(stage: Stage) -> Known:
    _repeated(stage)
    delete_images(job=GenerationJob.objects.get(), actor=stage.cast.key.ref, now=clock.now())
    return {}


def _models(stage: Stage) -> Known:
    """One or two of every kind that lists of the dialect tell of."""
    make_checkpoint("portrait-xl", family="sdxl", digest="f" * 64, aliases=["portrait"])
    make_adapter("bright", kind="vae")
    make_adapter("ink", aliases=["ink-wash"], trigger_words=["ink drawing"])
    make_adapter("bad-hands", kind="embedding", details={"vectors": 8, "width": 768})
    make_adapter("realesrgan-x4plus", kind="upscaler", family="", details={"scale": 4})
    make_adapter("sharp-x2", kind="upscaler", family="", details={"scale": 2})
    make_adapter("canny-net", kind="controlnet", variant="canny")
    make_adapter("pose-net", kind="preprocessor", family="", variant="openpose")
    for variant in ("gfpgan", "detection", "landmarks"):
        make_adapter(f"faces-{variant}", kind="face", family="", variant=variant)
    return {}


def _captions(stage: Stage) -> Known:
    make_adapter("blip", kind="preprocessor", family="", variant="caption")
    return {}


def _no_model(stage: Stage) -> Known:
    CatalogEntry.objects.all().delete()
    return {}


def _one_call(stage: Stage) -> Known:
    give_plan(stage.cast.account, calls_per_day=1)
    return {}


A1111_SITUATIONS: Final[Situations] = {
    **SITUATIONS,
    "a task that waits": _waiting,
    "a task under way": _running,
    "a task that has ended": _ended,
    "an earlier request with the same key": _repeated,
    "an earlier request whose images have expired": _expired,
    "models of every kind": _models,
    "a model for captions": _captions,
    "no model at all": _no_model,
    "a quota of 1 call": _one_call,
}


def words_of(stage: Stage) -> dict[str, str]:
    """Placeholders of requests: pictures, and Ada's key as HTTP Basic."""
    basic = A1111Client(stage.cast.key_text).headers["Authorization"]
    told = with_texts(base64.b64decode(picture()), {"parameters": INFOTEXT}, Encoding())
    return {
        "<basic>": basic,
        "<base64>": picture(),
        "<base64 mask>": picture(colour="white"),
        "<base64 of an image>": base64.b64encode(told).decode(),
    }
