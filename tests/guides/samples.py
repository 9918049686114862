"""The samples of the guides, as their readers would copy them, with what is expected of each.

Before a sample stand comments, one an expectation:

    <!-- expect: file fox.png 512x512 -->   it writes this image
    <!-- expect: prints queued|running -->  it prints one of these words
    <!-- expect: receives -->               it is a server that takes webhooks
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from markdown_it import MarkdownIt

from apps.api.reference.guides import SLUGS, file_of
from apps.api.reference.markdown import SAMPLE_LANGUAGES

EXPECT: Final = re.compile(r"<!-- expect: (file|prints|receives) ?(.*?) ?-->")
RECEIVES: Final = ("receives", "")


@dataclass(frozen=True, slots=True)
class Sample:
    """One block of code."""

    guide: str
    number: int
    """Of the sample in its guide; the same in each language."""
    language: str
    code: str
    expected: tuple[tuple[str, str], ...]
    """Kind and words."""

    @property
    def id(self) -> str:
        return f"{self.guide}-{self.number}-{self.language}"


def samples_of(guide: str) -> Iterator[Sample]:
    """In order."""
    parser = MarkdownIt("commonmark", {"html": True})
    expected: list[tuple[str, str]] = []
    number, is_in_sample = 0, False
    for token in parser.parse(file_of(guide).read_text(encoding="utf-8")):
        if token.type == "html_block":
            found = EXPECT.findall(token.content)
            assert found, f"{guide}: {token.content!r} says nothing that a test understands"
            expected = [] if is_in_sample else expected
            expected += [(kind, words) for kind, words in found]
            is_in_sample = False
        elif token.type == "fence" and token.info.strip() in SAMPLE_LANGUAGES:
            number += 0 if is_in_sample else 1
            is_in_sample = True
            yield Sample(guide, number, token.info.strip(), token.content, tuple(expected))
        elif is_in_sample:
            expected, is_in_sample = [], False


def indented_code(text: str) -> list[str]:
    """Blocks of code of a page that are no fences, and so belong to no language."""
    tokens = MarkdownIt("commonmark", {"html": True}).parse(text)
    return [token.content for token in tokens if token.type == "code_block"]


ALL: Final = tuple(sample for guide in SLUGS for sample in samples_of(guide))
