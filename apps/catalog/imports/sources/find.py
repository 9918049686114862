"""One way into all sources: from what was asked for to a plan of what to bring in."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from django.conf import settings

from apps.catalog.choices import ImportSource
from apps.catalog.imports.addresses import clean_name
from apps.catalog.imports.failures import ImportFailure, Stopped
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.sources.answers import Transient
from apps.catalog.imports.sources.choose import ONNX, WEIGHTS
from apps.catalog.imports.sources.hub import plan_repository
from apps.catalog.imports.sources.plan import Plan
from apps.catalog.imports.sources.url import plan_download
from apps.catalog.imports.staging import uploads_dir
from apps.catalog.imports.uploads import META
from apps.core.fetch_policy import FetchPolicy

BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0)


def find_plan(
    options: ImportOptions,
    *,
    token: str,
    policy: FetchPolicy,
    files_dir: Path,
    stop: threading.Event,
    backoff_s: Sequence[float] = BACKOFF_S,
) -> Plan:
    """What the source offers; asks for a while when it does not answer. Raises ImportFailure and Stopped."""
    if options.source == ImportSource.UPLOAD:
        return _plan_upload(options, files_dir)
    if options.source == ImportSource.FOLDER:
        return _plan_folder(options, files_dir)
    make = plan_repository if options.source == ImportSource.HUB else plan_download
    for wait_s in (*backoff_s, None):
        try:
            return make(options, token=token, policy=policy)
        except Transient as problem:
            if wait_s is None:
                raise ImportFailure(
                    "download_failed", f"The source does not answer: {problem}. Retry later."
                ) from problem
            stop.wait(min(problem.retry_after_s or wait_s, 30.0))
        if stop.is_set():
            raise Stopped
    raise AssertionError("the last try returns or raises")


def _plan_upload(options: ImportOptions, files_dir: Path) -> Plan:
    """Moves a staged upload to the import, once; a retry finds it there."""
    staged = uploads_dir() / options.address
    if staged.is_dir():
        files_dir.parent.mkdir(parents=True, exist_ok=True)
        staged.rename(files_dir)
    (files_dir / META).unlink(missing_ok=True)
    files = [path for path in files_dir.iterdir() if path.is_file()] if files_dir.is_dir() else []
    if len(files) != 1:
        raise ImportFailure("source_not_found", "The uploaded file is no longer there; upload it again.")
    return Plan(path=files[0], name=clean_name(files[0].name))


def _plan_folder(options: ImportOptions, files_dir: Path) -> Plan:
    path = Path(options.address)
    if not path.exists():
        raise ImportFailure("source_not_found", f"{path} is no longer there.")
    if path.is_dir() and not any(file.name.lower().endswith((*WEIGHTS, ONNX)) for file in path.rglob("*")):
        held = ", ".join(sorted(file.name for file in path.iterdir())[:8]) or "nothing"
        raise ImportFailure("no_weights", f"{path.name} has no weights: it holds {held}.")
    return Plan(path=_without_links(path, options, files_dir), name=clean_name(path.name))


def _without_links(path: Path, options: ImportOptions, files_dir: Path) -> Path:
    """The folder itself, or one of plain files in its place: the conversion can read nothing outside of it.

    Download caches keep their files elsewhere and link to them. A link that somebody put into the watched
    folder may lead to what only the server may read.
    """
    links = [file for file in [path, *path.rglob("*")] if file.is_symlink()]
    if not links:
        return path
    if not options.is_anywhere:
        raise ImportFailure("address_refused", f"{links[0].name} is a link; put the file itself there.")
    shutil.rmtree(files_dir, ignore_errors=True)
    for file in [path] if path.is_file() else path.rglob("*"):
        if file.is_file():
            plain = files_dir / (file.name if file == path else file.relative_to(path))
            plain.parent.mkdir(parents=True, exist_ok=True)
            _take_over(file.resolve(), plain)
    return files_dir / path.name if path.is_file() else files_dir


def _take_over(file: Path, plain: Path) -> None:
    """A second name for the same bytes where the file system has that, else a copy."""
    try:
        plain.hardlink_to(file)
    except OSError:
        shutil.copyfile(file, plain)


def token_for(options: ImportOptions, *, own: str) -> str:
    """The import's own token, else the operator's for that host where the import may use it."""
    if own or not options.uses_server_tokens:
        return own
    tokens = server_tokens()
    if options.source == ImportSource.HUB:
        return settings.HF_TOKEN or tokens.get(urlsplit(settings.HF_ENDPOINT).hostname or "", "")
    if options.source == ImportSource.URL:
        return tokens.get(urlsplit(options.address).hostname or "", "")
    return ""


def server_tokens() -> dict[str, str]:
    """DARKROOM_IMPORT_TOKENS by host."""
    pairs = (word.partition("=") for word in settings.IMPORT_TOKENS.replace("\n", ",").split(","))
    return {host.strip().lower(): token.strip() for host, _, token in pairs if host.strip() and token.strip()}
