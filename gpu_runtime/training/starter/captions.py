"""Words for pictures: the captions the starter model is taught with, and the tokenizer for them.

Knows words only. Chance comes in as a `random.Random`, so a step's captions are a function of the step.
"""

import json
import random
from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTokenizer

MAX_TOKENS = 77
"""What every Stable Diffusion tool expects of a CLIP tokenizer."""

VOCABULARY = 3200
START, END = "<|startoftext|>", "<|endoftext|>"

EMPTY_SHARE = 0.1
"""Captions left empty, so that classifier-free guidance has something to push away from."""
STYLE_SHARE = 0.9
BACKGROUND_SHARE = 0.88
OPENING_SHARE = 0.12

PLURAL = frozenset(
    {"cherries", "french fries", "fries", "grapes", "broccoli", "pizza", "corn", "fire", "coffee"}
)
"""Names that take no article."""

OPENINGS = (
    "an icon of ",
    "an emoji of ",
    "a picture of ",
    "a drawing of ",
    "an illustration of ",
    "an image of ",
)

STYLED = {
    "3d": ("a 3d {0}", "{1}, 3d style", "a 3d render of {1}", "{1} in 3d style", "3d {0}", "{1} in 3d"),
    "cartoon": (
        "a cartoon {0}",
        "{1}, cartoon style",
        "a cartoon of {1}",
        "{1} in cartoon style",
        "cartoon {0}",
        "a cartoon drawing of {1}",
    ),
    "flat": (
        "a flat {0}",
        "{1}, flat style",
        "a flat icon of {1}",
        "{1} in flat style",
        "flat {0}",
        "flat art of {1}",
    ),
}
"""{0} is the bare name, {1} the name with its article."""

GROUNDED = ("{0} on {2} background", "{0}, {1} background", "{0} on {1}", "{0} with {2} background")
GROUNDED_WEIGHTS = (0.6, 0.2, 0.1, 0.1)
"""{0} is the object, {1} the colour, {2} the colour with its article."""


def with_article(name: str) -> str:
    """`apple` becomes `an apple`; plurals and stuff stay bare."""
    if name in PLURAL:
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def caption(names: tuple[str, ...], style: str, background: str, chance: random.Random) -> str:
    """One way of asking for this picture; empty in a tenth of the cases."""
    if chance.random() < EMPTY_SHARE:
        return ""
    name = names[0] if chance.random() < 0.6 else chance.choice(names)
    words = with_article(name)
    if chance.random() < STYLE_SHARE:
        words = chance.choice(STYLED[style]).format(name, words)
    elif chance.random() < OPENING_SHARE / (1 - STYLE_SHARE):
        words = chance.choice(OPENINGS) + words
    if chance.random() < BACKGROUND_SHARE:
        words = chance.choices(GROUNDED, GROUNDED_WEIGHTS)[0].format(
            words, background, with_article(background)
        )
    return words


def prompt(name: str, style: str | None = None, background: str | None = None) -> str:
    """The plain way to ask, as tests, sheets and the card do."""
    words = STYLED[style][0].format(name, with_article(name)) if style else with_article(name)
    return f"{words} on {with_article(background)} background" if background else words


def train_tokenizer(lines: Iterable[str], folder: Path) -> None:
    """Learns a byte-level BPE and saves it in CLIP's layout: vocab.json, merges.txt and the two configs."""
    tokenizer = Tokenizer(models.BPE(end_of_word_suffix="</w>", continuing_subword_prefix=""))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY - len(alphabet) - 2,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    learnt = json.loads(tokenizer.to_str())["model"]
    save_clip_tokenizer([tuple(pair) for pair in learnt["merges"]], alphabet, folder)


def save_clip_tokenizer(merges: list[tuple[str, str]], alphabet: list[str], folder: Path) -> None:
    """Writes a CLIP tokenizer with these merges. Every byte has an entry, so any text encodes."""
    tokens = [
        *alphabet,
        *(f"{letter}</w>" for letter in alphabet),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    vocab = {token: number for number, token in enumerate(dict.fromkeys(tokens))}
    folder.mkdir(parents=True, exist_ok=True)
    merge_lines = [" ".join(pair) for pair in merges]
    (folder / "vocab.json").write_text(
        json.dumps(vocab, ensure_ascii=False, indent=0) + "\n", encoding="utf-8"
    )
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merge_lines]) + "\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(
        vocab=vocab,
        merges=merges,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
        model_max_length=MAX_TOKENS,
    )
    tokenizer.save_pretrained(folder)
