from __future__ import annotations

from apps.core.errors import DomainError, InvalidField


def test_messages_are_filled_in_once() -> None:
    # A value that looks like a placeholder stays what the caller sent.
    error = InvalidField(field="prompt", problem="must not be {field}")

    assert str(error) == "prompt must not be {field}"


def test_a_dialect_renames_the_field_and_keeps_the_problem() -> None:
    error = InvalidField(field="num_images", problem="must be 1 to 15, not 16").renamed("samples")

    assert (str(error), error.code, error.http_status) == (
        "samples must be 1 to 15, not 16",
        "invalid_field",
        400,
    )


def test_data_and_delay_are_kept_for_the_renderer() -> None:
    class Busy(DomainError):
        code = "busy"
        http_status = 429
        message = "Wait {seconds} seconds."

    error = Busy(seconds=3, retry_after_s=3)

    assert (str(error), error.data, error.retry_after_s) == ("Wait 3 seconds.", {"seconds": 3}, 3)
    del Busy
