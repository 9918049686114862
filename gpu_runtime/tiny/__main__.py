"""`python -m gpu_runtime.tiny`: builds tiny models with random weights, for tests and demos.

    python -m gpu_runtime.tiny FAMILY FOLDER [--seed N] [--format diffusers|single-file]
                               [--kind checkpoint|lora|vae|embedding|controlnet|ip-adapter|picture-encoder]
                               [--lora-format kohya|diffusers|peft] [--name NAME]
    python -m gpu_runtime.tiny --list

A checkpoint in the diffusers format, a VAE, a ControlNet and an encoder of pictures (whose FAMILY is clip or
siglip) are folders: FOLDER itself, or FOLDER/NAME. A LoRA, an embedding, an IP-adapter and a single-file
checkpoint are the file FOLDER/NAME.safetensors; NAME is FAMILY-KIND by default. The last line printed is the
path. Exit status: 0; 2 for wrong arguments, or a family, kind and format that do not go together; 1 when
FOLDER cannot be written. Errors are one line on stderr.
"""

from __future__ import annotations

import sys

from transformers.utils import logging as transformers_logging


def main() -> int:
    """Run the command; returns the exit status."""
    # Before diffusers is imported: with it, transformers warns of image processors that nothing here uses.
    transformers_logging.set_verbosity_error()
    from gpu_runtime.tiny.cli import run

    return run()


if __name__ == "__main__":
    sys.exit(main())
