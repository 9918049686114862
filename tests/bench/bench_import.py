"""Importing a checkpoint against copying it: how much do conversion, checks and hashing cost?

One single-file Stable Diffusion 1.5 checkpoint of the real size (float16, 2.1 GB, random numbers), one disk.
Copying is `cp` followed by `sync` of the copy, as an import is on the disk when it ends. Importing is the
whole child, start of the libraries included, and the conversion alone, which is what grows with the file.
The page cache is warm for all. Rates mean little on a busy machine; processor time survives it better.
Peak memory is that of the child: mapped files count while cached.

    python -m tests.bench.bench_import [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from diffusers import __version__ as diffusers_version

from gpu_runtime.tiny.original_layout import to_original
from gpu_runtime.weights.importing.classes import find_class
from gpu_runtime.weights.importing.configs import SHIPPED, read_json
from gpu_runtime.weights.importing.importer import run_import
from gpu_runtime.weights.importing.job import ImportJob
from gpu_runtime.weights.importing.launch import ImportRequest, import_in_sandbox
from gpu_runtime.weights.importing.lazy_tensors import lazy
from gpu_runtime.weights.importing.networks import build_empty
from gpu_runtime.weights.importing.writer import Planned, write_safetensors
from gpu_runtime.weights.store import Store
from tests.bench.reporting import Rounds, publish, read_arguments

SHIPPED_NAME = "sd15-base"
PARTS = ("unet", "vae", "text_encoder")


def make_checkpoint(file: Path) -> None:
    """A single file with the released names, shapes and dtype, and small random numbers."""
    index = read_json(SHIPPED / SHIPPED_NAME / "model_index.json")
    states = {
        name: build_empty(
            find_class(*index[name]), read_json(SHIPPED / SHIPPED_NAME / name / "config.json")
        ).state_dict()
        for name in PARTS
    }
    torch.manual_seed(0)
    plan = {
        name: Planned(lazy(tuple(tensor.shape), torch.float16, random_numbers(tensor)), torch.float16)
        for name, tensor in to_original("sd15", states).items()
    }
    write_safetensors(file, plan, lambda size: None)


def random_numbers(like: torch.Tensor):  # noqa: ANN201 - a closure for `lazy`
    shape = tuple(like.shape)
    return lambda: torch.empty(shape, dtype=torch.float16).uniform_(-0.1, 0.1)


def main() -> None:
    options = read_arguments(__doc__ or "", rounds=3)
    copy = Rounds("cp and sync", "MB/s")
    conversion = Rounds("conversion alone", "MB/s")
    child = Rounds("import child, start included", "MB/s")
    share = Rounds("conversion against cp and sync", "%")
    work = Rounds("processor time of the conversion", "s/GB")
    copy_work = Rounds("processor time of cp and sync", "s/GB")
    memory = Rounds("peak memory of the child", "MB")
    protections: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        file = root / "model.safetensors"
        make_checkpoint(file)
        size_mb = file.stat().st_size / 1e6
        for number in range(options.rounds):
            seconds, processor = timed_copy(file, root / "copy")
            copy.values.append(size_mb / seconds)
            copy_work.values.append(1000 * processor / size_mb)
            seconds, processor = timed_conversion(file, root / f"a{number}")
            conversion.values.append(size_mb / seconds)
            work.values.append(1000 * processor / size_mb)
            share.values.append(100 * conversion.values[-1] / copy.values[-1])
            seconds, peak, protections = timed_child(file, root / f"b{number}")
            child.values.append(size_mb / seconds)
            memory.values.append(peak / 1e6)
    publish(
        "import",
        [copy, conversion, share, child, copy_work, work, memory],
        settings={"rounds": options.rounds, "file_mb": round(size_mb), "dtype": "float16"},
        details={"protections": protections, "torch": torch.__version__, "diffusers": diffusers_version},
        target=options.json,
    )


def timed_copy(file: Path, target: Path) -> tuple[float, float]:
    """Seconds, and processor seconds."""
    before, started = children_s(), time.monotonic()
    subprocess.run(["cp", str(file), str(target)], check=True)
    subprocess.run(["sync", str(target)], check=True)
    seconds = time.monotonic() - started
    target.unlink()
    return seconds, children_s() - before


def children_s() -> float:
    """Processor seconds of finished child processes."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed_conversion(file: Path, folder: Path) -> tuple[float, float]:
    """Seconds, and processor seconds of all threads."""
    store, work = Store(folder), folder / "staging" / "1"
    store.prepare()
    work.mkdir()
    before, started = time.process_time(), time.monotonic()
    run_import(ImportJob(source=file, store=store, work=work))
    seconds, processor = time.monotonic() - started, time.process_time() - before
    shutil.rmtree(folder)
    return seconds, processor


def timed_child(file: Path, folder: Path) -> tuple[float, int, dict[str, str]]:
    Store(folder).prepare()
    work = folder / "staging" / "1"
    work.mkdir()
    started = time.monotonic()
    done = import_in_sandbox(ImportRequest(source=file, store=folder, work=work))
    seconds = time.monotonic() - started
    shutil.rmtree(folder)
    return seconds, done.sandbox.peak_memory_bytes, dict(done.sandbox.protections)


if __name__ == "__main__":
    main()
