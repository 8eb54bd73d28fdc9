"""The profile parameterization: variances and covariances relative to σ², which is profiled out."""

from __future__ import annotations

from typing import Any

from mmframe.api import (
    RELATIVE,
    Box,
    Identity,
    MatrixEntries,
    Param,
    Parameterization,
    PositiveDefinite,
    hookimpl,
)


class Profile(Parameterization):
    """cov(y)/σ² = I + ZGZ': coordinates are the entries of G (Lindstrom & Bates 1988, JASA 83)."""

    name = "profile"
    scale = RELATIVE

    def bijection(self, param: Param) -> Any:
        if isinstance(param.domain, PositiveDefinite):
            return MatrixEntries(param.domain)
        return Identity(param.domain) if isinstance(param.domain, Box) else NotImplemented


@hookimpl
def mmframe_parameterizations() -> list[type[Parameterization]]:
    return [Profile]
