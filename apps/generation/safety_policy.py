"""What is looked at before it is made and before it is delivered: the account's rule, and the caller's wish.

The prompt is judged at submit, images in the worker. Prompts that sexualise minors are refused whatever the
rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from django.conf import settings

from apps.accounts.choices import SafetyRule
from apps.accounts.models import Account
from apps.catalog.choices import Kind as EntryKind
from apps.generation.choices import Kind, Replacement
from apps.generation.errors import PromptBlocked
from apps.generation.finding import require_of
from apps.generation.prompt_safety import PromptVerdict, check_prompt
from apps.generation.request import GenerationRequest
from apps.generation.used import UsedCheck

UNSUITABLE: Final = 0.5
"""The score from which an image is unsuitable."""
PASSED: Final = "passed"
FLAGGED: Final = "flagged"
REPLACED: Final = "replaced"
BLOCKED: Final = "blocked"
BLOCKED_CODE: Final = "blocked_content"
"""Of the fault by which the check fails a job."""

UNCHECKED_KINDS: Final = frozenset({Kind.DETECT, Kind.MASK, Kind.CAPTION})
"""Kinds whose result is a map, a mask or words."""


def rule_of(account: Account) -> SafetyRule:
    """The account's own rule, else the installation's."""
    return SafetyRule(account.safety or settings.SAFETY)


def judge_prompt(*, account: Account, request: GenerationRequest) -> dict[str, object]:
    """What the job's result says of the prompt: the rule and the terms that were found; {} without any.

    A check makes nothing of its prompt: it says what would become of it instead. Raises PromptBlocked.
    """
    later = request.hires.prompt if request.hires else None
    verdict = check_prompt("\n".join((request.prompt, later or "", request.text)))
    rule = rule_of(account)
    if request.kind is Kind.NSFW_CHECK:
        return _said_of(verdict, rule) if request.prompt.strip() else {}
    if verdict.is_minor_sexual:
        raise PromptBlocked(reason="it sexualises minors")
    if verdict.is_nsfw and rule is SafetyRule.BLOCK:
        raise PromptBlocked(reason=f"found: {', '.join(verdict.matched)}")
    if not verdict.is_nsfw or rule is SafetyRule.OFF:
        return {}
    return {"rule": rule.value, "prompt": FLAGGED, "terms": list(verdict.matched)}


def _said_of(verdict: PromptVerdict, rule: SafetyRule) -> dict[str, object]:
    """For who asks for nothing else."""
    said = FLAGGED if verdict.is_nsfw else PASSED
    if verdict.is_minor_sexual or (verdict.is_nsfw and rule is SafetyRule.BLOCK):
        said = BLOCKED
    return {"rule": rule.value, "prompt": said, "terms": list(verdict.matched)}


def judgement_of(notes: Iterable[Mapping[str, Any]]) -> str:
    """What became of a job's images, by the check's notes on each (JSON); "" where there was no check."""
    checked = [note for note in notes if "nsfw" in note]
    if any(note.get("is_replaced") for note in checked):
        return REPLACED
    if any(note.get("is_nsfw", note["nsfw"] >= UNSUITABLE) for note in checked):
        return FLAGGED
    return PASSED if checked else ""


def choose_check(*, account: Account, request: GenerationRequest) -> UsedCheck | None:
    """How the images of a request are looked at; None is not at all. Raises ModelNotInstalled."""
    rule, wish = rule_of(account), request.safety
    is_asked = request.kind is Kind.NSFW_CHECK or (wish is not None and wish.is_checked)
    if request.kind in UNCHECKED_KINDS or not (is_asked or rule is not SafetyRule.OFF):
        return None
    if request.kind is Kind.NSFW_CHECK and request.image is None:
        # Of a prompt alone, which is judged by its words.
        return None
    model = require_of(
        account=account,
        role="model",
        kind=EntryKind.SAFETY,
        variants=("image",),
        title="safety classifier of images",
    )
    if request.kind is Kind.NSFW_CHECK:
        # The caller wants the figure, whatever becomes of such images elsewhere.
        return UsedCheck(assets=(model,))
    replacement = wish.replacement if wish is not None and wish.is_checked else Replacement.NONE
    if rule is SafetyRule.BLUR and replacement is Replacement.NONE:
        replacement = Replacement.BLUR
    return UsedCheck(assets=(model,), replacement=replacement, is_blocking=rule is SafetyRule.BLOCK)
