"""Licence files: what one says, and whether it is genuine. Pure; the rows are `licensing.py`'s.

A file is JSON: `licence` holds what it says, `signature` the Ed25519 signature of its canonical bytes (keys
in order, no spaces, ASCII) in base64. No network is needed to check one.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from apps.plans.errors import LicenceRefused

FORMAT: Final = "darkroom-licence-1"
MAX_BYTES: Final = 64 * 1024
MAX_TEXT: Final = 200
TIME_FORM: Final = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True, slots=True, kw_only=True)
class LicenceTerms:
    """What a licence says."""

    number: str
    """Unique, e.g. `DR-2026-0042`."""
    customer: str
    plan_code: str
    seats: int | None
    """Most members of all accounts together; None is any number."""
    devices: int | None
    """Most GPUs; None is any number."""
    valid_from: datetime
    valid_until: datetime
    accounts: tuple[str, ...] = ()
    """Slugs of the accounts that get the plan; none: every account without a plan of its own."""
    features: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Any: JSON."""
        times = {name: getattr(self, name).astimezone(UTC) for name in ("valid_from", "valid_until")}
        stated = asdict(self) | {name: moment.strftime(TIME_FORM) for name, moment in times.items()}
        return stated | {"accounts": list(self.accounts), "features": list(self.features)}


def canonical_bytes(stated: Mapping[str, Any]) -> bytes:
    """What is signed: one spelling for each content. Any: JSON."""
    text = json.dumps(stated, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return f"{FORMAT}\n{text}".encode("ascii")


def sign_licence(terms: LicenceTerms, *, key: Ed25519PrivateKey) -> str:
    """The text of the file. For whoever makes licences."""
    stated = terms.to_json()
    signature = base64.b64encode(key.sign(canonical_bytes(stated))).decode("ascii")
    return json.dumps({"format": FORMAT, "licence": stated, "signature": signature}, indent=2) + "\n"


def read_licence(document: str, *, key: Ed25519PublicKey) -> LicenceTerms:
    """What a genuine file says, whenever it is valid.

    Raises LicenceRefused for a file that cannot be read, was changed, or is signed by another key.
    """
    stated, signature = _open(document)
    try:
        key.verify(signature, canonical_bytes(stated))
    except InvalidSignature:
        raise LicenceRefused(
            problem="is not genuine: it was changed after it was signed, or is signed by another key"
        ) from None
    return _terms(stated)


def _open(document: str) -> tuple[dict[str, Any], bytes]:
    """What it states, and the signature. Any: JSON."""
    if len(document) > MAX_BYTES:
        raise LicenceRefused(problem=f"is larger than {MAX_BYTES} characters: this is no licence file")
    try:
        whole = json.loads(document)
    except ValueError:
        raise LicenceRefused(problem="is not JSON: pass the file as it was sent to you") from None
    if not isinstance(whole, dict) or whole.keys() != {"format", "licence", "signature"}:
        raise LicenceRefused(problem="must have the members format, licence and signature, and no others")
    if whole["format"] != FORMAT:
        raise LicenceRefused(problem=f"has the format {whole['format']!r}; this version reads {FORMAT}")
    if not isinstance(whole["licence"], dict) or not isinstance(whole["signature"], str):
        raise LicenceRefused(problem="is damaged: licence must be an object and signature a text")
    try:
        return whole["licence"], base64.b64decode(whole["signature"], validate=True)
    except binascii.Error:
        raise LicenceRefused(problem="is damaged: its signature is not base64") from None


def _terms(stated: dict[str, Any]) -> LicenceTerms:
    """Strict although it is signed: a maker's mistake is refused by name. Any: JSON."""
    known = LicenceTerms.__dataclass_fields__.keys()
    if stated.keys() != known:
        raise LicenceRefused(problem=f"must state exactly {', '.join(sorted(known))}")
    terms = LicenceTerms(
        number=_text("number", stated["number"]),
        customer=_text("customer", stated["customer"]),
        plan_code=_text("plan_code", stated["plan_code"]),
        seats=_count("seats", stated["seats"]),
        devices=_count("devices", stated["devices"]),
        valid_from=parse_time("valid_from", stated["valid_from"]),
        valid_until=parse_time("valid_until", stated["valid_until"]),
        accounts=_texts("accounts", stated["accounts"]),
        features=_texts("features", stated["features"]),
    )
    if terms.valid_until <= terms.valid_from:
        raise LicenceRefused(problem="is never valid: valid_until is not after valid_from")
    return terms


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT or not value.isprintable():
        raise LicenceRefused(problem=f"has no readable {name}")
    return value


def _texts(name: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise LicenceRefused(problem=f"must list {name}")
    return tuple(_text(name, each) for each in value)


def _count(name: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise LicenceRefused(problem=f"must have a whole number of {name} from 1, or null")
    return value


def parse_time(name: str, value: Any) -> datetime:
    """A moment such as 2026-12-31T23:59:59Z. Raises LicenceRefused. Any: JSON."""
    try:
        return datetime.strptime(value, TIME_FORM).replace(tzinfo=UTC)
    except (TypeError, ValueError):
        raise LicenceRefused(problem=f"must have {name} such as 2026-12-31T23:59:59Z") from None
