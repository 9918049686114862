"""From an import's row to the native API's JSON."""

from __future__ import annotations

from datetime import datetime
from typing import TypedDict

from apps.catalog.imports.addresses import without_query
from apps.catalog.models import ModelImport


class ImportProgress(TypedDict):
    """How far a running import is; the bytes are those of the present phase."""

    phase: str
    bytes_done: int
    bytes_total: int
    percent: float | None
    speed_bps: float
    eta_s: float | None
    files_done: int
    files_total: int


class Failure(TypedDict):
    """Why an import ended without a model."""

    code: str
    message: str


class Found(TypedDict):
    """What identification found."""

    kind: str
    family: str
    variant: str


class ImportBody(TypedDict):
    """An import; times are ISO 8601 in UTC."""

    id: int
    state: str
    source: str
    address: str
    revision: str
    name: str
    visibility: str
    requested_by: str
    progress: ImportProgress
    identified: Found | None
    model: str | None
    error: Failure | None
    is_cancel_requested: bool
    attempt: int
    created_at: str
    started_at: str | None
    finished_at: str | None


def import_body(row: ModelImport) -> ImportBody:
    """Everything its owner may know. Addresses lose their query, which may sign or authorise."""
    found = row.identified
    return {
        "id": row.pk,
        "state": str(row.state),
        "source": row.source,
        "address": without_query(row.address),
        "revision": row.revision,
        "name": row.requested_name,
        "visibility": str(row.options.get("visibility", "")),
        "requested_by": row.requested_by,
        "progress": import_progress(row),
        "identified": {
            "kind": str(found["kind"]),
            "family": str(found["family"]),
            "variant": str(found["variant"]),
        }
        if found
        else None,
        "model": row.entry.name if row.entry else None,
        "error": {"code": row.error_code, "message": row.error_message} if row.error_code else None,
        "is_cancel_requested": row.is_cancel_requested,
        "attempt": row.attempt,
        "created_at": _iso(row.created_at) or "",
        "started_at": _iso(row.started_at),
        "finished_at": _iso(row.finished_at),
    }


def import_progress(row: ModelImport) -> ImportProgress:
    """The part that changes several times a second."""
    return {
        "phase": str(row.phase),
        "bytes_done": row.bytes_done,
        "bytes_total": row.bytes_total,
        "percent": round(100 * row.bytes_done / row.bytes_total, 1) if row.bytes_total else None,
        "speed_bps": round(row.speed_bps, 1),
        "eta_s": None if row.eta_s is None else round(row.eta_s, 1),
        "files_done": row.files_done,
        "files_total": row.files_total,
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
