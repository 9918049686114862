from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.generation.faults import (
    EXPIRED,
    FAILURES,
    HUNG,
    INTERNAL,
    QUARANTINED,
    Failure,
    RequestUnreadable,
    failure_of,
)
from gpu_runtime import errors
from gpu_runtime.errors import OutOfMemory, PictureUnusable, RuntimeFault


def every_fault(base: type[RuntimeFault] = RuntimeFault) -> Iterator[type[RuntimeFault]]:
    for fault in base.__subclasses__():
        yield fault
        yield from every_fault(fault)


def runtime_faults() -> list[type[RuntimeFault]]:
    """But for those of pictures, which bring their own code and message."""
    ours = [fault for fault in every_fault() if fault.__module__.startswith("gpu_runtime.")]
    return [fault for fault in ours if not issubclass(fault, PictureUnusable)]


@pytest.mark.parametrize("fault", runtime_faults(), ids=lambda fault: fault.__name__)
def test_every_fault_of_the_runtime_is_in_the_table(fault: type[RuntimeFault]) -> None:
    assert failure_of(fault("secret details")) is not INTERNAL


def test_faults_of_pictures_are_told_in_their_own_words() -> None:
    fault = PictureUnusable("No face was found in the target.", code="no_face")
    assert failure_of(fault) == Failure("no_face", "No face was found in the target.")


def test_the_table_names_nothing_else() -> None:
    assert {fault for fault in FAILURES if fault.__module__ == errors.__name__} == set(FAILURES) - {
        RequestUnreadable
    }
    assert set(FAILURES) <= {*runtime_faults(), RequestUnreadable}


def test_codes_are_unique_and_messages_are_sentences() -> None:
    failures = [*FAILURES.values(), INTERNAL, QUARANTINED, HUNG, EXPIRED]
    assert len({failure.code for failure in failures}) == len(failures) == len(FAILURES) + 4
    assert all(failure.message.endswith((".", "again.")) for failure in failures)
    assert all(failure.code.replace("_", "").isalpha() and failure.code.islower() for failure in failures)


def test_the_faults_own_text_stays_inside() -> None:
    assert "secret" not in failure_of(OutOfMemory("secret details")).message


def test_a_subclass_is_told_like_its_parent_and_an_unknown_fault_like_an_internal_error() -> None:
    class SpecialMemory(OutOfMemory):
        pass

    class Unheard(RuntimeFault):
        pass

    assert failure_of(SpecialMemory("")) is FAILURES[OutOfMemory]
    assert failure_of(Unheard("")) is failure_of(RuntimeFault("")) is INTERNAL
