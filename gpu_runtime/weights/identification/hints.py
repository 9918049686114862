"""Weak evidence: words around a file, used where tensors cannot tell variants apart."""

from __future__ import annotations

from gpu_runtime.weights.family_facts import facts_of
from gpu_runtime.weights.identification.contents import Contents

_FEW_STEPS: tuple[tuple[frozenset[str], str], ...] = (
    (frozenset({"lightning"}), "lightning"),
    (frozenset({"turbo"}), "turbo"),
    (frozenset({"lcm"}), "lcm"),
    (frozenset({"dmd"}), "lightning"),
    (frozenset({"hyper", "sd"}), "lightning"),
    (frozenset({"hyper", "sdxl"}), "lightning"),
    (frozenset({"hyper", "step"}), "lightning"),
    (frozenset({"hyper", "steps"}), "lightning"),
)
"""Words that must all be there -> variant. Hyper-SD and DMD distillations take Lightning's settings: a few
steps, no guidance. "Hyper" alone is more often the beginning of "hyper realistic"."""


def few_steps(contents: Contents, family: str) -> str:
    """The family's variant with settings of its own that the names around the file speak of, "" for none."""
    facts = facts_of(family)
    known = facts.variants if facts is not None and facts.variants else {}
    for words, variant in _FEW_STEPS:
        if variant in known and words <= contents.words:
            return variant
    return next((variant for variant in known if variant in contents.words), "")


def prediction_type(contents: Contents, family: str) -> str:
    """What the denoiser predicts, "" where nothing says so."""
    if "v_pred" in contents.tensors:
        return "v_prediction"
    if "edm_mean" in contents.tensors or "edm_vpred.sigma_max" in contents.tensors:
        return "edm"
    said = contents.metadata.get("modelspec.prediction_type", "").lower()
    if said in ("v", "v_prediction"):
        return "v_prediction"
    if said in ("epsilon", "eps"):
        return "epsilon"
    if contents.says("vpred") or {"v", "pred"} <= contents.words:
        return "v_prediction"
    if family == "sd2":
        return _prediction_of_sd2(contents)
    return "epsilon" if family in ("sd15", "sdxl") else ""


_EPSILON_OF_SD2 = frozenset({"512", "base", "turbo", "inpaint", "inpainting", "depth"})


def _prediction_of_sd2(contents: Contents) -> str:
    """The 512 px base models and turbo predict noise, the 768 px ones velocity."""
    resolution = contents.metadata.get("modelspec.resolution", "")
    if resolution.startswith("768") or "768" in contents.words:
        return "v_prediction"
    if resolution.startswith("512") or contents.words & _EPSILON_OF_SD2:
        return "epsilon"
    return ""
