"""Usage: what is counted, by what, in which days; whose; and to take away."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.billing.choices import Source
from apps.billing.models import UsageEvent
from tests.cast import Cast
from tests.clocks import FrozenClock

PAGE = "/portal/usage"


@pytest.fixture
def use(clock: FrozenClock) -> Any:
    """Writes usage of an account; Any: a function with the event's columns as options."""
    numbers = iter(range(1, 1000))

    def write(account: Account, key: ApiKey | None, *, days_ago: int = 0, **fields: Any) -> None:
        values = {
            "calls": 1,
            "images": 2,
            "pixels": 2_000_000,
            "checkpoint": "sdxl",
            "kind": "txt2img",
            "funding": Source.WALLET,
            "price_micro": 4_000,
        }
        UsageEvent.objects.create(
            job_id=next(numbers),
            account=account,
            api_key=key,
            day=clock.now().date() - timedelta(days=days_ago),
            at=clock.now(),
            **(values | fields),
        )

    return write


def chart_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script id="chart-data" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    chart: dict[str, Any] = json.loads(found[1])
    return chart


def test_totals_are_of_the_range_alone(ada: Client, cast: Cast, use: Any) -> None:
    use(cast.account, cast.key)
    use(cast.account, cast.key, days_ago=6, images=3)
    use(cast.account, cast.key, days_ago=7, images=50)

    html = ada.get(PAGE, {"range": "7"}).content.decode()

    values = re.findall(r'<p class="stat-value">([^<]*)</p>', html)
    assert values == ["2", "5", "4", "$0.008"]


def test_a_strangers_usage_is_never_among_it(ada: Client, cast: Cast, use: Any) -> None:
    use(cast.strangers_account, cast.strangers_key)

    html = ada.get(PAGE).content.decode()

    assert "Nothing in these days" in html


@pytest.mark.parametrize(
    ("by", "names"),
    [
        ("kind", ["Text to image", "Upscale"]),
        ("checkpoint", ["sdxl", "none named"]),
        ("funding", ["Wallet", "Plan"]),
    ],
)
def test_the_chart_and_the_table_have_the_same_groups(
    ada: Client, cast: Cast, use: Any, by: str, names: list[str]
) -> None:
    use(cast.account, cast.key)
    use(cast.account, cast.key, days_ago=1)
    use(cast.account, cast.key, kind="upscale", checkpoint="", funding=Source.PLAN, price_micro=0)

    html = ada.get(PAGE, {"by": by, "range": "7"}).content.decode()

    chart = chart_of(html)
    assert [each["name"] for each in chart["series"]] == names
    assert chart["series"][0]["calls"] == [0, 0, 0, 0, 0, 1, 1]
    assert re.findall(r'<td data-label="Name">([^<]*)</td>', html) == names


def test_keys_are_named_and_calls_without_one_are_a_group(ada: Client, cast: Cast, use: Any) -> None:
    use(cast.account, cast.key)
    use(cast.account, cast.key)
    use(cast.account, None)

    chart = chart_of(ada.get(PAGE, {"by": "api_key_id"}).content.decode())

    assert [each["name"] for each in chart["series"]] == [
        f"test key (dkr_{cast.key.prefix}…)",
        "without a key",
    ]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"range": "8"}, "Range must be one of 7, 30, 90, month."),
        ({"by": "colour"}, "By must be one of kind, checkpoint, api_key_id, funding."),
        ({"from": "yesterday"}, "From must be a day such as 2026-03-31."),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "From must not be after the last day."),
        ({"from": "2024-01-01", "to": "2026-03-01"}, "From must be less than 366 days before the last day."),
    ],
)
def test_a_range_that_is_none_is_refused_by_name(ada: Client, query: dict[str, str], problem: str) -> None:
    response = ada.get(PAGE, query)

    assert response.status_code == 400
    assert problem in response.content.decode()


def test_exports_have_every_line_and_what_they_cost(ada: Client, cast: Cast, use: Any) -> None:
    use(cast.account, cast.key)
    use(cast.account, cast.key, kind="upscale", days_ago=1)

    lines = list(csv.DictReader(io.StringIO(ada.get(f"{PAGE}/export.csv").content.decode())))
    rows = ada.get(f"{PAGE}/export.json").json()["usage"]

    assert [(line["kind"], line["calls"], line["price_micro"]) for line in lines] == [
        ("upscale", "1", "4000"),
        ("txt2img", "1", "4000"),
    ]
    assert [{name: str(value) for name, value in row.items()} for row in rows] == lines


def test_an_export_without_usage_is_a_head(ada: Client) -> None:
    text = ada.get(f"{PAGE}/export.csv").content.decode()

    assert text == "day,key,model,kind,funding,calls,images,pixels,price_micro\r\n"


@pytest.mark.parametrize("name", ['=HYPERLINK("https://evil.example")', "@cmd", "+1", "-1"])
def test_a_spreadsheet_does_not_run_the_name_of_a_key(ada: Client, cast: Cast, use: Any, name: str) -> None:
    ApiKey.objects.filter(pk=cast.key.pk).update(name=name, is_portal=True)
    use(cast.account, cast.key)

    [line] = csv.DictReader(io.StringIO(ada.get(f"{PAGE}/export.csv").content.decode()))

    assert line["key"] == f"'{name}"


def test_there_are_no_other_forms_of_export(ada: Client) -> None:
    assert ada.get(f"{PAGE}/export.xlsx").status_code == 404


def test_the_page_asks_as_much_for_a_year_as_for_a_week(
    ada: Client, cast: Cast, use: Any, django_assert_max_num_queries: Any
) -> None:
    for days_ago in range(0, 300, 7):
        use(cast.account, cast.key, days_ago=days_ago)

    with django_assert_max_num_queries(12):
        ada.get(PAGE, {"from": "2025-06-01", "to": "2026-03-02", "by": "api_key_id"})
