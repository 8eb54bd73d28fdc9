"""A random walk: its variance grows with the time since zero."""

from __future__ import annotations

from typing import Any

import numpy as np
from attrs import frozen

from mmframe.api import POSITION, CovarianceStructure, Param, Phi, Points, Positive, hookimpl


@frozen
class RandomWalk(CovarianceStructure):
    """Σ_ij = variance · min(t_i, t_j), for positions above 0: Brownian motion from 0, variance that of a step of 1.

    Diggle, Heagerty, Liang & Zeger (2002), Analysis of Longitudinal Data, §5.2; Karlin & Taylor (1975), A First Course in
    Stochastic Processes, ch. 7.
    """

    name = "random_walk"
    aliases = ("rw",)
    index_kind = POSITION

    def params(self, points: Points) -> tuple[Param, ...]:
        first = float(np.min(points.index[:, 0]))
        if not first > 0.0:
            raise ValueError(
                f"random_walk is zero at position 0, and there is a point at {first:g}. Measure the positions from before"
                " the first of them, as I(t + 1); an intercept of the group takes what it was then"
            )
        return (Param("variance", Positive(), scale_power=2),)

    def covariance(self, phi: Phi, index: Any) -> Any:
        return phi.variance * _earlier(index)

    def jacobian(self, phi: Phi, index: Any) -> Any:
        return {"variance": _earlier(index)[None]}

    def project(self, target: Any, index: Any) -> Any:
        return {"variance": float(np.trace(np.linalg.solve(_earlier(index), target))) / target.shape[0]}

    def markov(self, points: Points) -> bool:
        return True


def _earlier(index: Any) -> Any:
    position = index[..., 0]
    return np.minimum(position[..., :, None], position[..., None, :])


@hookimpl
def mmframe_covariance_structures() -> list[type[CovarianceStructure]]:
    return [RandomWalk]
