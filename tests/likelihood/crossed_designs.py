"""Generated designs with one to four grouping factors: nested, crossed, with slopes, weights and empty cells."""

from __future__ import annotations

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import vech_basis
from mmframe.covariance.structure import Points
from mmframe.design.design import Design, DesignTerm
from mmframe.design.grouping import Grouping

Array = np.ndarray


@frozen
class Shape:
    """levels and widths of each factor; `nested` {factor: the factor that its levels lie in}; n rows."""

    levels: tuple[int, ...]
    widths: tuple[int, ...]
    nested: tuple[tuple[int, int], ...] = ()
    n: int = 100
    weights: bool = False
    skewed: bool = False
    seed: int = 1

    @property
    def name(self) -> str:
        parts = [f"{m}x{q}" for m, q in zip(self.levels, self.widths, strict=True)]
        return "-".join(
            [*parts, *(f"{a}in{b}" for a, b in self.nested), *["weights"] * self.weights, *["skewed"] * self.skewed]
        )

    def design(self) -> Design:
        rng = np.random.default_rng(self.seed)
        codes = []
        for m in self.levels:
            share = 1.0 / np.arange(1, m + 1) if self.skewed else np.ones(m)
            drawn = rng.choice(m, size=self.n, p=share / share.sum())
            drawn[:m] = rng.permutation(m)  # every level occurs
            codes.append(drawn)
        for inner, outer in self.nested:
            parent = rng.integers(0, self.levels[outer], size=self.levels[inner])
            parent[: self.levels[outer]] = np.arange(self.levels[outer])
            codes[outer] = parent[codes[inner]]
        X = np.asfortranarray(np.column_stack([np.ones(self.n), rng.normal(5.0, 1.0, size=self.n)]))
        y = X @ [10.0, 1.0] + rng.normal(size=self.n)
        terms, groupings = [], []
        for f, (m, q) in enumerate(zip(self.levels, self.widths, strict=True)):
            Z = np.asfortranarray(np.column_stack([np.ones(self.n), *rng.normal(size=(q - 1, self.n))]))
            labels = tuple(f"z{c}" for c in range(q))
            terms.append(DesignTerm(f"t{f} | g{f}", f, Z, labels, Points.unordered(labels)))
            groupings.append(Grouping(f"g{f}", codes[f].astype(np.intp), pd.RangeIndex(m)))
            y = y + np.einsum("nq,nq->n", Z, rng.normal(size=(m, q))[codes[f]])
        weights = rng.uniform(0.3, 3.0, size=self.n) if self.weights else None
        return Design(X, y, ("a", "b"), (), "y", tuple(terms), tuple(groupings), weights, None,
                      pd.RangeIndex(self.n), np.arange(self.n))  # fmt: skip

    def G(self, kind: str) -> tuple[Array, ...]:
        """`regular`, `singular` (rank one less), `zero` (the first factor's is zero), or `large` (1,000 times σ²)."""
        rng = np.random.default_rng(self.seed + 7)
        out = []
        for f, q in enumerate(self.widths):
            root = rng.normal(size=(q, q)) + np.eye(q)
            if kind == "singular":
                root[:, -1] = 0.0
            if kind == "zero" and f == 0:
                root[:] = 0.0
            out.append(root @ root.T * (1e3 if kind == "large" else 1.0))
        return tuple(out)

    def tangents(self) -> tuple[Array, ...]:
        """One direction for each entry of each G."""
        bases = [vech_basis(q) for q in self.widths]
        total, start, out = sum(map(len, bases)), 0, []
        for basis in bases:
            directions = np.zeros((total, *basis.shape[1:]))
            directions[start : start + len(basis)] = basis
            start += len(basis)
            out.append(directions)
        return tuple(out)


SHAPES = (
    Shape((30,), (2,)),
    Shape((30, 12), (1, 1)),
    Shape((30, 12), (2, 1), weights=True),
    Shape((9, 20), (3, 2), n=150),
    Shape((40, 8), (1, 2), nested=((0, 1),)),
    Shape((40, 20, 5), (1, 2, 1), nested=((0, 1), (1, 2)), weights=True),
    Shape((25, 14, 5), (2, 2, 1), skewed=True),
    Shape((50, 30, 4), (1, 1, 1), n=90, skewed=True),
    Shape((40, 20, 10, 4), (1, 1, 2, 1), nested=((1, 3),), weights=True),
    Shape((40, 20, 10, 4), (1, 2, 1, 1), n=150, skewed=True, seed=3),
)
