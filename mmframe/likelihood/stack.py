"""Many small matrices at once, laid out with the group as the last, contiguous axis.

A stack of n symmetric (q, q) matrices is held by its lower triangles, (q(q+1)/2, n), in the order of `vech`; a stack of
n factors as (q, q, n). Up to q = 6 the algebra is unrolled over entries, each step one operation on a vector of n
groups; beyond that, and for a handful of groups, batched LAPACK is faster.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from mmframe.covariance.domain import Array, unvech, vech_basis, vech_indices

UNROLL_TO = 6
FEW = 64


def unrolled(q: int, n: int) -> bool:
    """Whether entries of n groups are worked one by one; else matrices go to LAPACK in a batch."""
    return q <= UNROLL_TO and n >= FEW


def vech_place(a: int, b: int) -> int:
    """The place of entry (a, b), a ≥ b, in vech."""
    return a * (a + 1) // 2 + b


def full(stack: Array) -> Array:
    """(q(q+1)/2, n) -> (q, q, n)."""
    t = stack.shape[0]
    return np.asarray(stack[_full_places(t)])


@lru_cache(maxsize=64)
def _full_places(t: int) -> NDArray[np.intp]:
    places = np.asarray(unvech(np.arange(t)))
    places.setflags(write=False)
    return places


@lru_cache(maxsize=64)
def diagonal_places(q: int) -> NDArray[np.intp]:
    """The places of the diagonal entries in vech."""
    return np.array([vech_place(a, a) for a in range(q)], dtype=np.intp)


def congruence(root: Array) -> Array:
    """The matrix that maps vech(W) to vech(root' W root): (t, t)."""
    rows, cols = vech_indices(root.shape[0])
    moved = root.T @ vech_basis(root.shape[0]) @ root
    return np.asarray(moved[:, rows, cols].T)


def left_product(root: Array) -> Array:
    """The matrix that maps vech(W) to the entries of root' W, row by row: (q², t)."""
    moved = root.T @ vech_basis(root.shape[0])
    return np.asarray(moved.reshape(moved.shape[0], -1).T)


def cholesky(stack: Array, q: int) -> Array:
    """Lower factors (q, q, n) of positive definite matrices given by their lower triangles."""
    n = stack.shape[1]
    if not unrolled(q, n):
        matrices = full(stack).transpose(2, 0, 1)
        return np.ascontiguousarray(np.linalg.cholesky(matrices).transpose(1, 2, 0))
    L = np.zeros((q, q, n))
    for j in range(q):
        pivot = stack[vech_place(j, j)].copy()
        for c in range(j):
            pivot -= L[j, c] * L[j, c]
        np.sqrt(pivot, out=L[j, j])
        for i in range(j + 1, q):
            entry = stack[vech_place(i, j)].copy()
            for c in range(j):
                entry -= L[i, c] * L[j, c]
            np.divide(entry, L[j, j], out=L[i, j])
    return L


def log_determinant(L: Array) -> Array:
    """log of the determinant of LL' for each group: (n,)."""
    q = L.shape[0]
    if unrolled(q, L.shape[2]):
        product = L[0, 0].copy()
        for j in range(1, q):
            product *= L[j, j]
        return np.asarray(2.0 * np.log(product))
    diagonal = L[np.arange(q), np.arange(q)]
    return np.asarray(2.0 * np.sum(np.log(diagonal), axis=0))


def solve_lower(L: Array, B: Array) -> Array:
    """L⁻¹B for each group, in place of B: L (q, q, n), B (q, r, n)."""
    q = L.shape[0]
    if not unrolled(q, L.shape[2]):
        solved = np.linalg.solve(L.transpose(2, 0, 1), B.transpose(2, 0, 1))
        return np.ascontiguousarray(solved.transpose(1, 2, 0))
    for i in range(q):
        for c in range(i):
            B[i] -= L[i, c] * B[c]
        B[i] /= L[i, i]
    return B


def minus_gram(stack: Array, U: Array) -> Array:
    """W − U'U by lower triangles: stack (t, n), U (q, q, n) -> (t, n)."""
    q = U.shape[0]
    if not unrolled(q, U.shape[2]):
        batch = U.transpose(2, 0, 1)
        product = (np.swapaxes(batch, 1, 2) @ batch).transpose(1, 2, 0)
        rows, cols = vech_indices(q)
        return np.asarray(stack - product[rows, cols])
    out = stack.copy()
    for a in range(q):
        for b in range(a + 1):
            place = vech_place(a, b)
            for c in range(q):
                out[place] -= U[c, a] * U[c, b]
    return out


def minus_product(A: Array, U: Array, B: Array) -> Array:
    """A − U'B for each group: A (q, r, n), U (q, q, n), B (q, r, n) -> (q, r, n)."""
    q = U.shape[0]
    if not unrolled(q, U.shape[2]):
        product = np.swapaxes(U.transpose(2, 0, 1), 1, 2) @ B.transpose(2, 0, 1)
        return np.asarray(A - product.transpose(1, 2, 0))
    out = A.copy()
    for a in range(q):
        for c in range(q):
            out[a] -= U[c, a] * B[c]
    return out


def symmetric_product(stack: Array, B: Array) -> Array:
    """N B for each group: stack (t, n) symmetric, B (k, q, r, n) -> (k, q, r, n)."""
    q = B.shape[1]
    out = np.empty_like(B)
    for a in range(q):
        total = stack[vech_place(a, 0)] * B[:, 0]
        for b in range(1, q):
            total += stack[vech_place(max(a, b), min(a, b))] * B[:, b]
        out[:, a] = total
    return out


def product(A: Array, B: Array) -> Array:
    """A B for each group: (x, y, n), (y, z, n) -> (x, z, n). Complex numbers stay complex."""
    x, y, n = A.shape
    z = B.shape[1]
    if x == y == z == 1:
        return np.asarray(A * B)
    if max(x, y, z) > UNROLL_TO:
        return np.moveaxis(np.moveaxis(A, -1, 0) @ np.moveaxis(B, -1, 0), 0, -1)
    out = np.empty((x, z, n), dtype=np.result_type(A, B))
    for i in range(x):
        for k in range(z):
            total = A[i, 0] * B[0, k]
            for j in range(1, y):
                total += A[i, j] * B[j, k]
            out[i, k] = total
    return out


def transposed(A: Array) -> Array:
    """A' for each group (a view)."""
    return A.transpose(1, 0, 2)
