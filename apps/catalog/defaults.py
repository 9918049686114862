"""What a checkpoint fills in where a request is silent: the shape of `CatalogEntry.defaults`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpu_runtime.messages import Sampler
from gpu_runtime.sampler_facts import read_name

REQUIRED = frozenset({"steps", "guidance_scale", "sampler"})
OPTIONAL = frozenset({"negative_prompt"})
MAX_STEPS = 150
MAX_GUIDANCE_SCALE = 50.0


def problem_of_defaults(defaults: Any) -> str | None:
    """What is wrong with a checkpoint's defaults, in words for an operator; None if nothing is.

    Any, since JSON from a form may be anything.
    """
    if not isinstance(defaults, dict):
        return "must be an object"
    wrong = (REQUIRED - defaults.keys()) | (defaults.keys() - REQUIRED - OPTIONAL)
    if wrong:
        return f"missing or unknown: {', '.join(sorted(wrong))}"
    return _problem_of_values(defaults)


def problem_of_overrides(overrides: Mapping[str, Any]) -> str | None:
    """The same for those that an import names itself; the others will come from the model's family."""
    unknown = overrides.keys() - REQUIRED - OPTIONAL
    if unknown:
        return f"unknown: {', '.join(sorted(unknown))}"
    return _problem_of_values(overrides)


def _problem_of_values(given: Mapping[str, Any]) -> str | None:
    steps, guidance = given.get("steps", 1), given.get("guidance_scale", 0)
    # bool is an int to Python, never to us.
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= MAX_STEPS:
        return f"steps must be 1 to {MAX_STEPS}, not {steps!r}"
    is_number = isinstance(guidance, int | float) and not isinstance(guidance, bool)
    if not is_number or not 0 <= guidance <= MAX_GUIDANCE_SCALE:
        return f"guidance_scale must be 0 to {MAX_GUIDANCE_SCALE:g}, not {guidance!r}"
    if "sampler" in given and not _is_sampler(given["sampler"]):
        return (
            f"sampler must be one of {', '.join(Sampler)}, with a schedule as in dpmpp_2m_karras if wanted,"
            f" not {given['sampler']!r}"
        )
    if not isinstance(given.get("negative_prompt", ""), str):
        return "negative_prompt must be text"
    return None


def _is_sampler(name: Any) -> bool:
    if not isinstance(name, str):
        return False
    try:
        read_name(name)
    except ValueError:
        return False
    return True
