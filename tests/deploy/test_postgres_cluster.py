"""The private PostgreSQL: who may connect, what survives a kill, where its files go."""

from __future__ import annotations

import os
import pwd
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest

from deploy.appliance.postgres import ClusterError, PrivateCluster, is_reachable, shared_buffers_mib
from deploy.appliance.postgres_binaries import BinariesError, ensure_binaries, find_binaries


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    # Not pytest's own folder: as root that is closed to the account PostgreSQL runs as.
    with tempfile.TemporaryDirectory(prefix="darkroom-cluster-") as folder:
        path = Path(folder)
        path.chmod(0o711)
        yield path


@pytest.fixture(scope="module")
def cluster(home: Path) -> Iterator[PrivateCluster]:
    cluster = PrivateCluster(home, max_connections=20)
    yield cluster
    cluster.destroy()


def connect(cluster: PrivateCluster) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(cluster.url, autocommit=True)


def test_start_makes_the_cluster_and_can_be_repeated(cluster: PrivateCluster) -> None:
    cluster.start()
    first = cluster.pid
    cluster.start()
    assert cluster.is_running()
    assert cluster.pid == first
    with connect(cluster) as connection:
        row = connection.execute(
            "select current_user, current_database(), current_setting('data_checksums'),"
            " current_setting('fsync'), current_setting('max_connections')"
        ).fetchone()
    assert row == ("darkroom", "darkroom", "on", "on", "20")


def test_the_role_may_make_databases_but_is_no_superuser(cluster: PrivateCluster) -> None:
    cluster.start()
    with connect(cluster) as connection:
        row = connection.execute(
            "select rolsuper, rolcreatedb from pg_roles where rolname = current_user"
        ).fetchone()
    assert row == (False, True)


def test_wrong_password_is_refused(cluster: PrivateCluster) -> None:
    cluster.start()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(f"host={cluster.socket_dir} user=darkroom dbname=darkroom password=guess")


def test_nothing_listens_on_the_network(cluster: PrivateCluster) -> None:
    cluster.start()
    assert cluster.pid is not None
    assert psutil.Process(cluster.pid).net_connections("inet") == []


def test_files_are_closed_to_others(cluster: PrivateCluster, home: Path) -> None:
    cluster.start()
    modes = {path: path.stat().st_mode & 0o777 for path in (cluster.data_dir, cluster.socket_dir)}
    assert set(modes.values()) == {0o700}
    assert (home / "secrets" / "postgres_password").stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand the server to another account")
def test_as_root_the_server_runs_as_an_unprivileged_account(cluster: PrivateCluster) -> None:
    cluster.start()
    assert cluster.pid is not None
    assert cluster.user is not None
    assert psutil.Process(cluster.pid).uids().real == pwd.getpwnam(cluster.user).pw_uid != 0


def test_committed_rows_survive_a_kill_with_clients_connected(cluster: PrivateCluster) -> None:
    cluster.start()
    bystander = connect(cluster)
    bystander.execute("create table if not exists kept (n int)")
    bystander.execute("insert into kept values (1)")
    assert cluster.pid is not None
    os.kill(cluster.pid, signal.SIGKILL)
    cluster.start()
    with connect(cluster) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (1,)
        connection.execute("drop table kept")
    with pytest.raises(psycopg.OperationalError):
        bystander.execute("select 1")


def test_a_stale_pid_file_that_names_somebody_else_is_no_obstacle(cluster: PrivateCluster) -> None:
    cluster.start()
    lines = (cluster.data_dir / "postmaster.pid").read_text().splitlines()
    cluster.stop()
    (cluster.data_dir / "postmaster.pid").write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    assert cluster.pid is None
    assert not cluster.is_running()
    cluster.start()
    assert cluster.is_running()


def test_stop_can_be_repeated(cluster: PrivateCluster) -> None:
    cluster.start()
    cluster.stop()
    cluster.stop()
    assert cluster.pid is None
    assert not cluster.is_running()


def test_a_deep_home_gets_a_short_socket_path() -> None:
    deep = PrivateCluster(Path("/srv") / ("long" * 30))
    assert len(str(deep.socket_dir / ".s.PGSQL.5432.lock")) <= 107
    assert deep.data_dir.is_relative_to(deep.home)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another account")
def test_a_home_that_the_account_cannot_reach_moves_the_data_and_says_so(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    cluster = PrivateCluster(closed / "home")
    assert cluster.data_dir.is_relative_to("/var/lib")
    assert cluster.note is not None
    assert str(closed) in cluster.note


@pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another account")
def test_an_unreachable_folder_that_was_asked_for_is_refused(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(ClusterError, match="is closed to the account"):
        PrivateCluster(closed / "home", data_dir=closed / "data").ensure()
    assert list(closed.iterdir()) == []


def test_reachability_follows_the_folders_above() -> None:
    assert is_reachable(Path("/usr/bin/env"), "nobody")
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o700)
        assert not is_reachable(Path(folder) / "data", "nobody")


def test_shared_buffers_follow_the_memory_within_bounds() -> None:
    gib = 1024**3
    assert [shared_buffers_mib(size * gib) for size in (0, 4, 8, 64)] == [64, 256, 512, 1024]


def test_a_chosen_folder_without_postgresql_is_an_error_by_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PG_BIN", str(tmp_path))
    with pytest.raises(BinariesError, match="holds no PostgreSQL; version 15 or newer is needed"):
        find_binaries()


def test_a_chosen_folder_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = ensure_binaries()
    monkeypatch.setenv("PG_BIN", str(folder))
    assert find_binaries() == folder


def test_only_the_version_that_made_the_data_will_do() -> None:
    assert find_binaries(major=9) is None
