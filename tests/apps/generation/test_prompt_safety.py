from __future__ import annotations

import time

import pytest

from apps.generation.prompt_safety import check_prompt

HARMLESS = [
    "Essex county map",
    "breast of chicken on a plate, roasted",
    "classic assassin costume",
    "a cat sitting on a wall",
    "scunthorpe united football ground",
    "a naked mole rat underground",
    "Saturn as seen with the naked eye",
    "portrait of a woman with nude lipstick",
    "same-sex wedding, two grooms, confetti",
    "a pair of blue tits on a feeder",
    "pussy willow branches in a vase",
    "children playing in a park, sunny day",
    "1girl, solo, school uniform, smiling",
    "a child in a swimming pool, family photo",
    "young woman in an evening gown",
    "a mother holding her baby",
    "12 year old whisky in a crystal glass",
    "teenage mutant turtles eating pizza",
    "a child playing in the garden, no nudity, sfw",
    "analysis of a document, cocktail, peacock, Sussex, Middlesex",
    "graduated magna cum laude",
    "sexy sports car, low angle",
    "a U.S.A. flag, F-16, K9 unit, 4k, 8k, 1920x1080",
    "woman doing child's pose, yoga",
    "",
]


@pytest.mark.parametrize("prompt", HARMLESS)
def test_harmless_prompts_pass_unchanged(prompt: str) -> None:
    verdict = check_prompt(prompt)
    assert (verdict.is_nsfw, verdict.is_minor_sexual, verdict.matched) == (False, False, ())
    assert verdict.filtered_prompt == prompt


@pytest.mark.parametrize(
    ("prompt", "term"),
    [
        ("a nude woman on a sofa", "nude"),
        ("NUDE", "nude"),
        ("oil painting, n u d e model", "nude"),
        ("n.u.d.e model", "nude"),
        ("a n u d e model", "nude"),
        ("nud3 model", "nude"),
        ("n4ked man", "naked"),
        ("nuuude model", "nude"),
        ("p0rn", "porn"),
        ("pornographic scene", "porn"),
        ("$ex scene", "sex"),
        ("nаked woman", "naked"),  # the first a is Cyrillic
        ("núde", "nude"),
        ("woman with no clothes", "no clothes"),
        ("hentai drawing", "hentai"),
        ("nude_female", "nude"),
        ("nude!", "nude"),
    ],
)
def test_explicit_prompts_are_found_however_written(prompt: str, term: str) -> None:
    verdict = check_prompt(prompt)
    assert verdict.is_nsfw
    assert not verdict.is_minor_sexual
    assert term in verdict.matched


@pytest.mark.parametrize(
    "prompt",
    [
        "nude child",
        "sexy schoolgirl",
        "naked 12 year old",
        "a 12-year-old girl, nude",
        "twelve year old, erotic",
        "nude girl, 9yo",
        "nude, aged 15",
        "little girl in lingerie",
        "young blonde girl, topless",
        "t e e n, p 0 r n",
        "loli",
        "naked t33n",
        "seductive kid",
        "naked boy",
    ],
)
def test_sexual_words_with_minors_are_told_apart(prompt: str) -> None:
    verdict = check_prompt(prompt)
    assert verdict.is_minor_sexual
    assert verdict.is_nsfw
    assert verdict.filtered_prompt != prompt


@pytest.mark.parametrize(
    "prompt", ["nude woman, 25 years old", "naked 18 year old woman", "sexy woman", "sexy bad boy"]
)
def test_adults_are_no_minors(prompt: str) -> None:
    assert not check_prompt(prompt).is_minor_sexual


def test_one_half_of_a_combination_is_not_enough() -> None:
    assert not check_prompt("schoolgirl reading").is_nsfw
    assert not check_prompt("woman in lingerie").is_nsfw
    assert check_prompt("schoolgirl in lingerie").is_minor_sexual


def test_whisky_of_that_age_beside_a_nude_is_no_minor() -> None:
    assert not check_prompt("nude woman drinking 12 year old whisky").is_minor_sexual


def test_filtered_prompt_reads_on() -> None:
    verdict = check_prompt("portrait, nude, soft light, (naked) woman, 85mm")
    assert verdict.filtered_prompt == "portrait, soft light, woman, 85mm"
    assert not check_prompt(verdict.filtered_prompt).is_nsfw


def test_terms_come_in_the_prompts_order() -> None:
    assert check_prompt("topless and naked, topless").matched == ("topless", "naked")


LONG = {
    "words": "soft light, a young woman walks her dog, 35mm film grain, 8k, (masterpiece:1.2) " * 132,
    "single letters": "a b c d " * 1_312,
    "signs": "1!| " * 2_625,
    "leetspeak": "n4k3d! " * 1_500,
    "all of it matches": "young boy, 12 years old, nude " * 350,
    "line breaks": "nude" + "\n" * 10_495 + "x",
    "one word": "1!|" * 3_500,
}


@pytest.mark.parametrize("name", LONG)
def test_every_submit_can_afford_the_longest_prompt(name: str) -> None:
    # 2 to 8 ms where this was written; what looks at each pair of words or blanks takes ten times as long.
    prompt = LONG[name]
    assert 10_400 < len(prompt) < 10_700
    best_s = min(_took_s(prompt) for _ in range(5))
    assert best_s < 0.04


def _took_s(prompt: str) -> float:
    started = time.process_time()
    check_prompt(prompt)
    return time.process_time() - started
