"""A file behind a direct link, in the manner of CivitAI: redirects, a name in the headers, a token."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import httpx2

from apps.catalog.imports.addresses import WEIGHT_SUFFIXES, clean_file_name, clean_name
from apps.catalog.imports.failures import ImportFailure
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.reimport import fingerprint_of
from apps.catalog.imports.sources.answers import (
    SNIFF_BYTES,
    check_content,
    check_status,
    digest_in_headers,
    translate,
)
from apps.catalog.imports.sources.plan import Plan, RemoteFile
from apps.core.fetch_policy import FetchPolicy, FetchRefused
from apps.core.http import FetchTooLarge, open_client

CONTENT_RANGE: Final = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
EXTENDED_NAME: Final = re.compile(r"filename\*\s*=\s*(?:utf-8|iso-8859-1)'[^']*'([^;\s]+)", re.IGNORECASE)
PLAIN_NAME: Final = re.compile(r'filename\s*=\s*(?:"((?:\\.|[^"\\])*)"|([^;\s]+))', re.IGNORECASE)


def plan_download(options: ImportOptions, *, token: str, policy: FetchPolicy) -> Plan:
    """What the link leads to, asked for with its first bytes: not every server answers HEAD.

    Raises ImportFailure, and Transient for what may pass.
    """
    url, headers = authorise(options, token)
    what = f"the file of {urlsplit(options.address).hostname}"
    with open_client(policy, max_bytes=None, max_connections=1) as client:
        try:
            with client.stream(
                "GET", url, headers=headers | {"Range": f"bytes=0-{SNIFF_BYTES - 1}"}
            ) as response:
                check_status(response, what=what)
                start = next(response.iter_raw(SNIFF_BYTES), b"")
                check_content(response, start)
        except (httpx2.HTTPError, httpx2.InvalidURL, FetchRefused, FetchTooLarge) as error:
            raise translate(error, what=what) from error
    promised = digest_in_headers(response)
    given = options.expected_sha256.lower()
    if given and promised and given != promised:
        raise ImportFailure(
            "digest_mismatch", f"The source offers a file with sha256 {promised}, not {given} as asked for."
        )
    digest = given or promised
    file_name = with_suffix(name_in_answer(response), start)
    return Plan(
        files=(RemoteFile(name=file_name, url=url, size=size_of(response), sha256=digest),),
        headers=headers,
        name=clean_name(file_name),
        fingerprint=fingerprint_of({"file": digest}, precision=options.precision) if digest else "",
    )


def with_suffix(name: str, start: bytes) -> str:
    """A name that does not tell the format gets an ending from the file's first bytes."""
    if name.lower().endswith(WEIGHT_SUFFIXES):
        return name
    return f"{name}.safetensors" if start[8:9] == b"{" else f"{name}.ckpt"


def authorise(options: ImportOptions, token: str) -> tuple[str, dict[str, str]]:
    """The URL and headers that carry the token the way the source wants it."""
    if not token:
        return options.address, {}
    if not options.token_parameter:
        return options.address, {"Authorization": f"Bearer {token}"}
    url = urlsplit(options.address)
    pairs = [*parse_qsl(url.query, keep_blank_values=True), (options.token_parameter, token)]
    return urlunsplit((url.scheme, url.netloc, url.path, urlencode(pairs), "")), {}


def size_of(response: httpx2.Response) -> int | None:
    """Bytes of the whole file, None when the server does not say."""
    match = CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
    if response.status_code == httpx2.codes.PARTIAL_CONTENT:
        return int(match[3]) if match and match[3] != "*" else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() else None


def name_in_answer(response: httpx2.Response) -> str:
    """A safe file name out of Content-Disposition, else out of the last address, else a plain one."""
    disposition = response.headers.get("Content-Disposition", "")
    extended = EXTENDED_NAME.search(disposition)
    plain = PLAIN_NAME.search(disposition)
    if extended:
        name = unquote(extended[1])
    elif plain:
        name = plain[2] or re.sub(r"\\(.)", r"\1", plain[1] or "")
    else:
        query = dict(parse_qsl(urlsplit(str(response.url)).query))
        signed = PLAIN_NAME.search(query.get("response-content-disposition", ""))
        name = (signed[1] or signed[2]) if signed else PurePosixPath(unquote(response.url.path)).name
    return clean_file_name(name, otherwise="model")
