"""Which passwords are refused, and how the file of breached ones is read."""

from __future__ import annotations

import random
from hashlib import sha1
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from apps.accounts.breached import BreachedFileUnreadable, breach_count, inspect_list
from apps.accounts.checks import check_breached_passwords, name_breached_passwords
from apps.accounts.models import User
from apps.accounts.passwords import BreachedPasswordValidator, GuessedPasswordValidator
from tests.cast import Cast

WORDS = [f"password number {number}" for number in range(500)]


def digest(password: str) -> str:
    return sha1(password.encode(), usedforsecurity=False).hexdigest().upper()


def write(path: Path, words: list[str], *, end: str = "\r\n", last: bool = True) -> Path:
    """A file as it is downloaded: ordered by digest; the last line may lack its end."""
    lines = [f"{digest(word)}:{number + 1}" for number, word in enumerate(words)]
    text = end.join(sorted(lines))
    path.write_bytes((text + (end if last else "")).encode())
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("size", [1, 2, 3, 500])
def test_every_line_is_found_and_nothing_else(tmp_path: Path, end: str, last: bool, size: int) -> None:
    path = write(tmp_path / "breached.txt", WORDS[:size], end=end, last=last)
    assert [breach_count(word, path=path) for word in WORDS[:size]] == list(range(1, size + 1))
    others = [f"another {random.Random(seed).random()}" for seed in range(200)]
    assert not any(breach_count(word, path=path) for word in others)


@pytest.mark.parametrize("content", [b"", b"hello\nworld\n", b"\x00" * 100, b"A" * 40 + b":many\n"])
def test_a_file_that_is_something_else_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "other.txt"
    path.write_bytes(content)
    # The digest of the last content is not that of the word: only its form can be refused.
    word = "x"
    if content.startswith(b"A"):
        path.write_bytes(digest(word).encode() + b":many\n")
    with pytest.raises(BreachedFileUnreadable, match=r"other\.txt cannot be used"):
        breach_count(word, path=path)


def test_a_missing_file_is_found_by_the_preflight(settings: Any, tmp_path: Path) -> None:
    settings.BREACHED_PASSWORDS = ""
    assert check_breached_passwords(None) == []
    settings.BREACHED_PASSWORDS = str(tmp_path / "none.txt")
    [error] = check_breached_passwords(None)
    assert error.id == "accounts.E001" and "none.txt cannot be used" in error.msg
    assert name_breached_passwords(None) == []


def test_the_list_in_use_is_named_to_operators(
    settings: Any, tmp_path: Path, cast: Cast, client: Client
) -> None:
    client.force_login(cast.otto, backend="django.contrib.auth.backends.ModelBackend")
    page = "/console/accounts/signupsettings/"
    settings.BREACHED_PASSWORDS = ""
    [note] = name_breached_passwords(None)
    assert note.id == "accounts.I001" and "No list of breached passwords is set" in note.msg
    assert "No list of breached passwords is set" in client.get(page).content.decode()
    path = write(tmp_path / "breached.txt", WORDS)
    settings.BREACHED_PASSWORDS = str(path)
    [note] = name_breached_passwords(None)
    assert f"{path} (about " in note.msg and f"{path.stat().st_size:,} bytes" in note.msg
    assert str(path) in client.get(page).content.decode()
    path.unlink()
    assert "Not in use: DARKROOM_BREACHED_PASSWORDS" in client.get(page).content.decode()


@pytest.mark.parametrize("size", [1, 2, 3, 64, 500])
def test_a_list_is_counted_by_its_lines(tmp_path: Path, size: int) -> None:
    found = inspect_list(write(tmp_path / "breached.txt", WORDS[:size]))
    assert found.passwords_about == pytest.approx(size, rel=0.02)


@pytest.mark.parametrize(
    "damage", ["shuffled", "another file at its end", "zeros in the middle", "lower case"]
)
def test_a_damaged_list_is_found_by_the_preflight(settings: Any, tmp_path: Path, damage: str) -> None:
    path = write(tmp_path / "breached.txt", WORDS)
    whole = path.read_bytes()
    half = len(whole) // 2
    if damage == "shuffled":
        lines = whole.splitlines(keepends=True)
        random.Random(1).shuffle(lines)
        path.write_bytes(b"".join(lines))
    elif damage == "another file at its end":
        path.write_bytes(whole + whole)
    elif damage == "cut off":
        path.write_bytes(whole[:-20])
    elif damage == "lower case":
        path.write_bytes(whole.lower())
    else:
        path.write_bytes(whole[:half] + bytes(4096) + whole[half:])
    settings.BREACHED_PASSWORDS = str(path)
    [error] = check_breached_passwords(None)
    assert error.id == "accounts.E001" and "breached.txt cannot be used" in error.msg


def test_a_list_that_went_away_shuts_nobody_out_and_is_logged(
    settings: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.BREACHED_PASSWORDS = str(tmp_path / "none.txt")
    BreachedPasswordValidator().validate(WORDS[42])
    assert "none.txt cannot be used" in caplog.text


def test_a_breached_password_is_refused(settings: Any, tmp_path: Path) -> None:
    settings.BREACHED_PASSWORDS = str(write(tmp_path / "breached.txt", WORDS))
    with pytest.raises(ValidationError, match=r"stolen lists \(43 times\)"):
        BreachedPasswordValidator().validate(WORDS[42])
    BreachedPasswordValidator().validate("not among them")


@pytest.mark.parametrize(
    "password", ["qwertyuiop12", "abcabcabcabc", "12/03/1984 12", "ada@example.com1", "darkroomdarkroom"]
)
def test_what_a_guesser_tries_first_is_refused(password: str) -> None:
    with pytest.raises(ValidationError, match="too easy to guess"):
        GuessedPasswordValidator().validate(password, User(email="ada@example.com"))


@pytest.mark.parametrize(
    "password", ["correct horse battery", "violet tractor umbrella 77", "x" * 10_000 + "K!9"]
)
def test_what_withstands_guessing_is_taken(password: str) -> None:
    if password.startswith("x"):
        # Long repetitions are no better for being long, and are judged quickly.
        with pytest.raises(ValidationError):
            GuessedPasswordValidator().validate(password)
        return
    GuessedPasswordValidator().validate(password, User(email="ada@example.com"))
