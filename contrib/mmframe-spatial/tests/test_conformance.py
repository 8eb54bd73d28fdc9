"""The conformance kit, one test a rule, on all that the package registers and on each of its options."""

from __future__ import annotations

import importlib.metadata
from typing import Any

import pytest
from mmframe_spatial import Anisotropic, ChordalMatern, GreatCircle, MaternNu

from mmframe.testing import Case, conformance_cases

# The kit's points are within three degrees of each other. A small ball puts its ranges, 0.5 to 2.5, among their distances.
BALL = 30.0
STRUCTURES = [
    Anisotropic(),
    Anisotropic(nugget=True),
    Anisotropic(decay="gaussian", nugget=True),
    Anisotropic(decay="spherical"),
    Anisotropic(decay="matern", smoothness=0.8),
    Anisotropic(angle=30.0),
    Anisotropic(angle=-70.0, decay="spherical", nugget=True),
    Anisotropic(angle=30.0, ratio=0.5, nugget=True),
    MaternNu(),
    MaternNu(nugget=True),
    GreatCircle(radius=BALL, nugget=True),
    GreatCircle(radius=BALL, decay="spherical"),
    GreatCircle(radius=BALL, decay="matern", smoothness=0.3),
    ChordalMatern(radius=BALL),
    ChordalMatern(radius=BALL, smoothness=0.7, nugget=True),
]


# At 1, 2, 3 and 5 points, and with options that change no more than numbers, at 1, 3 and 5.
PLAIN = (Anisotropic(), MaternNu(), MaternNu(nugget=True), Anisotropic(angle=30.0))


def cases() -> list[Any]:
    every = [c for s in STRUCTURES for c in conformance_cases(s, sizes=(1, 2, 3, 5) if s in PLAIN else (1, 3, 5))]
    return [pytest.param(case, id=f"{case.plugin!r} {case.rule.name}") for case in every]


@pytest.mark.parametrize("case", cases())
def test_conformance(case: Case) -> None:
    case.check()


def test_everything_registered_is_checked() -> None:
    """The entry points of the package give these classes, and no others."""
    own = [
        e for e in importlib.metadata.entry_points(group="mmframe.v1") if e.dist and e.dist.name == "mmframe-spatial"
    ]
    registered = {cls for entry in own for cls in entry.load().mmframe_covariance_structures()}
    assert registered == {type(s) for s in STRUCTURES} == {Anisotropic, MaternNu, GreatCircle, ChordalMatern}
