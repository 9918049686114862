"""What `darkroom login` saves, and what goes before it."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from darkroom import Darkroom
from darkroom.errors import DarkroomError
from darkroom.profiles import Profile, find_profile, forget_profile, load_profiles, save_profile

BOX = Profile("http://box:8000", "dkr_box")
LAB = Profile("http://lab:8000", "dkr_lab")


def test_its_owner_alone_can_read_it(nobody_in_particular: Path) -> None:
    path = save_profile("default", BOX)
    save_profile("lab", LAB)

    assert path == nobody_in_particular
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert load_profiles() == {"default": BOX, "lab": LAB}
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    assert "dkr_box" not in repr(BOX)


def test_a_file_that_others_could_read_is_made_anew(nobody_in_particular: Path) -> None:
    nobody_in_particular.parent.mkdir(parents=True)
    nobody_in_particular.write_text('{"profiles": {}}')
    nobody_in_particular.chmod(0o644)

    save_profile("default", BOX)

    assert stat.S_IMODE(nobody_in_particular.stat().st_mode) == 0o600


def test_programs_find_what_was_saved() -> None:
    save_profile("default", BOX)

    core = Darkroom()._driver.core

    assert (core.base_url, core.api_key) == ("http://box:8000", "dkr_box")


def test_which_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    save_profile("default", BOX)
    save_profile("lab", LAB)

    assert find_profile() == BOX
    assert find_profile("lab") == LAB
    monkeypatch.setenv("DARKROOM_PROFILE", "lab")
    assert find_profile() == LAB
    monkeypatch.setenv("DARKROOM_URL", "http://other")
    monkeypatch.setenv("DARKROOM_API_KEY", "dkr_other")
    assert find_profile() == Profile("http://other", "dkr_other")
    # Asked for by name, it is what was saved under it.
    assert find_profile("lab") == LAB


def test_a_saved_key_goes_to_its_own_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    save_profile("default", BOX)
    monkeypatch.setenv("DARKROOM_URL", "http://other")

    assert find_profile() == Profile("http://other", "")
    monkeypatch.setenv("DARKROOM_URL", "http://box:8000/")
    assert find_profile().api_key == "dkr_box"


def test_an_address_in_the_program_does_not_get_a_saved_key() -> None:
    save_profile("default", BOX)

    with pytest.raises(DarkroomError, match="No API key is set"):
        Darkroom("http://other")
    assert Darkroom("http://box:8000/")._driver.core.api_key == "dkr_box"


def test_names_that_were_not_saved() -> None:
    save_profile("lab", LAB)

    with pytest.raises(DarkroomError, match="no profile 'box'; saved are: lab"):
        find_profile("box")


def test_forgetting() -> None:
    save_profile("default", BOX)

    assert forget_profile("default")
    assert not forget_profile("default")
    assert find_profile() == Profile()


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"profiles": []}', '{"profiles": {"a": {"url": 1}}}', "\x00"]
)
def test_a_damaged_file_is_named(nobody_in_particular: Path, text: str) -> None:
    nobody_in_particular.parent.mkdir(parents=True)
    nobody_in_particular.write_text(text)

    with pytest.raises(DarkroomError, match="damaged; remove it"):
        load_profiles()


def test_a_relative_folder_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "config")
    monkeypatch.setenv("HOME", str(tmp_path))

    path = save_profile("default", BOX)

    assert path == tmp_path / ".config" / "darkroom" / "profiles.json"
    assert json.loads(path.read_text())["profiles"]["default"]["url"] == "http://box:8000"
