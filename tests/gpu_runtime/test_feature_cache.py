"""The fast tier reuses what deep blocks made of a row earlier: its own, never a neighbour's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gpu_runtime.batching.batch_key import batch_key
from gpu_runtime.config import EngineConfig
from gpu_runtime.denoising import Prediction, predict
from gpu_runtime.engine import Engine
from gpu_runtime.execution.regions import State
from gpu_runtime.families.family import Family, Row
from gpu_runtime.feature_cache import choice
from gpu_runtime.feature_cache.features import NOTHING, PartFeatures, RowFeatures
from gpu_runtime.messages import CheckpointRef, ImageRequest, LoraRef, Tier
from gpu_runtime.tiny.pipelines import make_tiny
from tests.gpu_runtime.driving import image_request, pixels, run_all
from tests.gpu_runtime.executions import Compiled

FAMILIES = {"sd15": "sd15", "sd3": "sd3.5-medium", "flux": "flux"}

ALWAYS = 1e6
"""A threshold below which every change is."""

STEPS = 4

Latents = dict[str, Tensor]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CheckpointRef:
    family, tiny = request.param, FAMILIES[request.param]
    folder = make_tiny(tiny, tmp_path_factory.mktemp("tiny") / tiny)
    return CheckpointRef(name=family, family=family, path=str(folder), digest=family)


Run = Callable[..., Latents]


@pytest.fixture(scope="module")
def run(checkpoint: CheckpointRef) -> Iterator[Run]:
    """Final latents of requests run together, by request."""
    latents: Latents = {}
    engine = Engine(
        EngineConfig(device="cpu", compile="off"),
        observe_latents=lambda name, index, final: latents.__setitem__(name, final.clone()),
    )

    def run(threshold: float, *requests: ImageRequest) -> Latents:
        engine._calls._reuse_threshold = threshold
        run_all(engine, requests)
        return {each.request_id: latents[each.request_id] for each in requests}

    yield run
    engine.close()


def wanted(checkpoint: CheckpointRef, name: str, **changes: object) -> ImageRequest:
    seed = sum(name.encode())
    fields = {"width": 64, "height": 64, "steps": STEPS, "seeds": (seed,), "prompt": f"a {name}"}
    return image_request(name, checkpoint, **{"tier": Tier.FAST, **fields, **changes})


def test_fast_rows_are_exact_below_the_threshold_and_near_above_it(
    checkpoint: CheckpointRef, run: Run
) -> None:
    apple = wanted(checkpoint, "apple")
    plain = run(0.0, replace(apple, tier=Tier.STANDARD))["apple"]
    assert torch.equal(run(0.0, apple)["apple"], plain)
    assert torch.equal(run(1e-30, apple)["apple"], plain), "nothing repeats to that many digits"
    reused = run(ALWAYS, apple)["apple"]
    assert 0 < float((reused - plain).norm() / plain.norm()) < 0.3


def test_row_is_the_same_whatever_the_neighbours_are_and_reuse(checkpoint: CheckpointRef, run: Run) -> None:
    """Neighbours begin at other times, with other guidance, so that some reuse while others do not."""
    apple = wanted(checkpoint, "apple")
    pear = wanted(checkpoint, "pear", guidance_scale=1.0, steps=3)
    plum = wanted(checkpoint, "plum", guidance_scale=7.0, steps=2)
    alone = run(ALWAYS, apple)["apple"]
    for others in ((pear,), (pear, plum), (plum, replace(plum, request_id="second plum"))):
        together = run(ALWAYS, *others, apple)["apple"]
        assert float((together - alone).norm() / alone.norm()) < 1e-5


def test_call_that_is_repeated_gives_the_same_and_changes_no_row(checkpoint: CheckpointRef) -> None:
    with torch.inference_mode():
        engine = Engine(EngineConfig(device="cpu", compile="off"))
        family = engine._residency.get(checkpoint)
        rows = begun(family, wanted(checkpoint, "apple", seeds=(1, 2)))
        first = fast(family, rows)
        assert first.features is not None
        assert all(row.features is None for row in rows)
        first.features.commit(rows)
        before = [row.features for row in rows]
        again = [fast(family, rows) for _ in range(2)]
        assert torch.equal(again[0].combined, again[1].combined)
        assert [row.features for row in rows] == before
        assert again[0].features is not None
        assert again[0].features.reused == again[0].forward_rows
        engine.close()


def fast(family: Family, rows: list[Row]) -> Prediction:
    return predict(family, rows, tier=Tier.FAST, reuse_threshold=ALWAYS)


def begun(family: Family, request: ImageRequest) -> list[Row]:
    conditioning = family.encode(request)
    return [family.begin(request, index, conditioning) for index in range(len(request.seeds))]


def test_small_changes_are_looked_at_again_after_a_few_calls() -> None:
    first = torch.ones(1, 4)
    for reused, is_reused in ((0, True), (choice.MOST_REUSED - 1, True), (choice.MOST_REUSED, False)):
        earlier = RowFeatures(first=first * 1.01, rest=first, reused=reused)
        made = choice.Choice(part_of(earlier), first)
        assert made.active == ([] if is_reused else [0])


def test_rows_that_remember_another_size_or_nothing_run_in_full() -> None:
    earlier = RowFeatures(first=torch.ones(1, 9), rest=torch.ones(1, 9))
    assert choice.Choice(part_of(earlier, None), torch.ones(2, 4)).active == [0, 1]
    assert NOTHING == (None, None)


def part_of(*earlier: RowFeatures | None) -> PartFeatures:
    return PartFeatures(earlier=earlier, found={}, start=0, threshold=0.1)


def test_fast_request_with_adapters_shares_calls_of_the_standard_tier(tmp_path: Path) -> None:
    lora = LoraRef(name="style", path=str(tmp_path), digest="style", scale=1.0)
    plain = image_request("r", tier=Tier.FAST)
    assert batch_key(plain).tier is Tier.FAST
    assert batch_key(replace(plain, loras=(lora,))).tier is Tier.STANDARD
    assert batch_key(replace(plain, tier=Tier.EXACT, loras=(lora,))).tier is Tier.EXACT


def test_rows_that_reuse_go_through_compiled_regions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_tiny("sd3", tmp_path / "sd3")
    checkpoint = CheckpointRef(name="sd3", family="sd3", path=str(folder), digest="sd3")
    apple = wanted(checkpoint, "apple")
    images = []
    compiled = Compiled(monkeypatch, EngineConfig(compile="regional", reuse_threshold=ALWAYS))
    for _ in range(2):
        images.append(run_all(compiled.engine, [apple]).images("apple")[0].data)
        compiled.wait()
    assert compiled.regions.count(State.READY) > 0
    assert abs(pixels(images[0]) - pixels(images[1])).max() <= 1
    compiled.engine.close()
