"""LoRAs, embeddings and VAEs in the ModelsLab dialect's words."""

from __future__ import annotations

import pytest

from apps.generation.models import GenerationJob
from tests.apps.api.client import ApiClient
from tests.factories import make_adapter

STRENGTHS = "a number from -4 to 4, or up to 8 of them separated by commas"


@pytest.fixture(autouse=True)
def adapters(ada: ApiClient) -> None:
    make_adapter("more_details")
    make_adapter("animie")
    make_adapter("calm", kind="embedding")
    make_adapter("bright", kind="vae")


def stored_loras() -> list[tuple[str, float]]:
    return [(lora.name, lora.scale) for lora in GenerationJob.objects.get().resolved.adapters.loras]


@pytest.mark.parametrize(
    ("fields", "loras"),
    [
        ({"lora_model": "more_details"}, [("more_details", 1.0)]),
        ({"lora_model": "more_details", "lora_strength": 0.7}, [("more_details", 0.7)]),
        ({"lora_model": "more_details", "lora_strength": "0.7"}, [("more_details", 0.7)]),
        (
            {"lora_model": "more_details, animie", "lora_strength": "0.45,0.55"},
            [("more_details", 0.45), ("animie", 0.55)],
        ),
        (
            {"lora_model": ["more_details", "animie"], "lora_strength": [0.45, "0.55"]},
            [("more_details", 0.45), ("animie", 0.55)],
        ),
        (
            {"lora_model": "more_details,animie", "lora_strength": 0.5},
            [("more_details", 0.5), ("animie", 0.5)],
        ),
        ({"lora_model": "", "lora_strength": "1"}, []),
        ({"lora_model": None, "lora_strength": None}, []),
    ],
)
def test_lora_strings(ada: ApiClient, fields: dict[str, object], loras: list[tuple[str, float]]) -> None:
    assert ada.submit(**fields).status_code == 200
    assert stored_loras() == loras


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"lora_model": "more_details,animie", "lora_strength": "1,1,1"},
            "lora_strength must be one number, or 2 as lora_model has, not 3",
        ),
        (
            {"lora_model": "more_details", "lora_strength": "strong"},
            f'lora_strength must be {STRENGTHS}, not "strong"',
        ),
        (
            {"lora_model": "more_details", "lora_strength": 5},
            f"lora_strength must be {STRENGTHS}, not 5",
        ),
        (
            {"lora_model": ",".join(f"l{i}" for i in range(9))},
            "lora_model must be 1 to 8 names, separated by commas, not 9",
        ),
        ({"lora_model": 7}, "lora_model must be 1 to 8 names, separated by commas, not 7"),
        ({"lora_model": "more_details,more_details"}, "lora_model must name each LoRA once"),
        ({"lora_model": "unheard-of"}, "LoRA not found: unheard-of"),
        ({"vae": "more_details"}, "VAE not found: more_details"),
        ({"embeddings_model": "bright"}, "Embedding not found: bright"),
    ],
)
def test_refusals_name_the_callers_field(ada: ApiClient, fields: dict[str, object], message: str) -> None:
    answer = ada.submit(**fields)
    assert (answer.status_code, answer.json()["message"]) == (400, message)
    assert not GenerationJob.objects.exists()


@pytest.mark.parametrize("field", ["embeddings_model", "embeddings"])
def test_both_names_of_embeddings_are_read(ada: ApiClient, field: str) -> None:
    assert ada.submit(**{field: "calm"}).status_code == 200
    assert [used.name for used in GenerationJob.objects.get().resolved.adapters.embeddings] == ["calm"]


def test_meta_says_what_was_used(ada: ApiClient) -> None:
    fields = {"lora_model": "more_details,animie", "lora_strength": "0.45,1", "vae": "bright"}
    meta = ada.submit(**fields).json()["meta"]
    assert {name: meta[name] for name in ("lora_model", "lora_strength", "vae")} == {
        "lora_model": "more_details,animie",
        "lora_strength": "0.45,1",
        "vae": "bright",
    }


def test_a_strangers_private_lora_is_not_found(ada: ApiClient, cleo: ApiClient) -> None:
    owner = GenerationJob.objects.get(pk=ada.submit().json()["id"]).account
    make_adapter("own", visibility="private", owner=owner)
    answer = cleo.submit(lora_model="own")
    assert (answer.status_code, answer.json()["message"]) == (400, "LoRA not found: own")
