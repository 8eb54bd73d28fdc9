"""MixedLMParams: the parameters of a model in the profile parameterization, and their packing into vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from mmframe.covariance.domain import Array, OutsideDomainError, Psd
from mmframe.covariance.matrix_bijections import lower_root


class MixedLMParams:
    """A state of the parameters, the residual variance (`scale`) profiled out.

    fe_params (k_fe,): slopes.   cov_re (k_re, k_re): covariance of the random effects divided by scale.
    vcomp (k_vc,): variance components divided by scale.

    Three parameterizations share the slopes. *natural*: cov(y) = scale·I + Z cov_re Z', as results report it. *profile*:
    cov(y)/scale = I + Z cov_re Z', as here. *square root*: the Cholesky factor of the profile cov_re, and the roots of
    vcomp. Each is packed as (fe_params, lower triangle of the matrix row by row, components).
    """

    def __init__(self, k_fe: int, k_re: int, k_vc: int) -> None:
        self.k_fe = k_fe
        self.k_re = k_re
        self.k_re2 = k_re * (k_re + 1) // 2
        self.k_vc = k_vc
        self.k_tot = self.k_fe + self.k_re2 + self.k_vc
        self._ix = np.tril_indices(k_re)
        self.fe_params: Any = np.zeros(k_fe)
        self.cov_re: Any = np.zeros((k_re, k_re))
        self.vcomp: Any = np.zeros(k_vc)

    def __repr__(self) -> str:
        return (
            f"MixedLMParams(fe_params={self.fe_params}, cov_re={np.asarray(self.cov_re).tolist()}, vcomp={self.vcomp})"
        )

    @staticmethod
    def from_packed(params: Any, k_fe: int, k_re: int, use_sqrt: bool, has_fe: bool) -> MixedLMParams:
        """From a packed vector; the number of variance components follows from its length.

        use_sqrt: the matrix part is a Cholesky factor and the components are roots.   has_fe: slopes come first; else they
        are zero. Raises ValueError for a vector that is too short.
        """
        packed = np.asarray(params, dtype=float)
        k_re2 = k_re * (k_re + 1) // 2
        skip = k_fe if has_fe else 0
        if packed.ndim != 1 or len(packed) < skip + k_re2:
            raise ValueError(
                f"params: a vector of shape {packed.shape} · allowed: at least {skip} slopes and {k_re2} entries of cov_re"
            )
        out = MixedLMParams(k_fe, k_re, len(packed) - skip - k_re2)
        if has_fe:
            out.fe_params = packed[:k_fe].copy()
        matrix = np.zeros((k_re, k_re))
        matrix[out._ix] = packed[skip : skip + k_re2]
        rest = packed[skip + k_re2 :].copy()
        out.cov_re = matrix @ matrix.T if use_sqrt else matrix + matrix.T - np.diag(np.diag(matrix))
        out.vcomp = rest**2 if use_sqrt else rest
        return out

    @staticmethod
    def from_components(
        fe_params: Any = None, cov_re: Any = None, cov_re_sqrt: Any = None, vcomp: Any = None
    ) -> MixedLMParams:
        """From the parts; one that is None is empty.   cov_re_sqrt: L, in place of cov_re = LL'."""
        slopes = np.zeros(0) if fe_params is None else fe_params
        components = np.zeros(0) if vcomp is None else vcomp
        if cov_re_sqrt is not None:
            root = np.asarray(cov_re_sqrt, dtype=float)
            cov_re = root @ root.T
        elif cov_re is None:
            cov_re = np.zeros((0, 0))
        out = MixedLMParams(len(slopes), len(cov_re), len(components))
        out.fe_params, out.cov_re, out.vcomp = slopes, cov_re, components
        return out

    def copy(self) -> MixedLMParams:
        """A copy that shares nothing."""
        out = MixedLMParams(self.k_fe, self.k_re, self.k_vc)
        out.fe_params, out.cov_re, out.vcomp = (
            np.array(part, dtype=float) for part in (self.fe_params, self.cov_re, self.vcomp)
        )
        return out

    def get_packed(self, use_sqrt: bool, has_fe: bool = False) -> Array:
        """The packed vector. With use_sqrt a singular matrix has its root too; raises ValueError for one that is not
        positive semidefinite."""
        matrix, vcomp = np.asarray(self.cov_re, dtype=float), np.asarray(self.vcomp, dtype=float)
        if use_sqrt:
            matrix = square_root(matrix)
            vcomp = np.sqrt(vcomp)
        parts = [matrix[self._ix], vcomp]
        if has_fe:
            parts.insert(0, np.asarray(self.fe_params, dtype=float))
        return np.concatenate(parts)


def as_params(given: Any, shape: MixedLMParams, use_sqrt: bool, where: str) -> MixedLMParams:
    """A copy of parameters of a model: MixedLMParams (statsmodels' own will do), or packed, of the covariances alone or with the
    slopes before them. shape: any parameters of the model. Raises ValueError for others."""
    slopes, covariances = shape.k_fe, shape.k_re2 + shape.k_vc
    wanted = f"MixedLMParams of the model, or a vector of {covariances} packed covariance parameters, or {slopes} slopes before them"
    if all(hasattr(given, name) for name in ("fe_params", "cov_re", "vcomp")):
        parts = [np.array(getattr(given, name), dtype=float) for name in ("fe_params", "cov_re", "vcomp")]
        found, right = [p.shape for p in parts], [(shape.k_fe,), (shape.k_re, shape.k_re), (shape.k_vc,)]
        if found != right:
            raise ValueError(f"{where}: fe_params, cov_re and vcomp of shapes {found} · allowed: {right}")
        return MixedLMParams.from_components(parts[0], parts[1], vcomp=parts[2])
    try:
        packed = np.asarray(given, dtype=float)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: a {type(given).__name__} · allowed: {wanted}") from None
    if packed.ndim != 1 or len(packed) not in (covariances, covariances + slopes):
        raise ValueError(f"{where}: shape {packed.shape} · allowed: {wanted}")
    return MixedLMParams.from_packed(packed, slopes, shape.k_re, use_sqrt, len(packed) != covariances)


def square_root(matrix: Array) -> Array:
    """The lower triangular L with LL' = matrix and a diagonal ≥ 0. Raises ValueError outside the cone."""
    if not matrix.size:
        return matrix
    try:
        value = Psd(matrix)
        _ = value.factor
    except OutsideDomainError:
        raise ValueError(
            f"cov_re: not positive semidefinite: {matrix.tolist()} · allowed: a covariance matrix, or use_sqrt=False"
        ) from None
    return lower_root(value)
