"""Recorded calls in a whole engine: the same images, through swaps and where memory is short."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.execution import graphs
from gpu_runtime.execution.network_call import NetworkCall
from gpu_runtime.families.family import ForwardInputs
from gpu_runtime.families.sd15 import StableDiffusion15
from gpu_runtime.messages import CheckpointRef, ImageRequest, Tier
from gpu_runtime.tiny.pipelines import make_tiny
from gpu_runtime.weights import assembly
from gpu_runtime.weights.slots import SlotPool
from gpu_runtime.weights.source import WeightsSource
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.recordings import SHARED_BYTES, Recorded
from tests.gpu_runtime.weight_store import megabytes, size_of


@pytest.fixture(autouse=True)
def recorded_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "CALLS_BEFORE", 2)


def recorded(patch: pytest.MonkeyPatch, families: Any = None, **settings: Any) -> Recorded:
    config = EngineConfig(device="cpu", compile="off", check_invariants=True, **settings)
    return Recorded(patch, config, **({"families": families} if families else {}))


def requests(checkpoint: CheckpointRef, **changes: Any) -> list[ImageRequest]:
    """Three that share calls, and leave them one after the other."""
    return [
        image_request(f"{steps}", checkpoint, seeds=(steps,), steps=steps, **changes) for steps in (4, 8, 12)
    ]


def images(engine: Engine, wanted: list[ImageRequest]) -> list[bytes]:
    outcome = run_all(engine, wanted)
    return [outcome.images(request.request_id)[0].data for request in wanted]


def test_images_are_the_same_with_and_without(
    checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_them = recorded(monkeypatch)
    plain = Engine(EngineConfig(device="cpu", compile="off"))
    for _ in range(2):
        assert images(with_them.engine, requests(checkpoint)) == images(plain, requests(checkpoint))
    assert len(with_them.recorder.alive) == 3, "of six, four and two rows"
    assert with_them.recorder.replays > 12


class Operators(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the names of all operators that run meanwhile."""

    seen: ClassVar[set[str]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.add(str(func))
        return func(*args, **(kwargs or {}))


ASKS_THE_HOST = re.compile(
    r"aten\.(item|_local_scalar_dense|is_nonzero|nonzero|masked_select|index|lift_fresh)\."
)
"""Operators for which a device may have to be waited for, or is given values by the host, which no recording
can hold. `index` may be by a mask."""


def test_operators_that_ask_the_host_are_noticed() -> None:
    values = torch.ones(2)
    with Operators() as operators:  # type: ignore[no-untyped-call]
        operators.seen.clear()
        values.sum().item()
        torch.tensor([1.0])
        values[values > 0]
    assert len(list(filter(ASKS_THE_HOST.match, operators.seen))) >= 3


@pytest.mark.parametrize("family", ["sdxl", "sd3", "flux"])
def test_calls_of_every_family_can_be_recorded(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = NetworkCall._whole

    def watched(call: NetworkCall, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        with Operators():  # type: ignore[no-untyped-call]
            return whole(call, args, kwargs)

    monkeypatch.setattr(NetworkCall, "_whole", watched)
    Operators.seen.clear()
    folder = make_tiny(family, tmp_path / family)
    checkpoint = CheckpointRef(name=family, family=family, path=str(folder), digest=family)
    with_them = recorded(monkeypatch)
    plain = Engine(EngineConfig(device="cpu", compile="off"))
    wanted = [image_request("r", checkpoint, width=64, height=64, steps=6)]
    assert images(with_them.engine, wanted) == images(plain, wanted)
    assert with_them.recorder.replays >= 4
    assert "aten.linear.default" in Operators.seen
    assert not list(filter(ASKS_THE_HOST.match, Operators.seen))


@pytest.mark.parametrize(
    ("tier", "threshold", "count"), [(Tier.EXACT, 0.0, 0), (Tier.FAST, 0.08, 0), (Tier.FAST, 0.0, 3)]
)
def test_tiers_are_recorded_where_their_calls_are_always_the_same(
    tier: Tier, threshold: float, count: int, checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = recorded(monkeypatch, reuse_threshold=threshold)
    images(engine.engine, requests(checkpoint, tier=tier))
    assert len(engine.recorder.made) == count


@pytest.mark.parametrize("is_copying", [True, False])
def test_swap_keeps_recordings_where_weights_are_copied_over_the_last_ones(
    is_copying: bool, checkpoint: CheckpointRef, v_checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        assembly, "SlotPool", lambda **settings: SlotPool(**{**settings, "is_copying": is_copying})
    )
    swapping = recorded(monkeypatch, weights_budget_mb=megabytes(size_of(checkpoint)))
    plain = Engine(EngineConfig(device="cpu", compile="off"))
    swapping.recorder.networks.append(unet_of(swapping.engine, checkpoint))
    images(swapping.engine, requests(checkpoint))
    made = list(swapping.recorder.made)
    assert images(swapping.engine, requests(v_checkpoint)) == images(plain, requests(v_checkpoint))
    assert unet_of(swapping.engine, v_checkpoint) is swapping.recorder.networks[0]
    assert (swapping.recorder.made == made) == is_copying
    swapping.engine.unload()
    assert swapping.recorder.alive == []
    assert swapping.graphs.size_bytes == 0


def unet_of(engine: Engine, checkpoint: CheckpointRef) -> Any:
    return engine._residency.get(checkpoint)._parts.unet  # type: ignore[attr-defined]  # a family's own


class Crowded(StableDiffusion15):
    """Has no room for any call beside graphs once it `is_full`."""

    owner: ClassVar[Recorded]
    is_full: ClassVar[bool] = False
    calls: ClassVar[list[int]]

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        self.calls.append(part.stop - part.start)
        if self.is_full and self.owner.graphs.size_bytes:
            raise torch.OutOfMemoryError("out of memory")
        return super().forward(inputs, part)


def test_recordings_go_before_calls_become_smaller_or_weights_leave(
    checkpoint: CheckpointRef, v_checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Own(Crowded):
        calls: ClassVar[list[int]] = []

    def load(checkpoint: CheckpointRef, source: WeightsSource) -> Crowded:
        return Own(source)

    crowded = Own.owner = recorded(monkeypatch, families={"sd15": load})
    images(crowded.engine, [image_request("other", v_checkpoint, steps=1), *requests(checkpoint)])
    assert crowded.recorder.alive
    weights = crowded.engine.info().weights_bytes
    Own.is_full, Own.calls[:] = True, []
    images(crowded.engine, requests(checkpoint))
    assert Own.calls == [6, *[6] * 4, *[4] * 4, *[2] * 4]
    assert crowded.recorder.alive == []
    assert crowded.engine.info().weights_bytes == weights


def test_budget_of_weights_counts_recordings(
    checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = recorded(monkeypatch)
    before = engine.engine.info().weights_budget_bytes
    images(engine.engine, requests(checkpoint))
    held = engine.graphs.size_bytes
    assert held > SHARED_BYTES
    assert engine.engine.info().weights_budget_bytes == before - held
    assert engine.engine._residency.give_up_spare() == held
    assert engine.engine.info().weights_budget_bytes == before


def test_load_takes_the_room_of_recordings_only_where_that_spares_weights(
    checkpoint: CheckpointRef, v_checkpoint: CheckpointRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = recorded(monkeypatch)
    images(engine.engine, requests(checkpoint))
    weights = engine.engine._residency._weights
    held, here = engine.graphs.size_bytes, weights.size_bytes
    allowance = weights._allowance()
    monkeypatch.setattr(weights, "_allowance", lambda: allowance_of(allowance, engine, room=here + held))
    monkeypatch.setattr(weights, "_next_to_leave", lambda architecture: None)
    weights._make_room(held + 1)
    assert engine.recorder.alive
    weights._make_room(held)
    assert (engine.recorder.alive, weights.size_bytes) == ([], here)


def allowance_of(allowance: Any, engine: Recorded, room: int) -> Any:
    held = engine.graphs.size_bytes
    return type(allowance)(target_bytes=room - held, most_bytes=2 * room, spare_bytes=held)
