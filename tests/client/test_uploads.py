"""Files of models on their way to the server, in pieces."""

from __future__ import annotations

from pathlib import Path

import pytest

from darkroom import errors
from darkroom.catalogue import PIECE_BYTES, send_file
from tests.client.playing import Player, ok, problem


def test_a_model_goes_up_in_pieces_and_on_from_where_it_broke(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    size = PIECE_BYTES + 5
    path.write_bytes(b"x" * size)
    told: list[tuple[int, int]] = []
    player = Player(
        [
            ok({"id": "up", "received_bytes": 0}, 201),
            # Its first half arrived before the line broke, so the repeat does not fit any more.
            problem(409, "conflict", "1000 bytes have arrived; go on from there."),
            ok({"id": "up", "received_bytes": 1000}),
            ok({"id": "up", "received_bytes": size}),
        ]
    )

    upload_id = player.run(send_file(player.core(), path, on_upload=lambda *each: told.append(each)))

    assert upload_id == "up"
    ranges = [request.headers.get("content-range") for request in player.requests]
    assert ranges == [None, f"bytes 0-{PIECE_BYTES - 1}/{size}", None, f"bytes 1000-{size - 1}/{size}"]
    assert told == [(1000, size), (size, size)]


STALLED = [
    problem(409, "conflict", "Another chunk of this upload is arriving."),
    ok({"id": "up", "received_bytes": 0}),
]


def test_an_upload_waits_for_the_piece_that_still_arrives(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x" * 5)
    player = Player([ok({"id": "up"}, 201), *STALLED, *STALLED, ok({"id": "up", "received_bytes": 5})])

    player.run(send_file(player.core(), path))

    assert player.sleeps == [0.25, 0.5]


def test_an_upload_that_never_goes_on_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x" * 5)
    player = Player([ok({"id": "up"}, 201), *STALLED * 3])

    with pytest.raises(
        errors.DarkroomError, match=r"model\.safetensors has stopped at 0 of 5 bytes.*import again"
    ):
        player.run(send_file(player.core(max_retries=2), path))
    assert player.sleeps == [0.25, 0.5]


def test_a_file_that_shrinks_while_it_is_sent_is_named(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"x" * 5)
    player = Player([ok({"id": "up"}, 201), ok({"id": "up", "received_bytes": 3})])

    with pytest.raises(errors.DarkroomError, match="became shorter"):
        player.run(send_file(player.core(), path, on_upload=lambda done, size: path.write_bytes(b"x")))
