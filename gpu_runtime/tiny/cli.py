"""The command line of `python -m gpu_runtime.tiny`; `__main__` documents it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from gpu_runtime.tiny.autoencoders import SETTINGS as AUTOENCODERS
from gpu_runtime.tiny.ip_adapters import (
    ADAPTERS,
    ENCODERS,
    make_tiny_ip_adapter,
    make_tiny_picture_encoder,
)
from gpu_runtime.tiny.lora import BASE_VERSIONS, FORMATS, make_tiny_lora
from gpu_runtime.tiny.original_layout import FAMILIES as SINGLE_FILES
from gpu_runtime.tiny.original_layout import write_single_file
from gpu_runtime.tiny.pipelines import RECIPES, base_family, make_tiny
from gpu_runtime.tiny.single_components import (
    CONTROLNETS,
    EMBEDDED,
    make_tiny_controlnet,
    make_tiny_embedding,
    make_tiny_vae,
)

KINDS = ("checkpoint", "lora", "vae", "embedding", "controlnet", "ip-adapter", "picture-encoder")

MAX_SEED = 2**32 - 1


def run(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(argv)
    if options.list:
        _say(_listing())
        return 0
    if options.family is None or options.folder is None:
        parser.error("FAMILY and FOLDER are needed; --list shows the families")
    warnings.filterwarnings("ignore", category=FutureWarning)
    try:
        path = _make(options)
    except ValueError as error:
        _complain(str(error))
        return 2
    except OSError as error:
        _complain(f"cannot write to {options.folder}: {error.strerror or error}")
        return 1
    size = sum(
        file.stat().st_size for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file()
    )
    _say(f"{options.family} {options.kind}, {size / 1e6:.1f} MB\n{path}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m gpu_runtime.tiny",
        description="Build a tiny model with random weights, for tests and demos.",
    )
    parser.add_argument("family", nargs="?", metavar="FAMILY", help="see --list")
    parser.add_argument("folder", nargs="?", metavar="FOLDER", type=Path, help="where to write")
    parser.add_argument("--seed", type=_seed, default=0, help="equal seeds give equal files (default 0)")
    parser.add_argument("--format", choices=("diffusers", "single-file"), default="diffusers")
    parser.add_argument("--kind", choices=KINDS, default="checkpoint")
    parser.add_argument("--lora-format", choices=FORMATS, default="kohya")
    parser.add_argument("--name", help="name of the folder or file inside FOLDER")
    parser.add_argument("--list", action="store_true", help="what can be built")
    return parser


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if not 0 <= seed <= MAX_SEED:
        raise argparse.ArgumentTypeError(f"a seed is a number from 0 to {MAX_SEED}, not {text!r}")
    return seed


def _make(options: argparse.Namespace) -> Path:
    """Raises ValueError for what cannot be built, OSError for what cannot be written."""
    family, seed = options.family, options.seed
    if options.name and Path(options.name).name != options.name:
        raise ValueError(f"--name is one file name, not {options.name!r}")
    folder: Path = options.folder / options.name if options.name else options.folder
    file: Path = options.folder / f"{options.name or f'{family}-{options.kind}'}.safetensors"
    if options.format == "single-file":
        if options.kind != "checkpoint":
            raise ValueError("--format single-file is for checkpoints")
        return _make_single_file(family, file, seed)
    makers: dict[str, Callable[[], Path]] = {
        "checkpoint": lambda: make_tiny(family, folder, seed=seed),
        "lora": lambda: make_tiny_lora(family, file, file_format=options.lora_format, seed=seed),
        "vae": lambda: make_tiny_vae(family, folder, seed=seed),
        "embedding": lambda: make_tiny_embedding(family, file, seed=seed),
        "controlnet": lambda: make_tiny_controlnet(family, folder, seed=seed),
        "ip-adapter": lambda: make_tiny_ip_adapter(family, file, seed=seed),
        "picture-encoder": lambda: make_tiny_picture_encoder(family, folder, seed=seed),
    }
    return makers[options.kind]()


def _make_single_file(family: str, file: Path, seed: int) -> Path:
    base = base_family(family)
    if base not in SINGLE_FILES:
        raise ValueError(f"no single-file layout of {family!r}; there are: {', '.join(SINGLE_FILES)}")
    with tempfile.TemporaryDirectory() as folder:
        return write_single_file(base, make_tiny(family, Path(folder), seed=seed), file)


def _listing() -> str:
    rows = {
        "checkpoint": RECIPES,
        "checkpoint as a single file": SINGLE_FILES,
        "lora": BASE_VERSIONS,
        "vae": AUTOENCODERS,
        "embedding": EMBEDDED,
        "controlnet": CONTROLNETS,
        "ip-adapter": ADAPTERS,
        "picture-encoder": ENCODERS,
    }
    return "\n".join(f"{kind}: {', '.join(families)}" for kind, families in rows.items())


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _complain(text: str) -> None:
    sys.stderr.write(f"error: {text}\n")
