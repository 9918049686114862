"""The program that reads untrusted weights: identifies, converts, checks, and places them in the store.

    python -P -m gpu_runtime.weights.import_child --source PATH --store MODEL_DIR --work DIR
        [--precision keep|float16|bfloat16] [--kind-hint KIND] [--family-hint FAMILY] [--donor PATH ...]

Started by `importing/launch.py` in a sandbox. Prints JSON lines: progress, and last either
{"event": "done", "result": ...} (exit status 0) or {"event": "refused", "code": ..., "message": ...} (3).
"""

from __future__ import annotations

import argparse
import errno
import gc
import json
import sys
from pathlib import Path

REFUSED = 3

OBJECTS_BETWEEN_COLLECTIONS = 100_000
"""Looking for cycles among what the libraries create takes a fifth of their start otherwise."""

BLOCKED_EVENTS = frozenset(
    {"socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
    | {"os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.system", "subprocess.Popen"}
    | {"pty.spawn", "ctypes.dlopen"}
)
"""What reading weights never needs. Kernels that isolate do so anyway; this holds where they do not."""


def main(arguments: list[str]) -> int:
    options = _read(arguments)
    # Imported here: the libraries take seconds, and the audit hook must not refuse what their import does.
    from gpu_runtime.weights.importing.importer import run_import
    from gpu_runtime.weights.importing.job import ImportJob
    from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
    from gpu_runtime.weights.store import Store

    sys.addaudithook(_refuse_what_weights_never_need)
    job = ImportJob(
        source=options.source,
        store=Store(options.store),
        work=options.work,
        precision=options.precision,
        donors=tuple(options.donor),
        on_progress=_report_progress,
    )
    try:
        imported = run_import(job, kind_hint=options.kind_hint, family_hint=options.family_hint)
    except ImportRefused as refusal:
        return _refuse(refusal.code, refusal.message)
    except MemoryError as error:
        return _refuse(
            RefusalCode.OUT_OF_MEMORY, f"the conversion needs more memory than it may take: {error}"
        )
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _refuse(RefusalCode.DISK_FULL, f"the disk became full: {error}")
    _emit({"event": "done", "result": imported.to_json()})
    return 0


def _read(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Convert untrusted weights into the store.")
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--precision", choices=("keep", "float16", "bfloat16"), default="keep")
    parser.add_argument("--kind-hint", default="")
    parser.add_argument("--family-hint", default="")
    parser.add_argument("--donor", type=Path, action="append", default=[])
    return parser.parse_args(arguments)


def _refuse_what_weights_never_need(event: str, arguments: tuple[object, ...]) -> None:
    if event in BLOCKED_EVENTS:
        raise PermissionError(f"{event} is not allowed while weights are read")


def _report_progress(phase: str, done: int, total: int) -> None:
    _emit({"event": "progress", "phase": phase, "done_bytes": done, "total_bytes": total})


def _refuse(code: str, message: str) -> int:
    _emit({"event": "refused", "code": str(code), "message": message})
    return REFUSED


def _emit(event: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, *gc.get_threshold()[1:])
    sys.exit(main(sys.argv[1:]))
