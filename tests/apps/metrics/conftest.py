"""Ada's studio, and a tally that holds nothing of other tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.core.counters import Tally, tally
from tests.apps.generation.studio import Studio
from tests.cast import Cast
from tests.factories import make_checkpoint


@pytest.fixture
def studio(cast: Cast) -> Studio:
    """Frozen at noon; rolled back at the end."""
    return Studio(
        account=cast.account,
        key=cast.key,
        strangers_account=cast.strangers_account,
        strangers_key=cast.strangers_key,
        checkpoint=make_checkpoint("tiny"),
    )


@pytest.fixture(autouse=True)
def counted() -> Iterator[Tally]:
    """This process's tally, empty before and after."""
    tally.clear()
    yield tally
    tally.clear()
