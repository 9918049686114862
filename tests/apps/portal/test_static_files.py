"""What browsers load: from this server alone, fresh after an upgrade, and nothing that is inline."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders
from django.templatetags.static import static
from django.test import Client

from tests.cast import Cast

REPOSITORY = Path(__file__).resolve().parents[3]
STATIC = REPOSITORY / "apps/portal/static"
TEMPLATES = REPOSITORY / "templates"
PORTAL_TEMPLATES = ("portal", "account", "mfa", "usersessions", "socialaccount", "allauth")
ADDRESS = re.compile(
    r"""(?:src|href|action|content)=["'](https?:)?//|url\(\s*["']?(https?:)?//|@import|fetch\(["']http"""
)
ICON = re.compile(r"""\{% icon "([^"]+)"|icon_name="([^"]+)"|icon="([a-z0-9-]+)\"""")
TEXT = (".css", ".js", ".html", ".svg")
PAGES = (
    "/",
    "/pricing",
    "/accounts/login/",
    "/portal",
    "/portal/usage",
    "/portal/billing",
    "/portal/settings",
)


def portal_templates() -> Iterator[Path]:
    for folder in PORTAL_TEMPLATES:
        yield from (TEMPLATES / folder).rglob("*.html")


def test_no_file_names_another_machine() -> None:
    for path in [*STATIC.rglob("*"), *portal_templates()]:
        # Licences and comments of others name their homes; nobody asks for these.
        if path.suffix in TEXT and "vendor" not in path.parts:
            found = ADDRESS.search(path.read_text())
            assert found is None, f"{path}: {found[0]}"


def test_vendored_styles_and_scripts_load_nothing() -> None:
    for path in STATIC.rglob("vendor/**/*"):
        if path.is_file() and path.suffix in (".css", ".js"):
            text = path.read_text()
            assert not re.search(r"url\(\s*[\"']?https?://|@import|sourceMappingURL", text), path


@pytest.mark.parametrize("path", PAGES)
def test_no_page_asks_another_machine(ada: Client, path: str) -> None:
    html = ada.get(path, follow=True).content.decode()

    assert re.findall(r'(?:src|srcset|poster|action)="(?:https?:)?//[^"]*"', html) == []
    assert re.findall(r'<link[^>]+href="(?:https?:)?//[^"]*"', html) == []


@pytest.mark.parametrize("path", PAGES)
def test_pages_run_and_show_nothing_inline(ada: Client, path: str) -> None:
    policy = ada.get(path, follow=True)["Content-Security-Policy"]

    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == directives["style-src"] == directives["form-action"] == "'self'"
    assert directives["frame-ancestors"] == directives["base-uri"] == "'none'"


def test_answers_that_are_data_carry_no_policy_of_pages(client: Client, cast: Cast) -> None:
    assert "Content-Security-Policy" not in client.get("/healthz")


def test_the_docs_keep_their_own_policy_and_the_console_its_scripts(client: Client, cast: Cast) -> None:
    client.force_login(cast.otto)

    assert "style-src 'unsafe-inline'" in client.get("/docs/guides")["Content-Security-Policy"]
    assert "script-src 'self' 'unsafe-inline'" in client.get("/console/")["Content-Security-Policy"]


def test_the_address_of_a_file_changes_with_its_contents() -> None:
    name = "portal/portal.css"
    found = finders.find(name)
    assert isinstance(found, str)

    digest = hashlib.sha256(Path(found).read_bytes()).hexdigest()

    assert static(name) == f"/static/{name}?v={digest[:10]}"


def test_a_file_that_is_missing_has_a_plain_address() -> None:
    assert static("portal/missing.css") == "/static/portal/missing.css"


def test_every_file_that_a_template_names_is_there() -> None:
    for path in portal_templates():
        for name in re.findall(r"""\{% static ["']([^"']+)["'] %\}""", path.read_text()):
            assert finders.find(name), f"{path} names {name}"


def test_every_icon_that_is_named_is_in_the_file_of_icons() -> None:
    known = set(
        re.findall(r'<symbol id="([^"]+)"', (STATIC / "vendor/bootstrap-icons/icons.svg").read_text())
    )
    sources = [*portal_templates(), *(REPOSITORY / "apps/portal").rglob("*.py")]

    for path in sources:
        for names in ICON.findall(path.read_text()):
            named = next(filter(None, names))
            assert named in known, f"{path} names {named}"


def test_every_vendored_package_has_its_licence() -> None:
    for folder in (STATIC / "vendor").iterdir():
        assert any(path.name.startswith("LICENSE") for path in folder.iterdir()), folder


def test_files_that_browsers_keep_are_asked_for_again_soon() -> None:
    # What a style or a module names has no version in its address.
    assert getattr(settings, "WHITENOISE_MAX_AGE", 60) <= 60
