"""A round of levels with many neighbours, all in the core, by dense products: rows of N_ij written out, some at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from scipy.linalg import blas

from mmframe.covariance.domain import Array

if TYPE_CHECKING:
    from mmframe.likelihood.blocks import Plan
    from mmframe.likelihood.core import Core
    from mmframe.likelihood.eliminate import Step

_ROWS = 512


def _rows(plan: Plan, step: Step) -> Iterator[tuple[slice, Array]]:
    """N_ij of some levels, (levels, q, nc)."""
    rnd, q = step.round, plan.widths[step.round.g]
    n = rnd.stop - rnd.start
    size = max(1, _ROWS // q)
    kind = np.result_type(*step.N.values())
    for lo in range(0, n, size):
        hi = min(lo + size, n)
        dense = np.zeros((hi - lo, q, plan.core_size), dtype=kind)
        for h, near in rnd.edges.items():
            first, last = near.starts[[lo, hi]]
            owner = near.owner[first:last] - lo
            column = plan.core_start[h] + (near.cols[first:last] - plan.first_core[h]) * plan.widths[h]
            for x in range(q):
                for c in range(plan.widths[h]):
                    dense[owner, x, column + c] = step.N[h][x, c, first:last]
        yield slice(lo, hi), dense


def dense_products(plan: Plan, step: Step, N: Array) -> None:
    """N −= N_ji M_i N_ik over the core, upper triangle."""
    for part, dense in _rows(plan, step):
        if step.K is None:
            M = np.moveaxis(step.M[:, :, part], -1, 0)
            N -= dense.reshape(-1, plan.core_size).T @ (M @ dense).reshape(-1, plan.core_size)
        else:
            half = np.moveaxis(step.K[:, :, part], -1, 0) @ dense
            # N.T is in Fortran order: its lower triangle is the upper one of N
            blas.dsyrk(-1.0, half.reshape(-1, plan.core_size).T, beta=1.0, c=N.T, lower=1, overwrite_c=1)


def dense_quadratics(plan: Plan, step: Step, core: Core, T: Array) -> Array:
    """Q_i = N_ij T_jk N_ki: (q, q, n); through the root of T where numbers are real, at half the cost."""
    q = plan.widths[step.round.g]
    kind = np.result_type(T, *step.N.values())
    Q = np.empty((q, q, step.round.stop - step.round.start), dtype=kind)
    for part, dense in _rows(plan, step):
        if not np.issubdtype(kind, np.complexfloating):
            Q[:, :, part] = np.moveaxis(core.gram(dense), 0, -1)
        else:
            moved = (dense.reshape(-1, plan.core_size) @ T).reshape(dense.shape)
            Q[:, :, part] = np.einsum("nxc,nyc->xyn", moved, dense)
    return Q
