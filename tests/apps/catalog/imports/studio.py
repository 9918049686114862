"""What tests of imports have in common: asking, running, and looking at what is left."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from apps.accounts.models import Account
from apps.audit.models import AuditEvent
from apps.audit.refs import Ref
from apps.catalog.choices import ImportPhase, ImportSource
from apps.catalog.imports.conversion import Converted
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.progress import Progress
from apps.catalog.imports.runner import Tools, run_import
from apps.catalog.imports.services import submit_import
from apps.catalog.imports.staging import staging_root
from apps.catalog.models import ModelImport
from apps.core import clock
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.store import Store

WORKER = Ref(kind="process", id=None, label="imports test:1")
OPERATOR = Ref(kind="command", id=None, label="manage.py")


def plain_convert(
    path: Path, *, options: ImportOptions, work: Path, donors: Sequence[Path], progress: Progress
) -> Converted:
    """Stands in for the sandboxed child, which needs torch and seconds: places one file as it is."""
    progress.enter(ImportPhase.CONVERTING)
    found = identify(path)
    source = path if path.is_file() else next(iter(sorted(path.rglob("*.safetensors"))))
    folder = work / "component"
    folder.mkdir(parents=True)
    shutil.copyfile(source, folder / "weights.safetensors")
    (folder / "facts.json").write_text(json.dumps({"kind": found.kind.value}))
    store = Store(work.parents[2])
    store.prepare()
    placed = store.place_component(folder)
    return Converted(
        kind=found.kind.value,
        family=found.family,
        variant=found.variant,
        path=placed.path,
        digest=placed.digest,
        size_bytes=placed.size_bytes,
        title=found.title,
        trigger_words=found.trigger_words,
        details={"rank": int(found.details.get("rank", 0))},  # type: ignore[arg-type]
    )


TOOLS = Tools(convert=plain_convert, backoff_s=(0.01, 0.01, 0.01), segment_bytes=256 * 1024)


def hub(address: str = "lab/tiny-lora", **fields: Any) -> ImportOptions:
    return ImportOptions(source=ImportSource.HUB, address=address, **fields)


def url(address: str, **fields: Any) -> ImportOptions:
    return ImportOptions(source=ImportSource.URL, address=address, **fields)


def submit(options: ImportOptions, account: Account | None = None) -> ModelImport:
    return submit_import(options=options, account=account, actor=OPERATOR, now=clock.now())


def run(row: ModelImport, tools: Tools = TOOLS, **changes: Any) -> ModelImport:
    """The import brought to its end in this process."""
    ended = run_import(import_id=row.pk, worker=WORKER, tools=replace(tools, **changes))
    assert ended is not None
    return ended


def bring_in(options: ImportOptions, account: Account | None = None, **changes: Any) -> ModelImport:
    """Submitted and run."""
    return run(submit(options, account), **changes)


def trail(row: ModelImport) -> list[str]:
    """What the audit log says of the import, without the common beginning."""
    events = AuditEvent.objects.filter(subject_kind="model_import", subject_id=str(row.pk)).order_by("pk")
    return [event.name.removeprefix("catalog.import.") for event in events]


def staged(row: ModelImport) -> list[str]:
    """Files of the import that are still there."""
    folder = staging_root() / str(row.pk)
    return sorted(
        path.relative_to(folder).as_posix()
        for path in (folder.rglob("*") if folder.is_dir() else [])
        if path.is_file() and path.name != "lock"
    )


def stored(settings: Any) -> list[str]:
    """Components in the store."""
    return Store(Path(settings.MODEL_DIR)).list_components()
