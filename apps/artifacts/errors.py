"""Refusals of the artifact store."""

from __future__ import annotations

from apps.core.errors import DomainError


class ArtifactNotFound(DomainError):
    """Unknown, not ready, expired, or a link nobody signed: a caller cannot tell which."""

    code = "artifact_not_found"
    http_status = 404
    message = "This image is not available: it is not ready yet, has expired, or never existed."
