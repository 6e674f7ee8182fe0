"""A share a of real data has three meanings with three limits of N · Var(μ): theory's first order in 1/N."""

import math


def fresh(a: float) -> float:
    """New real samples every generation: 1/(1-(1-a)²)."""
    return 1 / (1 - (1 - a) ** 2)


def redrawn(a: float) -> float:
    """Drawn anew each generation from one finite real set of N samples: 1 + (1-a²)/(a(2-a))."""
    return 1 + (1 - a * a) / (a * (2 - a))


def fixed(a: float) -> float:
    """A fixed subset kept for ever: 1/a + (1-a)/(1-(1-a)²)."""
    return 1 / a + (1 - a) / (1 - (1 - a) ** 2)


def weighted(w: float) -> float:
    """Weight w on as many fresh real samples: n · Var = (w²+(1-w)²)/(1-(1-w)²), least where w = 0.618 (2502.18049)."""
    return (w * w + (1 - w) ** 2) / (1 - (1 - w) ** 2)


def best_weight(k: float = 1.0) -> float:
    """The best weight for k = n_real / n_synthetic: (√(k²+4k) - k)/2; the golden ratio's inverse at k = 1."""
    return (math.sqrt(k * k + 4 * k) - k) / 2


LIMITS = {"fresh": fresh, "redrawn": redrawn, "fixed": fixed}
