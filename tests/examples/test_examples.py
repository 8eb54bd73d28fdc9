"""The examples: each specification fits as it stands, and by the schedule em 20, gradient 5, cg."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

import mmframe as mm
from mmframe.registry.registry import default_registry
from mmframe.resolution import resolve
from mmframe.spec.model import Choice
from tests.reference.cases import BY_ID

EXAMPLES = Path(__file__).parents[2] / "examples"
SCHEDULE = (Choice("em", {"max_iterations": 20}), Choice("gradient", {"max_iterations": 5}), Choice("cg"))
# lme4 1.1-31, Newton-polished: the reference cases of the same models.
EXPECTED = {
    "sleepstudy.yaml": "sleepstudy_rs_reml",
    "dietox.yaml": "dietox_rs_reml",
    "penicillin.yaml": "penicillin_reml",
}


def test_every_example_has_its_reference() -> None:
    assert {p.name for p in EXAMPLES.glob("*.yaml")} == set(EXPECTED)


@pytest.mark.parametrize("name", list(EXPECTED))
@pytest.mark.parametrize("schedule", ["its own", "em, gradient, cg", "default"])
def test_an_example_reaches_its_reference(name: str, schedule: str) -> None:
    spec = mm.load_spec(EXAMPLES / name)
    resolve(spec, default_registry())
    if schedule != "its own":
        spec = attrs.evolve(spec, stages=SCHEDULE if schedule.startswith("em") else None)
    fit = mm.fit_spec(spec)
    expected = BY_ID[EXPECTED[name]]["expected"]
    assert fit.loglike == pytest.approx(expected["loglik"], abs=1e-5)
    assert fit.sigma == pytest.approx(expected["sigma"], rel=1e-4)
    assert fit.converged


@pytest.mark.parametrize("name", ["sleepstudy", "dietox"])
def test_an_examples_data_are_the_data_set(name: str) -> None:
    """The file beside the specification is the one that `mmframe.datasets` ships."""
    shipped = Path(mm.datasets.__file__).parent / f"{name}.csv"
    assert (EXAMPLES / f"{name}.csv").read_bytes() == shipped.read_bytes()


def test_the_data_of_penicillin_are_those_of_its_reference() -> None:
    reference = Path(__file__).parents[1] / "reference" / BY_ID["penicillin_reml"]["data"]
    assert (EXAMPLES / "penicillin.csv").read_bytes() == reference.read_bytes()
