from __future__ import annotations

from typing import Any

from apps.core.signing import is_genuine, signature


def test_signatures_fit_their_message_and_purpose_alone() -> None:
    mark = signature("links", "1/a.png")

    assert len(mark) == 22
    assert is_genuine("links", "1/a.png", mark)
    assert not is_genuine("links", "1/b.png", mark)
    assert not is_genuine("other", "1/a.png", mark)
    # Where purpose ends and message begins is part of what is signed.
    assert signature("a", "bc") != signature("ab", "c")


def test_signatures_depend_on_the_secret(settings: Any) -> None:
    mark = signature("links", "1/a.png")
    settings.SECRET_KEY = "another"

    assert not is_genuine("links", "1/a.png", mark)


def test_nonsense_is_not_genuine() -> None:
    assert not is_genuine("links", "1/a.png", "")
    assert not is_genuine("links", "1/a.png", "é" * 22)
