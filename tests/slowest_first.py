"""The order of files in a parallel run: those that take longest begin, so that none is left alone at the end.

By itself pytest-xdist begins with the files of most tests, and some of the longest have but two. It hands out
whole files, since tests of a file share what is slow to set up; a few files share it among them, too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

SLOWEST: Final = (
    "tests/browser/test_playground.py",
    "tests/browser/test_every_page.py",
    "tests/browser/test_build_pages.py",
    "tests/browser/test_signing_up.py",
    "tests/browser/test_checkout.py",
    "tests/browser/test_budgets.py",
    "tests/browser/test_team.py",
    "tests/acceptance/test_openai_client.py",
    "tests/acceptance/test_modelslab_py.py",
    "tests/acceptance/test_a1111_client.py",
    "tests/acceptance/test_webuiapi.py",
    "tests/acceptance/test_first_image.py",
    "tests/acceptance/test_every_family.py",
    "tests/drills/test_kill_drills.py",
    "tests/drills/test_money_drill.py",
    "tests/apps/payments/stories/test_stories.py",
    "tests/apps/api/test_schemathesis.py",
    "tests/gpu_runtime/test_starter_model.py",
    "tests/gpu_runtime/test_generic_family.py",
    "tests/drills/test_freeze_drills.py",
    "tests/gpu_runtime/test_family_equality.py",
    "tests/gpu_runtime/test_equality.py",
    "tests/gpu_runtime/test_equality_matrix.py",
    "tests/gpu_runtime/test_import_child_folders.py",
    "tests/apps/generation/test_gpu_cluster.py",
    "tests/gpu_runtime/test_import_child_single_files.py",
    "tests/drills/test_webhook_drills.py",
    "tests/guides/test_samples.py",
    "tests/client/test_live.py",
    "tests/gpu_runtime/test_lora_equality.py",
    "tests/acceptance/test_air_gapped.py",
    "tests/apps/catalog/imports/test_real_models.py",
    "tests/gpu_runtime/test_swapping.py",
    "tests/gpu_runtime/test_import_child.py",
    "tests/gpu_runtime/test_residency.py",
    "tests/gpu_runtime/test_image_families.py",
    "tests/gpu_runtime/test_controls.py",
    "tests/apps/catalog/imports/test_cluster.py",
    "tests/acceptance/test_webhook_arrives.py",
    "tests/apps/console/test_models_command.py",
    "tests/gpu_runtime/test_samplers.py",
    "tests/gpu_runtime/test_tiny_pipelines.py",
    "tests/gpu_runtime/test_passes.py",
    "tests/gpu_runtime/test_textual_inversion.py",
    "tests/gpu_runtime/test_training_starter.py",
    "tests/gpu_runtime/test_tiny_lora.py",
    "tests/gpu_runtime/test_ip_adapters.py",
    "tests/gpu_runtime/test_exact_tier.py",
    "tests/gpu_runtime/test_families.py",
    "tests/gpu_runtime/test_tiny_cli.py",
    "tests/gpu_runtime/test_fault_recovery.py",
    "tests/gpu_runtime/test_gpu_suite.py",
    "tests/gpu_runtime/test_swap_soak.py",
    "tests/gpu_runtime/test_lora_applied.py",
    "tests/gpu_runtime/test_import_child_writer.py",
    "tests/apps/generation/test_imported_models.py",
)
"""More than about eight seconds each, longest first; a wrong place costs time and nothing else."""

SHARED_QUICKSTART: Final = (
    "tests/acceptance/test_openai_client.py",
    "tests/acceptance/test_modelslab_py.py",
    "tests/acceptance/test_a1111_client.py",
    "tests/acceptance/test_webuiapi.py",
    "tests/acceptance/test_first_image.py",
)
"""One process runs these after each other, on one `deploy/quickstart`: each would cost 20 s of its own.

The last one ends it. Without pytest-xdist, or in another order, the next file starts another.
"""


SHARED_WORLD: Final = "tests/browser/"
"""One process runs all files of this folder, on one appliance and before one browser."""


def scope_of(nodeid: str) -> str:
    """What pytest-xdist gives to one process as a whole: the file, or the files that share an appliance."""
    file = nodeid.partition("::")[0]
    if file.startswith(SHARED_WORLD):
        return SHARED_WORLD
    return SHARED_QUICKSTART[0] if file in SHARED_QUICKSTART else file


def slowest_first(nodeids: Sequence[str]) -> list[int]:
    """The positions of tests in the order to run them, by pytest's names for them.

    Files by their place in `SLOWEST`, then those of most tests; the tests of a file keep their order.
    """
    files = [nodeid.partition("::")[0] for nodeid in nodeids]
    counts = Counter(files)
    places = {file: place for place, file in enumerate(SLOWEST)}
    keys = [(places.get(file, len(places)), -counts[file], file) for file in files]
    return sorted(range(len(nodeids)), key=keys.__getitem__)
