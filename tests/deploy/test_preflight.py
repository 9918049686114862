"""Each obstacle is one line that says what to do, and nothing is changed by looking."""

from __future__ import annotations

import os
import shutil
import socket
import sys
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.appliance import minimums, preflight
from deploy.appliance.environment import Environment, SettingError, default_home, read_environment
from deploy.appliance.quickstart import own_home

GIB = minimums.GIB


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def environment(home: Path, **variables: str) -> Environment:
    return read_environment({"DARKROOM_HOME": str(home), **variables})


def test_busy_port_names_the_process_and_another_port(busy_port: int) -> None:
    [fault] = preflight.port_faults("127.0.0.1", busy_port)
    assert f"port {busy_port} is in use by " in fault
    assert f"(process {os.getpid()})" in fault
    assert fault.endswith(f"DARKROOM_PORT={busy_port + 10} deploy/quickstart")


def test_free_port_is_no_fault(busy_port: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    assert list(preflight.port_faults("127.0.0.1", free)) == []


def test_foreign_address_is_named() -> None:
    [fault] = preflight.port_faults("192.0.2.1", 8000)
    assert fault.startswith("DARKROOM_BIND=192.0.2.1 is no address of this machine")


def test_little_disk_says_how_much_is_missing_and_where(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _place: usage(10 * GIB, 9 * GIB, GIB // 2))
    faults = list(preflight.disk_faults(tmp_path / "home"))
    assert faults
    assert f"free disk are needed at {tmp_path}, 0.5 GiB are there" in faults[0]
    assert "DARKROOM_HOME=/some/folder deploy/quickstart" in faults[0]


@pytest.mark.parametrize(
    ("total", "available", "words"),
    [
        (2 * GIB, 2 * GIB, "3.0 GiB of memory are needed, this machine has 2.0 GiB"),
        (8 * GIB, GIB, "1.5 GiB of free memory are needed, 1.0 GiB are"),
    ],
)
def test_little_memory(total: int, available: int, words: str) -> None:
    [fault] = preflight.memory_faults(total, available)
    assert words in fault


def test_enough_memory_is_no_fault() -> None:
    assert list(preflight.memory_faults(8 * GIB, 4 * GIB)) == []


def test_old_python_and_unknown_processor() -> None:
    assert list(preflight.python_faults((3, 10))) == [
        "Python 3.11 is needed, this is 3.10; install python3.11 and run this again"
    ]
    assert "torch is published for x86_64 and aarch64" in next(preflight.processor_faults("riscv64", 4))
    assert list(preflight.python_faults(sys.version_info[:2])) == []


def test_home_that_is_a_file(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    [fault] = preflight.home_faults(file)
    assert "is a file" in fault


def test_second_supervisor_on_a_home_is_told_about_the_first(tmp_path: Path) -> None:
    first = environment(tmp_path)
    with own_home(first):
        faults = list(preflight.list_faults(first))
        with pytest.raises(SettingError, match="already running"), own_home(first):
            pass
    assert any(f"already running on {tmp_path} (process {os.getpid()})" in fault for fault in faults)
    assert not any("already running" in fault for fault in preflight.list_faults(first))


def test_main_reports_every_fault_and_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, busy_port: int
) -> None:
    monkeypatch.setenv("DARKROOM_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DARKROOM_PORT", str(busy_port))
    monkeypatch.setattr(preflight, "total_memory", lambda: GIB)
    assert preflight.main() == 1
    output = capsys.readouterr().out
    assert "nothing has been changed yet" in output
    assert "of memory are needed" in output
    assert f"port {busy_port} is in use" in output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("DARKROOM_PORT", "eighty", "DARKROOM_PORT must be a whole number"),
        ("DARKROOM_PORT", "70000", "from 1 to 65535"),
        ("DARKROOM_RUNTIME", "magic", "DARKROOM_RUNTIME must be torch or fake"),
    ],
)
def test_unusable_settings_are_refused_by_name(tmp_path: Path, name: str, value: str, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        environment(tmp_path, **{name: value})


def test_default_home_depends_on_who_asks() -> None:
    assert default_home({}, 0) == Path("/var/lib/darkroom")
    assert default_home({"XDG_DATA_HOME": "/data"}, 1000) == Path("/data/darkroom")


def test_local_url_reaches_a_server_that_listens_everywhere(tmp_path: Path) -> None:
    found = environment(
        tmp_path, DARKROOM_BIND="0.0.0.0", DARKROOM_PORT="9000", DARKROOM_BASE_URL="https://x.example/"
    )
    assert found.local_url == "http://127.0.0.1:9000"
    assert found.base_url == "https://x.example"
