"""Settings are validated by value and by name."""

from __future__ import annotations

import pytest

from gpu_runtime.config import EngineConfig


@pytest.mark.parametrize(
    "changes",
    [
        {"runtime": "jax"},
        {"dtype": "int8"},
        {"device": "gpu"},
        {"max_rows": 0},
        {"max_rows": 257},
        {"cpu_threads": -1},
        {"cuda_graphs": "on"},
    ],
    ids=str,
)
def test_value_out_of_range_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        EngineConfig.from_mapping(changes)


def test_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(ValueError, match="unknown engine setting 'max_row'; did you mean 'max_rows'"):
        EngineConfig.from_mapping({"max_row": 4})
