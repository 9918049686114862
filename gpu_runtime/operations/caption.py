"""`picture.caption` and `mask.from_text`: by imported BLIP and CLIPSeg networks of transformers, "model"."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from gpu_runtime.errors import PictureUnusable, UnsupportedCombination
from gpu_runtime.operations.context import Context
from gpu_runtime.operations.faces import rgb
from gpu_runtime.preprocessors.imported import Imported, load_imported, load_tokenizer

LENGTHS = {"short": 12, "fast": 12, "normal": 30, "long": 75, "best": 75}
"""Tokens at most, by the words that callers use."""
MOST_TOKENS = 200
FOUND = 0.4
"""Probability from which a pixel belongs to what the text names."""
LEAST_PX = 16


def caption(context: Context) -> Iterator[float]:
    """image -> nothing; notes "caption". `length`: short, normal, long, or the most tokens; greedy."""
    limit = _limit(context)
    imported = context.load("model", _load_reader)
    network, tokenizer = imported.network, imported.tokenizer
    yield 0.1
    seen = network.vision_model(imported.reading.tensor(rgb(context, "image"), context.device))[0]
    config = network.config.text_config
    tokens = torch.tensor([[config.bos_token_id]], device=context.device)
    for count in range(limit):
        yield 0.2 + 0.7 * count / limit
        logits = network.text_decoder(input_ids=tokens, encoder_hidden_states=seen).logits
        chosen = logits[:, -1].argmax(dim=-1, keepdim=True)
        if int(chosen) == config.sep_token_id:
            break
        tokens = torch.cat([tokens, chosen], dim=1)
    context.note("caption", tokenizer.decode(tokens[0, 1:].tolist(), skip_special_tokens=True).strip())
    yield 1.0


def mask_from_text(context: Context) -> Iterator[float]:
    """image -> mask of what `text` names; parts divided by commas are all marked. `threshold`: 0 to 1 (0.4).

    Raises PictureUnusable (nothing_found).
    """
    wanted = [part.strip() for part in context.text("text").split(",") if part.strip()]
    if not wanted:
        raise UnsupportedCombination("mask.from_text needs a text that says what to mark")
    picture = rgb(context, "image")
    imported = context.load("model", _load_marker)
    yield 0.2
    image = imported.reading.tensor(picture, context.device)
    mask = np.zeros(picture.shape[:2], dtype=np.uint8)
    for index, part in enumerate(wanted):
        tokens = imported.tokenizer([part], return_tensors="pt", truncation=True).to(context.device)
        logits = imported.network(
            input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"], pixel_values=image
        ).logits
        likely = functional.interpolate(
            logits.reshape(1, 1, *logits.shape[-2:]).float().sigmoid(), picture.shape[:2], mode="bilinear"
        )
        mask[(likely[0, 0] >= context.number("threshold", FOUND)).cpu().numpy()] = 255
        yield 0.2 + 0.7 * (index + 1) / len(wanted)
    if int((mask > 0).sum()) < LEAST_PX:
        raise PictureUnusable(
            f"nothing like {', '.join(wanted)!r} was found in the image: name something that is in view",
            code="nothing_found",
        )
    context.put("mask", mask)


def _limit(context: Context) -> int:
    """Tokens at most. Raises UnsupportedCombination."""
    said = context.settings.get("length")
    if said is None:
        return LENGTHS["normal"]
    if isinstance(said, str) and said in LENGTHS:
        return LENGTHS[said]
    if isinstance(said, int | str) and str(said).isdigit() and 1 <= int(said) <= MOST_TOKENS:
        return int(said)
    raise UnsupportedCombination(
        f"length must be one of {', '.join(LENGTHS)} or 1 to {MOST_TOKENS} tokens, not {said!r}"
    )


def _load_reader(folder: Path, device: str) -> Imported:
    return _load(folder, device, "BlipForConditionalGeneration", "picture.caption")


def _load_marker(folder: Path, device: str) -> Imported:
    return _load(folder, device, "CLIPSegForImageSegmentation", "mask.from_text")


def _load(folder: Path, device: str, class_name: str, purpose: str) -> Imported:
    with torch.inference_mode(False):
        imported = load_imported(folder, device, classes=(class_name,), purpose=purpose)
    imported.tokenizer = load_tokenizer(folder)
    return imported
