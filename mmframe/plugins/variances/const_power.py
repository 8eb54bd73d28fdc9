"""A standard deviation that is a constant plus a power of a covariate."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import CovarianceStructure, Param, Phi, Points, Positive, Real, hookimpl
from mmframe.plugins.variances._covariate import VarianceFunction, one_covariate

# With delta = 0 the constant is no shape at all: the start stays away from there.
_START = 0.5


@frozen
class ConstPower(VarianceFunction):
    """g = constant + |v|^delta, in units of the scale; v may be 0, where g is the constant as long as delta > 0.

    varConstPower of nlme (Pinheiro & Bates 2000, §5.2.1). It starts at delta = ½, half of the standard deviation at the
    median |v| constant. Where |v| has two values there is only delta (constant = 0, as in `power`); one value, neither.
    """

    name = "const_power"

    def params(self, points: Points) -> tuple[Param, ...]:
        sizes = np.unique(np.abs(one_covariate(points, self.name)))
        delta = Param("delta", Real(), start=_START)
        if sizes.size < 3:
            return (delta,) if sizes.size == 2 else ()
        return Param("constant", Positive(), start=float(np.median(sizes[sizes > 0.0])) ** _START), delta

    def ratio(self, phi: Phi, value: Any) -> Any:
        with np.errstate(divide="ignore"):  # a negative power of 0 is infinite: off the domain
            return phi.get("constant", 0.0) + np.abs(value) ** phi.get("delta", 0.0)

    def slopes(self, phi: Phi, value: Any) -> dict[str, Any]:
        size = np.abs(value)
        delta = phi.get("delta", 0.0)
        # |v|^delta log|v| goes to 0 with v where delta > 0
        positive = np.where(size > 0.0, size, 1.0)
        slope = positive**delta * np.log(positive)
        return {"constant": np.ones_like(size)[None], "delta": slope[None]}


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [ConstPower]
