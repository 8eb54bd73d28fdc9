"""The likelihood-ratio statistic under the simpler of two models, by the parametric bootstrap."""

from __future__ import annotations

import warnings

import numpy as np
from attrs import frozen

from mmframe.model import Model
from mmframe.refits.bootstrap import BootstrapWarning
from mmframe.refits.many import Refit, base_model, run, unfinished
from mmframe.results.chi_bar_square import NOTHING
from mmframe.results.result import FitResult
from mmframe.results.simulate import simulate
from mmframe.results.source import Source


@frozen(eq=False)
class Ratio:
    """A response drawn from the simpler model; the difference of −2 log L of both refits to it."""

    source: Source
    simpler: Model
    richer: Model

    def __call__(self, rng: np.random.Generator) -> Refit:
        y = simulate(self.source, 1, rng)[:, 0]
        values = []
        for model in (self.simpler, self.richer):
            found = model.responding(y).find()
            if not found.converged:
                return unfinished(found)
            values.append(found.point.value)
        return Refit(np.array([values[0] - values[1]]))


def share(
    simpler: FitResult, richer: FitResult, n: int, seed: int | None, workers: int | None, progress: bool
) -> float:
    """(1 + how many of the statistics are as large as the observed one) / (1 + how many there are).

    Warns of refits that failed, which do not count (BootstrapWarning). Raises StoreError for saved fits, SpecError.
    """
    job = Ratio(simpler.source, base_model(simpler, "compare"), base_model(richer, "compare"))
    refits, _ = run(job, n, seed, workers, progress, "likelihood ratios")
    drawn = np.array([r.values[0] for r in refits if r.values is not None])
    if drawn.size < n:
        warnings.warn(f"compare: {n - drawn.size} of {n} pairs of refits failed", BootstrapWarning, stacklevel=4)
    observed = simpler.deviance - richer.deviance
    return float((1 + np.sum(drawn >= observed - NOTHING)) / (1 + drawn.size))
