"""One example of every kind of request, made by a real appliance and laid out to be looked at.

    python -m tests.contact_sheet FOLDER [--only WORD ...] [--largest-px 0]

Starts an appliance of its own (PostgreSQL, web server, worker) with the starter model and the weights that
ship, sends each request of `cases.py` over HTTP with photographs of scikit-image's wheel, and leaves in
FOLDER: `index.html`, one PNG sheet a section, and every picture under `pictures`. What needs weights that do
not ship is shown with the refusal; where a tiny network with random weights takes a part, the sheet says so.
The whole of it takes five to ten minutes of two cores.

--only takes the cases whose kind, section or name has the word in it. Exits 1 when a request was answered
otherwise than it should be.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.contact_sheet.case import Case
from tests.contact_sheet.cases import CASES
from tests.contact_sheet.sheet import Sheet
from tests.contact_sheet.studio import Result, open_studio


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    options = _parser().parse_args(arguments)
    cases = chosen(options.only)
    if not cases:
        print(f"no case has {' or '.join(options.only)} in its kind, section or name", file=sys.stderr)
        return 2
    sheet = Sheet(options.folder)
    with open_studio(cases, longest_px=options.largest_px, tell=_tell) as studio:
        for number, case in enumerate(cases, 1):
            result = studio.make(case)
            sheet.add(result)
            _tell(f"{number:>3}/{len(cases)}  {case.section}: {case.name}  {_outcome(result)}")
    print(sheet.finish(title="Darkroom contact sheet"))
    surprises = [result for result in sheet.results if not result.is_as_expected]
    for result in surprises:
        print(f"not as expected: {result.case.section}: {result.case.name}: {result.refusal or 'no refusal'}")
    return 1 if surprises else 0


def chosen(words: Sequence[str]) -> Sequence[Case]:
    """The cases that any of the words is for; all of them without words."""
    if not words:
        return CASES
    return [
        case
        for case in CASES
        if any(word.lower() in f"{case.kind.value} {case.section} {case.name}".lower() for word in words)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.contact_sheet",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the sheets go; made if it is not there")
    parser.add_argument("--only", nargs="+", default=[], metavar="WORD", help="cases with one of these words")
    parser.add_argument(
        "--largest-px", type=int, default=0, metavar="PX", help="photographs made no larger; 0 is as they are"
    )
    return parser


def _outcome(result: Result) -> str:
    if result.refusal:
        return f"refused: {result.refusal}"
    sizes = ", ".join(f"{each.shape[1]} x {each.shape[0]}" for each in result.outputs)
    return f"{sizes or 'no picture'}  {result.seconds:.2f} s"


def _tell(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
