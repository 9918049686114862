"""A month's usage as a file that proves itself: JSON lines, closed by a manifest with digest and signature.

For installations that nothing outside ever asks: what they used can be handed over and believed. The same
rows give the same bytes; the key is made once and stays under DARKROOM_HOME.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from apps.billing.models import UsageEvent
from apps.core.errors import InvalidField

FORMAT = "darkroom-usage-1"
CHUNK = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export holds and who signed it."""

    events: int
    price_micro: int
    sha256: str
    """Of all lines before the manifest."""
    public_key: str
    """Base64 of the 32 bytes: compare it with the one that the installation printed."""


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """This installation's key, made on first use and readable by its owner alone."""
    with suppress(FileNotFoundError):
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = Ed25519PrivateKey.generate().private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    # Whole or not at all, and of two that make it at once the first wins.
    with NamedTemporaryFile(dir=path.parent) as file:
        file.write(seed)
        file.flush()
        with suppress(FileExistsError):
            path.hardlink_to(file.name)
    return Ed25519PrivateKey.from_private_bytes(path.read_bytes())


def export_usage(*, start: date, end: date, key: Ed25519PrivateKey, out: BinaryIO) -> Exported:
    """Write every usage event of the days from `start` to `end`, both included, and the manifest."""
    digest, count, total = sha256(), 0, 0
    for line, price_micro in _lines(start, end):
        out.write(line)
        digest.update(line)
        count += 1
        total += price_micro
    facts = {
        "format": FORMAT,
        "from": start.isoformat(),
        "to": end.isoformat(),
        "events": count,
        "price_micro": total,
        "sha256": digest.hexdigest(),
        "public_key": _public_text(key.public_key()),
    }
    signature = base64.b64encode(key.sign(_canonical(facts))).decode()
    out.write(_canonical({"manifest": facts, "signature": signature}))
    return Exported(
        events=count,
        price_micro=total,
        sha256=digest.hexdigest(),
        public_key=_public_text(key.public_key()),
    )


def verify_usage(source: BinaryIO, *, public_key: str | None = None) -> Exported:
    """Prove that a file is as it was exported, by `public_key` if that is given.

    Raises InvalidField, saying what is wrong with it. Without `public_key` it proves that nothing was
    changed, not by whom it was written.
    """
    digest, count, total, previous = sha256(), 0, 0, b""
    for line in source:
        if previous:
            digest.update(previous)
            count += 1
            total += _price_of(previous)
        previous = line
    facts, signature = _read_manifest(previous)
    _require(facts.get("format") == FORMAT, f"is no {FORMAT}")
    _require(public_key in {None, facts.get("public_key")}, "was signed by another key")
    _require(_is_signed(facts, signature), "has a manifest that was changed")
    _require(facts["sha256"] == digest.hexdigest(), "has lines that were changed")
    _require((facts["events"], facts["price_micro"]) == (count, total), "has lines that do not add up")
    return Exported(
        events=count, price_micro=total, sha256=str(facts["sha256"]), public_key=str(facts["public_key"])
    )


def _lines(start: date, end: date) -> Iterator[tuple[bytes, int]]:
    events = UsageEvent.objects.filter(day__gte=start, day__lte=end).select_related("account").order_by("id")
    for event in events.iterator(chunk_size=CHUNK):
        facts = {
            "job": event.job_id,
            "account": event.account.slug,
            "day": event.day.isoformat(),
            "at": event.at.isoformat(),
            "kind": event.kind,
            "model": event.checkpoint,
            "calls": event.calls,
            "images": event.images,
            "pixels": event.pixels,
            "funding": event.funding,
            "price_micro": event.price_micro,
            "price_book": event.price_book_version,
        }
        yield _canonical(facts), event.price_micro


def _canonical(facts: dict[str, object]) -> bytes:
    """One line, whose bytes depend on nothing but the facts."""
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"


def _public_text(key: Ed25519PublicKey) -> str:
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def _price_of(line: bytes) -> int:
    try:
        return int(json.loads(line)["price_micro"])
    except (ValueError, KeyError, TypeError):
        raise InvalidField(field="file", problem="has a line that is no usage event") from None


def _read_manifest(line: bytes) -> tuple[dict[str, object], str]:
    try:
        last = json.loads(line)
        return dict(last["manifest"]), str(last["signature"])
    except (ValueError, KeyError, TypeError):
        raise InvalidField(field="file", problem="ends without its manifest: it is cut short") from None


def _is_signed(facts: dict[str, object], signature: str) -> bool:
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(str(facts["public_key"]), validate=True))
        key.verify(base64.b64decode(signature, validate=True), _canonical(facts))
    except (InvalidSignature, ValueError, KeyError):
        return False
    return True


def _require(is_so: bool, problem: str) -> None:
    if not is_so:
        raise InvalidField(field="file", problem=problem)
