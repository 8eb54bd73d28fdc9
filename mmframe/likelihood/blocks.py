"""The plan of a blocked factorization: the rounds with their lists, where fill arises, what stays dense.

It depends on the pattern of the data alone (ordering.py decides on the order), and is made once.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import scipy.sparse as sp
from attrs import field, frozen
from numpy.typing import NDArray

from mmframe.covariance.domain import Array
from mmframe.errors import EngineRefusedError
from mmframe.likelihood.cells import Cells, Ints
from mmframe.likelihood.ordering import elimination_order

Index = NDArray[np.int32]

MAX_CORE = 15_000  # columns of the core beyond which its matrices (8 n² bytes each) do not fit


@frozen(eq=False)
class Pairs:
    """Pairs (a, b) of entries of one round with a common level: their product goes to entry `target`.

    a, b: places among the entries of (g, h) and of (g, k).   where: "edge" for entries of (h, k), "diagonal" for the
    blocks of h, "core" and "core diagonal" for places in the core.
    """

    h: int
    k: int
    where: str
    a: Index
    b: Index
    target: Index


@frozen(eq=False)
class Neighbours:
    """The entries of a round's levels with one factor h: their place among the entries (g, h); owner and cols: the level
    within the round and the level of h of each; starts (n + 1,): where the entries of each level begin."""

    place: slice
    owner: Ints
    cols: Ints
    starts: Ints

    def matrix(self, values: Array, columns: int) -> sp.csr_array:
        """Numbers of the entries as a sparse matrix (levels of the round, levels of h)."""
        return sp.csr_array((values, self.cols, self.starts), shape=(self.starts.size - 1, columns))


@frozen(eq=False)
class Round:
    """Levels start .. stop of factor g, eliminated at once.

    edges: the neighbours in each other factor.   pairs: the pairs of
    neighbours where kind is "listed".   count: how many there are.

    kind: "listed"; "constant" where all neighbours are in the core, all bases have one column and no fill arrives, so
    that the products of pairs are the same at every G; "dense" for levels with many neighbours.
    """

    g: int
    start: int
    stop: int
    edges: dict[int, Neighbours]
    kind: str
    pairs: tuple[Pairs, ...]
    count: int


@frozen(eq=False)
class Edges:
    """Joined levels (rows of g, cols of h) in the plan's order, sorted; the row is eliminated before the column."""

    rows: Ints
    cols: Ints


@frozen(eq=False)
class Plan:
    """sizes, widths: m_g levels and q_g columns of each factor.   order[g] (m_g,): the levels of g in the order of
    elimination; those from `first_core[g]` on are in the core.   edges: by (g, h).   core_start[g]: the first column of
    g in the core; core_size: the number of its columns."""

    names: tuple[str, ...]
    sizes: tuple[int, ...]
    widths: tuple[int, ...]
    order: tuple[Ints, ...]
    first_core: tuple[int, ...]
    edges: dict[tuple[int, int], Edges]
    rounds: tuple[Round, ...]
    core_start: tuple[int, ...]
    core_size: int
    fill: int

    @cached_property
    def place(self) -> tuple[Ints, ...]:
        """place[g] (m_g,): where each level of g stands in the order."""
        return tuple(np.argsort(o) for o in self.order)

    @cached_property
    def touched(self) -> frozenset[tuple[int, int]]:
        """The pairs of factors whose entries a round changes, by fill or by products on entries that were there."""
        lists = (pairs for r in self.rounds for pairs in r.pairs)
        return frozenset((p.h, p.k) for p in lists if p.where == "edge")

    @property
    def columns(self) -> int:
        """Random effects in all."""
        return sum(m * q for m, q in zip(self.sizes, self.widths, strict=True))

    def core_columns(self, g: int) -> Ints:
        """The columns of the core that belong to each core level of g: (q, levels)."""
        levels = self.sizes[g] - self.first_core[g]
        q = self.widths[g]
        return self.core_start[g] + np.arange(levels) * q + np.arange(q)[:, None]

    def core_slice(self, g: int) -> slice:
        levels = self.sizes[g] - self.first_core[g]
        return slice(self.core_start[g], self.core_start[g] + levels * self.widths[g])

    def describe(self) -> str:
        """The blocks in words, one line a factor, in the order of elimination."""
        rows = [("factor", "levels", "columns", "block", "eliminated")]
        firsts = {
            g: next((r for r, x in enumerate(self.rounds) if x.g == g), len(self.rounds))
            for g in range(len(self.sizes))
        }
        for g in sorted(firsts, key=lambda g: (firsts[g], -self.sizes[g])):
            mine = [r for r in self.rounds if r.g == g]
            q, m, kept = self.widths[g], self.sizes[g], self.sizes[g] - self.first_core[g]
            if not mine:
                kind, when = "dense", f"last, in the core of {self.core_size} columns"
            elif not kept and all(g not in r.edges for r in mine) and (g, g) not in self.edges:
                kind = "diagonal" if q == 1 else f"block-diagonal, {q} x {q}"
                heavy = sum(r.stop - r.start for r in mine if r.kind == "dense")
                how = f", {heavy:,} levels by dense products" if heavy else ""
                when = f"in round {firsts[g] + 1} of {len(self.rounds)}{how}"
            else:
                kind = "block-sparse"
                when = f"in {len(mine)} rounds" + (f", {kept} levels in the core" if kept else "")
            rows.append((self.names[g], f"{m:,}", f"{m * q:,}", kind, when))
        widths = [max(len(r[c]) for r in rows) for c in range(5)]
        lines = [
            "  ".join(
                x.rjust(w) if c in (1, 2) else x.ljust(w) for c, (x, w) in enumerate(zip(r, widths, strict=True))
            ).rstrip()
            for r in rows
        ]
        entries = sum(e.rows.size * self.widths[g] * self.widths[h] for (g, h), e in self.edges.items())
        lines.append(
            f"entries off the diagonal: {entries:,}, {self.fill:,} blocks of them fill;"
            f" dense core: {self.core_size} x {self.core_size}"
        )
        return "\n".join(lines)


def make_plan(
    names: tuple[str, ...],
    sizes: tuple[int, ...],
    widths: tuple[int, ...],
    cells: dict[tuple[int, int], Cells],
    *,
    constant: bool = True,
) -> Plan:
    """Decide the order from the pattern of the cells. Raises EngineRefusedError where the core would not fit.

    constant: whether entries that get no fill are the same at every G.
    """
    F = len(sizes)
    offset = np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
    factor = np.repeat(np.arange(F), sizes)
    sets, dense, joined, rest = elimination_order(factor, np.asarray(widths)[factor], offset, cells)
    core_size = int(np.sum(np.asarray(widths)[factor[rest]]))
    if core_size > MAX_CORE:
        held = ", ".join(f"{names[g]}: {int(np.sum(factor[rest] == g)):,}" for g in range(F))
        raise EngineRefusedError(
            f"engine: blocked: after {len(sets)} rounds {core_size:,} columns are left that depend on each other"
            f" ({held}) · allowed: up to {MAX_CORE:,} · drop a term, or a factor with fewer levels"
        )
    # Positions: eliminated nodes by round, then the core by factor.
    sequence = np.concatenate([*sets, rest]).astype(np.intp)
    position = np.empty(sequence.size, dtype=np.intp)
    position[sequence] = np.arange(sequence.size)
    order = tuple(sequence[factor[sequence] == g] - offset[g] for g in range(F))
    first_core = tuple(int(sizes[g] - np.sum(factor[rest] == g)) for g in range(F))
    within = np.empty(sequence.size, dtype=np.intp)  # the place of each node within its factor's order
    for g in range(F):
        within[offset[g] + order[g]] = np.arange(sizes[g])
    core_widths = [(sizes[g] - first_core[g]) * widths[g] for g in range(F)]
    core_start = tuple(int(x) for x in np.concatenate([[0], np.cumsum(core_widths)])[:-1])

    u, v = (np.concatenate([j[s] for j in joined]) if joined else np.zeros(0, dtype=np.intp) for s in (0, 1))
    key = position[u] * sequence.size + position[v]
    by_key = np.argsort(key)
    u, v, key = u[by_key], v[by_key], key[by_key]
    edges: dict[tuple[int, int], Edges] = {}
    keys: dict[tuple[int, int], Ints] = {}
    both = factor[u] * F + factor[v]
    for code in np.unique(both):
        g, h = divmod(int(code), F)
        mine = both == code
        edges[g, h] = Edges(within[u[mine]], within[v[mine]])
        keys[g, h] = key[mine]
    given = sum(c.rows.size for c in cells.values()) - _inside_core(cells, within, first_core, offset)
    column = np.zeros(sequence.size, dtype=np.intp)  # the first core column of each core node
    for g in range(F):
        levels = order[g][first_core[g] :]
        column[offset[g] + levels] = core_start[g] + np.arange(levels.size) * widths[g]
    in_core = np.zeros(sequence.size, dtype=bool)
    in_core[rest] = True
    lists = _Lists(
        F, constant, widths, offset, order, within, in_core, position, column, core_size, keys, sequence.size
    )
    rounds, at = [], [0] * F
    for nodes, by_products in zip(sets, dense, strict=True):
        g = int(factor[nodes[0]])
        start, stop = at[g], at[g] + nodes.size
        at[g] = stop
        rounds.append(lists.round(g, start, stop, edges, by_products))
    total = sum(e.rows.size for e in edges.values())
    return Plan(names, sizes, widths, order, first_core, edges, tuple(rounds), core_start, core_size, total - given)


def _inside_core(cells: dict[tuple[int, int], Cells], within: Ints, first_core: tuple[int, ...], offset: Ints) -> int:
    """How many cells join two core nodes."""
    total = 0
    for (g, h), c in cells.items():
        total += int(
            np.sum((within[offset[g] + c.rows] >= first_core[g]) & (within[offset[h] + c.cols] >= first_core[h]))
        )
    return total


def blockwise(matrix: Array, rows: Array) -> Array:
    """A matrix (q, q) times each block of q rows: (levels q, r) -> (levels q, r)."""
    q = len(matrix)
    return np.asarray((matrix @ rows.reshape(len(rows) // q, q, rows.shape[1])).reshape(rows.shape))


def pairs_of(owner: Ints) -> tuple[Ints, Ints]:
    """All pairs (a, b), a ≤ b, of places that belong to the same owner: how often each a comes, and the b.

    owner is sorted.
    """
    place = np.arange(owner.size)
    times = np.searchsorted(owner, owner, side="right") - place
    return times, np.arange(int(times.sum())) - np.repeat(np.cumsum(times) - times - place, times)


@frozen(eq=False)
class _Lists:
    """What is needed to list the pairs of a round."""

    F: int
    constant: bool
    widths: tuple[int, ...]
    offset: Ints
    order: tuple[Ints, ...]
    within: Ints
    core: NDArray[np.bool_]
    position: Ints
    column: Ints
    core_size: int
    keys: dict[tuple[int, int], Ints]
    n: int
    touched: set[tuple[int, int]] = field(factory=set)  # the pairs of factors in whose entries fill has arrived

    def round(self, g: int, start: int, stop: int, edges: dict[tuple[int, int], Edges], dense: bool) -> Round:
        mine: dict[int, Neighbours] = {}
        owner, node, kind, entry = [], [], [], []
        for h in range(self.F):
            if (g, h) not in edges:
                continue
            lo, hi = np.searchsorted(edges[g, h].rows, [start, stop])
            if lo == hi:
                continue
            own, cols = edges[g, h].rows[lo:hi] - start, edges[g, h].cols[lo:hi]
            starts = np.searchsorted(own, np.arange(stop - start + 1))
            mine[h] = Neighbours(slice(int(lo), int(hi)), own, cols, starts)
            owner.append(own)
            node.append(self.offset[h] + self.order[h][cols])
            kind.append(np.full(hi - lo, h))
            entry.append(np.arange(hi - lo))
        if not mine:
            return Round(g, start, stop, mine, "listed", (), 0)
        o, v = np.concatenate(owner), np.concatenate(node)
        degree = np.bincount(o, minlength=stop - start).astype(float)
        count = int(np.sum(degree * (degree + 1)) / 2)
        one = self.constant and self.widths[g] == 1 and all(self.widths[h] == 1 for h in mine)
        if dense or (one and bool(np.all(self.core[v])) and not any((g, h) in self.touched for h in mine)):
            return Round(g, start, stop, mine, "dense" if dense else "constant", (), count)
        by_row = np.lexsort((self.position[v], o))
        o, v = o[by_row], v[by_row]
        factors, e = np.concatenate(kind)[by_row], np.concatenate(entry)[by_row]
        times, second = pairs_of(o)
        pairs = self._sorted(np.repeat(np.arange(o.size), times), second, v, factors, e)
        self.touched.update((p.h, p.k) for p in pairs if p.where == "edge")
        return Round(g, start, stop, mine, "listed", tuple(pairs), count)

    def _sorted(self, first: Ints, second: Ints, v: Ints, h: Ints, e: Ints) -> list[Pairs]:
        """The pairs by their two factors and the kind of their target."""
        place, column, position = self.within[v], self.column[v], self.position[v]
        code = (h[first] * self.F + h[second]) * 4 + 2 * self.core[v][first] + (first == second)
        out = []
        for c in np.flatnonzero(np.bincount(code)):
            which = np.flatnonzero(code == c)
            a, b = first[which], second[which]
            pair, where = divmod(int(c), 4)
            j, k = divmod(pair, self.F)
            name = ("edge", "diagonal", "core", "core diagonal")[where]
            if name == "edge":
                target = np.searchsorted(self.keys[j, k], position[a] * self.n + position[b])
            elif name == "diagonal":
                target = place[a]
            else:
                target = column[a] * self.core_size + column[b]
            out.append(Pairs(j, k, name, e[a].astype(np.int32), e[b].astype(np.int32), target.astype(np.int32)))
        return out
