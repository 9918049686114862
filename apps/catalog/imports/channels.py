"""The NOTIFY channel of imports. A message is a hint; the row is the truth."""

from __future__ import annotations

from apps.core.db import notify

IMPORT = "darkroom_import"
"""To whoever follows imports: the id of one whose row changed."""


def notify_changed(*import_ids: int) -> None:
    """Wake followers when the current transaction commits."""
    notify(IMPORT, *(str(import_id) for import_id in import_ids))
