"""What was there before a recorded ModelsLab exchange, by the words of its `given`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.catalog import facets
from apps.generation.choices import Kind
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from tests.apps.api import jobs
from tests.apps.api.client import V6, ApiClient
from tests.apps.api.models_fixtures import make_catalogue
from tests.apps.api.modelslab.workbench import install_utilities, picture, run
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.contracts import situations
from tests.contracts.situations import Stage
from tests.factories import give_plan, make_adapter, make_checkpoint

Situation = Callable[[Cast, FrozenClock], None]
EARLIER = {"model_id": "tiny", "prompt": "a red fox", "seed": 42}


def submitted(cast: Cast, clock: FrozenClock) -> None:
    assert ApiClient(cast.key_text).post(V6, EARLIER, Idempotency_Key="first").status_code == 200


def claimed(cast: Cast, clock: FrozenClock) -> None:
    submitted(cast, clock)
    jobs.claim()


def delivered(cast: Cast, clock: FrozenClock) -> None:
    submitted(cast, clock)
    job = jobs.claim()
    clock.advance(seconds=1.84)
    jobs.finish(job)


def expired(cast: Cast, clock: FrozenClock) -> None:
    delivered(cast, clock)
    clock.advance(days=40)


def failed(cast: Cast, clock: FrozenClock) -> None:
    submitted(cast, clock)
    jobs.fail(jobs.claim())


def blocked(cast: Cast, clock: FrozenClock) -> None:
    submitted(cast, clock)
    jobs.fail(jobs.claim(), "blocked_content", "The images were blocked by a rule of this server.")


def canceled(cast: Cast, clock: FrozenClock) -> None:
    submitted(cast, clock)
    job = GenerationJob.objects.get()
    assert job.api_key is not None
    cancel_job(job=job, actor=job.api_key.ref, now=clock.now())


def _unsuitable(cast: Cast, clock: FrozenClock, path: str, fields: dict[str, object]) -> None:
    everything(cast, clock)
    job_id = ApiClient(cast.key_text).post(path, fields).json()["id"]
    run(job_id, notes={"nsfw": 0.93, "is_nsfw": True, "is_replaced": True})


def replaced(cast: Cast, clock: FrozenClock) -> None:
    _unsuitable(cast, clock, V6, EARLIER | {"safety_checker": "yes", "safety_checker_type": "blur"})


def looked_at(cast: Cast, clock: FrozenClock) -> None:
    _unsuitable(cast, clock, "/api/v3/nsfw_image_check", {"init_image": picture(), "seed": 1})


def enlarged(cast: Cast, clock: FrozenClock) -> None:
    everything(cast, clock)
    fields = {"init_image": picture(), "scale": 2, "seed": 1}
    run(ApiClient(cast.key_text).post("/api/v1/enterprise/super_resolution", fields).json()["id"])


def described(cast: Cast, clock: FrozenClock) -> None:
    studio(cast, clock)
    fields = {"init_image": picture(), "seed": 1}
    run(ApiClient(cast.key_text).post("/api/v6/image_editing/caption", fields).json()["id"])


def used_up(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, calls_per_day=0)


def month_used_up(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, calls_per_month=0)


def plan_for_another_model(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, models=["another"])


def full_queue(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, queue_depth=1)
    submitted(cast, clock)


def narrow_plan(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, max_samples=4)


def plan_without_kinds(cast: Cast, clock: FrozenClock) -> None:
    everything(cast, clock)
    give_plan(cast.account, kinds=[Kind.TXT2IMG.value])


def narrow_key(cast: Cast, clock: FrozenClock) -> None:
    ApiKey.objects.filter(account=cast.account).update(allowed_checkpoints=["another"])


def reading_key(cast: Cast, clock: FrozenClock) -> None:
    ApiKey.objects.filter(account=cast.account).update(scopes=[Scope.MODELS_READ.value])


def catalogue(cast: Cast, clock: FrozenClock) -> None:
    facets.forget()
    make_catalogue(cast)


def everything(cast: Cast, clock: FrozenClock) -> None:
    install_utilities()
    make_adapter("control-canny", kind="controlnet", variant="canny")


def two_controls(cast: Cast, clock: FrozenClock) -> None:
    everything(cast, clock)
    make_adapter("control-tile", kind="controlnet", variant="tile")


def studio(cast: Cast, clock: FrozenClock) -> None:
    """Whatever any endpoint needs, the models that do not ship included."""
    everything(cast, clock)
    for variant in ("caption", "text_mask"):
        make_adapter(variant.replace("_", "-"), kind="preprocessor", family="", variant=variant)
    make_adapter("clip-vision", kind="preprocessor", family="", variant="image_encoder")
    make_adapter("ip-adapter-plus-face_sd15", kind="ip_adapter", variant="plus")
    make_adapter("flux-ip-plus-face", kind="ip_adapter", family="flux")
    make_checkpoint("flux-kontext-dev", family="flux", variant="kontext")
    for name in ("flux", "flux-klein"):
        make_checkpoint(name, family="flux")
    for name in ("z-image-turbo", "qwen", "pony-realism"):
        make_checkpoint(name)


def studio_with_flux_2(cast: Cast, clock: FrozenClock) -> None:
    studio(cast, clock)
    make_checkpoint("flux-2-dev", family="flux2", details={"pipeline_class": "Flux2Pipeline"})


SHARED: Final = (
    "a fault of ours",
    "a database that is away",
    "no money",
    "a used-up budget",
    "a full wallet",
)
"""Set up as for the other dialects."""


def set_up(given: str, stage: Stage) -> None:
    """What an exchange's `given` names."""
    if given in SHARED:
        situations.SITUATIONS[given](stage)
    else:
        SITUATIONS[given](stage.cast, stage.clock)


SITUATIONS: dict[str, Situation] = {
    "nothing": lambda cast, clock: None,
    "a queued job": submitted,
    "a running job": claimed,
    "a finished job": delivered,
    "a finished job of long ago": expired,
    "a failed job": failed,
    "a blocked job": blocked,
    "a canceled job": canceled,
    "a job whose image was replaced": replaced,
    "a picture that was looked at": looked_at,
    "a picture that was enlarged": enlarged,
    "a picture that was described": described,
    "a used-up quota": used_up,
    "a used-up month": month_used_up,
    "a plan for another model": plan_for_another_model,
    "a full queue": full_queue,
    "a plan for 4 images": narrow_plan,
    "a plan for text to image": plan_without_kinds,
    "a key for another model": narrow_key,
    "a key that only reads models": reading_key,
    "a catalogue": catalogue,
    "everything that ships": everything,
    "two ControlNets": two_controls,
    "a studio": studio,
    "a studio with FLUX.2": studio_with_flux_2,
}
