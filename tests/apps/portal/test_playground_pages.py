"""The playground's page, and its form made of the API's tables."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.api.native import jobs_fields
from apps.api.native.jobs_fields import FIELDS
from apps.billing.choices import Source
from apps.config.version import REPOSITORY_ROOT
from apps.generation.choices import Kind
from apps.generation.kind_rules import RULES
from apps.portal.playground import fields as playground_fields
from apps.portal.playground.fields import HIDDEN, form_description
from tests.cast import Cast
from tests.factories import png_bytes

PAGE = "/portal/playground"
SCRIPTS = REPOSITORY_ROOT / "apps" / "portal" / "static" / "portal" / "playground"


def page_data(browser: Client, query: str = "") -> dict[str, Any]:
    html = browser.get(f"{PAGE}{query}").content.decode()
    found = re.search(r'<script id="playground-data" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


def test_the_page_has_no_script_of_its_own_in_it(ada: Client) -> None:
    """The policy would not run it."""
    html = ada.get(PAGE).content.decode()

    for attributes in re.findall(r"<script([^>]*)>", html):
        assert "src=" in attributes or 'type="application/json"' in attributes
    assert not re.search(r"\son\w+=|\sstyle=", html)


def test_every_kind_has_a_form_with_what_it_needs() -> None:
    kinds = {row["code"]: row for row in form_description()["kinds"]}

    assert kinds.keys() == {kind.value for kind in Kind}
    names = {row.ours: row.theirs for row in FIELDS}
    for kind, rule in RULES.items():
        shown = kinds[kind.value]
        assert shown["needs"] == [row.theirs for row in FIELDS if row.ours in rule.needs]
        assert set(shown["needs"]) <= set(shown["fields"])
        takes = {names[name] for name in rule.takes if name not in HIDDEN}
        assert takes <= set(shown["fields"])
        assert shown["label"] != kind.value, "a kind needs a name in words"


def test_every_field_of_the_api_has_a_control() -> None:
    described = form_description()
    reachable = {name for kind in described["kinds"] for name in kind["fields"]}

    assert reachable == {row.theirs for row in FIELDS if row.ours not in HIDDEN}
    assert reachable == described["fields"].keys()


def test_a_field_that_the_api_gains_appears_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = next(row for row in FIELDS if row.theirs == "steps")
    new = replace(steps, theirs="zeal_factor", ours="zeal_factor", meaning="how eagerly")
    monkeypatch.setattr(playground_fields, "FIELDS", (*jobs_fields.FIELDS, new))

    described = form_description()

    assert described["fields"]["zeal_factor"]["label"] == "Zeal factor"
    assert described["fields"]["zeal_factor"]["group"] == "advanced"
    assert described["fields"]["zeal_factor"]["control"] == "range"
    [txt2img] = [kind for kind in described["kinds"] if kind["code"] == "txt2img"]
    assert txt2img["fields"][-1] == "zeal_factor"


def test_the_scripts_know_every_control() -> None:
    source = (SCRIPTS / "controls.js").read_text()
    table = source.split("const MAKERS = {")[1].split("};")[0]
    known = set(re.findall(r"^  (\w+):", table, re.MULTILINE))

    def controls(fields: Any) -> set[str]:
        found = {row["control"] for row in fields}
        return found.union(*(controls(row["fields"]) for row in fields if "fields" in row))

    assert controls(form_description()["fields"].values()) <= known


def test_the_scripts_ask_for_words_that_there_are(ada: Client) -> None:
    used = {f"funding_{source.value}" for source in Source} | {"funding_none"}
    for path in SCRIPTS.glob("*.js"):
        used |= set(re.findall(r"\bwords\.(\w+)", path.read_text()))

    assert used == page_data(ada)["words"].keys()


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.js")), ids=lambda path: path.name)
def test_scripts_make_elements_and_no_markup(path: Path) -> None:
    """What a user wrote must never become markup."""
    source = path.read_text()

    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source
    )
    assert len(source.splitlines()) < 300


def test_the_page_speaks_the_readers_language(ada: Client) -> None:
    assert page_data(ada)["words"]["cancel"] == "Cancel"
    assert ada.get(PAGE, headers={"Accept-Language": "de"})["Content-Language"] == "de"


@pytest.mark.parametrize("job", ["", "x", "-1", "9" * 40])
def test_an_address_that_was_changed_is_no_harm(ada: Client, job: str) -> None:
    assert page_data(ada, f"?job={job}")["job"] is None
    assert "<script>x" not in ada.get(f"{PAGE}?kind=<script>x").content.decode()


def test_who_may_only_look_has_no_playground(viewer: Client, cast: Cast) -> None:
    for path in (PAGE, f"{PAGE}/jobs/1"):
        assert viewer.get(path).status_code == 403
    assert viewer.post(f"{PAGE}/picture", png_bytes(), "image/png").status_code == 403


def test_nobody_is_sent_to_sign_in(cast: Cast) -> None:
    response = Client().get(PAGE)

    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/?next=")
