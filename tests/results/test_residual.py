"""Results of fits with a structured residual: prediction, simulation, residuals, tables, saved fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import mmframe as mm
from mmframe.covariance.domain import Array
from tests.likelihood.residual_models import MODELS, build, table

pytestmark = pytest.mark.filterwarnings("ignore::mmframe.errors.IdentifiabilityWarning")


def joint(fit: mm.FitResult) -> tuple[Array, Array]:
    """V and R of the rows, by the structures themselves, in data units."""
    source = fit.source
    design, (terms, flats) = source.design, source.residual_terms  # type: ignore[attr-defined]
    V = np.zeros((design.n, design.n))
    root = np.ones(design.n) if design.weights is None else np.sqrt(design.weights)
    for k, (term, flat) in enumerate(zip(terms, flats, strict=True)):
        for level in np.unique(design.residual.subject[design.residual.stratum == k]):
            rows = np.flatnonzero(design.residual.subject == level)
            V[np.ix_(rows, rows)] = term.covariance_at(flat, design.residual.index[rows])
    V /= np.outer(root, root)
    R = V.copy()
    for term, estimate in zip(design.terms, fit.estimates.terms, strict=True):
        codes = design.groupings[term.grouping].codes
        V += (codes[:, None] == codes[None, :]) * (term.Z @ estimate.G @ term.Z.T)
    return V, R


NESTED = [
    "us",
    "car1 irregular",
    "toep by arm",
    "sp_exp, nugget",
    "ident x power",
    "intercept, ar1",
    "slope, csh",
    "kronecker",
]


@pytest.mark.parametrize("name", NESTED)
def test_prediction_of_a_left_out_row_is_that_of_the_joint_normal_distribution(name: str) -> None:
    """y_n given the rows of its subject, by the covariance of all rows at once: mean, and its error with that of β̂."""
    model = build(name, None)
    fit = model.fit()
    data = table()
    start = fit.starting_values()
    for left_out in (3, 11, 40):
        kept = data.drop(index=left_out)
        if not (kept["s"] == data.loc[left_out, "s"]).any():
            continue
        random, residual, variance, weights = MODELS[name]
        # all parameters held at those of the whole data, so that one covariance serves both
        builder = (
            mm.ModelBuilder().fixed("y ~ x + arm").residual(residual).variance(variance).weights(weights).fix(start)
        )
        for term in random:
            builder = builder.random(term)
        part = builder.build(kept).fit()
        whole = builder.build(data).fit()
        V, _ = joint(whole)
        X, y = whole.source.rows.X, whole.source.response
        o = np.arange(len(data)) != left_out
        weight = np.linalg.solve(V[np.ix_(o, o)], V[o, left_out])
        XVX = np.linalg.inv(X[o].T @ np.linalg.solve(V[np.ix_(o, o)], X[o]))
        beta = XVX @ X[o].T @ np.linalg.solve(V[np.ix_(o, o)], y[o])
        mean = X[left_out] @ beta + weight @ (y[o] - X[o] @ beta)
        gap = X[left_out] - X[o].T @ weight
        error = np.sqrt(V[left_out, left_out] - V[o, left_out] @ weight + gap @ XVX @ gap)
        found = part.predict(data.loc[[left_out]], interval="prediction").iloc[0]
        assert found["estimate"] == pytest.approx(mean, rel=1e-6)
        assert found["std_error"] == pytest.approx(error, rel=1e-5)


@pytest.mark.parametrize("name", ["us", "toep by arm", "slope, csh", "crossed: item"])
def test_predictions_of_the_rows_themselves_are_the_fitted_values(name: str) -> None:
    fit = build(name, None).fit()
    np.testing.assert_allclose(fit.predict(table()), fit.fitted, rtol=1e-10)
    unseen = fit.predict(table().assign(s=999, school=999, item=999), new_levels="population")
    np.testing.assert_allclose(unseen, fit.predict(table(), level="population"), rtol=1e-10)


@pytest.mark.parametrize("name", ["us", "toep by arm", "slope, csh", "ident x power", "G: by"])
def test_simulated_responses_have_the_covariance_of_the_model(name: str) -> None:
    fit = build(name, None).fit()
    V, _ = joint(fit)
    draws = fit.simulate(6000, seed=1)
    centred = draws - draws.mean(axis=1, keepdims=True)
    sd = np.sqrt(np.diag(V))
    gap = (centred @ centred.T / 6000 - V) / np.outer(sd, sd)
    assert np.max(np.abs(gap)) < 6 / np.sqrt(6000)  # six standard errors of a correlation
    np.testing.assert_allclose(draws.mean(axis=1), fit.source.population, atol=6 * sd.max() / np.sqrt(6000))


@pytest.mark.parametrize("name", ["us", "car1 irregular", "slope, exp", "ident x power"])
def test_normalized_residuals_are_white(name: str) -> None:
    """L⁻¹e by subject; their sum of squares is e'R⁻¹e."""
    fit = build(name, None).fit()
    _, R = joint(fit)
    e = fit.residuals().to_numpy()
    assert np.sum(fit.residuals("normalized") ** 2) == pytest.approx(e @ np.linalg.solve(R, e))
    np.testing.assert_allclose(fit.residuals("pearson"), e / np.sqrt(np.diag(R)), rtol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_saved_fits_predict_in_the_same_way(name: str, tmp_path: Path) -> None:
    fit = build(name, None).fit()
    fit.save(tmp_path / "fit.mmframe")
    again = mm.load(tmp_path / "fit.mmframe")
    pd.testing.assert_frame_equal(again.parameters, fit.parameters)
    pd.testing.assert_series_equal(again.residuals("normalized"), fit.residuals("normalized"))
    data = table(seed=4)
    for how in ({"level": "population"}, {"new_levels": "population"}):
        try:
            expected = fit.predict(data, **how)
        except mm.DataError as problem:  # a point that needs a parameter of its own
            with pytest.raises(mm.DataError, match=str(problem)[:40].replace("[", ".").replace("]", ".")):
                again.predict(data, **how)
            continue
        np.testing.assert_allclose(again.predict(data, **how), expected)


def test_tables_by_stratum() -> None:
    fit = build("toep by arm", None).fit()
    for arm in ("a", "b"):
        found = fit.residual_covariance(arm)
        rho = fit.parameters.set_index("name")["estimate"]
        sd = rho[f"residual.sd[{arm}]"]
        assert found.loc["1", "1"] == pytest.approx(sd**2)
        assert found.loc["1", "3"] == pytest.approx(sd**2 * rho[f"residual.rho[2][{arm}]"])
    pd.testing.assert_frame_equal(fit.residual_covariance(), fit.residual_covariance("a"))
    with pytest.raises(mm.SpecError, match="there is no stratum 'c'"):
        fit.residual_covariance("c")
    assert fit.sigma2 == pytest.approx(fit.residual_covariance("a").loc["1", "1"])


def test_the_levels_of_ident_are_strata_too() -> None:
    fit = build("ident", None).fit()
    ratio = fit.parameters.set_index("name").loc["residual.ratio[b]", "estimate"]
    found = [fit.residual_covariance(arm).to_numpy().item() for arm in ("a", "b")]
    assert found == pytest.approx([fit.sigma2, fit.sigma2 * ratio**2])


def test_equal_structures_by_other_names() -> None:
    data = table()
    pairs = [
        ("heterogeneous(ar1(visit) | s)", "ar1h(visit | s)"),
        ("car1(t | s)", "sp_exp(t | s)"),
        ("toep(visit | s, bands=1)", "vc(visit | s)"),
    ]
    for a, b in pairs:
        one, other = (mm.fit("y ~ x", data, residual=r).loglike for r in (a, b))
        assert one == pytest.approx(other, abs=1e-6)
    by_variance = mm.fit("y ~ x", data, residual="ar1(visit | s)", variance="ident(visit)")
    assert by_variance.loglike == pytest.approx(mm.fit("y ~ x", data, residual="ar1h(visit | s)").loglike, abs=1e-6)


def test_tied_and_held_parameters() -> None:
    data = table()
    free = mm.fit("y ~ x", data, residual="ar1(visit | s, by=arm)")
    tied = mm.fit("y ~ x", data, residual="ar1(visit | s, by=arm)", tie=[["residual.rho[a]", "residual.rho[b]"]])
    assert tied.converged and tied.loglike < free.loglike
    assert tied.estimates.n_parameters == free.estimates.n_parameters - 1
    rho = tied.parameters.set_index("name")
    assert rho.loc["residual.rho[a]", "estimate"] == rho.loc["residual.rho[b]", "estimate"]
    both = mm.fit(
        "y ~ x",
        data,
        residual="ar1(visit | s, by=arm)",
        tie=[["residual.rho[a]", "residual.rho[b]"], ["residual.sd[a]", "residual.sd[b]"]],
    )
    assert both.loglike == pytest.approx(mm.fit("y ~ x", data, residual="ar1(visit | s)").loglike, abs=1e-7)
    held = mm.fit("y ~ x", data, residual="us(visit | s)", fix={"corr(1, 2 | residual)": 0.3, "sd(3 | residual)": 1.5})
    shown = held.parameters.set_index("name")
    assert shown.loc["corr(1, 2 | residual)", "estimate"] == pytest.approx(0.3)
    assert shown.loc["sd(3 | residual)", "estimate"] == pytest.approx(1.5)
    assert shown.loc[["corr(1, 2 | residual)", "sd(3 | residual)"], "std_error"].isna().all()


def test_blocks_of_blocks_are_blocks() -> None:
    data = table()
    one = mm.fit("y ~ x + block(us(1 + x), ar1(0 + visit), vc(0 + u) | s)", data, reml=False)
    nested = mm.fit("y ~ x + block(block(us(1 + x), ar1(0 + visit)), vc(0 + u) | s)", data, reml=False)
    assert nested.loglike == pytest.approx(one.loglike, abs=1e-8)
    np.testing.assert_allclose(nested.predict(data), one.predict(data), atol=1e-5)
