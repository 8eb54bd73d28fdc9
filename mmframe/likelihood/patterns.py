"""Patterns: blocks of rows that share one covariance matrix, and how the entries of R and Z come into it.

A block is what residuals and random effects tie together: a subject, or all subjects of a level that they share. Blocks
whose points, rows of Z and memberships agree are of one pattern. The residual's covariance is wanted at each distinct
pattern of a subject; `place` says where in these stacks each entry of V finds its R.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
from attrs import frozen
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from mmframe.covariance.domain import Array
from mmframe.design.design import Design
from mmframe.design.distinct import number_rows
from mmframe.likelihood.subjects import rows_of_subjects

Ints = NDArray[np.intp]
# Entries of V that are worked at a time: temporaries stay small, whatever the number of patterns.
_ENTRIES = 1_000_000


@frozen(eq=False)
class Blocks:
    """All blocks of m rows, in the order of their patterns.

    rows (B, m): the rows of the design.   member (B,): the pattern of each.   leader (P,): one block of each pattern.
    place (P, m, m): where R finds its entries among all stacks, the last place being a zero.
    """

    rows: Ints
    member: Ints
    leader: Ints
    place: Ints

    @property
    def patterns(self) -> int:
        return len(self.leader)


@frozen(eq=False)
class Patterns:
    """index: for each stratum the stacks (patterns, m, d) at which R is wanted.   blocks: by size, in parts of bounded size."""

    index: tuple[tuple[Array, ...], ...]
    blocks: tuple[Blocks, ...]

    @classmethod
    def of(cls, design: Design) -> Patterns:
        assert design.residual is not None
        base, width, within, index = _residual_patterns(design)
        block = blocks_of(design)
        order = design.residual.order
        order = order[np.argsort(block[order], kind="stable")]
        starts = np.concatenate([[0], np.flatnonzero(np.diff(block[order])) + 1])
        sizes = np.diff(np.append(starts, order.size))
        nothing = sum(stack.shape[0] * stack.shape[1] ** 2 for stratum in index for stack in stratum)
        keys = [base, within, *(design.weighted(t.Z[:, j]) for t in design.terms for j in range(t.width))]
        labels = [design.residual.subject, *(g.codes for g in design.groupings)]
        found = []
        for size in np.unique(sizes):
            rows = order[starts[sizes == size][:, None] + np.arange(size)]
            local = [first_seen(codes[rows]) for codes in labels]
            columns = (key[rows[:, a]] for key in keys for a in range(size))
            ties = (codes[:, a] for codes in local for a in range(1, size) if np.any(codes))
            member, patterns = number_rows((*columns, *ties), len(rows))
            by_pattern = np.argsort(member, kind="stable")
            rows, member = rows[by_pattern], member[by_pattern]
            edges = np.searchsorted(member, np.arange(patterns + 1))
            step = max(1, _ENTRIES // int(size * size))
            for lo in range(0, patterns, step):
                hi = min(lo + step, patterns)
                part = slice(edges[lo], edges[hi])
                leader = edges[lo:hi] - edges[lo]
                at = rows[part][leader]
                same = design.residual.subject[at][:, :, None] == design.residual.subject[at][:, None, :]
                entry = base[at][:, :, None] + within[at][:, :, None] * width[at][:, :, None] + within[at][:, None, :]
                found.append(Blocks(rows[part], member[part] - lo, leader, np.where(same, entry, nothing)))
        return cls(index, tuple(found))


def _residual_patterns(design: Design) -> tuple[Ints, Ints, Ints, tuple[tuple[Array, ...], ...]]:
    """For each row where its subject's pattern starts among all entries of R, its width, and the row's place in it."""
    assert design.residual is not None
    n = design.n
    base, width, within = (np.zeros(n, dtype=np.intp) for _ in range(3))
    index, start = [], 0
    for stratum in rows_of_subjects(design.residual):
        stacks = []
        for subjects in stratum:
            patterns, m, _ = subjects.index.shape
            stacks.append(subjects.index)
            base[subjects.rows] = (start + subjects.member * m * m)[:, None]
            width[subjects.rows] = m
            within[subjects.rows] = np.arange(m)
            start += patterns * m * m
        index.append(tuple(stacks))
    return base, width, within, tuple(index)


def blocks_of(design: Design) -> Ints:
    """The block of each row: what subjects and levels of grouping factors tie together."""
    assert design.residual is not None
    subject = design.residual.subject
    if not design.groupings:
        return subject
    sizes = [design.residual.m, *(g.size for g in design.groupings)]
    nodes = np.cumsum([0, *sizes])
    joins = [nodes[k + 1] + g.codes for k, g in enumerate(design.groupings)]
    pairs = np.concatenate([subject * 1 for _ in joins]), np.concatenate(joins)
    graph = sp.coo_array((np.ones(pairs[0].size), pairs), shape=(int(nodes[-1]), int(nodes[-1])))
    return np.asarray(connected_components(graph, directed=False)[1][subject], dtype=np.intp)


def largest_block(design: Design) -> int:
    """The rows of the largest block."""
    return int(np.bincount(blocks_of(design)).max())


def first_seen(codes: Ints) -> Ints:
    """Each row of codes (B, m) renumbered 0, 1, ... in the order in which they first occur."""
    out = np.zeros_like(codes)
    seen = np.zeros(len(codes), dtype=np.intp)
    for a in range(1, codes.shape[1]):
        earlier = codes[:, :a] == codes[:, a : a + 1]
        known = earlier.any(axis=1)
        seen = seen + ~known
        out[:, a] = np.where(known, out[np.arange(len(codes)), earlier.argmax(axis=1)], seen)
    return out


def levels_within(blocks: Blocks, codes: Ints) -> tuple[Ints, Ints]:
    """The number of each row's level within its block (B, m), and the level of each number (B, L), −1 for none."""
    local = first_seen(codes[blocks.rows])
    levels = np.full((len(local), int(local.max()) + 1), -1, dtype=np.intp)
    levels[np.arange(len(local))[:, None], local] = codes[blocks.rows]
    return local, levels


def rows_per_pattern(blocks: Blocks) -> Iterator[tuple[int, slice]]:
    """Each pattern with its blocks."""
    edges = np.searchsorted(blocks.member, np.arange(blocks.patterns + 1))
    for k in range(blocks.patterns):
        yield k, slice(int(edges[k]), int(edges[k + 1]))
