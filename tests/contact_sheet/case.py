"""One request of the contact sheet, as a client of the native API sends it, and what several share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from apps.generation.choices import Kind


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture of `photographs.PHOTOGRAPHS`."""

    name: str


Body = Mapping[str, Any]
"""JSON, but for Photos."""

TINY: Final = (
    "a network with random weights takes the part of one that does not ship: the way is shown, no skill"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request."""

    name: str
    section: str
    body: Body
    needs: tuple[str, ...] = ()
    """Networks of `studio.NETWORKS` that are imported first."""
    is_refused: bool = False
    """Whether the answer should be a refusal, for want of weights that do not ship."""
    remark: str = ""

    @property
    def kind(self) -> Kind:
        return Kind(self.body["kind"])


ASTRONAUT, COFFEE, CAT, ROCKET = Photo("astronaut"), Photo("coffee"), Photo("cat"), Photo("rocket")
MOTORCYCLE, BALLS, PERSON = Photo("motorcycle"), Photo("clay balls"), Photo("another person")
STARTER: Final[Body] = {"model": "starter", "seed": 7}
