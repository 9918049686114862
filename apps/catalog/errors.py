"""Refusals of the catalogue."""

from __future__ import annotations

from apps.core.errors import DomainError


class CheckpointNotFound(DomainError):
    """No such checkpoint, disabled, or somebody else's. Status and wording are ModelsLab's."""

    code = "checkpoint_not_found"
    http_status = 400
    message = "Model not found: {name}"
