"""Simulation of responses from a fitted model, with new random effects."""

from __future__ import annotations

import numpy as np

from mmframe.covariance.domain import Array, psd_root
from mmframe.errors import Issue, SpecError
from mmframe.results.source import Source


def simulate(source: Source, n: int, seed: int | np.random.Generator | None) -> Array:
    """n responses as columns, (nobs, n): Xβ̂ + offset + Zb + ε with b ~ N(0, K ⊗ G), ε ~ N(0, W^-½ R W^-½)."""
    rows, estimates, relationships = source.rows, source.estimates, source.relationships
    if not isinstance(n, (int, np.integer)) or isinstance(n, bool) or n < 1:
        raise SpecError(Issue("simulate", f"n={n!r}", "a whole number of responses, at least 1"))
    rng = np.random.default_rng(seed)
    mean = rows.X @ estimates.beta
    if rows.offset is not None:
        mean = mean + rows.offset
    out = np.repeat(mean[:, None], n, axis=1)
    for Z, term in zip(rows.Z, estimates.terms, strict=True):
        root = psd_root(term.G)
        levels = len(estimates.grouping_levels[term.grouping])
        b = rng.standard_normal((levels, root.shape[1], n))
        known = relationships[term.grouping]
        if known is not None:
            b = known.draw(b.reshape(levels, -1)).reshape(b.shape)
        drawn = np.einsum("qr,lrn->lqn", root, b)
        out += np.einsum("iq,iqn->in", Z, drawn[rows.codes[term.grouping]])
    return np.asarray(out + source.noise(rng.standard_normal(out.shape)))
