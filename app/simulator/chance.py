"""Chance that is a function of its key alone, the same on every machine and in every order.

Only whole numbers and the four exact operations of IEEE arithmetic are used (and the square root,
which is exact too), so that a seed makes the same market wherever and whenever it runs.
"""

from __future__ import annotations

import math
from functools import lru_cache

_MASK = (1 << 64) - 1
_GAMMA = 0x9E3779B97F4A7C15
_SQRT_3 = math.sqrt(3)


def scramble(value: int) -> int:
    """Return 64 well mixed bits of a 64-bit number (Steele, Lea, Flood: SplitMix64)."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31


def key_of(*parts: int | str) -> int:
    """Return a 64-bit key for any list of numbers and texts; the order matters."""
    key = 0
    for part in parts:
        numbers = part.encode() if isinstance(part, str) else (part,)
        for number in numbers:
            key = scramble((key + number + 1) * _GAMMA & _MASK)
    return key


def gaussian(bits: int) -> float:
    """Return a nearly normal number (mean 0, deviation 1, within 3.47) made of 64 random bits."""
    total = (bits & 0xFFFF) + (bits >> 16 & 0xFFFF) + (bits >> 32 & 0xFFFF) + (bits >> 48)
    return (total - 131_070) / 65_536 * _SQRT_3


def exponential(x: float) -> float:
    """Return e to the power of `x` by exact operations only; good to 1e-9 for |x| < 4."""
    y = x / 1024
    power = 1 + y * (1 + y / 2 * (1 + y / 3 * (1 + y / 4)))
    for _ in range(10):
        power *= power
    return power


class Draws:
    """A stream of random numbers that begins anew with each key."""

    __slots__ = ("_state",)

    def __init__(self, key: int) -> None:
        self._state = key

    def bits(self) -> int:
        """Return the next 64 bits."""
        self._state = state = self._state + _GAMMA & _MASK
        state = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        state = (state ^ state >> 27) * 0x94D049BB133111EB & _MASK
        return state ^ state >> 31

    def below(self, bound: int) -> int:
        """Return a whole number from 0 to `bound - 1`."""
        return (self.bits() >> 32) * bound >> 32

    def fraction(self) -> float:
        """Return a number in [0, 1)."""
        return (self.bits() >> 11) / (1 << 53)


class Walk:
    """A random walk whose value at any second is known without walking there.

    Every 2**`levels` seconds lies an anchor, independent of all others; between two anchors the
    walk is a Brownian bridge, halved again and again (midpoint displacement). So it wanders like a
    price over seconds and hours, and comes back over many anchors: with few levels it is a
    mean-reverting spread, with many a price that stays in its range for years. Rough and calm
    stretches alternate on every scale.
    """

    BLOCK = 64

    def __init__(self, key: int, *, levels: int, sigma: float, anchor_sigma: float) -> None:
        """Per square root of a second it moves by `sigma`; anchors deviate by `anchor_sigma`."""
        self._key = key
        self._levels = levels
        self._sigma = sigma
        self._anchor_sigma = anchor_sigma
        self._block = lru_cache(maxsize=512)(self._make_block)

    def at(self, second: int) -> float:
        """Return the value at the start of a second."""
        return self._block(second // self.BLOCK)[second % self.BLOCK]

    def _make_block(self, block: int) -> list[float]:
        """Return the 64 values of a block, found by halving down from the two anchors around it."""
        begin = block * self.BLOCK
        length = 1 << self._levels
        left = begin // length * length
        low, high, rough = self._anchor(left), self._anchor(left + length), 1.0
        while length > self.BLOCK:
            length //= 2
            middle, rough = self._middle(left + length, 2 * length, low, high, rough)
            if begin < left + length:
                high = middle
            else:
                left, low = left + length, middle
        values = [0.0] * self.BLOCK
        self._fill(values, left, length, low, high, rough)
        return values

    def _fill(  # noqa: PLR0917 (the state of one halving)
        self, values: list[float], left: int, length: int, low: float, high: float, rough: float
    ) -> None:
        if length == 1:
            values[left % self.BLOCK] = low
            return
        half = length // 2
        middle, rough = self._middle(left + half, length, low, high, rough)
        self._fill(values, left, half, low, middle, rough)
        self._fill(values, left + half, half, middle, high, rough)

    def _anchor(self, second: int) -> float:
        return gaussian(scramble(self._key ^ scramble(second & _MASK))) * self._anchor_sigma

    def _middle(
        self, second: int, length: int, low: float, high: float, rough: float
    ) -> tuple[float, float]:
        """Return the value in the middle of a stretch, and how rough its two halves are."""
        bits = scramble(self._key ^ scramble(second * _GAMMA + length & _MASK))
        displacement = gaussian(bits) * self._sigma * math.sqrt(length) / 2 * rough
        rough *= 0.6 + (bits >> 20 & 0xFF) / 320  # 0.6 to 1.4
        return (low + high) / 2 + displacement, min(4.0, max(0.3, rough))
