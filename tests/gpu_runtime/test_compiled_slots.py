"""Compiled denoisers: checkpoints come and go without a new graph, and code comes in the background."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.execution import regions
from gpu_runtime.execution.regions import State
from gpu_runtime.messages import CheckpointRef, ImageRequest, Tier
from tests.gpu_runtime.driving import image_request, pixels, run_all
from tests.gpu_runtime.executions import Compiled, forget_graphs, graphs
from tests.gpu_runtime.tiny_models import save_checkpoint
from tests.gpu_runtime.weight_store import megabytes, size_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[CheckpointRef]:
    """Three of one architecture that share nothing, with a UNet of few blocks: capturing takes seconds."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return [save_checkpoint(folder / f"sd15 {seed}", seed=seed) for seed in range(3)]


@pytest.fixture(scope="module")
def plain(checkpoints: list[CheckpointRef]) -> Iterator[Engine]:
    engine = Engine(EngineConfig(compile="off"))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def compiled(checkpoints: list[CheckpointRef], patch: pytest.MonkeyPatch) -> Iterator[Compiled]:
    """With room for one checkpoint, so that each takes the last one's slots; code for 4 rows is ready."""
    forget_graphs()
    room = megabytes(size_of(checkpoints[0]))
    compiled = Compiled(patch, EngineConfig(compile="regional", weights_budget_mb=room))
    run_all(compiled.engine, [request("first", checkpoints[0])])
    compiled.wait()
    assert graphs() == compiled.regions.count(State.READY) > 0
    yield compiled
    compiled.engine.close()
    torch._dynamo.reset()


def request(name: str, checkpoint: CheckpointRef, images: int = 2, **changes: object) -> ImageRequest:
    return image_request(name, checkpoint, seeds=tuple(range(images)), steps=2, **changes)


def assert_same_images(ours: Engine, theirs: Engine, checkpoint: CheckpointRef, images: int) -> None:
    outcomes = [run_all(each, [request("r", checkpoint, images)]).images("r") for each in (ours, theirs)]
    for index in range(images):
        mine, other = (pixels(images_of[index].data) for images_of in outcomes)
        assert abs(mine - other).max() <= 1


def test_code_from_the_twin_serves_every_checkpoint_without_a_new_graph(
    compiled: Compiled, plain: Engine, checkpoints: list[CheckpointRef]
) -> None:
    before = graphs()
    for index in range(5):
        assert_same_images(compiled.engine, plain, checkpoints[index % 3], images=2)
        assert compiled.engine.info().resident == (checkpoints[index % 3].name,)
    assert graphs() == before


def test_slot_that_was_emptied_adds_no_graph_when_it_is_filled_again(
    compiled: Compiled, checkpoints: list[CheckpointRef]
) -> None:
    before = graphs()
    assert compiled.engine.unload() > 0
    assert compiled.engine.info().weights_bytes == 0
    run_all(compiled.engine, [request("again", checkpoints[0])])
    assert graphs() == before


def test_rows_are_filled_up_to_few_shapes(
    compiled: Compiled, plain: Engine, checkpoints: list[CheckpointRef]
) -> None:
    """Five images are ten rows and run as twelve; six images need no code of their own."""
    run_all(compiled.engine, [request("six", checkpoints[0], 6)])
    compiled.wait()
    before = graphs()
    assert_same_images(compiled.engine, plain, checkpoints[0], images=5)
    compiled.wait()
    assert graphs() == before


def test_exact_images_never_meet_compiled_code(
    compiled: Compiled, plain: Engine, checkpoints: list[CheckpointRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their bytes must not depend on whether it is ready."""

    def refuse(*arguments: object) -> None:
        raise AssertionError("compiled code was asked for")

    monkeypatch.setattr(regions.RegionCompiler, "call", refuse)
    wanted = request("exact", checkpoints[0], tier=Tier.EXACT)
    ours, theirs = (run_all(each, [wanted]).images("exact") for each in (compiled.engine, plain))
    assert [ours[index].data for index in (0, 1)] == [theirs[index].data for index in (0, 1)]


def test_nothing_is_compiled_on_the_cpu_unless_asked_for(checkpoints: list[CheckpointRef]) -> None:
    before = graphs()
    engine = Engine(EngineConfig())
    run_all(engine, [image_request("r", checkpoints[0], width=64, steps=1)])
    engine.close()
    assert graphs() == before
