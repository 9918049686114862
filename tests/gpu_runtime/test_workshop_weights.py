"""Weights of operations: kept by digest within a budget, given up when asked."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from gpu_runtime.messages import Residency
from gpu_runtime.operations.context import Context
from gpu_runtime.telemetry import TickKind
from gpu_runtime.work import Asset, Operation
from gpu_runtime.workshop.weights_shelf import FAMILY, WeightsShelf
from tests.gpu_runtime.driving import drive
from tests.gpu_runtime.workshop_driving import Watch, scripted, work_request


def asset(name: str) -> Asset:
    return Asset(name=name, path=f"/weights/{name}", digest=f"digest of {name}")


class Builds:
    """Counts; each network takes 2 s to load."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch
        self.made: list[tuple[str, str]] = []

    def network(self, path: Path, device: str) -> list[str]:
        self.watch.now += 2.0
        self.made.append((path.name, device))
        return [path.name]

    def other(self, path: Path, device: str) -> list[str]:
        return self.network(path, device)


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def builds(watch: Watch) -> Builds:
    return Builds(watch)


def shelf_of(watch: Watch, *, budget_bytes: int = 30) -> WeightsShelf:
    """Each network takes 10 bytes."""
    return WeightsShelf(lambda weights, folder: 10, watch, budget_bytes=budget_bytes)


def test_equal_digests_share_one_copy(watch: Watch, builds: Builds) -> None:
    shelf = shelf_of(watch)
    first = shelf.load(asset("a"), "cpu", builds.network)
    assert (
        shelf.load(Asset(name="b", path="/weights/b", digest=asset("a").digest), "cpu", builds.network)
        is first
    )
    assert builds.made == [("a", "cpu")]
    assert shelf.take_load_s() == 2.0
    assert shelf.take_load_s() == 0.0


def test_networks_of_one_folder_and_of_other_devices_are_their_own(watch: Watch, builds: Builds) -> None:
    shelf = shelf_of(watch, budget_bytes=100)
    found = [
        shelf.load(asset("a"), device, build)
        for device in ("cpu", "cuda:0")
        for build in (builds.network, partial(builds.other))
    ]
    assert len({id(each) for each in found}) == 4
    assert shelf.load(asset("a"), "cpu", partial(builds.other)) is found[1]


def test_longest_unused_leaves_first(watch: Watch, builds: Builds) -> None:
    shelf = shelf_of(watch)
    for name in ("a", "b", "c", "a", "d"):
        shelf.load(asset(name), "cpu", builds.network)
    assert [each.name for each in shelf.held()] == ["c", "a", "d"]
    assert shelf.size_bytes == 30


def test_network_above_the_budget_is_kept_alone(watch: Watch, builds: Builds) -> None:
    shelf = shelf_of(watch, budget_bytes=5)
    for _ in range(2):
        shelf.load(asset("a"), "cpu", builds.network)
    assert builds.made == [("a", "cpu")]


def test_failed_load_leaves_nothing(watch: Watch) -> None:
    shelf = shelf_of(watch)

    def broken(path: Path, device: str) -> None:
        raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        shelf.load(asset("a"), "cpu", broken)
    assert not shelf.held()


def test_workshop_shows_and_forgets_them() -> None:
    workshop, engine, script = scripted()
    builds = Builds(engine.watch)

    def load(context: Context) -> None:
        context.load("model", builds.network)

    script.ending = load
    operation = Operation(name="upscale", inputs={"image": "photo"}, assets={"model": asset("a")})
    workshop.submit(work_request("r", before=(operation,)))
    assert workshop.expected_step_s() == 60.0
    drive(workshop)
    (held,) = workshop.info().held
    assert (held.name, held.family, held.residency) == ("a", FAMILY, Residency.RESIDENT)
    loads = [report.seconds for report in workshop.take_ticks() if report.kind is TickKind.LOAD]
    assert loads == [2.0]
    workshop.submit(work_request("s", before=(operation,)))
    assert workshop.expected_step_s() < 60.0
    drive(workshop)
    assert builds.made == [("a", "fake")]
    workshop.unload("digest of a")
    assert not workshop.info().held
