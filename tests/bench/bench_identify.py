"""Identification of 1,000 files, and refusal of hostile ones.

Question: how long does identification take per file when an operator points at a folder of a thousand
models, and how soon is a malicious or damaged file refused. Regime: the stripped samples of
tests/checkpoints in turn, as sparse safetensors files with their full length and, one in ten, as files of
torch.save; each identified by itself in one process, with the file system's cache warm. Processor time is
given as well, because it survives neighbours on the machine. The refusals are the corpora of hostile pickles
and broken safetensors. Excluded: writing the files, starting Python.

    python -m tests.bench.bench_identify [--files 1000] [--rounds 3] [--json FILE]
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections import Counter
from pathlib import Path

from gpu_runtime.errors import RuntimeFault
from gpu_runtime.weights.identify import identify
from tests.bench.reporting import Rounds, publish, read_arguments, spread
from tests.checkpoints.broken_safetensors import broken_safetensors
from tests.checkpoints.hostile_pickles import hostile_pickles, hostile_zips, in_legacy, in_zip
from tests.checkpoints.samples import Sample, load_sample, sample_names, write_sparse
from tests.checkpoints.sparse_pickles import write_sparse_pickle

PICKLE_EVERY = 10
"""One file in this many is of torch.save."""


def main() -> None:
    options = read_arguments("Identification of many files", files=1000, rounds=3)
    total = Rounds("all files identified", "s", "<= 10 for 1000")
    busy = Rounds("processor time of the same", "s")
    slowest = Rounds("slowest file", "ms")
    refusal = Rounds("slowest refusal of a hostile or broken file", "ms", "<= 200")
    durations: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(Path(folder) / "models", options.files)
        hostile = write_hostile(Path(folder) / "hostile")
        answers = Counter(answer_of(file) for file in files)
        for _ in range(options.rounds):
            started = time.process_time()
            measured = [measure(file) for file in files]
            busy.values.append(time.process_time() - started)
            durations += measured
            total.values.append(sum(measured))
            slowest.values.append(1000 * max(measured))
            refusal.values.append(1000 * max(map(measure, hostile)))
        lengths = sum(file.stat().st_size for file in files)
    publish(
        "identify",
        (total, busy, slowest, refusal),
        settings={"files": options.files, "rounds": options.rounds, "pickle_every": PICKLE_EVERY},
        details={
            "file_ms": spread([1000 * each for each in durations]),
            "answers": dict(answers),
            "hostile_files": len(hostile),
            "apparent_bytes": lengths,
        },
        target=options.json,
    )


def write_files(folder: Path, count: int) -> list[Path]:
    """The samples in turn, each in a folder of its own so that it can keep its published name."""
    samples = [load_sample(name) for name in sample_names()]
    return [
        write_one(folder / f"{number:05}", sample, is_pickle=number % PICKLE_EVERY == 0)
        for number, sample in enumerate(itertools.islice(itertools.cycle(samples), count))
    ]


def write_one(folder: Path, sample: Sample, *, is_pickle: bool) -> Path:
    file = folder / sample.file
    if is_pickle and all(not facts.dtype.startswith("F8") for facts in sample.tensors.values()):
        return write_sparse_pickle(file.with_suffix(".ckpt"), sample.tensors)
    return write_sparse(file, sample.tensors, sample.metadata)


def write_hostile(folder: Path) -> list[Path]:
    """Both corpora; the pickles bare and inside torch's containers."""
    canary = folder / "canary"
    pickles = [each.data for each in hostile_pickles(canary)]
    contents = [
        *pickles,
        *map(in_zip, pickles),
        *map(in_legacy, pickles),
        *(each.data for each in hostile_zips(canary)),
        *(each.data for each in broken_safetensors()),
    ]
    folder.mkdir()
    files = []
    for number, data in enumerate(contents):
        file = folder / f"{number:04}.safetensors"
        file.write_bytes(data)
        files.append(file)
    return files


def answer_of(file: Path) -> str:
    """The kind of the answer, or the name of the refusal."""
    try:
        return identify(file).kind.value
    except RuntimeFault as fault:
        return type(fault).__name__


def measure(file: Path) -> float:
    """Seconds until the answer."""
    started = time.perf_counter()
    answer_of(file)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
