"""The log-Cholesky parameterization: as `cholesky`, with logarithms of the diagonal, of variances and of odds."""

from __future__ import annotations

from typing import Any

from mmframe.api import (
    RELATIVE,
    Box,
    LogCholeskyEntries,
    LogElementwise,
    Param,
    Parameterization,
    PositiveDefinite,
    hookimpl,
)


class LogCholesky(Parameterization):
    """Free coordinates, one θ for each positive definite matrix (Pinheiro & Bates 1996, Stat. Comput. 6)."""

    name = "log_cholesky"
    scale = RELATIVE

    def bijection(self, param: Param) -> Any:
        if isinstance(param.domain, PositiveDefinite):
            return LogCholeskyEntries(param.domain)
        return LogElementwise(param.domain) if isinstance(param.domain, Box) else NotImplemented


@hookimpl
def mmframe_parameterizations() -> list[type[Parameterization]]:
    return [LogCholesky]
