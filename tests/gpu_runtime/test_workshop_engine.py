"""The Workshop around the real engine, with real pictures: tiny networks, operations of a few lines."""

from __future__ import annotations

import gc
import hashlib
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import DeviceLost, OutOfMemory, PictureUnusable
from gpu_runtime.factory import build_engine
from gpu_runtime.messages import (
    CheckpointRef,
    HiresFix,
    ImageInput,
    ImageRequest,
    RequestDone,
    RequestFailed,
)
from gpu_runtime.operations.context import Context, Picture, Run
from gpu_runtime.work import Asset, Encoding, Made, Operation, WorkRequest
from gpu_runtime.workshop.torch_tools import as_input, read, size_bytes, torch_tools
from gpu_runtime.workshop.weights_shelf import WeightsShelf
from gpu_runtime.workshop.workshop import Workshop
from tests.gpu_runtime.driving import Outcome, image_request, pixels, run_all
from tests.gpu_runtime.workshop_driving import fit, picture_file, upscale


def flip(context: Context) -> Iterator[float]:
    """Stands for "canvas.fit"."""
    yield 0.5
    context.put("image", np.ascontiguousarray(context.picture("image")[:, ::-1]))


def double(context: Context) -> Iterator[float]:
    """Stands for "upscale"."""
    yield 0.5
    context.put("image", context.picture("image").repeat(2, axis=0).repeat(2, axis=1))


def grain(context: Context) -> Iterator[float]:
    """Stands for "mask.erase": a result of chance."""
    yield 0.5
    picture = context.picture("image")
    context.put("image", context.rng.integers(0, 256, picture.shape, dtype=np.uint8))


RUNS: Mapping[str, Run] = {"canvas.fit": flip, "upscale": double, "mask.erase": grain}


def workshop_of(runs: Mapping[str, Run] = RUNS, *, checks: bool = True) -> Workshop:
    engine = Engine(EngineConfig(device="cpu", check_invariants=checks))
    return Workshop(engine, replace(torch_tools("cpu"), run_of=lambda name: runs[name]))


def work(image: ImageRequest, **changes: object) -> WorkRequest:
    fields: dict[str, object] = {"account": image.account, "pictures": {"photo": picture_file(48, 32)}}
    return WorkRequest(request_id=image.request_id, image=image, **{**fields, **changes})


def file_of(outcome: Outcome, request_id: str, index: int = 0) -> bytes:
    assert isinstance(outcome.final(request_id), RequestDone), outcome.final(request_id)
    return outcome.images(request_id)[index].data


def test_image_without_operations_equals_the_engines_own(checkpoint: CheckpointRef) -> None:
    plain = image_request("plain", checkpoint, seeds=(5, 6), output_width=48)
    outcome = run_all(workshop_of(), [plain, work(replace(plain, request_id="work"))])
    for index in range(2):
        own = pixels(file_of(outcome, "plain", index))
        assert np.array_equal(pixels(file_of(outcome, "work", index)), own)


def test_operations_see_and_leave_pixels(checkpoint: CheckpointRef) -> None:
    plain = image_request("plain", checkpoint)
    worked = work(replace(plain, request_id="work"), after=(upscale(),))
    outcome = run_all(workshop_of(), [plain, worked])
    own = pixels(file_of(outcome, "plain"))
    assert np.array_equal(pixels(file_of(outcome, "work")), own.repeat(2, axis=0).repeat(2, axis=1))


def test_larger_second_pass_is_handed_over_at_its_end_only(checkpoint: CheckpointRef) -> None:
    hires = HiresFix(width=64, height=64, strength=0.5, steps=4)
    plain = image_request("plain", checkpoint, hires=hires, output_width=64, output_height=64)
    outcome = run_all(workshop_of(), [plain, work(replace(plain, request_id="work"), after=(upscale(),))])
    image = outcome.images("work")[0]
    assert (image.width, image.height) == (128, 128)
    own = pixels(file_of(outcome, "plain"))
    assert np.array_equal(pixels(image.data)[::2, ::2], own)


def test_prepared_picture_equals_one_that_was_sent_prepared(checkpoint: CheckpointRef) -> None:
    photo = picture_file(48, 32)
    flipped = read(photo, "photo")[:, ::-1]
    buffer = BytesIO()
    Image.fromarray(flipped).save(buffer, "PNG")
    sent = ImageInput(data=buffer.getvalue(), digest=hashlib.sha256(buffer.getvalue()).hexdigest())
    plain = image_request("plain", checkpoint, image=sent, strength=0.6)
    made = replace(plain, request_id="work", image=Made(name="fitted"))
    outcome = run_all(workshop_of(), [plain, work(made, before=(fit(),))])
    assert np.array_equal(pixels(file_of(outcome, "work")), pixels(file_of(outcome, "plain")))


def test_chance_depends_on_the_seed_and_nothing_else(checkpoint: CheckpointRef) -> None:
    erase = Operation(
        name="mask.erase", inputs={"image": "image", "mask": "photo"}, outputs={"image": "image"}
    )
    one = work(image_request("one", checkpoint, seeds=(5, 6)), after=(erase,))
    other = work(image_request("other", checkpoint, seeds=(6, 5)), after=(erase,))
    outcome = run_all(workshop_of(), [one, other])
    assert file_of(outcome, "one", 0) == file_of(outcome, "other", 1)
    assert file_of(outcome, "one", 0) != file_of(outcome, "one", 1)


def test_pictures_are_freed_when_a_request_fails(checkpoint: CheckpointRef) -> None:
    seen: list[weakref.ref[Picture]] = []

    def remember(context: Context) -> Iterator[float]:
        picture = np.array(context.picture("image"))
        seen.append(weakref.ref(picture))
        context.put("image", picture)
        yield 0.5

    def fail(context: Context) -> Iterator[float]:
        yield 0.5
        raise PictureUnusable("no face was found in photo", code="no_face")

    workshop = workshop_of({"canvas.fit": remember, "upscale": fail})
    request = work(image_request("r", checkpoint), before=(fit(result="image"), upscale()))
    outcome = run_all(workshop, [request])
    final = outcome.final("r")
    assert isinstance(final, RequestFailed) and isinstance(final.fault, PictureUnusable)
    gc.collect()
    assert len(seen) == 1 and seen[0]() is None


def test_pictures_that_nothing_reads_later_are_freed_while_the_image_is_made(
    checkpoint: CheckpointRef,
) -> None:
    seen: dict[str, weakref.ref[Picture]] = {}

    def remember(context: Context) -> Iterator[float]:
        yield 0.5
        picture = np.array(context.picture("image"))
        seen[f"picture {len(seen)}"] = weakref.ref(picture)
        context.put("image", picture)

    workshop = workshop_of({"canvas.fit": remember, "upscale": double})
    request = work(
        image_request("r", checkpoint, image=Made(name="first"), strength=0.5),
        before=(fit(result="first"), fit(result="second")),
        after=(upscale(source="second"),),
    )
    workshop.submit(request)
    for _ in range(5):
        workshop.step()
    gc.collect()
    assert [each() is None for each in seen.values()] == [True, False]
    assert isinstance(run_all(workshop, []).final("r"), RequestDone)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError("no room"),
        RuntimeError("[ONNXRuntimeError] : Failed to allocate memory for requested buffer"),
    ],
)
def test_lack_of_memory_is_known_by_every_library(checkpoint: CheckpointRef, error: Exception) -> None:
    def lack(context: Context) -> Iterator[float]:
        yield 0.1
        raise error

    workshop = workshop_of({"canvas.fit": lack})
    final = run_all(workshop, [work(image_request("r", checkpoint), before=(fit(),))]).final("r")
    assert isinstance(final, RequestFailed) and isinstance(final.fault, OutOfMemory)


def test_lack_of_memory_of_opencv_is_known() -> None:
    with pytest.raises(cv2.error) as found:
        cv2.resize(np.zeros((2, 2), np.uint8), (2**15, 2**30))
    # The message says how much; whether it is this code depends on the machine's memory.
    assert torch_tools("cpu").is_lack_of_memory(found.value) == (found.value.code == -4)


def test_lost_device_leaves_the_workshop(checkpoint: CheckpointRef) -> None:
    def lose(context: Context) -> Iterator[float]:
        yield 0.1
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    workshop = workshop_of({"canvas.fit": lose})
    workshop.submit(work(image_request("r", checkpoint), before=(fit(),)))
    with pytest.raises(DeviceLost):
        for _ in range(5):
            workshop.step()


@pytest.mark.parametrize(
    ("mode", "shape"), [("L", (16, 24)), ("RGB", (16, 24, 3)), ("RGBA", (16, 24, 4)), ("1", (16, 24))]
)
def test_pictures_are_read_as_they_are(mode: str, shape: tuple[int, ...]) -> None:
    image = Image.open(BytesIO(picture_file(24, 16, mode="RGB").data)).convert(mode)
    buffer = BytesIO()
    image.save(buffer, "PNG")
    found = read(ImageInput(data=buffer.getvalue(), digest=""), "photo")
    assert found.shape == shape
    expected = image.convert("L") if mode == "1" else image
    assert np.array_equal(found, np.asarray(expected))


def test_unusual_pictures_are_read() -> None:
    deep = Image.fromarray(np.array([[0, 257, 65535]], np.uint16))
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    upright = Image.new("RGB", (4, 2))
    exif = Image.Exif()
    exif[0x0112] = 6

    def again(image: Image.Image, **options: object) -> Picture:
        buffer = BytesIO()
        image.save(buffer, "PNG", **options)
        return read(ImageInput(data=buffer.getvalue(), digest=""), "photo")

    assert again(deep).tolist() == [[0, 1, 255]]
    assert again(palette).tolist() == [[[255, 0, 0], [0, 255, 0]]]
    assert again(palette, transparency=0).tolist() == [[[255, 0, 0, 0], [0, 255, 0, 255]]]
    assert again(upright, exif=exif).shape == (4, 2, 3)


def test_oversized_picture_is_refused_before_it_is_unpacked() -> None:
    buffer = BytesIO()
    Image.new("1", (9000, 9000)).save(buffer, "PNG")
    with pytest.raises(PictureUnusable, match="9000 x 9000") as found:
        read(ImageInput(data=buffer.getvalue(), digest=""), "photo")
    assert found.value.code == "picture_too_large"


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
def test_picture_goes_to_the_engine_without_loss(mode: str) -> None:
    picture = read(picture_file(mode=mode), "photo")
    made = as_input(picture)
    assert np.array_equal(read(made, "made"), picture)
    assert as_input(np.array(picture)).digest == made.digest
    assert as_input(picture.reshape(-1, *picture.shape[2:])[None]).digest != made.digest


def test_weights_are_counted_in_bytes(tmp_path: Path) -> None:
    network = torch.nn.Linear(3, 5)
    assert size_bytes(network, tmp_path) == 4 * (3 * 5 + 5)
    (tmp_path / "model.onnx").write_bytes(bytes(7))
    assert size_bytes(object(), tmp_path) == 7


def test_engine_without_memory_gives_up_the_weights_of_operations(
    checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when a call of the denoiser runs out of memory: they go before any call is made smaller."""
    shelf = WeightsShelf(size_bytes)
    engine = Engine(EngineConfig(device="cpu"), beside=[shelf])
    workshop = Workshop(engine, torch_tools("cpu"), shelf=shelf)
    shelf.load(Asset(name="a", path="/", digest="a"), "cpu", lambda path, device: torch.nn.Linear(2, 2))
    assert workshop.info().held[0].size_bytes == 24
    forward, lacks = UNet2DConditionModel.forward, [torch.OutOfMemoryError("CUDA out of memory")]

    def once_without_memory(*arguments: object, **options: object) -> object:
        if lacks:
            raise lacks.pop()
        return forward(*arguments, **options)

    monkeypatch.setattr(UNet2DConditionModel, "forward", once_without_memory)
    outcome = run_all(workshop, [image_request("r", checkpoint)])
    assert isinstance(outcome.final("r"), RequestDone)
    assert not lacks
    assert [held.name for held in workshop.info().held] == ["tiny"]


def test_factory_builds_the_workshop_around_both_runtimes() -> None:
    for runtime in ("fake", "torch"):
        workshop = build_engine(EngineConfig(runtime=runtime, device="cpu" if runtime == "torch" else "auto"))
        assert isinstance(workshop, Workshop)
        assert workshop.info().runtime == runtime
        workshop.close()


def test_encoded_image_has_its_size_in_the_event(checkpoint: CheckpointRef) -> None:
    request = work(
        image_request("r", checkpoint), after=(upscale(),), encoding=Encoding(media_type="image/webp")
    )
    image = run_all(workshop_of(), [request]).images("r")[0]
    assert (image.media_type, image.width, image.height) == ("image/webp", 64, 64)
    assert Image.open(BytesIO(image.data)).size == (64, 64)
