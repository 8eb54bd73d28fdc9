"""The square-root parameterization: the Cholesky factor of the relative covariance, signed roots of variances."""

from __future__ import annotations

from typing import Any

from mmframe.api import (
    RELATIVE,
    Box,
    CholeskyEntries,
    Param,
    Parameterization,
    PositiveDefinite,
    RootElementwise,
    hookimpl,
)


class Cholesky(Parameterization):
    """Free coordinates in which a singular covariance is an ordinary point; a bounded number goes by a sine."""

    name = "cholesky"
    aliases = ("sqrt", "square_root")
    scale = RELATIVE

    def bijection(self, param: Param) -> Any:
        if isinstance(param.domain, PositiveDefinite):
            return CholeskyEntries(param.domain)
        return RootElementwise(param.domain) if isinstance(param.domain, Box) else NotImplemented


@hookimpl
def mmframe_parameterizations() -> list[type[Parameterization]]:
    return [Cholesky]
