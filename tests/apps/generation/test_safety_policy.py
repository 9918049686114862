"""What is looked at, what is refused, and what a job's result says of it."""

from __future__ import annotations

from typing import Any

import pytest

from apps.accounts.choices import SafetyRule
from apps.generation.choices import Kind, Replacement
from apps.generation.errors import PromptBlocked
from apps.generation.faults import Failure
from apps.generation.lifecycle import fail_job, lease_of
from apps.generation.resolved import ResolvedRequest
from apps.generation.safety_policy import judgement_of
from apps.generation.wishes import SafetyWish
from tests.apps.generation.studio import Studio, claim_one, on_record, reread, usage, worker_ref
from tests.apps.generation.utilities import make_utilities, picture
from tests.clocks import FrozenClock

UNDRESSED = "a nude woman on a sofa"


def rule(studio: Studio, rule: SafetyRule) -> None:
    studio.account.safety = rule
    studio.account.save()


def submitted(studio: Studio, **fields: Any) -> ResolvedRequest:
    return reread(studio.submit(**fields)).resolved


@pytest.mark.parametrize(
    ("rule", "wish", "expected"),
    [
        (SafetyRule.OFF, None, None),
        (SafetyRule.OFF, SafetyWish(), None),
        (SafetyRule.OFF, SafetyWish(is_checked=True), ("", False)),
        (SafetyRule.OFF, SafetyWish(is_checked=True, replacement=Replacement.BLACK), ("black", False)),
        (SafetyRule.FLAG, None, ("", False)),
        (SafetyRule.BLUR, None, ("blur", False)),
        (SafetyRule.BLUR, SafetyWish(is_checked=True, replacement=Replacement.BLACK), ("black", False)),
        (SafetyRule.BLOCK, None, ("", True)),
    ],
)
def test_images_are_checked_by_the_accounts_rule_and_the_callers_wish(
    studio: Studio, rule: SafetyRule, wish: SafetyWish | None, expected: tuple[str, bool] | None
) -> None:
    make_utilities()
    studio.account.safety = rule
    studio.account.save()
    resolved = submitted(studio, safety=wish, wants_previews=True)
    check = resolved.check
    assert (check and (check.replacement.value, check.is_blocking)) == expected
    # Nobody sees on the way what is not to be seen at the end.
    assert resolved.wants_previews == (expected in (None, ("", False)))


def test_an_account_without_a_rule_has_the_installations(studio: Studio, settings: Any) -> None:
    make_utilities()
    settings.SAFETY = "block"
    assert submitted(studio).check is not None
    studio.account.safety = "off"
    studio.account.save()
    assert submitted(studio).check is None


@pytest.mark.parametrize("installed", list(SafetyRule))
def test_prompts_that_sexualise_minors_are_refused_whatever_the_rule(
    studio: Studio, installed: SafetyRule
) -> None:
    make_utilities()
    rule(studio, installed)
    before = on_record()
    with pytest.raises(PromptBlocked, match=r"content rules \(it sexualises minors\)\.$"):
        studio.submit("a nude child")
    assert on_record() == before


def test_a_blocking_account_refuses_unsuitable_prompts_before_anything_is_reserved(studio: Studio) -> None:
    make_utilities()
    rule(studio, SafetyRule.BLOCK)
    before = on_record()
    with pytest.raises(PromptBlocked, match=r"\(found: nude\)"):
        studio.submit(UNDRESSED)
    assert on_record() == before
    assert studio.submit("a woman on a sofa").pk


@pytest.mark.parametrize("installed", [SafetyRule.FLAG, SafetyRule.BLUR])
def test_other_accounts_hear_of_them_in_the_result(studio: Studio, installed: SafetyRule) -> None:
    make_utilities()
    assert studio.submit(UNDRESSED).result == {}
    rule(studio, installed)
    job = reread(studio.submit(UNDRESSED))
    assert job.result == {"safety": {"rule": installed.value, "prompt": "flagged", "terms": ["nude"]}}


def test_the_text_of_a_mask_is_a_prompt_too(studio: Studio) -> None:
    make_utilities(is_complete=True)
    rule(studio, SafetyRule.BLOCK)
    with pytest.raises(PromptBlocked):
        studio.submit("", kind=Kind.MASK, checkpoint="", image=picture(), text="the nude woman")


@pytest.mark.parametrize(
    ("rule_there", "prompt", "said"),
    [
        (SafetyRule.OFF, "a woman on a sofa", "passed"),
        (SafetyRule.OFF, UNDRESSED, "flagged"),
        (SafetyRule.FLAG, UNDRESSED, "flagged"),
        (SafetyRule.BLOCK, UNDRESSED, "blocked"),
        (SafetyRule.OFF, "a nude child", "blocked"),
    ],
)
def test_a_check_of_a_prompt_says_what_would_become_of_it(
    studio: Studio, rule_there: SafetyRule, prompt: str, said: str
) -> None:
    rule(studio, rule_there)
    job = reread(studio.submit(prompt, kind=Kind.NSFW_CHECK, checkpoint=""))
    assert (job.result["safety"]["rule"], job.result["safety"]["prompt"]) == (rule_there.value, said)
    assert bool(job.result["safety"]["terms"]) == (said != "passed")
    # Words need no network.
    assert job.resolved.check is None


def test_a_check_of_a_picture_alone_says_nothing_of_a_prompt(studio: Studio) -> None:
    make_utilities()
    assert studio.submit("", kind=Kind.NSFW_CHECK, checkpoint="", image=picture()).result == {}


def test_an_image_that_is_blocked_costs_nothing_and_says_so(studio: Studio, clock: FrozenClock) -> None:
    make_utilities()
    rule(studio, SafetyRule.BLOCK)
    studio.submit()
    job = claim_one()
    failure = Failure("blocked_content", "The image was not delivered.")
    fail_job(lease=lease_of(job), failure=failure, worker=worker_ref(), now=clock.now())
    row = reread(job)
    assert (row.state, row.error_code) == ("failed", "blocked_content")
    assert row.result == {"safety": {"images": "blocked"}}
    assert usage(studio.account) == (0, 0)


@pytest.mark.parametrize(
    ("notes", "judgement"),
    [
        ([{}], ""),
        ([{"faces": 2}], ""),
        ([{"nsfw": 0.1, "is_replaced": False}], "passed"),
        ([{"nsfw": 0.1}, {"nsfw": 0.5}], "flagged"),
        ([{"nsfw": 0.9, "is_replaced": True}, {"nsfw": 0.1}], "replaced"),
    ],
)
def test_what_became_of_the_images_is_told_by_the_strictest(
    notes: list[dict[str, Any]], judgement: str
) -> None:
    assert judgement_of(notes) == judgement
