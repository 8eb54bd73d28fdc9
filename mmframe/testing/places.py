"""Points of the domains of parameters, always the same: well inside, and next to each edge."""

from __future__ import annotations

import numpy as np

from mmframe.covariance.derivative import flatten_phi, parts
from mmframe.covariance.domain import Array, Box, PositiveDefinite, vech
from mmframe.covariance.structure import Param

_SEED = 11
_NEAR = 1e-9


def samples(params: tuple[Param, ...], count: int = 3) -> list[Array]:
    """Points well inside the domain."""
    rng = np.random.default_rng(_SEED)
    return [flatten_phi(params, {p.name: p.domain.sample(rng) for p in params}) for _ in range(count)]


def edges(params: tuple[Param, ...]) -> list[Array]:
    """Next to each bound of each number, next to all lower and to all upper bounds at once, and matrices next to singular ones."""
    base = samples(params)[0]
    out: list[Array] = []
    corners = {1.0: base.copy(), -1.0: base.copy()}
    for param, place in parts(params):
        domain = param.domain
        if isinstance(domain, Box):
            for bound, inward in ((domain.low, 1.0), (domain.high, -1.0)):
                if not np.isfinite(bound):
                    continue
                value = bound + inward * _NEAR * max(1.0, abs(bound))
                corners[inward][place] = value
                for k in range(domain.count):
                    moved = base.copy()
                    moved[place.start + k] = value
                    out.append(moved)
        elif isinstance(domain, PositiveDefinite) and domain.dim > 1:
            ones = np.ones(domain.dim)
            moved = base.copy()
            moved[place] = vech(np.outer(ones, ones) + _NEAR * np.eye(domain.dim))
            out.append(moved)
    return [*out, *corners.values()]
