"""From the Markdown of a guide to HTML: headings that can be linked to, code with colours, samples with tabs.

Blocks of code in SAMPLE_LANGUAGES that follow one another are one sample in several languages. Comments are
for tests and are left out. Knows nothing about which guides there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby, pairwise
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

SAMPLE_LANGUAGES: Final = {"curl": "curl", "python": "Python", "javascript": "JavaScript"}
"""Of blocks of code -> what their tab says."""
LEXERS: Final = {"curl": "bash", "": "text", "console": "bash"}
"""Words for languages that pygments calls otherwise."""
_LINK: Final = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_NO_WORD: Final = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page that was read."""

    title: str
    lead: str
    """Its first paragraph as text, for lists of pages."""
    html: str
    """Safe: made of our own files alone."""
    headings: tuple[tuple[str, str], ...]
    """Id and text of those of the second level."""


def render_page(text: str) -> Page:
    """Raises ValueError for a page without a title."""
    # Comments are blocks of HTML, which are dropped; nothing else of it is in our pages.
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = [token for token in parser.parse(text) if token.type != "html_block"]
    headings = list(_name_headings(tokens))
    titles = [name for level, _, name in headings if level == "h1"]
    if len(titles) != 1:
        raise ValueError(f"a page has one title, not {len(titles)}")
    parts = [
        _sample(list(group)) if is_sample else _plain(parser, list(group))
        for is_sample, group in groupby(tokens, key=_is_sample)
    ]
    texts = [token.content for token in tokens if token.type == "inline" and token.level == 1]
    return Page(
        title=titles[0],
        lead=next((text for text in map(_without_marks, texts) if text != titles[0]), ""),
        html="".join(parts),
        headings=tuple((anchor, name) for level, anchor, name in headings if level == "h2"),
    )


def _is_sample(token: Token) -> bool:
    return token.type == "fence" and token.info.strip() in SAMPLE_LANGUAGES


def _name_headings(tokens: Sequence[Token]) -> Iterator[tuple[str, str, str]]:
    """Gives each heading its id. Yields level, id and text."""
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            name = _without_marks(inline.content)
            anchor = _NO_WORD.sub("-", name.lower()).strip("-")
            opening.attrSet("id", anchor)
            yield opening.tag, anchor, name


def _without_marks(text: str) -> str:
    """As it reads: no code marks, of links their words alone."""
    return _LINK.sub(r"\1", text).replace("`", "")


def _plain(parser: MarkdownIt, tokens: list[Token]) -> str:
    for token in tokens:
        if token.type in ("fence", "code_block"):
            language = token.info.strip()
            token.type, token.content = "html_block", _block(language, token.content)
    html: str = parser.renderer.render(tokens, parser.options, {})
    # Wide tables scroll by themselves, not the page with them.
    return html.replace("<table>", '<div class="wide"><table>').replace("</table>", "</table></div>")


def _block(language: str, text: str) -> str:
    copy = '<button type="button" class="copy">Copy</button>'
    return f'<div class="code">{copy}<pre tabindex="0"><code>{_coloured(language, text)}</code></pre></div>\n'


def _sample(tokens: list[Token]) -> str:
    """One tab a language, the first of them open."""
    tabs, panels = [], []
    for number, token in enumerate(tokens):
        language = token.info.strip()
        chosen = "true" if number == 0 else "false"
        hidden = "" if number == 0 else " hidden"
        tabs.append(
            f'<button type="button" role="tab" data-language="{language}" aria-selected="{chosen}">'
            f"{SAMPLE_LANGUAGES[language]}</button>"
        )
        panels.append(
            f'<pre role="tabpanel" data-language="{language}" tabindex="0"{hidden}>'
            f"<code>{_coloured(language, token.content)}</code></pre>"
        )
    copy = '<button type="button" class="copy">Copy</button>'
    bar = f'<div class="tabs"><div role="tablist" aria-label="Language">{"".join(tabs)}</div>{copy}</div>'
    return f'<div class="code sample">{bar}{"".join(panels)}</div>\n'


def _coloured(language: str, text: str) -> str:
    lexer = get_lexer_by_name(LEXERS.get(language, language))
    coloured: str = highlight(text, lexer, HtmlFormatter(nowrap=True))
    return coloured


def escaped(text: str) -> str:
    """For places in finished HTML, attributes included."""
    return escape(text, quote=True)
