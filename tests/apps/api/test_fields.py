"""The loose spellings that text-to-image requests arrive in, through HTTP: what they come to mean."""

from __future__ import annotations

import pytest

from apps.api.modelslab.fields.generation import IGNORED, REFUSED
from apps.api.modelslab.fields.generation import TEXT_TO_IMAGE as FIELDS
from apps.api.modelslab.schedulers import A1111_NAMES, SCHEDULERS, SDE_NAME, words_of
from apps.catalog.models import CatalogEntry
from apps.generation.models import GenerationJob
from apps.generation.resolved import ResolvedRequest
from gpu_runtime.messages import Sampler, SigmaSchedule
from gpu_runtime.sampler_facts import read_name, schedules_of
from tests.apps.api import jobs
from tests.apps.api.client import V7, ApiClient


def accepted(client: ApiClient, **fields: object) -> ResolvedRequest:
    response = client.submit(**fields)
    assert response.json()["status"] == "processing", response.json()
    return GenerationJob.objects.latest("pk").resolved


def refused(client: ApiClient, **fields: object) -> str:
    response = client.submit(**fields)
    body = response.json()
    assert (response.status_code, body["status"]) == (400, "error")
    assert body["message"] == body["messege"]
    assert jobs.traces() == jobs.NOTHING
    return str(body["message"])


@pytest.mark.parametrize("value", [512, "512", " 512 ", 512.0, "512.0", "+512"])
def test_whole_numbers(ada: ApiClient, value: object) -> None:
    resolved = accepted(ada, width=value, height=value)

    assert (resolved.width, resolved.height) == (512, 512)


@pytest.mark.parametrize("value", [7.5, "7.5", "7.50", "75e-1"])
def test_numbers(ada: ApiClient, value: object) -> None:
    assert accepted(ada, guidance_scale=value).guidance_scale == 7.5


@pytest.mark.parametrize("value", [True, "yes", "true", "YES", "True", 1, "1", "on"])
def test_flags_that_say_yes(ada: ApiClient, value: object) -> None:
    assert ada.submit(temp=value).json()["meta"]["temp"] == "yes"


@pytest.mark.parametrize("value", [False, "no", "false", "No", 0, "0", "off", None, ""])
def test_flags_that_say_no(ada: ApiClient, value: object) -> None:
    assert ada.submit(temp=value).json()["meta"]["temp"] == "no"


@pytest.mark.parametrize("value", [42, "42", 42.0])
def test_seeds(ada: ApiClient, value: object) -> None:
    assert accepted(ada, seed=value).seed == 42


@pytest.mark.parametrize("unset", [None, ""])
def test_null_and_empty_are_unset(ada: ApiClient, unset: object) -> None:
    fields = {field.theirs: unset for field in FIELDS if field.default != "required"}

    resolved = accepted(ada, **fields)

    assert (resolved.width, resolved.height, resolved.steps, resolved.num_images) == (64, 64, 25, 1)
    assert (resolved.guidance_scale, resolved.sampler) == (4.0, Sampler.DPMPP_2M)


def test_aliases_are_read_where_the_proper_name_is_unset(ada: ApiClient) -> None:
    response = ada.post(V7, {"model": "tiny", "prompt": "a fox", "steps": "9", "num_inference_steps": ""})

    assert response.json()["meta"]["steps"] == 9


def test_unknown_and_ignored_fields_change_nothing(ada: ApiClient) -> None:
    noise = dict.fromkeys(IGNORED, "yes") | {"no_such_field": {"nested": [1, 2]}, "scale": float("nan")}
    noise.pop("key")

    assert accepted(ada, **noise).prompt == "a red fox"


@pytest.mark.parametrize(
    ("fields", "sides"),
    [
        ({}, (64, 64)),
        ({"width": 512}, (512, 512)),
        ({"height": 256}, (256, 256)),
        ({"size": "512x256"}, (512, 256)),
        ({"size": "512x256", "width": 512}, (512, 256)),
        ({"aspect_ratio": "2:1", "width": 512}, (512, 256)),
        ({"aspect_ratio": "2:1", "height": 512}, (1024, 512)),
        ({"aspect_ratio": "1920:1080", "width": 1024}, (1024, 576)),
        ({"aspect_ratio": "9:16", "width": 512, "height": 512}, (512, 512)),
        ({"aspect_ratio": "1:1"}, (64, 64)),
    ],
)
def test_sizes(ada: ApiClient, fields: dict[str, object], sides: tuple[int, int]) -> None:
    resolved = accepted(ada, **fields)

    assert (resolved.width, resolved.height) == sides


@pytest.mark.parametrize(
    ("fields", "sampler"),
    [
        ({}, "dpmpp_2m"),
        ({"use_karras_sigmas": "yes"}, "dpmpp_2m"),
        ({"scheduler": "EulerDiscreteScheduler"}, "euler_karras"),
        ({"scheduler": "EulerDiscreteScheduler", "use_karras_sigmas": "no"}, "euler"),
        ({"scheduler": "eulerdiscretescheduler"}, "euler_karras"),
        ({"scheduler": "EulerDiscrete"}, "euler_karras"),
        ({"scheduler": "DPMSolverMultistep", "use_karras_sigmas": "no"}, "dpmpp_2m"),
        ({"scheduler": "HeunDiscreteScheduler"}, "heun_karras"),
        ({"scheduler": "HeunDiscreteScheduler", "use_karras_sigmas": False}, "heun"),
        ({"scheduler": "EulerAncestralDiscreteScheduler", "use_karras_sigmas": True}, "euler_a"),
        ({"scheduler": "LMSDiscreteScheduler"}, "lms_karras"),
        ({"scheduler": "IPNDMScheduler"}, "ipndm"),
        ({"scheduler": "KarrasVeScheduler", "use_karras_sigmas": "no"}, "heun_karras"),
        ({"scheduler": "ScoreSdeVeScheduler"}, "euler_a"),
        ({"scheduler": "DDIMInverseScheduler"}, "ddim"),
        (
            {"scheduler": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver+++"},
            "dpmpp_2m_sde_karras",
        ),
        (
            {
                "scheduler": "DPMSolverMultistepScheduler",
                "algorithm_type": "sde-dpmsolver++",
                "use_karras_sigmas": False,
            },
            "dpmpp_2m_sde",
        ),
        ({"scheduler": "DDIMScheduler", "algorithm_type": "dpmsolver+++"}, "ddim"),
        ({"scheduler": "Euler a"}, "euler_a"),
        ({"scheduler": "Euler a Karras"}, "euler_a_karras"),
        ({"scheduler": "Euler"}, "euler"),
        ({"scheduler": "Euler", "use_karras_sigmas": "yes"}, "euler_karras"),
        ({"scheduler": "Restart", "use_karras_sigmas": "yes"}, "restart"),
        ({"scheduler": "DPM++ 2M Karras"}, "dpmpp_2m_karras"),
        ({"scheduler": "dpm++_2m_sde_karras"}, "dpmpp_2m_sde_karras"),
        ({"scheduler": "DPM++ 2M", "algorithm_type": SDE_NAME}, "dpmpp_2m"),
        ({"scheduler": "DPM++ 2M SDE Heun Exponential"}, "dpmpp_2m_sde_heun_exponential"),
        ({"scheduler": "DPM++ 3M SDE align_your_steps"}, "dpmpp_3m_sde_align_your_steps"),
        ({"scheduler": "DDIM CFG++"}, "ddim"),
    ],
)
def test_schedulers(ada: ApiClient, fields: dict[str, object], sampler: str) -> None:
    resolved = accepted(ada, **fields)

    assert (resolved.sampler, resolved.schedule) == read_name(sampler)


@pytest.mark.parametrize("name", [*SCHEDULERS, *A1111_NAMES])
def test_every_scheduler_name_is_accepted(ada: ApiClient, name: str) -> None:
    meaning = (SCHEDULERS | A1111_NAMES)[name]

    assert accepted(ada, scheduler=name).sampler is meaning.sampler


@pytest.mark.parametrize("name", ["DDIM Karras", "LCM Beta", "nonsense", " Karras", 7])
def test_unknown_schedulers_are_refused_with_those_there_are(ada: ApiClient, name: object) -> None:
    message = refused(ada, scheduler=name)

    assert message.startswith("scheduler ")
    assert message.endswith("available: " + ", ".join(SCHEDULERS))


def test_meta_has_words_for_every_sampler_and_schedule_of_the_runtime() -> None:
    words = [words_of(sampler, schedule) for sampler in Sampler for schedule in sorted(schedules_of(sampler))]

    assert {each.scheduler for each in words} <= {*SCHEDULERS, *A1111_NAMES}
    assert {each.use_karras_sigmas for each in words} == {True, False}
    assert words_of(Sampler.DPMPP_2M_SDE, SigmaSchedule.KARRAS).algorithm_type == SDE_NAME


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_fields_that_cannot_be_honoured_are_refused_once_they_mean_something(
    ada: ApiClient, name: str
) -> None:
    assert refused(ada, **{name: "something"}).startswith(f"{name} is not offered by this version")
    for harmless in (None, "", False, "no", "None", 0, [], *REFUSED[name].harmless):
        accepted(ada, **{name: harmless})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": None}, "prompt is required"),
        ({"prompt": "  "}, "prompt is required"),
        ({"model_id": None}, "model_id is required"),
        ({"model_id": "nope"}, "Model not found: nope"),
        ({"samples": 16}, "samples must be a whole number from 1 to 15, not 16"),
        ({"samples": "0"}, 'samples must be a whole number from 1 to 15, not "0"'),
        ({"samples": True}, "samples must be a whole number from 1 to 15, not true"),
        (
            {"width": "abc"},
            'width must be a whole number from 64 to 2048 and a multiple of 8, not "abc"',
        ),
        ({"width": 512.5}, "width must be a whole number from 64 to 2048 and a multiple of 8, not 512.5"),
        ({"width": 500}, "width must be a whole number from 64 to 2048 and a multiple of 8, not 500"),
        ({"height": [512]}, "height must be a whole number from 64 to 2048 and a multiple of 8, not a list"),
        (
            {"height": {"a": 1}},
            "height must be a whole number from 64 to 2048 and a multiple of 8, not an object",
        ),
        ({"num_inference_steps": 151}, "num_inference_steps must be a whole number from 1 to 150, not 151"),
        ({"steps": 151}, "steps must be a whole number from 1 to 150, not 151"),
        ({"guidance_scale": float("nan")}, "guidance_scale must be a number from 0 to 30, not NaN"),
        ({"guidance_scale": "inf"}, 'guidance_scale must be a number from 0 to 30, not "inf"'),
        ({"guidance_scale": False}, "guidance_scale must be a number from 0 to 30, not false"),
        ({"seed": -2}, "seed must be a whole number from 0 to 4294967295, or -1 for a random one, not -2"),
        ({"temp": "maybe"}, 'temp must be yes or no (also true, false, 1, 0), not "maybe"'),
        ({"prompt": 5}, "prompt must be text of at most 10000 characters, not 5"),
        ({"prompt": "x" * 10_001}, "prompt must be text of at most 10000 characters, not 10001"),
        ({"prompt": "a\0b"}, "prompt must not contain the character NUL (U+0000)"),
        ({"negative_prompt": "\ud800"}, "negative_prompt must not contain half of a surrogate pair"),
        ({"track_id": "\ud800"}, "track_id must not contain half of a surrogate pair"),
        (
            {"track_id": {"a": 1}},
            "track_id must be text of at most 255 characters or a whole number of 64 bits, not an object",
        ),
        ({"aspect_ratio": "0:1"}, 'aspect_ratio must be width:height, such as "16:9", not "0:1"'),
        (
            {"size": "big"},
            'size must be "WIDTHxHEIGHT", each a whole number from 64 to 2048 and a multiple of 8, not "big"',
        ),
        ({"size": "512x512", "height": 256}, "size contradicts height 256; send one of the two"),
        (
            {"algorithm_type": "x"},
            'algorithm_type must be one of none, dpmsolver++, dpmsolver+++, sde-dpmsolver++, not "x"',
        ),
        ({"samples": "9" * 200}, f'samples must be a whole number from 1 to 15, not "{"9" * 40}"...'),
    ],
)
def test_refusals_name_the_field_the_value_and_the_range(
    ada: ApiClient, fields: dict[str, object], message: str
) -> None:
    assert refused(ada, **fields) == message


def test_limits_of_the_model_are_named_in_the_callers_words(ada: ApiClient) -> None:
    CatalogEntry.objects.update(max_side_px=512)

    assert refused(ada, size="64x1024") == "size must be 64 to 512 for model tiny, not 1024"


@pytest.mark.parametrize("side", [64, 2048])
def test_the_ends_of_ranges_are_included(ada: ApiClient, side: int) -> None:
    accepted(
        ada, width=side, height=side, samples=15, num_inference_steps=150, guidance_scale=30, seed=2**32 - 1
    )


def test_long_prompts_are_kept_whole(ada: ApiClient) -> None:
    prompt = "狐" * 10_000

    assert accepted(ada, prompt=prompt).prompt == prompt


def test_no_field_is_in_two_tables() -> None:
    read = {field.theirs for field in FIELDS} | {field.alias for field in FIELDS if field.alias}

    assert not read & set(REFUSED)
    assert not read & set(IGNORED)
    assert not set(REFUSED) & set(IGNORED)
