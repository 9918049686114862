"""deploy/test: what it runs, and that a skipped test must say why."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from deploy.appliance.suite import (
    Failure,
    check_skips,
    list_checks,
    list_failures,
    show_failures,
    suite_environment,
)
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
    checks = list_checks(["-k", "fox"], Path("/x.xml"))
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
