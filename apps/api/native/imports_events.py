"""An import's course as server-sent events, like a job's.

`state` whenever the state changes, `progress` whenever phase or bytes do, one `done` with the whole import at
the end. The first events tell the present, so a client that reconnects misses nothing that matters.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Final

from django.db import connection

from apps.api.json_bytes import json_bytes
from apps.api.native.events import RECONNECT_MS, STREAM_S
from apps.api.native.imports_render import import_body, import_progress
from apps.catalog.imports.channels import IMPORT
from apps.catalog.models import ModelImport
from apps.generation.waiting import RECHECK_S, JobWatcher

# Those who watch imports are few; each holds a thread.
MAX_FOLLOWERS: Final = 100


@cache
def import_watcher() -> JobWatcher:
    """The one watcher of imports of this process."""
    return JobWatcher(max_waiters=MAX_FOLLOWERS, channel=IMPORT)


def import_events(row: ModelImport) -> Iterator[bytes]:
    """Events until the import has ended or STREAM_S have passed; waits without a database connection."""
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    told_state: str | None = None
    told_progress: Mapping[str, object] | None = None
    for current in _follow(row):
        progress = import_progress(current)
        state = str(current.state)
        if state == told_state and progress == told_progress:
            # Keeps proxies from closing a silent connection, and notices a client that has gone.
            yield b": still here\n\n"
            continue
        if state != told_state:
            yield _event("state", current, {"id": current.pk, "state": state})
        if progress != told_progress:
            yield _event("progress", current, progress)
        told_state, told_progress = state, progress
        if current.is_terminal:
            yield _event("done", current, import_body(current))


def _follow(row: ModelImport) -> Iterator[ModelImport]:
    """The row at once and after every change until it has ended."""
    deadline = time.monotonic() + STREAM_S
    with import_watcher().watch(row.pk) as event:
        while True:
            if event is not None:
                event.clear()
            current = ModelImport.objects.select_related("entry").get(pk=row.pk)
            connection.close()
            yield current
            left_s = deadline - time.monotonic()
            if event is None or current.is_terminal or left_s <= 0:
                return
            event.wait(min(left_s, RECHECK_S))


def _event(name: str, row: ModelImport, data: Mapping[str, object]) -> bytes:
    mark = f"{row.attempt}.{row.phase}.{row.bytes_done}.{row.state}"
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), mark.encode(), json_bytes(data))
