"""The distribution of the response at given parameters, from which responses are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mmframe.compat.params import MixedLMParams
from mmframe.covariance.domain import Array
from mmframe.results.predict import Rows
from mmframe.results.simulate import DrawnTerm, random_part

if TYPE_CHECKING:
    from mmframe.compat.mixedlm import MixedLM


class Distribution:
    """Responses of the model's rows. params: packed, slopes first, covariances divided by scale.   scale: residual variance.
    exog: covariates of the mean, those of the model by default."""

    def __init__(self, model: MixedLM, params: Any, scale: float, exog: Any = None) -> None:
        point = MixedLMParams.from_packed(params, model.k_fe, model.k_re, use_sqrt=False, has_fe=True)
        self.model, self.scale = model, scale
        self.exog = model.exog if exog is None else np.asarray(exog, dtype=float)
        self.fe_params, self.cov_re, self.vcomp = point.fe_params, scale * point.cov_re, scale * point.vcomp

    def rvs(self, n: int = 0, rng: Any = None) -> Array:
        """A response (nobs,) with new random effects. n is not used.   rng: a seed, a Generator or a RandomState."""
        source = rng if isinstance(rng, (np.random.Generator, np.random.RandomState)) else np.random.default_rng(rng)
        layout = self.model.layout
        natural = MixedLMParams.from_components(self.fe_params, self.cov_re, vcomp=self.vcomp)
        design = layout.model.design
        terms = tuple(
            DrawnTerm(G, t.grouping, design.groupings[t.grouping].size)
            for G, t in zip(layout.matrices(natural), design.terms, strict=True)
        )
        drawn = random_part(Rows.of_design(design), terms, 1, source.standard_normal)
        noise = np.sqrt(self.scale) * source.standard_normal(design.n)
        return np.asarray(self.exog @ self.fe_params + drawn[:, 0] + noise)
