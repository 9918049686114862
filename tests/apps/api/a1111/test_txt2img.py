"""POST txt2img: what a request becomes, and what is answered."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.catalog.models import CatalogEntry
from apps.generation.choices import Kind
from gpu_runtime.messages import PromptStyle, Sampler, SigmaSchedule
from tests.apps.api.a1111.conftest import A1111Client, last_request, opened, refusal, stop, the_job
from tests.factories import make_adapter, make_checkpoint

INFO_TYPES: dict[str, Any] = {
    "prompt": str,
    "all_prompts": list,
    "negative_prompt": str,
    "all_negative_prompts": list,
    "seed": int,
    "all_seeds": list,
    "subseed": int,
    "all_subseeds": list,
    "subseed_strength": float,
    "width": int,
    "height": int,
    "sampler_name": str,
    "cfg_scale": float,
    "steps": int,
    "batch_size": int,
    "restore_faces": bool,
    "face_restoration_model": (str, type(None)),
    "sd_model_name": str,
    "sd_model_hash": str,
    "sd_vae_name": (str, type(None)),
    "sd_vae_hash": (str, type(None)),
    "seed_resize_from_w": int,
    "seed_resize_from_h": int,
    "denoising_strength": (float, type(None)),
    "extra_generation_params": dict,
    "index_of_first_image": int,
    "infotexts": list,
    "styles": list,
    "job_timestamp": str,
    "clip_skip": int,
    "is_using_inpainting_conditioning": bool,
    "version": str,
}
"""Every key that strict clients require, with its type."""


def test_an_image_comes_back_as_plain_base64(ada: A1111Client) -> None:
    response = ada.draw(seed=7, steps=20)

    body = response.json()
    assert response.status_code == 200
    assert body.keys() == {"images", "parameters", "info"}
    [image] = body["images"]
    assert opened(image).size == (64, 64)
    assert response["X-Darkroom-Job"] == str(the_job().pk)
    assert response["X-RateLimit-Limit"] == "100"


def test_info_has_every_key_with_its_type(ada: A1111Client) -> None:
    info = json.loads(ada.draw(seed=7, steps=20, n_iter=2).json()["info"])

    assert {name: type(value) for name, value in info.items()}.keys() == INFO_TYPES.keys()
    for name, kind in INFO_TYPES.items():
        assert isinstance(info[name], kind), name
    assert (info["all_seeds"], info["seed"], info["all_prompts"]) == ([7, 8], 7, ["a red fox"] * 2)
    assert (info["sd_model_name"], info["sd_model_hash"]) == ("tiny", "0123456789")
    assert info["index_of_first_image"] == 0
    assert info["job_timestamp"] == "20260302120000"
    assert info["extra_generation_params"] == {"Schedule type": "Automatic"}
    assert info["infotexts"][1] == (
        "a red fox\nSteps: 20, Sampler: Euler, Schedule type: Automatic, CFG scale: 7, Seed: 8, Size: 64x64,"
        " Model hash: 0123456789, Model: tiny, Version: Darkroom"
    )


def test_parameters_echo_the_request_with_defaults(ada: A1111Client) -> None:
    parameters = ada.draw(seed=7, unknown_field=1).json()["parameters"]

    assert "unknown_field" not in parameters
    expected: dict[str, Any] = {"prompt": "a red fox", "seed": 7, "steps": 50, "cfg_scale": 7.0, "width": 64}
    expected |= {"sampler_name": None, "sampler_index": "Euler", "send_images": True, "enable_hr": False}
    assert parameters.items() >= expected.items()


def test_defaults_are_upstreams(ada: A1111Client) -> None:
    ada.post("txt2img", {"prompt": "a red fox"})

    resolved = the_job().resolved
    assert (resolved.width, resolved.height, resolved.steps, resolved.guidance_scale) == (512, 512, 50, 7.0)
    assert (resolved.sampler, resolved.schedule) == (Sampler.EULER, SigmaSchedule.AUTOMATIC)
    assert resolved.prompt_style is PromptStyle.WEIGHTED
    assert resolved.wants_previews


@pytest.mark.parametrize(
    ("fields", "sampler", "schedule"),
    [
        ({"sampler_name": "DPM++ 2M"}, Sampler.DPMPP_2M, SigmaSchedule.KARRAS),
        ({"sampler_name": "DPM++ 2M Karras"}, Sampler.DPMPP_2M, SigmaSchedule.KARRAS),
        (
            {"sampler_name": "DPM++ 2M", "scheduler": "SGM Uniform"},
            Sampler.DPMPP_2M,
            SigmaSchedule.SGM_UNIFORM,
        ),
        (
            {"sampler_name": "dpm++ 2m", "scheduler": "sgm_uniform"},
            Sampler.DPMPP_2M,
            SigmaSchedule.SGM_UNIFORM,
        ),
        ({"sampler_name": "DPM++ 3M SDE Exponential"}, Sampler.DPMPP_3M_SDE, SigmaSchedule.EXPONENTIAL),
        ({"sampler_name": "k_euler_a"}, Sampler.EULER_A, SigmaSchedule.AUTOMATIC),
        ({"sampler_index": "Heun"}, Sampler.HEUN, SigmaSchedule.AUTOMATIC),
        ({"sampler_name": "UniPC", "scheduler": "Automatic"}, Sampler.UNIPC, SigmaSchedule.AUTOMATIC),
    ],
)
def test_names_of_samplers(
    ada: A1111Client, fields: dict[str, str], sampler: Sampler, schedule: SigmaSchedule
) -> None:
    assert ada.draw(**fields).status_code == 200
    assert (the_job().resolved.sampler, the_job().resolved.schedule) == (sampler, schedule)


@pytest.mark.parametrize(
    ("fields", "detail"),
    [
        ({"sampler_name": "Nope"}, "Sampler not found"),
        ({"scheduler": "Nope"}, "Scheduler not found"),
    ],
)
def test_unknown_samplers(ada: A1111Client, fields: dict[str, str], detail: str) -> None:
    assert refusal(ada.draw(**fields)) == (400, detail)


def test_several_images_are_the_product_of_batch_and_count(ada: A1111Client) -> None:
    body = ada.draw(seed=3, batch_size=2, n_iter=2).json()

    info = json.loads(body["info"])
    assert len(body["images"]) == 4
    assert (info["all_seeds"], info["batch_size"]) == ([3, 4, 5, 6], 2)


def test_no_images_are_sent_when_none_are_wanted(ada: A1111Client) -> None:
    assert ada.draw(send_images=False).json()["images"] == []


def test_sides_are_cut_to_whole_latents(ada: A1111Client) -> None:
    ada.draw(width=67, height=71)

    assert (the_job().resolved.width, the_job().resolved.height) == (64, 64)


def test_an_empty_prompt_is_a_prompt(ada: A1111Client) -> None:
    body = ada.draw(prompt="").json()

    assert json.loads(body["info"])["prompt"] == ""


def test_hires_fix(ada: A1111Client) -> None:
    info = json.loads(
        ada.draw(
            enable_hr=True,
            hr_scale=2,
            hr_upscaler="Latent (nearest)",
            denoising_strength=0.6,
            hr_second_pass_steps=10,
        ).json()["info"]
    )

    hires = the_job().resolved.hires
    assert hires is not None
    assert (hires.width, hires.height, hires.steps, hires.strength) == (128, 128, 10, 0.6)
    assert hires.enlarges_latents
    assert info["denoising_strength"] == 0.6


def test_a_second_pass_with_words_and_a_sampler_of_its_own(ada: A1111Client) -> None:
    body = ada.draw(
        enable_hr=True,
        sampler_name="Euler",
        hr_prompt="a blue fox, sharp",
        hr_negative_prompt="fog",
        hr_sampler_name="DPM++ 2M",
    ).json()

    resolved, info = the_job().resolved, json.loads(body["info"])
    hires = resolved.hires
    assert hires is not None
    assert (resolved.prompt, resolved.sampler) == ("a red fox", Sampler.EULER)
    assert (hires.prompt, hires.negative_prompt) == ("a blue fox, sharp", "fog")
    assert (hires.sampler, hires.schedule) == (Sampler.DPMPP_2M, SigmaSchedule.KARRAS)
    assert (
        info["extra_generation_params"].items()
        >= {
            "Hires prompt": "a blue fox, sharp",
            "Hires negative prompt": "fog",
            "Hires sampler": "DPM++ 2M",
            "Hires schedule type": "Karras",
        }.items()
    )
    ada.draw(prompt="", infotext=info["infotexts"][0])
    assert last_request().hires == hires


@pytest.mark.parametrize(
    "same",
    [
        {"hr_prompt": "a red fox", "hr_negative_prompt": "", "hr_sampler_name": "Euler"},
        {"hr_sampler_name": "Use same sampler", "hr_scheduler": "Use same scheduler"},
    ],
)
def test_a_second_pass_like_the_first(ada: A1111Client, same: dict[str, str]) -> None:
    ada.draw(enable_hr=True, **same)

    hires = the_job().resolved.hires
    assert hires is not None
    assert (hires.prompt, hires.negative_prompt, hires.sampler) == (None, None, None)


def test_words_of_a_second_pass_that_is_not_asked_for(ada: A1111Client) -> None:
    assert ada.draw(hr_prompt="a blue fox", hr_sampler_name="Heun").status_code == 200


def test_the_old_way_of_hires_fix(ada: A1111Client) -> None:
    ada.draw(enable_hr=True, firstphase_width=64, firstphase_height=64, width=128, height=192)

    resolved = the_job().resolved
    assert (resolved.width, resolved.height) == (64, 64)
    assert resolved.hires is not None
    assert (resolved.hires.width, resolved.hires.height) == (128, 192)


@pytest.mark.parametrize("place", ["fields", "script"])
def test_a_refiner(ada: A1111Client, tiny: CatalogEntry, place: str) -> None:
    make_checkpoint("base-xl", family="sdxl")
    make_checkpoint("refiner-xl", family="sdxl", variant="refiner")
    fields: dict[str, Any] = {"refiner_checkpoint": "refiner-xl", "refiner_switch_at": 0.7}
    if place == "script":
        fields = {"alwayson_scripts": {"Refiner": {"args": [True, "refiner-xl.safetensors", 0.7]}}}

    ada.draw(override_settings={"sd_model_checkpoint": "base-xl"}, **fields)

    refiner = the_job().resolved.refiner
    assert refiner is not None
    assert (refiner.checkpoint.name, refiner.switch_at) == ("refiner-xl", 0.7)


def test_settings_of_one_request(ada: A1111Client) -> None:
    make_checkpoint("other", digest="f" * 64)
    make_adapter("soft", kind="vae")
    settings = {
        "sd_model_checkpoint": "other.safetensors [ffffffffff]",
        "sd_vae": "soft.safetensors",
        "CLIP_stop_at_last_layers": 2,
        "samples_format": "webp",
    }

    body = ada.draw(override_settings=settings).json()

    resolved = the_job().resolved
    assert (resolved.checkpoint, resolved.clip_skip) == ("other", 1)
    assert resolved.adapters.vae is not None
    assert resolved.adapters.vae.name == "soft"
    assert opened(body["images"][0]).format == "WEBP"
    assert ada.get("options").json()["samples_format"] == "png"


def test_an_unknown_checkpoint_of_one_request_counts_as_none(ada: A1111Client) -> None:
    assert ada.draw(override_settings={"sd_model_checkpoint": "nope"}).status_code == 200
    assert the_job().resolved.checkpoint == "tiny"


def test_settings_stay_when_they_are_not_to_be_restored(ada: A1111Client) -> None:
    make_checkpoint("other")

    ada.draw(override_settings={"sd_model_checkpoint": "other"}, override_settings_restore_afterwards=False)

    assert ada.get("options").json()["sd_model_checkpoint"] == "other.safetensors [0000000000]"


def test_a_text_says_what_fields_do_not(ada: A1111Client) -> None:
    text = "a lighthouse\nNegative prompt: fog\nSteps: 12, Sampler: Heun, CFG scale: 3, Seed: 9, Size: 128x64"

    ada.post("txt2img", {"infotext": text, "steps": 9})

    resolved = the_job().resolved
    assert (resolved.prompt, resolved.negative_prompt, resolved.steps) == ("a lighthouse", "fog", 9)
    assert (resolved.sampler, resolved.seed, resolved.width, resolved.height) == (Sampler.HEUN, 9, 128, 64)


def test_an_interrupted_request_is_answered_without_images(ada: A1111Client, worker: Any) -> None:
    worker(stop)

    response = ada.draw(seed=1)

    assert response.status_code == 200
    assert response.json()["images"] == []
    assert json.loads(response.json()["info"])["seed"] == 1


def test_pydantic_reads_numbers_in_text(ada: A1111Client) -> None:
    ada.draw(steps="12", cfg_scale="4.5", seed="-1", send_images="true", width=64.0)

    assert (the_job().resolved.steps, the_job().resolved.guidance_scale) == (12, 4.5)


@pytest.mark.parametrize(
    ("sampler", "fields"),
    [
        ("Euler", {"eta": 0.3}),
        ("DPM++ 2M Karras", {"eta": 0.67, "s_churn": 4.0, "s_tmin": 0.05, "s_noise": 1.003}),
        ("Euler a", {"eta": 1.0, "s_churn": 4.0}),
        ("Euler", {"s_noise": 1.1, "s_tmin": 0.5}),
    ],
)
def test_what_the_sampler_does_not_read_changes_nothing(
    ada: A1111Client, sampler: str, fields: dict[str, float]
) -> None:
    body = ada.draw(sampler_name=sampler, **fields).json()

    assert body["parameters"].items() >= fields.items()


def test_what_interfaces_send_with_every_request_changes_nothing(ada: A1111Client) -> None:
    sent: dict[str, Any] = {
        "styles": ["cinematic"],
        "subseed": -1,
        "subseed_strength": 0,
        "seed_resize_from_h": -1,
        "seed_resize_from_w": -1,
        "restore_faces": False,
        "tiling": False,
        "eta": 0,
        "s_churn": 0,
        "s_tmax": 0,
        "s_tmin": 0,
        "s_noise": 1,
        "s_min_uncond": 0,
        "hr_checkpoint_name": "Use same checkpoint",
        "hr_sampler_name": "Use same sampler",
        "hr_prompt": "",
        "script_name": None,
        "script_args": [],
        "alwayson_scripts": {},
        "override_settings": {},
        "comments": {},
        "refiner_checkpoint": "",
        "do_not_save_samples": True,
        "do_not_save_grid": True,
        "save_images": True,
    }

    assert ada.draw(**sent).status_code == 200
    assert last_request().kind is Kind.TXT2IMG
