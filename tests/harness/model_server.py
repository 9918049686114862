"""A model hub and a CivitAI on loopback: real HTTP, real ranges and redirects, and faults on demand.

    with ModelServer() as server:
        server.add_repository("lab/tiny-sd", folder)                 # every file below `folder`
        server.add_download(4711, file, name="My LoRA.safetensors")  # /api/download/models/4711
        server.add_file("/files/a.safetensors", data)                # any path, served as it is
        server.fault("/files/a.safetensors", Fault(cut_at=0.9))      # from now on; see Fault

`server.url` is the endpoint (DARKROOM_HF_ENDPOINT), `server.port` belongs into DARKROOM_FETCH_ALLOW as
`127.0.0.1/32:PORT`; `server.settings()` gives both. What was asked is in `server.requests`.

The hub's wire form: GET /api/models/{repo}[/revision/{rev}] (with ?blobs=true), GET
/api/models/{repo}/tree/{rev}, GET or HEAD /{repo}/resolve/{rev}/{file}. Files above `lfs_bytes` and all
weights are LFS files: resolve answers 302 to /cdn/{sha256}?signature=… with X-Repo-Commit, X-Linked-Etag and
X-Linked-Size, as the real one does. Gated and private repositories answer 401/403/404 with X-Error-Code.
CivitAI's: GET /api/download/models/{id} answers 302 to the CDN, whose answer has Content-Disposition; without
the token that `add_download` asks for it redirects to an HTML login page.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, quote, unquote, urlsplit

WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".onnx", ".msgpack")
CHUNK_BYTES = 64 * 1024
LOGIN_PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in.</body></html>"


@dataclass(kw_only=True)
class Fault:
    """What goes wrong with one path. Several at once are possible."""

    cut_at: float | None = None
    """Close the connection once this share of the whole file was sent, also within a range."""
    times: int | None = None
    """How often it happens; None: always."""
    no_ranges: bool = False
    """Answer 200 with everything, whatever range is asked for."""
    says_length: int | None = None
    """A length in Content-Length and Content-Range that is not true of the promised file."""
    other_bytes: bytes | None = None
    """Content that is sent instead, under the promises of the real one."""
    bytes_per_s: float | None = None
    status: int | None = None
    """Answer with this status."""
    headers: Mapping[str, str] = field(default_factory=dict)
    changes: bool = False
    """Another content and ETag at each request."""
    no_length: bool = False
    """Say no length at all; the end of the connection is the end of the file."""
    stall_at: float | None = None
    """Send this share and then nothing more, with the connection open."""
    html: bool = False
    """A web page with status 200."""
    gzip_header: bool = False
    """Claim to have compressed the answer."""


@dataclass(kw_only=True)
class Request:
    """One request: recorded when it arrives, completed while it is answered."""

    method: str
    path: str
    """Without the query."""
    query: str
    headers: Mapping[str, str]
    status: int = 0
    sent: int = 0
    """Bytes of the body."""


@dataclass(kw_only=True)
class Repository:
    """One repository of the hub."""

    files: dict[str, Path]
    commit: str
    is_gated: bool = False
    is_private: bool = False
    token: str = ""
    """The token that may read it; others of the server are accepted but not allowed."""
    card: Mapping[str, object] = field(default_factory=dict)
    without_digests: bool = False


@dataclass(kw_only=True)
class Content:
    """What a path serves."""

    path: Path | None = None
    data: bytes = b""
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict)
    needs_token: str = ""

    @property
    def size(self) -> int:
        return self.path.stat().st_size if self.path is not None else len(self.data)

    def read(self, start: int, end: int) -> bytes:
        if self.path is None:
            return self.data[start:end]
        with self.path.open("rb") as stream:
            stream.seek(start)
            return stream.read(end - start)

    def altered(self, fault: Fault, mark: str) -> Content:
        """The same under the faults that concern the bytes themselves; `mark` differs with each request."""
        data = fault.other_bytes
        if fault.changes:
            data = (hashlib.sha256(mark.encode()).digest() * (self.size // 32 + 1))[: self.size]
        return self if data is None else replace(self, path=None, data=data)


class ModelServer:
    """Listens from `__enter__` to `__exit__`. Everything may be added and changed while it runs."""

    def __init__(self, *, lfs_bytes: int = 1024) -> None:
        self.lfs_bytes = lfs_bytes
        self.repositories: dict[str, Repository] = {}
        self.contents: dict[str, Content] = {}
        self.downloads: dict[str, tuple[str, str]] = {}
        """Download id -> (path of the content, token it wants)."""
        self.faults: dict[str, Fault] = {}
        self.requests: list[Request] = []
        self.tokens: set[str] = set()
        """Tokens the hub knows at all."""
        self.release = threading.Event()
        """Set to let stalled answers end."""
        self._digests: dict[tuple[Path, int, int], str] = {}
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def settings(self) -> dict[str, str]:
        """Environment that makes an appliance import from here, and from nowhere else."""
        return {
            "DARKROOM_HF_ENDPOINT": self.url,
            "DARKROOM_FETCH_ALLOW": f"127.0.0.1/32:{self.port}",
            "DARKROOM_IMPORT_HOSTS": "127.0.0.1",
        }

    # --- what it serves ---

    def add_repository(
        self,
        name: str,
        folder: Path,
        *,
        revision: str = "",
        is_gated: bool = False,
        is_private: bool = False,
        token: str = "",
        card: Mapping[str, object] | None = None,
        without_digests: bool = False,
    ) -> Repository:
        """Serve every file below `folder`. The commit follows from the contents unless it is given."""
        files = {
            path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
        }
        marks = "".join(f"{file}:{self.digest(path)}" for file, path in files.items())
        repository = Repository(
            files=files,
            commit=revision or hashlib.sha1(marks.encode()).hexdigest(),
            is_gated=is_gated,
            is_private=is_private,
            token=token,
            card=card or {},
            without_digests=without_digests,
        )
        self.repositories[name] = repository
        self.tokens |= {token} - {""}
        for path in files.values():
            self.contents[f"/cdn/{self.digest(path)}"] = Content(path=path)
        return repository

    def add_download(
        self,
        download_id: int,
        file: Path,
        *,
        name: str = "",
        token: str = "",
        headers: Mapping[str, str] | None = None,
    ) -> str:
        """A CivitAI download; its address. `headers` are added to the CDN's answer."""
        path = f"/civitai-cdn/{download_id}"
        disposition = f'attachment; filename="{name or file.name}"'
        self.contents[path] = Content(
            path=file, headers={"Content-Disposition": disposition, **(headers or {})}
        )
        self.downloads[str(download_id)] = (path, token)
        return f"{self.url}/api/download/models/{download_id}"

    def add_file(
        self,
        path: str,
        source: Path | bytes,
        *,
        content_type: str = "application/octet-stream",
        headers: Mapping[str, str] | None = None,
        needs_token: str = "",
    ) -> str:
        """Serve a file or bytes at `path`; its address."""
        is_path = isinstance(source, Path)
        self.contents[path] = Content(
            path=source if is_path else None,  # type: ignore[arg-type]
            data=b"" if is_path else source,  # type: ignore[arg-type]
            content_type=content_type,
            headers=headers or {},
            needs_token=needs_token,
        )
        return self.url + path

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak TLS from now on; `url` goes on saying http."""
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)

    def add_redirect(self, path: str, target: str, *, status: int = 302) -> str:
        """Redirect `path` to any address; its own address."""
        self.contents[path] = Content(headers={"Location": target, ":status": str(status)})
        return self.url + path

    def fault(self, path: str, fault: Fault | None) -> None:
        """Set what goes wrong with a path from now on; None heals it. A repository's file is meant by
        `repo/file`: the fault is that of its CDN path."""
        if not path.startswith("/"):
            owner, _, rest = path.partition("/")
            name, _, file = rest.partition("/")
            path = f"/cdn/{self.digest(self.repositories[f'{owner}/{name}'].files[file])}"
        with self._lock:
            if fault is None:
                self.faults.pop(path, None)
            else:
                self.faults[path] = fault

    def digest(self, path: Path) -> str:
        """sha256 of a file, remembered while it does not change."""
        stat = path.stat()
        key = (path, stat.st_size, stat.st_mtime_ns)
        if key not in self._digests:
            with path.open("rb") as stream:
                self._digests[key] = hashlib.file_digest(stream, "sha256").hexdigest()
        return self._digests[key]

    # --- what was asked ---

    def asked(self, path: str) -> list[Request]:
        """Requests for this path."""
        return [request for request in list(self.requests) if request.path == path]

    def bytes_sent(self, prefix: str = "/") -> int:
        """Bytes of bodies sent from paths that begin so."""
        return sum(request.sent for request in list(self.requests) if request.path.startswith(prefix))

    def take_fault(self, path: str) -> Fault | None:
        """For the handler: the fault of a path, counted."""
        with self._lock:
            fault = self.faults.get(path)
            if fault is None or fault.times == 0:
                return None
            if fault.times is not None:
                fault.times -= 1
            return fault


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    owner: ModelServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are part of the game."""


class _Cut(Exception):
    """The connection is to be dropped now."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    record: Request

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.record = Request(
            method=self.command,
            path=unquote(url.path),
            query=url.query,
            headers=dict(self.headers.items()),
        )
        self.server.owner.requests.append(self.record)
        try:
            self._route(unquote(url.path), url.query)
        except _Cut:
            self.close_connection = True

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet: tests read `requests`."""

    # --- routes ---

    def _route(self, path: str, query: str) -> None:
        owner = self.server.owner
        fault = owner.take_fault(path)
        if fault is not None and fault.status is not None:
            self._answer(fault.status, b"not now", headers=fault.headers)
        elif fault is not None and fault.html:
            self._answer(200, LOGIN_PAGE, content_type="text/html; charset=utf-8")
        elif path.startswith("/api/models/"):
            self._api(path.removeprefix("/api/models/"))
        elif match := re.fullmatch(r"/api/download/models/(\d+)", path):
            self._download(match[1], query)
        elif match := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self._resolve(match[1], unquote(match[2]), match[3])
        elif path == "/login":
            self._answer(200, LOGIN_PAGE, content_type="text/html; charset=utf-8")
        elif path in owner.contents:
            self._content(owner.contents[path], fault)
        else:
            self._answer(404, b"nothing here")

    def _api(self, rest: str) -> None:
        match = re.fullmatch(r"(?P<name>[^/]+/[^/]+)(?:/(?P<what>revision|tree)/(?P<revision>[^/]+))?", rest)
        repository = self._repository(match["name"]) if match else None
        if match is None or repository is None:
            return
        if not self._has_revision(repository, unquote(match["revision"] or "main")):
            return
        if repository.is_private and not self._is_allowed(repository):
            self._missing()
        elif match["what"] == "tree":
            self._json(
                [{"type": "file", "path": file["rfilename"], **file} for file in self._files(repository)]
            )
        else:
            self._json(
                {
                    "_id": "0",
                    "id": match["name"],
                    "modelId": match["name"],
                    "sha": repository.commit,
                    "private": repository.is_private,
                    "gated": "auto" if repository.is_gated else False,
                    "disabled": False,
                    "tags": [],
                    "downloads": 0,
                    "likes": 0,
                    "cardData": dict(repository.card),
                    "siblings": list(self._files(repository)),
                }
            )

    def _files(self, repository: Repository) -> Iterator[dict[str, object]]:
        for name, path in repository.files.items():
            size = path.stat().st_size
            facts: dict[str, object] = {"rfilename": name, "size": size}
            if not repository.without_digests:
                data = path.read_bytes() if size < 1_000_000 else b""
                facts["blobId"] = hashlib.sha1(b"blob %d\0" % size + data).hexdigest()
                if self._is_lfs(path):
                    digest = self.server.owner.digest(path)
                    facts["lfs"] = {"sha256": digest, "size": size, "pointerSize": 135}
            yield facts

    def _is_lfs(self, path: Path) -> bool:
        return path.suffix in WEIGHT_SUFFIXES or path.stat().st_size > self.server.owner.lfs_bytes

    def _resolve(self, name: str, revision: str, file: str) -> None:
        repository = self._repository(name)
        if repository is None or not self._has_revision(repository, revision):
            return None
        if (repository.is_gated or repository.is_private) and not self._is_allowed(repository):
            return self._refuse_gated(name)
        path = repository.files.get(file)
        if path is None:
            return self._answer(404, b"Entry not found", headers={"X-Error-Code": "EntryNotFound"})
        headers = {"X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        if self._is_lfs(path):
            digest = self.server.owner.digest(path)
            headers |= {
                "X-Linked-Size": str(path.stat().st_size),
                "X-Linked-Etag": f'"{digest}"',
                "Location": f"/cdn/{digest}?signature=signed&name={quote(file)}",
            }
            return self._answer(302, b"", headers=headers)
        fault = self.server.owner.take_fault(f"/cdn/{self.server.owner.digest(path)}")
        return self._content(Content(path=path, content_type="text/plain", headers=headers), fault)

    def _download(self, download_id: str, query: str) -> None:
        found = self.server.owner.downloads.get(download_id)
        if found is None:
            return self._answer(404, b'{"error": "No model found"}', content_type="application/json")
        path, token = found
        given = [*parse_qs(query).get("token", []), self._bearer()]
        if token and token not in given:
            return self._answer(307, b"", headers={"Location": f"/login?returnUrl={quote(self.path)}"})
        return self._answer(307, b"", headers={"Location": f"{path}?X-Amz-Signature=signed"})

    def _repository(self, name: str) -> Repository | None:
        found = self.server.owner.repositories.get(name)
        if found is None:
            self._missing()
        return found

    def _missing(self) -> None:
        # The hub does not tell missing from private, and says 401 to whoever has no token.
        status = 404 if self._bearer() in self.server.owner.tokens - {""} else 401
        self._answer(status, b"Repository not found", headers={"X-Error-Code": "RepoNotFound"})

    def _has_revision(self, repository: Repository, revision: str) -> bool:
        if revision in ("main", repository.commit):
            return True
        self._answer(404, b"Invalid rev id", headers={"X-Error-Code": "RevisionNotFound"})
        return False

    def _is_allowed(self, repository: Repository) -> bool:
        return bool(repository.token) and self._bearer() == repository.token

    def _refuse_gated(self, name: str) -> None:
        status = 403 if self._bearer() in self.server.owner.tokens - {""} else 401
        headers = {
            "X-Error-Code": "GatedRepo",
            "X-Error-Message": f"Access to model {name} is restricted.",
        }
        self._answer(status, b"gated", headers=headers)

    def _bearer(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ").strip()

    # --- answers ---

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), content_type="application/json; charset=utf-8")

    def _answer(
        self,
        status: int,
        body: bytes,
        *,
        content_type: str = "text/plain",
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.record.status = status
        self.send_response(status)
        for name, value in {"Content-Type": content_type, **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self._write(body)

    def _content(self, content: Content, fault: Fault | None) -> None:
        """A file, whole or the range that was asked for, with whatever goes wrong."""
        if ":status" in content.headers:
            location = {"Location": content.headers["Location"]}
            return self._answer(int(content.headers[":status"]), b"", headers=location)
        if content.needs_token and self._bearer() != content.needs_token:
            return self._answer(401, b"who are you?")
        fault = fault or Fault()
        content = content.altered(fault, mark=str(len(self.server.owner.requests)))
        size = content.size
        etag = f'"{self._version(content)}"'
        start, end = self._wanted_range(size, etag, fault)
        if start >= size > 0:
            return self._answer(416, b"", headers={"Content-Range": f"bytes */{size}"})
        is_range = self._asks_range(fault)
        self._start_content(content, fault, start=start, end=end, etag=etag, is_range=is_range)
        if self.command != "HEAD":
            self._send_content(content, start, end, fault)
        return None

    def _version(self, content: Content) -> str:
        if content.path is not None:
            return self.server.owner.digest(content.path)[:32]
        return hashlib.md5(content.data).hexdigest()

    def _asks_range(self, fault: Fault) -> bool:
        return "Range" in self.headers and not fault.no_ranges

    def _wanted_range(self, size: int, etag: str, fault: Fault) -> tuple[int, int]:
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if match is None or fault.no_ranges or self.headers.get("If-Range", etag) != etag:
            return 0, size
        return int(match[1]), min(size, int(match[2]) + 1) if match[2] else size

    def _start_content(
        self,
        content: Content,
        fault: Fault,
        *,
        start: int,
        end: int,
        etag: str,
        is_range: bool,
    ) -> None:
        whole = content.size if fault.says_length is None else fault.says_length
        is_range = is_range and self.headers.get("If-Range", etag) == etag
        self.record.status = 206 if is_range else 200
        self.send_response(self.record.status)
        self.send_header("Content-Type", content.content_type)
        self.send_header("ETag", etag)
        for name, value in content.headers.items():
            self.send_header(name, value)
        if is_range:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{whole}")
        if not fault.no_ranges:
            self.send_header("Accept-Ranges", "bytes")
        if fault.gzip_header:
            self.send_header("Content-Encoding", "gzip")
        if fault.no_length:
            self.close_connection = True
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(end - start if is_range else whole))
        self.end_headers()

    def _send_content(self, content: Content, start: int, end: int, fault: Fault) -> None:
        stop = end
        for share in (fault.cut_at, fault.stall_at):
            stop = min(stop, end if share is None else int(content.size * share))
        for at in range(start, stop, CHUNK_BYTES):
            chunk = content.read(at, min(at + CHUNK_BYTES, stop))
            self._write(chunk)
            if fault.bytes_per_s:
                time.sleep(len(chunk) / fault.bytes_per_s)
        if fault.stall_at is not None and stop < end:
            self.server.owner.release.wait(60)
            raise _Cut
        if stop < end or (fault.says_length is not None and fault.says_length > content.size):
            raise _Cut

    def _write(self, data: bytes) -> None:
        try:
            self.wfile.write(data)
            self.wfile.flush()
        except OSError:
            raise _Cut from None
        self.record.sent += len(data)
