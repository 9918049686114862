"""GET of everything that is listed, the caller's options, and what there is nothing to do for."""

from __future__ import annotations

from typing import Any

import pytest

from apps.api.a1111.lists import LATENT_MODES
from apps.generation.infotext import SAMPLER_NAMES
from tests.apps.api.a1111.conftest import A1111Client, bad_field, the_job
from tests.factories import make_account, make_adapter, make_checkpoint

SAMPLERS = (
    "DPM++ 2M, DPM++ SDE, DPM++ 2M SDE, DPM++ 2M SDE Heun, DPM++ 2S a, DPM++ 3M SDE, Euler a, Euler, LMS,"
    " Heun, DPM2, DPM2 a, DPM fast, DPM adaptive, Restart, DDIM, DDIM CFG++, PLMS, UniPC, LCM"
)
SCHEDULERS = (
    "automatic/Automatic, uniform/Uniform, karras/Karras, exponential/Exponential,"
    " polyexponential/Polyexponential, sgm_uniform/SGM Uniform, kl_optimal/KL Optimal,"
    " align_your_steps/Align Your Steps, simple/Simple, normal/Normal, ddim/DDIM, beta/Beta"
)


def test_checkpoints(ada: A1111Client) -> None:
    make_checkpoint("private", visibility="private", owner=make_account("x"))

    assert ada.get("sd-models").json() == [
        {
            "title": "tiny.safetensors [0123456789]",
            "model_name": "tiny",
            "hash": "0123456789",
            "sha256": "0123456789abcdef" * 4,
            "filename": "models/Stable-diffusion/tiny.safetensors",
            "config": None,
        }
    ]


def test_samplers(ada: A1111Client) -> None:
    rows = ada.get("samplers").json()

    assert ", ".join(row["name"] for row in rows) == SAMPLERS
    assert rows[0] == {"name": "DPM++ 2M", "aliases": ["k_dpmpp_2m"], "options": {"scheduler": "karras"}}
    # What files say ran is a name of this list, but for samplers that upstream does not have.
    ours = set(SAMPLER_NAMES.values()) - {"IPNDM", "DPM++ 2S", "DEIS", "DDPM"}
    assert ours <= {row["name"] for row in rows}


def test_schedulers(ada: A1111Client) -> None:
    rows = ada.get("schedulers").json()

    assert ", ".join(f"{row['name']}/{row['label']}" for row in rows) == SCHEDULERS
    assert rows[2] == {
        "name": "karras",
        "label": "Karras",
        "aliases": None,
        "default_rho": 7.0,
        "need_inner_model": False,
    }


def test_upscalers(ada: A1111Client) -> None:
    make_adapter("realesrgan-x4plus", kind="upscaler", family="", details={"scale": 4})
    make_adapter("waifu2x-art", kind="upscaler", family="", details={"scale": 2})

    rows = ada.get("upscalers").json()

    assert [(row["name"], row["scale"]) for row in rows] == [
        ("None", 4.0),
        ("Lanczos", 4.0),
        ("R-ESRGAN 4x+", 4.0),
        ("waifu2x-art", 2.0),
    ]
    assert rows[0].keys() == {"name", "model_name", "model_path", "model_url", "scale"}
    assert ada.get("realesrgan-models").json() == [
        {"name": "R-ESRGAN 4x+", "path": "models/RealESRGAN/realesrgan-x4plus.safetensors", "scale": 4}
    ]


def test_adapters(ada: A1111Client) -> None:
    make_adapter("ink", aliases=["inky"], trigger_words=["inkstyle"])
    make_adapter("soft", kind="vae")
    make_adapter("bad-hands", kind="embedding", details={"vectors": 8})
    make_adapter("mender", kind="face", variant="codeformer", family="")
    make_adapter("finder", kind="face", variant="detection", family="")

    assert ada.get("loras").json() == [
        {
            "name": "ink",
            "alias": "inky",
            "path": "models/Lora/ink.safetensors",
            "metadata": {
                "ss_base_model_version": "sd15",
                "ss_output_name": "Ink",
                "activation text": "inkstyle",
            },
        }
    ]
    assert ada.get("sd-vae").json() == [
        {"model_name": "soft", "filename": "models/VAE/soft.safetensors"},
    ]
    assert ada.get("embeddings").json() == {
        "loaded": {
            "bad-hands": {
                "step": None,
                "sd_checkpoint": None,
                "sd_checkpoint_name": None,
                "shape": 768,
                "vectors": 8,
            }
        },
        "skipped": {},
    }
    assert ada.get("face-restorers").json() == [{"name": "CodeFormer", "cmd_dir": None}]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("latent-upscale-modes", [{"name": name} for name in LATENT_MODES]),
        ("hypernetworks", []),
        ("prompt-styles", []),
        ("face-restorers", []),
        ("scripts", {"txt2img": ["controlnet", "refiner"], "img2img": ["controlnet", "refiner"]}),
    ],
)
def test_short_lists(ada: A1111Client, path: str, expected: Any) -> None:
    assert ada.get(path).json() == expected


def test_scripts_tell_their_arguments(ada: A1111Client) -> None:
    rows = ada.get("script-info").json()

    assert [(row["name"], row["is_img2img"]) for row in rows] == [
        ("controlnet", False),
        ("refiner", False),
        ("controlnet", True),
        ("refiner", True),
    ]
    assert rows[1]["args"][2] == {
        "label": "Switch at",
        "value": 0.8,
        "minimum": 0.01,
        "maximum": 1.0,
        "step": 0.01,
        "choices": None,
    }


def test_facts_of_the_server(ada: A1111Client) -> None:
    memory = ada.get("memory").json()

    assert memory["ram"]["total"] == memory["ram"]["free"] + memory["ram"]["used"]
    assert memory["cuda"] == {"error": "unavailable"}
    assert ada.get("cmd-flags").json()["api"] is True
    assert [row["name"] for row in ada.get("extensions").json()] == ["sd-webui-controlnet"]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("refresh-checkpoints", b"null"),
        ("refresh-vae", b"null"),
        ("refresh-loras", b"null"),
        ("refresh-embeddings", b"null"),
        ("unload-checkpoint", b"{}"),
        ("reload-checkpoint", b"{}"),
    ],
)
def test_nothing_to_do(ada: A1111Client, path: str, body: bytes) -> None:
    assert ada.post(path, b"").content == body
    assert A1111Client(None).post(path).status_code == 401


def test_options_at_first(ada: A1111Client) -> None:
    options = ada.get("options").json()

    assert options["sd_model_checkpoint"] == "tiny.safetensors [0123456789]"
    assert options["sd_checkpoint_hash"] == "0123456789abcdef" * 4
    assert (options["sd_vae"], options["CLIP_stop_at_last_layers"]) == ("Automatic", 1)
    assert options["samples_format"] == "png"
    assert all(not isinstance(value, dict | list) for value in options.values())


def test_options_are_those_of_one_key(ada: A1111Client, cleo: A1111Client) -> None:
    make_checkpoint("other", digest="f" * 64)

    answer = ada.post(
        "options", {"sd_model_checkpoint": "other.safetensors [ffffffffff]", "CLIP_stop_at_last_layers": 2}
    )

    assert (answer.status_code, answer.content) == (200, b"null")
    assert ada.get("options").json()["sd_model_checkpoint"] == "other.safetensors [ffffffffff]"
    assert cleo.get("options").json()["sd_model_checkpoint"] == "tiny.safetensors [0123456789]"
    ada.draw()
    assert (the_job().resolved.checkpoint, the_job().resolved.clip_skip) == ("other", 1)


@pytest.mark.parametrize(
    "name", ["other", "other.safetensors", "other.ckpt", "ffffffff", "sub/other.safetensors"]
)
def test_ways_to_name_a_checkpoint(ada: A1111Client, name: str) -> None:
    make_checkpoint("other", digest="f" * 64)

    assert ada.post("options", {"sd_model_checkpoint": name}).status_code == 200
    assert ada.get("options").json()["sd_model_checkpoint"].startswith("other.")


def test_an_unknown_checkpoint(ada: A1111Client) -> None:
    response = ada.post("options", {"sd_model_checkpoint": "nope"})

    assert response.status_code == 500
    assert response.json() == {
        "error": "RuntimeError",
        "detail": "",
        "body": "",
        "errors": "model 'nope' not found",
    }


def test_other_options(ada: A1111Client) -> None:
    assert ada.post("options", {"outdir_samples": "/etc", "live_previews_enable": False}).content == b"null"
    assert "outdir_samples" not in ada.get("options").json()
    ada.draw()
    assert not the_job().resolved.wants_previews
    assert bad_field(ada.post("options", {"CLIP_stop_at_last_layers": 99}))[0] == "CLIP_stop_at_last_layers"
    # Nothing at all is a request as well.
    assert ada.post("options", b"").content == b"null"


def test_changes_are_added_to_each_other(ada: A1111Client) -> None:
    ada.post("options", {"samples_format": "jpg"})
    ada.post("options", {"jpeg_quality": 60})

    options = ada.get("options").json()
    assert (options["samples_format"], options["jpeg_quality"]) == ("jpg", 60)
    ada.draw()
    assert (the_job().resolved.output.media_type, the_job().resolved.output.quality) == ("image/jpeg", 60)


def test_a_chosen_model_that_has_gone(ada: A1111Client) -> None:
    other = make_checkpoint("other")
    ada.post("options", {"sd_model_checkpoint": "other"})
    type(other).objects.filter(pk=other.pk).update(is_enabled=False)

    assert ada.get("options").json()["sd_model_checkpoint"].startswith("tiny.")
    assert ada.draw().status_code == 200


def test_no_model_at_all(cast: Any) -> None:
    ada = A1111Client(cast.key_text)

    assert ada.get("options").json()["sd_model_checkpoint"] is None
    assert ada.draw().status_code == 404
