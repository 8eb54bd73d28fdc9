"""Cluster-robust covariance of the fixed effects: right where the model's covariance within clusters is wrong.

    CR = Φ (Σ_i X_i'W_iA_i e_i e_i'A_i'W_iX_i) Φ,   Φ = (X'WX)⁻¹,  W_i = V_i⁻¹,  e = y − Xβ̂,

with A_i = I (CR0, Liang & Zeger 1986, Biometrika 73), √(m/(m − 1)) I for m clusters (CR1), (I − X_iΦX_i'W_i)⁻¹ (CR3, near the
jackknife), or the symmetric A_i for which A_i(V_i − X_iΦX_i')A_i' = V_i, so that CR is unbiased where the model is right (CR2: Bell &
McCaffrey 2002, Survey Methodology 28; Pustejovsky & Tipton 2018, J. Bus. Econ. Stat. 36:672-683, whose degrees of freedom these are).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.design.distinct import constant_within
from mmframe.design.units import Ints, Units, collected, units_of
from mmframe.errors import DataError, Issue, SpecError, StoreError
from mmframe.results.source import FittedSource, Source

KINDS = ("CR0", "CR1", "CR2", "CR3")
_WHERE = "robust"
_ENTRIES = 2**22  # of a stack of covariances of clusters
_LARGEST = 4000  # rows of a cluster
_NULL = 1e-10  # eigenvalues below this share of the largest are directions that the fixed effects fit exactly


@frozen(eq=False)
class Part:
    """Clusters of one size m, as stacks: X (c, m, p), V (c, m, m), e (c, m)."""

    X: Array
    V: Array
    e: Array


@frozen(eq=False)
class Robust:
    """One kind for one fit.   cov (p, p)."""

    source: FittedSource
    kind: str
    units: Units
    phi: Array

    @classmethod
    def of(cls, source: Source, kind: str, cluster: Any) -> Robust:
        """cluster: a grouping factor, a column of the fixed effects, or one value a row; None for the independent units.

        Raises SpecError, UnknownNameError, DataError, StoreError.
        """
        if kind not in KINDS:
            raise SpecError(Issue(_WHERE, repr(kind), ", ".join(repr(k) for k in KINDS)))
        if not isinstance(source, FittedSource):
            raise StoreError("a saved fit holds no data · fit again for a robust covariance")
        units = _clusters(source.design, cluster)
        if units.count < 2:
            raise DataError(f"robust: one cluster ({units.name}) · at least two are needed")
        return cls(source, kind, units, source.estimates.beta_cov)

    @property
    def cov(self) -> Array:
        scores = np.concatenate([np.einsum("cmp,cm->cp", part.X, self._weighted(part)) for part in self._parts()])
        return np.asarray(self.phi @ (scores.T @ scores) @ self.phi)

    def _weighted(self, part: Part) -> Array:
        """W_iA_i e_i."""
        adjusted = np.einsum("cij,cj->ci", self._adjustment(part), part.e)
        return np.asarray(np.linalg.solve(part.V, adjusted[..., None])[..., 0])

    def _adjustment(self, part: Part) -> Array:
        """A_i, (c, m, m)."""
        c, m, _ = part.V.shape
        one = np.broadcast_to(np.eye(m), (c, m, m))
        if self.kind == "CR0":
            return one
        if self.kind == "CR1":
            return np.asarray(one * np.sqrt(self.units.count / (self.units.count - 1)))
        fitted = part.X @ self.phi @ part.X.transpose(0, 2, 1)
        if self.kind == "CR3":
            return np.asarray(np.linalg.pinv(one - np.linalg.solve(part.V, fitted).transpose(0, 2, 1)))
        root = np.linalg.cholesky(part.V)
        middle = root.transpose(0, 2, 1) @ (part.V - fitted) @ root
        values, vectors = np.linalg.eigh(0.5 * (middle + middle.transpose(0, 2, 1)))
        good = values > _NULL * values[:, -1:]
        inverse = np.where(good, 1.0 / np.sqrt(np.where(good, values, 1.0)), 0.0)
        half = root @ vectors
        return np.asarray((half * inverse[:, None, :]) @ half.transpose(0, 2, 1))

    def degrees(self, L: Array) -> Array:
        """Satterthwaite's of each row of L (r, p), under the model: (r,)."""
        a, u = self._moments(L)
        out = np.empty(len(L))
        for k in range(len(L)):
            inner = np.einsum("cp,pq,cq->c", u[:, k], self.phi, u[:, k])
            spread = _pairs(a[:, k, k], a[:, k, k], u[:, k], u[:, k], u[:, k], u[:, k], self.phi)
            out[k] = (a[:, k, k].sum() - inner.sum()) ** 2 / spread
        return out

    def joint(self, L: Array) -> tuple[float, float]:
        """(ν, factor of F) of all rows: Hotelling's T² with η degrees of freedom of the covariance, η such that its entries have
        the total variance of a Wishart matrix's (Tipton & Pustejovsky 2015, J. Educ. Behav. Stat. 40:604-634, HTZ)."""
        r = len(L)
        a, u = self._moments(L)
        expected = a.sum(axis=0) - np.einsum("csp,pq,ctq->st", u, self.phi, u)  # of the covariance, LΦL' for CR2
        if np.linalg.eigvalsh(expected)[0] <= _NULL * np.max(np.diag(expected)):
            return np.nan, np.nan
        turn = np.linalg.inv(np.linalg.cholesky(expected))
        a, u = turn @ a @ turn.T, turn @ u
        total = 0.0
        for s in range(r):
            for t in range(r):
                us, ut = u[:, s], u[:, t]
                total += _pairs(a[:, s, s], a[:, t, t], us, us, ut, ut, self.phi)
                total += _pairs(a[:, s, t], a[:, t, s], us, ut, ut, us, self.phi)
        eta = r * (r + 1) / total
        below = eta - r + 1
        return (below, below / eta) if below > 0 else (np.nan, np.nan)

    def _moments(self, L: Array) -> tuple[Array, Array]:
        """With g_ki = A_i'W_iX_iΦ l_k: a (clusters, r, r) = g_ki'V_ig_li, and u (clusters, r, p) = X_i'g_ki."""
        along = self.phi @ L.T
        a, u = [], []
        for part in self._parts():
            g = self._adjustment(part).transpose(0, 2, 1) @ np.linalg.solve(part.V, part.X @ along)
            turned = g.transpose(0, 2, 1)
            a.append(turned @ part.V @ g)
            u.append(turned @ part.X)
        return np.concatenate(a), np.concatenate(u)

    def _parts(self) -> Iterator[Part]:
        source, units = self.source, self.units
        error = source.response - source.population
        sizes = np.diff(units.starts)
        if sizes.max() > _LARGEST:
            given = f"a cluster of {int(sizes.max()):,} rows, whose covariance would be a matrix of its square"
            raise DataError(f"robust: {given} · allowed: at most {_LARGEST:,} rows · take smaller clusters")
        for m in np.unique(sizes):
            same = np.flatnonzero(sizes == m)
            rows = units.rows[units.starts[same][:, None] + np.arange(m)]
            for piece in np.array_split(rows, max(1, rows.size * int(m) // _ENTRIES)):
                yield Part(source.design.X[piece], _covariances(source, piece), error[piece])


def _pairs(a: Array, b: Array, u: Array, v: Array, w: Array, x: Array, phi: Array) -> float:
    """Σ_ij (δ_ij a_i − u_i'Φv_j)(δ_ij b_i − w_i'Φx_j)."""
    first, second = (np.einsum("cp,pq,cq->c", left, phi, right) for left, right in ((u, v), (w, x)))
    across = float(np.sum((phi @ (v.T @ x) @ phi) * (u.T @ w)))
    return float(np.sum(a * b - a * second - b * first)) + across


def _clusters(design: Design, cluster: Any) -> Units:
    """Clusters that no random effect and no residual subject crosses. Raises SpecError."""
    if cluster is None:
        return units_of(design, None, _WHERE)
    if isinstance(cluster, str):
        if design.frame is not None and cluster in design.frame and cluster not in {g.name for g in design.groupings}:
            units = collected(cluster, _numbers(design.frame[cluster], design))
        else:
            units = units_of(design, cluster, _WHERE)
    else:
        units = collected("cluster", _numbers(cluster, design))
    shared = {g.name: g.codes for g in design.groupings}
    if design.residual is not None:
        shared["the residual's subject"] = design.residual.subject
    crossed = [name for name, codes in shared.items() if not constant_within(units.number, codes)]
    crossed += [f"{g.name} (related levels)" for g in design.groupings if g.relationship is not None]
    if crossed:
        given = f"{units.name}, whose clusters share levels of {', '.join(crossed)}"
        raise SpecError(Issue("cluster", given, "clusters that are independent under the model"))
    return units


def _numbers(cluster: Any, design: Design) -> Ints:
    """Clusters by number from one value a row; a Series goes by its index."""
    if isinstance(cluster, pd.Series) and cluster.index.is_unique and design.index.isin(cluster.index).all():
        cluster = cluster.reindex(design.index)
    values = cluster if isinstance(cluster, pd.Series) else np.asarray(cluster)
    if np.shape(values) != (design.n,):
        raise SpecError(
            Issue("cluster", f"an array of shape {np.shape(values)}", f"one value for each of {design.n} rows")
        )
    codes = pd.factorize(values)[0]
    if np.any(codes < 0):
        raise DataError(
            f"cluster: {int(np.sum(codes < 0))} of {design.n} values are missing · give every row a cluster"
        )
    return np.asarray(codes, dtype=np.intp)


def _covariances(source: FittedSource, rows: Ints) -> Array:
    """V of clusters of one size, rows (c, m): (c, m, m), in data units."""
    design, estimates = source.design, source.estimates
    V = np.zeros((*rows.shape, rows.shape[1]))
    for term, fitted in zip(design.terms, estimates.terms, strict=True):
        Z, codes = term.Z[rows], design.groupings[term.grouping].codes[rows]
        V += (Z @ fitted.G @ Z.transpose(0, 2, 1)) * (codes[:, :, None] == codes[:, None, :])
    R: Array
    residual = design.residual
    if residual is None:
        R = estimates.sigma2 * np.broadcast_to(np.eye(rows.shape[1]), V.shape)
    else:
        R = np.zeros_like(V)
        subject, stratum = residual.subject[rows], residual.stratum[rows]
        for k, (bound, flat) in enumerate(zip(*source.residual_terms, strict=True)):
            own = (stratum == k)[:, :, None] & (subject[:, :, None] == subject[:, None, :])
            if np.any(own):
                R += np.where(own, bound.covariance_at(flat, residual.index[rows]), 0.0)
    if design.root_weights is not None:
        root = design.root_weights[rows]
        R = R / (root[:, :, None] * root[:, None, :])
    return np.asarray(V + R)
