"""How many threads the linear algebra library may use: one while matrices are small, all for large dense ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController


@lru_cache(maxsize=1)
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


_LOCK = Lock()
_LIMITS: list[Any] = []  # one entry for each fit that runs now; the first sets the limit and the last lifts it
_BEFORE = [1]  # the number of threads that the limit took the place of
_WIDE = 1500  # columns from which a matrix is worth more than one thread


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Matrices here are small, and threads that wait for them on a busy machine cost more than they bring."""
    libraries = [lib for lib in _threads().lib_controllers if lib.user_api == "blas"]
    with _LOCK:
        needed = bool(_LIMITS) or any(lib.num_threads != 1 for lib in libraries)
        if needed:
            if not _LIMITS:
                _BEFORE[0] = max(lib.num_threads for lib in libraries)
            _LIMITS.append(_LIMITS[0] if _LIMITS else _threads().limit(limits=1, user_api="blas"))
    try:
        yield
    finally:
        if needed:
            with _LOCK:
                limit = _LIMITS.pop()
                if not _LIMITS:
                    limit.restore_original_limits()


@contextmanager
def wide_blas(columns: int) -> Iterator[None]:
    """Inside `one_blas_thread`: all the threads that were allowed before, for a large dense matrix."""
    if columns < _WIDE or not _LIMITS or _BEFORE[0] == 1:
        yield
        return
    with _threads().limit(limits=_BEFORE[0], user_api="blas"):
        yield
