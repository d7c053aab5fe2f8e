"""The gamma distribution, of which sums of squared noise are made: SciPy's module for it takes half a second to import."""

from __future__ import annotations

import math
from functools import lru_cache

_MAX_STEPS = 50
"""Newton's method is as near as floats come after 4 to 20 steps for tails of 1e-12 to 0.999."""


def gamma_tail(value: float, shape: float) -> float:
    """Probability that a gamma variable of scale 1 exceeds a value.

    Args:
        value: Not negative.
        shape: A positive multiple of 1/2: these have a closed form.
    """
    exponent = shape % 1
    tail = math.erfc(math.sqrt(value)) if exponent else 0.0
    while exponent < shape:
        tail += math.exp(-value) * value**exponent / math.gamma(exponent + 1)
        exponent += 1
    return tail


@lru_cache(maxsize=256)
def gamma_quantile(tail: float, shape: float) -> float:
    """The value that a gamma variable of scale 1 exceeds with a probability.

    Args:
        tail: The probability, 0 to 1, both excluded.
        shape: A multiple of 1/2, at least 1.

    Raises:
        ValueError: An argument is out of range.

    Example:
        >>> gamma_quantile(0.5, 1.0)  # the median of an exponential variable: log 2
        0.6931471805599453
    """
    if not 0 < tail < 1 or shape < 1 or shape * 2 % 1:
        raise ValueError(f"tail must lie in 0..1 and shape be a multiple of 1/2, at least 1, got {tail} and {shape}")
    # The logarithm of the tail is concave: the first of Newton's steps ends at or above the value, the others approach it.
    value = _newton_step(shape, shape, tail)
    for _ in range(_MAX_STEPS):
        nearer = _newton_step(value, shape, tail)
        if nearer >= value:
            break
        value = nearer
    return value


def _newton_step(value: float, shape: float, tail: float) -> float:
    """One step towards the value with this tail."""
    density = math.exp(-value) * value ** (shape - 1) / math.gamma(shape)
    exceeded = gamma_tail(value, shape)
    return value + exceeded / density * math.log(exceeded / tail)
