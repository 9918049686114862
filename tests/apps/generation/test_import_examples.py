"""Hints name what our importer can read, for everything that requests look for by themselves."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any, cast

import pytest

from apps.catalog.choices import Kind
from apps.generation.choices import ControlType
from apps.generation.choosing import BACKGROUND_VARIANTS, READERS
from apps.generation.controls import DETECTOR_ROLES, MODES, UNION, VARIANTS
from apps.generation.faces import RESTORATION_VARIANTS
from apps.generation.import_examples import EXAMPLES, find_example, import_hint
from gpu_runtime.weights.identification.controlnets import control_type
from gpu_runtime.weights.identification.picture_networks import PICTURE_NETWORKS
from gpu_runtime.weights.identification.restorers import MAKES

SEARCHED = [
    *(row for roles in DETECTOR_ROLES.values() for row in roles.values()),
    *((Kind.PREPROCESSOR, variants) for variants, _ in READERS.values()),
    *((Kind.FACE, (variant,)) for variant in RESTORATION_VARIANTS),
    (Kind.BACKGROUND_REMOVAL, BACKGROUND_VARIANTS),
    (Kind.SAFETY, ("image",)),
    (Kind.UPSCALER, ()),
]


@pytest.mark.parametrize(("kind", "variants"), SEARCHED)
def test_whatever_is_missing_there_is_something_to_import(kind: Kind, variants: tuple[str, ...]) -> None:
    assert re.search(r", for example \w[\w-]*/\w|`deploy/manage bootstrap`$", import_hint(kind, variants))


def test_what_nobody_knows_is_named_without_an_example() -> None:
    assert import_hint(Kind.VAE, ("x",)) == "import a model of kind vae of variant x"


@pytest.mark.parametrize(("key", "repository"), EXAMPLES.items(), ids=EXAMPLES.values())
def test_examples_are_what_identification_would_call_them(
    key: tuple[Kind, str, str], repository: str
) -> None:
    kind, _, variant = key
    if kind == Kind.CONTROLNET and variant != UNION:
        words = frozenset(re.findall(r"[a-z]+|[0-9]+", repository.rsplit("/", 1)[1].lower()))
        # Any: of a file's contents only the words around it are looked at.
        assert control_type(cast(Any, SimpleNamespace(words=words))) == variant
    elif kind == Kind.PREPROCESSOR:
        assert variant in {network.variant for network in PICTURE_NETWORKS.values()}
    elif kind == Kind.FACE:
        assert variant in MAKES and variant in repository and repository.endswith(".onnx")


@pytest.mark.parametrize("family", ["sd15", "flux"])
@pytest.mark.parametrize("type", list(ControlType))
def test_controlnets_of_the_usual_families_have_one(family: str, type: ControlType) -> None:
    if family == "flux" and type not in MODES["flux"]:
        pytest.skip("its union network does not know the type")
    if family == "sd15" and type in (ControlType.GRAY, ControlType.THRESHOLD, ControlType.FACE):
        pytest.skip("no well-known one in a form that is read")
    wanted = (*VARIANTS.get(type, (type.value,)), UNION)
    assert find_example(Kind.CONTROLNET, wanted, family=family)
