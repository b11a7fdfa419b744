"""How sure a counted figure is: exact confidence intervals for rates of rare events and for shares.

Garwood (1936), "Fiducial limits for the Poisson distribution", and Clopper and Pearson (1934), "The use of confidence
or fiducial limits illustrated in the case of the binomial": both ask which true figures would make what was counted
too unlikely on either side. The tails are the incomplete gamma and beta functions, by series and continued fractions
(Abramowitz and Stegun 6.5.29, 6.5.31, 26.5.8), their quantiles by halving.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

CONFIDENCE = 0.95
_TINY = 1e-300
_ROUNDS = 100_000  # of a series; a count of a million needs some thousands


class Interval(NamedTuple):
    """A figure's exact two-sided confidence interval."""

    low: float
    high: float


def poisson_interval(events: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of the expected number of events when ``events`` were counted.

    Args:
        events: counted, 0 or more.
        confidence: of the interval, both sides together.
    """
    if events < 0:
        raise ValueError(f"{events} events cannot be counted")
    half = (1.0 - confidence) / 2.0
    roof = events + 20.0 + 12.0 * math.sqrt(events + 1.0)
    low = _crossing(lambda mean: lower_gamma(events, mean), half, events + 1.0) if events else 0.0
    high = _crossing(lambda mean: lower_gamma(events + 1.0, mean), 1.0 - half, roof)
    return Interval(low, high)


def rate_interval(events: int, exposure: float, per: float, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of events ``per`` so much exposure; without any exposure nothing is known.

    Args:
        events: counted.
        exposure: in the same unit as ``per``, such as device-days.
        per: 10,000 for events per 10,000 device-days.
        confidence: as above.
    """
    if exposure <= 0.0:
        return Interval(0.0, math.inf)
    low, high = poisson_interval(events, confidence)
    return Interval(low / exposure * per, high / exposure * per)


def share_interval(hits: int, trials: int, confidence: float = CONFIDENCE) -> Interval:
    """Return the interval of a share of which ``hits`` of ``trials`` were counted; (0, 1) without trials."""
    if not 0 <= hits <= trials:
        raise ValueError(f"{hits} of {trials} cannot be counted")
    half = (1.0 - confidence) / 2.0
    low = _crossing(lambda share: lower_beta(hits, trials - hits + 1.0, share), half, 1.0) if hits else 0.0
    high = 1.0
    if hits < trials:
        high = _crossing(lambda share: lower_beta(hits + 1.0, trials - hits, share), 1.0 - half, 1.0)
    return Interval(low, high)


def lower_gamma(shape: float, x: float) -> float:
    """Return the regularised lower incomplete gamma function P(shape, x): the chance of ``shape`` or more events."""
    if x <= 0.0:
        return 0.0
    front = math.exp(shape * math.log(x) - x - math.lgamma(shape))
    if x < shape + 1.0:
        term = total = 1.0 / shape
        for number in range(1, _ROUNDS):
            term *= x / (shape + number)
            total += term
            if term < total * 1e-16:
                break
        return min(1.0, front * total)
    return max(0.0, 1.0 - front * _gamma_fraction(shape, x))


def _gamma_fraction(shape: float, x: float) -> float:
    """Return the continued fraction of the upper incomplete gamma function, by Lentz's method."""
    bottom = x + 1.0 - shape
    left, right = 1.0 / _TINY, 1.0 / bottom
    value = right
    for number in range(1, _ROUNDS):
        top = -number * (number - shape)
        bottom += 2.0
        right = 1.0 / _apart(top * right + bottom)
        left = _apart(bottom + top / left)
        value *= left * right
        if abs(left * right - 1.0) < 1e-15:
            break
    return value


def lower_beta(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b)."""
    if x <= 0.0 or x >= 1.0:
        return float(x >= 1.0)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1.0) / (a + b + 2.0):
        return front * _beta_fraction(a, b, x) / a
    return 1.0 - front * _beta_fraction(b, a, 1.0 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, by Lentz's method."""
    left, right = 1.0, 1.0 / _apart(1.0 - (a + b) * x / (a + 1.0))
    value = right
    for number in range(1, _ROUNDS):
        even = number * (b - number) * x / ((a + 2 * number - 1.0) * (a + 2 * number))
        odd = -(a + number) * (a + b + number) * x / ((a + 2 * number) * (a + 2 * number + 1.0))
        for part in (even, odd):
            right = 1.0 / _apart(1.0 + part * right)
            left = _apart(1.0 + part / left)
            value *= left * right
        if abs(left * right - 1.0) < 1e-15:
            break
    return value


def _apart(value: float) -> float:
    """Keep a divisor away from nothing."""
    return value if abs(value) > _TINY else _TINY


def _crossing(rising: Callable[[float], float], level: float, roof: float) -> float:
    """Return where a rising function reaches ``level`` between 0 and ``roof``, to the last digits."""
    low, high = 0.0, roof
    for _ in range(200):
        middle = (low + high) / 2.0
        if middle in (low, high):
            break
        if rising(middle) < level:
            low = middle
        else:
            high = middle
    return (low + high) / 2.0


def needed(share: float, confidence: float = CONFIDENCE) -> int:
    """Return how many trials without a single miss put the whole interval above ``share``: 72 for 0.95.

    Clopper and Pearson's lower end without a miss is the n-th root of half the error.
    """
    return math.ceil(math.log((1.0 - confidence) / 2.0) / math.log(share))
