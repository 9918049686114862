"""Many swaps over all families leave nothing behind."""

from __future__ import annotations

import pytest

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef, Sampler
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.weight_store import TinyStore, live_tensors, megabytes, size_of

ROUNDS = 3


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> list[CheckpointRef]:
    """Two of each family; they share what families have in common."""
    store = TinyStore(tmp_path_factory.mktemp("store"))
    return [
        store.checkpoint(f"{family} {seed}", family, seed=seed, base=0)
        for seed in (1, 2)
        for family in ("sd15", "sdxl", "sd3", "flux")
    ]


def test_live_tensors_do_not_grow(checkpoints: list[CheckpointRef]) -> None:
    largest = max(size_of(checkpoint) for checkpoint in checkpoints)
    engine = Engine(EngineConfig(weights_budget_mb=megabytes(largest), prompt_cache_entries=4))

    def swap_through_all(round_: int) -> None:
        for checkpoint in checkpoints:
            request = image_request(
                f"{checkpoint.name} {round_}", checkpoint, sampler=Sampler.EULER, steps=1, prompt=f"{round_}"
            )
            assert len(run_all(engine, [request]).images(request.request_id)) == 1
            assert engine.info().weights_bytes <= largest

    swap_through_all(0)
    loads, before = engine._residency.loads, live_tensors()
    for round_ in range(1, 1 + ROUNDS):
        swap_through_all(round_)
    assert engine._residency.loads - loads >= ROUNDS * len(checkpoints)
    assert live_tensors() == before
    engine.close()
