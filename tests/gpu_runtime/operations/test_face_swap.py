from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from gpu_runtime.errors import PictureUnusable, UnsupportedCombination
from gpu_runtime.operations.context import Context
from tests.gpu_runtime.operations.photographs import (
    FACE_ASSETS,
    Pixels,
    astronaut,
    coffee,
    other_person,
    turned,
    two_people,
)
from tests.gpu_runtime.operations.running import context_of, run

FACE = np.s_[85:165, 185:265]
"""Of the astronaut."""
OTHER_FACE = np.s_[152:222, 705:772]
"""Of the other person beside her."""


def swapped(target: Pixels, source: Pixels, reference: Pixels | None = None, **settings: Any) -> Context:
    inputs = {"target": target, "source": source}
    if reference is not None:
        inputs["reference"] = reference
    return run(context_of("faces.swap", inputs, assets=FACE_ASSETS, **settings))


def change(made: Pixels, target: Pixels) -> float:
    return float(np.abs(made.astype(int) - target).mean())


def lightness(picture: Pixels) -> Pixels:
    return cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2LAB)[:, :, 0].astype(np.float32)


def test_face_is_replaced_and_nothing_else() -> None:
    target = astronaut()
    context = swapped(target, other_person())
    made = context.outputs["image"]
    assert context.notes["source_face_px"] == pytest.approx(98, abs=4)
    assert made.shape == target.shape
    assert change(made[FACE], target[FACE]) > 4
    outside = np.ones(target.shape[:2], dtype=bool)
    outside[60:190, 165:290] = False
    assert np.array_equal(made[outside], target[outside])


def test_light_of_the_target_stays() -> None:
    target, source = astronaut(), other_person()
    made = swapped(target, source).outputs["image"]
    assert abs(float(lightness(source[75:160, 250:330]).mean() - lightness(target[FACE]).mean())) > 30
    assert abs(float(lightness(made[FACE]).mean() - lightness(target[FACE]).mean())) < 8
    colours = [each[FACE].reshape(-1, 3).mean(axis=0) for each in (made, target)]
    assert colours[0] == pytest.approx(colours[1], abs=16)


def test_a_face_put_upon_itself_stays_what_it_was() -> None:
    target = astronaut()
    made = swapped(target, target).outputs["image"]
    assert change(made[FACE], target[FACE]) < 2.5


def test_there_is_no_seam() -> None:
    """Around the face nothing jumps that did not jump before."""
    target = astronaut()
    made = swapped(target, other_person()).outputs["image"]
    for picture in (target, made):
        assert picture.dtype == np.uint8
    steps = [np.abs(np.diff(lightness(each), axis=1))[95:160, 172:200] for each in (target, made)]
    assert float(np.percentile(steps[1], 95)) < float(np.percentile(steps[0], 95)) + 4


def test_turned_faces_are_replaced() -> None:
    target = turned(astronaut(), 90)
    context = swapped(target, other_person())
    made = cv2.rotate(context.outputs["image"], cv2.ROTATE_90_CLOCKWISE)
    assert change(made[FACE], astronaut()[FACE]) > 4
    assert abs(float(lightness(made[FACE]).mean() - lightness(astronaut()[FACE]).mean())) < 8


def test_all_faces_are_replaced_on_request() -> None:
    target = two_people()
    context = swapped(target, other_person(), which="all")
    made = context.outputs["image"]
    assert (context.notes["faces"], context.notes["faces_found"]) == (2, 2)
    assert change(made[FACE], target[FACE]) > 4
    # The smaller one is that person already, larger and in other light.
    assert change(made[OTHER_FACE], target[OTHER_FACE]) > 0.3


def test_largest_face_is_the_usual_choice() -> None:
    target = two_people()
    made = swapped(target, other_person()).outputs["image"]
    assert change(made[FACE], target[FACE]) > 4
    assert np.array_equal(made[:, 512:], target[:, 512:])


@pytest.mark.parametrize("is_left", [True, False])
def test_reference_says_which_face(is_left: bool) -> None:
    target = two_people()
    context = swapped(
        target, turned(astronaut(), 5), astronaut() if is_left else other_person(), which="reference"
    )
    made = context.outputs["image"]
    assert np.array_equal(made[:, :512], target[:, :512]) is not is_left
    assert np.array_equal(made[:, 512:], target[:, 512:]) is is_left
    assert "no network for identities" in context.notes["chosen_by"]


@pytest.mark.parametrize(
    ("pictures", "named"),
    [
        ({"target": coffee(), "source": astronaut()}, "the target image"),
        ({"target": astronaut(), "source": coffee()}, "the source image"),
        ({"target": astronaut(), "source": astronaut(), "reference": coffee()}, "the reference image"),
    ],
)
def test_picture_without_a_face_is_named(pictures: dict[str, Pixels], named: str) -> None:
    context = context_of("faces.swap", pictures, assets=FACE_ASSETS, which="reference")
    with pytest.raises(PictureUnusable, match=named) as caught:
        run(context)
    assert caught.value.code == "no_face"
    assert context.outputs == {}


@pytest.mark.parametrize("part", [np.s_[90:, :], np.s_[:150, :], np.s_[:, 195:], np.s_[:, :250]])
def test_faces_cut_by_the_pictures_edge_are_replaced(part: tuple[slice, slice]) -> None:
    target = np.ascontiguousarray(astronaut()[part])
    made = swapped(target, other_person()).outputs["image"]
    assert made.shape == target.shape
    changed = np.abs(made.astype(int) - target).max(axis=2)
    assert int((changed > 4).sum()) > 500
    # Nothing is torn: what changed is the face, no streak along the edge is black or white.
    assert abs(float(lightness(made).mean() - lightness(target).mean())) < 1


def test_alpha_stays() -> None:
    alpha = np.tile(np.arange(512, dtype=np.uint16) // 2, (512, 1)).astype(np.uint8)
    made = swapped(np.dstack([astronaut(), alpha]), other_person()).outputs["image"]
    assert np.array_equal(made[:, :, 3], alpha)


def test_unknown_choice_is_refused() -> None:
    with pytest.raises(UnsupportedCombination, match="largest, reference, all"):
        swapped(astronaut(), astronaut(), which="second")


def test_detecting_alone_says_how_many_and_where() -> None:
    context = run(context_of("faces.detect", {"image": two_people()}, assets=FACE_ASSETS))
    assert context.notes["faces"] == 2
    assert context.notes["face_boxes"][0]["box"] == pytest.approx([179, 70, 272, 177], abs=4)
    assert [type(value) for value in context.notes["face_boxes"][0]["box"]] == [int] * 4
    nobody = run(context_of("faces.detect", {"image": coffee()}, assets=FACE_ASSETS))
    assert (nobody.outputs["faces"], nobody.notes["faces"]) == ([], 0)
