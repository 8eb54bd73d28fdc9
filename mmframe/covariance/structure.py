"""The covariance structure: a family {Σ(φ)} over natural parameters φ, which knows no data and no θ."""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
from attrs import field, frozen

from mmframe.covariance.domain import Array, Domain


class IndexKind(enum.Enum):
    """What the points of a structure mean."""

    UNORDERED = "unordered"
    POSITION = "position"
    COORDINATES = "coordinates"


UNORDERED = IndexKind.UNORDERED
POSITION = IndexKind.POSITION
COORDINATES = IndexKind.COORDINATES


@frozen
class Reading:
    """How users read a parameter whose own scale is for the optimizer: under another name, through a function and back."""

    name: str
    to: Callable[[Any], Any]
    back: Callable[[Any], Any]
    low: float
    high: float


@frozen
class Param:
    """One natural parameter.

    scale_power: how it follows the scale of Σ: 0 a correlation or a shape, 1 a standard deviation, 2 a variance,
    so that Σ(c^power φ) = c² Σ(φ).   labels: the names of the entries of a vector, for reports (else 1, 2, ...).
    start: where a shape starts, where the middle of its domain is a bad place (a range has units).   shown: False where
    users read something else, which `report` gives.   reading: what users read, and set, in its place.
    """

    name: str
    domain: Domain
    scale_power: int = field(default=0)
    labels: tuple[str, ...] = ()
    start: float | None = None
    shown: bool = True
    reading: Reading | None = None

    @scale_power.validator
    def _known_power(self, _: object, value: int) -> None:
        if value not in (0, 1, 2):
            raise ValueError(f"Param {self.name!r}: scale_power is {value!r}; allowed: 0, 1 or 2")


@frozen(eq=False)
class Points:
    """The distinct points that a structure is bound to.

    size: how many.   labels: their names, for reports.   index: (size, d) positions or coordinates; for an
    unordered structure the numbers 0 .. size-1.
    """

    labels: tuple[str, ...]
    index: Array

    @property
    def size(self) -> int:
        return len(self.labels)

    @classmethod
    def unordered(cls, labels: tuple[str, ...]) -> Points:
        return cls(labels, np.arange(len(labels), dtype=float)[:, None])


class Phi(Mapping[str, Any]):
    """Natural parameters by name: `phi.variance` or `phi["variance"]`; a float, an array (size,) or a Psd."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, Any]) -> None:
        object.__setattr__(self, "_values", dict(values))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(f"no natural parameter {name!r}; there are {', '.join(self._values)}") from None

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Phi({self._values!r})"


class CovarianceStructure(ABC):
    """A family of covariance matrices Σ(φ).

    A subclass is an attrs class whose fields are its options (a formula, YAML and the command line read them), with
    the class attributes `name` (`^[a-z][a-z0-9_]*$`), `aliases` and `index_kind`, and the two abstract methods. The
    other methods are optional: where one returns NotImplemented a general computation takes its place, and the
    conformance kit compares the two.
    """

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    index_kind: ClassVar[IndexKind] = UNORDERED
    unit: ClassVar[bool] = False  # carries no scale: a variance function, which multiplies a structure that does
    singular: ClassVar[bool] = False  # never positive definite: for random effects only
    numbered: ClassVar[bool] = False  # the number of the point (0, 1, ...) comes as the last column of the index

    @abstractmethod
    def params(self, points: Points) -> tuple[Param, ...]:
        """The natural parameters of Σ over these points. Raises ValueError, in words, for points that it cannot take."""

    @abstractmethod
    def covariance(self, phi: Phi, index: Array) -> Array:
        """Σ(φ): index (..., m, d) -> (..., m, m). Many patterns may come in one call."""

    def jacobian(self, phi: Phi, index: Array) -> Any:
        """∂Σ/∂φ as a mapping: for each parameter an array (count, ..., m, m); a matrix parameter by its vech."""
        return NotImplemented

    def project(self, target: Array, index: Array) -> Any:
        """The φ that minimises log|Σ(φ)| + tr(Σ(φ)⁻¹ target), for a positive definite target (m, m)."""
        return NotImplemented

    def report(self, phi: Phi, points: Points) -> Any:
        """Further quantities that users want to read, by name; standard errors come by the delta method."""
        return NotImplemented

    def customary(self, phi: Phi, points: Points) -> Any:
        """φ as the field writes this structure's parameters, where that is otherwise (SAS's, where it has the structure): an array
        of as many numbers as φ has. Kenward and Roger's covariance depends on the choice. Else φ itself, as users read it."""
        return NotImplemented

    def markov(self, points: Points) -> bool:
        """Whether Σ⁻¹ is tridiagonal for any of these points in the order of their index: a point then depends on the
        others through its neighbours only, and whitening takes O(m)."""
        return False


def lags(index: Array) -> Array:
    """Absolute differences of one-dimensional positions: (..., m, 1) -> (..., m, m)."""
    position = index[..., 0]
    return np.asarray(np.abs(position[..., :, None] - position[..., None, :]))


def same_point(index: Array) -> Array:
    """1.0 where two rows are at the same one-dimensional position, else 0.0: (..., m, 1) -> (..., m, m)."""
    position = index[..., 0]
    return np.asarray((position[..., :, None] == position[..., None, :]).astype(float))


def distances(index: Array) -> Array:
    """Euclidean distances between points: (..., m, d) -> (..., m, m)."""
    gap = index[..., :, None, :] - index[..., None, :, :]
    return np.asarray(np.sqrt(np.sum(gap**2, axis=-1)))
