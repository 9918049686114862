"""Families that run through diffusers' own pipelines: equal to the plain call, and stepped by the engine.

Every family is held against the plain call. The engine, which treats all of them alike, draws with every
fourth in the everyday run, and with each under DARKROOM_FULL_MATRIX=1.
"""

from __future__ import annotations

import hashlib
import inspect
import io
import json
import os
import threading
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers import DDPMScheduler, PixArtTransformer2DModel
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from PIL import Image
from safetensors.torch import load_file, save_file

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.config import EngineConfig
from gpu_runtime.denoising import predict
from gpu_runtime.devices import choose_device
from gpu_runtime.engine import Engine
from gpu_runtime.errors import OutOfMemory, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.families.generic import GenericFamily
from gpu_runtime.families.generic_calls import arguments_of, as_tensor, call_of
from gpu_runtime.families.generic_pipelines import PIPELINES, PipelineSpec, call_arguments
from gpu_runtime.families.pipeline_run import Call, OnStep
from gpu_runtime.messages import (
    CheckpointRef,
    EmbeddingRef,
    HiresFix,
    ImageInput,
    ImageRequest,
    LoraRef,
    Preview,
    Progress,
    PromptStyle,
    RequestCanceled,
    RequestDone,
    RequestFailed,
    VaeRef,
)
from gpu_runtime.tiny.pipelines import RECIPES, base_family
from gpu_runtime.weights.family_facts import FAMILY_FACTS, STEP_BATCHED
from gpu_runtime.weights.identification.pipelines import OTHER_TASKS
from gpu_runtime.weights.importing.importer import run_import
from gpu_runtime.weights.importing.job import ImportJob
from gpu_runtime.weights.refused_pipelines import REFUSED_PIPELINES, SAME_COMPONENTS
from gpu_runtime.weights.store import Store
from tests.gpu_runtime.driving import Outcome, drive, image_request, pixels, run_all
from tests.gpu_runtime.folder_source import FolderSource
from tests.gpu_runtime.tiny_folders import tiny_folder
from tests.gpu_runtime.weight_store import megabytes, size_of

SLOW = {
    "hidream": "denoises a megapixel whatever is asked",
    "kandinsky5": "denoises a megapixel whatever is asked",
    "karlo": "has two stages that enlarge",
}
PACKAGES = {"prx": "ftfy"}
"""Tiny pipelines that need a further Python package."""

SIDES = {"stable-cascade": 128, "wuerstchen": 128}
"""Side asked of those that make nothing smaller; 64 of the others."""

IMPORTED: tuple[str, ...] = (
    "sana",
    "hunyuan-dit",
    "cogview4",
    "flux2",
    "krea2",
    "kolors",
    "fibo2",
    "kandinsky2.2",
)
IMPORTED += ("latent-diffusion", "alt-diffusion", "stable-unclip", "amused", "vq-diffusion", "ldm3d")
IMPORTED += ("unidiffuser", "prx-pixel", "z-image-omni", "deepfloyd-if")
"""One of each layout of a folder, and what the acceptance test of every family leaves out."""

OWN_SIZE = ("hidream", "kandinsky5", "karlo", "vq-diffusion")
"""They make one size, or the nearest of a few, whatever is asked; the engine scales it."""

EDITING = ("longcat-image-edit", "qwen-image-edit")
"""They make nothing without a reference picture."""

GENERIC = [
    pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name
    for name in RECIPES
    if base_family(name) not in STEP_BATCHED and name not in EDITING
]

DRAWN = GENERIC if os.environ.get("DARKROOM_FULL_MATRIX") else GENERIC[::4]

TOLERANCE = 1e-5
"""Largest difference to the plain pipeline call in float32, images from -1 to 1."""


def picture(mode: str, data: bytes) -> ImageInput:
    """A PNG file of 96 x 64 pixels."""
    file = io.BytesIO()
    Image.frombytes(mode, (96, 64), data).save(file, "PNG")
    return ImageInput(data=file.getvalue(), digest=hashlib.sha256(file.getvalue()).hexdigest())


NOISE = picture("RGB", bytes(index * 37 % 251 for index in range(96 * 64 * 3)))
HALF = picture("L", (b"\xff" * 48 + b"\x00" * 48) * 64)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of tiny checkpoints made so far, by name."""
    return {"": tmp_path_factory.mktemp("generic")}


@pytest.fixture
def pixart(folders: dict[str, Path]) -> CheckpointRef:
    return tiny_ref("pixart", folders)


@pytest.fixture
def engine() -> Iterator[Engine]:
    engine = Engine(EngineConfig(check_invariants=True))
    yield engine
    engine.close()


@pytest.fixture(autouse=True)
def no_thread_stays_behind() -> Iterator[None]:
    yield
    assert runs_alive() == []


def runs_alive() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "pipeline-run"]


def tiny_ref(name: str, folders: dict[str, Path]) -> CheckpointRef:
    if name not in folders:
        folders[name] = tiny_folder(name, folders[""] / name)
    index = json.loads((folders[name] / "model_index.json").read_text())
    family = PIPELINES[index["_class_name"]].family
    return CheckpointRef(name=name, family=family, path=str(folders[name]), digest=f"digest of {name}")


def load(checkpoint: CheckpointRef) -> GenericFamily:
    return GenericFamily(FolderSource(checkpoint.path, choose_device(EngineConfig(device="cpu"))))


def request_for(checkpoint: CheckpointRef, **changes: Any) -> ImageRequest:
    """The smallest size, 2 steps; one step of what is slow."""
    steps = 1 if checkpoint.name in SLOW else 2
    side = SIDES.get(checkpoint.name, 64)
    return image_request("r", checkpoint, **{"width": side, "height": side, "steps": steps, **changes})


def plain_image(family: GenericFamily, request: ImageRequest, seed: int) -> torch.Tensor:
    """What the pipeline's own call gives, -1 to 1."""
    pipeline = family._pipeline_for(request)
    spec = family._spec
    accepted = inspect.signature(type(pipeline).__init__).parameters
    settings = {name: value for name, value in pipeline.config.items() if name in accepted}
    plain = type(pipeline)(**(settings | pipeline.components))
    plain.set_progress_bar_config(disable=True)
    generator = torch.Generator("cpu").manual_seed(seed)
    images = as_tensor(plain(**arguments_of(plain, spec, request), generator=generator)[0])
    return images if spec.is_signed and pipeline is family._pipeline else images * 2 - 1


def stepped_image(family: GenericFamily, request: ImageRequest, index: int = 0) -> tuple[torch.Tensor, int]:
    """What the family gives, and in how many turns."""
    row, turns = family.begin(request, index, family.encode(request)), 0
    with torch.inference_mode():
        while not row.sampler.is_done:
            prediction = predict(family, [row])
            row.latents = row.sampler.advance(prediction.combined, row.latents)
            turns += 1
        return family.decode(row.latents), turns


@pytest.mark.parametrize("name", GENERIC)
def test_image_equals_the_plain_pipeline_call(name: str, folders: dict[str, Path]) -> None:
    checkpoint = tiny_ref(name, folders)
    family = load(checkpoint)
    request = request_for(checkpoint, seeds=(11, 12))
    image, turns = stepped_image(family, request, index=1)
    assert image.shape == (1, 3, request.height, request.width) or name in OWN_SIZE
    assert (image - plain_image(family, request, 12)).abs().max() <= TOLERANCE
    if name not in SLOW:
        assert (image - plain_image(family, request, 11)).abs().max() > 0.01, "the seed must matter"
    assert turns >= request.steps + 1


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("z-image", {"image": NOISE, "strength": 0.6, "steps": 4}),
        ("z-image", {"image": NOISE, "mask": HALF, "steps": 3}),
        ("qwen-image", {"image": NOISE, "mask": HALF, "strength": 0.8, "steps": 4}),
        ("kandinsky3", {"image": NOISE, "strength": 0.6, "steps": 4}),
        ("kandinsky2.2", {"image": NOISE, "strength": 0.6, "steps": 4}),
        ("amused", {"image": NOISE, "mask": HALF, "steps": 3}),
        ("flux2-klein", {"references": (NOISE, HALF)}),
        ("dreamlite", {"references": (NOISE,)}),
        ("fibo2", {"references": (NOISE,)}),
        ("qwen-image-edit", {"references": (NOISE,)}),
    ],
)
def test_pictures_do_what_they_do_in_the_plain_call(
    name: str, changes: dict[str, Any], folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Enlarges every picture to a megapixel otherwise.
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 128 * 128)
    checkpoint = tiny_ref(name, folders)
    family = load(checkpoint)
    request = request_for(checkpoint, **changes)
    image, _ = stepped_image(family, request)
    assert (image - plain_image(family, request, request.seeds[0])).abs().max() <= TOLERANCE
    if name in EDITING:
        return
    without = replace(request, image=None, mask=None, references=(), strength=1.0)
    assert not torch.equal(image, stepped_image(family, without)[0])


@pytest.mark.parametrize("name", DRAWN)
def test_engine_generates_and_the_prompt_matters(name: str, engine: Engine, folders: dict[str, Path]) -> None:
    checkpoint = tiny_ref(name, folders)
    red = request_for(checkpoint, prompt="a red fox")
    blue = replace(red, request_id="blue", prompt="seven blue boats, at night")
    outcome = run_all(engine, [red, blue])
    assert isinstance(outcome.final("r"), RequestDone), outcome.final("r")
    image, other = outcome.images("r")[0], outcome.images("blue")[0]
    assert (image.width, image.height) == (red.width, red.height)
    assert image.data != other.data
    assert pixels(image.data).std() > 10, "the image is not flat"


def test_every_pipeline_has_facts_and_every_family_without_sharing_a_pipeline() -> None:
    assert {spec.family for spec in PIPELINES.values()} == set(FAMILY_FACTS) - STEP_BATCHED
    for name, spec in PIPELINES.items():
        assert name in FAMILY_FACTS[spec.family].pipeline_classes


def test_every_pipeline_of_diffusers_runs_or_has_its_reason() -> None:
    exported = {name for name in dir(diffusers) if name.endswith("Pipeline") and "Modular" not in name}
    exported -= {"DiffusionPipeline"}
    runs = {name for facts in FAMILY_FACTS.values() for name in facts.pipeline_classes}
    other_tasks = runs | OTHER_TASKS.keys() | {name for name, same in SAME_COMPONENTS.items() if same in runs}
    assert exported - other_tasks - REFUSED_PIPELINES.keys() == set()
    assert other_tasks & REFUSED_PIPELINES.keys() == set()
    assert REFUSED_PIPELINES.keys() <= exported


def test_progress_counts_every_step_of_every_image(engine: Engine, pixart: CheckpointRef) -> None:
    outcome = run_all(engine, [request_for(pixart, steps=3, seeds=(1, 2))])
    progress = [event.step for event in outcome.events if isinstance(event, Progress)]
    # The last turn runs the autoencoder.
    assert progress == [2, 4, 6, 6]


@pytest.mark.parametrize("name", ["pixart", "chroma", "qwen-image", "flux2-klein"])
def test_previews_look_like_the_image(name: str, engine: Engine, folders: dict[str, Path]) -> None:
    """Of latents as they are, and packed; decoded by each kind of autoencoder."""
    checkpoint = tiny_ref(name, folders)
    request = request_for(checkpoint, steps=2, wants_previews=True)
    family = load(checkpoint)
    row = family.begin(request, 0, family.encode(request))
    with torch.inference_mode():
        while not row.sampler.is_done:
            last = family.shown_latents(row)
            row.latents = row.sampler.advance(predict(family, [row]).combined, row.latents)
        assert last is not None
        assert torch.allclose(family.decode_shown(last).clamp(-1, 1), row.latents, atol=1e-5)
    previews = [event for event in run_all(engine, [request]).events if isinstance(event, Preview)]
    assert previews
    assert Image.open(io.BytesIO(previews[0].data)).size == (256, 256)


def test_neighbours_do_not_change_an_image(engine: Engine, folders: dict[str, Path]) -> None:
    for name in ("pixart", "qwen-image"):
        checkpoint = tiny_ref(name, folders)
        alone = run_all(engine, [request_for(checkpoint, steps=4)]).images("r")[0].data
        request = request_for(checkpoint, steps=4)
        engine.submit(request)
        outcome = drive_steps(engine, 2)
        engine.submit(replace(request, request_id="late", prompt="blue", seeds=(1, 2), steps=3))
        outcome = drive(engine, outcome)
        assert outcome.images("r")[0].data == alone
        assert len(outcome.images("late")) == 2


def drive_steps(engine: Engine, steps: int) -> Outcome:
    outcome = Outcome()
    for _ in range(steps):
        outcome.events += engine.step()
    return outcome


def test_turns_go_to_other_families_in_between(
    engine: Engine, pixart: CheckpointRef, checkpoint: CheckpointRef
) -> None:
    """A short request of another checkpoint does not wait for the end of a long one."""
    short = image_request("short", checkpoint, steps=2, account="ben")
    run_all(engine, [request_for(pixart), short])  # both are resident from here on
    engine.submit(request_for(pixart, steps=100))
    outcome = drive_steps(engine, 3)
    engine.submit(short)
    outcome = drive(engine, outcome)
    order = [event.request_id for event in outcome.events if isinstance(event, RequestDone)]
    assert order == ["short", "r"]


def test_cancel_ends_the_thread_within_one_step(engine: Engine, pixart: CheckpointRef) -> None:
    engine.submit(request_for(pixart, steps=50, seeds=(1, 2)))
    drive_steps(engine, 3)
    assert len(runs_alive()) == 2
    engine.cancel("r")
    assert runs_alive() == []
    assert [type(event) for event in engine.step()] == [RequestCanceled]
    assert not engine.has_work()


def test_closing_the_engine_ends_the_threads(pixart: CheckpointRef) -> None:
    engine = Engine(EngineConfig())
    engine.submit(request_for(pixart, steps=50))
    drive_steps(engine, 2)
    assert len(runs_alive()) == 1
    engine.close()
    assert runs_alive() == []


def test_cancel_of_one_leaves_the_others_image_unchanged(engine: Engine, pixart: CheckpointRef) -> None:
    alone = run_all(engine, [request_for(pixart, steps=5)]).images("r")[0].data
    request = request_for(pixart, steps=5)
    engine.submit(request)
    engine.submit(replace(request, request_id="other", seeds=(1,)))
    outcome = drive_steps(engine, 3)
    engine.cancel("other")
    assert drive(engine, outcome).images("r")[0].data == alone


def test_failure_in_the_pipeline_is_that_requests_fault(
    engine: Engine, pixart: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_for_one(spec: PipelineSpec, request: ImageRequest) -> dict[str, Any]:
        arguments = call_arguments(spec, request)
        return arguments | {"max_sequence_length": "many"} if request.request_id == "bad" else arguments

    monkeypatch.setattr("gpu_runtime.families.generic_calls.call_arguments", broken_for_one)
    good = request_for(pixart)
    outcome = run_all(engine, [good, replace(good, request_id="bad")])
    failed = outcome.final("bad")
    assert isinstance(failed, RequestFailed)
    assert "TypeError in a pipeline" in str(failed.fault)
    assert isinstance(outcome.final("r"), RequestDone)


def test_lack_of_memory_fails_the_image_that_does_not_fit(
    engine: Engine, pixart: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = run_all(engine, [request_for(pixart)]).images("r")[0].data

    def large_for_one(pipeline: Any, spec: PipelineSpec, request: ImageRequest, seed: int) -> Call:
        call = call_of(pipeline, spec, request, seed)

        def full_after_one_step(on_step: OnStep) -> torch.Tensor:
            on_step(torch.zeros(1))
            raise torch.OutOfMemoryError("full")

        return full_after_one_step if request.request_id == "bad" else call

    monkeypatch.setattr("gpu_runtime.families.generic.call_of", large_for_one)
    good = request_for(pixart)
    outcome = run_all(engine, [replace(good, request_id="bad", seeds=(1, 2)), good])
    failed = outcome.final("bad")
    assert isinstance(failed, RequestFailed)
    assert isinstance(failed.fault, OutOfMemory)
    assert outcome.images("r")[0].data == alone


def test_image_that_does_not_fit_beside_other_weights_is_made_without_them(
    engine: Engine, pixart: CheckpointRef, checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = request_for(pixart, steps=4)
    alone = run_all(engine, [request]).images("r")[0].data
    run_all(engine, [image_request("other", checkpoint)])
    forward = PixArtTransformer2DModel.forward
    calls = 0

    def full_beside_others(network: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2 and checkpoint.name in engine.info().resident:
            raise torch.OutOfMemoryError("full")
        return forward(network, *args, **kwargs)

    monkeypatch.setattr(PixArtTransformer2DModel, "forward", full_beside_others)
    outcome = run_all(engine, [request])
    assert isinstance(outcome.final("r"), RequestDone), outcome.final("r")
    assert outcome.images("r")[0].data == alone
    # Two steps, one that did not fit, and all four.
    assert calls == 2 + 1 + 4


def test_repeated_steps_cost_at_most_a_part_of_the_whole_and_are_not_timed(
    pixart: CheckpointRef, checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long image whose weights do not fit beside those of requests that come without end."""
    forward = PixArtTransformer2DModel.forward
    calls = 0

    def counted(network: Any, *args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        return forward(network, *args, **kwargs)

    monkeypatch.setattr(PixArtTransformer2DModel, "forward", counted)
    budget = megabytes(max(size_of(pixart), size_of(checkpoint)))
    engine = Engine(EngineConfig(check_invariants=True, weights_budget_mb=budget))
    recorded: list[float] = []
    record = engine._estimates.record_call

    def note(key: BatchKey, rows: int, seconds: float) -> None:
        recorded.append(seconds) if key.family == "pixart" else None
        # As if every call took the same, whatever the machine does besides.
        record(key, rows, 1.0)

    engine._estimates.record_call = note  # type: ignore[method-assign]
    engine.submit(request_for(pixart, steps=100))
    outcome, others = Outcome(), 0
    while "r" in engine._held:
        if not any(request_id.startswith("other") for request_id in engine._held):
            engine.submit(image_request(f"other {others}", checkpoint, steps=8, account="ben"))
            others += 1
        outcome.events += engine.step()
    assert isinstance(outcome.final("r"), RequestDone)
    assert others > 1
    assert 100 < calls < 2 * 100
    assert len(recorded) < 101, "a turn that repeats steps does not take the time of one"
    drive(engine, outcome)
    engine.close()


@pytest.mark.parametrize("name", IMPORTED)
def test_import_into_the_store_keeps_the_image(
    name: str, engine: Engine, folders: dict[str, Path], tmp_path: Path
) -> None:
    checkpoint = tiny_ref(name, folders)
    store, work = Store(tmp_path / "store"), tmp_path / "work"
    store.prepare()
    work.mkdir()
    imported = run_import(ImportJob(source=folders[name], store=store, work=work))
    assert imported.identified.family == checkpoint.family
    stored = replace(checkpoint, path=str(imported.path), digest=imported.digest)
    direct = run_all(engine, [request_for(checkpoint)]).images("r")[0].data
    assert run_all(engine, [request_for(stored)]).images("r")[0].data == direct


@pytest.mark.parametrize("name", PACKAGES)
def test_pipeline_without_its_python_package_is_refused_by_name(
    name: str, folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda package: None)
    with pytest.raises(UnsupportedCombination, match=f"needs the Python package {PACKAGES[name]}"):
        load(tiny_ref(name, folders))


def test_repeated_forward_of_one_turn_moves_one_step(pixart: CheckpointRef) -> None:
    """As when a call runs out of memory and is repeated in halves, or is repeated to find a culprit."""
    family = load(pixart)
    request = request_for(pixart, steps=3)
    rows = [family.begin(request, 0, family.encode(request)) for _ in range(2)]
    inputs = family.rows(rows)
    with torch.inference_mode():
        first = family.forward(inputs, slice(0, 4))
        again = torch.cat([family.forward(inputs, slice(0, 1)), family.forward(inputs, slice(1, 4))])
    assert torch.equal(first, again)
    assert first.shape == (4, 1, 1, 1)
    assert [row.sampler.run.position for row in rows] == [1, 1]  # type: ignore[attr-defined]
    assert [row.sampler.steps_done for row in rows] == [0, 0]


def test_evicted_weights_are_free_at_once_and_the_image_is_the_same(pixart: CheckpointRef) -> None:
    request = request_for(pixart, steps=4)
    expected, _ = stepped_image(load(pixart), request)
    family = load(pixart)
    network = weakref.ref(family._pipeline.transformer)
    row = family.begin(request, 0, family.encode(request))
    with torch.inference_mode():
        for _ in range(2):
            row.latents = row.sampler.advance(predict(family, [row]).combined, row.latents)
        assert len(runs_alive()) == 1
        del family
        assert runs_alive() == []
        assert network() is None
        later = load(pixart)
        assert row.sampler.steps_done == 2
        while not row.sampler.is_done:
            row.latents = row.sampler.advance(predict(later, [row]).combined, row.latents)
    assert torch.equal(row.latents, expected)


def test_numbers_that_are_not_finite_are_noticed(pixart: CheckpointRef) -> None:
    family = load(pixart)
    with torch.no_grad():
        family._pipeline.transformer.proj_out.weight.fill_(float("nan"))
    request = request_for(pixart)
    row = family.begin(request, 0, family.encode(request))
    with torch.inference_mode():
        assert predict(family, [row]).finite == (False,)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"loras": (LoraRef(name="l", path="/l", digest="d", scale=1.0),)}, "LoRAs"),
        ({"embeddings": (EmbeddingRef(name="e", token="<e>", path="/e", digest="d"),)}, "embeddings"),
        ({"vae": VaeRef(name="v", path="/v", digest="d")}, "autoencoder"),
        ({"width": 72, "output_width": 72}, "multiples of 16"),
        ({"image": NOISE}, "begins from no image"),
        ({"image": NOISE, "mask": HALF}, "takes no mask"),
        ({"mask": HALF}, "there is no image"),
        ({"references": (NOISE,)}, "no reference pictures"),
        ({"clip_skip": 1}, "clip skip"),
        ({"true_guidance_scale": 3.0}, "second guidance scale"),
        ({"hires": HiresFix(width=128, height=128, strength=0.5, steps=2)}, "second pass"),
        ({"prompt": "a (red:1.4) fox", "prompt_style": PromptStyle.WEIGHTED}, "no weights in prompts"),
    ],
)
def test_what_these_families_cannot_do_is_refused_by_name(
    changes: dict[str, Any], word: str, pixart: CheckpointRef
) -> None:
    family = load(pixart)
    with pytest.raises(UnsupportedCombination, match=word):
        family.encode(request_for(pixart, **changes))
    assert runs_alive() == []


@pytest.mark.parametrize("name", ["qwen-image", "pixart-alpha"])
def test_a_single_step_is_refused_where_it_makes_no_image(name: str, folders: dict[str, Path]) -> None:
    """Of stretched noise levels diffusers makes 0 / 0; from PixArt's it takes a result that is not there."""
    checkpoint = tiny_ref(name, folders)
    family = load(checkpoint)
    with pytest.raises(UnsupportedCombination, match="no image in a single step: ask for 2 or more"):
        family.encode(request_for(checkpoint, steps=1))
    family.encode(request_for(checkpoint, steps=2))


def test_a_single_step_is_taken_with_a_scheduler_that_can(folders: dict[str, Path]) -> None:
    checkpoint = tiny_ref("pixart-alpha", folders)
    family = load(checkpoint)
    family._pipeline.scheduler = DDPMScheduler.from_config(family._pipeline.scheduler.config)
    image, turns = stepped_image(family, request_for(checkpoint, steps=1))
    assert torch.isfinite(image).all()
    assert turns == 2


def copy_with_index(checkpoint: CheckpointRef, folder: Path, **changes: Any) -> CheckpointRef:
    """The same checkpoint with entries of model_index.json replaced."""
    folder.mkdir()
    for child in Path(checkpoint.path).iterdir():
        if child.is_dir():
            (folder / child.name).symlink_to(child)
    index = json.loads((Path(checkpoint.path) / "model_index.json").read_text())
    (folder / "model_index.json").write_text(json.dumps(index | changes))
    return replace(checkpoint, path=str(folder), digest=str(folder))


@pytest.mark.parametrize(
    "changes",
    [
        {"_class_name": "StableDiffusionPipeline"},
        {"_class_name": ["pipeline", "Custom"]},
        {"_class_name": None},
        {"text_encoder": ["os", "system"]},
        {"text_encoder": ["transformers", "AutoModel"]},
        {"text_encoder": ["transformers", "pipeline"]},
        {"tokenizer": ["my_module", "T5Tokenizer"]},
    ],
)
def test_classes_outside_the_lists_are_never_made(
    changes: dict[str, Any], pixart: CheckpointRef, tmp_path: Path
) -> None:
    with pytest.raises(UnsupportedCombination):
        load(copy_with_index(pixart, tmp_path / "odd", **changes))


def test_missing_tensors_are_an_error(pixart: CheckpointRef, tmp_path: Path) -> None:
    odd = copy_with_index(pixart, tmp_path / "odd")
    source = Path(pixart.path) / "transformer"
    target = Path(odd.path) / "transformer"
    target.unlink()
    target.mkdir()
    (target / "config.json").write_text((source / "config.json").read_text())
    tensors = load_file(source / "diffusion_pytorch_model.safetensors")
    del tensors["proj_out.weight"]
    save_file(tensors, target / "diffusion_pytorch_model.safetensors")
    with pytest.raises(WeightsCorrupt, match=r"lacks 1 tensors.*proj_out\.weight"):
        load(odd)
