"""A vocabulary of made-up Russian and English words, most frequent first.

ClickBench's pages are mostly Russian: two bytes a letter, which is what string columns and LIKE
have to cope with.
"""

from __future__ import annotations

import random

import pyarrow as pa

_RU = (
    "ка на то ра во ни ко ре по ли ро ма но ви да ст пр ен ов ла мо де ти ки са пе ве се го ль "
    "ск же бу за ша чи ну ме ло до ба фи цы ре ща ях ые ий"
).split()
_EN = "ab con der in lo mar net on per re sa ta ti ver web shop news play ma ro li no ka to".split()


def russian(count: int, seed: int) -> pa.Array:
    return pa.array(_distinct(count, seed, _RU, 1, 5))


def english(count: int, seed: int) -> pa.Array:
    return pa.array(_distinct(count, seed, _EN, 1, 4))


def _distinct(count: int, seed: int, syllables: list[str], low: int, high: int) -> list[str]:
    rng = random.Random(seed)
    words: dict[str, None] = {}
    while len(words) < count:
        # Frequent words are short, as in any language.
        size = rng.randint(low, low + 1 + (high - low) * len(words) // count)
        word = "".join(rng.choice(syllables) for _ in range(size))
        while word in words:
            word += rng.choice(syllables)
        words[word] = None
    return list(words)
