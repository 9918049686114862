"""The sandbox: no network, no secrets, no other processes, and an end that the parent decides."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from gpu_runtime.weights.confinement import seccomp
from gpu_runtime.weights.sandbox import Outcome, SandboxResult, run_sandboxed

MEMORY_BYTES = 1 << 30
WALL_S = 60.0


def run(work: Path, code: str, **options: Any) -> tuple[SandboxResult, list[str]]:
    """Run Python code in the sandbox; returns how it ended and its lines."""
    lines: list[str] = []
    chosen = {
        "readable": [],
        "writable": [work],
        "memory_bytes": MEMORY_BYTES,
        "cpu_s": 60,
        "wall_s": WALL_S,
        "on_line": lines.append,
    } | options
    return run_sandboxed([sys.executable, "-P", "-c", code], **chosen), lines


def tried(work: Path, attempts: dict[str, str], **options: Any) -> dict[str, str]:
    """What became of each attempt: "done", or the name of the error."""
    code = "import json, os, socket, subprocess, sys\nfound = {}\n"
    for name, attempt in attempts.items():
        code += f"try:\n    {attempt}\n    found[{name!r}] = 'done'\n"
        code += f"except Exception as error:\n    found[{name!r}] = type(error).__name__\n"
    _, lines = run(work, code + "print(json.dumps(found))", **options)
    found: dict[str, str] = json.loads(lines[0])
    return found


def test_every_protection_of_this_kernel_holds(tmp_path: Path) -> None:
    result, lines = run(tmp_path, "print('hello'); print('world')")

    assert lines == ["hello", "world"]
    assert (result.outcome, result.exit_code, result.stderr_tail) == (Outcome.EXITED, 0, "")
    expected = {"namespaces", "no_new_privs", "landlock", "seccomp", "limits"}
    if os.geteuid() == 0:
        expected.add("capabilities")
    assert result.protections.keys() == expected
    missing = {name: why for name, why in result.protections.items() if why}
    if missing:
        pytest.skip(f"this kernel or container refuses: {missing}")
    assert result.is_network_isolated


def test_no_connection_is_possible(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        connect = "socket.create_connection({address!r}, timeout=2)"
        found = tried(
            tmp_path,
            {
                "loopback": connect.format(address=address),
                "elsewhere": connect.format(address=("192.0.2.1", 80)),
                "datagram": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
                "name": "socket.getaddrinfo('example.org', 80)[0]",
                "unix": "socket.socket(socket.AF_UNIX).connect('/run/dbus/system_bus_socket')",
                "netlink": "socket.socket(socket.AF_NETLINK)",
            },
        )
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()

    assert set(found.values()) <= {"PermissionError", "gaierror"}, found


@pytest.mark.parametrize("protect", ["entry._leave_namespaces()", "kernel.prctl(38, 1); seccomp.install()"])
def test_either_protection_alone_keeps_every_network_away(protect: str) -> None:
    """Containers often refuse new namespaces; some kernels have no seccomp."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = "import socket\nfrom gpu_runtime.weights.confinement import entry, kernel, seccomp\n"
        code += f"try: {protect}\nexcept OSError as error: raise SystemExit(f'refused: {{error}}')\n"
        code += f"for address in ({server.getsockname()!r}, ('192.0.2.1', 80)):\n"
        code += "    try: socket.create_connection(address, timeout=2)\n"
        code += "    except OSError as error: print(error.errno)\n"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if done.stderr.startswith("refused"):
        pytest.skip(f"this kernel or container refuses it: {done.stderr}")

    errors = {int(number) for number in done.stdout.split()}
    assert len(done.stdout.split()) == 2
    assert errors <= {errno.ENETUNREACH, errno.EPERM}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another's rights to give up")
def test_root_has_no_powers_left_but_to_write_in_the_folder_of_another(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    tmp_path.chmod(0o700)

    found = tried(tmp_path, {"own": "open('mine', 'w').write('x')", "name": "socket.sethostname('x')"})

    assert found == {"own": "done", "name": "PermissionError"}


def test_control_without_the_sandbox_connects(tmp_path: Path) -> None:
    """What shows that the test above can fail."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        code = f"import socket; socket.create_connection({server.getsockname()!r}, timeout=2)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_environment_is_empty_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_SECRET_KEY", "do-not-tell")

    _, lines = run(tmp_path, "import json, os; print(json.dumps(dict(os.environ)))")

    environment = json.loads(lines[0])
    assert "do-not-tell" not in lines[0]
    assert environment["HOME"] == environment["TMPDIR"] == str(tmp_path)
    assert environment["HF_HUB_OFFLINE"] == "1"
    assert not any(name.startswith(("DARKROOM", "DATABASE", "PG", "AWS", "STRIPE")) for name in environment)


def test_files_and_memory_of_others_cannot_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("do-not-tell")
    given = tmp_path / "given"
    given.mkdir()
    (given / "weights").write_text("numbers")
    work = tmp_path / "work"
    work.mkdir()

    found = tried(
        work,
        {
            "secret": f"open({str(secret)!r}).read()",
            "listing": f"os.listdir({str(tmp_path)!r})",
            "environment": "open(f'/proc/{os.getppid()}/environ').read()",
            "memory": "open(f'/proc/{os.getppid()}/mem', 'rb').read(1)",
            "password": "open('/etc/shadow').read()",
            "given": f"open({str(given / 'weights')!r}).read()",
        },
        readable=[given],
    )

    assert found.pop("given") == "done"
    assert set(found.values()) == {"PermissionError"}, found


def test_only_the_work_folder_can_be_changed(tmp_path: Path) -> None:
    given, work = tmp_path / "given", tmp_path / "work"
    for folder in (given, work):
        folder.mkdir()
    (given / "weights").write_text("numbers")

    found = tried(
        work,
        {
            "own": "open('mine', 'w').write('x')",
            "temporary": "open('/tmp/darkroom-sandbox-escape', 'w')",
            "given": f"open({str(given / 'weights')!r}, 'a')",
            "removal": f"os.unlink({str(given / 'weights')!r})",
            "new": f"open({str(given / 'new')!r}, 'w')",
        },
        readable=[given],
    )

    assert found.pop("own") == "done"
    assert set(found.values()) == {"PermissionError"}, found
    assert (given / "weights").read_text() == "numbers"
    assert (work / "mine").read_text() == "x"


def test_finished_folders_can_be_added_and_nothing_there_be_changed(tmp_path: Path) -> None:
    store, work = tmp_path / "components", tmp_path / "work"
    for folder in (store / "old", work / "new"):
        folder.mkdir(parents=True)
    (store / "old" / "weights").write_text("good")
    (work / "new" / "weights").write_text("fresh")
    old = str(store / "old" / "weights")

    found = tried(
        work,
        {
            "place": f"os.rename('new', {str(store / 'new')!r})",
            "read": f"open({old!r}).read()",
            "overwrite": f"open({old!r}, 'w')",
            "remove": f"os.unlink({old!r})",
            "replace": f"open('x', 'w'); os.rename('x', {old!r})",
            "steal": f"os.rename({str(store / 'old')!r}, 'stolen')",
            "after": f"open({str(store / 'new' / 'weights')!r}, 'a')",
        },
        appendable=[store],
    )

    assert {name for name, what in found.items() if what == "done"} == {"place", "read"}, found
    assert (store / "old" / "weights").read_text() == "good"
    assert (store / "new" / "weights").read_text() == "fresh"


def test_no_other_process_can_be_started_or_signalled(tmp_path: Path) -> None:
    found = tried(
        tmp_path,
        {
            "fork": "os.fork()",
            "program": "subprocess.run(['/bin/true'])",
            "shell": "assert os.system('true') == 0",
            "signal": "os.kill(os.getppid(), 0)",
        },
    )

    assert "done" not in found.values(), found


def test_threads_still_work(tmp_path: Path) -> None:
    code = "import threading\nt = threading.Thread(target=print, args=('in a thread',))\nt.start()\nt.join()"

    _, lines = run(tmp_path, code)

    assert lines == ["in a thread"]


def test_too_much_memory_is_said_to_be_that(tmp_path: Path) -> None:
    result, lines = run(tmp_path, "x = bytearray(2 << 30)\nprint(len(x))")

    assert result.outcome == Outcome.OUT_OF_MEMORY
    assert lines == []


def test_mapped_files_are_no_memory(tmp_path: Path) -> None:
    """A checkpoint larger than the memory limit can be mapped and read."""
    file = tmp_path / "sparse"
    with file.open("wb") as stream:
        stream.truncate(3 << 30)
    code = "import mmap\nf = open('sparse', 'rb')\nm = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)\n"

    result, lines = run(tmp_path, code + "print(m[(3 << 30) - 1])", mapped_bytes=3 << 30)

    assert (result.outcome, lines) == (Outcome.EXITED, ["0"])


def test_time_runs_out(tmp_path: Path) -> None:
    started = time.monotonic()
    pid_file = tmp_path / "pid"
    code = "import os, signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    code += "open('pid', 'w').write(str(os.getpid()))\ntime.sleep(600)"

    result, _ = run(tmp_path, code, wall_s=3.0)

    assert (result.outcome, result.exit_code) == (Outcome.TIMEOUT, None)
    assert 3.0 <= result.wall_s < 20.0
    assert time.monotonic() - started < 20.0
    assert not psutil.pid_exists(int(pid_file.read_text()))


def test_time_runs_out_after_the_output_was_closed(tmp_path: Path) -> None:
    code = "import os, time\nos.close(1)\nos.close(2)\ntime.sleep(600)"

    result, _ = run(tmp_path, code, wall_s=3.0)

    assert result.outcome == Outcome.TIMEOUT


def test_processor_time_runs_out(tmp_path: Path) -> None:
    result, _ = run(tmp_path, "while True: pass", cpu_s=1)

    assert result.outcome == Outcome.TIMEOUT


def test_cancel_ends_it_at_once(tmp_path: Path) -> None:
    seen: list[str] = []

    result, _ = run(
        tmp_path,
        "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)",
        on_line=seen.append,
        is_canceled=lambda: bool(seen),
    )

    assert result.outcome == Outcome.CANCELED
    assert result.wall_s < WALL_S / 2
    assert not psutil.pid_exists(int(seen[0]))


def test_error_in_the_reader_ends_it_and_goes_on(tmp_path: Path) -> None:
    seen: list[str] = []

    def fail(line: str) -> None:
        seen.append(line)
        raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError, match="the database is gone"):
        run(tmp_path, "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)", on_line=fail)

    assert not psutil.pid_exists(int(seen[0]))


def test_crash_is_an_outcome_and_no_exception(tmp_path: Path) -> None:
    result, _ = run(tmp_path, "import os; os.abort()")

    assert (result.outcome, result.exit_code) == (Outcome.CRASHED, None)


def test_error_exit_keeps_the_end_of_stderr(tmp_path: Path) -> None:
    result, _ = run(tmp_path, "import sys; sys.stderr.write('x' * 20000); sys.exit('the reason')")

    assert (result.outcome, result.exit_code) == (Outcome.EXITED, 1)
    assert result.stderr_tail.endswith("the reason\n")
    assert len(result.stderr_tail) == 8000


def test_endless_line_is_cut_off(tmp_path: Path) -> None:
    result, lines = run(tmp_path, "import sys\nwhile True: sys.stdout.write('x' * 65536)")

    assert (result.outcome, lines) == (Outcome.TOO_TALKATIVE, [])


def test_file_larger_than_allowed_cannot_be_written(tmp_path: Path) -> None:
    found = tried(tmp_path, {"large": "open('large', 'wb').write(b'x' * 100000)"}, file_bytes=50000)

    assert found == {"large": "OSError"}
    assert (tmp_path / "large").stat().st_size <= 50000


def test_filter_names_every_call_for_both_architectures() -> None:
    assert seccomp.X86_64.refused.keys() == seccomp.AARCH64.refused.keys() | {"fork", "vfork"}
    for calls in (seccomp.X86_64, seccomp.AARCH64):
        assert len(set(calls.refused.values())) == len(calls.refused)
        assert len(seccomp.program(calls, process=1)) % 8 == 0
