"""Pedigrees: inbreeding, the sparse inverse of the additive relationship A, and A itself.

A⁻¹ = (I − H)' D⁻¹ (I − H), with H ½ at the parents of each animal and D the variances of Mendelian sampling: Henderson's rules
(1976, Biometrics 32:69-83), with the inbreeding of the parents in D as Quaas (1976, Biometrics 32:949-953) has it.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from attrs import frozen
from numpy.typing import NDArray

from mmframe.api import Relationship
from mmframe_kinship._reading import Codes, Parents, read_parents, shown, table_of
from mmframe_kinship.inbreeding import inbreeding, mendelian_variance, transmission


@frozen(eq=False)
class Pedigree:
    """Animals and their parents, in an order in which parents come before their offspring.

    animals (n,): the labels.   sire, dam (n,): places among the animals, -1 where unknown.   generations (n,): 0 for an animal
    without known parents, else one more than the later of its parents'.
    """

    animals: pd.Index
    sire: Codes
    dam: Codes
    generations: Codes

    def __len__(self) -> int:
        return len(self.animals)

    def __repr__(self) -> str:
        founders = int(np.sum(self.generations == 0))
        depth = int(self.generations.max(initial=0))
        return f"<Pedigree: {len(self)} animals, {founders} of them founders, {depth} generations after them>"

    @cached_property
    def inbreeding(self) -> pd.Series[float]:
        """F (n,), by animal."""
        return pd.Series(inbreeding(self.sire, self.dam, self.generations), index=self.animals, name="inbreeding")

    @cached_property
    def mendelian(self) -> pd.Series[float]:
        """D (n,): the variance of each animal's Mendelian sampling over the additive variance; 1 for founders."""
        return pd.Series(
            mendelian_variance(self.sire, self.dam, np.asarray(self.inbreeding, dtype=float)),
            index=self.animals,
            name="mendelian",
        )

    def relationship(self) -> Relationship:
        """The sparse inverse of A (n, n), for `mm.fit(..., relationship={factor: ...})`. Up to 9 entries an animal."""
        T = sp.eye_array(len(self)) - transmission(self.sire, self.dam)
        inverse = sp.csr_array(T.T @ sp.diags_array(1.0 / self.mendelian.to_numpy()) @ T)
        return Relationship(inverse, levels=self.animals, inverse=True)

    def additive(self, animals: Iterable[Any] | None = None) -> pd.DataFrame:
        """A (n, n) with labels, or that of some animals, by Wright's tabular method (Wright 1922, Am. Nat. 56:330-338).

        Dense: for some thousand animals and their ancestors. Twice the coefficients of kinship. Raises ValueError for animals that
        the pedigree does not have.
        """
        if animals is not None:
            wanted = list(animals)
            return self.ancestors_of(wanted).additive().loc[wanted, wanted]
        A = np.zeros((len(self) + 1, len(self) + 1))  # the last row and column are those of unknown parents: zero
        for i, (s, d) in enumerate(zip(self.sire, self.dam, strict=True)):  # a row takes its parents' rows: a recursion
            A[i, :i] = A[:i, i] = 0.5 * (A[s, :i] + A[d, :i])
            A[i, i] = 1.0 + 0.5 * A[s, d]
        return pd.DataFrame(A[:-1, :-1], index=self.animals, columns=self.animals)

    def ancestors_of(self, animals: Iterable[Any]) -> Pedigree:
        """The pedigree of these animals: themselves and all their ancestors. Others say nothing about them.

        Raises ValueError for animals that the pedigree does not have.
        """
        wanted = pd.Index(list(animals))
        places = self.animals.get_indexer(wanted)
        if np.any(places < 0):
            unknown = wanted[places < 0]
            raise ValueError(f"pedigree: it lacks {len(unknown)} of the animals asked for ({shown(unknown)})")
        kept = np.zeros(len(self) + 1, dtype=bool)  # the last is the unknown parent
        frontier = np.unique(places)
        while frontier.size:
            kept[frontier] = True
            parents = np.concatenate([self.sire[frontier], self.dam[frontier]])
            frontier = np.unique(parents[~kept[parents] & (parents >= 0)])
        rows = np.flatnonzero(kept[:-1])
        number = np.full(len(self) + 1, -1)
        number[rows] = np.arange(rows.size)
        return Pedigree(self.animals[rows], number[self.sire[rows]], number[self.dam[rows]], self.generations[rows])


def pedigree(
    table: Any, animal: str = "animal", sire: str = "sire", dam: str = "dam", *, selfing: bool = False
) -> Pedigree:
    """A pedigree from a table with a row an animal, in any order.

    table: a DataFrame (pandas, or any that converts), a dict of columns, or the path of a CSV file.   animal, sire, dam: its
    columns. Unknown parents are missing, "", "0", 0 or ".". Parents without a row of their own are founders.   selfing: for plants:
    one may be sire and dam, of the same offspring too. Labels are whole numbers where all three columns are numbers, else text.
    Raises ValueError, naming animals: a column that is not there, a row without an animal, rows that disagree, an animal that is
    its own parent or ancestor, one that is both a sire and a dam.
    """
    found = read_parents(table_of(table, "pedigree"), (animal, sire, dam), selfing=selfing)
    if not len(found.animals):
        raise ValueError("pedigree: the table has no rows · allowed: a row an animal")
    generations = _generations(found)
    order = np.argsort(generations, kind="stable")
    place = np.empty(order.size + 1, dtype=np.intp)
    place[order], place[-1] = np.arange(order.size), -1
    return Pedigree(found.animals[order], place[found.sire[order]], place[found.dam[order]], generations[order])


def _generations(found: Parents) -> Codes:
    """The longest way to an ancestor without known parents (n,). An animal's is known once its parents' are, so that they are
    found a generation at a time. Raises ValueError for a cycle."""
    n = len(found.animals)
    child = np.concatenate([np.flatnonzero(found.sire >= 0), np.flatnonzero(found.dam >= 0)])
    parent = np.concatenate([found.sire[found.sire >= 0], found.dam[found.dam >= 0]])
    child = child[np.argsort(parent, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(parent, minlength=n))])
    waiting = (found.sire >= 0).astype(np.intp) + (found.dam >= 0)
    out = np.full(n, -1, dtype=np.intp)
    frontier, generation = np.flatnonzero(waiting == 0), 0
    while frontier.size:
        out[frontier] = generation
        ready = child[_ranges(starts[frontier], starts[frontier + 1])]
        np.subtract.at(waiting, ready, 1)
        ready = np.unique(ready)
        frontier, generation = ready[waiting[ready] == 0], generation + 1
    if np.any(out < 0):
        raise ValueError(
            f"pedigree: an animal is its own ancestor: {_cycle(found, out < 0)} · correct one of these rows"
        )
    return out


def _ranges(low: NDArray[np.intp], high: NDArray[np.intp]) -> NDArray[np.intp]:
    """low_0, ..., high_0 − 1, low_1, ... in one array."""
    sizes = high - low
    return np.repeat(low - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes) + np.arange(sizes.sum())


def _cycle(found: Parents, inside: NDArray[np.bool_]) -> str:
    """A way up among animals of which each has a parent among them comes back to one of them."""
    at = int(np.flatnonzero(inside)[0])
    way: dict[int, None] = {}
    while at not in way:
        way[at] = None
        s, d = found.sire[at], found.dam[at]
        at = int(s if s >= 0 and inside[s] else d)
    loop = list(way)[list(way).index(at) :]
    names = [repr(found.animals[k]) for k in [*loop, at]]
    if len(names) > 8:
        names = [*names[:6], "...", names[-1]]
    return " is an offspring of ".join(names)
