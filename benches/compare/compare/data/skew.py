"""Random draws with the skew of real traffic, in numpy, reproducible from a seed."""

from __future__ import annotations

import numpy as np

_U64 = np.uint64


def mix(ids: np.ndarray, salt: int) -> np.ndarray:
    """A hash of an id (splitmix64): an attribute that follows from who or what the id is."""
    with np.errstate(over="ignore"):
        x = ids.astype(_U64) + _U64((salt * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
        x = (x ^ (x >> _U64(30))) * _U64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> _U64(27))) * _U64(0x94D049BB133111EB)
        return x ^ (x >> _U64(31))


def unit(hashes: np.ndarray) -> np.ndarray:
    """A hash as a number in [0, 1)."""
    return (hashes >> _U64(11)).astype(np.float64) / float(1 << 53)


def signed(hashes: np.ndarray) -> np.ndarray:
    return hashes.view(np.int64)


class Zipf:
    """Ranks 0..n-1 with frequency proportional to 1/(rank+shift)^exponent.

    Drawn by inverting the continuous distribution, so that a universe of any size costs no
    memory.
    """

    def __init__(self, n: int, exponent: float, shift: float = 1.0):
        self.n, self.exponent, self.shift = max(1, n), exponent, shift
        self.low = self._mass(shift)
        self.high = self._mass(shift + self.n)

    def _mass(self, x: float) -> float:
        if self.exponent == 1.0:
            return float(np.log(x))
        return x ** (1 - self.exponent) / (1 - self.exponent)

    def draw(self, uniform: np.ndarray) -> np.ndarray:
        mass = self.low + uniform * (self.high - self.low)
        if self.exponent == 1.0:
            x = np.exp(mass)
        else:
            x = (mass * (1 - self.exponent)) ** (1 / (1 - self.exponent))
        return np.minimum((x - self.shift).astype(np.int64), self.n - 1)

    def share(self, ranks: np.ndarray) -> np.ndarray:
        """The part of all draws that each rank gets."""
        return (ranks + self.shift) ** -self.exponent / (self.high - self.low)


class Weighted:
    """Values with given weights."""

    def __init__(self, weights: dict):
        self.values = np.array(list(weights), dtype=object)
        if all(isinstance(value, int) for value in weights):
            self.values = self.values.astype(np.int64)
        total = np.cumsum(np.array(list(weights.values()), dtype=np.float64))
        self.edges = total / total[-1]

    def index(self, uniform: np.ndarray) -> np.ndarray:
        return np.minimum(np.searchsorted(self.edges, uniform, side="right"), len(self.edges) - 1)

    def draw(self, uniform: np.ndarray) -> np.ndarray:
        return self.values[self.index(uniform)]
