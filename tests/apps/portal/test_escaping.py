"""Words of customers and operators in every field that has some, on every page: none of them runs."""

from __future__ import annotations

from html.parser import HTMLParser

from django.test import Client

from apps.accounts.models import Account, User
from apps.apikeys.models import ApiKey
from apps.billing.choices import Source
from apps.billing.models import UsageEvent
from apps.plans.choices import CouponKind
from apps.plans.models import Coupon, Plan
from tests.cast import Cast
from tests.clocks import FrozenClock

EVIL = "\"'><img src=x onerror=alert(1)></script><script>alert(2)</script>"
PAGES = (
    "/",
    "/pricing",
    "/portal",
    "/portal/usage",
    "/portal/usage?by=api_key_id",
    "/portal/usage?by=checkpoint",
    "/portal/billing",
    "/portal/billing/plans",
    "/portal/billing/plans/evil",
    "/portal/settings",
    "/portal/keys",
    "/portal/jobs",
    "/portal/webhooks",
    "/portal/team",
    "/portal/account",
    "/portal/playground",
)


ADDRESSES = frozenset({"href", "src", "action", "formaction", "data", "poster"})


class InlineCode(HTMLParser):
    """Notes what the policy of the pages forbids: it must not be there in the first place."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = dict(attrs)
        is_data = "src" in names or names.get("type") == "application/json"
        if tag == "style" or (tag == "script" and not is_data):
            self.found.append(f"<{tag}>")
        self.found += [f"{tag} {name}" for name in names if name == "style" or name.startswith("on")]
        self.found += [
            f"{tag} {value}"
            for name, value in names.items()
            if name in ADDRESSES and (value or "").strip().lower().startswith("javascript:")
        ]


def inline_code(html: str) -> list[str]:
    """Every place of a page that would run or look by itself."""
    parser = InlineCode()
    parser.feed(html)
    return parser.found


def fill_with_evil(cast: Cast, clock: FrozenClock) -> None:
    Account.objects.filter(pk=cast.account.pk).update(name=EVIL)
    User.objects.filter(pk=cast.ben.pk).update(name=EVIL)
    ApiKey.objects.filter(pk=cast.key.pk).update(name=EVIL)
    Plan.objects.create(
        code="evil", name=EVIL, description=EVIL, limits=cast.plan.limits, is_public=True, price_micro=1
    )
    Coupon.objects.create(code="EVIL", kind=CouponKind.CREDIT, value=1, created_at=clock.now())
    UsageEvent.objects.create(
        job_id=1,
        account=cast.account,
        api_key=cast.key,
        day=clock.now().date(),
        calls=1,
        images=1,
        pixels=1,
        checkpoint=EVIL,
        kind="txt2img",
        funding=Source.PLAN,
        at=clock.now(),
    )


def test_no_page_runs_what_somebody_typed(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    fill_with_evil(cast, clock)

    seen = 0
    for path in PAGES:
        html = ada.get(path).content.decode()
        assert "<img src=x" not in html, path
        assert "<script>alert" not in html, path
        assert inline_code(html) == [], path
        seen += html.count("&lt;img src=x") + html.count("\\u003Cimg src=x")
    # Without it, a page that shows nothing would pass.
    assert seen >= len(PAGES)


def test_what_a_form_sends_comes_back_harmless(ada: Client) -> None:
    form = {"name": EVIL + "x" * 100, "time_zone": EVIL, "safety": EVIL, "retention_days": EVIL}

    html = ada.post("/portal/settings", form).content.decode()

    assert "<img src=x" not in html


def test_addresses_of_pages_come_back_harmless(ada: Client) -> None:
    for path in ("/portal/usage", "/portal/billing/statement", "/portal/jobs"):
        html = ada.get(path, {"range": EVIL, "by": EVIL, "before": EVIL, "state": EVIL}).content.decode()
        assert "<img src=x" not in html, path
