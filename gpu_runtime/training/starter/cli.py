"""The commands that make the starter model, one after another; `gpu_runtime/training/README.md` shows them.

Knows the order of the work and where each product lies. What each step does is in the module it calls.
"""

import argparse
import json
import random
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from diffusers import AutoencoderKL, StableDiffusionPipeline
from torch.multiprocessing.spawn import spawn
from transformers import CLIPTokenizer

from gpu_runtime.training.starter import (
    art,
    captions,
    catalogue,
    denoiser,
    evaluate,
    export,
    loop,
    sheet,
    vae,
)

SHEET_NAMES = (
    "red apple", "panda", "rocket", "hamburger", "frog", "guitar", "sunflower", "red car",
    "owl", "birthday cake", "umbrella", "house", "penguin", "robot", "pineapple", "butterfly",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where everything lies that is made on the way."""

    folder: Path

    @property
    def packages(self) -> Path:
        return self.folder / "packages"

    @property
    def art(self) -> Path:
        return self.folder / "art"

    @property
    def gallery_art(self) -> Path:
        return self.folder / "gallery_art"

    @property
    def tokenizer(self) -> Path:
        return self.folder / "tokenizer"

    @property
    def joint_vae(self) -> Path:
        return self.folder / "vae.pt"

    @property
    def polished_vae(self) -> Path:
        return self.folder / "polish.pt"

    @property
    def views(self) -> Path:
        return self.folder / "views.pt"

    @property
    def statistics(self) -> Path:
        return self.folder / "statistics.pt"

    @property
    def denoiser(self) -> Path:
        return self.folder / "denoiser.pt"

    def sheet(self, name: str, step: int) -> Path:
        return self.folder / "sheets" / f"{name}-{step:06d}.png"


def main(arguments: list[str] | None = None) -> None:
    """Runs one command. Training commands go on from their checkpoint where there is one."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace, Workspace], None] = COMMANDS[options.command]
    space = Workspace(options.work)
    if getattr(options, "processes", 1) > 1:
        _run_together(options, space)
    else:
        command(options, space)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m gpu_runtime.training.starter", description=__doc__)
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for downloads, checkpoints and sheets"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("download", "render", "tokenizer"):
        commands.add_parser(name)
    for name, steps, batch, lr in (
        ("train-vae", 920, 8, 0.002),
        ("polish-vae", 300, 8, 0.001),
        ("train-denoiser", 2000, 32, 0.004),
    ):
        training = commands.add_parser(name)
        training.add_argument("--steps", type=int, default=steps)
        training.add_argument("--batch", type=int, default=batch, help="pictures a step and process")
        training.add_argument("--lr", type=float, default=lr)
        training.add_argument("--warmup", type=int, default=60)
        training.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
        training.add_argument("--processes", type=int, default=1, help="one thread each, on the CPU")
        training.add_argument("--threads", type=int, default=0, help="0 leaves it to torch")
        training.add_argument(
            "--minutes", type=float, default=1e6, help="stop, with a checkpoint, after this long"
        )
        training.add_argument(
            "--crop-share", type=float, default=0.87, help="share of VAE steps on quarter pictures"
        )
    encode = commands.add_parser("encode")
    encode.add_argument(
        "--views", type=int, default=8, help="pictures of every concept, style and background"
    )
    encode.add_argument("--concepts", choices=["taught", "all"], default="taught")
    encode.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    for name in ("export", "gallery", "evaluate"):
        commands.add_parser(name).add_argument("folder", type=Path)
    return parser


def _run_together(options: argparse.Namespace, space: Workspace) -> None:
    with tempfile.TemporaryDirectory() as meeting_place:
        meeting_file = f"file://{meeting_place}/meet"
        spawn(_member, (options, space, meeting_file), options.processes)


def _member(rank: int, options: argparse.Namespace, space: Workspace, meeting_place: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=meeting_place, rank=rank, world_size=options.processes)
    COMMANDS[options.command](options, space)
    dist.destroy_process_group()


def _download(options: argparse.Namespace, space: Workspace) -> None:
    art.download(space.packages)


def _render(options: argparse.Namespace, space: Workspace) -> None:
    art.render(space.packages, space.art, art.TRAINED_PACKAGES)
    art.render(space.packages, space.gallery_art, art.GALLERY_PACKAGES)


def _tokenizer(options: argparse.Namespace, space: Workspace) -> None:
    """Learns the words from all names and tags, so that it serves a larger vocabulary later."""
    known = art.load_art(space.art)
    chance = random.Random(0)  # noqa: S311  # words to learn from, not a secret
    lines = [icon.label for icon in known.icons] + [tag for icon in known.icons for tag in icon.tags]
    for concept in catalogue.CONCEPTS * 20:
        style = chance.choice(tuple(captions.STYLED))
        lines.append(
            captions.caption(concept.names, style, chance.choice(tuple(catalogue.BACKGROUNDS)), chance)
        )
    captions.train_tokenizer(lines, space.tokenizer)


def _plan(options: argparse.Namespace) -> loop.LoopPlan:
    if options.threads:
        torch.set_num_threads(options.threads)
    return loop.LoopPlan(
        steps=options.steps, lr=options.lr, warmup_steps=options.warmup, stop_after_s=options.minutes * 60
    )


def _train_vae(options: argparse.Namespace, space: Workspace) -> None:
    _fit_vae(options, space, vae.new_vae(), space.joint_vae, is_polish=False)


def _polish_vae(options: argparse.Namespace, space: Workspace) -> None:
    """Improves the decoder alone: latents that are already encoded stay right."""
    _fit_vae(options, space, load_vae(space.joint_vae), space.polished_vae, is_polish=True)


def _fit_vae(
    options: argparse.Namespace, space: Workspace, model: AutoencoderKL, checkpoint: Path, *, is_polish: bool
) -> None:
    torch.manual_seed(0)
    known = art.load_art(space.art)
    model = model.to(options.device, memory_format=torch.channels_last)
    trainee = vae.VaeTrainee(
        model,
        known,
        batch=options.batch,
        seed=2 if is_polish else 1,
        lr=options.lr,
        decoder_only=is_polish,
        crop_steps=round(options.steps * options.crop_share),
    )
    held_out = vae.still_views(known, vae.held_out_rows(known)[::8], 0).to(options.device)

    def draw(step: int) -> None:
        print(
            f"\nstep {step}: held-out icons {float(vae.psnr_db(model, held_out).mean()):.2f} dB", flush=True
        )
        vae.save_reconstructions(model, held_out[:14], space.sheet(checkpoint.stem, step))

    loop.run(trainee, _plan(options), checkpoint, draw)


def load_vae(checkpoint: Path) -> AutoencoderKL:
    """The codec in a training checkpoint, latents not yet rescaled."""
    model = vae.new_vae()
    model.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True)["vae"])
    return model


def _encode(options: argparse.Namespace, space: Workspace) -> None:
    known = art.load_art(space.art)
    concepts = catalogue.CONCEPTS if options.concepts == "taught" else every_concept(known)
    scenes = denoiser.taught_scenes(known, concepts)
    model = load_vae(space.joint_vae).to(options.device, memory_format=torch.channels_last)
    latents = denoiser.encode_views(model, known, scenes, options.views, seed=100)
    mean, std = denoiser.channel_statistics(latents)
    latents = ((latents.float() - mean[:, None, None]) / std[:, None, None]).half()
    denoiser.save_views(denoiser.LatentViews(scenes, latents), space.views)
    torch.save({"mean": mean, "std": std}, space.statistics)


def every_concept(known: art.Art) -> tuple[catalogue.Concept, ...]:
    """The taught concepts under their own names, and every other drawing under its CLDR name and tags."""
    labels = {icon.code: (icon.label.lower(), *icon.tags[:4]) for icon in known.icons}
    others = (catalogue.Concept(code=code, names=names) for code, names in labels.items())
    return (
        *catalogue.CONCEPTS,
        *(concept for concept in others if concept.code not in catalogue.TAUGHT_CODES),
    )


def scaled_vae(space: Workspace) -> AutoencoderKL:
    """The best codec there is, with latents of mean 0 and deviation 1."""
    model = load_vae(space.polished_vae if space.polished_vae.exists() else space.joint_vae)
    statistics = torch.load(space.statistics, weights_only=True)
    vae.fold_statistics(model, statistics["mean"], statistics["std"])
    return model.eval()


def new_trainee(options: argparse.Namespace, space: Workspace) -> denoiser.DenoiserTrainee:
    torch.manual_seed(0)
    tokenizer = CLIPTokenizer.from_pretrained(space.tokenizer)
    return denoiser.DenoiserTrainee(
        denoiser.new_unet().to(options.device, memory_format=torch.channels_last),
        denoiser.new_text_encoder(tokenizer).to(options.device),
        tokenizer,
        denoiser.load_views(space.views),
        batch=options.batch,
        seed=5,
        lr=options.lr,
    )


def _train_denoiser(options: argparse.Namespace, space: Workspace) -> None:
    trainee = new_trainee(options, space)
    codec = scaled_vae(space).to(options.device)
    loop.run(trainee, _plan(options), space.denoiser, lambda step: draw_sheet(trainee, codec, space, step))


def draw_sheet(trainee: denoiser.DenoiserTrainee, codec: AutoencoderKL, space: Workspace, step: int) -> None:
    """Sixteen fixed prompts drawn with the averaged weights."""
    pipeline = StableDiffusionPipeline(
        vae=codec,
        unet=trainee.average["unet"],
        text_encoder=trainee.average["text_encoder"],
        tokenizer=trainee.tokenizer,
        scheduler=denoiser.new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    backgrounds = tuple(catalogue.BACKGROUNDS)
    prompts = [
        captions.prompt(name, catalogue.STYLES[number % 2], backgrounds[number % len(backgrounds)])
        for number, name in enumerate(SHEET_NAMES)
    ]
    images = evaluate.draw(pipeline, prompts, list(range(len(prompts))), steps=15)
    sheet.save_grid(images, 8, space.sheet("denoiser", step), list(SHEET_NAMES))


def _export(options: argparse.Namespace, space: Workspace) -> None:
    state = torch.load(space.denoiser, map_location="cpu", weights_only=True)["average"]
    tokenizer = CLIPTokenizer.from_pretrained(space.tokenizer)
    average = torch.nn.ModuleDict(
        {"unet": denoiser.new_unet(), "text_encoder": denoiser.new_text_encoder(tokenizer)}
    )
    average.load_state_dict(state)
    export.export(
        options.folder,
        vae=scaled_vae(space),
        unet=average["unet"],
        text_encoder=average["text_encoder"],
        tokenizer_folder=space.tokenizer,
        scheduler=denoiser.new_scheduler(),
    )


def _gallery(options: argparse.Namespace, space: Workspace) -> None:
    evaluate.write_galleries(art.load_art(space.art), art.load_art(space.gallery_art), options.folder)


def _evaluate(options: argparse.Namespace, space: Workspace) -> None:
    """Prints the card's figures as JSON and writes the pictures they were measured on."""
    pipeline = export.load(options.folder)
    known = art.load_art(space.art)
    report = evaluate.full_report(
        pipeline, known, art.load_art(space.gallery_art), space.folder / "evaluation"
    )
    print(json.dumps(report, indent=2))


COMMANDS: dict[str, Callable[[argparse.Namespace, Workspace], None]] = {
    "download": _download,
    "render": _render,
    "tokenizer": _tokenizer,
    "train-vae": _train_vae,
    "encode": _encode,
    "train-denoiser": _train_denoiser,
    "polish-vae": _polish_vae,
    "export": _export,
    "gallery": _gallery,
    "evaluate": _evaluate,
}
