"""Blocks compiled in the background, and what is left of that after a restart."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch._inductor.utils import clear_caches, fresh_cache
from torch.compiler._cache import CacheArtifactManager

from gpu_runtime.config import EngineConfig
from gpu_runtime.execution import regions
from gpu_runtime.execution.cache import INDUCTOR, TRITON, CompiledCache
from gpu_runtime.execution.calling import eager
from gpu_runtime.execution.lattice import bucket_of, filling, first_rows, taken
from gpu_runtime.execution.preparing import Execution
from gpu_runtime.execution.regions import RegionCompiler, State, twin_of
from tests.gpu_runtime.weight_store import PLAN


class ResnetBlock2D(nn.Module):
    """By its name, a block that is compiled."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)
        self.factor = factor

    def forward(self, x: Tensor, *, shift: Tensor) -> Tensor:
        return torch.tanh(self.layer(x) * self.factor) + shift


@pytest.fixture
def block() -> ResnetBlock2D:
    torch.manual_seed(0)
    return ResnetBlock2D().eval().requires_grad_(False)


def call(block: nn.Module, rows: int = 2) -> Tensor:
    with torch.inference_mode():
        result: Tensor = block(torch.ones(rows, 4), shift=torch.full((rows, 4), 0.5))
    return result


def test_block_runs_as_written_until_its_code_is_ready(
    block: ResnetBlock2D, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regions, "BACKEND", "eager")
    compiler = RegionCompiler()
    before = call(block)
    compiler.attach(block)
    assert torch.equal(call(block), before)
    compiler.wait()
    assert compiler.count(State.READY) == 1
    assert torch.equal(call(block), before)
    with eager():
        call(block, 3)
    assert compiler.count(State.WAITING) == 0, "nothing is ordered for calls that run as written"


def test_shapes_that_wait_share_one_twin(block: ResnetBlock2D, monkeypatch: pytest.MonkeyPatch) -> None:
    """A twin takes the block's memory once more; shapes come up faster than they are compiled."""
    made = []

    def noted(original: nn.Module) -> nn.Module:
        made.append(original)
        return twin_of(original)

    started, may_go_on = threading.Event(), threading.Event()

    def waiting(graph: torch.fx.GraphModule, inputs: object) -> object:
        started.set()
        may_go_on.wait(30)
        return graph.forward

    monkeypatch.setattr(regions, "twin_of", noted)
    monkeypatch.setattr(regions, "BACKEND", waiting)
    compiler = RegionCompiler()
    compiler.attach(block)
    for rows in (2, 3, 4):
        call(block, rows)
    assert started.wait(30)
    assert compiler.count(State.WAITING) == 3
    may_go_on.set()
    compiler.wait()
    assert compiler.count(State.READY) == 3
    assert made == [block]


def test_blocks_that_differ_in_a_setting_have_code_of_their_own(
    block: ResnetBlock2D, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regions, "BACKEND", "eager")
    compiler, other = RegionCompiler(), ResnetBlock2D(factor=2.0).eval().requires_grad_(False)
    for each in (block, other):
        compiler.attach(each)
        call(each)
    compiler.wait()
    graphs = counters["stats"]["unique_graphs"]
    for each in (block, other):
        call(each)
    assert compiler.count(State.READY) == 2
    assert counters["stats"]["unique_graphs"] == graphs


class UNet2DConditionModel(nn.Module):
    """By its name, a denoiser."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, sample: Tensor, *, timestep: Tensor) -> tuple[Tensor]:
        return (self.layer(sample) + timestep[:, None],)


def test_whole_denoiser_is_compiled_once_for_each_shape_of_the_lattice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(regions, "BACKEND", "eager")
    execution = Execution(EngineConfig(compile="whole"), PLAN)
    networks = [UNet2DConditionModel().eval().requires_grad_(False) for _ in range(2)]
    for network in networks:
        execution.prepare(network)
    graphs = counters["stats"]["unique_graphs"]
    with torch.inference_mode():
        for rows in (5, 6):
            for network in networks:
                sample, timestep = torch.randn(rows, 4), torch.arange(float(rows))
                (result,) = network(sample=sample, timestep=timestep)
                assert torch.allclose(result, network._call_impl(sample, timestep=timestep)[0])
    assert counters["stats"]["unique_graphs"] == graphs + 1


def test_block_that_does_not_compile_runs_as_written(
    block: ResnetBlock2D, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("no compiler on this machine")

    monkeypatch.setattr(regions, "BACKEND", broken)
    compiler = RegionCompiler()
    before = call(block)
    compiler.attach(block)
    call(block)
    compiler.wait()
    assert compiler.count(State.FAILED) == 1
    assert torch.equal(call(block), before)
    assert "runs uncompiled" in caplog.text


def test_whole_denoiser_that_does_not_compile_runs_as_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("no compiler on this machine")

    monkeypatch.setattr(regions, "BACKEND", broken)
    network = UNet2DConditionModel().eval().requires_grad_(False)
    Execution(EngineConfig(compile="whole"), PLAN).prepare(network)
    with torch.inference_mode():
        sample, timestep = torch.randn(7, 4), torch.arange(7.0)
        (result,) = network(sample=sample, timestep=timestep)
        assert torch.equal(result, network._call_impl(sample, timestep=timestep)[0])


class CountingCompiler:
    """Compiles nothing, and knows in which threads it was asked to; fails after `broken_from` times."""

    def __init__(self, broken_from: int = 10**6) -> None:
        self.threads: list[str] = []
        self._broken_from = broken_from

    def __call__(self, graph: torch.fx.GraphModule, inputs: object) -> torch.fx.GraphModule:
        self.threads.append(threading.current_thread().name)
        if len(self.threads) > self._broken_from:
            raise RuntimeError("the compiler is gone")
        return graph


@pytest.mark.parametrize(("broken_from", "expected"), [(1, State.FAILED), (10**6, State.READY)])
def test_code_that_does_not_fit_any_more_is_compiled_again_in_the_background(
    broken_from: int, expected: State, block: ResnetBlock2D, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch would compile in the middle of the call, which holds up every request."""
    compiling = CountingCompiler(broken_from)
    monkeypatch.setattr(regions, "BACKEND", compiling)
    compiler = RegionCompiler()
    compiler.attach(block)
    call(block)
    compiler.wait()
    assert compiler.count(State.READY) == 1
    block.factor = 2.0
    with eager():
        written = call(block)
    for _ in range(2):
        assert torch.equal(call(block), written)
        compiler.wait()
    assert compiler.count(expected) == 1
    assert compiling.threads == ["compile"] * 2


def test_code_that_never_fits_is_given_up(block: ResnetBlock2D, monkeypatch: pytest.MonkeyPatch) -> None:
    compiling = CountingCompiler()
    monkeypatch.setattr(regions, "BACKEND", compiling)
    compiler = RegionCompiler()
    compiler.attach(block)
    for factor in range(regions.MOST_RECOMPILED + 3):
        block.factor = float(factor)
        call(block)
        compiler.wait()
    assert compiler.count(State.FAILED) == 1
    assert len(compiling.threads) == 1 + regions.MOST_RECOMPILED


def test_shape_that_nobody_called_for_longest_gives_up_its_place_among_those_that_wait(
    block: ResnetBlock2D, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, may_go_on = threading.Event(), threading.Event()

    def slow(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> object:
        started.set()
        may_go_on.wait(30)
        return graph.forward

    monkeypatch.setattr(regions, "BACKEND", slow)
    monkeypatch.setattr(regions, "MOST_WAITING", 2)
    monkeypatch.setattr(regions, "SPARED_WAITING_CALLS", 3)
    compiler = RegionCompiler()
    compiler.attach(block)
    call(block, 11)
    assert started.wait(30)
    for rows in (12, 13, 14, 12, 14):
        # There is no place for 14 rows before nobody came with 13 for three calls.
        call(block, rows)
    assert compiler.count(State.WAITING) == 3, "one is being compiled, two wait"
    may_go_on.set()
    compiler.wait()
    assert compiler.count(State.READY) == 3
    graphs = counters["stats"]["unique_graphs"]
    for rows in (11, 12, 14):
        call(block, rows)
    compiler.wait()
    assert counters["stats"]["unique_graphs"] == graphs


def test_code_of_shapes_that_nobody_brings_any_more_gives_way(
    block: ResnetBlock2D, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(regions, "BACKEND", "eager")
    monkeypatch.setattr(regions, "MOST_CODES", 2)
    monkeypatch.setattr(regions, "SPARED_CALLS", 3)
    compiler = RegionCompiler()
    compiler.attach(block)

    def compiled(rows: int) -> int:
        graphs = counters["stats"]["unique_graphs"]
        call(block, rows)
        compiler.wait()
        return counters["stats"]["unique_graphs"] - graphs

    assert [compiled(rows) for rows in (1, 2, 3)] == [1, 1, 0]
    assert [compiled(rows) for rows in (2, 2, 3)] == [0, 0, 1]
    assert [compiled(rows) for rows in (2, 1)] == [0, 0]


def test_restart_does_not_compile_again(block: ResnetBlock2D, tmp_path: Path) -> None:
    """The compiler's own folder is another one in the second life, as on a machine that lost it."""

    def product(self: ResnetBlock2D, x: Tensor, *, shift: Tensor) -> Tensor:
        # A library's product alone: no C++ has to be compiled for it.
        return x @ self.layer.weight

    block.__class__ = type("ResnetBlock2D", (ResnetBlock2D,), {"forward": product})
    lives = []
    for _ in range(2):
        torch._dynamo.reset()
        counters.clear()
        with fresh_cache(), CacheArtifactManager.with_fresh_cache():
            cache = CompiledCache(tmp_path / "compiled", "a processor")
            was_there = cache.load()
            compiler = RegionCompiler(on_compiled=cache.save)
            compiler.attach(block)
            call(block)
            compiler.wait()
            assert compiler.count(State.READY) == 1
            lives.append((was_there, dict(counters["inductor"])))
    assert not lives[0][0]
    assert lives[0][1]["fxgraph_cache_miss"] == 1
    assert lives[1][0]
    assert "fxgraph_cache_miss" not in lives[1][1]
    # What the second life did not compile is in its file all the same: a third one finds it.
    assert CompiledCache(tmp_path / "compiled", "a processor").load()
    assert not CompiledCache(tmp_path / "compiled", "another processor").load()


def test_inductor_keeps_its_files_where_the_appliance_does(
    block: ResnetBlock2D, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And finds them there, also without the file that this process writes in the end."""

    def product(self: ResnetBlock2D, x: Tensor, *, shift: Tensor) -> Tensor:
        return x @ self.layer.weight

    block.__class__ = type("ResnetBlock2D", (ResnetBlock2D,), {"forward": product})
    for name in (INDUCTOR, TRITON):
        monkeypatch.setenv(name, str(tmp_path / "elsewhere"))
    folder = tmp_path / "compiled"
    misses = []
    for _ in range(2):
        torch._dynamo.reset()
        clear_caches()
        counters.clear()
        execution = Execution(EngineConfig(compile="regional", compile_cache=str(folder)), PLAN)
        execution.regions.attach(block)
        call(block)
        execution.regions.wait()
        assert execution.regions.count(State.READY) == 1
        misses.append(counters["inductor"]["fxgraph_cache_miss"])
        for file in folder.glob("*.bin"):
            file.unlink()
    assert misses == [1, 0]
    assert not (tmp_path / "elsewhere").exists()
    (kept,) = folder.iterdir()
    assert folder.stat().st_mode & 0o777 == kept.stat().st_mode & 0o777 == 0o700
    assert os.environ[TRITON] == str(kept / "triton")


@pytest.mark.parametrize("is_outer", [True, False])
def test_inductor_keeps_nothing_where_others_may_write(
    is_outer: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (INDUCTOR, TRITON):
        monkeypatch.setenv(name, "elsewhere")
    cache = CompiledCache(tmp_path / "compiled", "a processor")
    cache.folder.mkdir(parents=True)
    for folder in (cache.folder.parent, cache.folder):
        folder.chmod(0o700)
    (cache.folder.parent if is_outer else cache.folder).chmod(0o770)
    assert not cache.take_in()
    assert (os.environ[INDUCTOR], os.environ[TRITON]) == ("elsewhere", "elsewhere")
    assert "others may write there" in caplog.text


def test_folder_that_cannot_be_made_is_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert not CompiledCache(tmp_path / "file", "a processor").take_in()
    assert "cannot be kept" in caplog.text


def test_damaged_file_of_compiled_code_is_passed_over(tmp_path: Path) -> None:
    cache = CompiledCache(tmp_path, "a processor")
    cache.file.write_bytes(b"no such code")
    assert not cache.load()


@pytest.mark.parametrize("is_folder", [True, False])
def test_compiled_code_that_others_may_write_is_not_run(
    is_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bytes] = []
    monkeypatch.setattr(torch.compiler, "load_cache_artifacts", loaded.append)
    cache = CompiledCache(tmp_path, "a processor")
    cache.file.write_bytes(b"any code")
    tmp_path.chmod(0o700)
    cache.file.chmod(0o600)
    cache.load()
    (tmp_path if is_folder else cache.file).chmod(0o770)
    cache.load()
    assert loaded == [b"any code"]


def test_lattice_holds_every_number_of_rows_at_little_cost() -> None:
    for rows in range(1, 600):
        assert bucket_of(rows) >= rows
        assert (bucket_of(rows) - rows) / bucket_of(rows) <= 1 / 3


def test_filled_up_arguments_repeat_the_last_row_and_leave_shared_ones_alone() -> None:
    arguments = {
        "sample": torch.arange(3.0).view(3, 1),
        "added": {"ids": torch.zeros(3, 6), "text": [torch.arange(3), torch.arange(5)]},
        "img_ids": torch.zeros(3, 2),
        "size": torch.Size([3, 4]),
        "scale": torch.tensor(2.0),
    }
    filled = taken(arguments, 3, filling(3, 4, torch.device("cpu")))
    assert filled["sample"].flatten().tolist() == [0, 1, 2, 2]
    assert filled["added"]["text"][0].tolist() == [0, 1, 2, 2]
    assert filled["added"]["text"][1].tolist() == [0, 1, 2, 3, 4]
    assert filled["img_ids"].shape == (3, 2)
    assert filled["size"] == torch.Size([3, 4])
    assert filled["scale"] == 2.0
    assert first_rows((filled["sample"],), 3)[0].flatten().tolist() == [0, 1, 2]
