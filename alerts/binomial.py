"""How many lamps out are too many to be chance: exact binomial tails, as tables of whole numbers."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def tail(k: int, n: int, p: float) -> float:
    """Return P(X >= k) of X binomial with ``n`` trials of probability ``p``, summed exactly term by term."""
    if k <= 0:
        return 1.0
    return float(_tails(n, p)[k]) if k <= n else 0.0


def _tails(n: int, p: float) -> Floats:
    """Return P(X >= k) for k = 0 … n, summed from the small end so that tiny tails keep their digits."""
    k = np.arange(n + 1)
    log_factorial = np.array([math.lgamma(i + 1.0) for i in range(n + 1)])
    log_choose = log_factorial[n] - log_factorial - log_factorial[::-1]
    pmf = np.exp(log_choose + k * math.log(p) + (n - k) * math.log1p(-p))
    found: Floats = np.minimum(np.cumsum(pmf[::-1])[::-1], 1.0)
    return found


class Critical:
    """The least number out of ``n`` whose chance is below ``alpha``, when each is out with probability ``p``.

    Args:
        p: what is normal, 1 minus the target rate (0.02 for 98 %).
        alpha: chance below which it is no chance.
    """

    def __init__(self, p: float, alpha: float) -> None:
        if not 0.0 < p < 1.0 or not 0.0 < alpha < 1.0:
            raise ValueError(f"expected p and alpha between 0 and 1, found {p} and {alpha}")
        self.p, self.alpha = p, alpha
        self._known = np.full(1, 1, dtype=np.int64)  # of no trials none can be out: 1 is never reached

    def __call__(self, n: Ints) -> Ints:
        """Return the number for each of ``n``; ``n + 1``, which cannot be reached, where even all out is chance."""
        most = int(n.max(initial=0))
        if most >= len(self._known):
            self._known = np.concatenate([self._known, np.zeros(most + 1 - len(self._known), np.int64)])
        for size in np.unique(n[self._known[n] == 0]).tolist():
            below = np.flatnonzero(_tails(size, self.p) < self.alpha)
            self._known[size] = below[0] if len(below) else size + 1
        found: Ints = self._known[n]
        return found
