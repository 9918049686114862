"""Files that clients send: written to staging as they arrive, never held in memory.

An upload is a folder `staging/uploads/<id>` with the one file, and `.upload.json` that says whose it is and
how long it will be. An import takes the folder; uploads that nobody takes are swept after a day.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler, StopUpload
from django.http import HttpRequest

from apps.catalog.imports.addresses import clean_file_name
from apps.catalog.imports.errors import UploadRefused
from apps.catalog.imports.staging import MARGIN_BYTES, remove_upload, uploads_dir
from apps.core.errors import Conflict, InvalidField, NotFound
from apps.core.ids import random_token

META: Final = ".upload.json"
UPLOAD_ID: Final = re.compile(r"[a-z0-9]{24}")
CHUNK_BYTES: Final = 1 << 20
CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
FORM_FIELD: Final = "file"


class Readable(Protocol):
    """A request's body."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A file on its way, or arrived."""

    id: str
    file: Path
    size_bytes: int | None
    """None: as long as the form that carries it."""
    account_id: int | None
    """None: an operator's."""

    @property
    def received_bytes(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    @property
    def is_complete(self) -> bool:
        return self.size_bytes is None or self.received_bytes == self.size_bytes


def begin_upload(*, name: str, size_bytes: int | None, account_id: int | None) -> Upload:
    """Make room for a file. Raises UploadRefused for one that is too large or does not fit."""
    if size_bytes is not None:
        require_room(size_bytes)
    upload_id = random_token(24)
    folder = uploads_dir() / upload_id
    folder.mkdir(parents=True)
    file = folder / clean_file_name(name, otherwise="model")
    meta = {"file": file.name, "size_bytes": size_bytes, "account_id": account_id}
    (folder / META).write_text(json.dumps(meta), encoding="utf-8")
    return Upload(id=upload_id, file=file, size_bytes=size_bytes, account_id=account_id)


def access_upload(upload_id: str, *, account_id: int | None) -> Upload:
    """The account's upload. Raises NotFound, the same for one of another account."""
    folder = uploads_dir() / upload_id
    if UPLOAD_ID.fullmatch(upload_id) and (folder / META).is_file():
        meta = json.loads((folder / META).read_text(encoding="utf-8"))
        if meta["account_id"] == account_id:
            return Upload(
                id=upload_id,
                file=folder / meta["file"],
                size_bytes=meta["size_bytes"],
                account_id=account_id,
            )
    raise NotFound(what="Upload", id=upload_id[:64])


def require_room(size_bytes: int) -> None:
    """Raises UploadRefused unless so many bytes, and their copy in the store, may and can be kept."""
    if size_bytes > settings.IMPORT_MAX_BYTES:
        raise UploadRefused(
            problem=f"is larger than the {settings.IMPORT_MAX_BYTES / 1e9:g} GB accepted here"
        )
    root = Path(settings.MODEL_DIR)
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    needed = 2 * size_bytes + MARGIN_BYTES
    if needed > free:
        raise UploadRefused(
            problem=f"does not fit: {needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
        )


def append_chunk(upload: Upload, *, content_range: str, body: Readable) -> Upload:
    """Add the next bytes, as Content-Range says. Raises InvalidField, Conflict for a gap, UploadRefused.

    A chunk that breaks off counts as far as it came: the client asks how much has arrived and goes on.
    """
    match = CONTENT_RANGE.fullmatch(content_range.strip())
    if match is None or upload.size_bytes is None:
        raise InvalidField(field="Content-Range", problem="must look like bytes 0-1048575/7340032")
    start, last, total = (int(text) for text in match.groups())
    if total != upload.size_bytes or not start <= last < total:
        raise InvalidField(field="Content-Range", problem=f"does not fit a file of {upload.size_bytes} bytes")
    with _locked(upload), upload.file.open("ab") as file:
        if file.tell() != start:
            raise Conflict(problem=f"{file.tell()} bytes have arrived; go on from there.")
        left = last + 1 - start
        while left and (chunk := body.read(min(left, CHUNK_BYTES))):
            _write(file, chunk)
            left -= len(chunk)
    return upload


@contextlib.contextmanager
def _locked(upload: Upload) -> Iterator[None]:
    with (upload.file.parent / META).open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(problem="Another chunk of this upload is arriving.") from None
        yield


def _write(file: BinaryIO, chunk: bytes) -> None:
    try:
        file.write(chunk)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UploadRefused(problem="does not fit: the disk of the model folder is full") from None


class StagedFile(UploadedFile):  # type: ignore[type-arg]  # takes parameters in the stubs alone
    """What a form's file became."""

    def __init__(self, upload: Upload) -> None:
        super().__init__(name=upload.file.name, size=upload.received_bytes)
        self.upload = upload


class StagingHandler(FileUploadHandler):
    """Writes the form's one file straight to staging; `request.upload_handlers` before POST is read."""

    def __init__(self, request: HttpRequest, *, account_id: int | None) -> None:
        super().__init__(request)
        self.account_id = account_id
        self.refusal: UploadRefused | None = None
        self.upload: Upload | None = None
        self._file: BinaryIO | None = None
        self._sha256 = hashlib.sha256()

    @property
    def sha256(self) -> str:
        """Of what has arrived."""
        return self._sha256.hexdigest()

    def new_file(self, field_name: str, file_name: str, *arguments: object, **options: object) -> None:
        if field_name != FORM_FIELD or self.upload is not None:
            self._refuse(
                UploadRefused(problem=f"must be the only file of the form, in the field {FORM_FIELD}")
            )
        self.upload = begin_upload(name=file_name, size_bytes=None, account_id=self.account_id)
        self._file = self.upload.file.open("wb")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        assert self._file is not None  # new_file() comes first
        if start + len(raw_data) > settings.IMPORT_MAX_BYTES:
            self._refuse(UploadRefused(problem="is larger than this server accepts"))
        self._sha256.update(raw_data)
        try:
            _write(self._file, raw_data)
        except UploadRefused as refusal:
            self._refuse(refusal)

    def file_complete(self, file_size: int) -> StagedFile:
        assert self._file is not None
        assert self.upload is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return StagedFile(self.upload)

    def upload_interrupted(self) -> None:
        self.discard()

    def discard(self) -> None:
        """Nothing of the form is kept."""
        if self._file is not None:
            self._file.close()
        if self.upload is not None:
            remove_upload(self.upload.id)
            self.upload = None

    def _refuse(self, refusal: UploadRefused) -> None:
        """Django has no way to refuse a form while it is read but to stop reading."""
        self.refusal = refusal
        self.discard()
        raise StopUpload(connection_reset=True)
