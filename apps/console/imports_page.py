"""What the console's page of imports shows: each row as a person reads it. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Final

from apps.catalog.choices import ImportPhase, ImportSource, ImportState
from apps.catalog.imports.addresses import without_query
from apps.catalog.models import ModelImport

PAGE_SIZE: Final = 25
# What a failure that another token may mend is called.
TOKEN_FAILURES: Final = frozenset({"token_required", "licence_required", "source_not_found", "not_weights"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportLine:
    """One import on the page; the page's script reads the same fields as JSON."""

    id: int
    name: str
    address: str
    state: str
    label: str
    """State, or what a running one does."""
    percent: int | None
    """Of the present phase; None while that is unknown."""
    amount: str
    """Bytes, speed and time left, as far as they mean anything."""
    error: str
    error_code: str
    model: str
    """Name of the entry it became."""
    entry_id: int | None
    is_open: bool
    may_retry: bool
    may_need_token: bool
    who: str


def line_of(row: ModelImport) -> ImportLine:
    """The row for people."""
    is_running = row.state == ImportState.RUNNING
    is_stopping = row.is_cancel_requested and not row.is_terminal
    label = ImportPhase(row.phase).label if is_running and row.phase else ImportState(row.state).label
    return ImportLine(
        id=row.pk,
        name=row.requested_name or "not named yet",
        address="an uploaded file" if row.source == ImportSource.UPLOAD else without_query(row.address),
        state=str(row.state),
        label="Stopping" if is_stopping else label,
        percent=min(100, 100 * row.bytes_done // row.bytes_total) if is_running and row.bytes_total else None,
        amount=_amount(row) if is_running else "",
        error=row.error_message,
        error_code=row.error_code,
        model=row.entry.name if row.entry else "",
        entry_id=row.entry_id,
        is_open=not row.is_terminal,
        may_retry=row.state in (ImportState.FAILED, ImportState.CANCELED),
        may_need_token=row.error_code in TOKEN_FAILURES,
        who=row.requested_by + (f", for {row.account.slug}" if row.account else ""),
    )


def lines_as_json(rows: Iterable[ModelImport]) -> list[dict[str, object]]:
    """For the script that moves the bars."""
    return [asdict(line_of(row)) for row in rows]


def _amount(row: ModelImport) -> str:
    if not row.bytes_done and not row.bytes_total:
        return ""
    of = f" of {size_text(row.bytes_total)}" if row.bytes_total else ""
    parts = [f"{size_text(row.bytes_done)}{of}"]
    if row.speed_bps >= 1:
        parts.append(f"{size_text(row.speed_bps)}/s")
    if row.eta_s is not None:
        parts.append(f"{duration_text(row.eta_s)} left")
    if row.files_total > 1:
        parts.append(f"file {min(row.files_done + 1, row.files_total)} of {row.files_total}")
    return ", ".join(parts)


def size_text(count: float) -> str:
    """`12.3 MB`, in powers of ten like disks and lines are sold."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"


def duration_text(seconds: float) -> str:
    """`40 s`, `12 min`, `3 h 5 min`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
