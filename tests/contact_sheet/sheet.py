"""Results as a folder: every picture as a file, one PNG sheet a section, and `index.html` with them all."""

from __future__ import annotations

import html
import json
import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.contact_sheet.case import Photo
from tests.contact_sheet.photographs import Pixels
from tests.contact_sheet.studio import Result

INPUT_PX: Final = 220
OUTPUT_PX: Final = 480
WORDS_PX: Final = 420
GAP_PX: Final = 16
CHECKS_PX: Final = 12
"""Squares that show through what is transparent."""
LINE_CHARS: Final = 58
INK, FAINT, ALARM = (24, 24, 24), (96, 96, 96), (176, 0, 32)

STYLE: Final = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem; color: #181818; background: #fff }
article { border-top: 1px solid #ddd; padding: 1rem 0; display: flex; gap: 1rem; flex-wrap: wrap }
header { width: 26rem } figure { margin: 0 } figcaption { color: #606060; font-size: .85em }
pre { white-space: pre-wrap; background: #f5f5f5; padding: .5rem; font-size: .8em }
.in img { max-width: 14rem; max-height: 14rem } .out img { max-width: 46rem; max-height: 36rem }
.out img { background: repeating-conic-gradient(#ccc 0 25%, #fff 0 50%) 0 0 / 24px 24px }
.refusal { color: #b00020 } .surprise { background: #fff0f0 } .remark { color: #606060 }
"""


@dataclass(slots=True)
class Sheet:
    """Takes results one by one; nothing is shown before `finish`."""

    folder: Path
    results: list[Result] = field(default_factory=list)

    def add(self, result: Result) -> None:
        """Writes its pictures at once, so that an interrupted run leaves what it made."""
        (self.folder / "pictures").mkdir(parents=True, exist_ok=True)
        self.results.append(result)
        for path, picture in self._files(result).items():
            Image.fromarray(picture).save(self.folder / path)

    def finish(self, *, title: str) -> Path:
        """Writes sheets and page; returns the page."""
        for section in self._sections():
            rows = [_row(result) for result in self.results if result.case.section == section]
            _stacked(rows).save(self.folder / f"{_file_name(section)}.png")
        page = self.folder / "index.html"
        page.write_text(self._page(title), encoding="utf-8")
        return page

    def _sections(self) -> Sequence[str]:
        return list(dict.fromkeys(result.case.section for result in self.results))

    def _files(self, result: Result) -> Mapping[str, Pixels]:
        """Where each of its pictures lies, from the folder on; equal inputs lie there once."""
        stem = _file_name(f"{result.case.section} {result.case.name}")
        named = {
            f"pictures/in-{_file_name(place.partition(': ')[2])}.png": each
            for place, each in result.inputs.items()
        }
        return named | {f"pictures/{stem}-{index}.png": each for index, each in enumerate(result.outputs)}

    def _page(self, title: str) -> str:
        parts = [f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{html.escape(title)}</title>"]
        parts.append(f"<style>{STYLE}</style><h1>{html.escape(title)}</h1>")
        for section in self._sections():
            parts.append(f"<h2>{html.escape(section)}</h2>")
            parts += [self._article(each) for each in self.results if each.case.section == section]
        return "\n".join([*parts, "</html>\n"])

    def _article(self, result: Result) -> str:
        words = [f"<h3>{html.escape(result.case.name)}</h3><p>{html.escape(_times(result))}</p>"]
        if result.case.remark:
            words.append(f"<p class='remark'>{html.escape(result.case.remark)}</p>")
        if result.refusal:
            words.append(f"<p class='refusal'>{html.escape(result.refusal)}</p>")
        if result.notes:
            words.append(f"<p>{html.escape(_brief(result.notes))}</p>")
        words.append(f"<pre>{html.escape(request_text(result, indent=2))}</pre>")
        surprise = "" if result.is_as_expected else " class='surprise'"
        figures = [
            f"<figure class='{'in' if 'pictures/in-' in path else 'out'}'>"
            f"<a href='{path}'><img src='{path}' loading='lazy' alt=''></a>"
            f"<figcaption>{picture.shape[1]} x {picture.shape[0]}</figcaption></figure>"
            for path, picture in self._files(result).items()
        ]
        return f"<article{surprise}><header>{''.join(words)}</header>{''.join(figures)}</article>"


def request_text(result: Result, *, indent: int | None = None) -> str:
    """The request as JSON, with the names of pictures in place of them."""

    def named(value: object) -> Any:  # Any: JSON
        assert isinstance(value, Photo)
        return f"({value.name})"

    return json.dumps(result.case.body, indent=indent, default=named)


def _times(result: Result) -> str:
    if not result.outputs and not result.notes:
        return "refused" if result.refusal else "no picture"
    return f"{result.seconds:.2f} s, of it {result.work_seconds:.2f} s of work"


def _brief(notes: Mapping[str, Any]) -> str:
    text = json.dumps(notes)
    return text if len(text) < 400 else text[:400] + " ..."


def _file_name(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _row(result: Result) -> Image.Image:
    """Words, what went in, what came out."""
    tiles = [_words(result)]
    tiles += [_tile(each, INPUT_PX, place) for place, each in result.inputs.items()]
    tiles += [_tile(each, OUTPUT_PX, "") for each in result.outputs]
    width = sum(tile.width + GAP_PX for tile in tiles)
    row = Image.new("RGB", (width, max(tile.height for tile in tiles) + GAP_PX), "white")
    left = 0
    for tile in tiles:
        row.paste(tile, (left, 0))
        left += tile.width + GAP_PX
    return row


def _words(result: Result) -> Image.Image:
    """The request and what was said to it, in a column."""
    lines = [(result.case.name, 18, INK), (_times(result), 13, FAINT)]
    if not result.is_as_expected:
        lines.append(("NOT AS EXPECTED", 16, ALARM))
    for text, colour in (
        (result.case.remark, FAINT),
        (result.refusal, ALARM),
        (_brief(result.notes) if result.notes else "", FAINT),
        (request_text(result), INK),
    ):
        lines += [(line, 13, colour) for line in textwrap.wrap(text, LINE_CHARS)]
    image = Image.new("RGB", (WORDS_PX, sum(size + 6 for _, size, _ in lines) + GAP_PX), "white")
    draw, top = ImageDraw.Draw(image), 0
    for text, size, colour in lines:
        draw.text((4, top), text, fill=colour, font=ImageFont.load_default(size))
        top += size + 6
    return image


def _tile(picture: Pixels, longest_px: int, words: str) -> Image.Image:
    """The picture no larger than that, on checks, with its size below."""
    shown = Image.fromarray(picture).convert("RGBA")
    shown.thumbnail((longest_px, longest_px), Image.Resampling.LANCZOS)
    backed = _checks(shown.width, shown.height)
    backed.paste(shown, (0, 0), shown)
    tile = Image.new("RGB", (longest_px, shown.height + 36), "white")
    tile.paste(backed, (0, 0))
    text = f"{words}\n{picture.shape[1]} x {picture.shape[0]}".strip()
    ImageDraw.Draw(tile).text((0, shown.height + 2), text, fill=FAINT, font=ImageFont.load_default(12))
    return tile


def _checks(width: int, height: int) -> Image.Image:
    down, across = np.mgrid[:height, :width] // CHECKS_PX
    return Image.fromarray(np.where((down + across) % 2, 204, 255).astype(np.uint8)).convert("RGB")


def _stacked(rows: Sequence[Image.Image]) -> Image.Image:
    width, height = max(row.width for row in rows), sum(row.height for row in rows)
    sheet = Image.new("RGB", (width + 2 * GAP_PX, height + 2 * GAP_PX), "white")
    top = GAP_PX
    for row in rows:
        sheet.paste(row, (GAP_PX, top))
        top += row.height
    return sheet
