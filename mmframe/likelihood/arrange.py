"""The statistics where a plan wants them: off-diagonal entries by pair of factors, diagonal blocks, the core."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.likelihood.blocks import Plan, Round, blockwise, pairs_of
from mmframe.likelihood.cells import Cells, Ints

_CHUNK = 1 << 20


@frozen(eq=False)
class Constant:
    """The products w_ij w_ik of a round's pairs by level i: `pairs` (places of the core, levels), of j before k and of
    j with itself; `squares` (columns of the core, levels), those of j with itself."""

    pairs: sp.csc_array
    squares: sp.csc_array


@frozen(eq=False)
class Arranged:
    """Z'Z in the plan's order: entries (q_g, q_h, edges) by (g, h); diagonal (q, q, m) by factor; core (nc, nc).

    constant: the products of each round of that kind: Σ N_ji M_i N_ik is then a sparse matrix times the M_i.
    """

    plan: Plan
    entries: dict[tuple[int, int], Array]
    diagonal: tuple[Array, ...]
    core: Array
    constant: tuple[Constant | None, ...]

    def scaled(self, roots: dict[int, Array], prior: dict[int, Arranged]) -> Arranged:
        """With Z Λ in place of Z for some factors, and their prior precision added: Λ'Z'ZΛ + K⁻¹ ⊗ I."""
        entries, diagonal, core = dict(self.entries), list(self.diagonal), self.core.copy()
        for g, root in roots.items():
            place = self.plan.core_slice(g)
            for h in range(len(diagonal)):
                if (g, h) in entries:
                    entries[g, h] = np.einsum("xa,xbn->abn", root, entries[g, h])
                if (h, g) in entries:
                    entries[h, g] = np.einsum("axn,xb->abn", entries[h, g], root)
            if (g, g) in entries:
                entries[g, g] = entries[g, g] + prior[g].entries[g, g]
            diagonal[g] = np.einsum("xa,xyn,yb->abn", root, diagonal[g], root) + prior[g].diagonal[g]
            for _ in range(2):  # from the left, and through the transpose from the right
                core[place] = blockwise(root.T, core[place])
                core = np.ascontiguousarray(core.T)
            core[place, place] += prior[g].core[place, place]
        return Arranged(self.plan, entries, tuple(diagonal), core, self.constant)


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
    return Arranged(plan, entries, ordered, core, tuple(_constant(plan, r, entries) for r in plan.rounds))


def _constant(plan: Plan, rnd: Round, entries: dict[tuple[int, int], Array]) -> Constant | None:
    if rnd.kind != "constant":
        return None
    owner, column, w = [], [], []
    for h, near in rnd.edges.items():
        owner.append(near.owner)
        column.append(plan.core_start[h] + near.cols - plan.first_core[h])
        w.append(entries[rnd.g, h][0, 0, near.place])
    o, c, values = np.concatenate(owner), np.concatenate(column), np.concatenate(w)
    order = np.lexsort((c, o))
    o, c, values = o[order], c[order], values[order]
    n = rnd.stop - rnd.start
    starts = np.searchsorted(o, np.arange(n + 1))
    many = np.diff(starts)
    sizes = np.concatenate([[0], np.cumsum(many * (many + 1) // 2)])
    products, targets = np.empty(rnd.count), np.empty(rnd.count, dtype=np.int32)
    for lo, hi in _chunks(sizes):  # a few levels at a time, so that temporaries stay small
        part = slice(starts[lo], starts[hi])
        times, second = pairs_of(o[part])
        into = slice(sizes[lo], sizes[hi])
        np.multiply(np.repeat(values[part], times), values[part][second], out=products[into])
        targets[into] = np.repeat(c[part] * plan.core_size, times) + c[part][second]
    pairs = sp.csc_array((products, targets, sizes), shape=(plan.core_size**2, n))
    return Constant(pairs, sp.csc_array((values**2, c, starts), shape=(plan.core_size, n)))


def _chunks(sizes: Ints) -> Iterator[tuple[int, int]]:
    """Ranges of levels with about _CHUNK pairs each."""
    lo = 0
    while lo < sizes.size - 1:
        hi = max(lo + 1, int(np.searchsorted(sizes, sizes[lo] + _CHUNK, side="right")) - 1)
        yield lo, hi
        lo = hi
