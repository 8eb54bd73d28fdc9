"""The statistics where a plan wants them: off-diagonal entries by pair of factors, diagonal blocks, the core."""

from __future__ import annotations

import numpy as np
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.likelihood.blocks import Plan
from mmframe.likelihood.cells import Cells


@frozen(eq=False)
class Arranged:
    """Z'Z in the plan's order: entries (q_g, q_h, edges) by (g, h); diagonal (q, q, m) by factor; core (nc, nc)."""

    plan: Plan
    entries: dict[tuple[int, int], Array]
    diagonal: tuple[Array, ...]
    core: Array


def arrange(plan: Plan, cells: dict[tuple[int, int], Cells], diagonal: tuple[Array, ...]) -> Arranged:
    """From the cells and each factor's Z_i'Z_i (q, q, m_g) in the data's order."""
    F = len(plan.sizes)
    entries = {(g, h): np.zeros((plan.widths[g], plan.widths[h], e.rows.size)) for (g, h), e in plan.edges.items()}
    keys = {pair: e.rows * plan.sizes[pair[1]] + e.cols for pair, e in plan.edges.items()}
    core = np.zeros((plan.core_size, plan.core_size))
    ordered = tuple(np.ascontiguousarray(d[:, :, o]) for d, o in zip(diagonal, plan.order, strict=True))
    for g in range(F):
        at = plan.core_columns(g)
        core[at[:, None, :], at[None, :, :]] = ordered[g][:, :, plan.first_core[g] :]
    for (g, h), c in cells.items():
        r, s = plan.place[g][c.rows], plan.place[h][c.cols]
        inside = (r >= plan.first_core[g]) & (s >= plan.first_core[h])
        i = plan.core_start[g] + (r[inside] - plan.first_core[g]) * plan.widths[g]
        j = plan.core_start[h] + (s[inside] - plan.first_core[h]) * plan.widths[h]
        a, b = np.arange(plan.widths[g])[:, None, None], np.arange(plan.widths[h])[None, :, None]
        core[i + a, j + b] = c.W[:, :, inside]
        core[j + b, i + a] = c.W[:, :, inside]
        done = inside
        for x, y, rows, cols, W in ((g, h, r, s, c.W), (h, g, s, r, c.W.transpose(1, 0, 2))):
            if (x, y) not in keys:
                continue
            # the key order is by position; rows are in the plan's order, and so are the columns of one factor
            wanted = rows * plan.sizes[y] + cols
            place = np.searchsorted(keys[x, y], wanted)
            place[place == keys[x, y].size] = 0
            found = (keys[x, y][place] == wanted) & ~done
            entries[x, y][:, :, place[found]] = W[:, :, found]
            done = done | found
    return Arranged(plan, entries, ordered, core)
