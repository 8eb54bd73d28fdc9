"""The kit catches what is wrong: each wrong plugin breaks the rule that is meant for it, and the failure says what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mmframe.errors import SpecError
from mmframe.testing import Case, ConformanceError, check, conformance_cases
from tests.conformance import wrong

# (the plugin, the rule that it breaks, what is found)
WRONG: list[tuple[type, str, str]] = [
    (wrong.NotSymmetric, "symmetric", r"not symmetric: Σ\[\d, \d\]"),
    (wrong.WrongDomain, "edges", "near its edge Σ has the eigenvalue -"),
    (wrong.NotNearItsEdge, "edges", "eigenvalue -"),
    (wrong.OnALineOnly, "many_points", "at 64 points.*eigenvalue -"),
    (wrong.WrongJacobian, "jacobian", r"∂Σ/∂rho \(analytic\) differs"),
    (wrong.TransposedJacobian, "jacobian", "it raised|shape"),
    (wrong.WrongScalePower, "scale_power", "is not c² Σ"),
    (wrong.NoScale, "scale_power", "no parameter carries the scale"),
    (wrong.OrderDependent, "points", r"Σ of the points \[.*\] is not that part"),
    (wrong.SortsItsIndex, "pure", r"covariance\(\) changed its index"),
    (wrong.ChangesItsParameters, "pure", "changed its parameters|two calls"),
    (wrong.Random, "pure", "two calls gave two matrices"),
    (wrong.NotStacked, "stacks", "has the shape"),
    (wrong.AVector, "shape", r"has the shape \(1,\), not \(1, 1\)"),
    (wrong.NotFinite, "shape", "Σ is not finite"),
    (wrong.NotMarkov, "markov", "far from the diagonal"),
    (wrong.Redundant, "identifiable", "3 parameters, which Σ does not tell apart"),
    (wrong.RepeatedNames, "parameters", "names repeat"),
    (wrong.WrongProjection, "projection", r"project\(\) reaches"),
    (wrong.BadReport, "report", r"report\(\) gives.*nan"),
    (wrong.FewCustomary, "customary", "1 numbers for 2 parameters"),
    (wrong.Raises, "shape", "it raised KeyError: 'rho'"),
    (wrong.NotFrozen, "names", "'power' can be changed"),
    (wrong.NoFields, "names", r"keeps \['power'\] that are no attrs fields"),
    (wrong.BadName, "names", "it cannot be registered: BadName has the name 'Bad-Name'"),
    (wrong.NotDiagonal, "diagonal", "a variance function is diagonal"),
    (wrong.ScaledVariance, "parameters", "carries no scale"),
    (wrong.WrongPull, "jacobian", r"jacobian\(\) differs from differences"),
    (wrong.WrongCurve, "curvature", r"curvature\(\) differs from differences"),
    (wrong.NoInverse, "round_trip", r"forward\(inverse\(value\)\) is"),
    (wrong.TightBounds, "bounds", "outside"),
    (wrong.ShortBounds, "sizes", r"lower has the shape \(1,\), not \(3,\)"),
    (wrong.Leaves, "domain", "without an OutsideDomainError"),
    (wrong.NoBoundary, "boundary", "nan"),
    (wrong.WritesTheta, "pure", "θ was changed"),
    (wrong.NoScaleDeclared, "name_and_scale", "declares scale = 'relative'; allowed: RELATIVE, ABSOLUTE"),
    (wrong.ReturnsAnywhere, "never_worse", "−2 log L rose from"),
    (wrong.WritesIntoTheta, "pure", "changed the θ that it was given"),
    (wrong.ReturnsTheta, "outcome", r"run\(\) returned array"),
    (wrong.ReturnsAMatrix, "outcome", r"has the shape \(1, \d\)"),
    (wrong.Silent, "monitor", "told the monitor of none"),
    (wrong.Boasts, "monitor", "it told the monitor"),
    (wrong.LeavesTheBounds, "bounds", "bounded = True, and it asked at"),
    (wrong.ClaimsToFinish, "finishes", "finishes = True, and it stopped"),
    (wrong.SwallowsTheEnd, "budget", "it asked \\d+ times more"),
    (wrong.NoFlag, "flags", "declares finishes = None; allowed: True or False"),
]
RIGHT = [wrong.Right, wrong.RightVariance, wrong.RightCoordinates, wrong.RightSquares, wrong.RightStage]


def case_of(plugin: Any, rule: str) -> Case:
    (found,) = [c for c in conformance_cases(plugin) if c.rule.name == rule]
    return found


@pytest.mark.parametrize(("plugin", "rule", "said"), WRONG, ids=lambda v: getattr(v, "__name__", None))
def test_a_wrong_plugin_is_caught_with_what_to_do(plugin: type, rule: str, said: str) -> None:
    with pytest.raises(ConformanceError) as caught:
        case_of(plugin, rule).check()
    name, found, remedy, again = str(caught.value).splitlines()
    assert name.startswith(f"rule {rule!r}: ") and found.startswith("found: ") and remedy.startswith("to do: ")
    assert re.search(said, found), found
    assert len(remedy) > len("to do: ") + 20
    with pytest.raises(ConformanceError) as repeated:  # the line shows the same again
        exec(again.removeprefix("again: "), {})
    assert str(repeated.value).splitlines()[0] == name
    assert again.startswith(f"again: from tests.conformance.wrong import {plugin.__name__}; ")


@pytest.mark.parametrize("plugin", RIGHT, ids=lambda p: p.__name__)
def test_the_right_ones_that_they_come_from_pass(plugin: type) -> None:
    rules = [c.rule.name for c in conformance_cases(plugin) if c.rule.name != "optimum"]  # that takes a while
    assert len(check(plugin, rules=rules)) == len(rules)


def test_every_rule_is_broken_by_a_wrong_plugin() -> None:
    """No check that cannot fail. What compares with the dense engine is shown by the test below."""
    broken = {rule for _, rule, _ in WRONG}
    every = {c.rule.name for plugin in RIGHT for c in conformance_cases(plugin)}
    assert every - broken == {"positive_definite", "optimum", "likelihood"} | {
        name for name in every if name.startswith("likelihood_")
    }


def test_a_matrix_that_is_not_definite_inside_is_caught() -> None:
    class Falls(wrong.Right):
        def covariance(self, phi: Any, index: Any) -> Any:
            return wrong.Right.covariance(self, phi, index) - 0.9 * phi.variance

    with pytest.raises(ConformanceError, match=r"(?s)positive_definite.*eigenvalue -.*narrow the domain"):
        case_of(Falls(), "positive_definite").check()


@pytest.mark.parametrize("rule", ["likelihood_cholesky", "likelihood_natural"])
def test_the_likelihood_catches_a_wrong_derivative(rule: str) -> None:
    with pytest.raises(ConformanceError, match=r"gradient|Hessian"):
        case_of(wrong.WrongJacobian(), rule).check()


def test_the_likelihood_catches_wrong_coordinates() -> None:
    with pytest.raises(ConformanceError, match="gradient"):
        case_of(wrong.WrongPull(), "likelihood").check()


def test_a_stage_that_does_not_finish_is_caught_by_the_optimum() -> None:
    with pytest.raises(ConformanceError, match=r"from the optimum|left to gain|not an optimum"):
        case_of(wrong.ClaimsToFinish(), "optimum").check()


def test_options_are_written_into_the_line_that_shows_it_again() -> None:
    line = case_of(wrong.Right(power=0.5), "edges").again
    assert line == (
        "from tests.conformance.wrong import Right; from mmframe.testing import check;"
        " check(Right(power=0.5), rules=['edges'], sizes=(1, 2, 3, 5))"
    )


def test_an_unknown_rule_is_an_error_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="did you mean 'symmetric'"):
        check(wrong.Right(), rules=["symetric"])


def test_what_is_no_plugin_is_an_error() -> None:
    with pytest.raises(TypeError, match="not a covariance structure"):
        conformance_cases(42)


@pytest.mark.parametrize("case", conformance_cases(wrong.Right(power=0.5), sizes=(3,)), ids=str)
def test_parametrised_as_authors_do(case: Case) -> None:
    case.check()
