"""Measures the exported model the way a stranger would: prompt in, picture out, compare with drawings.

The figures on the model card come from `full_report`. Knows nothing about training.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import DiffusionPipeline
from numpy.typing import NDArray
from torch.nn import functional

from gpu_runtime.training.starter import compose, vae
from gpu_runtime.training.starter.art import Art
from gpu_runtime.training.starter.captions import prompt
from gpu_runtime.training.starter.catalogue import (
    BACKGROUNDS,
    CONCEPTS,
    STYLES,
    Concept,
    held_out_background,
    held_out_style,
    is_held_out_view,
)
from gpu_runtime.training.starter.retrieval import Gallery, Retriever, named_background, save_gallery
from gpu_runtime.training.starter.sheet import save_grid

STEPS = 20
GUIDANCE = 3.0
BATCH = 8
TOP = 5
GALLERY_PX = 64
HELD_OUT_ICONS = 48
"""Drawings kept beside the tests for the codec's check, spread over all that it never saw."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One thing to ask the model for, and how the answer is checked."""

    concept: Concept
    style: str | None
    background: str
    seed: int

    @property
    def prompt(self) -> str:
        return prompt(self.concept.name, self.style, self.background)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Shares of a set of pictures, 0 to 1."""

    count: int
    top1: float
    top5: float
    control_top5: float
    """The same pictures held against prompts for other things: what chance and a kind gallery would give."""
    background: float
    style: float
    """Share whose nearest drawing of the asked concept is in the asked style; 0 where no style was asked."""
    missed: tuple[str, ...]
    """Names that were not among the first five."""


def draw(
    pipeline: DiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    *,
    steps: int = STEPS,
    guidance: float = GUIDANCE,
) -> NDArray[np.uint8]:
    """One picture a prompt, uint8 [n, px, px, 3]; each depends on its own prompt and seed only."""
    parts = []
    for start in range(0, len(prompts), BATCH):
        answer = pipeline(
            list(prompts[start : start + BATCH]),
            num_inference_steps=steps,
            guidance_scale=guidance,
            generator=[torch.Generator().manual_seed(seed) for seed in seeds[start : start + BATCH]],
            output_type="np",
        )
        parts.append(np.asarray((answer.images * 255).round(), dtype=np.uint8))
    return np.concatenate(parts)


def taught_requests(count: int, first_seed: int) -> list[Request]:
    """Pairs the model was taught: every concept in turn, styles and backgrounds varied with the seed."""
    requests = []
    for number in range(count):
        concept = CONCEPTS[number % len(CONCEPTS)]
        style = STYLES[(number + number // len(CONCEPTS) + first_seed) % len(STYLES)]
        if style == held_out_style(concept.code):
            style = next(other for other in STYLES if other != style)
        free = [name for name in BACKGROUNDS if not is_held_out_view(concept.code, style, name)]
        background = free[(number * 7 + first_seed) % len(free)]
        requests.append(
            Request(concept=concept, style=style, background=background, seed=first_seed + number)
        )
    return requests


def held_out_background_requests(first_seed: int) -> list[Request]:
    """Every concept on the one background it was never shown on, in a style it was shown in."""
    return [
        Request(
            concept=concept,
            style=next(style for style in STYLES if style != held_out_style(concept.code)),
            background=held_out_background(concept.code),
            seed=first_seed + number,
        )
        for number, concept in enumerate(CONCEPTS)
    ]


def held_out_style_requests(first_seed: int) -> list[Request]:
    """Every concept that lacks a style, asked for in that style on two backgrounds."""
    lacking = [(concept, style) for concept in CONCEPTS if (style := held_out_style(concept.code))]
    return [
        Request(concept=concept, style=style, background=background, seed=first_seed + number)
        for number, (concept, style, background) in enumerate(
            (c, s, b) for c, s in lacking for b in ("white", "blue") if b != held_out_background(c.code)
        )
    ]


def score(requests: list[Request], images: NDArray[np.uint8], gallery: Gallery) -> Score:
    """Compares each picture with the gallery. Requests whose concept the gallery lacks are left out."""
    retriever = Retriever(gallery)
    known = set(gallery.names)
    kept = [
        (request, image)
        for request, image in zip(requests, images, strict=True)
        if request.concept.name in known
    ]
    rankings = [retriever.ranking(image) for _, image in kept]
    asked = [request.concept.name for request, _ in kept]
    return Score(
        count=len(kept),
        top1=_share(name == ranking[0] for name, ranking in zip(asked, rankings, strict=True)),
        top5=_share(name in ranking[:TOP] for name, ranking in zip(asked, rankings, strict=True)),
        control_top5=_share(
            other in ranking[:TOP]
            for far in _far_names(asked)
            for name, ranking in zip(asked, rankings, strict=True)
            if (other := far[name]) != name
        ),
        background=_share(named_background(image) == request.background for request, image in kept),
        style=_share(request.style == _nearest_style(request, image, gallery) for request, image in kept),
        missed=tuple(n for n, ranking in zip(asked, rankings, strict=True) if n not in ranking[:TOP]),
    )


def _far_names(asked: list[str]) -> list[dict[str, str]]:
    """For each name, the ones a quarter, half and three quarters of the list away.

    Not the next one: neighbours in the list are alike, fruit beside fruit. Three, since one rotation of a
    hundred pictures scatters by several per cent around chance.
    """
    names = list(dict.fromkeys(asked))
    shifts = (len(names) * quarters // 4 for quarters in (1, 2, 3))
    return [dict(zip(names, names[shift:] + names[:shift], strict=True)) for shift in shifts]


def _share(hits: Iterable[bool]) -> float:
    values = list(hits)
    return sum(values) / max(1, len(values))


def _nearest_style(request: Request, image: NDArray[np.uint8], gallery: Gallery) -> str | None:
    rows = [row for row, name in enumerate(gallery.names) if name == request.concept.name]
    if request.style is None or len(rows) < 2:
        return None
    styles = [gallery.styles[row] for row in rows]
    return Retriever(Gallery(styles, styles, gallery.icons[rows])).ranking(image)[0]


def gallery_of(art: Art, styles: tuple[str, ...]) -> Gallery:
    """The drawings of the taught concepts in these styles, at GALLERY_PX."""
    drawn = art.index()
    wanted = [
        (concept.name, style, drawn.get((concept.code, style))) for concept in CONCEPTS for style in styles
    ]
    found = [(name, style, row) for name, style, row in wanted if row is not None]
    icons = compose.icon_batch(art.pixels, [row for _, _, row in found]).float()
    small = functional.interpolate(icons, (GALLERY_PX, GALLERY_PX), mode="area").round().to(torch.uint8)
    return Gallery([name for name, _, _ in found], [style for _, style, _ in found], small)


def held_out_gallery(art: Art) -> Gallery:
    """Drawings the codec never saw, evenly spread, at full size."""
    rows = vae.held_out_rows(art)
    rows = rows[:: max(1, len(rows) // HELD_OUT_ICONS)][:HELD_OUT_ICONS]
    labels = [art.icons[row].label for row in rows]
    return Gallery(labels, [art.icons[row].style for row in rows], compose.icon_batch(art.pixels, rows))


def write_galleries(art: Art, other_art: Art, folder: Path) -> None:
    """The drawings that the quality test needs offline: the taught ones, other artists', and unseen ones."""
    save_gallery(gallery_of(art, STYLES), folder / "taught")
    save_gallery(
        gallery_of(other_art, tuple(sorted({icon.style for icon in other_art.icons}))), folder / "other_hands"
    )
    save_gallery(held_out_gallery(art), folder / "unseen_by_vae")


def full_report(pipeline: DiffusionPipeline, art: Art, other_art: Art, folder: Path) -> dict[str, object]:
    """All that the card states, on seeds that no threshold was chosen with. Pictures go to `folder`."""
    galleries = {
        "taught art": gallery_of(art, STYLES),
        "art by other hands": gallery_of(other_art, ("noto-v1", "fxemoji")),
    }
    sets = {
        "taught pairs": taught_requests(2 * len(CONCEPTS), 5000),
        "held-out backgrounds": held_out_background_requests(6000),
        "held-out styles": held_out_style_requests(7000),
    }
    report: dict[str, object] = {"vae_psnr_db": vae_report(pipeline, art)}
    for name, requests in sets.items():
        images = draw(pipeline, [r.prompt for r in requests], [r.seed for r in requests])
        save_grid(images, 12, folder / f"{name.replace(' ', '_')}.png", [r.concept.name for r in requests])
        report[name] = {key: asdict(score(requests, images, gallery)) for key, gallery in galleries.items()}
    return report


def vae_report(pipeline: DiffusionPipeline, art: Art) -> dict[str, float]:
    """Mean PSNR in dB over icons the codec never saw, and over new views of taught concepts."""
    unseen = vae.still_views(art, vae.held_out_rows(art), 0)
    drawn = art.index()
    rows = [drawn[concept.code, style] for concept in CONCEPTS for style in STYLES]
    backgrounds = torch.tensor(list(BACKGROUNDS.values()))[torch.arange(len(rows)) % len(BACKGROUNDS)] / 255
    generator = torch.Generator().manual_seed(77)
    views = compose.compose(compose.icon_batch(art.pixels, rows), backgrounds, compose.TAUGHT, generator)
    return {
        "icons never seen": float(vae.psnr_db(pipeline.vae, unseen).mean()),
        "new views of taught concepts": float(vae.psnr_db(pipeline.vae, views).mean()),
    }
