"""What the command line tells of the fields of a job.

Made by `python -m tests.tools.client_schema`; not edited by hand.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fact:
    """One field; `part.field` is inside an object, `list[]` an item."""

    kind: str
    """integer, number, string, boolean or picture."""
    meaning: str
    choices: tuple[str, ...] = ()
    lowest: float | None = None
    highest: float | None = None


FACTS: Mapping[str, Fact] = {
    "kind": Fact(
        "string",
        "what is asked for; default: txt2img",
        choices=(
            "txt2img",
            "img2img",
            "inpaint",
            "outpaint",
            "controlnet",
            "edit",
            "upscale",
            "remove_background",
            "object_removal",
            "face_swap",
            "detect",
            "caption",
            "mask",
            "nsfw_check",
        ),
    ),
    "model": Fact("string", "name or alias of the model; needed by kinds that denoise"),
    "prompt": Fact("string", "what to show; needed by kinds that denoise; nsfw_check: what is judged"),
    "negative_prompt": Fact("string", "what not to show; default: the model's own"),
    "width": Fact("integer", "pixels; default: the picture's, else the model's own", lowest=64, highest=2048),
    "height": Fact(
        "integer", "pixels; default: the picture's, else the model's own", lowest=64, highest=2048
    ),
    "aspect_ratio": Fact("string", "decides the sides that are not given"),
    "num_images": Fact("integer", "image i uses seed + i; default: 1", lowest=1, highest=15),
    "steps": Fact("integer", "default: the model's own", lowest=1, highest=150),
    "guidance_scale": Fact("number", "default: the model's own", lowest=0.0, highest=30.0),
    "true_guidance_scale": Fact(
        "number",
        "by the negative prompt, for models that take guidance_scale as an input; default: none",
        lowest=1.0,
        highest=30.0,
    ),
    "seed": Fact("integer", "default: drawn, and reported", lowest=0, highest=4294967295),
    "variation.seed": Fact(
        "integer", "the second seed; default: drawn, and reported", lowest=0, highest=4294967295
    ),
    "variation.strength": Fact(
        "number", "0 is the noise of the first seed, 1 of the second; default: 0", lowest=0.0, highest=1.0
    ),
    "variation.from_width": Fact(
        "integer", "begin with the noise of an image of this size", lowest=64, highest=2048
    ),
    "variation.from_height": Fact("integer", "beside from_width", lowest=64, highest=2048),
    "sampler": Fact(
        "string",
        "default: the model's own",
        choices=(
            "euler",
            "euler_a",
            "heun",
            "lms",
            "ipndm",
            "kdpm2",
            "kdpm2_a",
            "dpm_fast",
            "dpm_adaptive",
            "dpmpp_2m",
            "dpmpp_2m_sde",
            "dpmpp_2m_sde_heun",
            "dpmpp_3m_sde",
            "dpmpp_2s",
            "dpmpp_2s_a",
            "dpmpp_sde",
            "restart",
            "deis",
            "unipc",
            "ddim",
            "ddpm",
            "pndm",
            "lcm",
        ),
    ),
    "schedule": Fact(
        "string",
        "with a sampler; default: the model's own",
        choices=(
            "automatic",
            "uniform",
            "normal",
            "sgm_uniform",
            "simple",
            "ddim",
            "karras",
            "exponential",
            "polyexponential",
            "kl_optimal",
            "align_your_steps",
            "beta",
        ),
    ),
    "clip_skip": Fact("integer", "layers left out; default: 0", lowest=0, highest=11),
    "prompt_style": Fact("string", "how prompts are read; default: plain", choices=("plain", "weighted")),
    "seamless": Fact("boolean", "copies side by side show no seam; default: false"),
    "tier": Fact(
        "string",
        "what is given up for speed or paid for sameness; default: standard",
        choices=("standard", "exact", "fast"),
    ),
    "previews": Fact("boolean", "events show what it looks like so far; default: false"),
    "loras[].name": Fact("string", "in the catalogue"),
    "loras[].scale": Fact("number", "as trained is 1; default: 1", lowest=-4.0, highest=4.0),
    "embeddings[]": Fact("string", "textual inversions; default: none"),
    "vae": Fact("string", "an autoencoder in place of the model's own"),
    "image": Fact("picture", "to begin from, to change, to enlarge, to look at"),
    "mask": Fact("picture", "white is made anew"),
    "mask_options.inverted": Fact("boolean", "black is made anew instead of white; default: false"),
    "mask_options.blur_px": Fact(
        "integer", "radius by which the edge is softened; default: 0", lowest=0, highest=256
    ),
    "mask_options.grow_px": Fact(
        "integer", "how far the white reaches out; default: 0", lowest=0, highest=256
    ),
    "mask_options.from_alpha": Fact("boolean", "transparent counts as white; default: false"),
    "mask_options.fill": Fact(
        "string", "what lies under the mask; default: original", choices=("original", "blur", "noise", "grey")
    ),
    "mask_options.only_masked": Fact("boolean", "work on the mask's surroundings alone; default: false"),
    "mask_options.padding_px": Fact(
        "integer", "with only_masked: how much around it is seen; default: 32", lowest=0, highest=256
    ),
    "references[]": Fact("picture", "pictures to edit from"),
    "strength": Fact("number", "how much of the image is redone", lowest=0.0, highest=1.0),
    "mix.share": Fact(
        "number",
        "of the prompt in each mixture, the rest is the image; default: 0.5",
        lowest=0.0,
        highest=1.0,
    ),
    "mix.until": Fact(
        "number",
        "share of the steps left to the prompt, at most strength; default: 0.3",
        lowest=0.0,
        highest=1.0,
    ),
    "resize": Fact(
        "string", "how pictures take the asked size; default: stretch", choices=("stretch", "crop", "pad")
    ),
    "expand.left": Fact("integer", "pixels; default: 0", lowest=0, highest=2048),
    "expand.right": Fact("integer", "pixels; default: 0", lowest=0, highest=2048),
    "expand.top": Fact("integer", "pixels; default: 0", lowest=0, highest=2048),
    "expand.bottom": Fact("integer", "pixels; default: 0", lowest=0, highest=2048),
    "expand.overlap_px": Fact(
        "integer", "how far the new reaches into the old; default: 16", lowest=0, highest=256
    ),
    "controls[].picture": Fact("picture", "to follow, or to make the map of"),
    "controls[].type": Fact(
        "string",
        "kind of map",
        choices=(
            "canny",
            "softedge",
            "scribble",
            "lineart",
            "openpose",
            "depth",
            "normal",
            "segmentation",
            "mlsd",
            "tile",
            "shuffle",
            "blur",
            "gray",
            "inpaint",
            "threshold",
            "face",
        ),
    ),
    "controls[].resolution_px": Fact(
        "integer", "shorter side it works at; default: 512", lowest=64, highest=2048
    ),
    "controls[].threshold_a": Fact("number", "the detector's own", lowest=0.0, highest=1000.0),
    "controls[].threshold_b": Fact("number", "the detector's own", lowest=0.0, highest=1000.0),
    "controls[].model": Fact(
        "string", "ControlNet by name; default: the one of this type and of the model's family"
    ),
    "controls[].is_hint": Fact("boolean", "the picture is the map itself; default: false"),
    "controls[].scale": Fact("number", "how much it counts; default: 1", lowest=0.0, highest=5.0),
    "controls[].start": Fact(
        "number", "share of the steps after which it begins to act; default: 0", lowest=0.0, highest=1.0
    ),
    "controls[].end": Fact(
        "number", "share of the steps after which it no longer acts; default: 1", lowest=0.0, highest=1.0
    ),
    "controls[].balance": Fact(
        "string", "what counts more; default: balanced", choices=("balanced", "prompt", "control")
    ),
    "ip_adapters[].name": Fact("string", "in the catalogue"),
    "ip_adapters[].pictures[]": Fact("picture", "to prompt with"),
    "ip_adapters[].scale": Fact("number", "how much they count; default: 0.6", lowest=0.0, highest=2.0),
    "refiner.model": Fact("string", "that does the last steps"),
    "refiner.switch_at": Fact(
        "number", "share of the steps that the first model does; default: 0.8", lowest=0.0, highest=1.0
    ),
    "hires.scale": Fact("number", "above 1; default: 2", lowest=1.0, highest=4.0),
    "hires.width": Fact("integer", "instead of scale", lowest=64, highest=2048),
    "hires.height": Fact("integer", "instead of scale", lowest=64, highest=2048),
    "hires.steps": Fact(
        "integer", "of the second pass; default: as many as the first has", lowest=1, highest=150
    ),
    "hires.strength": Fact(
        "number", "how much of the second pass is new; default: 0.7", lowest=0.0, highest=1.0
    ),
    "hires.upscaler": Fact("string", "by name, or nearest, lanczos or latent; default: lanczos"),
    "hires.prompt": Fact("string", "of the second pass; default: that of the first"),
    "hires.negative_prompt": Fact("string", "of the second pass; default: that of the first"),
    "hires.sampler": Fact(
        "string",
        "of the second pass; default: that of the first",
        choices=(
            "euler",
            "euler_a",
            "heun",
            "lms",
            "ipndm",
            "kdpm2",
            "kdpm2_a",
            "dpm_fast",
            "dpm_adaptive",
            "dpmpp_2m",
            "dpmpp_2m_sde",
            "dpmpp_2m_sde_heun",
            "dpmpp_3m_sde",
            "dpmpp_2s",
            "dpmpp_2s_a",
            "dpmpp_sde",
            "restart",
            "deis",
            "unipc",
            "ddim",
            "ddpm",
            "pndm",
            "lcm",
        ),
    ),
    "hires.schedule": Fact(
        "string",
        "with a sampler of the second pass",
        choices=(
            "automatic",
            "uniform",
            "normal",
            "sgm_uniform",
            "simple",
            "ddim",
            "karras",
            "exponential",
            "polyexponential",
            "kl_optimal",
            "align_your_steps",
            "beta",
        ),
    ),
    "upscale.factor": Fact("integer", "2, 3, 4 or 8; default: 4 if no side is given", lowest=2, highest=8),
    "upscale.width": Fact("integer", "instead of factor", lowest=1, highest=8192),
    "upscale.height": Fact("integer", "instead of factor", lowest=1, highest=8192),
    "upscale.upscaler": Fact("string", "in the catalogue, or lanczos; default: realesrgan-x4plus"),
    "upscale.enhance_faces": Fact("boolean", "faces as well; default: false"),
    "background.picture": Fact("picture", "to put behind; default: nothing, which is transparent"),
    "background.colour": Fact("string", "#rrggbb to put behind"),
    "background.only_mask": Fact("boolean", "give the mask instead; default: false"),
    "background.inverse_mask": Fact("boolean", "remove what stands in front instead; default: false"),
    "background.post_process_mask": Fact("boolean", "smooth the mask; default: false"),
    "background.alpha_matting": Fact("boolean", "finer edges; default: false"),
    "background.alpha_matting_foreground_threshold": Fact(
        "integer", "surely front; default: 240", lowest=0, highest=255
    ),
    "background.alpha_matting_background_threshold": Fact(
        "integer", "surely behind; default: 20", lowest=0, highest=255
    ),
    "background.alpha_matting_erode_size": Fact("integer", "pixels; default: 5", lowest=0, highest=100),
    "faces[].model": Fact(
        "string", "by name, or gfpgan, codeformer or restoreformer; default: any installed"
    ),
    "faces[].visibility": Fact(
        "number", "how much of the restored face is seen; default: 1", lowest=0.0, highest=1.0
    ),
    "faces[].weight": Fact(
        "number", "codeformer: 0 restores the most, 1 the least; default: 0.5", lowest=0.0, highest=1.0
    ),
    "faces[].after_upscale": Fact("boolean", "in the enlarged image; default: false"),
    "face_swap.source": Fact("picture", "whose face it shall be"),
    "face_swap.reference": Fact("picture", "which face is replaced; with which: reference"),
    "face_swap.which": Fact(
        "string", "faces that are replaced; default: largest", choices=("largest", "reference", "all")
    ),
    "detect.type": Fact(
        "string",
        "kind of map",
        choices=(
            "canny",
            "softedge",
            "scribble",
            "lineart",
            "openpose",
            "depth",
            "normal",
            "segmentation",
            "mlsd",
            "tile",
            "shuffle",
            "blur",
            "gray",
            "inpaint",
            "threshold",
            "face",
        ),
    ),
    "detect.resolution_px": Fact(
        "integer", "shorter side it works at; default: 512", lowest=64, highest=2048
    ),
    "detect.threshold_a": Fact("number", "the detector's own", lowest=0.0, highest=1000.0),
    "detect.threshold_b": Fact("number", "the detector's own", lowest=0.0, highest=1000.0),
    "text": Fact("string", "mask, object_removal: what to find; caption: short, normal or long"),
    "safety.check": Fact("boolean", "look for unsuitable content; default: as the account's rule says"),
    "safety.replacement": Fact(
        "string",
        "what is shown instead; default: the image itself",
        choices=("blur", "sensitive_content_text", "pixelate", "black"),
    ),
    "output.media_type": Fact(
        "string", "default: image/png", choices=("image/png", "image/jpeg", "image/webp")
    ),
    "output.quality": Fact("integer", "of JPEG and WebP; default: 95", lowest=1, highest=100),
    "output.marked": Fact("boolean", "the file says that it was made by a model; default: true"),
    "track_id": Fact("string", "a mark of your own, to find the job by"),
    "webhook": Fact("string", "address that is told when the job has ended"),
}
