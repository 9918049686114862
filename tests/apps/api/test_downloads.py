"""/downloads/: a wheel that is what setuptools would build, and an index that pip understands."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from django.test import Client
from packaging.requirements import Requirement

from apps.api.downloads.wheel import CLIENT, build_wheel, client_wheel

WHEEL = client_wheel()
INDEX = f"/downloads/simple/{WHEEL.project}/"


def files_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def metadata_of(files: dict[str, bytes]) -> Message:
    [name] = [name for name in files if name.endswith(".dist-info/METADATA")]
    return Parser().parsestr(files[name].decode())


def requirements_of(metadata: Message) -> set[Requirement]:
    """Which compare by meaning: setuptools writes versions in another order."""
    return {Requirement(text) for text in metadata.get_all("Requires-Dist", [])}


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What setuptools builds of the same folder."""
    place = tmp_path_factory.mktemp("wheel")
    shutil.copytree(CLIENT, place / "client", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    program = f"from setuptools.build_meta import build_wheel; build_wheel({str(place)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=place / "client", check=True, capture_output=True)
    [built] = place.glob("*.whl")
    assert built.name == WHEEL.file
    return files_of(built.read_bytes())


def test_it_is_what_setuptools_builds(reference: dict[str, bytes]) -> None:
    ours = files_of(WHEEL.data)
    theirs, told = metadata_of(reference), metadata_of(ours)

    packaged = {name for name in reference if ".dist-info/" not in name}
    assert {name for name in ours if ".dist-info/" not in name} == packaged
    assert {name: ours[name] for name in packaged} == {name: reference[name] for name in packaged}
    for name in ("Name", "Version", "Summary", "License-Expression", "Requires-Python"):
        assert told.get_all(name) == theirs.get_all(name), name
    assert requirements_of(told) == requirements_of(theirs)
    assert told.get_payload() == theirs.get_payload()
    [scripts] = [name for name in ours if name.endswith("entry_points.txt")]
    assert ours[scripts] == reference[scripts]


def test_it_is_the_same_every_time() -> None:
    assert build_wheel(CLIENT).data == WHEEL.data


def test_its_record_is_true() -> None:
    files = files_of(WHEEL.data)
    [record] = [name for name in files if name.endswith("/RECORD")]

    rows = {name: (digest, size) for name, digest, size in csv.reader(files[record].decode().splitlines())}

    assert rows.pop(record) == ("", "")
    assert rows.keys() == files.keys() - {record}
    for name, (digest, size) in rows.items():
        expected = base64.urlsafe_b64encode(hashlib.sha256(files[name]).digest()).rstrip(b"=").decode()
        assert (digest, size) == (f"sha256={expected}", str(len(files[name]))), name


def test_the_index_leads_to_the_wheel(client: Client) -> None:
    listed = client.get("/downloads/simple/").content.decode()
    assert f'href="{WHEEL.project}/"' in listed
    page = client.get(INDEX).content.decode()
    found = re.search(r'href="(?P<path>[^"#]+)#sha256=(?P<digest>[0-9a-f]{64})"', page)
    assert found is not None
    assert 'data-requires-python="&gt;=3.11"' in page

    response = client.get(found["path"])

    assert response.status_code == 200
    assert hashlib.sha256(response.content).hexdigest() == found["digest"]


def test_a_copy_that_is_current_is_not_sent_again(client: Client) -> None:
    path = f"/downloads/{WHEEL.file}"
    etag = client.get(path)["ETag"]

    assert client.get(path, headers={"If-None-Match": etag}).status_code == 304
    assert client.head(path)["ETag"] == etag


@pytest.mark.parametrize(
    "path", ["/downloads/simple/django/", "/downloads/darkroom_client-0.0.1-py3-none-any.whl", "/downloads/"]
)
def test_other_names_are_not_here(client: Client, path: str) -> None:
    assert client.get(path).status_code == 404


def test_nothing_is_changed_here(client: Client) -> None:
    assert client.post(INDEX).status_code == 405


@pytest.mark.slow
@pytest.mark.usefixtures("db")
def test_pip_installs_it_and_it_runs(live_server: object, tmp_path: Path) -> None:
    place = tmp_path / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(place)], check=True)
    pip = [sys.executable, "-m", "pip", "--isolated", "--python", str(place)]
    index = f"{live_server}/downloads/simple"
    done = subprocess.run(
        [*pip, "install", "--no-deps", "--no-cache-dir", "--index-url", index, WHEEL.project],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # What the client needs is here already, and there is no index for it in a test.
    packages = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    command = [str(place / "bin" / "darkroom"), "--version"]
    told = subprocess.run(command, env={"PYTHONPATH": packages}, capture_output=True, text=True)

    assert (told.returncode, told.stdout.strip()) == (0, f"darkroom {WHEEL.file.split('-')[1]}"), told.stderr
