"""A structure as it was asked for: one structure on its columns, or a combinator of such."""

from __future__ import annotations

from collections.abc import Iterator

from attrs import frozen

from mmframe.covariance.structure import CovarianceStructure


@frozen(eq=False)
class Tree:
    """basis: the columns in words.   structure: of a leaf.   combinator: the name of one, with its parts."""

    basis: str
    structure: CovarianceStructure | None = None
    combinator: str = ""
    parts: tuple[Tree, ...] = ()

    @property
    def leaves(self) -> Iterator[Tree]:
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves
