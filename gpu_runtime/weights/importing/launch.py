"""Starts the import child in its sandbox and turns what it says into a result or a refusal. No torch."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.sandbox import Outcome, SandboxResult, run_sandboxed
from gpu_runtime.weights.store import Store

CHILD = "gpu_runtime.weights.import_child"

MEMORY_BYTES = 6 << 30
"""Private memory of one conversion: the libraries and a few of the largest tensors there are."""

BYTES_PER_S = 20_000_000
"""Slowest conversion that is still waited for."""

START_S = 180
"""Beside that: starting the libraries on a busy machine."""

PICKLES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})


class ImportCanceled(Exception):
    """The caller asked for the end; nothing of the import is left but what it had placed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportRequest:
    """One conversion."""

    source: Path
    store: Path
    """MODEL_DIR."""
    work: Path
    """An empty folder in the store's file system; the caller removes it afterwards, whatever happened."""
    precision: str = "keep"
    kind_hint: str = ""
    family_hint: str = ""
    donors: Sequence[Path] = field(default=())
    memory_bytes: int = MEMORY_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversion:
    """A conversion that succeeded."""

    result: Mapping[str, Any]
    """The child's answer: kind, family, variant, path, digest, size_bytes, components, title and so on."""
    sandbox: SandboxResult


def import_in_sandbox(
    request: ImportRequest,
    *,
    on_progress: Callable[[str, int, int], None] = lambda phase, done, total: None,
    is_canceled: Callable[[], bool] = lambda: False,
) -> Conversion:
    """Convert a file or folder into the store; `on_progress` gets phase, bytes done and bytes in all.

    Raises ImportRefused with a code and one sentence, and ImportCanceled.
    """
    store = Store(request.store)
    store.prepare()
    if request.work.stat().st_dev != store.components.stat().st_dev:
        raise ValueError(f"{request.work} is not in the file system of {store.root}")
    size, pickled = _sizes(request.source)
    last: dict[str, Any] = {}

    def take(line: str) -> None:
        event = _parse(line)
        if event.get("event") == "progress":
            on_progress(str(event["phase"]), int(event["done_bytes"]), int(event["total_bytes"]))
        elif event:
            last.clear()
            last.update(event)

    before = frozenset(store.list_components() + store.list_checkpoints())
    seconds = START_S + size // BYTES_PER_S
    sandbox = run_sandboxed(
        _command(request),
        readable=[request.source],
        appendable=[store.components, store.checkpoints],
        writable=[request.work],
        # torch maps pickled weights privately, which counts as memory although it is only a view of the file.
        memory_bytes=request.memory_bytes + pickled,
        mapped_bytes=size,
        cpu_s=2 * seconds,
        wall_s=2 * seconds,
        file_bytes=4 * size + (1 << 30),
        on_line=take,
        is_canceled=is_canceled,
    )
    if pickled:
        _require_honest(store, before)
    if sandbox.outcome == Outcome.CANCELED:
        raise ImportCanceled
    if sandbox.outcome == Outcome.EXITED and sandbox.exit_code == 0 and last.get("event") == "done":
        return Conversion(result=last["result"], sandbox=sandbox)
    raise _refusal(last, sandbox, seconds=2 * seconds, memory_bytes=request.memory_bytes)


def _require_honest(store: Store, before: frozenset[str]) -> None:
    """Refuse and remove new folders whose content is not that of their name.

    A pickle that took over the child could place other weights under the digest of good ones, for a later
    import to share. Files of safetensors are read by our own few lines and need no second reading.
    """
    lies = [each for each in store.list_checkpoints() if each not in before and store.verify(each)]
    for digest in lies:
        store.remove_checkpoint(digest)
    for digest in [each for each in store.list_components() if each not in before and store.verify(each)]:
        store.remove_component(digest)
        lies.append(digest)
    if lies:
        raise ImportRefused(
            RefusalCode.UNSAFE_FILE,
            "the conversion of its pickles wrote something else than it said, as an attack would; it was "
            "removed: import a safetensors version of the model",
        )


def _command(request: ImportRequest) -> list[str]:
    command = [sys.executable, "-P", "-s", "-m", CHILD]
    command += ["--source", str(request.source.resolve()), "--store", str(request.store.resolve())]
    command += ["--work", str(request.work.resolve()), "--precision", request.precision]
    command += ["--kind-hint", request.kind_hint, "--family-hint", request.family_hint]
    for donor in request.donors:
        command += ["--donor", str(donor.resolve())]
    return command


def _sizes(source: Path) -> tuple[int, int]:
    """Bytes of all files, and of those that may be pickles."""
    files = [file for file in source.rglob("*") if file.is_file()] if source.is_dir() else [source]
    sizes = {file: file.stat().st_size for file in files}
    return sum(sizes.values()), sum(size for file, size in sizes.items() if file.suffix in PICKLES)


def _parse(line: str) -> dict[str, Any]:
    """One event; {} for what a library printed."""
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _refusal(
    last: Mapping[str, Any], sandbox: SandboxResult, *, seconds: int, memory_bytes: int
) -> ImportRefused:
    if sandbox.outcome == Outcome.EXITED and last.get("event") == "refused":
        return ImportRefused(RefusalCode(last["code"]), str(last["message"]))
    if sandbox.outcome == Outcome.TIMEOUT:
        return ImportRefused(
            RefusalCode.TIMEOUT,
            f"the conversion did not end within {seconds} s: retry when the machine is less busy",
        )
    if sandbox.outcome == Outcome.OUT_OF_MEMORY:
        return ImportRefused(
            RefusalCode.OUT_OF_MEMORY,
            f"the conversion needed more than {memory_bytes / 1e9:.1f} GB of memory: its operator can "
            "raise DARKROOM_IMPORT_MEMORY_MB; else convert the model to safetensors elsewhere",
        )
    how = sandbox.stderr_tail.strip().splitlines()[-1:] or [str(sandbox.outcome)]
    return ImportRefused(
        RefusalCode.WEIGHTS_CORRUPT, f"the files broke the conversion, which ended by itself: {how[0][:300]}"
    )
