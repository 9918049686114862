"""From a server's refusal to the failure of an import: what it means and what its owner can do."""

from __future__ import annotations

import base64
import binascii
import re
from http import HTTPStatus
from typing import Final

import httpx2

from apps.catalog.imports.failures import ImportFailure
from apps.catalog.imports.sources.plan import HTML_TYPES
from apps.core.fetch_policy import FetchRefused
from apps.core.http import FetchTooLarge, describe_failure

TRANSIENT: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
HTML_START: Final = re.compile(
    rb"^(\xef\xbb\xbf)?\s*(<!--.*?-->\s*)*<(!doctype\s+html|html|head|body)", re.IGNORECASE | re.DOTALL
)
SNIFF_BYTES: Final = 512


class Transient(Exception):
    """Worth another try. The message says what happened."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def check_status(response: httpx2.Response, *, what: str) -> None:
    """Raises Transient or ImportFailure unless the answer is a success. `what` names the thing asked for."""
    status = response.status_code
    if response.is_success:
        return
    host = response.url.host
    if status in TRANSIENT:
        raise Transient(f"{host} answered {status}", retry_after_s=retry_after_s(response))
    code = response.headers.get("X-Error-Code", "")
    if code == "GatedRepo":
        raise _gated(response, what)
    if status == HTTPStatus.UNAUTHORIZED and code != "RepoNotFound":
        had_token = "Authorization" in response.request.headers
        problem = "refuses the token" if had_token else "wants a token"
        raise ImportFailure(
            "token_required",
            f"{host} {problem} for {what}. Give one that may read it, and check the name: some hosts answer a"
            " wrong one the same way.",
        )
    if status in (HTTPStatus.FORBIDDEN, HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS):
        raise ImportFailure(
            "licence_required",
            f"{host} refuses {what}: its licence may have to be accepted on the website first, by the account"
            " whose token is used.",
        )
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.GONE, HTTPStatus.UNAUTHORIZED):
        raise _missing(response, what, code)
    raise ImportFailure("download_failed", f"{host} answered {status} to the request for {what}.")


def _gated(response: httpx2.Response, what: str) -> ImportFailure:
    host = response.url.host
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        return ImportFailure(
            "token_required",
            f"{what} is gated: accept its licence on {host}, and give a token of the account that did.",
        )
    return ImportFailure(
        "licence_required",
        f"{what} is gated, and the account of the token has not accepted its licence: open it on {host},"
        " accept, then retry.",
    )


def _missing(response: httpx2.Response, what: str, code: str) -> ImportFailure:
    host = response.url.host
    if code == "RevisionNotFound":
        return ImportFailure("source_not_found", f"{host} has {what}, but not the revision asked for.")
    if code == "EntryNotFound":
        return ImportFailure("file_not_found", f"{host} has no file {what}.")
    hint = " If it is private, give a token that may read it." if code == "RepoNotFound" else ""
    return ImportFailure("source_not_found", f"{host} has no {what}.{hint}")


def check_content(response: httpx2.Response, start: bytes) -> None:
    """Raises ImportFailure `not_weights` for a web page in place of a file. `start` are its first bytes."""
    kind = response.headers.get("Content-Type", "").split(";")[0].strip().lower()
    if kind in HTML_TYPES or HTML_START.match(start):
        raise ImportFailure(
            "not_weights",
            f"{response.url.host} sent an HTML page instead of the file: a licence click or a login may be"
            " needed, or the address is that of a page and not of a download.",
        )


def retry_after_s(response: httpx2.Response) -> float | None:
    """Seconds the server asks to wait, if it says so in seconds."""
    text = response.headers.get("Retry-After", "").strip()
    return float(text) if text.isdigit() else None


def translate(error: Exception, *, what: str) -> Exception:
    """What the HTTP client raised, as a Transient or an ImportFailure."""
    match error:
        case FetchRefused():
            return ImportFailure("address_refused", str(error))
        case FetchTooLarge():
            return ImportFailure("download_failed", f"The answer for {what} is too long.")
        case httpx2.TooManyRedirects() | httpx2.InvalidURL() | httpx2.UnsupportedProtocol():
            return ImportFailure("download_failed", describe_failure(error))
        case _:
            return Transient(describe_failure(error).rstrip("."))


def digest_in_headers(response: httpx2.Response) -> str:
    """The sha256 that an answer or one of its redirects promises of the whole file, "" when none does."""
    for answer in [*response.history, response]:
        found = _digest_of(answer.headers)
        if found:
            return found
    return ""


def _digest_of(headers: httpx2.Headers) -> str:
    linked = headers.get("X-Linked-Etag", "").strip().removeprefix("W/").strip('"')
    candidates = [linked, headers.get("X-Checksum-Sha256", "").strip().strip('"')]
    for text in candidates:
        if re.fullmatch(r"[0-9a-fA-F]{64}", text):
            return text.lower()
    encoded = [headers.get("X-Amz-Checksum-Sha256", "")]
    for name in ("Repr-Digest", "Digest"):
        match = re.search(r"sha-256=:?([A-Za-z0-9+/=]+):?", headers.get(name, ""), re.IGNORECASE)
        encoded.append(match[1] if match else "")
    for text in encoded:
        try:
            raw = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            continue
        if len(raw) == 32:
            return raw.hex()
    return ""
