"""Anisotropy against nlme on turned and stretched coordinates, and against its own definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from mmframe_spatial import Anisotropic, ellipse, natural
from references import estimates, nlme_fits

import mmframe as mm
from mmframe.api import Phi, Points, distances

PLACE = "latitude + longitude"
NLME = nlme_fits()


def points(n: int = 7, seed: int = 1) -> Any:
    index = np.random.default_rng(seed).uniform(0.0, 5.0, size=(n, 2))
    return Points(tuple(map(str, range(n))), index)


@pytest.mark.parametrize("decay", ["exponential", "gaussian"])
def test_range_ratio_and_angle_are_those_that_nlme_finds_by_profiling(trial: pd.DataFrame, decay: str) -> None:
    """nlme fits isotropic structures only: wheat2.R turns and stretches the coordinates, and profiles over both."""
    nugget = decay == "gaussian"
    fit = mm.fit("yld ~ 0 + variety", trial, residual=f"anisotropic({PLACE} | 1, decay='{decay}', nugget={nugget})")
    want = NLME[f"free_{decay}"][0]
    found = estimates(fit)
    assert fit.converged
    assert fit.loglike == pytest.approx(want["loglik"], abs=1e-6)
    assert found["residual.range"] == pytest.approx(want["shape"][0], rel=1e-3)
    assert found["residual.ratio"] == pytest.approx(want["ratio"], rel=1e-3)
    assert found["residual.angle"] == pytest.approx(want["angle"], abs=0.02)
    assert found["sigma"] == pytest.approx(want["sigma"], rel=1e-3)
    if nugget:
        assert found["residual.nugget"] == pytest.approx(want["shape"][1], rel=1e-3)


@pytest.mark.parametrize(
    ("decay", "k"),
    [("exponential", 0), ("exponential", 1), ("gaussian", 1), ("gaussian", 2), ("spherical", 0), ("spherical", 2)],
)
def test_a_held_ellipse_has_the_likelihood_of_nlme(trial: pd.DataFrame, decay: str, k: int) -> None:
    want = NLME[f"fixed_{decay}"][k]
    options = f"decay='{decay}', nugget={len(want['shape']) > 1}, angle={want['angle']}, ratio={want['ratio']}"
    names = ["residual.range", "residual.nugget"]
    held = dict(zip(names, want["shape"], strict=False))
    fit = mm.fit("yld ~ 0 + variety", trial, residual=f"anisotropic({PLACE} | 1, {options})", fix=held)
    assert fit.loglike == pytest.approx(want["loglik"], abs=1e-7)
    assert fit.sigma == pytest.approx(want["sigma"], rel=1e-6)
    if decay == "exponential" and k:  # its range is nlme's optimum, and is ours
        free = mm.fit("yld ~ 0 + variety", trial, residual=f"anisotropic({PLACE} | 1, {options})")
        assert estimates(free)["residual.range"] == pytest.approx(want["shape"][0], rel=1e-4)


@pytest.mark.parametrize(
    ("decay", "name", "published"),
    # Pinheiro & Bates (2000), pp. 262-263: fm2Wheat2 and its range and nugget; corGaus by wheat2.R
    [("spherical", "spherical_nugget", [27.457, 0.20931]), ("gaussian", "gaussian_nugget", None)],
)
def test_a_circle_is_the_isotropic_structure_of_nlme(
    trial: pd.DataFrame, decay: str, name: str, published: list[float] | None
) -> None:
    want = NLME[name][0]
    if published is not None:
        assert want["shape"] == pytest.approx(published, rel=5e-5)
    held = {"residual.range": want["shape"][0], "residual.nugget": want["shape"][1]}
    options = f"decay='{decay}', nugget=True, angle=17, ratio=1"
    fit = mm.fit("yld ~ 0 + variety", trial, residual=f"anisotropic({PLACE} | 1, {options})", fix=held)
    assert fit.loglike == pytest.approx(want["loglik"], abs=1e-7)


DECAYS = {
    "exponential": lambda u: np.exp(-u),
    "gaussian": lambda u: np.exp(-(u**2)),
    "spherical": lambda u: np.where(u < 1, 1 - 1.5 * u + 0.5 * u**3, 0.0),
    "matern": lambda u: (1 + np.sqrt(3) * u) * np.exp(-np.sqrt(3) * u),  # smoothness 3/2
}


@pytest.mark.parametrize("decay", list(DECAYS))
@pytest.mark.parametrize(("ratio", "angle"), [(0.4, 25.0), (0.9, -80.0), (1.0, 0.0), (2.5, 60.0)])
def test_both_forms_are_the_definition(decay: str, ratio: float, angle: float) -> None:
    at = points()
    turn = np.deg2rad(angle)
    frame = at.index @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    want = 2.0 * DECAYS[decay](distances(frame / np.array([3.0, 3.0 * ratio])))
    held = Anisotropic(decay=decay, angle=angle).covariance(
        Phi({"variance": 2.0, "range": 3.0, "ratio": ratio}), at.index
    )
    free = Anisotropic(decay=decay).covariance(Phi({"variance": 2.0, **natural(3.0, ratio, angle)}), at.index)
    np.testing.assert_allclose(held, want, atol=1e-13)
    np.testing.assert_allclose(free, want, atol=1e-13)


def test_an_ellipse_has_one_set_of_natural_parameters() -> None:
    """A half turn, and the other axis with the ratio inverted, say the same ellipse."""
    first = natural(3.0, 0.4, 25.0)
    assert natural(3.0, 0.4, 205.0) == pytest.approx(first)
    assert natural(1.2, 2.5, 115.0) == pytest.approx(first)
    assert ellipse(**first) == pytest.approx({"range": 3.0, "ratio": 0.4, "angle": 25.0})
    assert ellipse(2.0, 0.0, 0.0) == {"range": 2.0, "ratio": 1.0, "angle": 0.0}


def test_the_circle_is_a_regular_point() -> None:
    """At ratio 1 an angle would be flat; stretch and shear are not, and are told apart."""
    at = points()
    phi = Phi({"variance": 1.0, "mean_range": 2.0, "stretch": 0.0, "shear": 0.0})
    slopes = Anisotropic().jacobian(phi, at.index)
    stacked = np.array([slopes[name].ravel() for name in ("mean_range", "stretch", "shear")])
    assert np.linalg.svd(stacked / np.linalg.norm(stacked, axis=1, keepdims=True), compute_uv=False)[-1] > 0.1


@pytest.mark.parametrize("length", [0.0, 1e-9, 1e-3, 9.99e-3, 1.01e-2, 3.9])
def test_derivatives_near_the_circle(length: float) -> None:
    """Series and closed form meet: the Jacobian equals differences on both sides of their border."""
    at, s = points(), Anisotropic(decay="gaussian")
    base = {"variance": 1.3, "mean_range": 2.0, "stretch": 0.6 * length, "shear": -0.8 * length}
    slopes = s.jacobian(Phi(base), at.index)
    for name in ("mean_range", "stretch", "shear"):
        step = 1e-5
        up, down = ({**base, name: base[name] + sign * step} for sign in (1.0, -1.0))
        difference = (s.covariance(Phi(up), at.index) - s.covariance(Phi(down), at.index)) / (2 * step)
        np.testing.assert_allclose(slopes[name][0], difference, atol=2e-9)


def test_a_turned_field_turns_the_angle(trial: pd.DataFrame) -> None:
    turn = np.deg2rad(40.0)
    moved = trial.assign(
        latitude=trial["latitude"] * np.cos(turn) - trial["longitude"] * np.sin(turn),
        longitude=trial["latitude"] * np.sin(turn) + trial["longitude"] * np.cos(turn),
    )
    fit = mm.fit("yld ~ 0 + variety", moved, residual=f"anisotropic({PLACE} | 1)")
    want, found = NLME["free_exponential"][0], estimates(fit)
    assert fit.loglike == pytest.approx(want["loglik"], abs=1e-6)
    assert found["residual.ratio"] == pytest.approx(want["ratio"], rel=1e-3)
    assert found["residual.angle"] == pytest.approx(want["angle"] + 40.0, abs=0.02)


def test_start_and_fix_take_the_natural_parameters(trial: pd.DataFrame) -> None:
    want = NLME["fixed_exponential"][1]
    held = {f"residual.{k}": v for k, v in natural(want["shape"][0], want["ratio"], want["angle"]).items()}
    fit = mm.fit("yld ~ 0 + variety", trial, residual=f"anisotropic({PLACE} | 1)", fix=held)
    assert fit.loglike == pytest.approx(want["loglik"], abs=1e-6)
    assert estimates(fit)["residual.angle"] == pytest.approx(want["angle"])


def test_points_on_a_line_have_one_range() -> None:
    line = np.linspace(0.0, 4.0, 6)[:, None] * np.array([1.0, 2.0])
    at = Points(tuple("abcdef"), line)
    assert [p.name for p in Anisotropic().params(at)] == ["variance", "mean_range"]
    assert [p.name for p in Anisotropic(angle=0.0).params(at)] == ["variance", "range"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"decay": "cubic"}, "decay='cubic'; allowed: 'exponential', 'gaussian'"),
        ({"smoothness": 0.0}, "smoothness=0.0; allowed: above 0"),
        ({"ratio": 0.5}, "ratio=0.5 without an angle"),
        ({"ratio": -1.0, "angle": 0.0}, "ratio=-1.0; allowed: above 0"),
    ],
)
def test_wrong_options_are_told(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Anisotropic(**options)


def test_wrong_points_are_told(trial: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="takes two coordinates, x \\+ y, and these points have 1"):
        mm.fit("yld ~ 1", trial, residual="anisotropic(plot | 1)")
    with pytest.raises(ValueError, match="allowed: above 0"):
        natural(1.0, 0.0, 0.0)


def test_a_circle_has_no_direction() -> None:
    round_one = natural(2.0, 1.0, 0.7)
    assert round_one["stretch"] == round_one["shear"] == 0.0
    assert ellipse(**round_one) == {"range": 2.0, "ratio": 1.0, "angle": 0.0}
