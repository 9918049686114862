"""`python -m gpu_runtime.speed`: seconds per image of one checkpoint here, beside plain diffusers.

    python -m gpu_runtime.speed [--checkpoint FOLDER] [--rounds N] [--device auto|cpu|cuda:0] [--json FILE]

The checkpoint is a folder of the families sd15 or sd2 in the diffusers layout, the starter model by default.
Prints a table; exit status 0, or 1 with one line on stderr when the checkpoint cannot be measured.
"""

from __future__ import annotations

import sys

from transformers.utils import logging as transformers_logging


def main() -> int:
    """Run the command; returns the exit status."""
    # Before diffusers is imported: with it, transformers warns of image processors that nothing here uses.
    transformers_logging.set_verbosity_error()
    from gpu_runtime.speed.comparison import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
