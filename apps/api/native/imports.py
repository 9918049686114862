"""Endpoints of the native API for imports: ask, look, follow, cancel, retry, and upload files in pieces.

A key with models:write brings in private models of its account, from repositories, URLs and uploads. Public
models and folders of the server are for models:admin, the operator's.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from rest_framework.request import Request

from apps.api.bodies import JsonObject, read_fields
from apps.api.native.forms import claim_of
from apps.api.native.imports_events import import_events
from apps.api.native.imports_fields import CREDENTIAL, ListQuery, read_import, read_list
from apps.api.native.imports_render import import_body
from apps.api.native.models import json_response
from apps.api.native.repeats import REPLAYED, answer_once
from apps.api.native.views import NativeView
from apps.apikeys.choices import Scope
from apps.apikeys.models import ApiKey
from apps.apikeys.services import require_scope
from apps.catalog.choices import ImportSource, Visibility
from apps.catalog.imports.errors import UploadRefused
from apps.catalog.imports.selectors import access_import, list_imports
from apps.catalog.imports.services import cancel_import, retry_import, submit_import
from apps.catalog.imports.uploads import (
    FORM_FIELD,
    StagingHandler,
    Upload,
    access_upload,
    append_chunk,
    begin_upload,
    require_room,
)
from apps.catalog.models import ModelImport
from apps.core import clock
from apps.core.errors import InvalidField, MalformedBody

MULTIPART: Final = "multipart/form-data"


class ImportsView(NativeView):
    """Base: who may ask for and look at which import."""

    def importer(self, http: HttpRequest) -> ApiKey:
        """A key that may import. Keys of operators need no second scope. Raises ScopeMissing."""
        key = self.find_caller(http, {})
        if not is_admin(key):
            require_scope(key=key, scope=Scope.MODELS_WRITE)
        return key

    def access(self, http: HttpRequest, import_id: str) -> ModelImport:  # type: ignore[override]
        """The caller's import; an operator's key reaches any. Raises NotFound."""
        key = self.importer(http)
        return access_import(account=None if is_admin(key) else key.account, import_id=import_id)

    def cancel(self, http: HttpRequest, import_id: str) -> HttpResponse:
        row = self.access(http, import_id)
        assert self.caller is not None  # access() has identified it
        return _import_response(cancel_import(model_import=row, actor=self.caller.ref, now=clock.now()))


class ImportListView(ImportsView):
    """All imports of the account, and the way to ask for one."""

    def get(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.importer(http)
        asked = read_list(http.GET)
        if asked.is_all:
            require_scope(key=key, scope=Scope.MODELS_ADMIN)
        rows = _page(asked, key)
        more = rows[asked.limit - 1].pk if len(rows) > asked.limit else None
        return json_response(
            {
                "items": [import_body(row) for row in rows[: asked.limit]],
                "next_cursor": None if more is None else str(more),
            }
        )

    def post(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.importer(http)
        if http.content_type == MULTIPART:
            return self._post_form(http, key)
        return answer_once(http, key, lambda: self._submit(read_fields(http), key), locate=_place)

    def _post_form(self, http: HttpRequest, key: ApiKey) -> HttpResponse:
        """The file is on its way to staging while the form is read; nothing of a refused one is kept."""
        require_room(int(http.META.get("CONTENT_LENGTH") or 0))
        handler = StagingHandler(http, account_id=key.account_id)
        http.upload_handlers = [handler]
        is_asked_for = False

        def ask() -> HttpResponse:
            nonlocal is_asked_for
            answer = self._submit(fields, key, upload=upload)
            is_asked_for = True
            return answer

        try:
            fields = _read_form(http)
            if handler.refusal is not None:
                raise handler.refusal
            if FORM_FIELD not in http.FILES:
                raise UploadRefused(problem=f"is missing: send it in the field {FORM_FIELD}")
            assert handler.upload is not None  # it has become one of the form's files
            upload = handler.upload.id
            answer = answer_once(
                http,
                key,
                ask,
                claim=claim_of(http, {**fields, FORM_FIELD: handler.sha256}),
                locate=_place,
            )
            if REPLAYED in answer.headers:
                # The first of the twins has the file.
                handler.discard()
            return answer
        except Exception:
            # What fails after the import was committed must not take its file away.
            if not is_asked_for:
                handler.discard()
            raise

    def _submit(self, fields: JsonObject, key: ApiKey, *, upload: str | None = None) -> HttpResponse:
        options = read_import(fields, is_admin=is_admin(key), upload=upload, ignored=frozenset({CREDENTIAL}))
        if options.visibility != Visibility.PRIVATE or options.source == ImportSource.FOLDER:
            require_scope(key=key, scope=Scope.MODELS_ADMIN)
        if options.source == ImportSource.UPLOAD:
            _require_whole(access_upload(options.address, account_id=key.account_id))
        row = submit_import(options=options, account=key.account, actor=key.ref, now=clock.now())
        return _import_response(row, HTTPStatus.ACCEPTED)


class ImportView(ImportsView):
    """One import."""

    def get(self, request: Request, import_id: str) -> HttpResponse:
        return _import_response(self.access(request._request, import_id))

    def delete(self, request: Request, import_id: str) -> HttpResponse:
        return self.cancel(request._request, import_id)


class ImportCancelView(ImportsView):
    """Canceling for clients that cannot send DELETE."""

    def post(self, request: Request, import_id: str) -> HttpResponse:
        http = request._request
        return answer_once(http, self.importer(http), lambda: self.cancel(http, import_id))


class ImportRetryView(ImportsView):
    """Again, from where it stopped; `token` when the source wants one."""

    def post(self, request: Request, import_id: str) -> HttpResponse:
        http = request._request
        row = self.access(http, import_id)
        assert self.caller is not None  # access() has identified it
        token = read_fields(http).get("token", "")
        if not isinstance(token, str):
            raise InvalidField(field="token", problem="must be a text")
        key, secret = self.caller, token.strip()

        def act() -> HttpResponse:
            again = retry_import(model_import=row, token=secret, actor=key.ref, now=clock.now())
            return _import_response(again, HTTPStatus.ACCEPTED)

        return answer_once(http, key, act, locate=_place)


class ImportEventsView(ImportsView):
    """The import's course as it happens."""

    def get(self, request: Request, import_id: str) -> StreamingHttpResponse:
        row = self.access(request._request, import_id)
        # X-Accel-Buffering: nginx would otherwise hold events back until its buffer is full.
        return StreamingHttpResponse(
            import_events(row),
            content_type="text/event-stream",
            headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
        )


class UploadListView(ImportsView):
    """Begins an upload in pieces, for files too large or lines too weak for one form."""

    def post(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.importer(http)
        fields = read_fields(http)
        name, size = fields.get("filename"), fields.get("size_bytes")
        if not isinstance(name, str) or not name.strip():
            raise InvalidField(field="filename", problem="must be the file's name")
        if not isinstance(size, int) or isinstance(size, bool) or size < 1:
            raise InvalidField(field="size_bytes", problem="must be the file's length in bytes")
        filename, size_bytes = name, size

        def act() -> HttpResponse:
            upload = begin_upload(name=filename, size_bytes=size_bytes, account_id=key.account_id)
            return _upload_response(upload, HTTPStatus.CREATED)

        return answer_once(http, key, act, locate=lambda body: f"/v1/imports/uploads/{body['id']}")


class UploadView(ImportsView):
    """One upload: how much has arrived, and the next piece."""

    def get(self, request: Request, upload_id: str) -> HttpResponse:
        key = self.importer(request._request)
        return _upload_response(access_upload(upload_id, account_id=key.account_id))

    def put(self, request: Request, upload_id: str) -> HttpResponse:
        http = request._request
        key = self.importer(http)
        upload = access_upload(upload_id, account_id=key.account_id)
        content_range = http.headers.get("Content-Range", "")
        try:
            return _upload_response(append_chunk(upload, content_range=content_range, body=http))
        except UnreadablePostError:
            raise MalformedBody(problem="ended early") from None


def is_admin(key: ApiKey) -> bool:
    """Whether the key may import for everybody."""
    return key.allows_scope(Scope.MODELS_ADMIN)


def _page(asked: ListQuery, key: ApiKey) -> list[ModelImport]:
    """One more than the page has, to know whether there is another."""
    found = list_imports(None if asked.is_all else key.account)
    if asked.states:
        found = found.filter(state__in=asked.states)
    if asked.before is not None:
        found = found.filter(pk__lt=asked.before)
    return list(found[: asked.limit + 1])


def _read_form(http: HttpRequest) -> JsonObject:
    try:
        return {name: http.POST[name] for name in http.POST}
    except (MultiPartParserError, BadRequest, SuspiciousOperation, UnicodeError):
        raise MalformedBody(problem="is not a readable form") from None
    except UnreadablePostError:
        raise MalformedBody(problem="ended early") from None


def _require_whole(upload: Upload) -> None:
    if not upload.is_complete:
        raise InvalidField(
            field="upload",
            problem=f"has {upload.received_bytes} of {upload.size_bytes} bytes; send the rest first",
        )


def _place(body: Mapping[str, Any]) -> str:
    """Of an import, by its JSON (Any)."""
    return f"/v1/imports/{body['id']}"


def _import_response(row: ModelImport, status: int = HTTPStatus.OK) -> HttpResponse:
    return json_response(import_body(row), status)


def _upload_response(upload: Upload, status: int = HTTPStatus.OK) -> HttpResponse:
    body = {"id": upload.id, "received_bytes": upload.received_bytes, "size_bytes": upload.size_bytes}
    return json_response(body, status)
