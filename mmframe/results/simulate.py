"""Simulation of responses from a fitted model, with new random effects."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from attrs import frozen

from mmframe.covariance.domain import Array, psd_root
from mmframe.design.relationship import Relationship
from mmframe.errors import Issue, SpecError
from mmframe.results.predict import Rows
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
    terms = tuple(
        DrawnTerm(t.G, t.grouping, len(estimates.grouping_levels[t.grouping]), relationships[t.grouping])
        for t in estimates.terms
    )
    out = mean[:, None] + random_part(rows, terms, n, rng.standard_normal)
    return np.asarray(out + source.noise(rng.standard_normal(out.shape)))


@frozen(eq=False)
class DrawnTerm:
    """One term's effects: Var(b) = K ⊗ G over the levels of a grouping."""

    G: Array
    grouping: int
    levels: int
    relationship: Relationship | None = None


def random_part(rows: Rows, terms: tuple[DrawnTerm, ...], n: int, normal: Callable[[tuple[int, ...]], Array]) -> Array:
    """Zb with n draws of all effects: (rows, n). normal: independent standard normals of a shape."""
    out = np.zeros((len(rows.X), n))
    for Z, term in zip(rows.Z, terms, strict=True):
        root = psd_root(term.G)
        b = normal((term.levels, root.shape[1], n))
        if term.relationship is not None:
            b = term.relationship.draw(b.reshape(term.levels, -1)).reshape(b.shape)
        drawn = np.einsum("qr,lrn->lqn", root, b)
        out += np.einsum("iq,iqn->in", Z, drawn[rows.codes[term.grouping]])
    return out
