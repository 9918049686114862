"""Brackets in prompts: which words get which weight, and what stays text."""

from __future__ import annotations

import time

import pytest

from gpu_runtime.messages import PromptStyle
from gpu_runtime.prompts.weighting import MAX_WEIGHT, Piece, plain_text, sections_of

UP, DOWN = 1.1, 1 / 1.1


def read(prompt: str) -> list[list[tuple[str, float]]]:
    sections = sections_of(prompt, PromptStyle.WEIGHTED)
    return [[(piece.text, pytest.approx(piece.weight)) for piece in section] for section in sections]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a cat", [("a cat", 1)]),
        ("", []),
        ("a (red) cat", [("a ", 1), ("red", UP), (" cat", 1)]),
        ("((red))", [("red", UP**2)]),
        ("(red:1.5) cat", [("red", 1.5), (" cat", 1)]),
        ("(red: .5 )", [("red", 0.5)]),
        ("(red:-1)", [("red", -1)]),
        ("[red]", [("red", DOWN)]),
        ("([red])", [("red", 1)]),
        ("(a (b:1.5) c:2)", [("a ", 2), ("b", 3), (" c", 2)]),
        ("(a:b:1.2)", [("a:b", 1.2)]),
        (r"\(red\) \[x\] \\", [(r"(red) [x] \ ".rstrip(), 1)]),
        (r"(a \(b\):1.3)", [("a (b)", 1.3)]),
        ("(red", [("red", UP)]),
        ("a [b (c", [("a ", 1), ("b ", DOWN), ("c", DOWN * UP)]),
        ("red) :) ]", [("red) :) ]", 1)]),
        ("ratio 3:2) x", [("ratio 3:2) x", 1)]),
        ("[red:1.5)", [("red:1.5)", DOWN)]),
        ("(red:99)", [("red", MAX_WEIGHT)]),
        (f"((red:{'9' * 400}):0)", [("red", 0)]),
        ("(" * 100 + "x" + ")" * 100, [("x", MAX_WEIGHT)]),
        ("()", []),
        ("BREAKFAST", [("BREAKFAST", 1)]),
    ],
)
def test_weights(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert read(prompt) == [expected]


def test_break_ends_a_section_inside_brackets_too() -> None:
    assert read("a BREAK b") == [[("a ", 1)], [(" b", 1)]]
    assert read("(a BREAK b:2) c") == [[("a ", 2)], [(" b", 2), (" c", 1)]]


def test_plain_prompt_keeps_its_brackets() -> None:
    assert sections_of("a (red:1.5) BREAK [x]", PromptStyle.PLAIN) == ((Piece("a (red:1.5) BREAK [x]"),),)


def test_plain_text_has_a_weight_for_each_character() -> None:
    text, weights = plain_text(sections_of("a (red:2) BREAK b", PromptStyle.WEIGHTED))
    assert text == "a red   b"
    assert [weights[text.index(letter)] for letter in "ar b"] == [1, 2, 1, 1]
    assert len(weights) == len(text)


def test_long_nonsense_is_read_in_no_time() -> None:
    nested = "(a" * 3_300 + ")" * 3_300
    for prompt in (nested, "(" * 10_000, "[(" * 5_000, ")" * 10_000, ":1" * 5_000, "(a:1.1)" * 1_400):
        assert len(sections_of(prompt, PromptStyle.WEIGHTED)) == 1


def test_time_grows_with_the_length_alone() -> None:
    def seconds(digits: int) -> float:
        started = time.process_time()
        sections_of(":" + "1" * digits, PromptStyle.WEIGHTED)
        return time.process_time() - started

    # Ten times as long: a hundred times the time if every split of the digits were tried.
    assert min(seconds(100_000) for _ in range(3)) < 30 * max(1e-3, min(seconds(10_000) for _ in range(3)))
