"""An export proves that it is whole and unchanged, and by whose key."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from apps.billing.usage_export import Exported, export_usage, load_signing_key, verify_usage
from apps.core.errors import InvalidField
from tests.apps.billing.invoices.office import make_invoiced_account, use
from tests.apps.generation.studio import Crew

pytestmark = pytest.mark.django_db
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))


def export(key: Ed25519PrivateKey = KEY) -> tuple[bytes, Exported]:
    out = io.BytesIO()
    found = export_usage(start=date(2026, 2, 1), end=date(2026, 2, 28), key=key, out=out)
    return out.getvalue(), found


@pytest.fixture
def data() -> bytes:
    account = make_invoiced_account()
    for price in (2_000, 4_000, 6_000):
        use(account, price_micro=price)
    use(account, price_micro=8_000, day=date(2026, 3, 1))
    use(account, price_micro=8_000, day=date(2026, 1, 31))
    return export()[0]


def test_a_month_is_exported_and_verified(data: bytes) -> None:
    found = verify_usage(io.BytesIO(data), public_key=export()[1].public_key)
    assert (found.events, found.price_micro) == (3, 12_000)
    first = json.loads(data.splitlines()[0])
    assert (first["account"], first["day"], first["funding"]) == ("studio", "2026-02-10", "pay_as_you_go")


def test_the_same_rows_give_the_same_bytes(data: bytes) -> None:
    assert export()[0] == data


def test_a_month_without_usage_is_a_manifest() -> None:
    data, found = export()
    assert (len(data.splitlines()), found.events) == (1, 0)
    assert verify_usage(io.BytesIO(data)) == found


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: [lines[0].replace(b"2000", b"2001"), *lines[1:]], "lines that were changed"),
        (lambda lines: [lines[1], lines[0], *lines[2:]], "lines that were changed"),
        (lambda lines: lines[1:], "lines that were changed"),
        (lambda lines: [lines[0], *lines], "lines that were changed"),
        (lambda lines: lines[:-1], "ends without its manifest"),
        (lambda lines: [], "ends without its manifest"),
        (lambda lines: [b"nonsense\n", *lines], "no usage event"),
        (lambda lines: [*lines[:-1], lines[-1].replace(b'"events":3', b'"events":2')], "manifest that was"),
        (lambda lines: [*lines[:-1], lines[-1].replace(b"darkroom-usage-1", b"another")], "is no darkroom"),
        (
            lambda lines: [*lines[:-1], lines[-1].replace(b'"signature":"', b'"signature":"!')],
            "manifest that",
        ),
    ],
)
def test_every_change_is_found(
    data: bytes, change: Callable[[list[bytes]], list[bytes]], problem: str
) -> None:
    changed = b"".join(change(data.splitlines(keepends=True)))
    with pytest.raises(InvalidField, match=problem):
        verify_usage(io.BytesIO(changed))


def test_another_key_is_found(data: bytes) -> None:
    forged, found = export(OTHER_KEY)
    verify_usage(io.BytesIO(forged))
    with pytest.raises(InvalidField, match="another key"):
        verify_usage(io.BytesIO(forged), public_key=export()[1].public_key)
    with pytest.raises(InvalidField, match="another key"):
        verify_usage(io.BytesIO(data), public_key=found.public_key)


def test_the_key_is_made_once_and_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "usage.key"
    crew = Crew()
    crew.run(*[partial(load_signing_key, path)] * 8)
    assert crew.errors == []
    assert len({key.private_bytes_raw() for key in crew.results}) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["usage.key"]
