from __future__ import annotations

from collections.abc import Generator
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from skimage import data
from torch import nn

from gpu_runtime.errors import NumericFault, PictureUnusable, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.images import resize
from gpu_runtime.operations.upscale import build, without_hidden_colours
from gpu_runtime.postprocess.enlarging import NetworkRun, Tiling, enlarge, sizes
from gpu_runtime.postprocess.tiles import spans
from gpu_runtime.postprocess.upscalers import RRDBNet, SRVGGNetCompact, Upscaler
from tests.gpu_runtime.operations.running import run_one, shipped

T = TypeVar("T")

FACE = np.ascontiguousarray(data.astronaut()[60:161, 150:247])
"""101 x 97: both sides odd."""
MODELS = ("waifu2x-photo", "realesr-animevideov3")
SEEN_PX = {"waifu2x-photo": 7, "realesr-animevideov3": 18}
"""How far from a pixel these networks look."""


def finished(work: Generator[float, None, T]) -> T:
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result


def network_of(name: str) -> Upscaler:
    return build(Path(shipped(name).path), "cpu")


def enlarged(picture: np.ndarray, network: Upscaler, tiling: Tiling, *, factor: int = 0) -> np.ndarray:
    factor = factor or network.scale
    size = (picture.shape[0] * factor, picture.shape[1] * factor)
    work = enlarge(picture, size, by=NetworkRun(network), tiling=tiling, align=network.fold)
    return finished(work)


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def tiny_rrdb(scale: int) -> RRDBNet:
    torch.manual_seed(scale)
    return RRDBNet(blocks=1, features=8, growth=4, scale=scale).eval().requires_grad_(False)


@pytest.mark.parametrize("name", MODELS)
def test_tiles_equal_the_whole_where_they_overlap_by_what_the_network_sees(name: str) -> None:
    network = network_of(name)
    whole = enlarged(FACE, network, Tiling(tile=256))
    # Four more, in which neighbours fade into each other.
    tiled = enlarged(FACE, network, Tiling(tile=64, overlap=SEEN_PX[name] + 4))
    difference = np.abs(tiled.astype(int) - whole)
    # Sums of other lengths round otherwise, once in a while.
    assert difference.max() <= 1
    assert difference.mean() < 1e-3


def test_the_default_shows_no_seam() -> None:
    network = network_of("realesr-animevideov3")
    whole = enlarged(FACE, network, Tiling(tile=256)).astype(int)
    tiled = enlarged(FACE, network, Tiling(tile=80)).astype(int)
    difference = np.abs(tiled - whole)
    assert difference.max() <= 2
    # Nor is a pixel's step to its neighbour larger than it was.
    steps = np.abs(np.diff(tiled, axis=1)).max(axis=(0, 2)) - np.abs(np.diff(whole, axis=1)).max(axis=(0, 2))
    assert steps.max() <= 2


def test_too_small_an_overlap_does_show() -> None:
    """The control of the two tests above."""
    network = network_of("realesr-animevideov3")
    whole = enlarged(FACE, network, Tiling(tile=256)).astype(int)
    assert np.abs(enlarged(FACE, network, Tiling(tile=52, overlap=0)) - whole).max() > 10


@pytest.mark.parametrize("scale", [1, 2, 4])
@pytest.mark.parametrize("size", [(37, 53), (1, 1), (2, 70), (70, 3)])
def test_odd_sizes_and_folded_networks(scale: int, size: tuple[int, int]) -> None:
    picture = resize(FACE, width=size[1], height=size[0])
    network = tiny_rrdb(scale)
    made = enlarged(picture, network, Tiling(tile=32, overlap=8))
    assert made.shape == (size[0] * scale, size[1] * scale, 3)


def test_folds_of_neighbouring_tiles_meet() -> None:
    network = tiny_rrdb(2)
    whole = enlarged(FACE, network, Tiling(tile=256)).astype(int)
    tiled = enlarged(FACE, network, Tiling(tile=80, overlap=24)).astype(int)
    # What lies further away than the overlap has a part of a level.
    assert np.abs(tiled - whole).max() <= 1


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("name", ["waifu2x-photo", "realesr-animevideov3", ""])
def test_every_factor(name: str, factor: int) -> None:
    small = resize(FACE, width=24, height=25)
    assets = {"model": shipped(name)} if name else {}
    made = run_one("upscale", {"image": small}, assets=assets, factor=factor)
    assert made.shape == (25 * factor, 24 * factor, 3)
    assert np.abs(resize(made, width=24, height=25).astype(int) - small).mean() < 15


def test_a_network_is_sharper_than_lanczos() -> None:
    def sharpness(picture: np.ndarray) -> float:
        return float((np.diff(picture.astype(float), axis=1) ** 2).mean())

    assets = {"model": shipped("realesr-animevideov3")}
    assert sharpness(run_one("upscale", {"image": FACE}, assets=assets)) > 1.1 * sharpness(
        run_one("upscale", {"image": FACE})
    )


def test_lanczos_in_tiles_is_lanczos() -> None:
    made = run_one("upscale", {"image": FACE}, factor=3, tile=48)
    difference = np.abs(made.astype(int) - resize(FACE, width=291, height=303))
    assert difference.max() <= 1


def test_a_size_of_its_own_may_stretch() -> None:
    made = run_one("upscale", {"image": FACE}, width=100, height=333, assets={"model": shipped(MODELS[0])})
    assert made.shape == (333, 100, 3)


@pytest.mark.parametrize(
    ("wanted", "scale", "expected"),
    [
        ((400, 600), 4, [(400, 600)]),
        ((200, 300), 4, [(200, 300)]),
        ((800, 1200), 4, [(200, 300), (800, 1200)]),
        ((800, 1200), 2, [(200, 300), (400, 600), (800, 1200)]),
        ((300, 450), 2, [(150, 225), (300, 450)]),
        ((900, 900), 1, [(900, 900)]),
    ],
)
def test_passes_make_no_more_than_the_next_needs(
    wanted: tuple[int, int], scale: int, expected: list[tuple[int, int]]
) -> None:
    assert sizes(100, 150, wanted=wanted, scale=scale) == expected


@pytest.mark.parametrize("length", [1, 100, 256, 257, 1000, 2049])
@pytest.mark.parametrize(("tile", "overlap", "align"), [(256, 16, 1), (64, 20, 2), (100, 0, 4)])
def test_tiles_cover_a_side_once_and_see_enough(length: int, tile: int, overlap: int, align: int) -> None:
    made = 4 * length
    found = spans(length, made, tile=tile, overlap=overlap, align=align)
    assert (found[0].made_start, found[-1].made_stop) == (0, made)
    assert (found[0].start, found[-1].stop) == (0, length)
    for span in found:
        assert span.start % align == 0
        assert span.stop - span.start <= tile + align
    for before, after in pairwise(found):
        join = (before.made_stop + after.made_start) / 2
        assert after.fade == before.made_stop - after.made_start
        assert before.stop == length or before.stop - join / 4 >= overlap
        assert after.start == 0 or join / 4 - after.start >= overlap


def test_tiles_must_not_be_all_overlap() -> None:
    with pytest.raises(UnsupportedCombination, match="less than half"):
        spans(1000, 4000, tile=64, overlap=32)


def test_work_stops_often() -> None:
    network = tiny_rrdb(4)
    assert len(list(network.parts(torch.zeros(1, 3, 8, 8)))) > 4
    whole = network(torch.zeros(1, 3, 8, 8))
    assert whole.shape == (1, 3, 32, 32)


def test_alpha_is_enlarged_with_the_colours() -> None:
    y, x = np.mgrid[0:101, 0:97]
    disc = (np.hypot(x - 48, y - 50) < 30).astype(np.uint8) * 255
    made = run_one(
        "upscale", {"image": np.dstack([FACE, disc])}, assets={"model": shipped(MODELS[0])}, factor=2
    )
    assert made.shape == (202, 194, 4)
    expected = resize(disc, width=194, height=202)
    assert np.abs(made[:, :, 3].astype(int) - expected).mean() < 2
    assert ((made[:, :, 3] > 20) & (made[:, :, 3] < 235)).any()


def test_hidden_colours_do_not_come_out_at_the_rim() -> None:
    picture = np.zeros((40, 40, 4), np.uint8)
    picture[:, 20:] = (250, 240, 230, 255)
    shown = without_hidden_colours(picture)
    assert (shown[:, 19, :3] == (250, 240, 230)).all()
    assert np.array_equal(shown[:, :, 3], picture[:, :, 3])
    made = run_one("upscale", {"image": picture}, assets={"model": shipped(MODELS[1])}, factor=4)
    assert made[:, :, :3][made[:, :, 3] > 0].min() > 200


def test_grey_pictures_come_out_in_colour() -> None:
    assert run_one("upscale", {"image": FACE[:, :, 0]}, factor=2).shape == (202, 194, 3)


def test_results_beyond_the_largest_side_are_refused() -> None:
    with pytest.raises(PictureUnusable, match="8200 x 80 pixels; 8192 a side") as refused:
        run_one("upscale", {"image": np.zeros((10, 1025, 3), np.uint8)}, factor=8)
    assert refused.value.code == "result_too_large"


def test_odd_factors_are_refused() -> None:
    with pytest.raises(UnsupportedCombination, match="2, 3, 4, 8 times, not 5 times"):
        run_one("upscale", {"image": FACE}, factor=5)


def test_less_memory_gives_the_same_picture() -> None:
    wide = np.tile(FACE, (1, 3, 1))
    assets = {"model": shipped(MODELS[0])}
    usual, cramped = (
        run_one("upscale", {"image": wide}, assets=assets, factor=2, is_cramped=cramped)
        for cramped in (False, True)
    )
    assert np.array_equal(usual, cramped)


def test_an_answer_that_is_no_number_is_a_fault() -> None:
    network = SRVGGNetCompact(convolutions=1, features=4, scale=2)
    nn.init.constant_(network.body[0].weight, torch.nan)
    network.requires_grad_(False)
    with pytest.raises(NumericFault):
        enlarged(FACE, network, Tiling())


OLD_NAMES = {
    "conv_first": "model.0",
    "conv_body": "model.1.sub.1",
    "conv_up1": "model.3",
    "conv_up2": "model.6",
    "conv_hr": "model.8",
    "conv_last": "model.10",
}
FIRST_NAMES = {"conv_body": "trunk_conv", "conv_up1": "upconv1", "conv_up2": "upconv2", "conv_hr": "HRconv"}


@pytest.mark.parametrize("layout", ["old", "first"])
def test_weights_of_older_trainers_load(layout: str, tmp_path: Path) -> None:
    network = tiny_rrdb(4)
    named = {}
    for name, tensor in network.state_dict().items():
        stem, _, ending = name.rpartition(".")
        if stem.startswith("body"):
            _, block, dense, convolution = stem.split(".")
            place = f"{dense.upper()}.{convolution}"
            old = f"model.1.sub.{block}.{place}.0" if layout == "old" else f"RRDB_trunk.{block}.{place}"
        else:
            old = (OLD_NAMES if layout == "old" else FIRST_NAMES).get(stem, stem)
        named[f"{old}.{ending}"] = tensor.clone()
    assert named.keys() != network.state_dict().keys()
    save_file(named, tmp_path / "weights.safetensors")
    loaded = build(tmp_path, "cpu").state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in network.state_dict().items())


def test_broken_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsCorrupt, match="one file of weights"):
        build(tmp_path, "cpu")
    tensors = load_file(Path(shipped(MODELS[0]).path) / "weights.safetensors")
    tensors.pop("conv3.weight")
    save_file(tensors, tmp_path / "weights.safetensors")
    with pytest.raises(WeightsCorrupt, match=r"conv3\.weight"):
        build(tmp_path, "cpu")


@needs_cuda
@pytest.mark.parametrize("name", [*MODELS, "realesrgan-x4plus"])
def test_half_precision_on_the_device_shows_no_difference(name: str) -> None:
    small = resize(FACE, width=48, height=51)
    path = Path(shipped(name).path)
    device = build(path, "cuda:0")
    assert next(device.parameters()).dtype == torch.float16
    difference = enlarged(small, device, Tiling()).astype(int) - enlarged(small, build(path, "cpu"), Tiling())
    assert np.abs(difference).max() <= 3
    assert np.abs(difference).mean() < 0.3
