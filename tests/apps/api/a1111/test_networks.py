"""LoRAs and embeddings that prompts name, those that are not there included."""

from __future__ import annotations

import json

from tests.apps.api.a1111.conftest import A1111Client, the_job
from tests.factories import make_adapter


def test_loras_are_read_from_the_prompt_and_info_keeps_them(ada: A1111Client) -> None:
    make_adapter("ink")
    make_adapter("film")

    body = ada.draw(prompt="a (red:1.2) fox <lora:ink:0.8>, <lora:film>").json()

    resolved = the_job().resolved
    assert resolved.prompt.rstrip() == "a (red:1.2) fox ,"
    assert [(lora.name, lora.scale) for lora in resolved.adapters.loras] == [("ink", 0.8), ("film", 1.0)]
    assert json.loads(body["info"])["prompt"] == "a (red:1.2) fox <lora:ink:0.8>, <lora:film>"


def test_networks_that_are_not_there_are_left_out_and_told(ada: A1111Client) -> None:
    make_adapter("ink", digest="0123456789abcdef" * 4)
    make_adapter("off", is_enabled=False)
    prompt = "a fox <lora:ink:0.8> <lora:nope:1> <hypernet:old:0.5> <lora:off:1>"

    response = ada.draw(prompt=prompt)

    assert response.status_code == 200
    info = json.loads(response.json()["info"])
    assert [lora.name for lora in the_job().resolved.adapters.loras] == ["ink"]
    assert info["extra_generation_params"] == {
        "Schedule type": "Automatic",
        "Lora hashes": "ink: 0123456789ab",
        "Networks not found": "nope, off, hypernet:old",
    }
    assert info["prompt"] == prompt
    assert "<lora:ink:0.8>" in info["infotexts"][0]
    assert "nope" not in info["infotexts"][0]


def test_a_lora_goes_by_an_alias_as_well(ada: A1111Client) -> None:
    make_adapter("ink", aliases=["ink-wash"])

    info = json.loads(ada.draw(prompt="a fox <lora:ink-wash:0.5>").json()["info"])

    assert [lora.name for lora in the_job().resolved.adapters.loras] == ["ink"]
    assert "Networks not found" not in info["extra_generation_params"]


def test_tags_are_dropped_without_extra_networks(ada: A1111Client) -> None:
    assert ada.draw(prompt="a fox <lora:missing:1>", disable_extra_networks=True).status_code == 200
    assert the_job().resolved.adapters.loras == ()


def test_embeddings_are_found_by_their_words(ada: A1111Client) -> None:
    make_adapter("bad-hands", kind="embedding", trigger_words=["bad_hands_5"])
    make_adapter("other", kind="embedding")

    ada.draw(negative_prompt="blurry, (bad_hands_5:1.2)")

    assert [used.name for used in the_job().resolved.adapters.embeddings] == ["bad-hands"]
