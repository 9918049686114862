"""Compiled denoisers: checkpoints come and go without a new graph."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch._dynamo.utils import counters

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef, ImageRequest
from tests.gpu_runtime.driving import image_request, pixels, run_all
from tests.gpu_runtime.tiny_models import save_checkpoint
from tests.gpu_runtime.weight_store import megabytes, size_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[CheckpointRef]:
    """Three of one architecture that share nothing, with a UNet of few blocks: capturing takes seconds."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return [save_checkpoint(folder / f"sd15 {seed}", seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def engine(checkpoints: list[CheckpointRef]) -> Iterator[Engine]:
    """With room for one checkpoint, so that each takes the last one's slots; its graphs are captured.

    They are captured and guarded as always, and then run as they are: no compiler is needed.
    """
    torch._dynamo.reset()
    counters.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gpu_runtime.weights.assembly.COMPILE_BACKEND", "eager")
        engine = Engine(
            EngineConfig(compile_denoiser=True, weights_budget_mb=megabytes(size_of(checkpoints[0])))
        )
        for count in (1, 2):
            run_all(engine, [request(f"warm {count}", checkpoints[0], count)])
        assert graphs() > 0
        yield engine
        engine.close()
    torch._dynamo.reset()


def request(name: str, checkpoint: CheckpointRef, images: int = 2) -> ImageRequest:
    return image_request(name, checkpoint, seeds=tuple(range(images)), steps=2)


def graphs() -> int:
    return counters["stats"]["unique_graphs"]


def assert_same_images(ours: Engine, theirs: Engine, checkpoint: CheckpointRef, images: int) -> None:
    outcomes = [run_all(each, [request("r", checkpoint, images)]).images("r") for each in (ours, theirs)]
    for index in range(images):
        mine, other = (pixels(images_of[index].data) for images_of in outcomes)
        assert abs(mine - other).max() <= 1


def test_swapped_checkpoint_adds_no_graph_and_makes_its_own_image(
    engine: Engine, checkpoints: list[CheckpointRef]
) -> None:
    before, plain = graphs(), Engine(EngineConfig())
    for index in range(6):
        assert_same_images(engine, plain, checkpoints[index % 3], images=2 + index % 2)
        assert engine.info().resident == (checkpoints[index % 3].name,)
    assert graphs() == before
    assert not counters["recompile_limit"]


def test_slot_that_was_emptied_adds_no_graph_when_it_is_filled_again(
    engine: Engine, checkpoints: list[CheckpointRef]
) -> None:
    before = graphs()
    assert engine.unload() > 0
    assert engine.info().weights_bytes == 0
    run_all(engine, [request("again", checkpoints[0])])
    assert graphs() == before


def test_second_slot_of_an_architecture_adds_no_graph(
    engine: Engine, checkpoints: list[CheckpointRef]
) -> None:
    """Nor does a second engine: graphs are kept by code, and guarded by what they depend on."""
    before = graphs()
    roomy = Engine(EngineConfig(compile_denoiser=True))
    for checkpoint in checkpoints:
        run_all(roomy, [request("r", checkpoint)])
    assert len(roomy.info().resident) == 3
    assert graphs() == before


def test_nothing_is_compiled_unless_asked_for(engine: Engine, checkpoints: list[CheckpointRef]) -> None:
    captured = counters["frames"]["total"]
    run_all(Engine(EngineConfig()), [image_request("r", checkpoints[0], width=64, steps=1)])
    assert counters["frames"]["total"] == captured > 0
