"""Fits: the documents' examples, the schedule of stages, methods, free patterns, penalties and the lasso."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import statsmodels.formula.api as smf
import statsmodels.regression.mixed_linear_model as sm
from scipy.optimize import minimize
from statsmodels.base import _penalties as theirs

import mmframe as mm
from mmframe.compat.statsmodels import (
    L2,
    PSD,
    ConvergenceWarning,
    MixedLM,
    MixedLMParams,
    PseudoHuber,
    SingularMatrixWarning,
    VCSpec,
    mixedlm,
)
from tests.compat.theirs import DIETOX, dense_loglike, pair, quietly, random_data

Array = np.ndarray
N = len(DIETOX)
X = np.column_stack([np.ones(N), DIETOX["Time"]])
FREE = MixedLMParams.from_components(np.ones(2), np.eye(2))


def slopes_model(**options: Any) -> MixedLM:
    return mixedlm("Weight ~ Time", DIETOX, groups="Pig", re_formula="~Time", **options)


# lme4 1.1: lmer(Weight ~ Time + (1 | Pig)) and (1 + Time | Pig), REML and ML, as in statsmodels' own test_lme.py (test_dietox,
# test_dietox_slopes): fixef, sqrt(diag(vcov)), sigma^2, VarCorr, logLik.
LMER = [
    (None, True, [15.723523, 6.942505], [0.78805374, 0.03338727], 11.36692, [40.39395], -2404.775),
    (None, False, [15.723517, 6.942506], [0.7829397, 0.0333661], 11.35251, [39.82097], -2402.932),
    ("1 + Time", True, [15.738650, 6.939014], [0.5501253, 0.0798254], 6.03745, [19.4934552, 0.2938323, 0.4160620], -2217.047),
    ("1 + Time", False, [15.73863, 6.93902], [0.54629282, 0.07926954], 6.037441, [19.190922, 0.293568, 0.409695], -2215.753),
]  # fmt: skip


@pytest.mark.parametrize(("re_formula", "reml", "slopes", "errors", "scale", "cov", "llf"), LMER)
def test_dietox(
    re_formula: str | None,
    reml: bool,
    slopes: list[float],
    errors: list[float],
    scale: float,
    cov: list[float],
    llf: float,
) -> None:
    result = mixedlm("Weight ~ Time", DIETOX, groups="Pig", re_formula=re_formula).fit(reml=reml)
    np.testing.assert_allclose(result.fe_params, slopes, rtol=1e-6)
    np.testing.assert_allclose(result.bse_fe, errors, rtol=1e-4)
    np.testing.assert_allclose(result.scale, scale, rtol=1e-5)
    k = len(result.cov_re)
    np.testing.assert_allclose(result.cov_re.to_numpy()[np.tril_indices(k)], cov, rtol=1e-3)
    np.testing.assert_allclose(result.llf, llf, atol=6e-4)


# The methods of statsmodels, and some of mmframe's own.
METHODS: list[Any] = [None, "bfgs", "lbfgs", "cg", "powell", "nm", "minimize", "newton"]
METHODS += [["nm", "cg"], ["em", "newton"], [{"em": {"max_iterations": 5}}, "bfgs"]]


@pytest.mark.parametrize("use_sqrt", [True, False])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_reaches_the_optimum(method: Any, use_sqrt: bool) -> None:
    result = slopes_model(use_sqrt=use_sqrt).fit(method=method)
    assert result.converged
    np.testing.assert_allclose(result.llf, -2217.0474591, atol=1e-6)


@pytest.mark.parametrize("use_sqrt", [True, False])
@pytest.mark.parametrize("method", METHODS, ids=str)
def test_independent_coefficients_by_free(method: Any, use_sqrt: bool) -> None:
    """The class page's third example; in lme4 (1 | Pig) + (0 + Time | Pig)."""
    result = slopes_model(use_sqrt=use_sqrt).fit(free=FREE, method=method)
    apart = mm.fit("Weight ~ Time + (Time || Pig)", DIETOX)
    assert result.cov_re.iloc[0, 1] == 0.0
    np.testing.assert_allclose(result.llf, apart.loglike, atol=1e-6)
    assert result.n_parameters == 5
    assert np.isclose(result.aic, -2 * result.llf + 10)


def test_independent_coefficients_by_components() -> None:
    """The class page's fourth example, corrected."""
    g = DIETOX["Pig"].groupby(DIETOX["Pig"]).groups
    vc = {str(j): {k: X[DIETOX.index.get_indexer(g[k]), j : j + 1] for k in g} for j in (0, 1)}
    with pytest.warns(FutureWarning):
        model = MixedLM(DIETOX["Weight"], X, DIETOX["Pig"], exog_vc=vc)
    by_free = slopes_model().fit(free=FREE)
    result = model.fit()
    np.testing.assert_allclose(result.llf, by_free.llf, atol=1e-7)
    np.testing.assert_allclose(result.vcomp, np.diag(by_free.cov_re), rtol=1e-4)


def three(seed: int = 3) -> tuple[Any, MixedLM]:
    rng = np.random.default_rng(seed)
    g = np.repeat(np.arange(60), 8)
    n = len(g)
    Z = np.column_stack([np.ones(n), rng.normal(size=(n, 2))])
    root = np.array([[1.0, 0, 0], [0.4, 0.8, 0], [0.3, -0.4, 0.7]])
    y = 1.0 + (Z * (rng.normal(size=(60, 3)) @ root.T)[g]).sum(1) + rng.normal(size=n)
    return Z, MixedLM(y, np.ones(n), g, Z)


PATTERNS = [
    [(1, 0)],
    [(2, 0)],
    [(2, 1)],
    [(1, 0), (2, 1)],
    [(0, 0)],
    [(1, 1)],
    [(2, 2), (1, 0)],
    [(0, 0), (1, 1), (2, 2)],
]


@pytest.mark.parametrize("method", [None, "lbfgs", "nm"])
@pytest.mark.parametrize("held", PATTERNS, ids=str)
def test_free_holds_entries_of_the_matrix(held: list[tuple[int, int]], method: Any) -> None:
    """Any entry of cov_re/scale, not of its Cholesky factor, at the value where it starts; the rest is at its optimum."""
    _, model = three()
    start = MixedLMParams.from_components(np.zeros(1), np.array([[0.8, 0.2, 0.1], [0.2, 0.9, 0.0], [0.1, 0.0, 0.7]]))
    mask = np.ones((3, 3))
    for i, j in held:
        mask[i, j] = mask[j, i] = 0.0
    free = MixedLMParams.from_components(np.ones(1), mask)
    result = model.fit(start_params=start, free=free, method=method)
    found = result.cov_re_unscaled
    for i, j in held:
        np.testing.assert_allclose(found[i, j], start.cov_re[i, j], rtol=1e-10, atol=1e-12)
    p = result.params_object
    score = model.score_full(p)[1]
    rows, cols = np.tril_indices(3)
    loose = mask[rows, cols] != 0
    np.testing.assert_allclose(score[loose], 0.0, atol=2e-2 if method == "nm" else 2e-3)
    cov = result.cov_params()
    assert np.all(cov[1:, 1:][~loose] == 0) and np.all(np.diag(cov)[1:][loose] > 0)
    np.testing.assert_array_equal(model.score(p)[~loose], 0.0)


def test_free_holds_components_and_slopes() -> None:
    data = random_data(11)
    model = MixedLM(data.endog, data.exog, data.groups, data.exog_re, VCSpec(*data.vc))
    start = MixedLMParams.from_components(np.array([0.0, 1.5, 0.0]), np.eye(2), vcomp=np.array([0.6, 1.0]))
    free = MixedLMParams.from_components(np.array([1.0, 0.0, 1.0]), np.ones((2, 2)), vcomp=np.array([0.0, 1.0]))
    result = model.fit(start_params=start, free=free, reml=False)
    assert result.fe_params[1] == 1.5
    np.testing.assert_allclose(result.vcomp[0] / result.scale, 0.6, rtol=1e-12)
    p = result.params_object
    assert abs(model.score_full(p)[0][1]) > 1e-3  # the held slope is not at its optimum; the others are
    np.testing.assert_allclose(np.asarray(model.score(p, profile_fe=False)), 0.0, atol=1e-3)
    assert result.bse[1] == 0.0 and result.n_parameters == 3 + 5 - 2 + 1 - 0


def test_free_of_other_shapes_is_refused() -> None:
    with pytest.raises(ValueError, match="free: fe_params, cov_re and vcomp of shapes"):
        slopes_model().fit(free=MixedLMParams.from_components(np.ones(2), np.eye(3)))
    with pytest.raises(ValueError, match="fe_pen: 3 · allowed: an object with func and deriv"):
        slopes_model().fit(fe_pen=3)
    model = slopes_model()
    with pytest.raises(ValueError, match="there is no stage"):
        model.fit(reml=False, method="foo")
    assert model.reml, "a fit that fails leaves the model as it was"


def test_parameters_of_statsmodels_are_taken() -> None:
    model = slopes_model()
    theirs_ = sm.MixedLMParams.from_components(np.zeros(2), np.eye(2))
    ours = MixedLMParams.from_components(np.zeros(2), np.eye(2))
    assert model.loglike(theirs_) == model.loglike(ours)
    np.testing.assert_allclose(
        model.fit(start_params=theirs_, free=theirs_.copy()).llf, model.fit(free=theirs_).llf, atol=1e-7
    )


# the schedule


def em_step(model: MixedLM, params: MixedLMParams) -> MixedLMParams:
    """One step of EM for REML at the slopes of generalised least squares, written out group by group (Laird & Ware 1982)."""
    slopes, _ = model.get_fe_params(params.cov_re, params.vcomp)
    scale = model.get_scale(slopes, params.cov_re, params.vcomp)
    G = scale * params.cov_re
    X_li, Z_li, y_li = model.exog_li, model.exog_re_li, model.endog_li
    assert X_li is not None and Z_li is not None and y_li is not None
    inverses = [np.linalg.inv(scale * np.eye(len(y)) + Z @ G @ Z.T) for Z, y in zip(Z_li, y_li, strict=True)]
    C = np.linalg.inv(sum(X.T @ W @ X for X, W in zip(X_li, inverses, strict=True)))
    total = np.zeros_like(G)
    for X_i, Z, y, W in zip(X_li, Z_li, y_li, inverses, strict=True):
        b = G @ Z.T @ W @ (y - X_i @ slopes)
        P = W - W @ X_i @ C @ X_i.T @ W
        total += np.outer(b, b) + G - G @ Z.T @ P @ Z @ G
    return MixedLMParams.from_components(slopes, total / model.n_groups / scale)


def test_em_steps() -> None:
    """niter_em=1 without an optimiser: the covariance is that of the step written out (scale is then at its optimum)."""
    model = slopes_model()
    start = MixedLMParams.from_components(np.zeros(2), np.array([[2.0, 0.1], [0.1, 0.5]]))
    result = model.fit(start_params=start, niter_em=1, do_cg=False)
    by_hand = em_step(model, start)
    slopes, _ = model.get_fe_params(start.cov_re, start.vcomp)
    absolute = by_hand.cov_re * model.get_scale(slopes, start.cov_re, start.vcomp)
    ratio = result.cov_re_unscaled.to_numpy() / absolute
    np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-6)


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize("which", ["niter_em", "niter_sa", "niter_sd"])
def test_stages_before_the_optimiser(which: str, reml: bool) -> None:
    """Each step raises the log-likelihood; do_cg=False stops after them; do_cg goes on to the optimum."""
    model = slopes_model()
    values = [model.fit(reml=reml, do_cg=False).llf]
    values += [model.fit(reml=reml, do_cg=False, **{which: k}).llf for k in (1, 2, 5, 20)]
    assert all(b > a for a, b in itertools.pairwise(values))
    full = model.fit(reml=reml, **{which: 3}, full_output=True)
    assert full.converged and full.llf >= values[-1] - 1e-9
    assert full.hist is not None
    name = "em" if which == "niter_em" else "gradient"
    assert [h["stage"] for h in full.hist][:2] == [name, "newton"]


def test_no_optimiser_stays_at_the_start() -> None:
    """do_cg=False raises UnboundLocalError in statsmodels."""
    model = slopes_model()
    default = model.fit(do_cg=False)
    np.testing.assert_allclose(default.cov_re_unscaled, np.eye(2), atol=1e-12)
    assert not default.converged
    start = MixedLMParams.from_components(np.zeros(2), np.array([[2.0, 0.1], [0.1, 0.5]]))
    for given in (start, start.get_packed(True, True), start.get_packed(True)):
        result = model.fit(start_params=given, do_cg=False)
        np.testing.assert_allclose(result.cov_re_unscaled, start.cov_re, rtol=1e-9)
        assert np.isclose(result.llf, model.loglike(start))
        np.testing.assert_allclose(result.fe_params, model.get_fe_params(start.cov_re, [])[0])
    with pytest.raises(ValueError, match=r"start_params: shape \(4,\) · allowed"):
        model.fit(start_params=np.ones(4))


def test_history_and_options() -> None:
    result = slopes_model().fit(method="lbfgs", maxiter=300, gtol=1e-6, full_output=True)
    assert result.hist is not None
    last = result.hist[-1]
    assert last["stage"].startswith("lbfgs") and last["converged"] and last["warnflag"] == 0
    assert np.isclose(last["fopt"], -result.llf / N) and np.isclose(last["values"][-1], result.llf)
    assert slopes_model().fit().hist is None
    with pytest.warns(FutureWarning, match="Arguments cov_type, foo not used"):
        slopes_model().fit(cov_type="hc1", foo=1)
    with pytest.warns(ConvergenceWarning, match="MixedLM optimization failed"):
        slopes_model().fit(method="nm", maxiter=3)
    with pytest.raises(ValueError, match="there is no stage 'nosuch'"):
        slopes_model().fit(method="nosuch")
    with pytest.raises(ValueError, match="niter_em: -1"):
        slopes_model().fit(niter_em=-1)


def test_disp_says_how_the_fit_ended(capsys: pytest.CaptureFixture[str]) -> None:
    slopes_model().fit(disp=True)
    assert "an optimum" in capsys.readouterr().out


def test_a_singular_fit_is_warned_of_whatever_the_units() -> None:
    rng = np.random.default_rng(1)
    y = rng.normal(size=120)
    y -= np.repeat(
        [y[k * 12 : k * 12 + 12].mean() for k in range(10)], 12
    )  # groups differ less than chance would have it
    for unit in (1.0, 1e4, 1e-4):
        with pytest.warns(SingularMatrixWarning, match="random effects covariance is singular"):
            result = MixedLM(unit * y, np.ones(120), np.repeat(np.arange(10), 12)).fit()
        assert result.cov_re[0, 0] == 0.0
        np.testing.assert_allclose(result.fe_params, [unit * y.mean()], atol=unit * 1e-12)
        assert np.isfinite(result.bse_fe[0]) and np.isnan(result.bse_re[0])
        assert all(v.iloc[0] == 0 for v in result.random_effects.values())


# penalties


def criterion(model: MixedLM, penalty: Any, reml: bool) -> Any:
    """The penalised profile log-likelihood by the definition, over slopes and roots."""

    def value(packed: Array) -> float:
        params = MixedLMParams.from_packed(packed, model.k_fe, model.k_re, True, True)
        scale = model.get_scale(params.fe_params, params.cov_re, params.vcomp)
        return -dense_loglike(model, params, scale, reml=reml) + penalty.func(params.fe_params)

    return value


@pytest.mark.parametrize("reml", [True, False])
@pytest.mark.parametrize(
    "penalty",
    [theirs.L2(), theirs.PseudoHuber(0.3), theirs.SCADSmoothed(0.5, c0=0.1), L2(), PseudoHuber(0.3)],
    ids=lambda p: type(p).__name__,
)
def test_slopes_minimise_the_penalised_criterion(penalty: Any, reml: bool) -> None:
    """statsmodels leaves them where generalised least squares has them."""
    data = random_data(5, groups=12, components=False)
    model = MixedLM(data.endog, data.exog, data.groups, np.ones(len(data.endog)))
    penalty.alpha = 4.0
    result = model.fit(reml=reml, fe_pen=penalty)
    assert result.converged
    model.reml = reml
    value = criterion(model, penalty, reml)
    at = result.params_object.get_packed(True, True)
    best = minimize(value, at, method="BFGS", options={"gtol": 1e-6})
    assert np.isclose(result.llf, -value(at), rtol=1e-10)
    assert value(at) <= best.fun + 1e-6
    np.testing.assert_allclose(at, best.x, atol=1e-3)
    assert np.max(np.abs(result.fe_params - model.fit(reml=reml).fe_params)) > 1e-3


@pytest.mark.parametrize("method", [None, "bfgs", "lbfgs", "nm"])
def test_a_penalty_on_the_covariance(method: Any) -> None:
    """Where statsmodels works: PSD, that is −weight log|cov_re|."""
    result = slopes_model().fit(cov_pen=PSD(3.0), method=method)
    other = quietly(
        lambda: smf.mixedlm("Weight ~ Time", DIETOX, groups="Pig", re_formula="~Time").fit(
            cov_pen=theirs.PSD(3.0), method="lbfgs", maxiter=500
        )
    )
    assert result.converged
    assert result.llf >= other.llf - 1e-7
    np.testing.assert_allclose(result.cov_re, other.cov_re, rtol=1e-3)
    np.testing.assert_allclose(result.bse_fe, other.bse_fe, rtol=1e-4)
    mine = slopes_model().fit(cov_pen=theirs.PSD(3.0), method=method)
    np.testing.assert_allclose(mine.llf, result.llf, atol=1e-8)


# the lasso


@pytest.mark.parametrize("alpha", [0.0, 5.0, np.array([0.0, 40.0, 1.0]), 1e6])
@pytest.mark.parametrize("reml", [True, False])
def test_the_lasso(alpha: Any, reml: bool) -> None:
    """Its conditions of Karush, Kuhn and Tucker; and statsmodels, where it has not lost a slope on the way."""
    mine, their = pair(random_data(12, components=False), reml=reml)
    result = mine.fit_regularized(alpha=alpha, reml=reml, ptol=1e-10, maxit=5000)
    plain = mine.fit(reml=reml)
    other = quietly(lambda: their.fit_regularized(alpha=alpha, reml=reml, ptol=1e-10, maxit=5000))
    np.testing.assert_allclose(result.fe_params, other.fe_params, atol=2e-3)
    np.testing.assert_allclose(result.cov_re_unscaled, plain.cov_re_unscaled, rtol=1e-12)
    weights, beta = np.broadcast_to(alpha, (3,)), np.asarray(result.fe_params)
    W = [
        np.linalg.inv(plain.scale * np.eye(len(y)) + Z @ plain.cov_re @ Z.T)
        for y, Z in zip(mine.endog_li, mine.exog_re_li, strict=True)  # type: ignore[arg-type]
    ]
    gradient = sum(
        -2.0 * X_i.T @ V @ (y - X_i @ beta)
        for X_i, V, y in zip(mine.exog_li, W, mine.endog_li, strict=True)  # type: ignore[arg-type]
    )
    active = beta != 0
    np.testing.assert_allclose(
        gradient[active], -(weights * np.sign(beta))[active], atol=1e-4 * max(1.0, float(np.max(weights)))
    )
    assert np.all(np.abs(gradient[~active]) <= weights[~active] + 1e-6)
    assert np.isclose(result.llf, mine.loglike(result.params_object, profile_fe=False))
    assert np.isclose(result.scale, mine.get_scale(beta, plain.cov_re_unscaled, []))
    assert np.isclose(result.llf, dense_loglike(mine, result.params_object, result.scale, reml=reml), rtol=1e-10)
    assert np.all(np.isnan(result.bse_fe[~active])) and np.all(result.bse_fe[active] > 0)
    # errors of generalised least squares at these covariances, for the slopes that are left
    information = sum(X_i[:, active].T @ V @ X_i[:, active] for X_i, V in zip(mine.exog_li, W, strict=True))  # type: ignore[arg-type]
    if active.any():
        errors = np.sqrt(np.diag(np.linalg.inv(information)) * result.scale / plain.scale)
        np.testing.assert_allclose(result.bse_fe[active], errors, rtol=1e-6)
    assert np.all(np.isnan(result.bse_re))


def test_the_lasso_of_a_formula_keeps_labels() -> None:
    """KeyError in statsmodels with pandas 3."""
    result = slopes_model().fit_regularized(alpha=[0.0, 1e5])
    assert result.fe_params["Time"] == 0.0 and list(result.params.index)[:2] == ["Intercept", "Time"]
    np.testing.assert_allclose(result.mmframe.fixed_effects, result.fe_params)
    assert "Time" in str(result.summary())
    np.testing.assert_allclose(slopes_model().fit_regularized(alpha=0.0).params, slopes_model().fit().params, rtol=1e-6)


def test_other_regularization() -> None:
    penalty = L2()
    result = slopes_model().fit_regularized(method=penalty, alpha=2.0)
    assert penalty.alpha == 1.0, "the caller's penalty stays as it was"
    twice = L2()
    twice.alpha = 2.0
    np.testing.assert_allclose(result.fe_params, slopes_model().fit(fe_pen=twice).fe_params)
    with pytest.raises(ValueError, match="method: 'elastic_net'"):
        slopes_model().fit_regularized(method="elastic_net")
    with pytest.raises(ValueError, match="alpha: -1"):
        slopes_model().fit_regularized(alpha=-1)


def test_results_do_not_follow_later_fits() -> None:
    model = slopes_model()
    ml = model.fit(reml=False)
    before = (ml.llf, ml.bse.to_numpy().copy(), ml.method, ml.aic)
    model.fit(reml=True, cov_pen=PSD(5.0))
    assert (ml.llf, ml.method, ml.aic) == (before[0], before[2], before[3])
    np.testing.assert_array_equal(ml.bse, before[1])
    assert ml.profile_re(0, "re", 1, 0.1, 1, 0.1)[1, 1] == pytest.approx(ml.llf, abs=1e-8)


def test_many_groups_need_no_loop_to_fit() -> None:
    """Twenty thousand rows in five thousand groups, with statsmodels' numbers as reference at fewer."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(5000), 4)
    x = rng.normal(size=20000)
    y = 1 + x + rng.normal(size=5000)[g] + rng.normal(size=20000)
    result = MixedLM(y, np.column_stack([np.ones(20000), x]), g).fit()
    same = (
        mm.ModelBuilder()
        .fixed(np.column_stack([np.ones(20000), x]), y)
        .random(Z=np.ones(20000), groups=g)
        .build()
        .fit()
    )
    assert np.isclose(result.llf, same.loglike, rtol=1e-12)
    small = sm.MixedLM(y[:400], np.column_stack([np.ones(400), x[:400]]), g[:400])
    mine = MixedLM(y[:400], np.column_stack([np.ones(400), x[:400]]), g[:400]).fit()
    np.testing.assert_allclose(mine.params, quietly(small.fit).params, rtol=1e-3)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("method", [None, "bfgs", "lbfgs", "cg", "powell", "nm"])
def test_independent_effects_one_of_which_does_not_vary(method: Any, order: tuple[int, int]) -> None:
    """A held covariance beside a variance that is zero at the optimum."""
    rng = np.random.default_rng(0)
    g = np.repeat(np.arange(20), 8)
    x = rng.normal(size=160)
    b = rng.normal(size=20)
    y = 1 + x * (2 + b[g]) + rng.normal(size=160)
    exog = np.column_stack([np.ones(160), x])
    rest = y - exog @ [1.0, 2.0] - x * b[g]
    y -= np.array([rest[g == k].mean() for k in range(20)])[g]
    with pytest.warns(SingularMatrixWarning):
        result = MixedLM(y, exog, g, exog[:, order]).fit(free=FREE, method=method)
    assert result.converged
    zero = order.index(0)
    assert result.cov_re[zero, zero] == 0.0 == result.cov_re[0, 1] and result.cov_re[1 - zero, 1 - zero] > 0.5
    np.testing.assert_allclose(result.llf, -245.730330961, atol=1e-6)  # of the model with a random slope alone:
    np.testing.assert_allclose(MixedLM(y, exog, g, x).fit().llf, result.llf, atol=1e-6)
