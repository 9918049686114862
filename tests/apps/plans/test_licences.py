from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from django.core.management import CommandError, call_command
from django.db import transaction

from apps.accounts.choices import Role
from apps.accounts.models import User
from apps.accounts.services import add_member
from apps.audit.refs import SYSTEM
from apps.plans.choices import LicenceState
from apps.plans.errors import LicenceRefused
from apps.plans.licence import LicenceTerms, read_licence, sign_licence
from apps.plans.licensing import get_standing, install_licence, refresh_licence
from apps.plans.models import Licence
from apps.plans.seats import seats_of
from apps.plans.selectors import get_plan
from tests.apps.plans.conftest import Offer
from tests.cast import Cast
from tests.clocks import FrozenClock

MAKER = Ed25519PrivateKey.from_private_bytes(bytes(32))
PUBLIC = MAKER.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

Sign = Callable[..., str]


@pytest.fixture(autouse=True)
def trusted(settings: Any) -> None:
    settings.LICENCE_PUBLIC_KEY = PUBLIC


@pytest.fixture
def sign(clock: FrozenClock) -> Sign:
    """A licence of a year for Ada's account; fields may differ."""

    def make(*, key: Ed25519PrivateKey = MAKER, **fields: Any) -> str:
        terms = {
            "number": "DR-1",
            "customer": "Ada's Studio",
            "plan_code": "premium",
            "seats": None,
            "devices": 1,
            "valid_from": clock.now(),
            "valid_until": clock.now() + timedelta(days=365),
            "accounts": ("ada",),
        }
        return sign_licence(LicenceTerms(**(terms | fields)), key=key)

    return make


def _install(document: str, now: datetime) -> Licence:
    return install_licence(document=document, actor=SYSTEM, now=now)


def test_a_licence_gives_its_plan_to_the_accounts_it_names(
    cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign
) -> None:
    for _ in range(2):
        _install(sign(), clock.now())
    assert Licence.objects.count() == 1
    assert (get_plan(cast.account), get_plan(cast.strangers_account)) == (offer.premium, offer.free)


def test_after_its_end_everything_goes_on_for_the_days_of_grace(
    cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign
) -> None:
    _install(sign(), clock.now())
    assert refresh_licence(now=clock.advance(days=365)) is LicenceState.GRACE
    assert get_plan(cast.account) == offer.premium
    assert refresh_licence(now=clock.advance(days=14)) is LicenceState.EXPIRED
    assert get_plan(cast.account) == offer.free
    _install(sign(number="DR-2"), clock.now())
    assert get_plan(cast.account) == offer.premium


def test_a_licence_of_the_installation_is_the_default_plan_while_it_holds(
    cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign
) -> None:
    _install(sign(accounts=()), clock.now())
    assert get_plan(cast.strangers_account) == offer.premium
    refresh_licence(now=clock.advance(days=380))
    assert get_plan(cast.strangers_account) == offer.free


def test_a_later_licence_takes_the_place_of_the_one_before(
    cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign
) -> None:
    _install(sign(), clock.now())
    _install(sign(number="DR-2", accounts=("cleo",), plan_code="standard"), clock.now())
    assert (get_plan(cast.account), get_plan(cast.strangers_account)) == (offer.free, offer.standard)
    with pytest.raises(LicenceRefused, match="DR-1, which was installed before"):
        _install(sign(), clock.now())


def _with(document: str, **stated: Any) -> str:
    whole = json.loads(document)
    whole["licence"] |= stated
    return json.dumps(whole)


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda text: _with(text, seats=999), "not genuine"),
        (lambda text: _with(text, valid_until="2099-01-01T00:00:00Z"), "not genuine"),
        (lambda text: text[:-20], "not JSON"),
        (lambda text: "{}", "must have the members"),
        (lambda text: text.replace("licence-1", "licence-2"), "this version reads"),
        (lambda text: json.dumps(json.loads(text) | {"signature": "?"}), "not base64"),
        (lambda text: json.dumps(json.loads(text) | {"signature": ""}), "not genuine"),
        (lambda text: json.dumps(json.loads(text) | {"licence": []}), "damaged"),
        (lambda text: " " * 70_000, "larger than"),
    ],
)
def test_what_was_changed_or_damaged_is_refused(
    cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign, spoil: Callable[[str], str], told: str
) -> None:
    with pytest.raises(LicenceRefused, match=told):
        _install(spoil(sign()), clock.now())
    assert not Licence.objects.exists()
    assert get_plan(cast.account) == offer.free


def test_another_makers_licence_is_refused(cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign) -> None:
    with pytest.raises(LicenceRefused, match="another key"):
        _install(sign(key=Ed25519PrivateKey.generate()), clock.now())


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"plan_code": "gold"}, "gives the plan gold"),
        ({"accounts": ("nobody",)}, "that there are not: nobody"),
        ({"seats": 0}, "whole number of seats"),
        ({"customer": ""}, "no readable customer"),
    ],
)
def test_a_makers_mistakes_are_told(
    cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign, fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(LicenceRefused, match=told):
        _install(sign(**fields), clock.now())
    assert not Licence.objects.exists()


@pytest.mark.parametrize("days", [-1, 380])
def test_a_licence_is_installed_in_its_time(
    cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign, days: int
) -> None:
    document = sign()
    with pytest.raises(LicenceRefused, match="not today"):
        _install(document, clock.advance(days=days))


def test_a_clock_that_was_moved_back_brings_nothing_back(
    cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign
) -> None:
    document = sign()
    _install(document, clock.now())
    begun = clock.now()
    refresh_licence(now=clock.advance(days=400))
    assert refresh_licence(now=begun) is LicenceState.EXPIRED
    assert get_plan(cast.account) == offer.free
    with pytest.raises(LicenceRefused, match="set the clock right"):
        _install(sign(number="DR-2"), begun)


def test_a_row_that_was_changed_in_the_database_is_noticed(
    cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign
) -> None:
    _install(sign(), clock.now())
    Licence.objects.update(document=_with(sign(), plan_code="standard"))
    with pytest.raises(LicenceRefused, match="not genuine"):
        get_standing(now=clock.now())


def test_without_the_makers_key_nothing_is_installed(
    cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign, settings: Any
) -> None:
    for key in ("", "no key"):
        settings.LICENCE_PUBLIC_KEY = key
        with pytest.raises(LicenceRefused, match="DARKROOM_LICENCE_PUBLIC_KEY"):
            _install(sign(), clock.now())


def test_seats_are_shared_by_the_accounts_of_a_licence(
    cast: Cast, offer: Offer, clock: FrozenClock, sign: Sign
) -> None:
    _install(sign(seats=5, accounts=("ada", "cleo")), clock.now())
    with transaction.atomic():
        assert (seats_of(cast.account), seats_of(cast.strangers_account)) == (4, 3)
    guest = User.objects.create(email="guest@example.com", date_joined=clock.now())
    add_member(account=cast.strangers_account, user=guest, role=Role.VIEWER, actor=SYSTEM, now=clock.now())
    with transaction.atomic():
        assert (seats_of(cast.account), seats_of(cast.strangers_account)) == (3, 3)


def test_commands_sign_verify_install_and_show(
    cast: Cast, offer: Offer, clock: FrozenClock, tmp_path: Path
) -> None:
    key, file = tmp_path / "key.pem", tmp_path / "licence.json"
    key.write_bytes(MAKER.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    signing = ["sign", "--key", str(key), "--number", "DR-9", "--customer", "Ada", "--plan", "premium"]
    times = ["--valid-from", "2026-01-01T00:00:00Z", "--valid-until", "2027-01-01T00:00:00Z"]
    file.write_text(_run(*signing, *times, "--seats", "10", "--account", "ada"))
    assert read_licence(file.read_text(), key=MAKER.public_key()).seats == 10
    assert json.loads(_run("verify", str(file)))["state"] == "valid"
    assert _run("show") == "No licence is installed.\n"
    assert _run("install", str(file)) == "Licence DR-9 of Ada is installed.\n"
    assert json.loads(_run("show"))["grace_ends_at"] == "2027-01-15T00:00:00Z"
    assert get_plan(cast.account) == offer.premium


def test_commands_say_what_is_wrong(cast: Cast, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    picture.write_bytes(b"\x89PNG\xff")
    for file, told in ((tmp_path / "none", "No such file"), (picture, "not a text file")):
        with pytest.raises(CommandError, match=told):
            _run("install", str(file))
    with pytest.raises(CommandError, match="no private key"):
        signing = ["--number", "1", "--customer", "a", "--plan", "b", "--key", str(picture)]
        _run(
            "sign", *signing, "--valid-from", "2026-01-01T00:00:00Z", "--valid-until", "2027-01-01T00:00:00Z"
        )


def _run(*arguments: str) -> str:
    output = StringIO()
    call_command("licence", *arguments, stdout=output)
    return output.getvalue()
