"""The connection to Stripe: kept sealed, checked when it is changed, tried out on demand."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from apps.audit.refs import SYSTEM
from apps.core.errors import InvalidField
from apps.core.sealing import SealBroken, seal, unseal
from apps.payments.connection import load_config, open_api, payments_state, save_settings, try_connection
from apps.payments.errors import ModesMixed, PaymentsNotConfigured
from apps.payments.models import StripeCustomer, StripeSettings
from tests.apps.payments.stage import audited
from tests.cast import Cast
from tests.clocks import FrozenClock

SAVED: dict[str, Any] = {
    "secret_key": "sk_test_abc",
    "webhook_secret": "whsec_abc",
    "publishable_key": "pk_test_abc",
    "api_base": "https://api.stripe.com",
    "is_tax_on": True,
    "actor": SYSTEM,
}


def save(clock: FrozenClock, **changes: Any) -> StripeSettings:
    return save_settings(**(SAVED | changes), now=clock.now())


def test_a_seal_opens_for_its_purpose_alone() -> None:
    sealed = seal("sk_test_abc", purpose="a key")
    assert "sk_test" not in sealed
    assert unseal(sealed, purpose="a key") == "sk_test_abc"
    with pytest.raises(SealBroken):
        unseal(sealed, purpose="another")
    with pytest.raises(SealBroken):
        unseal(sealed[:-4] + "AAAA", purpose="a key")


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    assert seal("x", purpose="p") != seal("x", purpose="p")


def test_another_secret_key_of_the_installation_opens_nothing(settings: Any) -> None:
    sealed = seal("sk_test_abc", purpose="a key")
    settings.SECRET_KEY = "another"
    with pytest.raises(SealBroken, match="DARKROOM_SECRET_KEY"):
        unseal(sealed, purpose="a key")


def test_without_keys_payments_are_off(db: None) -> None:
    assert load_config() is None
    assert not payments_state().is_configured
    with pytest.raises(PaymentsNotConfigured):
        open_api()


def test_what_is_saved_is_sealed_and_comes_back(db: None, clock: FrozenClock) -> None:
    row = save(clock)
    assert "sk_test_abc" not in row.secret_key_sealed + row.webhook_secret_sealed
    config = load_config()
    assert config is not None
    assert (config.secret_key, config.webhook_secret, config.is_live) == ("sk_test_abc", "whsec_abc", False)
    assert payments_state().is_tax_on
    assert audited("payments.settings.changed") == 1


def test_secrets_that_are_not_typed_stay(db: None, clock: FrozenClock) -> None:
    save(clock)
    save(clock, secret_key=None, webhook_secret=None, is_tax_on=False)
    config = load_config()
    assert config is not None and config.secret_key == "sk_test_abc" and not config.is_tax_on


def test_the_first_save_takes_over_the_environments_key(
    db: None, clock: FrozenClock, configured: None
) -> None:
    save(clock, secret_key=None, webhook_secret=None)
    config = load_config()
    assert config is not None and config.secret_key == "sk_test_fake"


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [("sk_test_abc", "sk_live_abc", "go-live"), ("sk_live_abc", "sk_test_abc", "another installation")],
)
def test_a_key_of_the_other_mode_is_refused_while_there_are_customers(
    cast: Cast, clock: FrozenClock, first: str, second: str, words: str
) -> None:
    save(clock, secret_key=first)
    is_live = first.startswith("sk_live")
    StripeCustomer.objects.create(
        account=cast.account, customer_id="cus_1", is_live=is_live, created_at=clock.now()
    )
    save(clock, secret_key=f"{first}_other")
    with pytest.raises(InvalidField, match=words):
        save(clock, secret_key=second)
    assert payments_state().is_live == is_live
    StripeCustomer.objects.all().delete()
    save(clock, secret_key=second)
    assert payments_state().is_live != is_live


def test_a_key_of_the_environment_in_the_other_mode_is_not_used(
    cast: Cast, clock: FrozenClock, settings: Any, configured: None
) -> None:
    StripeCustomer.objects.create(account=cast.account, customer_id="cus_1", created_at=clock.now())
    open_api()
    settings.STRIPE_SECRET_KEY = "sk_live_abc"
    with pytest.raises(ModesMixed):
        open_api()
    assert "`manage.py stripe go-live`" in try_connection(actor=SYSTEM, now=clock.now())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("secret_key", "pk_test_abc"),
        ("secret_key", "sk_test_abc\n"),
        ("webhook_secret", "abc"),
        ("api_base", "ftp://api.stripe.com"),
        ("api_base", "https://api.stripe.com/v1"),
        ("api_base", "nonsense"),
    ],
)
def test_what_cannot_work_is_refused(db: None, clock: FrozenClock, field: str, value: str) -> None:
    with pytest.raises(InvalidField):
        save(clock, **{field: value})
    assert StripeSettings.objects.count() == 0


def test_live_keys_are_not_sent_in_the_clear(db: None, clock: FrozenClock) -> None:
    with pytest.raises(InvalidField, match="https"):
        save(clock, secret_key="sk_live_abc", api_base="http://10.0.0.1")


def test_the_test_says_when_nobody_answers(db: None, clock: FrozenClock, configured: None) -> None:
    report = try_connection(actor=SYSTEM, now=clock.now())
    assert "Stripe does not answer" in report
    assert "No webhook has arrived yet." in report


@pytest.mark.usefixtures("impatient")
def test_operators_edit_it_and_never_see_secrets(cast: Cast, client: Client, clock: FrozenClock) -> None:
    client.force_login(cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    address = "/console/payments/stripesettings/add/"
    form = {
        "secret_key": "sk_test_abc",
        "webhook_secret": "whsec_abc",
        "publishable_key": "",
        "api_base": "http://127.0.0.1:9",
    }
    assert client.post(address, form).status_code == 302
    page = client.get("/console/payments/stripesettings/1/change/").content.decode()
    assert "sk_test_abc" not in page and "whsec_abc" not in page
    assert "Test the connection" in page
    assert client.get("/console/payments/stripesettings/").status_code == 302
    assert client.post("/console/payments/stripesettings/test").status_code == 302
    assert "does not answer" in StripeSettings.objects.get().test_result


def test_nobody_else_tries_the_connection(cast: Cast, client: Client) -> None:
    client.force_login(cast.ada, backend="django.contrib.auth.backends.ModelBackend")
    assert client.post("/console/payments/stripesettings/test").status_code == 302
    assert audited("payments.settings.tested") == 0
