"""deploy/test: what it runs, and that a skipped test must say why."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.appliance.suite import check_skips, list_checks, suite_environment


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
