"""What has arrived of a file, in memory and beside it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.catalog.choices import ImportPhase
from apps.catalog.imports.failures import Stopped
from apps.catalog.imports.partial_file import PartialFile
from apps.catalog.imports.progress import Progress
from apps.catalog.imports.ranges import Ranges, Sidecar
from apps.catalog.imports.sources.plan import RemoteFile

SIZE = 64


@given(st.lists(st.tuples(st.integers(0, SIZE), st.integers(0, SIZE))))
def test_ranges_are_what_a_set_of_bytes_would_be(pairs: list[tuple[int, int]]) -> None:
    ranges, model = Ranges(), set[int]()
    for start, end in pairs:
        ranges.add(start, end)
        model |= set(range(start, end))
    assert ranges.total == len(model)
    missing = {byte for start, end in ranges.missing(SIZE) for byte in range(start, end)}
    assert missing == set(range(SIZE)) - model
    assert ranges.pairs == sorted(ranges.pairs)
    assert all(last < first for (_, last), (first, _) in zip(ranges.pairs, ranges.pairs[1:], strict=False))


def test_a_sidecar_tells_what_it_was_told(tmp_path: Path) -> None:
    sidecar = Sidecar(tmp_path / "a.part.json")
    sidecar.write("digest", Ranges([(0, 5), (9, 12)]), '"etag"', 20)
    ranges, etag, size = sidecar.read("digest")
    assert (ranges.pairs, etag, size) == ([(0, 5), (9, 12)], '"etag"', 20)
    assert sidecar.read("another file")[0].pairs == []
    sidecar.remove()
    assert sidecar.read("digest")[0].pairs == []


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"identity": "x", "done": 3, "size": 1, "etag": ""}'])
def test_a_damaged_sidecar_counts_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.part.json").write_text(text)
    ranges, etag, size = Sidecar(tmp_path / "a.part.json").read("x")
    assert (ranges.pairs, etag, size) == ([], "", None)


def partial(folder: Path, size: int | None = 10, sha256: str = "") -> PartialFile:
    file = PartialFile(
        RemoteFile(name="sub/a.bin", url="http://x/a", size=size, sha256=sha256), folder, segment_bytes=4
    )
    file.open()
    return file


def test_one_piece_at_a_time_until_the_server_has_shown_ranges(tmp_path: Path) -> None:
    file = partial(tmp_path)
    first = file.take_piece()
    assert first is not None
    assert (first.start, first.end) == (0, 4)
    assert file.take_piece() is None
    assert file.accept(first, etag='"1"', size=10, has_ranges=True) == 0
    others = [file.take_piece(), file.take_piece()]
    assert [(piece.start, piece.end) for piece in others if piece] == [(4, 8), (8, 10)]
    assert file.take_piece() is None
    file.close()


def test_a_piece_that_was_given_up_is_given_out_again_from_where_it_stopped(tmp_path: Path) -> None:
    file = partial(tmp_path)
    piece = file.take_piece()
    assert piece is not None
    file.accept(piece, etag="", size=10, has_ranges=True)
    file.write(piece, 0, b"abc")
    assert file.give_back(piece) is False
    again = file.take_piece()
    assert again is not None
    assert (again.start, again.end) == (3, 7)
    file.close()


def test_another_version_of_the_file_is_not_mixed_in(tmp_path: Path) -> None:
    file = partial(tmp_path)
    piece = file.take_piece()
    assert piece is not None
    file.accept(piece, etag='"1"', size=10, has_ranges=True)
    file.write(piece, 0, b"abcd")
    assert file.accept(piece, etag='"2"', size=10, has_ranges=True) is None
    assert file.accept(piece, etag='"1"', size=11, has_ranges=True) is None
    assert file.restart(piece) == (4, 0)
    # Others of the old version notice, and restart nothing.
    assert file.restart(piece) == (0, 0)
    assert file.write(piece, 4, b"efgh") is False
    assert (file.arrived, file.part.stat().st_size) == (0, 0)
    file.close()


def test_the_next_process_takes_up_what_this_one_wrote(tmp_path: Path) -> None:
    file = partial(tmp_path)
    piece = file.take_piece()
    assert piece is not None
    file.accept(piece, etag='"1"', size=10, has_ranges=True)
    file.write(piece, 0, b"abcd")
    file.close()
    again = PartialFile(file.file, tmp_path, segment_bytes=4)
    assert (again.open(), again.etag) == (4, '"1"')
    again.close()
    # Another file of that name, or another length, begins anew.
    other = RemoteFile(name="sub/a.bin", url="http://x/a", size=10, sha256="f" * 64)
    assert PartialFile(other, tmp_path, segment_bytes=4).open() == 0


def test_the_speed_is_that_of_the_last_seconds() -> None:
    now = [0.0]
    progress = Progress(monotonic=lambda: now[0])
    progress.enter(ImportPhase.DOWNLOADING)
    progress.expect(files=1, total_bytes=10_000, done_bytes=4_000)
    assert progress.snapshot().speed_bps == 0.0
    for _ in range(10):
        now[0] += 1.0
        progress.add(100)
        last = progress.snapshot()
    assert (last.bytes_done, last.speed_bps) == (5_000, 100.0)
    now[0] += 20.0
    assert progress.snapshot().speed_bps < 5.0


def test_a_new_phase_forgets_the_figures_of_the_last() -> None:
    progress = Progress()
    progress.expect(files=2, total_bytes=100, done_bytes=50)
    progress.enter(ImportPhase.VERIFYING)
    found = progress.snapshot()
    assert (found.phase, found.bytes_done, found.bytes_total, found.files_total) == ("verifying", 0, 0, 0)


def test_nothing_new_begins_once_it_is_to_stop() -> None:
    progress = Progress()
    progress.stop.set()
    with pytest.raises(Stopped):
        progress.enter(ImportPhase.CONVERTING)
    assert progress.phase == ImportPhase.LISTING
