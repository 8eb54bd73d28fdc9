"""tr V⁻¹V_jV⁻¹V_l: minus the second derivative of log|V|, V being linear in the entries of G.

Tangents that move a factor of the sparse rounds: the derivative of its score, by one more pass over the rounds with
complex numbers (exact). Tangents within the core: from Z'V⁻¹Z of the core itself.
"""

from __future__ import annotations

import itertools

import numpy as np

from mmframe.covariance.domain import Array
from mmframe.likelihood.arrange import Arranged
from mmframe.likelihood.blocks import Plan
from mmframe.likelihood.core import Core, by_blocks, symmetric
from mmframe.likelihood.eliminate import eliminate
from mmframe.likelihood.factorization import Factorization, Prior

_STEP = 1e-60  # imaginary parts: their squares vanish beside the real parts


def second_traces_by_differences(
    data: Arranged, G: tuple[Array, ...], priors: dict[int, Prior], moved: tuple[Array, ...]
) -> Array:
    """The same from differences of the score of log|V|, where a factor's K⁻¹ was given: (k, k), to about 1e-7; NaN at a
    singular G, from which no step leads to both sides."""
    k = moved[0].shape[0]
    out = np.empty((k, k))
    for j in range(k):
        dG = tuple(d[j] for d in moved)
        step = 1e-3 * _room(G, dG)
        if not step > 0.0:
            return np.full((k, k), np.nan)
        change = np.zeros(k)
        for place, weight in ((1, 2 / 3), (-1, -2 / 3), (2, -1 / 12), (-2, 1 / 12)):
            at = Factorization.of(data, tuple(g + place * step * d for g, d in zip(G, dG, strict=True)), priors)
            if at is None:
                return np.full((k, k), np.nan)
            for d, s in zip(moved, at.traces(), strict=True):
                change += weight / step * np.einsum("kab,ab->k", d, s)
        out[j] = -change
    return 0.5 * (out + out.T)


def _room(G: tuple[Array, ...], dG: tuple[Array, ...]) -> float:
    """How far one can go along a direction before a matrix that moves leaves the cone; 0 on its boundary."""
    moving = [(np.linalg.eigvalsh(g), float(np.max(np.abs(d)))) for g, d in zip(G, dG, strict=True) if np.any(d)]
    return min((values[0] / size if values[0] > 1e-6 * values[-1] else 0.0 for values, size in moving), default=1.0)


def second_traces(data: Arranged, at: Factorization, moved: tuple[Array, ...]) -> Array:
    """moved: directions (k, q, q) of G by factor. `at` must hold the core's N. (k, k)"""
    plan, core = data.plan, at.core
    k = moved[0].shape[0]
    inside = np.array(
        [all(plan.first_core[g] == 0 or not np.any(dG[j]) for g, dG in enumerate(moved)) for j in range(k)], dtype=bool
    )
    out = np.empty((k, k))
    inner = core.inner() if plan.core_size else np.zeros((0, 0))
    if np.any(inside):
        out[np.ix_(inside, inside)] = _core_traces(plan, inner, tuple(dG[inside] for dG in moved))
    for j in np.flatnonzero(~inside):
        dG = tuple(d[j] for d in moved)
        rounds = eliminate(data, at.roots, tuple(_STEP * d for d in dG))
        change, moved_T = _moved_core(plan, core, inner, rounds.N.imag / _STEP, dG)
        sums, blocks, _ = rounds.inverse(core, core.whole_T + 1j * _STEP * moved_T)
        scores = []
        for g, inside_core in enumerate(change):
            T = np.sum(blocks[g], axis=2)
            divided = at.divides(g)
            own = at.divided_change(g, T.real, T.imag / _STEP, dG[g]) if divided else sums[g].imag / _STEP
            scores.append(own + np.sum(inside_core, axis=0))
        row = -sum(np.einsum("kab,ab->k", d, s) for d, s in zip(moved, scores, strict=True))
        out[j], out[:, j] = row, row
    return out


def _core_traces(plan: Plan, inner: Array, moved: tuple[Array, ...]) -> Array:
    """tr(Z'V⁻¹Z dG_j Z'V⁻¹Z dG_l) of tangents within the core, (k, k)."""
    k = moved[0].shape[0]
    out = np.zeros((k, k))
    for g, h in itertools.product(range(len(moved)), repeat=2):
        a, b = plan.core_slice(g), plan.core_slice(h)
        if a.stop == a.start or b.stop == b.start:
            continue
        q, s = plan.widths[g], plan.widths[h]
        block = inner[a, b].reshape(-1, q, inner[a, b].shape[1] // s, s).transpose(0, 2, 1, 3).reshape(-1, q * s)
        pairs = (block.T @ block).reshape(q, s, q, s)  # Σ N_xy N_uv
        out += np.einsum("xyuv,jux,lyv->jl", pairs, moved[g], moved[h], optimize=True)
    return out


def _moved_core(plan: Plan, core: Core, inner: Array, dN: Array, dG: tuple[Array, ...]) -> tuple[list[Array], Array]:
    """Derivatives of the core's diagonal blocks of Z'V⁻¹Z, (levels, q, q) by factor, and of T."""
    if not plan.core_size:
        return [np.zeros((0, q, q)) for q in plan.widths], np.zeros((0, 0))
    dN = symmetric(dN)
    assert core.N is not None
    J = np.eye(plan.core_size) - core.whole_T @ core.N
    left = J.T @ dN
    moved_T = -core.whole_T @ dN @ core.whole_T
    moving = any(np.any(d) and plan.core_slice(g).stop > plan.core_slice(g).start for g, d in enumerate(dG))
    if moving:
        moved_T += J @ by_blocks(plan, J.T, dG)
        half = by_blocks(plan, inner, dG).T
    change = []
    for g in range(len(plan.sizes)):
        place, q = plan.core_slice(g), plan.widths[g]
        rows = left[place].reshape(-1, q, plan.core_size)
        cols = J[:, place].T.reshape(-1, q, plan.core_size)
        blocks = np.einsum("maz,mbz->mab", rows, cols, optimize=True)
        if moving:
            rows = half[place].reshape(-1, q, plan.core_size)
            cols = inner[:, place].T.reshape(-1, q, plan.core_size)
            blocks -= np.einsum("maz,mbz->mab", rows, cols, optimize=True)
        change.append(blocks)
    return change, moved_T
