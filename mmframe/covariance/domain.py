"""Domains: where the natural parameters of a structure live.

A domain knows its shape, how a value is laid out as a flat vector (a symmetric matrix by its lower triangle,
row by row: `vech`), and which values are inside. It knows no coordinates: that is a parameterization's job.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

Array = NDArray[Any]  # of floats; complex while a complex step is taken


@lru_cache(maxsize=128)
def vech_indices(dim: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the lower triangle, row by row: (0,0), (1,0), (1,1), (2,0), ..."""
    return np.tril_indices(dim)


@lru_cache(maxsize=128)
def pair_indices(dim: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns below the diagonal, row by row: (1,0), (2,0), (2,1), ..."""
    return np.tril_indices(dim, -1)


@lru_cache(maxsize=128)
def vech_basis(dim: int) -> Array:
    """(dim(dim+1)/2, dim, dim): the symmetric matrix that each entry of vech stands for."""
    rows, cols = vech_indices(dim)
    basis = np.zeros((rows.size, dim, dim))
    basis[np.arange(rows.size), rows, cols] = 1.0
    basis[np.arange(rows.size), cols, rows] = 1.0
    basis.setflags(write=False)
    return basis


def vech(matrix: Any) -> Any:
    """Lower triangle of a (dim, dim) matrix, row by row."""
    matrix = np.asarray(matrix)
    return matrix[vech_indices(matrix.shape[-1])]


def unvech(flat: Any) -> Any:
    """The symmetric matrix with this lower triangle."""
    flat = np.asarray(flat)
    dim = int((np.sqrt(8 * flat.size + 1) - 1) / 2)
    rows, cols = vech_indices(dim)
    matrix = np.zeros((dim, dim), dtype=flat.dtype)
    matrix[rows, cols] = flat
    matrix[cols, rows] = flat
    return matrix


class Psd:
    """A positive semidefinite matrix, held as a matrix or as any square root of it.

    `matrix` is (dim, dim); `factor` is (dim, r) with factor factor' = matrix. Whichever was not given is computed
    when it is first asked for, and never by inverting anything.
    """

    __slots__ = ("_factor", "_matrix")

    def __init__(self, matrix: Any = None, *, factor: Any = None) -> None:
        self._matrix = matrix
        self._factor = factor

    @property
    def matrix(self) -> Any:
        if self._matrix is None:
            self._matrix = self._factor @ self._factor.T
        return self._matrix

    @property
    def factor(self) -> Any:
        if self._factor is None:
            self._factor = psd_root(self._matrix)
        return self._factor

    def __repr__(self) -> str:
        return f"Psd({self.matrix!r})"


class OutsideDomainError(ValueError):
    """A value that is outside its domain: inside one evaluation it means −2ℓ = +inf, and never reaches the user."""


def psd_root(matrix: Array) -> Array:
    """A square root of a positive semidefinite matrix: Cholesky, or by eigenvalues when it is singular.

    Raises OutsideDomainError if an eigenvalue is negative beyond rounding.
    """
    try:
        root = np.linalg.cholesky(matrix)
        if not np.isnan(root[-1, -1]):  # a NaN anywhere reaches the last pivot
            return root
    except np.linalg.LinAlgError:
        pass
    if not np.all(np.isfinite(matrix)):
        raise OutsideDomainError("the matrix is not finite")
    values, vectors = np.linalg.eigh(matrix)
    if values.size and values[0] < -1e-10 * max(values[-1], 1e-300):
        raise OutsideDomainError("the matrix has a negative eigenvalue")
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


class Domain(ABC):
    """Where one natural parameter lives. `count` is the length of its flat form."""

    @property
    @abstractmethod
    def count(self) -> int:
        """How many real numbers a value has (a matrix counts its lower triangle)."""

    @abstractmethod
    def unflatten(self, flat: Any) -> Any:
        """A flat vector (count,) -> float, (size,) or Psd. Complex input is kept (complex-step derivatives)."""

    def flatten(self, value: Any) -> Any:
        """The inverse of `unflatten`."""
        return np.atleast_1d(np.asarray(value))

    @abstractmethod
    def contains(self, value: Any) -> bool:
        """Whether the value lies in the closed domain."""

    @abstractmethod
    def sample(self, rng: np.random.Generator) -> Any:
        """A value well inside, for checks and starts."""

    @abstractmethod
    def clip(self, value: Any) -> Any:
        """The value moved into the closed domain, if it was outside."""


def _shaped(size: int | None, flat: Any) -> Any:
    if size is None:
        number = np.asarray(flat).reshape(-1)[0]
        return complex(number) if np.iscomplexobj(flat) else float(number)
    return np.asarray(flat)


@frozen
class Box(Domain):
    """Scalars between two bounds; `size` None means one number, an integer a vector."""

    low: float
    high: float
    size: int | None = None

    @property
    def count(self) -> int:
        return 1 if self.size is None else self.size

    def unflatten(self, flat: Any) -> Any:
        return _shaped(self.size, flat)

    def contains(self, value: Any) -> bool:
        flat = self.flatten(value)
        return bool(np.all(np.isfinite(flat)) and np.all(flat >= self.low) and np.all(flat <= self.high))

    def clip(self, value: Any) -> Any:
        return self.unflatten(np.clip(self.flatten(value), self.low, self.high))

    def sample(self, rng: np.random.Generator) -> Any:
        if np.isinf(self.low) and np.isinf(self.high):
            flat = rng.normal(size=self.count)
        elif np.isinf(self.high):
            flat = self.low + rng.uniform(0.5, 2.0, size=self.count)
        elif np.isinf(self.low):
            flat = self.high - rng.uniform(0.5, 2.0, size=self.count)
        else:
            flat = self.low + (self.high - self.low) * rng.uniform(0.25, 0.75, size=self.count)
        return self.unflatten(flat)


@frozen
class Positive(Box):
    """Positive numbers; zero, the boundary, may be reached."""

    low: float = field(default=0.0, init=False)
    high: float = field(default=np.inf, init=False)
    size: int | None = None


@frozen
class Real(Box):
    """Any numbers."""

    low: float = field(default=-np.inf, init=False)
    high: float = field(default=np.inf, init=False)
    size: int | None = None


@frozen
class Interval(Box):
    """Numbers between two finite bounds."""

    low: float = field()
    high: float = field()
    size: int | None = None

    def __attrs_post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high) and self.low < self.high):
            raise ValueError(f"Interval({self.low}, {self.high}): both bounds must be finite, the first the lower one")


@frozen
class PositiveDefinite(Domain):
    """Symmetric positive definite (dim, dim) matrices; singular ones are the boundary, and may be reached."""

    dim: int

    @property
    def count(self) -> int:
        return self.dim * (self.dim + 1) // 2

    def unflatten(self, flat: Any) -> Psd:
        return Psd(unvech(flat))

    def flatten(self, value: Any) -> Any:
        return vech(value.matrix if isinstance(value, Psd) else value)

    def contains(self, value: Any) -> bool:
        matrix = value.matrix if isinstance(value, Psd) else np.asarray(value)
        if not np.all(np.isfinite(matrix)):
            return False
        eigenvalues = np.linalg.eigvalsh(matrix)
        return bool(eigenvalues[0] >= -1e-10 * max(eigenvalues[-1], 0.0))

    def clip(self, value: Any) -> Psd:
        matrix = value.matrix if isinstance(value, Psd) else np.asarray(value)
        values, vectors = np.linalg.eigh(matrix)
        return Psd(factor=vectors * np.sqrt(np.maximum(values, 0.0)))

    def sample(self, rng: np.random.Generator) -> Psd:
        root = np.eye(self.dim) + 0.3 * np.tril(rng.normal(size=(self.dim, self.dim)))
        return Psd(root @ root.T)
