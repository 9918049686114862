"""The pages of the guides: whole, linked with one another, closed where the operator closes them."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from apps.api.reference import guides
from apps.api.reference.document import all_operations
from apps.api.reference.guides import OTHER_FILES, SECTIONS, SERVER, SLUGS, file_of
from apps.api.reference.markdown import SAMPLE_LANGUAGES, render_page
from tests.apps.api.client import ApiClient
from tests.cast import Cast
from tests.guides.samples import ALL, RECEIVES, indented_code, samples_of

PAGES = ("/docs", "/docs/guides", "/v1/openapi.json", "/docs/postman.json", "/docs/guides/upscale")
WITHOUT_CODE = frozenset({"error-codes", "keys-and-billing"})
"""A list to look something up in, and what people do in the portal."""


@pytest.fixture
def anybody(cast: Cast) -> ApiClient:
    return ApiClient(None)


class Links(HTMLParser):
    """Where a page leads, and what can be led to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.targets: list[str] = []
        self.ids: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids.add(given.get("id") or "")
        if tag == "a":
            self.targets.append(given.get("href") or "")


@pytest.mark.parametrize("slug", SLUGS)
def test_a_guide_is_a_page_that_needs_nothing_from_elsewhere(slug: str, anybody: ApiClient) -> None:
    response = anybody.get(f"/docs/guides/{slug}")
    html = response.content.decode()

    assert response.status_code == 200
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert not re.findall(r"""(?:src|srcset)\s*=|<link[^>]+href="(?!data:)|@import|url\(""", html)
    assert guides.guide(slug).title in html
    assert SERVER not in html
    assert "<!-- expect" not in html


@pytest.mark.parametrize("slug", SLUGS)
def test_links_lead_somewhere(slug: str) -> None:
    ids = {each.id for each in all_operations()}
    page = Links(guides.guide(slug).html)

    for target in page.targets:
        path, _, anchor = target.partition("#")
        if path.startswith("/docs/guides/"):
            other = Links(guides.guide(path.removeprefix("/docs/guides/")).html)
            assert not anchor or anchor in other.ids, target
        elif path == "/docs":
            assert not anchor or anchor in ids, target
        elif not path:
            assert anchor in page.ids, target
        else:
            assert path.startswith("https://") or path in ("/console/", "/docs/guides"), target


def test_every_guide_is_in_the_list_and_every_file_is_a_guide(anybody: ApiClient) -> None:
    html = anybody.get("/docs/guides").content.decode()

    assert all(
        f'href="/docs/guides/{slug}"' in html and name in html
        for name, slugs in SECTIONS.items()
        for slug in slugs
    )
    written = {path.stem for path in (guides.FOLDER / "guides").iterdir()}
    assert written == set(SLUGS) - OTHER_FILES.keys()


@pytest.mark.parametrize("slug", sorted(set(SLUGS) - WITHOUT_CODE))
def test_samples_are_in_every_language_and_say_what_to_expect(slug: str) -> None:
    samples = list(samples_of(slug))

    assert samples
    for number in {sample.number for sample in samples}:
        same = [sample for sample in samples if sample.number == number]
        # curl is no server.
        needed = ["python", "javascript"] if RECEIVES in same[0].expected else [*SAMPLE_LANGUAGES]
        assert [sample.language for sample in same] == needed
        assert all(sample.expected for sample in same)


@pytest.mark.parametrize("slug", SLUGS)
def test_code_is_fenced_so_that_no_test_overlooks_it(slug: str) -> None:
    assert indented_code(file_of(slug).read_text(encoding="utf-8")) == []


def test_indented_code_is_found() -> None:
    assert indented_code("# T\n\n    curl x\n\n```console\nls\n```\n") == ["curl x\n"]
    assert indented_code("# T\n\n- one\n\n      curl y\n") == ["curl y\n"]


def test_samples_read_address_and_key_from_the_environment() -> None:
    for sample in ALL:
        assert "dkr_" not in sample.code, sample.id
        assert "darkroom.example" not in sample.code, sample.id


def test_addresses_are_those_of_the_reader(anybody: ApiClient) -> None:
    html = anybody.http.get(
        "/docs/guides/getting-started", headers={"Host": "box.local:8000"}
    ).content.decode()

    assert "DARKROOM_URL" in html
    assert "http://box.local:8000/downloads/simple" in html.replace("</span>", "").replace(
        '<span class="o">', ""
    )


def test_what_is_no_guide_is_not_found(anybody: ApiClient) -> None:
    assert anybody.get("/docs/guides/../errors").status_code == 404
    assert anybody.get("/docs/guides/nothing").status_code == 404
    with pytest.raises(LookupError):
        file_of("../settings")


def test_titles_and_leads_read_as_text() -> None:
    page = render_page(
        "# The `key`\n\nSee [the list](/x) of `keys`.\n\n## One `more`\n\n| a |\n|---|\n| b |\n"
    )

    assert (page.title, page.lead) == ("The key", "See the list of keys.")
    assert page.headings == (("one-more", "One more"),)
    assert '<div class="wide"><table>' in page.html
    with pytest.raises(ValueError, match="one title"):
        render_page("no title")


def test_code_cannot_become_markup() -> None:
    page = render_page("# T\n\n```curl\necho '</code><script>'\n```\n\n<!-- a comment -->\n\n`<b>`\n")

    assert "<script>" not in page.html
    assert "comment" not in page.html
    assert 'role="tab"' in page.html


@pytest.mark.parametrize("path", PAGES)
def test_docs_are_open_unless_the_operator_closes_them(
    path: str, anybody: ApiClient, cast: Cast, settings: Any
) -> None:
    answer = anybody.get(path)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "public, max-age=300")

    settings.PUBLIC_DOCS = False
    refused = anybody.get(path)
    assert (refused.status_code, refused.json()["code"]) == (401, "api_key_missing")
    assert anybody.get(path, Authorization="Bearer dkr_nobody").status_code == 401
    sent_on = anybody.get(path, Accept="text/html,*/*")
    assert (sent_on.status_code, sent_on["Location"]) == (
        302,
        f"/console/login/?next={path.replace('/', '%2F')}",
    )
    with_key = ApiClient(cast.key_text).get(path)
    assert (with_key.status_code, with_key["Cache-Control"]) == (200, "private, max-age=300")
    anybody.http.force_login(cast.otto)
    assert anybody.get(path).status_code == 200
