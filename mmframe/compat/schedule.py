"""The schedule of a fit: EM, steepest descent, then an optimiser; where it starts, what is held, what is penalised."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from attrs import evolve

from mmframe.compat.layout import Layout
from mmframe.compat.params import MixedLMParams
from mmframe.compat.penalties import on_covariance, on_effects
from mmframe.covariance.domain import Array
from mmframe.covariance.model import CovarianceModel
from mmframe.covariance.parameterization import resolve_bijection
from mmframe.covariance.patterned import hold_entries
from mmframe.likelihood.engine import Engine
from mmframe.likelihood.penalty import PenalizedEngine
from mmframe.model import Model
from mmframe.optimize.stage import OptimizerStage
from mmframe.registry.registry import PARAMETERIZATION

# Names of methods whose stage is called otherwise.
_STAGES = {"minimize": "bfgs", "nelder-mead": "simplex", "l-bfgs-b": "lbfgs"}
_BY_GRADIENTS = ("bfgs", "lbfgs", "cg")
# What `fit` takes besides; the others have no meaning for stages with exact derivatives, and are accepted.
FIT_OPTIONS = ("gtol", "maxiter", "eps", "maxcor", "ftol", "tol", "disp", "maxls")


def stages_of(niter_em: int, niter_sd: int, do_cg: bool, method: Any, options: Mapping[str, Any]) -> tuple[Any, ...]:
    """The stages of a schedule, as a document writes them; none: the parameters stay where they start.

    method: a name, a list of them, or None for the framework's default. Raises ValueError.
    """
    for name, value in (("niter_em", niter_em), ("niter_sa", niter_sd)):
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < 0:
            raise ValueError(f"{name}: {value!r} · allowed: a number of iterations, 0 or more")
    first: list[Any] = [{"em": {"max_iterations": int(niter_em)}}] if niter_em else []
    first += [{"gradient": {"max_iterations": int(niter_sd)}}] if niter_sd else []
    if not do_cg:
        return tuple(first)
    single = isinstance(method, (str, Mapping, OptimizerStage))
    if method is not None and not single and not isinstance(method, Iterable):
        raise ValueError(f"method: {method!r} · allowed: the name of a stage, or a list of them")
    methods = ["newton"] if method is None else [method] if single else list(method)
    return (*first, *(_with_options(m, options) for m in methods))


def _with_options(method: Any, options: Mapping[str, Any]) -> Any:
    """A method by name as a stage with its number of iterations and its tolerance."""
    if not isinstance(method, str):
        return method
    name = _STAGES.get(method.lower(), method.lower())
    chosen: dict[str, Any] = {}
    if options.get("maxiter") is not None:
        chosen["max_iterations"] = int(options["maxiter"])
    tolerance = options.get("gtol", options.get("tol"))
    if tolerance is not None and name in _BY_GRADIENTS:
        chosen["tolerance"] = float(tolerance)
    return {name: chosen} if chosen else name


def prepared(
    layout: Layout,
    *,
    reml: bool,
    use_sqrt: bool,
    stages: tuple[Any, ...],
    start: MixedLMParams | None,
    free: MixedLMParams | None,
    fe_pen: Any,
    cov_pen: Any,
) -> Model:
    """The model of one fit. start: None for the framework's own; what `free` holds then stands where statsmodels' default
    start has it: a slope of 0, a covariance of 0, a variance as large as scale. Raises ValueError."""
    model = layout.model.using(criterion="reml" if reml else "ml", stages=stages)
    model = evolve(model, covariance=model.covariance if use_sqrt else _profile(model))
    if not stages:
        model = evolve(model, stages=())
    held_at = start if start is not None else default_start(layout)
    engine = penalized(layout, fe_pen, cov_pen, free, held_at)
    model = evolve(model, engine=engine)
    if free is not None:
        model = _held(layout, model, free, held_at)
        start = _near(layout, model, free, held_at) if start is None else start
    if start is None:
        return model
    return evolve(model, warm=(layout.flats(start), 1.0))


def _profile(model: Model) -> CovarianceModel:
    """The covariances themselves as coordinates, in place of their roots."""
    profile = model.registry.create(PARAMETERIZATION, "profile", {}, "use_sqrt")
    return model.covariance.with_bijections(lambda param, _: resolve_bijection(profile, param))


def default_start(layout: Layout) -> MixedLMParams:
    """No slope, and variances as large as scale."""
    return MixedLMParams.from_components(
        np.zeros(len(layout.order)), np.eye(layout.k_re), vcomp=np.ones(len(layout.components))
    )


def penalized(
    layout: Layout, fe_pen: Any, cov_pen: Any, free: MixedLMParams | None = None, start: MixedLMParams | None = None
) -> Engine:
    """The model's engine, with penalties around it where there are any."""
    held = None
    if free is not None and start is not None and not np.all(np.asarray(free.fe_params)):
        held = layout.inward(np.where(np.asarray(free.fe_params, dtype=bool), np.nan, start.fe_params))
    if fe_pen is None and held is None and (cov_pen is None or not layout.k_re):
        return layout.model.engine
    effects = None if fe_pen is None else on_effects(fe_pen, layout.order)
    covariances = () if cov_pen is None or not layout.k_re else (on_covariance(cov_pen, layout.effects_order),)
    return PenalizedEngine(layout.model.engine, effects, covariances, held)


def _held(layout: Layout, model: Model, free: MixedLMParams, at: MixedLMParams) -> Model:
    covariance, first = model.covariance, 1 if layout.k_re else 0
    if layout.k_re:
        covariance = hold_entries(covariance, 0, layout.mask(free), layout.turned(at.cov_re))
    for j, (loose, value) in enumerate(zip(free.vcomp, at.vcomp, strict=True)):
        covariance = hold_entries(covariance, first + j, np.full((1, 1), bool(loose)), np.full((1, 1), value))
    return evolve(model, covariance=covariance)


def _near(layout: Layout, model: Model, free: MixedLMParams, at: MixedLMParams) -> MixedLMParams:
    """The framework's start with what is held in place, where that is a covariance matrix; else `at` itself."""
    flats, sigma2 = layout.model.starting_point
    start = layout.params(np.zeros(len(layout.order)), flats, sigma2)
    loose = layout.turned_back(layout.mask(free))
    matrix: Array = np.where(loose, start.cov_re, at.cov_re)
    if matrix.size and np.linalg.eigvalsh(matrix)[0] <= 1e-8 * np.trace(matrix):
        return at
    start.cov_re = matrix
    start.vcomp = np.where(np.asarray(free.vcomp, dtype=bool), start.vcomp, at.vcomp)
    return start
