"""The order of the parallel run names files that exist, and loses none."""

from __future__ import annotations

from pathlib import Path

from tests.slowest_first import SHARED_QUICKSTART, SHARED_WORLD, SLOWEST, scope_of, slowest_first

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


def test_files_that_share_a_quickstart_go_to_one_process_and_the_others_alone() -> None:
    assert {scope_of(f"{file}::test_it[a::b]") for file in SHARED_QUICKSTART} == {SHARED_QUICKSTART[0]}
    assert scope_of("tests/a.py::Kind::test_it") == "tests/a.py"


def test_files_before_one_browser_go_to_one_process() -> None:
    files = sorted(path.name for path in (REPOSITORY / SHARED_WORLD).glob("test_*.py"))

    assert len(files) > 1
    assert {scope_of(f"{SHARED_WORLD}{file}::test_it") for file in files} == {SHARED_WORLD}


def test_exactly_the_files_that_ask_for_a_quickstart_share_it() -> None:
    folder = REPOSITORY / "tests" / "acceptance"
    asking = [file for file in folder.glob("test_*.py") if "import Quickstart" in file.read_text()]
    assert {file.relative_to(REPOSITORY).as_posix() for file in asking} == set(SHARED_QUICKSTART)
    # The one that ends it comes last.
    assert [file for file in SLOWEST if file in SHARED_QUICKSTART] == list(SHARED_QUICKSTART)
