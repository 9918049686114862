"""What operators do to models that jobs and workers use: delete them, and have them loaded anew."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import Q

from apps.audit.refs import Ref
from apps.catalog import services as catalog
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry
from apps.core.errors import Conflict, InvalidField
from apps.generation.channels import notify_reload
from apps.generation.choices import OPEN_STATES
from apps.generation.models import GenerationJob


def delete_model(*, entry: CatalogEntry, actor: Ref, now: datetime) -> None:
    """Take an entry out of the catalogue, and its files from the store unless another entry shares them.

    Raises Conflict while an open job uses it, as checkpoint or as adapter, and when it was deleted before.
    """
    catalog.delete_entry(entry=entry, actor=actor, now=now, require_unused=_require_unused)


def _require_unused(entry: CatalogEntry) -> None:
    # The row is locked: whoever submits a job with this checkpoint waits for us, or we see the job.
    used = [{"entry_id": entry.pk}]
    uses = (
        Q(checkpoint=entry)
        | Q(request__adapters__loras__contains=used)
        | Q(request__adapters__embeddings__contains=used)
        | Q(request__adapters__vae__entry_id=entry.pk)
    )
    count = GenerationJob.objects.filter(uses, state__in=OPEN_STATES).count()
    if count:
        problem = f"{entry.name} is used by {count} open requests; delete it when they have ended."
        raise Conflict(problem=problem)


def reload_model(*, entry: CatalogEntry, actor: Ref, now: datetime) -> None:
    """Make every worker load the entry's weights anew before it uses them again.

    Raises Conflict when it was deleted, and InvalidField for anything but a checkpoint: other weights are
    read by their digest when a request names them.
    """
    if entry.kind != Kind.CHECKPOINT:
        raise InvalidField(
            field="model_id", problem=f"must name a checkpoint; {entry.name} is a {entry.kind}"
        )
    with transaction.atomic(durable=True):
        catalog.request_reload(entry=entry, actor=actor, now=now)
        notify_reload()
