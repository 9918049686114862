"""Figures and lists in guides are those of the product."""

from __future__ import annotations

import re

from django.conf import settings

from apps.accounts.choices import SafetyRule
from apps.api.native.events import STREAM_S
from apps.api.native.prefer import MAX_WAIT_S
from apps.api.reference.guides import file_of
from apps.apikeys.choices import Scope
from apps.generation.choices import ControlType, FaceChoice, Fill
from apps.generation.request import MAX_CONTROLS, MAX_LORAS, MAX_REFERENCES
from apps.generation.sizes import MIN_SIDE_PX, SIDE_MULTIPLE_PX
from apps.generation.wishes import MAX_UPSCALED_PX
from gpu_runtime.utility.shipped import SHIPPED
from gpu_runtime.weights.taxonomy import ModelKind


def text_of(slug: str) -> str:
    return " ".join(file_of(slug).read_text(encoding="utf-8").split())


def rows(slug: str, heading: str) -> set[str]:
    """What stands as code in the first cells of the table below a heading."""
    text = file_of(slug).read_text(encoding="utf-8").split(f"## {heading}\n")[1].split("\n## ")[0]
    # Behind the line of dashes, the table's head.
    lines = text.split("|---|", 1)[1].splitlines()
    cells = [line.split("|")[1] for line in lines if line.startswith("| `")]
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


def test_scopes() -> None:
    assert rows("authentication", "Scopes") == set(Scope.values)


def test_safety_rules() -> None:
    assert rows("safety", "The account's rule") == set(SafetyRule.values)


def test_faces_and_fills() -> None:
    assert rows("face-swap", "Which faces") == set(FaceChoice.values)
    assert all(f"`{fill}`" in text_of("inpaint-and-outpaint") for fill in Fill.values)


def test_control_types_are_real_ones() -> None:
    assert rows("controlnet", "Types") <= set(ControlType.values)
    assert len(rows("controlnet", "Types")) >= 14


def test_upscalers_are_those_that_ship() -> None:
    for shipped in SHIPPED:
        if shipped.kind == ModelKind.UPSCALER:
            assert f"`{shipped.name}`" in text_of("upscale")


def test_limits() -> None:
    limits = text_of("limits-and-quotas")

    assert f"| waiting with `Prefer: wait` | {MAX_WAIT_S:g} seconds" in limits
    assert f"| {MAX_UPSCALED_PX} pixels a side" in limits
    assert f"| {settings.MAX_BODY_BYTES // 1_000_000} MB unless" in limits
    assert (MAX_LORAS, MAX_CONTROLS) == (8, 5)
    assert "Up to eight LoRAs" in text_of("lora-and-models")
    assert "Up to five at once" in text_of("controlnet")
    assert (MAX_REFERENCES, "up to sixteen for FLUX.1 Kontext" in text_of("edit-with-words")) == (16, True)
    assert f"multiples of {SIDE_MULTIPLE_PX} from {MIN_SIDE_PX} pixels" in text_of("text-to-image")
    assert STREAM_S == 600 and "after ten minutes" in text_of("streaming-progress")
    assert f"After {settings.SYNC_WAIT_S:g} seconds" in text_of("from-modelslab")


def test_how_long_images_live() -> None:
    assert settings.ARTIFACT_TTL_S == 24 * 3600
    assert "a day unless the operator says otherwise" in text_of("privacy-and-retention")
