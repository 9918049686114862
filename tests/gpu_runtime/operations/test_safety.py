from __future__ import annotations

import numpy as np
import pytest

from gpu_runtime.errors import PictureUnusable, UnsupportedCombination
from gpu_runtime.operations.safety import input_of
from gpu_runtime.people.faces import FaceNetworks, find_faces, open_detector, open_mesh
from gpu_runtime.preprocessors.censoring import MOSAIC_CELLS, REPLACEMENTS, replaced
from gpu_runtime.utility.shipped import WEIGHTS
from tests.gpu_runtime.operations.photographs import astronaut, coffee
from tests.gpu_runtime.operations.running import context_of, run, shipped

NSFW = {"model": shipped("open-nsfw")}


@pytest.mark.parametrize("picture", [astronaut(), coffee()])
def test_harmless_pictures_score_low_and_stay(picture: np.ndarray) -> None:
    context = run(
        context_of("safety.check", {"image": picture}, assets=NSFW, replacement="black", is_blocking=True)
    )
    assert 0 <= context.notes["nsfw"] < 0.1
    assert (context.notes["is_nsfw"], context.notes["is_replaced"]) == (False, False)
    assert context.outputs["image"] is picture


@pytest.mark.parametrize("replacement", REPLACEMENTS)
def test_picture_above_the_threshold_is_replaced(replacement: str) -> None:
    context = run(
        context_of(
            "safety.check", {"image": astronaut()}, assets=NSFW, threshold=0.0, replacement=replacement
        )
    )
    assert (context.notes["is_nsfw"], context.notes["is_replaced"]) == (True, True)
    assert np.array_equal(context.outputs["image"], replaced(astronaut(), replacement))


def test_without_a_replacement_it_is_only_said() -> None:
    context = run(context_of("safety.check", {"image": astronaut()}, assets=NSFW, threshold=0.0))
    assert (context.notes["is_nsfw"], context.notes["is_replaced"]) == (True, False)
    assert np.array_equal(context.outputs["image"], astronaut())


def test_blocking_refuses_and_delivers_nothing() -> None:
    context = context_of("safety.check", {"image": astronaut()}, assets=NSFW, threshold=0.0, is_blocking=True)
    with pytest.raises(PictureUnusable, match="withheld") as caught:
        run(context)
    assert caught.value.code == "blocked_content"
    assert context.outputs == {}
    assert context.notes["is_nsfw"] is True


@pytest.mark.parametrize("wrong", [{"threshold": 1.5}, {"threshold": -0.1}, {"replacement": "mosaic"}])
def test_unknown_settings_are_refused(wrong: dict[str, float | str]) -> None:
    with pytest.raises(UnsupportedCombination, match=next(iter(wrong))):
        run(context_of("safety.check", {"image": coffee()}, assets=NSFW, **wrong))


def test_network_sees_the_middle_of_the_squeezed_picture_in_bgr() -> None:
    picture = np.zeros((512, 1024, 3), dtype=np.uint8)
    picture[:] = (10, 20, 30)
    picture[:, :30] = 255
    seen = input_of(picture)
    assert seen.shape == (224, 224, 3)
    assert seen == pytest.approx(np.broadcast_to(np.array([30 - 104, 20 - 117, 10 - 123]), seen.shape))


@pytest.mark.parametrize("how", ["blur", "pixelate"])
def test_nobody_can_be_made_out(how: str) -> None:
    """Neither a face nor any detail is left: a few flat cells, or nothing but slow changes."""
    made = replaced(astronaut(), how)
    networks = FaceNetworks(
        open_detector(WEIGHTS / "mediapipe-face-detection"), open_mesh(WEIGHTS / "mediapipe-face-mesh")
    )
    search = find_faces(made, networks)
    with pytest.raises(StopIteration) as ended:
        while True:
            next(search)
    assert ended.value.value == []
    if how == "pixelate":
        assert len(np.unique(made.reshape(-1, 3), axis=0)) <= MOSAIC_CELLS**2
    else:
        assert int(np.abs(np.diff(made.astype(int), axis=1)).max()) <= 4


@pytest.mark.parametrize(("width", "height"), [(512, 512), (1024, 300), (200, 900), (40, 40), (1, 1)])
def test_panel_has_its_text_inside(width: int, height: int) -> None:
    panel = replaced(np.zeros((height, width, 3), dtype=np.uint8), "sensitive_content_text")
    assert panel.shape == (height, width, 3)
    ink = np.argwhere(panel[:, :, 0] > 120)
    if min(width, height) >= 64:
        assert len(ink) > 20
        assert ink[:, 1].min() > 0
        assert ink[:, 1].max() < width - 1
    else:
        assert len(ink) == 0
