"""Reads what people type as a source, and makes names and links from it. Plain text work."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django.conf import settings

from apps.catalog.choices import ImportSource
from apps.catalog.imports.options import ImportOptions
from apps.catalog.models import RESERVED_NAMES
from apps.core.errors import InvalidField

WEIGHT_SUFFIXES: Final = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".sft", ".onnx")
# Query parameters in which download links carry credentials.
TOKEN_PARAMETERS: Final = frozenset({"token", "api_key", "apikey", "access_token"})
# Hosts of the CivitAI kind: a page's address names the version whose file lies elsewhere.
CIVITAI_HOSTS: Final = frozenset({"civitai.com", "www.civitai.com", "civitai.red", "www.civitai.red"})
UNCLEAN: Final = re.compile(r"[^A-Za-z0-9._-]+")
HUB_ID: Final = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+(/.+)?$")
HUB_PAGE: Final = re.compile(
    r"^/(?P<repo>[\w.-]+/[\w.-]+)(?:/(?:blob|resolve|tree)/(?P<revision>[^/]+)(?:/(?P<file>.+))?)?/?$"
)


def read_source(text: str, *, may_be_path: bool = True) -> ImportOptions:
    """What somebody typed: a URL, a path that exists, or a hub repository. Raises InvalidField."""
    text = text.strip()
    if not text:
        raise InvalidField(field="source", problem="must not be empty")
    if "://" in text:
        return _read_url(text)
    if may_be_path:
        path = Path(text).expanduser()
        is_path = path.is_absolute() or text.startswith(("./", "../", "~"))
        if path.exists():
            return ImportOptions(source=ImportSource.FOLDER, address=str(path.absolute()), is_anywhere=True)
        if is_path:
            raise InvalidField(field="source", problem=f"{text} does not exist")
    if HUB_ID.match(text):
        return split_hub_address(ImportOptions(source=ImportSource.HUB, address=text))
    or_path = " or a path that exists" if may_be_path else ""
    raise InvalidField(
        field="source", problem=f"must be a hub repository (organisation/name), a URL{or_path}"
    )


def _read_url(text: str) -> ImportOptions:
    url = urlsplit(text)
    if url.hostname and url.hostname == urlsplit(settings.HF_ENDPOINT).hostname:
        match = HUB_PAGE.match(url.path)
        if match:
            return ImportOptions(
                source=ImportSource.HUB,
                address=match["repo"],
                revision=match["revision"] or "",
                file=match["file"] or "",
            )
    if url.hostname in CIVITAI_HOSTS and url.path.startswith("/models/"):
        version = dict(parse_qsl(url.query)).get("modelVersionId", "")
        if version.isdigit():
            text = urlunsplit((url.scheme, url.netloc, f"/api/download/models/{version}", "", ""))
    return ImportOptions(source=ImportSource.URL, address=text)


def split_hub_address(options: ImportOptions) -> ImportOptions:
    """`org/name/path/file.safetensors` names one file of `org/name`."""
    parts = options.address.strip("/").split("/")
    if options.source != ImportSource.HUB or len(parts) < 3 or options.file:
        return options
    return replace(options, address="/".join(parts[:2]), file="/".join(parts[2:]))


def take_token_out(options: ImportOptions) -> ImportOptions:
    """A token in the URL becomes the import's token: addresses are shown and logged, tokens are not."""
    if options.source == ImportSource.HUB:
        return split_hub_address(options)
    if options.source != ImportSource.URL:
        return options
    url = urlsplit(options.address)
    pairs = parse_qsl(url.query, keep_blank_values=True)
    secret = [(name, value) for name, value in pairs if name.lower() in TOKEN_PARAMETERS and value]
    if not secret:
        return options
    rest = [pair for pair in pairs if pair not in secret]
    name, value = secret[0]
    address = urlunsplit((url.scheme, url.netloc, url.path, urlencode(rest), ""))
    return replace(options, address=address, token=options.token or value, token_parameter=name)


def without_query(address: str) -> str:
    """For logs: query strings often sign or authorise."""
    return address.split("?")[0].split("#")[0] if "://" in address else address


def source_url_of(options: ImportOptions) -> str:
    """The page or file an entry came from, "" for uploads and folders."""
    if options.source == ImportSource.URL:
        return without_query(options.address)[:500]
    if options.source == ImportSource.HUB:
        page = f"{settings.HF_ENDPOINT}/{options.address}"
        return (f"{page}/blob/{options.revision or 'main'}/{options.file}" if options.file else page)[:500]
    return ""


def name_of(options: ImportOptions) -> str:
    """A name for the entry when nobody chose one; "" when only the download will tell."""
    if options.source == ImportSource.URL:
        last = PurePosixPath(urlsplit(options.address).path).name
        return clean_name(last) if last.lower().endswith(WEIGHT_SUFFIXES) else ""
    if options.source == ImportSource.HUB:
        file = PurePosixPath(options.file).name
        is_telling = file.lower().endswith(WEIGHT_SUFFIXES) and file not in GENERIC_FILES
        return clean_name(file if is_telling else options.address)
    if options.source == ImportSource.UPLOAD:
        return ""
    return clean_name(Path(options.address).name)


# Names that say what a file is for, not which model it is.
GENERIC_FILES: Final = frozenset(
    {
        "pytorch_lora_weights.safetensors",
        "diffusion_pytorch_model.safetensors",
        "model.safetensors",
        "learned_embeds.safetensors",
        "learned_embeds.bin",
        "ip_adapter.safetensors",
        "model.onnx",
    }
)


def clean_name(text: str) -> str:
    """A valid name out of a file or repository name: `org/My Model v1.5.safetensors` -> `my-model-v1.5`."""
    last = text.rstrip("/").rsplit("/", 1)[-1]
    lowered = last.lower()
    for suffix in WEIGHT_SUFFIXES:
        if lowered.endswith(suffix):
            last = last[: -len(suffix)]
            break
    cleaned = UNCLEAN.sub("-", last).strip("-._").lower()[:120] or "model"
    return f"{cleaned}-model" if cleaned in RESERVED_NAMES else cleaned


def clean_file_name(text: str, *, otherwise: str) -> str:
    """A file name that is safe to write: no folders, no control characters, not hidden, not too long."""
    last = text.replace("\\", "/").rsplit("/", 1)[-1]
    cleaned = UNCLEAN.sub("_", last).lstrip(".-_")
    stem, dot, suffix = cleaned.rpartition(".")
    if dot and len(suffix) <= 12:
        return f"{stem[:150]}.{suffix}" if stem else otherwise
    return cleaned[:150] or otherwise
