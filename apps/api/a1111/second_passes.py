"""What follows the first pass: hires fix, and a refiner."""

from __future__ import annotations

from typing import Any

from apps.accounts.models import Account
from apps.api.a1111.asked import Asked
from apps.api.a1111.errors import BadField
from apps.api.a1111.prompts import read_networks, require_readable
from apps.api.a1111.samplers import choose_sampler
from apps.api.a1111.upscalers import NONE, find_upscaler
from apps.generation.wishes import LANCZOS, LATENT, NEAREST, HiresWish, RefinerWish


def hires_wish(asked: Asked, account: Account) -> HiresWish | None:
    """Raises InvalidField, and Refusal for an upscaler that is not there."""
    if not asked.is_hires:
        return None
    wished = asked.hires_size
    return HiresWish(
        scale=2.0 if wished else asked.get("hr_scale"),
        width=wished[0] if wished else None,
        height=wished[1] if wished else None,
        steps=asked.get("hr_second_pass_steps") or None,
        strength=asked.get("denoising_strength"),
        upscaler=_upscaler(asked.get("hr_upscaler"), account),
        **_prompts(asked, account),
        **_sampling(asked),
    )


def _prompts(asked: Asked, account: Account) -> dict[str, Any]:
    """Those that differ from the first pass's (Any: beside fields of other types). Raises BadField.

    "" is the same, as there.
    """
    words = read_networks(asked.get("hr_prompt"), asked.get("hr_negative_prompt"), account=account)
    # Upstream loads the second prompt's own; here the denoiser keeps those it has.
    if words.loras and words.loras != asked.networks.loras:
        raise BadField("hr_prompt", "names other LoRAs than prompt: the second pass has those of the first")
    given = {"prompt": words.prompt, "negative_prompt": words.negative_prompt}
    different = {
        name: text for name, text in given.items() if text.strip() and text != getattr(asked.networks, name)
    }
    for name, text in different.items():
        require_readable(f"hr_{name}", text, asked.checkpoint)
    return different


def _sampling(asked: Asked) -> dict[str, Any]:
    """Sampler and schedule, each that of the first pass unless said. Any: of two types. Raises Refusal."""
    first = asked.get("sampler_name") or asked.get("sampler_index"), asked.get("scheduler") or ""
    said = _said(asked.get("hr_sampler_name")), _said(asked.get("hr_scheduler"))
    second = said[0] or first[0], said[1] or first[1]
    if second == first:
        return {}
    sampler, schedule = choose_sampler(*second)
    return {"sampler": sampler, "schedule": schedule}


def _said(name: str | None) -> str:
    """ "" for the words that interfaces send for nothing."""
    return "" if not name or name.strip().casefold().startswith("use same ") else name


def later_prompts(wish: HiresWish | None) -> list[str]:
    """What the second pass reads and the first does not."""
    return [text for text in (wish.prompt, wish.negative_prompt) if text] if wish else []


def _upscaler(name: str | None, account: Account) -> str:
    """Latents by default, as there; every one of its six latent modes is one here."""
    folded = (name or LATENT).strip().casefold()
    if folded.startswith(LATENT):
        return LATENT
    if folded == NEAREST:
        return NEAREST
    return find_upscaler(name or NONE, account) or LANCZOS


def refiner_wish(asked: Asked) -> RefinerWish | None:
    """Without a share of the steps, and at the very end, there is nothing for it to do, as there."""
    name, switch_at = asked.refiner
    if not name or switch_at >= 1:
        return None
    return RefinerWish(checkpoint=name, switch_at=switch_at)
