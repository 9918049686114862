"""The written form of an API key: `dkr_<prefix>_<secret>_<checksum>`. Knows nothing of rows or accounts."""

from __future__ import annotations

import hmac
import zlib
from dataclasses import dataclass
from hashlib import sha256

from apps.core.ids import ALPHABET, random_token

BRAND = "dkr"
PREFIX_LENGTH = 8
SECRET_LENGTH = 32
# 36^7 is the first power of 36 above the 32 bits of a CRC.
CHECKSUM_LENGTH = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyText:
    """A key whose checksum fits; whether anybody issued it is another question."""

    prefix: str
    """Finds the row; shown in lists."""
    secret: str

    @property
    def plaintext(self) -> str:
        """What the client sends."""
        body = f"{BRAND}_{self.prefix}_{self.secret}"
        return f"{body}_{_checksum(body)}"

    def digest(self, *, pepper: str) -> str:
        """What the row holds: HMAC-SHA-256 over prefix and secret, as hex."""
        return hmac.new(pepper.encode(), f"{self.prefix}.{self.secret}".encode(), sha256).hexdigest()


def generate() -> KeyText:
    """A new key; its secret has 165 bits."""
    return KeyText(prefix=random_token(PREFIX_LENGTH), secret=random_token(SECRET_LENGTH))


def parse(presented: str) -> KeyText | None:
    """The key in `presented`; None for anything mistyped, so that typos cost no query."""
    parts = presented.strip().split("_")
    if len(parts) != 4:
        return None
    brand, prefix, secret, checksum = parts
    is_whole = brand == BRAND and len(prefix) == PREFIX_LENGTH and len(secret) == SECRET_LENGTH
    if not is_whole or not (prefix + secret).isascii() or _checksum(f"{BRAND}_{prefix}_{secret}") != checksum:
        return None
    return KeyText(prefix=prefix, secret=secret)


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode())
    digits = []
    for _ in range(CHECKSUM_LENGTH):
        number, digit = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[digit])
    return "".join(reversed(digits))
