"""The installation's connection to Stripe: who may speak to it, changing it, and trying it out.

A row that the console edits; until there is one, what the environment says.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction

from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.errors import DomainError, InvalidField
from apps.core.sealing import SealBroken, seal, unseal
from apps.payments.calls.customers import describe_account
from apps.payments.errors import PaymentsNotConfigured
from apps.payments.models import DEFAULT_API_BASE, THE_ROW, StripeEvent, StripeSettings
from apps.payments.modes import describe_other_mode, require_one_mode
from apps.payments.results import PaymentsState
from apps.payments.stripe_api import StripeApi, StripeConfig

KEY_PURPOSE = "key of Stripe"
WEBHOOK_PURPOSE = "webhook secret of Stripe"
LIVE_PREFIXES = ("sk_live_", "rk_live_")
KEY_PREFIXES = (*LIVE_PREFIXES, "sk_test_", "rk_test_")
SILENCE = timedelta(days=7)


def load_config() -> StripeConfig | None:
    """How to speak to Stripe; None without a key. Raises SealBroken after a change of DARKROOM_SECRET_KEY."""
    row = StripeSettings.objects.filter(pk=THE_ROW).first()
    if row is None:
        return _config_of_environment()
    secret_key = unseal(row.secret_key_sealed, purpose=KEY_PURPOSE)
    if not secret_key:
        return None
    return StripeConfig(
        secret_key=secret_key,
        webhook_secret=unseal(row.webhook_secret_sealed, purpose=WEBHOOK_PURPOSE),
        publishable_key=row.publishable_key,
        api_base=row.api_base,
        is_live=row.is_live,
        is_tax_on=row.is_tax_on,
    )


def _config_of_environment() -> StripeConfig | None:
    key = settings.STRIPE_SECRET_KEY
    if not key:
        return None
    return StripeConfig(
        secret_key=key,
        webhook_secret=settings.STRIPE_WEBHOOK_SECRET,
        publishable_key="",
        api_base=settings.STRIPE_API_BASE,
        is_live=key.startswith(LIVE_PREFIXES),
        is_tax_on=False,
    )


def require_config() -> StripeConfig:
    """Raises PaymentsNotConfigured without a key, or with one that can no longer be opened."""
    try:
        config = load_config()
    except SealBroken:
        raise PaymentsNotConfigured from None
    if config is None:
        raise PaymentsNotConfigured
    return config


def open_api() -> StripeApi:
    """Raises PaymentsNotConfigured, and ModesMixed after a change of mode that was not finished."""
    config = require_config()
    require_one_mode(is_live=config.is_live)
    return StripeApi(config)


def payments_state() -> PaymentsState:
    """What pages need to know; never fails."""
    try:
        config = require_config()
    except PaymentsNotConfigured:
        return PaymentsState(is_configured=False, is_live=False, is_tax_on=False)
    return PaymentsState(is_configured=True, is_live=config.is_live, is_tax_on=config.is_tax_on)


def save_settings(
    *,
    secret_key: str | None,
    webhook_secret: str | None,
    publishable_key: str,
    api_base: str,
    is_tax_on: bool,
    actor: Ref,
    now: datetime,
) -> StripeSettings:
    """Replace the connection. None keeps a secret, "" removes it.

    Raises InvalidField, also for a key of the other mode while accounts are customers in the present one:
    the other does not know them.
    """
    with transaction.atomic(durable=True):
        row = StripeSettings.objects.select_for_update().filter(pk=THE_ROW).first() or _row_of_environment()
        _put_secrets(row, secret_key=secret_key, webhook_secret=webhook_secret)
        row.publishable_key, row.is_tax_on = publishable_key.strip(), is_tax_on
        row.api_base = require_api_base(api_base, is_live=row.is_live)
        row.updated_at, row.tested_at, row.test_result = now, None, ""
        row.save()
        audit.record(
            "payments.settings.changed",
            actor=actor,
            subject=row.ref,
            data={
                "api_base": row.api_base,
                "is_live": row.is_live,
                "is_tax_on": is_tax_on,
                "secret_key_changed": secret_key is not None,
                "webhook_secret_changed": webhook_secret is not None,
            },
            now=now,
        )
    return row


def _put_secrets(row: StripeSettings, *, secret_key: str | None, webhook_secret: str | None) -> None:
    """Those that are not None, unsaved. Raises InvalidField."""
    if secret_key is not None:
        row.is_live = _require_key(secret_key, row.is_live)
        if secret_key:
            _require_no_other_mode(is_live=row.is_live)
        row.secret_key_sealed = seal(secret_key, purpose=KEY_PURPOSE)
    if webhook_secret is not None:
        row.webhook_secret_sealed = seal(_require_webhook_secret(webhook_secret), purpose=WEBHOOK_PURPOSE)


def _row_of_environment() -> StripeSettings:
    """The first save takes over what has been in use until then."""
    config = _config_of_environment()
    if config is None:
        return StripeSettings(pk=THE_ROW, api_base=DEFAULT_API_BASE)
    return StripeSettings(
        pk=THE_ROW,
        secret_key_sealed=seal(config.secret_key, purpose=KEY_PURPOSE),
        webhook_secret_sealed=seal(config.webhook_secret, purpose=WEBHOOK_PURPOSE),
        api_base=config.api_base,
        is_live=config.is_live,
    )


def _require_no_other_mode(*, is_live: bool) -> None:
    """Raises InvalidField."""
    problem = describe_other_mode(is_live=is_live)
    if problem:
        raise InvalidField(field="secret_key", problem=f"is of Stripe's other mode. {problem}")


def _require_key(key: str, is_live: bool) -> bool:
    """Whether real money moves with it. Raises InvalidField."""
    if not key:
        return is_live
    if not key.startswith(KEY_PREFIXES) or not key.isascii() or len(key) > 300 or key != key.strip():
        raise InvalidField(
            field="secret_key",
            problem="must be a secret or restricted key: sk_live_, rk_live_ or sk_test_ ...",
        )
    return key.startswith(LIVE_PREFIXES)


def _require_webhook_secret(secret: str) -> str:
    if secret and (not secret.startswith("whsec_") or secret != secret.strip() or len(secret) > 300):
        raise InvalidField(
            field="webhook_secret", problem="must be the signing secret of the endpoint: whsec_..."
        )
    return secret


def require_api_base(address: str, *, is_live: bool) -> str:
    """Scheme and host of the API, without a final slash. Raises InvalidField."""
    text = address.strip().rstrip("/") or DEFAULT_API_BASE
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path or parts.query:
        raise InvalidField(field="api_base", problem="must be like https://api.stripe.com, without a path")
    if is_live and parts.scheme != "https":
        raise InvalidField(field="api_base", problem="must be https for a live key")
    return text


def try_connection(*, actor: Ref, now: datetime) -> str:
    """Ask Stripe something harmless and say plainly what works. The report is kept; never raises."""
    lines = [_try_api(), _judge_webhooks(now)]
    report = " ".join(lines)
    with transaction.atomic(durable=True):
        StripeSettings.objects.filter(pk=THE_ROW).update(tested_at=now, test_result=report)
        subject = Ref(kind="stripe_settings", id=THE_ROW, label="Stripe")
        audit.record(
            "payments.settings.tested", actor=actor, subject=subject, data={"report": report}, now=now
        )
    return report


def _try_api() -> str:
    try:
        api = StripeApi(_config_or_refusal())
        problem = describe_other_mode(is_live=api.config.is_live)
        if problem:
            return problem
        mode = describe_account(api)
    except SealBroken as error:
        return str(error)
    except DomainError as refusal:
        return f"Stripe does not answer: {refusal}"
    expected = "live mode" if api.config.is_live else "test mode"
    if mode != expected:
        return f"Stripe answers, but says {mode} to a key of {expected}."
    return f"Stripe answers at {api.config.api_base}, in {mode}."


def _config_or_refusal() -> StripeConfig:
    config = load_config()
    if config is None:
        raise PaymentsNotConfigured
    return config


def _judge_webhooks(now: datetime) -> str:
    """Whether messages arrive and fit the secret, judged by the last one."""
    try:
        config = load_config()
    except SealBroken:
        return ""
    if config is None or not config.webhook_secret:
        return "There is no webhook secret: what Stripe sends is refused."
    last = StripeEvent.objects.order_by("-received_at", "-pk").first()
    if last is None:
        return "No webhook has arrived yet."
    when = f"{last.received_at:%Y-%m-%d %H:%M} UTC"
    if not last.is_genuine:
        return f"The last webhook, at {when}, was refused: {last.note}"
    if now - last.received_at > SILENCE:
        return f"The last webhook arrived at {when}: more than a week ago."
    return f"The webhook secret fits: the last webhook, at {when}, was genuine."
