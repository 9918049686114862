"""Plans about models, and about bringing new ones in."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Unpack
from urllib.parse import quote

from darkroom.bodies import decode
from darkroom.core import Core, Flow, Plan, Request, Sleep, gather, json_request
from darkroom.errors import Conflict, DarkroomError, ImportFailed
from darkroom.following import follow
from darkroom.listing import pages
from darkroom.records import Import, ImportDone, ImportEvent, Model, import_event
from darkroom.schema import ImportFields, ImportFilters, ModelFilters
from darkroom.sending import send

PIECE_BYTES: Final = 8 << 20
"""Of an upload: little is lost when the line breaks."""

Told = Callable[[int, int], object]
"""Gets bytes sent, and bytes in all."""


def list_models(core: Core, *, limit: int | None = None, **filters: Unpack[ModelFilters]) -> Flow[Model]:
    """Models that the key may use; `q` searches. At most `limit`."""
    return pages(core, "/v1/models", Model, limit=limit, filters=filters)  # type: ignore[arg-type]  # all plain


def get_model(core: Core, name: str) -> Plan[Model]:
    """One model, by its name or an alias; `raw` has all there is."""
    reply = yield from send(core, Request(method="GET", path=_model(name)))
    return decode(Model, reply.json())


def delete_model(core: Core, name: str) -> Plan[None]:
    """Remove a model of the account's own."""
    yield from send(core, Request(method="DELETE", path=_model(name)))


def _model(name: str) -> str:
    return f"/v1/models/{quote(name, safe='')}"


def start_import(
    core: Core,
    source: str | os.PathLike[str],
    *,
    on_upload: Told | None = None,
    **fields: Unpack[ImportFields],
) -> Plan[Import]:
    """Bring in a model: a repository (`owner/name`), an address, or a pathlib.Path of a file of this machine.

    Returns when the import is accepted; `imports.wait` and `imports.events` follow it. Raises Refused.
    """
    wanted: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if not isinstance(source, str):
        wanted["upload"] = yield from send_file(core, Path(source), on_upload=on_upload)
    else:
        wanted["url" if source.startswith(("http://", "https://")) else "repository"] = source
    return (yield from _import(core, json_request("POST", "/v1/imports", wanted, key=core.new_key())))


def send_file(core: Core, path: Path, *, on_upload: Told | None = None) -> Plan[str]:
    """Send a file in pieces, each again if it has to be; the id of the upload.

    Raises DarkroomError once nothing new has arrived for `max_retries` tries and one.
    """
    size = path.stat().st_size
    begin = {"filename": path.name, "size_bytes": size}
    reply = yield from send(core, json_request("POST", "/v1/imports/uploads", begin, key=core.new_key()))
    upload = str(reply.json().get("id", ""))
    at = fruitless = 0
    with path.open("rb") as file:
        while at < size:
            file.seek(at)
            piece = file.read(PIECE_BYTES)
            if not piece:
                raise DarkroomError(f"{path} became shorter while it was sent.")
            before, at = at, (yield from _send_piece(core, upload, piece, at, size))
            fruitless = 0 if at > before else fruitless + 1
            if fruitless:
                # The server may still wait for the rest of a piece whose line broke.
                yield from _pause(core, fruitless, f"{path.name} has stopped at {at} of {size} bytes")
            elif on_upload is not None:
                on_upload(at, size)
    return upload


def _pause(core: Core, fruitless: int, told: str) -> Plan[None]:
    if fruitless > core.max_retries:
        raise DarkroomError(f"The upload of {told}: the server takes no more of it. Start the import again.")
    yield Sleep(core.backoff_s(fruitless - 1))


def _send_piece(core: Core, upload: str, piece: bytes, at: int, size: int) -> Plan[int]:
    """How many bytes the server then has: it keeps what came of a piece that broke off."""
    place = f"/v1/imports/uploads/{upload}"
    content_range = f"bytes {at}-{at + len(piece) - 1}/{size}"
    request = Request(
        method="PUT",
        path=place,
        body=piece,
        headers={"content-type": "application/octet-stream", "content-range": content_range},
    )
    try:
        reply = yield from send(core, request)
    except Conflict:
        reply = yield from send(core, Request(method="GET", path=place))
    return int(reply.json().get("received_bytes", 0))


def list_imports(core: Core, *, limit: int | None = None, **filters: Unpack[ImportFilters]) -> Flow[Import]:
    """Imports, newest first, at most `limit`."""
    return pages(core, "/v1/imports", Import, limit=limit, filters=filters)  # type: ignore[arg-type]  # all plain


def get_import(core: Core, import_id: int) -> Plan[Import]:
    """One import as it is."""
    return _import(core, Request(method="GET", path=f"/v1/imports/{import_id}"))


def cancel_import(core: Core, import_id: int) -> Plan[Import]:
    """End an import that is under way. Raises Conflict for one that has ended."""
    return _import(core, json_request("POST", f"/v1/imports/{import_id}/cancel", {}, key=core.new_key()))


def retry_import(core: Core, import_id: int, *, token: str = "") -> Plan[Import]:
    """Once more, from where it stopped; with a `token` where the source wants one."""
    return _import(
        core, json_request("POST", f"/v1/imports/{import_id}/retry", {"token": token}, key=core.new_key())
    )


def _import(core: Core, request: Request) -> Plan[Import]:
    reply = yield from send(core, request)
    return decode(Import, reply.json())


def import_events(core: Core, import_id: int, *, timeout: float | None = None) -> Flow[ImportEvent]:
    """The import's course as it happens, to its end."""
    return follow(
        core,
        f"/v1/imports/{import_id}/events",
        import_event,
        is_last=lambda event: isinstance(event, ImportDone),
        timeout_s=timeout,
    )


def wait_import(
    core: Core,
    import_id: int,
    *,
    timeout: float | None = None,
    on_event: Callable[[ImportEvent], object] | None = None,
) -> Plan[Import]:
    """The import once it has succeeded. Raises ImportFailed and WaitTimeout."""
    ended: list[Import] = []

    def take(event: ImportEvent) -> None:
        if on_event is not None:
            on_event(event)
        if isinstance(event, ImportDone):
            ended.append(event.model_import)

    yield from gather(import_events(core, import_id, timeout=timeout), take)
    if not ended[0].is_succeeded:
        raise ImportFailed(ended[0])
    return ended[0]
