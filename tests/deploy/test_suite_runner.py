"""deploy/test: what it runs, and that a skipped test must say why."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from deploy.appliance import suite
from deploy.appliance.suite import list_checks, report_of, run_again, suite_environment
from deploy.appliance.suite_report import Failure, Outcome, check_skips, list_failures, show_failures
from deploy.appliance.terminal import Terminal


def report(tmp_path: Path, message: str) -> Path:
    file = tmp_path / "pytest.xml"
    file.write_text(
        '<testsuites><testsuite><testcase classname="tests.a" name="test_b">'
        f'<skipped type="pytest.skip" message="{message}">here</skipped></testcase></testsuite></testsuites>'
    )
    return file


def test_skip_with_a_reason_passes(tmp_path: Path) -> None:
    assert check_skips(report(tmp_path, "needs an accelerator")).status == 0


def test_skip_without_a_reason_fails_by_name(tmp_path: Path) -> None:
    outcome = check_skips(report(tmp_path, "unconditional skip"))
    assert (outcome.status, outcome.note) == (1, "tests.a.test_b")


def test_missing_report_fails(tmp_path: Path) -> None:
    assert check_skips(tmp_path / "none.xml").status == 1


def test_checks_are_in_order_and_pass_arguments_on() -> None:
    checks = list_checks(["-k", "fox"], Path("/home"))
    assert [check.title for check in checks] == [
        "format",
        "lint",
        "types",
        "import contracts",
        "system checks",
        "migrations",
        "tests",
    ]
    assert checks[-1].command[-2:] == ("-k", "fox")


def test_the_suite_does_not_inherit_the_appliance(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DARKROOM_PORT", "9999")
    monkeypatch.setenv("PGPASSWORD", "other")
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    found = suite_environment("postgresql://x", tmp_path)
    assert "DARKROOM_PORT" not in found
    assert "PGPASSWORD" not in found
    assert "PYTHONDONTWRITEBYTECODE" not in found
    assert found["DATABASE_URL"] == "postgresql://x"


def failed_report(tmp_path: Path, *ends: str) -> Path:
    cases = "".join(
        f'<testcase classname="tests.a" name="test_{number}">{end}</testcase>'
        for number, end in enumerate(ends)
    )
    file = tmp_path / "pytest.xml"
    file.write_text(f"<testsuites><testsuite>{cases}</testsuite></testsuites>")
    return file


def test_failures_and_errors_are_named_with_the_end_of_what_they_say(tmp_path: Path) -> None:
    told = "\n".join(f"line {number}" for number in range(100))
    file = failed_report(
        tmp_path,
        "",
        f'<failure message="short">{told}</failure>',
        '<error message="the fixture broke"></error>',
        '<skipped message="no GPU"></skipped>',
    )
    failure, error = list_failures(file)
    assert (failure.name, error) == (
        "tests.a.test_1",
        Failure(name="tests.a.test_2", lines=("the fixture broke",)),
    )
    assert failure.lines == tuple(f"line {number}" for number in range(85, 100))


def test_without_a_report_no_failure_is_named(tmp_path: Path) -> None:
    assert list_failures(tmp_path / "none.xml") == []


def test_many_failures_stay_within_what_ci_shows() -> None:
    stream = io.StringIO()
    failures = [Failure(name=f"tests.a.test_{number}", lines=("x" * 1000,) * 15) for number in range(8)]
    show_failures(Terminal(stream), failures)
    shown = stream.getvalue()
    assert all(failure.name in shown for failure in failures)
    assert shown.count("x" * 120) == 4 * 15 + 4
    assert len(shown) < 10_000


FAILS_AT_FIRST = """
from pathlib import Path

def test_unsteady():
    seen = Path(__file__).with_name("seen-{name}")
    is_first = not seen.exists()
    seen.touch()
    assert not is_first

def test_steady():
    pass
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of its own, in which the suite runs pytest."""
    monkeypatch.setattr(suite, "REPOSITORY", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    return tmp_path


def run_twice(repository: Path) -> tuple[list[Outcome], bool]:
    """The first run, and what becomes of its failures."""
    # Django's plugin would look for a project there.
    environment = suite_environment("postgresql://x", repository) | {"PYTEST_ADDOPTS": "-p no:django"}
    check = suite.Check(title="tests", command=suite._pytest(repository, report_of(repository)))
    terminal = Terminal(io.StringIO())
    outcomes = [suite._run(check, environment, terminal)]
    failures = list_failures(report_of(repository))
    return outcomes, run_again(outcomes, failures, repository, environment, terminal)


def test_what_fails_beside_others_and_passes_alone_is_named_but_holds_nothing_up(repository: Path) -> None:
    (repository / "test_one.py").write_text(FAILS_AT_FIRST.format(name="one"))
    outcomes, is_unsteady = run_twice(repository)
    assert is_unsteady
    assert [outcome.status for outcome in outcomes] == [0, 0]
    assert outcomes[0].note == "1 unsteady, see below"


def test_what_fails_alone_too_fails_the_run(repository: Path) -> None:
    (repository / "test_one.py").write_text("def test_broken():\n    assert False\n")
    outcomes, is_unsteady = run_twice(repository)
    assert not is_unsteady
    assert [outcome.status for outcome in outcomes] == [1, 1]


def test_many_failures_are_no_unsteadiness(repository: Path) -> None:
    for name in ("one", "two", "three", "four"):
        (repository / f"test_{name}.py").write_text(FAILS_AT_FIRST.format(name=name))
    outcomes, is_unsteady = run_twice(repository)
    assert not is_unsteady
    assert [outcome.status for outcome in outcomes] == [1]
