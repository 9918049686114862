"""Fields of the realtime endpoints, and of v3's, which name no model: the server picks a fast one."""

from __future__ import annotations

from typing import Final

from apps.api.modelslab.fields.generation import IMAGE_TO_IMAGE, INPAINT, TEXT_TO_IMAGE
from apps.api.modelslab.fields.table import Table


def without_model(table: Table) -> Table:
    """A `model_id` belongs to other endpoints, and is ignored like every unknown field."""
    return tuple(field for field in table if field.ours != "checkpoint")


REALTIME_TEXT: Final[Table] = without_model(TEXT_TO_IMAGE)
REALTIME_IMAGE: Final[Table] = without_model(IMAGE_TO_IMAGE)
REALTIME_INPAINT: Final[Table] = without_model(INPAINT)
