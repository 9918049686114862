from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from gpu_runtime.errors import PictureUnusable, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.operations.context import Context
from gpu_runtime.postprocess import matting
from gpu_runtime.postprocess.backdrops import find_before_backdrop
from gpu_runtime.postprocess.cutouts import CutOutNetwork, is_certain, load_cut_out, second_look
from gpu_runtime.postprocess.guided_filter import fit_linear, guided
from gpu_runtime.work import Asset
from tests.gpu_runtime.operations.running import SHELF, context_of, run, shipped

PORTRAIT = data.astronaut()
"""512 x 512: a person before a wall, a flag at the left."""
PERSON = {"model": shipped("mediapipe-selfie-segmentation")}
HAIR, FACE, SUIT, WALL, SHUTTLE = (40, 225), (110, 225), (400, 150), (60, 340), (150, 440)
"""Rows and columns."""


def removed(
    picture: np.ndarray = PORTRAIT, *, assets: dict[str, Asset] | None = None, **rest: Any
) -> Context:
    inputs = {"image": picture} | ({"background": rest.pop("background")} if "background" in rest else {})
    assets = PERSON if assets is None else assets
    return run(context_of("background.remove", inputs, assets=assets, **rest))


def goods() -> np.ndarray:
    """A disc with a ring before paper that is lit unevenly."""
    y, x = np.mgrid[0:300, 0:400]
    picture = (
        np.clip(236 - np.hypot(x - 200, y - 150)[:, :, None] / 20, 0, 255).repeat(3, axis=2).astype(np.uint8)
    )
    cv2.circle(picture, (200, 150), 85, (180, 60, 40), -1, cv2.LINE_AA)
    cv2.circle(picture, (300, 150), 40, (30, 60, 140), 12, cv2.LINE_AA)
    return picture


def test_the_person_stays_and_the_rest_goes() -> None:
    done = removed()
    image, mask = done.outputs["image"], done.outputs["mask"]
    assert image.shape == (512, 512, 4)
    assert np.array_equal(image[:, :, 3], mask)
    assert [mask[place] for place in (HAIR, FACE, SUIT)] == [255, 255, 255]
    assert [mask[place] for place in (WALL, SHUTTLE)] == [0, 0]
    assert done.notes == {"cut_out": "person"}


def test_colours_of_the_subject_are_its_own() -> None:
    image = removed().outputs["image"]
    whole = image[:, :, 3] == 255
    assert np.array_equal(image[whole][:, :3], PORTRAIT[whole])
    assert not image[image[:, :, 3] == 0].any()


def test_no_light_wall_shows_through_the_dark_rim_of_the_hair() -> None:
    """On black, the rim would keep a bright line if the wall's colour were left in it."""
    image = removed().outputs["image"].astype(float)
    rim = (image[:, :, 3] > 25) & (image[:, :, 3] < 230)
    rim[100:], rim[:, :140], rim[:, 320:] = False, False, False
    assert rim.sum() > 100
    mixed = PORTRAIT[rim].mean()
    assert image[rim][:, :3].mean() < mixed - 15


def test_the_outline_lies_on_the_pictures_edges() -> None:
    """Where alpha changes most, the picture changes; the network's own mask is off by pixels."""
    alpha = removed().outputs["mask"].astype(np.float32)
    edges = np.hypot(*np.gradient(cv2.GaussianBlur(PORTRAIT.mean(axis=2).astype(np.float32), (0, 0), 1)))
    outline = np.hypot(*np.gradient(alpha)) > 40
    outline[200:] = False
    assert edges[outline].mean() > 2.5 * np.median(edges)


def test_only_the_mask() -> None:
    done = removed(only_mask=True)
    assert done.outputs["image"].shape == (512, 512)
    assert np.array_equal(done.outputs["image"], done.outputs["mask"])


def test_inverted_it_is_the_wall_that_stays() -> None:
    straight, inverted = removed().outputs, removed(inverse_mask=True).outputs
    assert np.array_equal(inverted["mask"], 255 - straight["mask"])
    assert inverted["image"][WALL][:3].tolist() == PORTRAIT[WALL].tolist()
    assert inverted["image"][FACE].tolist() == [0, 0, 0, 0]


def test_a_colour_or_a_picture_behind() -> None:
    on_green = removed(colour="#00a000").outputs["image"]
    assert on_green.shape == (512, 512, 3)
    assert on_green[WALL].tolist() == [0, 160, 0]
    assert on_green[FACE].tolist() == PORTRAIT[FACE].tolist()
    on_coffee = removed(background=data.coffee()).outputs["image"]
    assert on_coffee.shape == (512, 512, 3)
    assert on_coffee[FACE].tolist() == PORTRAIT[FACE].tolist()
    assert np.abs(on_coffee[WALL].astype(int) - PORTRAIT[WALL]).max() > 20


@pytest.mark.parametrize("colour", ["#00a0", "green", "#00a000ff"])
def test_a_colour_that_is_none_is_refused(colour: str) -> None:
    with pytest.raises(UnsupportedCombination, match="#rrggbb"):
        removed(colour=colour)


def test_matting_softens_hair_and_leaves_the_face() -> None:
    plain, soft = removed().outputs["mask"], removed(alpha_matting=True).outputs["mask"]
    rim = np.s_[10:110, 140:310]
    assert ((soft[rim] > 20) & (soft[rim] < 235)).sum() > 1.2 * ((plain[rim] > 20) & (plain[rim] < 235)).sum()
    assert [soft[place] for place in (HAIR, FACE, SUIT)] == [255, 255, 255]
    assert [soft[place] for place in (WALL, SHUTTLE)] == [0, 0]


def test_matting_obeys_its_thresholds() -> None:
    mask = np.linspace(0, 1, 256, dtype=np.float32)[None].repeat(64, axis=0)
    near = matting.trimap_of(mask, foreground=200, background=100, erode_px=0)
    assert (near.inside[32, 201:]).all()
    assert not near.inside[32, 129:133].any()
    eroded = matting.trimap_of(mask, foreground=130, background=120, erode_px=5)
    assert (
        eroded.inside[32].sum()
        < matting.trimap_of(mask, foreground=130, background=120, erode_px=0).inside[32].sum()
    )


def test_post_processing_makes_one_compact_shape() -> None:
    mask = np.zeros((200, 200), np.float32)
    cv2.circle(mask, (100, 100), 50, 1.0, -1)
    cv2.circle(mask, (100, 100), 4, 0.0, -1)
    cv2.line(mask, (100, 100), (199, 100), 1.0, 1)
    cv2.circle(mask, (20, 20), 8, 1.0, -1)
    cleaned = matting.smooth_outline(mask)
    assert cleaned[100, 100] == 1
    assert cleaned[100, 170] == 0
    assert cleaned[20, 20] == 0
    assert 0.8 * np.pi * 50**2 < cleaned.sum() < 1.1 * np.pi * 50**2


def test_specks_go_and_what_the_border_cuts_stays() -> None:
    mask = np.zeros((100, 100), np.float32)
    mask[20:90, 20:90] = 1
    mask[50:53, 50:53] = 0
    mask[5:8, 50:53] = 1
    mask[0:3, 0:3] = 1
    cleaned = matting.without_specks(mask)
    assert cleaned[51, 51] == 1
    assert cleaned[6, 51] == 0
    assert cleaned[1, 1] == 1


def test_goods_before_a_plain_backdrop_need_no_network() -> None:
    for assets in ({}, PERSON):
        done = removed(goods(), assets=assets)
        mask = done.outputs["mask"]
        assert done.notes == {"cut_out": "backdrop"}
        assert [mask[150, x] for x in (200, 262, 300, 340, 20)] == [255, 255, 0, 255, 0]
        assert abs(int((mask > 127).sum()) - np.pi * 85**2 - 3000) < 1500


def soft_ball() -> tuple[np.ndarray, np.ndarray]:
    """A red ball before a blue wall at 128 pixels, its rim as soft as an autoencoder makes it; and its alpha.

    With a spot of the wall's blue beside the rim, which is a reflection and no hole.
    """
    alpha = np.zeros((128, 128), np.float32)
    cv2.circle(alpha, (64, 64), 36, 1.0, -1, cv2.LINE_AA)
    alpha = cv2.GaussianBlur(alpha, (0, 0), 1.5)
    ball = np.full((128, 128, 3), (230, 60, 70), np.float32)
    cv2.circle(ball, (90, 64), 2, (50, 110, 220), -1, cv2.LINE_AA)
    wall = np.array((50, 110, 220), np.float32)
    return np.round(ball * alpha[:, :, None] + wall * (1 - alpha[:, :, None])).astype(np.uint8), alpha


def test_a_soft_rim_keeps_nothing_of_the_backdrop() -> None:
    picture, alpha = soft_ball()
    image = removed(picture, assets={}).outputs["image"].astype(np.float32)
    assert np.abs(image[:, :, 3] / 255 - alpha).mean() < 0.01
    rim = (image[:, :, 3] > 64) & (image[:, :, 3] < 240)
    assert rim.sum() > 300
    assert image[rim][:, 2].mean() < 110, "blue of the wall is left in the rim"


def test_a_reflection_of_the_backdrop_is_no_hole() -> None:
    image = removed(soft_ball()[0], assets={}).outputs["image"]
    assert image[64, 90].tolist() == [50, 110, 220, 255]


def test_a_backdrop_of_two_parts_is_not_plain() -> None:
    wall = goods()
    wall[:, :90] = (90, 110, 160)
    assert find_before_backdrop(wall) is None
    assert find_before_backdrop(np.full((90, 90, 3), 200, np.uint8)) is None


@pytest.mark.parametrize("picture", [data.coffee(), data.rocket()], ids=["coffee", "rocket"])
def test_where_nobody_is_that_is_said(picture: np.ndarray) -> None:
    with pytest.raises(PictureUnusable, match="no person was found") as refused:
        removed(picture)
    assert refused.value.code == "no_subject"


def test_transparent_parts_stay_transparent() -> None:
    picture = np.dstack([PORTRAIT, np.full((512, 512), 255, np.uint8)])
    picture[:, :200, 3] = 0
    image = removed(picture).outputs["image"]
    assert not image[:, :200, 3].any()
    assert image[FACE][3] == 255


def test_a_large_picture_gets_its_outline_from_its_own_edges() -> None:
    large = cv2.resize(PORTRAIT, (1536, 1536), interpolation=cv2.INTER_CUBIC)
    mask = removed(large).outputs["mask"]
    assert mask.shape == (1536, 1536)
    small = cv2.resize(mask, (512, 512), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(small - removed().outputs["mask"]).mean() < 4


class Answers:
    """Stands for an ONNX file: tells what it was given, and answers a square."""

    def __init__(self, side: int, *, is_logits: bool = False) -> None:
        self.given: list[np.ndarray] = []
        answer = np.zeros((1, 1, side, side), np.float32)
        answer[0, 0, side // 4 : -side // 4, side // 4 : -side // 4] = 1
        self.answer = answer * 16 - 8 if is_logits else answer

    def run(self, image: np.ndarray) -> list[np.ndarray]:
        self.given.append(image)
        return [self.answer]


def general(
    network: Answers, *, mean: tuple[float, ...] = (0.5,), std: tuple[float, ...] = (1.0,)
) -> CutOutNetwork:
    return CutOutNetwork(network=network, input_px=64, mean=mean, std=std, is_person=False)  # type: ignore[arg-type]


@pytest.mark.parametrize("is_logits", [False, True])
def test_general_networks_cut_out_anything(is_logits: bool) -> None:
    asset = Asset(name="isnet", path="/nowhere", digest=f"isnet-{is_logits}", variant="isnet")
    SHELF.kept[asset.digest, "cpu"] = general(Answers(64, is_logits=is_logits))
    done = removed(data.coffee(), assets={"model": asset})
    assert done.notes == {"cut_out": "general"}
    assert done.outputs["mask"][200, 300] == 255
    assert done.outputs["mask"][20, 20] == 0


def test_networks_get_colours_as_their_facts_say() -> None:
    network = Answers(64)
    general(network, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)).look(
        np.full((9, 9, 3), 255, np.uint8)
    )
    assert network.given[0].shape == (3, 64, 64)
    assert network.given[0][:, 5, 5] == pytest.approx([2.249, 2.429, 2.640], abs=1e-3)


def test_facts_of_a_network_may_be_texts() -> None:
    person = shipped("mediapipe-selfie-segmentation")
    facts = {"input_px": 1024, "mean": ("0.5", "0.5", "0.5"), "std": 1.0}
    loaded = load_cut_out(Path(person.path), variant="isnet", details=facts)
    assert (loaded.input_px, loaded.mean, loaded.std, loaded.is_person) == (
        1024,
        (0.5, 0.5, 0.5),
        (1.0,),
        False,
    )
    with pytest.raises(WeightsCorrupt, match="must be numbers"):
        load_cut_out(Path(person.path), variant="isnet", details={"mean": "grey"})


def test_a_folder_without_a_network_is_named(tmp_path: Any) -> None:
    with pytest.raises(WeightsCorrupt, match="one ONNX file"):
        load_cut_out(tmp_path, variant="person", details={})


def test_a_small_subject_is_looked_at_again() -> None:
    wall = np.full((900, 1400, 3), 180, np.uint8)
    wall[:, :300], wall[500:] = (90, 110, 160), (120, 80, 50)
    wall[500:900, 200:600] = cv2.resize(PORTRAIT, (400, 400), interpolation=cv2.INTER_AREA)
    asset = PERSON["model"]
    network = load_cut_out(Path(asset.path), variant=asset.variant, details=asset.details)
    first = network.look(wall)
    closer = second_look(network, wall, first)
    assert closer.size > 2 * first.size
    assert is_certain(closer)


def test_a_doubtful_mask_is_no_person() -> None:
    assert is_certain(np.array([[0.0, 1.0, 1.0, 0.5]], np.float32))
    assert not is_certain(np.array([[0.0, 1.0, 0.6, 0.5]], np.float32))
    assert not is_certain(np.zeros((2, 2), np.float32))


def test_the_guided_filter_finds_the_edge_that_the_values_missed() -> None:
    guide = np.zeros((64, 64, 3), np.float32)
    guide[:, 32:] = (0.8, 0.6, 0.2)
    values = np.zeros((64, 64), np.float32)
    values[:, 29:] = 1
    made = guided(guide, values, radius_px=8, eps=1e-4)
    assert made[32, 31] < 0.5
    assert made[32, 32] > 0.9


def test_functions_found_small_are_used_large() -> None:
    guide = np.zeros((32, 32, 3), np.float32)
    guide[:, 16:] = 1
    found = fit_linear(guide, guide[:, :, 0], radius_px=2, eps=1e-5)
    large = np.zeros((128, 128, 3), np.float32)
    large[:, 61:] = 1
    whole = found.apply(large, top=0, height=128)
    strip = found.apply(large[40:60], top=40, height=128)
    assert np.allclose(whole[40:60], strip, atol=1e-6)
    assert whole[64, 60] < 0.2
    assert whole[64, 61] > 0.6
