"""What the contact sheet shows, one request a row: the one list of its cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.contact_sheet.case import Case
from tests.contact_sheet.denoised import DENOISED
from tests.contact_sheet.worked_on import WORKED_ON

CASES: Final[Sequence[Case]] = (*DENOISED, *WORKED_ON)
