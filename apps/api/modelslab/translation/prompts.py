"""Both prompts of a request: as written, with the words of a style, or enhanced."""

from __future__ import annotations

import unicodedata
from typing import Final

from apps.api.modelslab.enhancing import enhance
from apps.api.modelslab.styles import find_style
from apps.api.modelslab.translation.asked import Asked
from apps.core.errors import InvalidField
from gpu_runtime.batching.admission import READ_BY_CLIP

Prompts = tuple[str, str | None]
"""What is wanted, and what is to be avoided: None for the model's own."""

LATIN: Final = "LATIN"
YES: Final = "yes"


def prompts_of(asked: Asked, *, missing: str) -> Prompts:
    """`missing` stands for a prompt that was not sent. Raises InvalidField for one that needs translating."""
    values = asked.values
    prompt: str = values.get("prompt", "") or missing
    negative: str | None = values.get("negative_prompt", None)
    _require_readable(asked, prompt)
    styled = _styled(asked, prompt, negative)
    # A style is an enhancement, and a better one: somebody has chosen it.
    return styled or _enhanced(asked, prompt, negative) or (prompt, negative)


def _styled(asked: Asked, prompt: str, negative: str | None) -> Prompts | None:
    style = find_style(asked.values.get("style", ""))
    if style is None or not prompt.strip():
        return None
    asked.echo["enhance_style"] = asked.values.get("style", "")
    avoided = ", ".join(part for part in (negative, style.avoided) if part)
    return f"{prompt}, {style.wanted}", avoided or negative


def _enhanced(asked: Asked, prompt: str, negative: str | None) -> Prompts | None:
    """Where models read by CLIP, which takes lists of words. Others read sentences, and ignore it there."""
    if not asked.values.get("is_enhanced", False) or asked.checkpoint.family not in READ_BY_CLIP:
        return None
    if negative is None:
        negative = str(asked.checkpoint.defaults.get("negative_prompt", ""))
    enhanced = enhance(prompt, negative)
    if enhanced is None:
        return None
    asked.echo["enhance_prompt"] = YES
    return enhanced.prompt, enhanced.negative_prompt


def _require_readable(asked: Asked, prompt: str) -> None:
    """Nothing here translates: where the model cannot read the letters, the caller has to know."""
    if not asked.values.get("is_multi_lingual", False) or asked.checkpoint.family not in READ_BY_CLIP:
        return
    if any(letter.isalpha() and not unicodedata.name(letter, "").startswith(LATIN) for letter in prompt):
        problem = (
            f"is not offered: {asked.checkpoint.name} reads English, and nothing here translates;"
            " write the prompt in English, or name a model that reads other languages, such as Qwen-Image"
        )
        raise InvalidField(field="multi_lingual", problem=problem)
