"""ControlNets and IP-adapters that are not all on the device at once: who shares a turn, who waits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import torch

from gpu_runtime.batching.leading import CLASS_TURNS, COLD_CLASS_FACTOR
from gpu_runtime.batching.step_batcher import StepBatcher
from gpu_runtime.batching.turns import HYSTERESIS_TURNS, Device, ExtraNetwork
from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import ImageRequest, Priority, RequestDone
from gpu_runtime.weights.checkpoint_files import weights_bytes
from tests.gpu_runtime.control_references import ExtraNetworks
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.turns_driving import add, device, key, plan, requests_of
from tests.gpu_runtime.weight_store import TinyStore, megabytes, size_of


def network(name: str) -> ExtraNetwork:
    return ExtraNetwork(digest=name, path=f"/{name}")


def needs(*names: str) -> frozenset[ExtraNetwork]:
    return frozenset(map(network, names))


@dataclass
class SmallDevice:
    """Checkpoints `c` and `d` are resident; beside them `room` further networks."""

    room: int = 1
    lent: list[ExtraNetwork] = field(default_factory=list)
    """The longest unused first."""
    loads: int = 0

    def facts(self) -> Device:
        return replace(device(), is_lent=self.lent.__contains__, fits=self._fits)

    def turn(self, batcher: StepBatcher, needed: dict[str, frozenset[ExtraNetwork]]) -> Counter[str]:
        """One turn; loads what its requests need and lets go what is over."""
        served = requests_of(plan(batcher, self.facts()))
        wanted = frozenset().union(*(needed[name] for name in served))
        assert len(wanted) <= self.room, "a turn has what fits at once"
        self.loads += len(wanted.difference(self.lent))
        self.lent = [each for each in self.lent if each not in wanted] + sorted(wanted, key=str)
        self.lent = self.lent[-self.room :]
        return served

    def _fits(self, _checkpoints: Collection[str], networks: Collection[ExtraNetwork]) -> bool:
        return len(networks) <= self.room


def filled(batcher: StepBatcher, needed: dict[str, frozenset[ExtraNetwork]]) -> StepBatcher:
    for name, networks in needed.items():
        add(batcher, name, networks=networks)
    return batcher


def leaders(batcher: StepBatcher, small: SmallDevice, needed: dict[str, frozenset[ExtraNetwork]]) -> str:
    return "".join(next(iter(small.turn(batcher, needed))) for _ in range(4 * HYSTERESIS_TURNS))


def test_requests_whose_networks_do_not_fit_at_once_take_long_turns() -> None:
    needed = {"a": needs("x"), "b": needs("y")}
    small = SmallDevice()
    led = leaders(filled(StepBatcher(4), needed), small, needed)
    assert small.loads <= len(led) // HYSTERESIS_TURNS + 1
    assert min(Counter(led).values()) >= HYSTERESIS_TURNS, "neither waits for all of the other"


def test_requests_whose_networks_fit_at_once_share() -> None:
    needed = {"a": needs("x"), "b": needs("y"), "c": needs("x", "y"), "d": needs()}
    small = SmallDevice(room=2)
    batcher = filled(StepBatcher(4), needed)
    assert [small.turn(batcher, needed) for _ in range(3)] == [Counter("abcd")] * 3
    assert small.loads == 2


def test_request_without_networks_shares_with_whoever_leads() -> None:
    needed = {"a": needs("x"), "b": needs("y"), "plain": needs()}
    small = SmallDevice()
    batcher = filled(StepBatcher(4), needed)
    for _ in range(3 * HYSTERESIS_TURNS):
        assert small.turn(batcher, needed)["plain"] == 1


def test_request_comes_without_waiting_where_nobody_loses_anything() -> None:
    """What is there is not waited for any more."""
    needed = {"a": needs("x"), "b": needs("y")}
    small = SmallDevice(lent=[network("z")])
    batcher = StepBatcher(4)
    add(batcher, "a", networks=needed["a"])
    assert small.turn(batcher, needed) == {"a": 1}
    batcher.remove("a")
    add(batcher, "b", networks=needed["b"])
    assert small.turn(batcher, needed) == {"b": 1}


def test_checkpoint_that_would_leave_for_a_network_counts() -> None:
    """Without room beside both checkpoints, the plain requests of one would lose it at every turn."""
    batcher = StepBatcher(4)
    add(batcher, "controlled", networks=needs("x"))
    add(batcher, "plain", key=key(checkpoint="d"))
    where = replace(device(), fits=lambda checkpoints, networks: len(checkpoints) + len(networks) <= 2)
    led = [next(iter(requests_of(plan(batcher, where)))) for _ in range(20)]
    assert led.index("controlled") == HYSTERESIS_TURNS


def test_nobody_with_other_networks_shares_the_turn_that_loads_the_checkpoint() -> None:
    """How much room is left beside it is known afterwards."""
    batcher = StepBatcher(4)
    for name, networks in {"a": needs("x"), "b": needs("y"), "c": needs("x"), "d": needs()}.items():
        add(batcher, name, networks=networks)
    assert requests_of(plan(batcher, device(resident=()))) == {"a": 1, "c": 1, "d": 1}


@pytest.mark.parametrize("priority", [Priority.BACKGROUND, Priority.TRAINING])
def test_lower_class_pushes_networks_out_as_seldom_as_checkpoints(priority: Priority) -> None:
    needed = {"now": needs("x"), "later": needs("y")}
    small, batcher = SmallDevice(), StepBatcher(4)
    add(batcher, "now", networks=needed["now"])
    add(batcher, "later", networks=needed["later"], priority=priority)
    waits = max(CLASS_TURNS[priority], COLD_CLASS_FACTOR * HYSTERESIS_TURNS)
    led = [next(iter(small.turn(batcher, needed))) for _ in range(waits + 2 * HYSTERESIS_TURNS)]
    assert led.index("later") == waits
    assert led[waits:].count("later") == HYSTERESIS_TURNS
    assert small.loads == 3


def loads_of(engine: Engine, requests: Sequence[ImageRequest]) -> int:
    """Components loaded for these requests, which come at the same time and all get their images."""
    before = engine._residency.loads
    outcome = run_all(engine, requests)
    assert all(isinstance(outcome.final(each.request_id), RequestDone) for each in requests)
    return engine._residency.loads - before


def test_engine_with_room_for_one_of_two_controlnets_does_not_thrash(tmp_path: Path) -> None:
    checkpoint = TinyStore(tmp_path / "store").checkpoint("base", seed=1)
    networks = ExtraNetworks(tmp_path)
    controls = [networks.control("sd15", seed=seed) for seed in (1, 2)]
    control_bytes = weights_bytes(Path(controls[0].path), torch.float32)
    budget = megabytes(size_of(checkpoint) + control_bytes + 1000)
    engine = Engine(EngineConfig(check_invariants=True, weights_budget_mb=budget))
    roomy = Engine(EngineConfig(check_invariants=True))
    for each in (engine, roomy):
        run_all(each, [image_request("earlier", checkpoint)])
    steps = HYSTERESIS_TURNS + 4
    requests = [
        image_request(control.digest, checkpoint, controls=(control,), steps=steps) for control in controls
    ]
    assert loads_of(engine, requests) <= 4
    for request in requests:
        roomy.submit(request)
    roomy.step()
    assert [held.progress().step for held in roomy._held.values()] == [1, 1], "with room for both they share"
    engine.close()
    roomy.close()
