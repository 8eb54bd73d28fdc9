"""Phylogenies: the covariance of species under Brownian motion, and its sparse inverse over tips and internal nodes.

The covariance of two species is the length that their ways from the root share (Felsenstein 1985, Am. Nat. 125:1-15). Given its
parent node, a node's value is that of the parent plus a change whose variance is the branch length, so that the joint inverse of all
nodes but the root has entries on branches only (Hadfield & Nakagawa 2010, J. Evol. Biol. 23:494-508), just as a pedigree's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp
from attrs import evolve, frozen
from numpy.typing import NDArray

from mmframe.api import Relationship
from mmframe_kinship._reading import shown
from mmframe_kinship.newick import Nodes, parse, place

Array = NDArray[np.float64]
Codes = NDArray[np.intp]


@frozen(eq=False)
class Phylogeny:
    """A rooted tree with branch lengths. Nodes come after their parents; the root is first.

    nodes (n,): labels.   parent (n,): places of the parents, -1 for the root.   length (n,): of the branch above each node, 0 for the
    root.   tip (n,): which nodes are tips.
    """

    nodes: pd.Index
    parent: Codes
    length: Array
    tip: NDArray[np.bool_]

    @property
    def tips(self) -> pd.Index:
        """The labels of the tips, in the order of the tree."""
        return self.nodes[self.tip]

    @property
    def depths(self) -> pd.Series[float]:
        """The length of the way from the root to each node, (n,): the variance of its value under Brownian motion."""
        out = np.zeros(len(self.nodes))
        for k in range(1, len(self.nodes)):  # a node takes its parent's depth: a recursion, O(n)
            out[k] = out[self.parent[k]] + self.length[k]
        return pd.Series(out, index=self.nodes, name="depth")

    @property
    def ultrametric(self) -> bool:
        """Whether all tips are as far from the root, to a millionth."""
        height = self.depths.to_numpy()[self.tip]
        return bool(np.ptp(height) <= 1e-6 * height.max())

    def __repr__(self) -> str:
        height = self.depths.to_numpy()[self.tip]
        high = f"height {height[0]:.6g}" if self.ultrametric else f"heights {height.min():.6g} to {height.max():.6g}"
        return f"<Phylogeny: {int(self.tip.sum())} tips, {int(np.sum(~self.tip))} internal nodes, {high}>"

    def scaled(self, height: float = 1.0) -> Phylogeny:
        """The same tree with the longest way from the root to a tip of this length."""
        if not height > 0.0:
            raise ValueError(f"phylogeny: height={height!r} · allowed: a positive number")
        return evolve(self, length=self.length * (height / float(self.depths.to_numpy()[self.tip].max())))

    def pagel(self, value: float) -> Phylogeny:
        """The tree with Pagel's λ (1999, Nature 401:877-884): covariances of species times λ, variances as they were.

        value: 0 (a star: species are independent) to 1 (the tree itself). Raises ValueError off that.
        """
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"phylogeny: λ={value!r} · allowed: 0 to 1")
        depth = self.depths.to_numpy()
        above = np.where(self.parent >= 0, depth[self.parent], 0.0)
        return evolve(self, length=np.where(self.tip, depth - value * above, value * self.length))

    def covariance(self, *, correlation: bool = False) -> pd.DataFrame:
        """K of the tips (t, t), dense, by shared branch length.   correlation: with a diagonal of one."""
        low, high = self._ranges()
        depth = self.depths.to_numpy()
        K: Array = np.zeros((int(self.tip.sum()), int(self.tip.sum())))
        for k in range(1, len(self.nodes)):  # tips below a node and those of its later sisters part at its parent
            above = self.parent[k]
            K[low[k] : high[k], high[k] : high[above]] = depth[above]
        K += K.T
        np.fill_diagonal(K, depth[self.tip])
        if correlation:
            if not np.all(np.diag(K) > 0.0):
                raise ValueError(
                    f"phylogeny: tips at the root ({shown(self.tips[np.diag(K) <= 0.0])}) have no variance, and so no"
                    " correlation · give them a branch length"
                )
            scale = 1.0 / np.sqrt(np.diag(K))
            K = K * np.outer(scale, scale)
        return pd.DataFrame(K, index=self.tips, columns=self.tips)

    def relationship(self, *, correlation: bool = False) -> Relationship:
        """The sparse inverse over tips and internal nodes but the root, for `mm.fit(..., relationship={factor: ...})`.

        correlation: with K_ii = 1 for every node, so that the variance of the factor is that of a species; for a tree whose tips are
        all as far from the root, its scaling to unit height does the same to the tips. A node at the end of a branch of no length is
        its parent, and is left out. Raises ValueError for tips that are no distance apart, or at the root: their K is
        singular, and `covariance()` gives it.
        """
        owner, labels = self._merged()
        kept = np.flatnonzero((owner == np.arange(owner.size)) & (self.parent >= 0))
        number = np.full(owner.size, -1)
        number[kept] = np.arange(kept.size)
        above = number[owner[self.parent[kept]]]  # -1: the root, whose value is zero
        inner = above >= 0
        at = (np.flatnonzero(inner), above[inner])
        up = sp.coo_array((np.ones(int(inner.sum())), at), shape=(kept.size, kept.size))
        T = sp.eye_array(kept.size) - up
        inverse = T.T @ sp.diags_array(1.0 / self.length[kept]) @ T
        if correlation:
            scale = sp.diags_array(np.sqrt(self.depths.to_numpy()[kept]))
            inverse = scale @ inverse @ scale
        return Relationship(sp.csr_array(inverse), levels=labels[kept], inverse=True)

    def _ranges(self) -> tuple[Codes, Codes]:
        """The tips below each node are low to high in the order of the tips."""
        high: Codes = np.cumsum(self.tip, dtype=np.intp)
        low: Codes = high - self.tip.astype(np.intp)
        for k in range(len(self.nodes) - 1, 0, -1):  # children before their parents, O(n)
            high[self.parent[k]] = max(high[self.parent[k]], high[k])
        return low, high

    def _merged(self) -> tuple[Codes, pd.Index]:
        """Of each node the one that it is, along branches of no length (n,); and labels (n,), a tip's where one is merged."""
        owner = np.arange(len(self.nodes))
        labels = self.nodes.to_numpy(dtype=object).copy()
        tips = self.tip.astype(np.intp)
        for k in np.flatnonzero((self.length == 0.0) & (self.parent >= 0)):  # parents first, so that chains collapse
            owner[k] = owner[self.parent[k]]
            if self.tip[k]:
                labels[owner[k]] = self.nodes[int(k)]
                tips[owner[k]] += 1
        root = self.tip & (owner == 0)
        if root.any():
            raise ValueError(
                f"phylogeny: tips at the root ({shown(self.nodes[root])}) have no variance, and K no inverse"
                " · give them a branch length, or use covariance()"
            )
        if np.any(tips > 1):
            same = self.tip & (tips[owner] > 1)
            raise ValueError(
                f"phylogeny: tips that are no distance apart ({shown(self.nodes[same])}) make K singular"
                " · give them branch lengths, or use covariance(), which may be singular"
            )
        return owner, pd.Index(labels)


def phylogeny(source: str | Path) -> Phylogeny:
    """A phylogeny from Newick text, or from the path of a file with it.

    Text is what holds a parenthesis or a semicolon. Each branch has its length, but for the root's, which is not used. Internal nodes
    keep their labels where these are names: unique, and not numbers (support values); else they are node1, node2, ... in the order of
    the tree. Raises ValueError: what is not Newick, with line and column; branch lengths missing or negative; tips without a
    label or with the same.
    """
    text = _text(source)
    found = parse(text)
    if int(found.tip.sum()) < 2:
        raise ValueError("phylogeny: a tree of one tip · allowed: two or more")
    absent = np.isnan(found.length) & (found.parent >= 0)
    if absent.any():
        first = int(np.flatnonzero(absent)[0])
        name = f"{found.label[first]!r}" if found.label[first] else "an internal node"
        raise ValueError(
            f"phylogeny: {place(text, found.at[first])}: {name} has no branch length, as {int(absent.sum())} of the"
            f" {absent.size - 1} branches · allowed: ':' and a length after each node but the root"
        )
    tips = pd.Index([x for x, is_tip in zip(found.label, found.tip, strict=True) if is_tip])
    if not tips.is_unique:
        again = tips[tips.duplicated()].unique()
        raise ValueError(f"phylogeny: {len(again)} labels stand for several tips ({shown(again)}) · allowed: one each")
    length = np.where(found.parent >= 0, found.length, 0.0)
    return Phylogeny(pd.Index(_names(found), name="node"), found.parent, length, found.tip)


def _text(source: str | Path) -> str:
    if isinstance(source, str) and any(mark in source for mark in "(;"):
        return source
    if not Path(source).is_file():
        raise ValueError(
            f"phylogeny: there is no file {str(source)!r} · allowed: Newick text that ends in ';', or a path"
        )
    return Path(source).read_text(encoding="utf-8")


def _names(found: Nodes) -> list[str]:
    """Labels of all nodes, each once."""
    counts = pd.Series(found.label).value_counts()
    taken = {x for x in found.label if x}
    names, number = [], 0
    for label, is_tip in zip(found.label, found.tip, strict=True):
        if is_tip or (label and counts[label] == 1 and not _is_number(label)):
            names.append(label)
            continue
        number += 1
        while f"node{number}" in taken:
            number += 1
        names.append(f"node{number}")
    return names


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True
