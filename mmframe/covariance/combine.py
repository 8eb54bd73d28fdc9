"""Structures made of others: products (separable processes, variance functions), sums and blocks.

Each piece takes columns of its own out of a common index. A product multiplies entry by entry, which over a full grid is
the Kronecker product; a variance function scales rows and columns by its standard deviations. A combination is a
structure like any other: engines and parameterizations never learn of it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, ClassVar

import attrs
import numpy as np
from attrs import frozen

from mmframe.covariance.derivative import FEW, DerivativeMethod, choose_method, flatten_phi, jacobian, parts
from mmframe.covariance.domain import Array, Box, PositiveDefinite
from mmframe.covariance.sound import checked_params
from mmframe.covariance.structure import COORDINATES, CovarianceStructure, Param, Phi, Points
from mmframe.covariance.tree import Tree


@frozen(eq=False)
class Piece:
    """One structure at its own points.

    columns: its columns of the common index.   role: "whole"; "correlation", with its one variance held at 1; or
    "variance", a diagonal matrix whose roots scale rows and columns.
    """

    structure: CovarianceStructure
    points: Points
    columns: slice
    role: str = "whole"

    @cached_property
    def _all(self) -> tuple[Param, ...]:
        return checked_params(self.structure, self.points)

    @cached_property
    def params(self) -> tuple[Param, ...]:
        """The free parameters, with the names of the piece's own points. Raises ValueError."""
        params = tuple(_labelled(p, self.points) for p in self._all)
        if self.role != "correlation" or not any(p.scale_power for p in params):
            return params
        scales = [p for p in params if p.scale_power]
        if len(scales) != 1 or scales[0].domain.count != 1:
            raise ValueError(
                f"{self.structure.name} has more than one variance, and only the first part can have its own"
                " · put it first, and structures with one variance after it"
            )
        return tuple(p for p in params if not p.scale_power)

    def _phi(self, phi: Phi) -> Phi:
        """With the variance that is held."""
        held = {p.name: 1.0 for p in self._all if p.name not in phi}
        return Phi({**phi, **held})

    @cached_property
    def _method(self) -> DerivativeMethod:
        few = Points(self.points.labels[:FEW], self.points.index[:FEW])
        return choose_method(self.structure, self._all, few)

    def covariance(self, phi: Phi, index: Array) -> Any:
        """The piece's factor (or summand) of each entry: (..., m, m)."""
        matrix = self.structure.covariance(self._phi(phi), index[..., self.columns])
        if self.role != "variance":
            return matrix
        sd = np.sqrt(np.diagonal(matrix, axis1=-2, axis2=-1))
        return sd[..., :, None] * sd[..., None, :]

    def jacobian(self, phi: Phi, index: Array) -> dict[str, Array]:
        """∂/∂φ of `covariance`, parameter by parameter: (count, ..., m, m)."""
        all_params = self._all
        if not all_params:
            return {}
        own = index[..., self.columns]
        whole = self._phi(phi)
        with np.errstate(all="ignore"):  # far off, a variance may be infinite: the likelihood is zero there
            return self._jacobian(phi, whole, all_params, own)

    def _jacobian(self, phi: Phi, whole: Phi, all_params: tuple[Param, ...], own: Array) -> dict[str, Array]:
        stacked = jacobian(self._method, self.structure, all_params, flatten_phi(all_params, whole), own)
        out = {}
        for param, place in parts(all_params):
            if param.name not in phi:
                continue
            part = stacked[place]
            if self.role == "variance":
                variance = np.diagonal(self.structure.covariance(whole, own), axis1=-2, axis2=-1)
                sd = np.sqrt(variance)
                slope = np.diagonal(part, axis1=-2, axis2=-1) / (2.0 * sd)
                part = slope[..., :, None] * sd[..., None, :] + sd[..., :, None] * slope[..., None, :]
            out[param.name] = part
        return out


def _labelled(param: Param, points: Points) -> Param:
    """The parameter with an entry a point under the points' labels."""
    domain = param.domain
    size = domain.dim if isinstance(domain, PositiveDefinite) else domain.count
    own = param.labels or (isinstance(domain, Box) and domain.size is None) or size != points.size
    return param if own else attrs.evolve(param, labels=points.labels)


def _shown(param: Param) -> str:
    """The name under which users meet a parameter."""
    return param.name if param.reading is None else param.reading.name


def _renamed(param: Param, name: str) -> Param:
    """The parameter under another name, also where users read it."""
    suffix = name.removeprefix(param.name)
    reading = param.reading and attrs.evolve(param.reading, name=param.reading.name + suffix)
    return attrs.evolve(param, name=name, reading=reading)


@frozen(eq=False)
class Combination(CovarianceStructure):
    """Pieces over one index; parameters that share a name are told apart by the number of their piece."""

    name: ClassVar[str] = "combination"
    index_kind = COORDINATES

    pieces: tuple[Piece, ...]

    @cached_property
    def _names(self) -> list[dict[str, str]]:
        """For each piece its parameters' names, and what they are called here."""
        own = [piece.params for piece in self.pieces]
        counts = Counter(name for params in own for p in params for name in {p.name, _shown(p)})
        return [
            {p.name: p.name if counts[p.name] == counts[_shown(p)] == 1 else f"{p.name}_{k + 1}" for p in params}
            for k, params in enumerate(own)
        ]

    def params(self, points: Points) -> tuple[Param, ...]:
        return tuple(
            _renamed(param, names[param.name])
            for piece, names in zip(self.pieces, self._names, strict=True)
            for param in piece.params
        )

    def inner(self, phi: Phi) -> list[Phi]:
        """The parameters of each piece, by its own names."""
        return [Phi({own: phi[outer] for own, outer in names.items()}) for names in self._names]

    def _matrices(self, phi: Phi, index: Array) -> list[Any]:
        return [piece.covariance(inner, index) for piece, inner in zip(self.pieces, self.inner(phi), strict=True)]

    @abstractmethod
    def _combined(self, matrices: list[Any], index: Array) -> Any: ...

    @abstractmethod
    def _slope(self, k: int, matrices: list[Any], index: Array) -> Any:
        """∂Σ/∂(matrix of piece k), entry by entry."""

    def covariance(self, phi: Phi, index: Array) -> Any:
        with np.errstate(invalid="ignore"):  # where a variance is infinite the likelihood is zero, and nothing is wrong
            return self._combined(self._matrices(phi, index), index)

    def jacobian(self, phi: Phi, index: Array) -> dict[str, Array]:
        matrices = self._matrices(phi, index)
        out: dict[str, Array] = {}
        for k, (piece, names, inner) in enumerate(zip(self.pieces, self._names, self.inner(phi), strict=True)):
            slope = self._slope(k, matrices, index)
            with np.errstate(invalid="ignore"):
                out |= {names[name]: part * slope for name, part in piece.jacobian(inner, index).items()}
        return out

    def report(self, phi: Phi, points: Points) -> dict[str, float]:
        given = [p.structure.report(inner, p.points) for p, inner in zip(self.pieces, self.inner(phi), strict=True)]
        found = [(k, name, value) for k, g in enumerate(given) if g is not NotImplemented for name, value in g.items()]
        counts = Counter(name for _, name, _ in found)
        return {name if counts[name] == 1 else f"{name}_{k + 1}": value for k, name, value in found}

    def markov(self, points: Points) -> bool:
        """Scaling by variances keeps a tridiagonal inverse; nothing else does in general."""
        processes = [p for p in self.pieces if p.role != "variance"]
        return (
            len(processes) == 1
            and self.pieces[0] is processes[0]
            and processes[0].structure.markov(processes[0].points)
        )


@frozen(eq=False)
class Product(Combination):
    """Σ_ij = Π_k Σ_k,ij: separable (Kronecker) structures, and variance functions on top of a correlation."""

    name: ClassVar[str] = "kronecker"

    def _combined(self, matrices: list[Any], index: Array) -> Any:
        total = matrices[0]
        for matrix in matrices[1:]:
            total = total * matrix
        return total

    def _slope(self, k: int, matrices: list[Any], index: Array) -> Any:
        others = [m for j, m in enumerate(matrices) if j != k]
        return self._combined(others, index) if others else 1.0


@frozen(eq=False)
class Sum(Combination):
    """Σ = Σ_1 + Σ_2 + ...: independent processes over the same points."""

    name: ClassVar[str] = "sum"

    def _combined(self, matrices: list[Any], index: Array) -> Any:
        return sum(matrices[1:], start=matrices[0])

    def _slope(self, k: int, matrices: list[Any], index: Array) -> Any:
        return 1.0


@frozen(eq=False)
class Block(Combination):
    """Σ = diag(Σ_1, Σ_2, ...): parts of one term. The last column of the index says to which piece a point belongs."""

    name: ClassVar[str] = "block"

    def _combined(self, matrices: list[Any], index: Array) -> Any:
        return sum(self._slope(k, matrices, index) * m for k, m in enumerate(matrices))

    def _slope(self, k: int, matrices: list[Any], index: Array) -> Any:
        mine = (index[..., -1] == k).astype(float)
        return mine[..., :, None] * mine[..., None, :]


COMBINATIONS: dict[str, type[Combination]] = {c.name: c for c in (Product, Sum, Block)}


def compose(
    tree: Tree, leaves: Sequence[tuple[Points, slice]], points: Points, variances: Sequence[CovarianceStructure] = ()
) -> CovarianceStructure:
    """The structure of a tree over one index. leaves: the points and the columns of each leaf, then of each variance.

    A single leaf stays what it is. Raises ValueError where pieces cannot be combined, or do not take their points.
    """
    whole = _built(tree, iter(leaves[: len(leaves) - len(variances)]), points)
    if variances:
        scaled = [
            Piece(v, at, columns, "variance")
            for v, (at, columns) in zip(variances, leaves[len(leaves) - len(variances) :], strict=True)
        ]
        process = Piece(
            whole, leaves[0][0] if not tree.parts else points, leaves[0][1] if not tree.parts else slice(None)
        )
        whole = Product((process, *scaled))
    checked_params(whole, points)
    return whole


def _built(tree: Tree, leaves: Iterator[tuple[Points, slice]], points: Points) -> CovarianceStructure:
    if tree.structure is not None:
        next(leaves)
        return tree.structure
    pieces = []
    for k, part in enumerate(tree.parts):
        role = "correlation" if tree.combinator == Product.name and k else "whole"
        if part.parts:
            pieces.append(Piece(_built(part, leaves, points), points, slice(None), role))
        else:
            assert part.structure is not None
            pieces.append(Piece(part.structure, *next(leaves), role))
    return COMBINATIONS[tree.combinator](tuple(pieces))
