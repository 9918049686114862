"""From files to weights in the store: looked at here, converted in a process that can do no harm.

This process reads headers only. Everything that touches tensors or unpickles runs in
`gpu_runtime.weights.import_child` without network, secrets or time without end.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from apps.audit.refs import JsonValue
from apps.catalog.choices import ImportPhase, Kind
from apps.catalog.imports.failures import ImportFailure, Stopped
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.progress import Progress
from apps.catalog.imports.staging import disk_full
from gpu_runtime.errors import NotRecognised, NotWeights, UnsafeFile, WeightsCorrupt
from gpu_runtime.weights.identification.reading import open_file
from gpu_runtime.weights.identify import identify
from gpu_runtime.weights.importing.launch import PICKLES, ImportCanceled, ImportRequest, import_in_sandbox
from gpu_runtime.weights.importing.refusals import ImportRefused
from gpu_runtime.weights.taxonomy import Identified

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Converted:
    """What the child put into the store."""

    kind: str
    family: str
    variant: str
    path: Path
    digest: str
    size_bytes: int
    components: Sequence[Mapping[str, JsonValue]] = ()
    title: str = ""
    trigger_words: tuple[str, ...] = ()
    licence: str = ""
    details: Mapping[str, JsonValue] = field(default_factory=dict)


def inspect_files(path: Path) -> Identified:
    """What the files are, by their headers. Raises ImportFailure by name for everything that is refused."""
    try:
        # Beside those that are the model: the conversion may choose others.
        for file in sorted(path.rglob("*")):
            if file.is_file() and file.suffix.lower() in PICKLES:
                open_file(file)
        return identify(path)
    except NotWeights as fault:
        raise ImportFailure("not_weights", str(fault)) from None
    except NotRecognised as fault:
        raise ImportFailure("not_recognised", str(fault)) from None
    except WeightsCorrupt as fault:
        raise ImportFailure("weights_corrupt", str(fault)) from None
    except UnsafeFile as fault:
        raise ImportFailure("unsafe_file", str(fault)) from None


def as_json(identified: Identified) -> dict[str, JsonValue]:
    """For the import's row."""
    values: dict[str, JsonValue] = json.loads(json.dumps(dataclasses.asdict(identified)))
    return values


def convert_files(
    path: Path, *, options: ImportOptions, work: Path, donors: Sequence[Path], progress: Progress
) -> Converted:
    """Run the child over a file or folder. Raises ImportFailure and Stopped."""
    progress.enter(ImportPhase.CONVERTING)
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    request = ImportRequest(
        source=path,
        store=Path(settings.MODEL_DIR),
        work=work,
        precision=options.precision,
        kind_hint=options.kind_hint,
        family_hint=options.family_hint,
        donors=donors,
        memory_bytes=settings.IMPORT_MEMORY_MB << 20,
    )
    try:
        conversion = import_in_sandbox(
            request,
            on_progress=lambda phase, done, total: progress.place(done_bytes=done, total_bytes=total),
            is_canceled=progress.stop.is_set,
        )
    except ImportCanceled:
        raise Stopped from None
    except ImportRefused as refusal:
        raise disk_full() if refusal.code == "disk_full" else _failure(refusal) from None
    weak = sorted(name for name, why in conversion.sandbox.protections.items() if why)
    if weak:
        log.info("the conversion ran without %s: this kernel does not offer it", ", ".join(weak))
    return _read_result(conversion.result)


def _failure(refusal: ImportRefused) -> ImportFailure:
    message = refusal.message[:2000].strip()
    sentence = message[:1].upper() + message[1:]
    return ImportFailure(refusal.code.value, sentence if sentence.endswith(".") else sentence + ".")


def _read_result(result: Mapping[str, Any]) -> Converted:
    """The child handles files that somebody may have built against it: what it says is checked as well."""
    known = {item.name for item in dataclasses.fields(Converted)}
    values = {name: value for name, value in result.items() if name in known}
    try:
        values["path"] = Path(values["path"]).resolve()
        values["trigger_words"] = tuple(str(word) for word in values.get("trigger_words", ()))
        converted = Converted(**values)
        Kind(converted.kind)
    except (KeyError, TypeError, ValueError) as error:
        raise ImportFailure("weights_corrupt", "The conversion gave no usable answer.") from error
    store = Path(settings.MODEL_DIR).resolve()
    is_inside = converted.path.parent in (store / "checkpoints", store / "components")
    if not is_inside or converted.path.name != converted.digest or not converted.path.is_dir():
        raise ImportFailure("weights_corrupt", "The conversion points outside the store.")
    return converted
