"""What becomes of both prompts: enhanced, with a style, in other alphabets."""

from __future__ import annotations

import pytest

from apps.api.modelslab.enhancing import LONGEST, all_subjects, enhance, subject_of
from apps.api.modelslab.styles import find_style
from apps.catalog.models import CatalogEntry
from tests.apps.api.client import ApiClient
from tests.apps.api.modelslab.workbench import made, refused
from tests.factories import make_checkpoint


@pytest.mark.parametrize("yes", ["yes", True, "true"])
def test_enhancing_adds_words_for_the_subject_and_says_so(ada: ApiClient, yes: object) -> None:
    body = ada.submit(enhance_prompt=yes, negative_prompt="cars").json()

    meta = body["meta"]
    assert meta["enhance_prompt"] == "yes"
    assert meta["prompt"] == (
        "a red fox, detailed fur and texture, lively eyes, natural light,"
        " clear separation from the background"
    )
    assert meta["negative_prompt"] == "cars, extra limbs, deformed, blurry"


@pytest.mark.parametrize("no", ["no", False, None])
def test_without_it_prompts_are_used_as_written(ada: ApiClient, no: object) -> None:
    meta = ada.submit(enhance_prompt=no, negative_prompt="cars").json()["meta"]

    assert (meta["enhance_prompt"], meta["prompt"], meta["negative_prompt"]) == ("no", "a red fox", "cars")


def test_enhancing_keeps_what_the_model_itself_avoids(ada: ApiClient, checkpoint: CatalogEntry) -> None:
    checkpoint.defaults = checkpoint.defaults | {"negative_prompt": "watermark"}
    checkpoint.save()

    meta = ada.submit(enhance_prompt="yes").json()["meta"]

    assert meta["negative_prompt"] == "watermark, extra limbs, deformed, blurry"


def test_models_that_read_sentences_ignore_it(ada: ApiClient) -> None:
    make_checkpoint("flux", family="flux")

    meta = ada.submit(model_id="flux", enhance_prompt="yes").json()["meta"]

    assert (meta["prompt"], meta["enhance_prompt"]) == ("a red fox", "no")


def test_a_style_that_somebody_chose_comes_first(ada: ApiClient) -> None:
    style = find_style("anime")
    assert style is not None

    meta = ada.submit(enhance_prompt="yes", enhance_style="anime").json()["meta"]

    assert meta["prompt"] == f"a red fox, {style.wanted}"
    assert (meta["enhance_style"], meta["enhance_prompt"]) == ("anime", "no")


@pytest.mark.parametrize(
    ("prompt", "subject"),
    [
        ("a portrait of an old sailor", "person"),
        ("Anime girl with a cat", "drawing"),
        ("a watercolour of a mountain", "painting"),
        ("logo of a bakery", "graphic"),
        ("a cosy kitchen", "building"),
        ("sunset over a lake", "landscape"),
        ("a catalogue of ideas", "anything"),
        ("", "anything"),
    ],
)
def test_subjects_are_found_by_whole_words(prompt: str, subject: str) -> None:
    assert subject_of(prompt).name == subject


def test_nothing_is_said_twice_and_nothing_avoided_that_is_wanted() -> None:
    enhanced = enhance("a blurry fox in natural light.", "deformed paws")
    assert enhanced is not None

    assert enhanced.prompt.startswith("a blurry fox in natural light, detailed fur")
    assert enhanced.prompt.count("natural light") == 1
    assert enhanced.negative_prompt == "deformed paws, extra limbs"


@pytest.mark.parametrize("prompt", ["", "  ", "fox " * (LONGEST + 1)])
def test_a_prompt_that_needs_nothing_stays(prompt: str) -> None:
    assert enhance(prompt, "") is None


def test_every_subject_says_something_and_the_last_fits_anything() -> None:
    *subjects, last = all_subjects()

    assert last.words == frozenset()
    for subject in subjects:
        assert subject.words, subject.name
        assert all(word == word.lower() and word.isalnum() for word in subject.words), subject.name
    for subject in all_subjects():
        assert 3 <= len(subject.wanted) <= 5, subject.name
        assert 3 <= len(subject.avoided) <= 5, subject.name
    assert len({subject.name for subject in all_subjects()}) == len(all_subjects())


@pytest.mark.parametrize("prompt", ["a red fox", "un élan près d'un lac", "Ein Bär, 3 Äpfel!"])
def test_multi_lingual_means_nothing_to_latin_letters(ada: ApiClient, prompt: str) -> None:
    answer = ada.submit(prompt=prompt, multi_lingual="yes")

    assert made(answer).prompt == prompt
    assert answer.json()["meta"]["multi_lingual"] == "no"


@pytest.mark.parametrize("prompt", ["一只红狐狸", "красная лиса", "a red キツネ"])
def test_multi_lingual_is_refused_where_nobody_would_understand(ada: ApiClient, prompt: str) -> None:
    message = refused(ada.submit(prompt=prompt, multi_lingual="yes"))

    assert message.startswith("multi_lingual is not offered: tiny reads English, and nothing here translates")


def test_models_that_read_other_languages_take_them(ada: ApiClient) -> None:
    make_checkpoint("qwen", family="qwen-image")

    assert made(ada.submit(model_id="qwen", prompt="一只红狐狸", multi_lingual=True)).prompt == "一只红狐狸"
