"""Runs one import from claim to end: find, fetch, verify, look, convert, register.

Everything slow happens aside; between the steps this thread decides with the database. A runner that is
killed leaves its row to the reaper and its files to the next runner.
"""

from __future__ import annotations

import fcntl
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import IntegrityError
from django.db.models import Q

from apps.audit.refs import Ref
from apps.catalog.choices import ImportPhase, Kind, Visibility
from apps.catalog.files import remove_unused_files
from apps.catalog.imports import lifecycle, reimport, staging
from apps.catalog.imports.companions import place_imported
from apps.catalog.imports.conversion import Converted, as_json, convert_files, inspect_files
from apps.catalog.imports.cut_outs import complete_details
from apps.catalog.imports.downloads import BACKOFF_S, SEGMENT_BYTES, Downloader
from apps.catalog.imports.entry_facts import facts_for
from apps.catalog.imports.failures import ImportFailure, Stopped
from apps.catalog.imports.lifecycle import Lease, LeaseLost, Snapshot
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.progress import Progress
from apps.catalog.imports.secrets import find_token
from apps.catalog.imports.sources import find
from apps.catalog.imports.sources.plan import Plan
from apps.catalog.imports.sweeping import drop_unregistered, list_store
from apps.catalog.imports.verifying import hash_folder, verify_files
from apps.catalog.imports.watch_files import mark_refused
from apps.catalog.imports.work_aside import Keeper
from apps.catalog.models import CatalogEntry, ModelImport
from apps.core.clock import now
from apps.core.errors import Conflict, DomainError
from apps.core.fetch_policy import policy_from_settings
from apps.core.http import SafeClient, open_client
from gpu_runtime.weights.taxonomy import Identified, ModelKind

log = logging.getLogger(__name__)

MAX_DONORS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a run works with; tests put in their own."""

    inspect: Callable[[Path], Identified] = inspect_files
    convert: Callable[..., Converted] = convert_files
    backoff_s: Sequence[float] = BACKOFF_S
    segment_bytes: int = SEGMENT_BYTES


class FolderTaken(Exception):
    """Another process still works in the import's folder, although its lease has ended."""


def run_import(
    *,
    worker: Ref,
    import_id: int | None = None,
    tools: Tools = Tools(),  # frozen
    on_beat: Callable[[Snapshot], None] = lambda snapshot: None,
) -> ModelImport | None:
    """Claim an import and bring it to its end; None when there is none to claim.

    Process edge: whatever goes wrong ends the import with a code, so that it never runs for ever.
    """
    row = lifecycle.claim_import(worker=worker.label, now=now(), import_id=import_id)
    if row is None:
        return None
    lease = lifecycle.lease_of(row)
    try:
        with _own_folder(row.pk):
            _Run(row, worker=worker, tools=tools, on_beat=on_beat).to_end()
    except _Unreadable as unreadable:
        log.warning("import %d: %s", row.pk, unreadable)
        failure = ImportFailure("newer_version", str(unreadable))
        with suppress(LeaseLost):
            lifecycle.fail_import(lease=lease, failure=failure, worker=worker, now=now())
    except LeaseLost:
        log.warning("import %d: the lease was lost, leaving it", row.pk)
    except FolderTaken:
        log.warning("import %d: its folder is still in use, handing it back", row.pk)
        with suppress(LeaseLost):
            lifecycle.release_import(lease=lease, worker=worker, now=now())
    row.refresh_from_db()
    return row


class _Unreadable(Exception):
    """The row was written by a later version."""


@contextmanager
def _own_folder(import_id: int) -> Iterator[None]:
    """Only one process works in an import's folder, however late it notices that its lease is gone."""
    folder = staging.staging_dir(import_id)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FolderTaken from None
        yield


class _Run:
    """One claim of one import. Raises _Unreadable for options that this version cannot read."""

    def __init__(
        self, row: ModelImport, *, worker: Ref, tools: Tools, on_beat: Callable[[Snapshot], None]
    ) -> None:
        self.row = row
        self.lease: Lease = lifecycle.lease_of(row)
        self.worker = worker
        self.tools = tools
        try:
            self.options = ImportOptions.from_json(row.options)
        except Conflict as conflict:
            raise _Unreadable(str(conflict)) from None
        self.name = row.requested_name
        self.progress = Progress()
        self.keeper = Keeper(self.lease, self.progress, on_beat=on_beat)
        self.files = staging.files_dir(row.pk)
        self.stored_before: frozenset[str] | None = None

    def to_end(self) -> None:
        """Raises LeaseLost alone."""
        try:
            self._bring_in()
        except ImportFailure as failure:
            self._fail(failure)
        except Stopped:
            if not self.keeper.is_canceled:
                raise LeaseLost(f"import {self.row.pk}") from None
            lifecycle.finish_cancel(lease=self.lease, worker=self.worker, now=now())
            if self.stored_before is not None:
                drop_unregistered(self.stored_before)
        except LeaseLost:
            raise
        except Exception:
            log.exception("import %d failed", self.row.pk)
            self._fail(
                ImportFailure(
                    "internal_error", "The import failed for a reason inside this server; its log has more."
                )
            )

    def _fail(self, failure: ImportFailure) -> None:
        log.info("import %d: %s: %s", self.row.pk, failure.code, failure.message)
        lifecycle.fail_import(lease=self.lease, failure=failure, worker=self.worker, now=now())
        shutil.rmtree(staging.work_dir(self.row.pk), ignore_errors=True)
        if self.options.is_watched:
            mark_refused(Path(self.options.address), failure.message)

    def _bring_in(self) -> None:
        plan = self.keeper.aside(self._plan)
        self._settle_name(plan)
        if self._is_there_already(plan.fingerprint):
            return
        path, digests = self._fetch(plan)
        fingerprint = plan.fingerprint or reimport.fingerprint_of(digests, precision=self.options.precision)
        if self._is_there_already(fingerprint):
            return
        identified = self.keeper.aside(lambda: self.tools.inspect(path))
        lifecycle.note_identified(lease=self.lease, name=self.name, identified=as_json(identified), now=now())
        # Refused before minutes of conversion rather than after.
        complete_details(identified.kind, identified.details, self.options)
        self._require_store_space(plan, path)
        donors = self._donors(identified)
        self.stored_before = list_store()
        converted = self.keeper.aside(lambda: self._convert(path, donors))
        self._register(plan, converted, fingerprint)

    # --- what there is ---

    def _plan(self) -> Plan:
        return find.find_plan(
            self.options,
            token=find.token_for(self.options, own=find_token(self.row.pk)),
            policy=policy_from_settings(hosts=settings.IMPORT_HOSTS),
            files_dir=self.files,
            stop=self.progress.stop,
            backoff_s=self.tools.backoff_s,
        )

    def _settle_name(self, plan: Plan) -> None:
        """A name that only the source could tell is claimed now, before anything is fetched."""
        if self.name:
            return
        self.name = plan.name
        try:
            reimport.require_name(self.options, self.name, account=self.row.account)
        except Conflict:
            raise reimport.name_taken(self.name) from None
        lifecycle.note_identified(lease=self.lease, name=self.name, identified={}, now=now())

    def _is_there_already(self, fingerprint: str) -> bool:
        """Ends the import when its model is in the catalogue."""
        entry = reimport.find_same(self.options, self.name, fingerprint, account=self.row.account)
        if entry is None:
            return False
        self.progress.enter(ImportPhase.REGISTERING)
        self._finish(lambda: entry)
        return True

    # --- getting it ---

    def _fetch(self, plan: Plan) -> tuple[Path, dict[str, str]]:
        """Where the model's files are, and their digests."""
        if plan.path is not None:
            local = plan.path
            digests = self.keeper.aside(lambda: hash_folder(local, progress=self.progress))
            self._check_given(digests)
            return local, digests
        if plan.total_bytes > settings.IMPORT_MAX_BYTES:
            raise ImportFailure(
                "too_large",
                f"It has {plan.total_bytes / 1e9:.1f} GB; this server imports up to"
                f" {settings.IMPORT_MAX_BYTES / 1e9:g} GB.",
            )
        self._require_download_space(plan.total_bytes)
        digests = self.keeper.aside(lambda: self._download(plan))
        is_single = len(plan.files) == 1
        return (self.files / (plan.files[0].name if is_single else plan.folder)), digests

    def _download(self, plan: Plan) -> dict[str, str]:
        self.progress.enter(ImportPhase.DOWNLOADING)
        self._drop_strangers(plan)
        policy = policy_from_settings(hosts=settings.IMPORT_HOSTS)
        connections = settings.IMPORT_CONNECTIONS
        with open_client(policy, max_bytes=None, max_connections=connections) as client:
            self._let_interrupt(client)
            files = Downloader(
                plan,
                self.files,
                client=client,
                progress=self.progress,
                connections=connections,
                max_bytes=settings.IMPORT_MAX_BYTES,
                backoff_s=self.tools.backoff_s,
                segment_bytes=self.tools.segment_bytes,
                on_size=self._require_download_space,
            ).run()
        return verify_files(files, progress=self.progress)

    def _let_interrupt(self, client: SafeClient) -> None:
        self.keeper.interrupt = client.abort

    def _drop_strangers(self, plan: Plan) -> None:
        """Files of an earlier attempt that this plan does not have: the repository may have changed."""
        wanted = {self.files / file.name for file in plan.files}
        for path in sorted(self.files.rglob("*")) if self.files.is_dir() else []:
            base = path.with_name(path.name.removesuffix(".json").removesuffix(".part"))
            if path.is_file() and path not in wanted and base not in wanted:
                path.unlink()

    def _check_given(self, digests: dict[str, str]) -> None:
        given = self.options.expected_sha256.lower()
        if given and given not in digests.values():
            found = next(iter(digests.values()), "no file") if len(digests) == 1 else "other files"
            raise ImportFailure("digest_mismatch", f"sha256 {given} was asked for, but this is {found}.")

    def _require_download_space(self, total_bytes: int) -> None:
        have = sum(path.stat().st_size for path in self.files.rglob("*") if path.is_file())
        staging.require_space(download_bytes=max(0, total_bytes - have), store_bytes=total_bytes)

    def _require_store_space(self, plan: Plan, path: Path) -> None:
        files = [path] if path.is_file() else path.rglob("*")
        store_bytes = sum(file.stat().st_size for file in files if file.is_file())
        staging.require_space(download_bytes=0, store_bytes=store_bytes)

    # --- making it ours ---

    def _convert(self, path: Path, donors: list[Path]) -> Converted:
        return self.tools.convert(
            path,
            options=self.options,
            work=staging.work_dir(self.row.pk),
            donors=donors,
            progress=self.progress,
        )

    def _donors(self, identified: Identified) -> list[Path]:
        """Models that may lend what a single file lacks: of the family, and text encoders; the newest first.

        Only such as everybody who will use this model may use as well.
        """
        if identified.kind != ModelKind.CHECKPOINT:
            return []
        may_lend = Q(visibility=Visibility.PUBLIC)
        if self.options.visibility == Visibility.PRIVATE:
            may_lend |= Q(owner=self.row.account)
        entries = CatalogEntry.objects.live().filter(may_lend).order_by("-id")
        family = entries.filter(kind=Kind.CHECKPOINT, family=identified.family)
        encoders = entries.filter(kind=Kind.TEXT_ENCODER)
        paths = [
            *family.values_list("path", flat=True)[:MAX_DONORS],
            *encoders.values_list("path", flat=True)[:MAX_DONORS],
        ]
        return [Path(path) for path in paths if Path(path).is_dir()]

    def _register(self, plan: Plan, converted: Converted, fingerprint: str) -> None:
        self.progress.enter(ImportPhase.REGISTERING)
        facts = facts_for(self.row, self.options, plan, converted, name=self.name, fingerprint=fingerprint)
        try:
            self._finish(
                lambda: place_imported(
                    facts=facts, actor=self.worker, now=now(), is_replacement=self.options.force
                )
            )
        except IntegrityError:
            self._drop_converted(converted)
            raise reimport.name_taken(self.name) from None
        except DomainError as refusal:
            self._drop_converted(converted)
            code = "name_taken" if isinstance(refusal, Conflict) else "unsupported_model"
            raise ImportFailure(code, str(refusal)) from None
        except LeaseLost:
            self._drop_converted(converted)
            raise

    def _drop_converted(self, converted: Converted) -> None:
        """Weights that no entry will name, unless another entry shares them."""
        remove_unused_files(
            CatalogEntry(
                path=str(converted.path),
                digest=converted.digest,
                components=[dict(component) for component in converted.components],
                previews=[],
            )
        )

    def _finish(self, register: Callable[[], CatalogEntry]) -> None:
        lifecycle.finish_import(lease=self.lease, register=register, worker=self.worker, now=now())
        if self.options.is_watched:
            _remove_taken(Path(self.options.address))


def _remove_taken(path: Path) -> None:
    """What came out of the watched folder is in the store now."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
