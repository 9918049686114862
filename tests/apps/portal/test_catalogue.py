"""The German words, and ours in place of allauth's: all there, compiled, and with their blanks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import allauth
import polib
import pytest

PORTAL = Path(__file__).resolve().parents[3] / "apps/portal"
FOLDER = PORTAL / "locale/de/LC_MESSAGES"
WORDINGS: Final = {language: PORTAL / f"wording/{language}/LC_MESSAGES" for language in ("en", "de")}
CATALOGUES = (FOLDER, *WORDINGS.values())
ALLAUTH = Path(allauth.__file__).parent / "locale"
# What nobody is shown: the admin's, mails (ours are in templates/account/email), what is not switched on.
NEVER_SHOWN = re.compile(
    r"/email/|models\.py|apps\.py|admin\.py|phone|/providers/|/idp/|headless|layouts/base"
)
TITLE_CASE = re.compile(r"[A-Z][a-z-]+(?: [A-Z][a-z]+)+[?:]?")
SAID_TO_FRIENDS = re.compile(r"\b(?:[Dd]u|[Dd]ir|[Dd]ich|[Dd]ein\w*|bist)\b")
BLANK = re.compile(r"%\([a-z_]+\)[sd]|%[sd]|\{[a-z_]+\}|%%")
RUN = "run deploy/tools/messages"


def catalogue(folder: Path = FOLDER) -> polib.POFile:
    return polib.pofile(str(folder / "django.po"))


def words_of(entry: polib.POEntry) -> list[str]:
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


def test_every_string_has_its_german_words() -> None:
    missing = [entry.msgid for entry in catalogue() if not entry.translated() or entry.fuzzy]

    assert missing == [], f"{len(missing)} strings have no German words; {RUN}"


@pytest.mark.parametrize("folder", CATALOGUES, ids=["portal", "allauth-en", "allauth-de"])
def test_the_words_are_compiled(folder: Path) -> None:
    compiled = polib.mofile(str(folder / "django.mo"))

    assert {entry.msgid: words_of(entry) for entry in compiled} == {
        entry.msgid: words_of(entry) for entry in catalogue(folder) if entry.translated()
    }, RUN


@pytest.mark.parametrize("folder", CATALOGUES, ids=["portal", "allauth-en", "allauth-de"])
def test_words_have_the_same_blanks(folder: Path) -> None:
    for entry in catalogue(folder):
        wanted = set(BLANK.findall(entry.msgid)) | set(BLANK.findall(entry.msgid_plural or ""))
        found = {blank for words in words_of(entry) for blank in BLANK.findall(words)}
        # "a day" names no number where "3 days" does.
        assert found <= wanted and (not entry.translated() or wanted <= found), entry.msgid


def shown_by_allauth(language: str) -> Iterator[polib.POEntry]:
    """Of allauth's own catalogue, what our pages come to show."""
    for entry in catalogue(ALLAUTH / language / "LC_MESSAGES"):
        if not entry.obsolete and any(not NEVER_SHOWN.search(f"/{file}") for file, _ in entry.occurrences):
            yield entry


@pytest.mark.parametrize("language", WORDINGS)
def test_words_stand_in_place_of_words_that_allauth_has(language: str) -> None:
    known = {entry.msgid for entry in catalogue(ALLAUTH / "en/LC_MESSAGES")}

    assert {entry.msgid for entry in catalogue(WORDINGS[language])} - known == set()


def test_words_in_place_of_allauths_do_not_stand_on_our_own_pages() -> None:
    ours = {entry.msgid for entry in catalogue()}
    # In German our own catalogue comes first; in English there is none.
    changed = {entry.msgid for entry in catalogue(WORDINGS["en"]) if entry.msgstr != entry.msgid}

    assert ours & changed == set()


def test_no_heading_or_button_of_allauths_is_in_title_case() -> None:
    ours = {entry.msgid: entry.msgstr for entry in catalogue(WORDINGS["en"])}
    shown = [ours.get(entry.msgid, entry.msgid) for entry in shown_by_allauth("en")]

    assert [words for words in shown if TITLE_CASE.fullmatch(words)] == []


def test_german_pages_of_allauths_speak_to_customers() -> None:
    ours = {entry.msgid: words_of(entry) for entry in (*catalogue(WORDINGS["de"]), *catalogue())}
    shown = [words for entry in shown_by_allauth("de") for words in ours.get(entry.msgid, words_of(entry))]

    assert [words for words in shown if SAID_TO_FRIENDS.search(words)] == []
