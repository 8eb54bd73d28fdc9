"""Distances on the globe against exact geometry and published ones; which correlations are valid there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from mmframe_spatial import EARTH, ChordalMatern, GreatCircle, chord, great_circle
from references import estimates, restricted_loglike

import mmframe as mm
from mmframe.api import Phi


def apart(a: tuple[float, float], b: tuple[float, float], radius: float = EARTH) -> float:
    return float(great_circle([a, b], radius)[0, 1])


def globe(n: int = 120, seed: int = 3) -> Any:
    """Places uniform on the sphere: longitude, latitude."""
    rng = np.random.default_rng(seed)
    return np.column_stack([rng.uniform(-180, 180, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))])


def test_exact_arcs() -> None:
    """Of a ball of radius 1000 km; longitude first."""
    quarter = 500 * np.pi
    assert apart((12, 0), (12, 90), 1000) == pytest.approx(quarter)  # equator to pole
    assert apart((0, 0), (90, 0), 1000) == pytest.approx(quarter)
    assert apart((-170, 0), (170, 0), 1000) == pytest.approx(20 / 90 * quarter)  # across the date line
    assert apart((0, -90), (55, 90), 1000) == pytest.approx(2 * quarter)  # pole to pole
    assert apart((0, 60), (180, 60), 1000) == pytest.approx(60 / 90 * quarter)  # over the pole
    assert apart((10, 90), (130, 90), 1000) == pytest.approx(0, abs=1e-12)  # the pole has every longitude
    assert float(chord([(0, 0), (90, 0)], 1000)[0, 1]) == pytest.approx(1000 * np.sqrt(2))


def test_the_quarter_meridian_of_the_mean_earth() -> None:
    """(2a + b)/3 of GRS 80, a = 6378.137 and b = 6356.752314 km (Moritz 2000), is EARTH; a quarter of its circle 10 007.557 km."""
    assert pytest.approx((2 * 6378.137 + 6356.752314) / 3, abs=1e-4) == EARTH
    assert apart((0, 0), (0, 90)) == pytest.approx(10007.557, abs=1e-3)


@pytest.mark.parametrize(("radius", "kilometres"), [(6371.0, 2886.44444283798), (6372.8, 2887.25995060711)])
def test_nashville_to_los_angeles(radius: float, kilometres: float) -> None:
    """The airports BNA and LAX: Rosetta Code, task "Haversine formula"."""
    assert apart((-86.67, 36.12), (-118.40, 33.94), radius) == pytest.approx(kilometres, abs=1e-8)


@pytest.mark.parametrize("off", [1e-12, 1e-9, 1e-6, 1e-3])
def test_places_near_and_nearly_opposite(off: float) -> None:
    """`off` degrees along the equator from the place, and from its antipode: both to all digits that degrees hold."""
    arc = np.deg2rad(off)
    assert apart((0, 0), (off, 0), 1.0) == pytest.approx(arc, rel=1e-12)
    assert np.pi - apart((0, 0), (180 - off, 0), 1.0) == pytest.approx(arc, abs=5e-14)
    assert apart((0, 40), (180, -40 + off), 1.0) == pytest.approx(np.pi - arc, abs=5e-14)


def test_small_triangles_are_plane() -> None:
    """A few hundred metres: great circle, chord and Pythagoras agree."""
    place = np.array([[8.0, 50.0], [8.002, 50.001], [7.999, 50.003]])
    plane = np.deg2rad(place - place[0]) * EARTH * np.array([np.cos(np.deg2rad(50.0)), 1.0])
    want = np.sqrt(((plane[:, None] - plane[None]) ** 2).sum(-1))
    np.testing.assert_allclose(great_circle(place), want, rtol=1e-4, atol=1e-9)
    np.testing.assert_allclose(chord(place), great_circle(place), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    "structure",
    [
        GreatCircle(),
        GreatCircle(decay="spherical"),
        GreatCircle(decay="matern", smoothness=0.25),
        GreatCircle(decay="matern", smoothness=0.5),
        ChordalMatern(smoothness=0.5),
        ChordalMatern(smoothness=1.5),
    ],
    ids=repr,
)
@pytest.mark.parametrize("reach", [300.0, 5e3, 3e4])
def test_positive_definite_all_over_the_globe(structure: Any, reach: float) -> None:
    sigma = structure.covariance(Phi({"variance": 1.0, "range": reach}), globe())
    assert np.linalg.eigvalsh(sigma)[0] > 0


@pytest.mark.parametrize("name", ["gaussian", "matern 3/2"])
def test_what_is_refused_is_not_positive_definite(name: str) -> None:
    """Why Gneiting's Table 1 leaves them out: with great-circle distances they have clearly negative eigenvalues."""
    u = great_circle(globe(400)) / 1e4
    sigma = np.exp(-(u**2)) if name == "gaussian" else (1 + np.sqrt(3) * u) * np.exp(-np.sqrt(3) * u)
    assert np.linalg.eigvalsh(sigma)[0] < -1e-3


def test_the_matern_of_one_half_is_the_exponential() -> None:
    phi, place = Phi({"variance": 2.0, "range": 2000.0}), globe(30)
    want = 2.0 * np.exp(-great_circle(place) / 2000.0)
    np.testing.assert_allclose(GreatCircle().covariance(phi, place), want, rtol=1e-13)
    np.testing.assert_allclose(GreatCircle(decay="matern").covariance(phi, place), want, rtol=1e-13)
    rough = ChordalMatern(smoothness=0.5).covariance(phi, place)
    np.testing.assert_allclose(rough, 2.0 * np.exp(-chord(place) / 2000.0), rtol=1e-13)


def test_a_fit_has_the_dense_likelihood() -> None:
    place = globe(60, seed=5)
    rng = np.random.default_rng(6)
    root = np.linalg.cholesky(4.0 * np.exp(-great_circle(place) / 4000.0) + np.eye(60))
    data = pd.DataFrame({"y": 10 + root @ rng.normal(size=60), "longitude": place[:, 0], "latitude": place[:, 1]})
    fit = mm.fit("y ~ 1", data, residual="great_circle(longitude + latitude | 1, nugget=True)")
    found = estimates(fit)
    nugget = found["residual.nugget"]
    rho = np.exp(-great_circle(place) / found["residual.range"])
    V = found["sigma"] ** 2 * ((1 - nugget) * rho + nugget * np.eye(60))
    assert fit.converged
    assert fit.loglike == pytest.approx(restricted_loglike(data["y"].to_numpy(), np.ones((60, 1)), V), abs=1e-8)


def test_on_the_random_side_and_with_options() -> None:
    place = globe(12, seed=8)
    rng = np.random.default_rng(9)
    data = pd.DataFrame(
        {"y": rng.normal(size=48), "year": np.repeat(range(4), 12), "longitude": np.tile(place[:, 0], 4)}
    ).assign(latitude=np.tile(place[:, 1], 4))
    term = "great_circle(0 + longitude + latitude | year, decay='matern', smoothness=0.3, radius=1000)"
    fit = mm.fit(f"y ~ 1 + {term}", data)
    found = estimates(fit)
    sigma = GreatCircle(decay="matern", smoothness=0.3, radius=1000.0).covariance(
        Phi({"variance": found["year.sd"] ** 2, "range": found["year.range"]}), place
    )
    V = np.kron(np.eye(4), sigma) + found["sigma"] ** 2 * np.eye(48)
    assert fit.loglike == pytest.approx(restricted_loglike(data["y"].to_numpy(), np.ones((48, 1)), V), abs=1e-7)


@pytest.mark.parametrize(
    ("cls", "options", "message"),
    [
        (GreatCircle, {"decay": "gaussian"}, "use chordal_matern"),
        (GreatCircle, {"decay": "matern", "smoothness": 1.5}, "smoothness=1.5; allowed: above 0, up to 0.5"),
        (GreatCircle, {"radius": 0.0}, "radius=0.0; allowed: above 0"),
        (ChordalMatern, {"smoothness": 60.0}, "up to 50"),
    ],
)
def test_wrong_options_are_told(cls: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cls(**options)


def test_wrong_places_are_told() -> None:
    data = pd.DataFrame({"y": [1.0, 2, 3, 4], "latitude": [10.0, 20, 95, 30], "longitude": [0.0, 1, 2, 3]})
    with pytest.raises(ValueError, match=r"a latitude of 95; allowed: -90 to 90 degrees\. Longitude comes first"):
        mm.fit("y ~ 1", data, residual="great_circle(longitude + latitude | 1)")
    with pytest.raises(ValueError, match="a latitude of -91"):
        great_circle([(0.0, -91.0)])
    with pytest.raises(ValueError, match="these points have 3"):
        chord([(0.0, 0.0, 0.0)])
