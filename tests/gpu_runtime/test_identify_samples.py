"""Identification of stripped checkpoints: real layouts, no numbers, the expected answer beside each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gpu_runtime.errors import RuntimeFault
from gpu_runtime.weights.family_facts import FAMILY_FACTS
from gpu_runtime.weights.identification import rules
from gpu_runtime.weights.identification.reading import open_file
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.taxonomy import Identified
from tests.checkpoints.samples import load_sample, sample_names, write_sparse_sample

SAMPLES = sample_names()
ACCEPTED = [name for name in SAMPLES if "refused" not in load_sample(name).expected]
REFUSED = [name for name in SAMPLES if "refused" in load_sample(name).expected]

PUBLISHED_TENSORS = {
    "sd15": {"unet": 686, "vae": 248, "text_encoder": 197},
    "sdxl": {"unet": 1680, "vae": 248, "text_encoder": 197, "text_encoder_2": 390},
    "flux-dev": {"transformer": 780},
    "flux-schnell": {"transformer": 776},
}
"""Tensor counts of the files as they are published."""


@pytest.fixture
def neutral(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder whose name holds no word that identification knows."""
    yield tmp_path_factory.mktemp("sample")


def answered(found: Identified) -> dict[str, Any]:
    """The answer as the samples write it."""
    return {
        "kind": found.kind.value,
        "family": found.family,
        "variant": found.variant,
        "file_format": found.file_format.value,
        "components": [each.name for each in found.components],
        "details": {name: list(v) if isinstance(v, tuple) else v for name, v in found.details.items()},
        "title": found.title,
        "licence": found.licence,
        "trigger_words": list(found.trigger_words),
    }


@pytest.mark.parametrize("name", ACCEPTED)
def test_sample_is_identified(name: str, neutral: Path) -> None:
    expected = load_sample(name).expected
    found = answered(identify(write_sparse_sample(name, neutral)))
    silent = {"title": "", "licence": "", "trigger_words": []}
    assert found == silent | dict(expected)


@pytest.mark.parametrize("name", REFUSED)
def test_sample_is_refused_by_name(name: str, neutral: Path) -> None:
    expected = load_sample(name).expected
    with pytest.raises(RuntimeFault) as caught:
        identify(write_sparse_sample(name, neutral))
    assert type(caught.value).__name__ == expected["refused"]
    assert expected["says"] in str(caught.value)


@pytest.mark.parametrize("name", SAMPLES)
def test_at_most_one_rule_claims_a_sample(name: str, neutral: Path) -> None:
    contents = open_file(write_sparse_sample(name, neutral))
    claims = []
    for rule in rules.RULES:
        try:
            answer = rule(contents)
        except RuntimeFault as fault:
            claims.append((rule.__module__, type(fault).__name__))
        else:
            if answer is not None:
                claims.append((rule.__module__, answer.kind.value))
    expected = load_sample(name).expected
    if expected.get("refused") == "NotRecognised":
        assert len(claims) <= 1
    else:
        assert len(claims) == 1, claims


@pytest.mark.parametrize("name", PUBLISHED_TENSORS)
def test_components_have_the_published_numbers_of_tensors(name: str, neutral: Path) -> None:
    found = identify(write_sparse_sample(name, neutral))
    assert {each.name: each.tensors for each in found.components} == PUBLISHED_TENSORS[name]


def test_sizes_are_those_of_the_published_file(neutral: Path) -> None:
    found = identify(write_sparse_sample("sdxl", neutral))
    unet = next(each for each in found.components if each.name == "unet")
    assert unet.dtype == "F16"
    assert unet.size_bytes == 2 * 2_567_463_684
    assert found.size_bytes > sum(each.size_bytes for each in found.components)


def test_every_family_has_facts() -> None:
    families = {load_sample(name).expected["family"] for name in ACCEPTED}
    assert families - {""} <= set(FAMILY_FACTS)
