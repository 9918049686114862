"""Refusals of imports before there is one. Why an import fails later is in `failures`."""

from __future__ import annotations

from apps.core.errors import DomainError


class UploadRefused(DomainError):
    """A file that is not taken in."""

    code = "upload_refused"
    http_status = 400
    message = "The file {problem}."
