"""What the safety rules made of a job, for its owner: the decision about prompt and images, and why.

Reads what `safety_policy` and the settler have kept in the job's result; decides nothing. Dialects put it in
their own words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.generation.models import GenerationJob
from apps.generation.safety_policy import BLOCKED, FLAGGED, REPLACED, UNSUITABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Of one image."""

    score: float
    """0 to 1, how unsuitable it looks."""
    is_unsuitable: bool
    is_replaced: bool
    """Whether something else is shown in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetyReport:
    """Of one job of which something was looked at."""

    prompt: str
    """`flagged`, or "" where nothing was found in it; of a check also `passed` and `blocked`."""
    terms: tuple[str, ...]
    """Of the prompt, that were found."""
    images: str
    """`passed`, `flagged`, `replaced` or `blocked`; "" while there are none, and where none are looked at."""
    findings: tuple[Finding, ...]
    """By the image's number; for a check alone, of the picture."""

    @property
    def reason(self) -> str:
        """In a sentence or two; "" where nothing was found."""
        parts = [f"The prompt names: {', '.join(self.terms)}."] if self.terms else []
        if self.prompt == BLOCKED:
            parts.append("No image is made of such a prompt.")
        if self.images == BLOCKED:
            parts.append("An image looks unsuitable, and this account's rule is to block those.")
        unsuitable = [finding.score for finding in self.findings if finding.is_unsuitable]
        if self.images in (FLAGGED, REPLACED) and unsuitable:
            fate = " and replaced" if self.images == REPLACED else ""
            parts.append(
                f"{len(unsuitable)} of {len(self.findings)} images found unsuitable{fate}:"
                f" {max(unsuitable):.2f} of 1, where {UNSUITABLE:g} is the limit."
            )
        return " ".join(parts)


def report_on(job: GenerationJob) -> SafetyReport | None:
    """None for a job of which nothing was looked at, or nothing has been found yet."""
    kept: Mapping[str, Any] = job.result.get("safety", {})  # Any: JSON
    if not kept:
        return None
    return SafetyReport(
        prompt=kept.get("prompt", ""),
        terms=tuple(kept.get("terms", ())),
        images=kept.get("images", ""),
        findings=_findings(job.result),
    )


def _findings(result: Mapping[str, Any]) -> tuple[Finding, ...]:
    notes = [*result.get("images", ()), result.get("notes", {})]
    return tuple(
        Finding(
            score=float(note["nsfw"]),
            is_unsuitable=bool(note.get("is_nsfw", note["nsfw"] >= UNSUITABLE)),
            is_replaced=bool(note.get("is_replaced")),
        )
        for note in notes
        if "nsfw" in note
    )
