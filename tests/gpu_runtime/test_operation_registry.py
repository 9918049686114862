"""The table of operations: code behind every entry, and a stand-in whose results are of the same size."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.fake_images import FakePicture
from gpu_runtime.fake_operations import fake_run_of
from gpu_runtime.operations.context import Context, Run
from gpu_runtime.operations.registry import ENTRIES, run_of
from gpu_runtime.work import Setting
from gpu_runtime.workshop.weights_shelf import WeightsShelf
from tests.gpu_runtime.workshop_driving import Watch


def ran(name: str, run: Run, inputs: dict[str, Any], settings: dict[str, Setting]) -> Context:
    context = Context(
        operation=name,
        inputs=inputs,
        settings=settings,
        assets={},
        device="cpu",
        rng=np.random.default_rng(0),
        loader=WeightsShelf(lambda weights, folder: 0, Watch()),
    )
    shares = list(run(context))
    assert all(0 <= share <= 1 for share in shares)
    assert shares == sorted(shares)
    return context


def fake_inputs(name: str) -> dict[str, FakePicture]:
    names = (*ENTRIES[name].inputs, *ENTRIES[name].optional)
    return {each: FakePicture(words=each, seed=0, width=24, height=16) for each in names}


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_has_its_code(name: str) -> None:
    assert callable(run_of(name))
    assert ENTRIES[name].steps >= 1


@pytest.mark.parametrize("name", ENTRIES)
def test_stand_in_leaves_every_result(name: str) -> None:
    context = ran(name, fake_run_of(name), fake_inputs(name), {})
    assert tuple(context.outputs) == ENTRIES[name].outputs


@pytest.mark.parametrize(
    ("name", "wished"),
    [
        ("canvas.fit", {"width": 40, "height": 56, "mode": "crop"}),
        ("canvas.expand", {"left": 8, "right": 0, "top": 3, "bottom": 5}),
        ("mask.prepare", {"width": 40, "height": 56}),
        ("mask.fill", {"fill": "blur"}),
        ("mask.crop", {"padding": 4, "width": 40, "height": 56}),
        ("mask.paste", {}),
        ("mask.erase", {}),
        ("upscale", {"factor": 3}),
        ("upscale", {"width": 50, "height": 30}),
        ("upscale", {}),
        ("detect.canny", {}),
    ],
)
def test_results_of_the_stand_in_have_the_size_of_real_ones(name: str, wished: dict[str, Setting]) -> None:
    fake = ran(name, fake_run_of(name), fake_inputs(name), wished)
    photo = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    mask = np.zeros((16, 24), np.uint8)
    mask[4:12, 6:18] = 255
    pictures = {each: mask if each == "mask" else photo for each in ENTRIES[name].inputs}
    real = ran(name, run_of(name), pictures, wished)
    sizes = {each: value.shape[1::-1] for each, value in real.outputs.items() if each != "box"}
    stood_in = {each: (value.width, value.height) for each, value in fake.outputs.items() if each != "box"}
    assert sizes == stood_in


def reading(settings: dict[str, Setting]) -> Context:
    """A context of which only the settings are of interest."""
    return ran("canvas.fit", lambda context: iter(()), {}, settings)


def test_settings_are_read_by_type() -> None:
    context = reading({"width": 3, "share": 0.5, "mode": "crop", "is_on": True, "nothing": None})
    assert (context.whole("width"), context.number("width"), context.number("share")) == (3, 3.0, 0.5)
    assert (context.text("mode"), context.flag("is_on")) == ("crop", True)
    assert (context.whole("nothing", 7), context.text("absent", "x")) == (7, "x")


@pytest.mark.parametrize(
    ("read", "name"),
    [("whole", "share"), ("whole", "is_on"), ("number", "is_on"), ("text", "share"), ("flag", "share")],
)
def test_setting_of_another_type_is_refused_by_name(read: str, name: str) -> None:
    context = reading({"share": 0.5, "is_on": True})
    with pytest.raises(UnsupportedCombination, match=f"'{name}' of operation canvas.fit must be"):
        getattr(context, read)(name)


def test_missing_inputs_and_weights_are_named() -> None:
    context = ran("upscale", lambda context: iter(()), {"box": (1, 2)}, {})
    for ask, words in (
        (lambda: context.picture("image"), "needs the input 'image'"),
        (lambda: context.picture("box"), "'box' of operation upscale is no picture"),
        (lambda: context.asset("model"), "needs the weights 'model'"),
    ):
        with pytest.raises(UnsupportedCombination, match=words):
            ask()
    assert context.has("box") and context.value("box") == (1, 2)
