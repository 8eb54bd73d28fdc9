"""The profile likelihood of one variance: all else optimised at each of its values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from mmframe.compat.params import MixedLMParams
from mmframe.compat.schedule import penalized
from mmframe.covariance.domain import Array
from mmframe.covariance.patterned import hold_entries
from mmframe.errors import StoreError

if TYPE_CHECKING:
    from mmframe.compat.results import MixedLMResults


def profile_variance(
    results: MixedLMResults, which: int | str, vtype: str, low: tuple[int, float], high: tuple[int, float]
) -> Array:
    """(points, 2): values in the units of the data, and log-likelihoods. low, high: numbers of points and distances."""
    if vtype not in ("re", "vc"):
        raise ValueError(f"vtype: {vtype!r} · allowed: 're' for a random effect, 'vc' for a variance component")
    place = _place(results, which, vtype)
    k_re = results.k_re
    estimate = float(np.asarray(results.cov_re)[place, place] if vtype == "re" else results.vcomp[place])
    if estimate < low[1] or 0 < estimate == low[1]:
        raise ValueError(
            f"dist_low is too large and would result in a negative variance: the estimate is {estimate:g} · try a smaller value"
        )
    layout = results.model.layout
    if results.state.penalized and results.fe_pen is None and results.cov_pen is None:
        raise StoreError("the penalties of a saved fit are not saved · fit again to profile")
    free = _mask(results)
    if vtype == "re":
        free.cov_re[place, place] = 0.0
    else:
        free.vcomp[place] = 0.0
    model = layout.model.using(criterion="reml" if results.reml else "ml", stages=("newton",))
    engine = penalized(layout, results.fe_pen, results.cov_pen, free, results.params_object)
    absolute = model.covariance.absolute()
    natural = MixedLMParams.from_components(
        results.fe_values,
        np.array(results.scale * np.asarray(results.params_object.cov_re)),
        vcomp=np.array(results.vcomp),
    )
    left = np.linspace(estimate - low[1], estimate, low[0] + 1)
    right = np.linspace(estimate, estimate + high[1], high[0] + 1)[1:]
    out = []
    for value in (*left, *right):
        at = natural.copy()
        if vtype == "re":  # the whole row moves, so that the matrix stays one of covariances
            scaling = np.ones(k_re)
            scaling[place] = np.sqrt(value / estimate) if estimate > 0 else 1.0
            at.cov_re = scaling[:, None] * at.cov_re * scaling
            at.cov_re[place, place] = value
        else:
            at.vcomp[place] = value
        held = absolute
        if k_re:
            held = hold_entries(held, 0, layout.mask(free), layout.turned(at.cov_re))
        for j, loose in enumerate(free.vcomp):
            held = hold_entries(held, (1 if k_re else 0) + j, np.full((1, 1), loose), np.full((1, 1), at.vcomp[j]))
        fit = evolve(model, engine=engine, covariance=held, warm=(layout.flats(at), results.scale)).fit()
        out.append((value, fit.loglike))
    return np.array(out)


def _place(results: MixedLMResults, which: Any, vtype: str) -> int:
    if vtype == "vc":
        names = [c.name for c in results.model.layout.components]
        if which not in names:
            raise ValueError(
                f"re_ix: {which!r} · allowed: a variance component: {', '.join(names) or '(there is none)'}"
            )
        return names.index(which)
    if not isinstance(which, (int, np.integer)) or not 0 <= which < results.k_re:
        raise ValueError(f"re_ix: {which!r} · allowed: the place of a random effect, 0 to {results.k_re - 1}")
    return int(which)


def _mask(results: MixedLMResults) -> MixedLMParams:
    """What the fit held, as a mask of its own. Raises ValueError where that is relative to scale."""
    if results.freepat is None:
        k_re, k_vc = results.k_re, results.k_vc
        return MixedLMParams.from_components(np.ones(results.k_fe), np.ones((k_re, k_re)), vcomp=np.ones(k_vc))
    free = results.freepat.copy()
    held = np.tril(free.cov_re == 0)
    values = np.asarray(results.params_object.cov_re)
    if np.any(values[held] != 0) or np.any(np.asarray(results.vcomp)[free.vcomp == 0] != 0):
        raise ValueError("profile_re: the fit held a ratio to scale · allowed: entries held at zero")
    return free
