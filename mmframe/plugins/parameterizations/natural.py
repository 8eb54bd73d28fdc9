"""The natural parameterization: variances and covariances themselves, σ² one of the coordinates."""

from __future__ import annotations

from typing import Any

from mmframe.api import (
    ABSOLUTE,
    Box,
    Identity,
    MatrixEntries,
    Param,
    Parameterization,
    PositiveDefinite,
    hookimpl,
)


class Natural(Parameterization):
    """cov(y) = σ²I + ZGZ': coordinates are the entries of G and σ² (Lindstrom & Bates 1988, JASA 83)."""

    name = "natural"
    scale = ABSOLUTE

    def bijection(self, param: Param) -> Any:
        if isinstance(param.domain, PositiveDefinite):
            return MatrixEntries(param.domain)
        return Identity(param.domain) if isinstance(param.domain, Box) else NotImplemented


@hookimpl
def mmframe_parameterizations() -> list[type[Parameterization]]:
    return [Natural]
