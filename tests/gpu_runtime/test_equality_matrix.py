"""The matrix of equality: every family and sampler, with every kind of request, among all the others.

Cells of samplers that diffusers has a class for are compared with its unmodified pipelines, the rest with
the engine's own image made alone. One engine run a family holds all of its cells at mixed steps, strengths,
guidance and times of arrival. Tolerance and cause of the difference as in test_equality.py. What is special
to one kind (windows, several networks, other checkpoints) is in the test files of that kind.

The everyday run takes a quarter of the cells, which spares minutes of a processor: every family with each
kind and with each sampler. What fails for a kind and a sampler together, and for neither with others, is
found with DARKROOM_FULL_MATRIX=1.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gpu_runtime.flow_samplers import FLOW_SAMPLERS
from gpu_runtime.messages import ImageRequest, Sampler, Tier
from gpu_runtime.samplers import ALGORITHMS, SAMPLERS
from gpu_runtime.tiny.lora import make_tiny_lora
from gpu_runtime.weights.family_facts import FAMILY_FACTS
from tests.gpu_runtime.control_references import ExtraNetworks
from tests.gpu_runtime.driving import image_request
from tests.gpu_runtime.family_checkpoints import FamilyCheckpoints
from tests.gpu_runtime.lora_files import lora_ref
from tests.gpu_runtime.matrix_reference import MatrixReference
from tests.gpu_runtime.picture_references import as_input, painted_mask, photo
from tests.gpu_runtime.rendering import Rendered, assert_equal, render

FAMILIES = ("sd15", "sdxl", "sd3", "flux")
KINDS = ("text", "image", "mask", "control", "lora", "ip-adapter")
LORA_FORMATS = {"sd15": "kohya", "sdxl": "kohya", "sd3": "diffusers", "flux": "diffusers"}

STEPS = (2, 3)
STRENGTHS = (0.7, 1.0)
GUIDANCE = (4.5, 1.0, 7.0, 3.0, 5.5)
TRUE_GUIDANCE = (1.0, 3.0)

Cell = tuple[str, str, Sampler]
"""Family, kind and sampler."""

ALL_CELLS: list[Cell] = [
    (family, kind, sampler)
    for family in FAMILIES
    for kind in KINDS
    for sampler in FAMILY_FACTS[family].samplers
]


def is_everyday(cell: Cell) -> bool:
    """One kind for each sampler of a family, in turn; another one in the next family."""
    family, kind, sampler = cell
    number = FAMILIES.index(family) + KINDS.index(kind) + list(Sampler).index(sampler)
    # Other tests look at every kind with Euler.
    return number % len(KINDS) == 0 or sampler is Sampler.EULER


CELLS = ALL_CELLS if os.environ.get("DARKROOM_FULL_MATRIX") else [*filter(is_everyday, ALL_CELLS)]

WITH_PIPELINE = [cell for cell in CELLS if cell[2] in (*SAMPLERS, *FLOW_SAMPLERS)]
ADAPTIVE = [cell for cell in CELLS if cell[2] is Sampler.DPM_ADAPTIVE]
WITHOUT_PIPELINE = [cell for cell in CELLS if cell[2] in ALGORITHMS]


class Matrix:
    """The request of each cell, and its image from one engine run of its family."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._checkpoints = FamilyCheckpoints(folder)
        self._networks = ExtraNetworks(folder)
        self._images: dict[str, dict[str, Rendered]] = {}
        self._alone: dict[str, dict[str, Rendered]] = {}

    def request(self, cell: Cell, **changes: Any) -> ImageRequest:
        family, kind, sampler = cell
        number = KINDS.index(kind) * len(Sampler) + list(Sampler).index(sampler)
        fields: dict[str, Any] = {
            "prompt": "a red apple " * (number % 4),
            "width": 64,
            "height": 64,
            "sampler": sampler,
            "steps": STEPS[number % len(STEPS)],
            "guidance_scale": GUIDANCE[number % len(GUIDANCE)],
            "seeds": (number,),
            "account": f"account {number % 2}",
            **self._of_kind(family, kind, number),
        }
        if sampler is Sampler.DPM_ADAPTIVE:
            # One row each, so that several of them share an exact call.
            fields["guidance_scale"] = 1.0
        if family == "flux":
            fields["true_guidance_scale"] = TRUE_GUIDANCE[number // 2 % 2]
        return image_request(name_of(cell), self._checkpoints.plain(family), **{**fields, **changes})

    def image(self, cell: Cell) -> Rendered:
        return self._rendered(self._images, cell, CELLS, max_rows=16)

    def image_alone(self, cell: Cell) -> Rendered:
        return self._rendered(self._alone, cell, WITHOUT_PIPELINE, max_rows=1)

    def _rendered(
        self, known: dict[str, dict[str, Rendered]], wanted: Cell, cells: list[Cell], *, max_rows: int
    ) -> Rendered:
        family = wanted[0]
        if family not in known:
            requests = [self.request(cell) for cell in cells if cell[0] == family]
            # So that calls hold rows of all samplers and kinds.
            random.Random(0).shuffle(requests)
            # Four: two rows of the tiny SDXL end amid a vector of numbers, see `gpu_runtime/exact.py`.
            known[family] = render(requests, head_start=2, max_rows=max_rows, exact_rows=4)
        return known[family][f"{name_of(wanted)}/0"]

    def _of_kind(self, family: str, kind: str, number: int) -> dict[str, Any]:
        begun: dict[str, Any] = {
            "image": as_input(photo(number % 3)),
            "strength": STRENGTHS[number // 2 % 2],
            "steps": 3,
        }
        control, adapter, shown = self._networks.control, self._networks.adapter, number % 3
        made: dict[str, Callable[[], dict[str, Any]]] = {
            "text": dict,
            "image": lambda: begun,
            "mask": lambda: {**begun, "mask": as_input(painted_mask())},
            "control": lambda: {"controls": (control(family, shown, scale=0.5 + 0.25 * shown),)},
            "lora": lambda: {"loras": (lora_ref(self._lora(family), 1.0 - 0.2 * shown),)},
            "ip-adapter": lambda: {"ip_adapters": (adapter(family, shown, scale=0.6 + 0.2 * shown),)},
        }
        return made[kind]()

    def _lora(self, family: str) -> Path:
        file = self._folder / f"{family}-lora.safetensors"
        if file.exists():
            return file
        return make_tiny_lora(family, file, rank=3, seed=1, file_format=LORA_FORMATS[family])


def name_of(cell: Cell) -> str:
    return "-".join(cell)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory: pytest.TempPathFactory) -> Matrix:
    return Matrix(tmp_path_factory.mktemp("matrix"))


@pytest.fixture(scope="module")
def reference() -> MatrixReference:
    return MatrixReference()


def pairs(cells: list[Cell]) -> set[tuple[str, str]]:
    """Families with kinds, and families with samplers."""
    return {(family, other) for family, kind, sampler in cells for other in (kind, sampler)}


def test_every_family_is_among_the_cells_with_each_kind_and_sampler() -> None:
    assert pairs(CELLS) == pairs(ALL_CELLS)


@pytest.mark.parametrize("cell", WITH_PIPELINE, ids=name_of)
def test_image_among_all_others_equals_the_plain_pipeline(
    cell: Cell, matrix: Matrix, reference: MatrixReference
) -> None:
    assert_equal(matrix.image(cell), reference.render(matrix.request(cell)))


@pytest.mark.parametrize("cell", WITHOUT_PIPELINE, ids=name_of)
def test_image_among_all_others_equals_the_one_made_alone(cell: Cell, matrix: Matrix) -> None:
    assert_equal(matrix.image(cell), matrix.image_alone(cell))


@pytest.mark.parametrize("family", FAMILIES)
def test_comparison_tells_what_each_kind_adds(
    family: str, matrix: Matrix, reference: MatrixReference
) -> None:
    """The control of this file: equality must be able to fail."""
    for kind in KINDS[1:]:
        request = matrix.request((family, kind, Sampler.EULER))
        less = {"mask": None} if kind == "mask" else {"image": None, "strength": 1.0}
        without = replace(request, **less, controls=(), loras=(), ip_adapters=())
        with pytest.raises(AssertionError):
            assert_equal(matrix.image((family, kind, Sampler.EULER)), reference.render(without))


def assert_same_to_the_bit(requests: list[ImageRequest], others: list[ImageRequest], rows: int) -> None:
    """Fail unless the others change nothing, in exact calls of so many rows."""
    alone = render(requests, max_rows=1, exact_rows=rows)
    together = render([*requests, *others], head_start=1, exact_rows=rows)
    for name, image in alone.items():
        assert torch.equal(image.latents, together[name].latents), name
        assert (image.pixels == together[name].pixels).all(), name


@pytest.mark.parametrize("family", FAMILIES)
def test_exact_images_are_the_same_to_the_bit_alone_and_in_company(family: str, matrix: Matrix) -> None:
    exact: dict[str, Any] = {"tier": Tier.EXACT, "steps": 2}
    requests = [matrix.request((family, kind, Sampler.EULER), **exact) for kind in KINDS]
    others = [matrix.request((family, kind, Sampler.DPMPP_2M), **exact) for kind in reversed(KINDS)]
    others.append(matrix.request((family, "text", Sampler.UNIPC)))
    assert_same_to_the_bit(requests, others, 4)


@pytest.mark.parametrize("cell", ADAPTIVE, ids=name_of)
def test_adaptive_sampler_gives_the_same_to_the_bit_alone_and_in_company(cell: Cell, matrix: Matrix) -> None:
    """Its sixty calls would enlarge differences of rounding too far: it makes exact ones in every tier."""
    alone, together = matrix.image_alone(cell), matrix.image(cell)
    assert torch.equal(alone.latents, together.latents)
    assert (alone.pixels == together.pixels).all()
