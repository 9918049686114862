"""The order of the parallel run names files that exist, and loses none."""

from __future__ import annotations

from pathlib import Path

from tests.slowest_first import SLOWEST, slowest_first

REPOSITORY = Path(__file__).parents[2]


def test_each_named_file_exists_and_is_named_once() -> None:
    assert [file for file in SLOWEST if not (REPOSITORY / file).is_file()] == []
    assert len(set(SLOWEST)) == len(SLOWEST)


def test_slow_files_come_first_then_those_of_most_tests_each_in_its_order() -> None:
    tests = [
        "tests/a.py::one",
        f"{SLOWEST[1]}::Kind::second",
        "tests/b.py::two",
        "tests/b.py::one",
        f"{SLOWEST[1]}::first",
        f"{SLOWEST[0]}::it",
    ]
    assert [tests[position] for position in slowest_first(tests)] == [
        f"{SLOWEST[0]}::it",
        f"{SLOWEST[1]}::Kind::second",
        f"{SLOWEST[1]}::first",
        "tests/b.py::two",
        "tests/b.py::one",
        "tests/a.py::one",
    ]
