"""What the first run reads from the processes, and what it tells the operator."""

from __future__ import annotations

import io
import json
import subprocess
from pathlib import Path

import pytest

from deploy.appliance.environment import child_environment, read_environment
from deploy.appliance.first_run import FirstRunError, describe_checks, parse_bootstrap, png_size
from deploy.appliance.secret_files import ensure_secret, find_secret
from deploy.appliance.summary import Facts, FirstImage, curl_command, print_summary
from deploy.appliance.terminal import Terminal


def facts(home: Path, *, key_is_new: bool, password: str | None, prompt: str = "a fox's den") -> Facts:
    return Facts(
        environment=read_environment({"DARKROOM_HOME": str(home), "DARKROOM_PORT": "8123"}),
        bootstrap_email="operator@darkroom.local",
        bootstrap_password=password,
        api_key="dk_secret",
        key_is_new=key_is_new,
        key_file=home / "secrets" / "quickstart_key",
        plan="Free",
        calls_per_day=100,
        endpoint="/api/v7/images/text-to-image",
        payload={"prompt": prompt},
    )


def summary(given: Facts, image: FirstImage | None) -> str:
    stream = io.StringIO()
    print_summary(Terminal(stream), given, image, is_running=True)
    return stream.getvalue()


def test_bootstrap_report_is_found_after_the_migrations() -> None:
    report = {
        "operator_email": "o@x",
        "operator_password": None,
        "api_key": None,
        "plan": "Free",
        "calls_per_day": 100,
    }
    found = parse_bootstrap(["Applying accounts.0001_initial... OK", json.dumps(report)])
    assert (found.operator_email, found.operator_password, found.plan) == ("o@x", None, "Free")


def test_missing_bootstrap_report_shows_what_there_was() -> None:
    with pytest.raises(FirstRunError, match="no such table"):
        parse_bootstrap(["no such table"])


def test_progress_names_what_is_not_ready() -> None:
    checks = {"database": "ok", "migrations": "pending", "gpu_worker": {"state": "absent", "device": ""}}
    assert describe_checks({"checks": checks}) == "migrations pending; gpu worker absent"
    assert describe_checks({"checks": {"gpu_worker": {"state": "ready"}}}) == ""
    assert describe_checks({}) == ""


def test_png_size_comes_from_the_header() -> None:
    header = b"\x89PNG\r\n\x1a\n" + b"\x00\x00\x00\rIHDR" + (128).to_bytes(4, "big") + (64).to_bytes(4, "big")
    assert png_size(header) == (128, 64)
    assert png_size(b"<html>") is None


def test_password_and_new_key_are_shown_and_an_old_key_is_not(tmp_path: Path) -> None:
    image = FirstImage(path=tmp_path / "first-image.png", size_px=(128, 128), elapsed_s=1.25)
    first = summary(facts(tmp_path, key_is_new=True, password="hunter2"), image)
    again = summary(facts(tmp_path, key_is_new=False, password=None), image)
    assert "hunter2" in first
    assert "dk_secret" in first
    assert "dk_secret" not in again
    for text in (first, again):
        assert str(image.path) in text
        assert "http://127.0.0.1:8123/" in text
        assert "Free: 100 calls a day" in text
        assert "Ctrl-C" in text


@pytest.mark.parametrize("key_is_new", [True, False])
def test_the_printed_curl_sends_the_request_that_was_made(tmp_path: Path, key_is_new: bool) -> None:
    given = facts(tmp_path, key_is_new=key_is_new, password=None)
    given.key_file.parent.mkdir()
    given.key_file.write_text("dk_secret\n")
    # A shell runs the command as printed, with curl replaced by something that shows its arguments.
    script = 'curl() { printf "%s\\0" "$@"; }\n' + "\n".join(curl_command(given))
    arguments = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True
    ).stdout.split("\0")
    assert arguments[1] == "http://127.0.0.1:8123/api/v7/images/text-to-image"
    assert json.loads(arguments[arguments.index("-d") + 1]) == {"key": "dk_secret", "prompt": "a fox's den"}


def test_children_get_every_setting_and_no_stray_libpq_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PGHOST", "elsewhere")
    monkeypatch.delenv("DARKROOM_SECRET_KEY", raising=False)
    monkeypatch.delenv("DARKROOM_SECRET_KEY_FILE", raising=False)
    monkeypatch.setenv("DARKROOM_KEY_PEPPER", "chosen")
    environment = read_environment({"DARKROOM_HOME": str(tmp_path), "DARKROOM_PORT": "9001"})
    found = child_environment(environment, database_url="postgresql://x")
    assert found["DATABASE_URL"] == "postgresql://x"
    assert found["DARKROOM_BASE_URL"] == "http://127.0.0.1:9001"
    assert found["DARKROOM_SECRET_KEY_FILE"] == str(tmp_path / "secrets" / "secret_key")
    assert found["DARKROOM_KEY_PEPPER"] == "chosen"
    assert found["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "PGHOST" not in found


def test_secrets_are_made_once_and_closed(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "secret_key"
    assert find_secret(path) is None
    first = ensure_secret(path)
    assert ensure_secret(path) == first
    assert len(first) >= 43
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
