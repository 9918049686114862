"""Asking for imports, ending them, and asking again. What a runner does with them is in `lifecycle`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from django.db import transaction

from apps.accounts.models import Account
from apps.audit.refs import JsonValue, Ref
from apps.audit.services import record
from apps.catalog.choices import OPEN_IMPORT_STATES, ImportState, Visibility
from apps.catalog.imports import doorbell, reimport
from apps.catalog.imports.addresses import name_of, take_token_out, without_query
from apps.catalog.imports.announcing import announce_end
from apps.catalog.imports.channels import notify_changed
from apps.catalog.imports.options import ImportOptions, check_options
from apps.catalog.imports.secrets import find_token, forget_token, keep_token
from apps.catalog.imports.staging import clear_staging
from apps.catalog.imports.watch_files import take_back_refused
from apps.catalog.models import ModelImport
from apps.core.db import take_transaction_lock
from apps.core.errors import Conflict, InvalidField

# Imports of one account that may be open at once; operators are not limited.
MAX_OPEN_OF_ACCOUNT = 20


def submit_import(
    *, options: ImportOptions, account: Account | None, actor: Ref, now: datetime
) -> ModelImport:
    """Accept one import and queue it; the caller may answer as soon as this returns.

    `account` asked for it and owns a private entry; None for operators. Raises InvalidField, and Conflict
    when the name means something else already: nothing is fetched then.
    """
    options = take_token_out(options)
    check_options(options)
    _check_owner(options, account)
    name = options.name or name_of(options)
    with transaction.atomic(durable=True):
        _require_free(options, name, account=account)
        row = ModelImport(
            source=options.source,
            address=options.address,
            revision=options.revision,
            options=options.to_json(),
            requested_name=name,
            account=account,
            requested_by=actor.label[:200],
            created_at=now,
            updated_at=now,
        )
        row.save(force_insert=True)
        # File before row: should the commit fail, the sweep finds a token whose import does not exist.
        keep_token(row.pk, options.token)
        doorbell.ring(row.pk)
        data: dict[str, JsonValue] = {
            "source": options.source.value,
            "address": without_query(options.address),
            "visibility": options.visibility.value,
        }
        _record("submitted", row, actor, now, data)
    return row


def cancel_import(*, model_import: ModelImport, actor: Ref, now: datetime) -> ModelImport:
    """End it: at once while it waits, within a second while it runs. Raises Conflict when it has ended."""
    with transaction.atomic(durable=True):
        row = ModelImport.objects.select_for_update().get(pk=model_import.pk)
        if row.is_terminal:
            raise Conflict(problem=f"The import has ended already: {row.state}.")
        if row.state == ImportState.QUEUED:
            row.state, row.finished_at = ImportState.CANCELED, now
            _record("canceled", row, actor, now)
        elif not row.is_cancel_requested:
            _record("cancel_requested", row, actor, now)
        row.is_cancel_requested, row.updated_at = True, now
        row.save(update_fields=["state", "finished_at", "is_cancel_requested", "updated_at"])
        if row.is_terminal:
            announce_end(row, now)
    if row.is_terminal:
        forget_token(row.pk)
        clear_staging(row.pk)
    return row


def retry_import(*, model_import: ModelImport, token: str = "", actor: Ref, now: datetime) -> ModelImport:
    """Queue a failed or canceled import again; what was downloaded before is not fetched twice.

    Raises Conflict unless it has failed or was canceled, and what `submit_import` raises.
    """
    options = replace(ImportOptions.from_json(model_import.options), token=token)
    take_back_refused(options)
    check_options(options)
    with transaction.atomic(durable=True):
        row = ModelImport.objects.select_for_update(of=("self",)).get(pk=model_import.pk)
        if row.state not in (ImportState.FAILED, ImportState.CANCELED):
            raise Conflict(
                problem=f"Only a failed or canceled import can be retried; this one is {row.state}."
            )
        _require_free(options, row.requested_name, account=row.account)
        row.state, row.phase, row.finished_at = ImportState.QUEUED, "", None
        row.error_code, row.error_message = "", ""
        row.is_cancel_requested, row.attempt, row.speed_bps = False, 0, 0.0
        row.claimed_by, row.updated_at = "", now
        row.save()
        keep_token(row.pk, token or find_token(row.pk))
        doorbell.ring(row.pk)
        _record("retried", row, actor, now)
    return row


def _check_owner(options: ImportOptions, account: Account | None) -> None:
    if options.visibility == Visibility.PRIVATE and account is None:
        raise InvalidField(field="visibility", problem="private needs an account that owns the model")


def _require_free(options: ImportOptions, name: str, *, account: Account | None) -> None:
    """Part: nobody else is bringing in this name, and it means nothing else."""
    take_transaction_lock("catalog.imports.submit")
    others = ModelImport.objects.filter(state__in=OPEN_IMPORT_STATES)
    if account is not None and others.filter(account=account).count() >= MAX_OPEN_OF_ACCOUNT:
        raise Conflict(problem=f"{MAX_OPEN_OF_ACCOUNT} imports of this account are under way; wait for one.")
    names = [word for word in (name, *options.aliases) if word]
    rival = others.filter(requested_name__in=names).first()
    if rival is not None:
        raise Conflict(problem=f"{rival.requested_name} is being imported already.")
    if name:
        reimport.require_name(options, name, account=account)
    reimport.require_aliases(options, name)


def _record(
    what: str, row: ModelImport, actor: Ref, now: datetime, data: dict[str, JsonValue] | None = None
) -> None:
    record(
        f"catalog.import.{what}",
        actor=actor,
        subject=row.ref,
        account_id=row.account_id,
        data=data or {},
        now=now,
    )
    notify_changed(row.pk)
