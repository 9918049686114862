"""Lets Django read request bodies that arrive chunked, without a Content-Length.

Some clients (the Node `openai` package sending multipart) stream their body. WSGI names no length
then, and Django takes a missing length for an empty body. This wraps the application: it spools
such a body up to the size cap and states the length it found.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from typing import TYPE_CHECKING

from django.conf import settings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

READ_BYTES = 64 * 1024
# Small bodies stay in memory.
SPOOL_BYTES = 1_000_000


class ChunkedBodyMiddleware:
    """WSGI middleware. A body above the cap is cut behind it, so that the usual size check refuses it."""

    def __init__(self, application: WSGIApplication) -> None:
        self.application = application

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if (
            environ.get("CONTENT_LENGTH")
            or "chunked" not in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        ):
            return self.application(environ, start_response)
        source = environ["wsgi.input"]
        with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as spool:
            length = 0
            while length <= settings.MAX_BODY_BYTES and (chunk := source.read(READ_BYTES)):
                spool.write(chunk)
                length += len(chunk)
            spool.seek(0)
            environ["wsgi.input"] = spool
            environ["CONTENT_LENGTH"] = str(length)
            del environ["HTTP_TRANSFER_ENCODING"]
            # The body is parsed before the view answers; a streamed response does not read it again.
            return self.application(environ, start_response)
