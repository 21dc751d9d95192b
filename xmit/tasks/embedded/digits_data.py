"""Numbers 00-99 composed of real handwritten digits, with English captions: data that need no hub."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from xmit.errors import ConfigError, MissingDependencyError

HEIGHT, WIDTH = 32, 48
SIDE = 24
"""A digit's 8×8 grey values are enlarged to this; two of them side by side, vertically centred."""
SEED = 20_261_122
SHARES = {"train": 0.7, "validation": 0.15, "test": 0.15}
"""Of the digit images of each class: no digit image is in two splits."""
REPEATS = {"train": 20, "validation": 3, "test": 3}
"""Pairs per number and split."""
CONTENT = "b1835b240a8d9e4240d6a49a9d7f41e0201263b518db843a2cf8ebf7840c6d7f"
"""SHA-256 of all pairs (checked by a test): the tower's cache file is named after it."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """A composed number.

    Args:
        id: Stable over tasks.
        number: 0-99.
        caption: In English words, such as ``twenty-three``.
        numeral: In digits, such as ``23``.
        digits: Which images of ``load_digits`` show the tens and the units.
    """

    id: str
    number: int
    caption: str
    numeral: str
    digits: tuple[int, int]


@cache
def digits() -> tuple[Pixels, npt.NDArray[np.int64]]:
    """The 1,797 digit images, enlarged, ``(1797, SIDE, SIDE)``, and what they show, ``(1797,)``.

    Raises:
        MissingDependencyError: If scikit-learn, which carries them, is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise MissingDependencyError("scikit-learn", "demo") from None

    small, shown = load_digits(return_X_y=True)
    # np.kron repeats pixels: integer arithmetic only, so every machine gets the same bytes
    grey = (small.reshape(-1, 8, 8) * 255 // 16).astype(np.uint8)
    return np.kron(grey, np.ones((1, SIDE // 8, SIDE // 8), np.uint8)), shown.astype(np.int64)


@cache
def caption(number: int) -> str:
    """A number in English words.

    Raises:
        MissingDependencyError: If num2words is not installed.
    """
    try:
        from num2words import num2words
    except ImportError:
        raise MissingDependencyError("num2words", "demo") from None

    return str(num2words(number, lang="en"))


@cache
def pools(split: str) -> tuple[npt.NDArray[np.int64], ...]:
    """For each of 0-9 the indices of the digit images of a split.

    Raises:
        ConfigError: If there is no such split.
    """
    if split not in SHARES:
        raise ConfigError(f"the digits have the splits {', '.join(SHARES)}, not {split!r}")
    _, shown = digits()
    rng = np.random.default_rng(SEED)
    before = list(SHARES)[: list(SHARES).index(split)]
    first = sum(SHARES[name] for name in before)
    found = []
    for digit in range(10):
        indices = rng.permutation(np.flatnonzero(shown == digit))
        start, stop = round(first * len(indices)), round((first + SHARES[split]) * len(indices))
        found.append(indices[start:stop])
    return tuple(found)


def draw(number: int, split: str, rng: np.random.Generator) -> tuple[int, int]:
    """Draw digit images for the tens and the units of a number."""
    tens, units = pools(split)[number // 10], pools(split)[number % 10]
    return int(rng.choice(tens)), int(rng.choice(units))


def compose(indices: tuple[int, int]) -> Pixels:
    """Put two digit images side by side, ``(HEIGHT, WIDTH)``."""
    images, _ = digits()
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    top = (HEIGHT - SIDE) // 2
    canvas[top : top + SIDE] = np.concatenate([images[indices[0]], images[indices[1]]], axis=1)
    return canvas


@cache
def pairs(split: str) -> tuple[Pair, ...]:
    """The pairs of a split, always the same ones in the same order."""
    pools(split)  # refuses an unknown split
    rng = np.random.default_rng([SEED, list(SHARES).index(split)])
    numbers = rng.permutation(np.repeat(np.arange(100), REPEATS[split]))
    return tuple(
        Pair(f"{split}-{i:04d}", int(n), caption(int(n)), str(n), draw(int(n), split, rng))
        for i, n in enumerate(numbers)
    )


def content() -> str:
    """SHA-256 of the images and captions of all splits."""
    digest = hashlib.sha256()
    for split in SHARES:
        for pair in pairs(split):
            digest.update(f"{pair.id}\t{pair.caption}\t{pair.numeral}\n".encode())
            digest.update(compose(pair.digits).tobytes())
    return digest.hexdigest()
