"""Make the stripped checkpoints of tests/checkpoints: names, shapes and types of published files, no numbers.

    python -m tests.tools.strip_checkpoint            write every recipe of tests/tools/stripping
    python -m tests.tools.strip_checkpoint NAME ...   only these
    python -m tests.tools.strip_checkpoint --from FILE.safetensors NAME
                                                      take the header of a real file; add the answer by hand

Recipes build the real networks on torch's meta device, so nothing is downloaded and nothing takes memory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch

from gpu_runtime.weights.safetensors_header import read_header
from gpu_runtime.weights.tensor_facts import TensorFacts
from tests.checkpoints.samples import Sample, write_sample
from tests.tools.stripping.recipes import RECIPES, Recipe

_INTEGERS = {torch.int64: "I64", torch.int32: "I32"}


def strip(recipe: Recipe) -> Sample:
    """The recipe's file without its numbers."""
    tensors = {
        name: TensorFacts(_INTEGERS.get(tensor.dtype, recipe.dtype), tuple(tensor.shape))
        for name, tensor in recipe.build().items()
    }
    return Sample(
        file=recipe.file, tensors=tensors, metadata=dict(recipe.metadata), expected=dict(recipe.expected)
    )


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE")
    options = parser.parse_args(argv)
    if options.source is not None:
        header = read_header(options.source)
        sample = Sample(options.source.name, dict(header.tensors), dict(header.metadata), {})
        write_sample(options.names[0], sample)
        return 0
    unknown = set(options.names) - set(RECIPES)
    if unknown:
        parser.error(f"no recipe {min(unknown)}; there are: {', '.join(RECIPES)}")
    for name in options.names or RECIPES:
        size = write_sample(name, strip(RECIPES[name]))
        print(f"{name:<28} {size / 1000:7.1f} kB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
