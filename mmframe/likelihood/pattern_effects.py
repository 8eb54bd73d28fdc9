"""Random effects beside a structured residual, block by block.

With the prior covariance ΛΛ' of all effects of a block and its wide Z: Var(b | y) = Λ(Λ'Z'R⁻¹ZΛ + I)⁻¹Λ', which does not
cancel where G is large beside R, and G Z'V⁻¹E = Var(b | y) Z'R⁻¹E for any columns E.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import block_diag

from mmframe.covariance.domain import Array, psd_root
from mmframe.design.design import Design
from mmframe.likelihood.patterns import Blocks, Patterns, levels_within
from mmframe.likelihood.residual_engine import Pulled
from mmframe.likelihood.residual_inverse import inverse

_BLOCKS = 4096  # blocks that are worked at a time
_WHOLE = 4000  # effects of several factors up to which their joint covariance is written out


def pattern_effects(design: Design, G: tuple[Array, ...], entries: Array, columns: Array) -> Pulled:
    """What columns (n, c) say of the effects at (G, R). entries: all entries of R, with a zero at the end."""
    if not design.groupings:
        return Pulled((), ())
    factors = range(len(design.groupings))
    widths = [sum(t.width for t in design.terms if t.grouping == f) for f in factors]
    m = [design.groupings[f].size for f in factors]
    cov = tuple(np.zeros((m[f], widths[f], widths[f])) for f in factors)
    moved = tuple(np.zeros((m[f], widths[f], columns.shape[1])) for f in factors)
    starts = np.cumsum([0, *(m[f] * widths[f] for f in factors)])
    whole = np.zeros((starts[-1], starts[-1])) if len(m) > 1 and starts[-1] <= _WHOLE else None
    roots = [
        np.asarray(block_diag(*(psd_root(g) for g, t in zip(G, design.terms, strict=True) if t.grouping == f)))
        for f in factors
    ]
    for blocks in Patterns.of(design).blocks:
        residual = entries[blocks.place]
        try:
            precisions, _ = inverse(residual)
        except np.linalg.LinAlgError:  # R is singular, at a bound of its structure: V is not
            precisions = None
        for lo in range(0, len(blocks.rows), _BLOCKS):
            part = Blocks(blocks.rows[lo : lo + _BLOCKS], blocks.member[lo : lo + _BLOCKS], blocks.leader, blocks.place)
            wide, prior, owner = [], [], []
            for f in factors:
                local, levels = levels_within(part, design.groupings[f].codes)
                Z = np.concatenate([design.weighted(t.Z)[part.rows] for t in design.terms if t.grouping == f], axis=2)
                member = (local[:, :, None] == np.arange(levels.shape[1])).astype(float)
                wide.append((member[..., None] * Z[:, :, None, :]).reshape(*local.shape, -1))
                prior.append(np.kron(np.eye(levels.shape[1]), roots[f]))
                owner.append(levels)
            Zw, Lambda = np.concatenate(wide, axis=2), np.asarray(block_diag(*prior))
            if precisions is not None:
                pulled = Zw.swapaxes(1, 2) @ precisions[part.member]  # Z'R⁻¹
                inner = Lambda.T @ (pulled @ Zw) @ Lambda + np.eye(Lambda.shape[1])
                joint = Lambda @ np.linalg.inv(inner) @ Lambda.T
                said = joint @ (pulled @ columns[part.rows])
            else:
                through = Zw @ (Lambda @ Lambda.T)  # ZG
                inverses, _ = inverse(residual[part.member] + through @ Zw.swapaxes(1, 2))
                joint = Lambda @ Lambda.T - through.swapaxes(1, 2) @ inverses @ through
                said = through.swapaxes(1, 2) @ (inverses @ columns[part.rows])
            place = 0
            numbers = []
            for f, levels in zip(factors, owner, strict=True):
                q, count = widths[f], levels.shape[1]
                at = place + np.arange(count * q).reshape(count, q)
                own = joint[:, at[:, :, None], at[:, None, :]]
                real = levels >= 0
                moved[f][levels[real]] = said[:, at][real]
                cov[f][levels[real]] = own[real]
                number = starts[f] + levels[:, :, None] * q + np.arange(q)
                numbers.append(np.where(real[:, :, None], number, -1).reshape(len(levels), -1))
                place += count * q
            if whole is not None:
                number = np.concatenate(numbers, axis=1)
                both = (number[:, :, None] >= 0) & (number[:, None, :] >= 0)
                i, j = np.broadcast_arrays(number[:, :, None], number[:, None, :])
                whole[i[both], j[both]] = joint[both]
    return Pulled(cov, moved, whole)
