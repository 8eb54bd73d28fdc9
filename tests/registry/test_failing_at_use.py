"""Plugins that load, and fail in the middle of a fit: who it was is said, and nobody else is blamed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from attrs import frozen

import mmframe as mm
from mmframe.api import (
    POSITION,
    CovarianceStructure,
    Interval,
    LogElementwise,
    OptimizerStage,
    Param,
    Positive,
    StageOutcome,
    StopReason,
    lags,
)
from mmframe.plugins.parameterizations.cholesky import Cholesky

DATA = mm.datasets.load("sleepstudy")


@frozen
class Serial(CovarianceStructure):
    """variance * rho^lag; `method` is the one that fails."""

    name = "serial"
    index_kind = POSITION
    method: str = ""

    def _fail(self, method: str) -> None:
        if self.method == method:
            raise KeyError(f"in {method}")

    def params(self, points: Any) -> Any:
        self._fail("params")
        return Param("variance", Positive(), scale_power=2), Param("rho", Interval(0, 1))

    def covariance(self, phi: Any, index: Any) -> Any:
        self._fail("covariance")
        return phi.variance * phi.rho ** lags(index)

    def jacobian(self, phi: Any, index: Any) -> Any:
        self._fail("jacobian")
        return NotImplemented

    def project(self, target: Any, index: Any) -> Any:
        self._fail("project")
        return NotImplemented

    def markov(self, points: Any) -> Any:
        self._fail("markov")
        return False


def model(structure: CovarianceStructure, *stages: Any, residual: bool = False, **options: Any) -> mm.Model:
    builder = mm.ModelBuilder().fixed("Reaction ~ Days")
    if residual:
        builder = builder.residual("Days | Subject", structure=structure)
    else:
        builder = builder.random("0 + Days | Subject", structure=structure, **options)
    return builder.stages(*(stages or ("newton",))).build(DATA)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("method", ["params", "covariance", "jacobian"])
def test_a_structure_that_raises_is_named_with_its_method(method: str, residual: bool) -> None:
    with pytest.raises(mm.PluginError) as caught:
        model(Serial(method=method), residual=residual).fit()
    assert str(caught.value).startswith(f"the covariance structure 'serial' ({__name__}.Serial), in ")
    assert f"raised KeyError: 'in {method}'" in str(caught.value)
    assert isinstance(caught.value.__cause__, KeyError), "what it raised is kept"


def test_project_and_markov_are_named_too() -> None:
    with pytest.raises(mm.PluginError, match="in project"):
        model(Serial(method="project"), "em", "newton").fit()
    with pytest.raises(mm.PluginError, match="in markov"):
        model(Serial(method="markov"), residual=True)


def test_points_that_a_structure_does_not_take_are_the_users_business() -> None:
    class Picky(Serial):
        def params(self, points: Any) -> Any:
            raise ValueError("it takes three points")

    with pytest.raises(mm.SpecError, match="it takes three points"):
        model(Picky())


class BadCoordinates(Cholesky):
    name = "bad_coordinates"

    def bijection(self, param: Any) -> Any:
        raise LookupError("no coordinates")


def test_a_parameterization_that_raises_is_named() -> None:
    with pytest.raises(
        mm.PluginError, match=r"parameterization 'bad_coordinates'.*in bijection\(\), raised LookupError"
    ):
        model(Serial(), parameterization=BadCoordinates())


def test_coordinates_that_are_none_are_named() -> None:
    class Nothing(Cholesky):
        name = "nothing"

        def bijection(self, param: Any) -> Any:
            return None

    with pytest.raises(
        mm.PluginError, match=r"parameterization 'nothing' gave None for 'variance'; allowed: a Bijection"
    ):
        model(Serial(), parameterization=Nothing())


@frozen
class Stage(OptimizerStage):
    name = "mine"
    bounded = True
    finishes = False

    does: Any = None

    def run(self, problem: Any, theta: Any, monitor: Any) -> Any:
        return self.does(problem, theta, monitor)


def fit_with(does: Any) -> mm.FitResult:
    return model(Serial(), Stage(does), "newton").fit()


def test_a_stage_that_raises_is_named() -> None:
    with pytest.raises(mm.PluginError, match=r"stage 'mine'.*in run\(\), raised ZeroDivisionError"):
        fit_with(lambda problem, theta, monitor: 1 / 0)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "returned None; allowed: a StageOutcome"),
        (np.zeros(3), "returned array"),
        (StageOutcome(np.zeros(17), StopReason.CONVERGED), r"returned θ .* of shape \(17,\); allowed: numbers \(2,\)"),
    ],
)
def test_a_stage_that_returns_something_else_is_named(given: Any, said: str) -> None:
    with pytest.raises(mm.PluginError, match=said):
        fit_with(lambda problem, theta, monitor: given)


@pytest.mark.parametrize("theta", [np.zeros(17), np.zeros((1, 2)), np.array(["a", "b"]), np.zeros(2, dtype=complex)])
def test_a_stage_that_asks_at_what_is_no_point_is_told(theta: Any) -> None:
    with pytest.raises(mm.PluginError, match=r"the stage 'mine' asked for −2 log L at an array"):
        fit_with(lambda problem, start, monitor: problem.value(theta))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_a_stage_that_ends_nowhere_loses_nothing(value: float) -> None:
    plain = model(Serial(), "newton").fit()
    found = fit_with(lambda p, theta, m: StageOutcome(np.full_like(theta, value), StopReason.CONVERGED))
    assert found.converged and found.loglike == pytest.approx(plain.loglike, abs=1e-8)


def _new_points(problem: Any, theta: Any, monitor: Any) -> None:
    k = 0
    while True:
        k += 1
        problem.value(theta * (1.0 + 1e-9 * k))


def _same_point(problem: Any, theta: Any, monitor: Any) -> None:
    while True:
        problem.value(theta)


def _em(problem: Any, theta: Any, monitor: Any) -> None:
    while True:
        theta = problem.em_update(theta)


def _steps(problem: Any, theta: Any, monitor: Any) -> None:
    while True:
        monitor.step(theta, 1e9)


@pytest.mark.parametrize("does", [_new_points, _same_point, _em, _steps], ids=lambda f: f.__name__)
def test_a_stage_that_never_ends_is_ended(does: Any) -> None:
    found = model(Serial(), Stage(does)).find(2_000)
    assert "budget of evaluations" in found.reason


@pytest.mark.parametrize("does", [_new_points, _steps], ids=lambda f: f.__name__)
def test_a_stage_that_does_not_heed_the_end_is_named(does: Any) -> None:
    def deaf(problem: Any, theta: Any, monitor: Any) -> Any:
        while True:
            try:
                does(problem, theta, monitor)
            except Exception:
                continue

    with pytest.raises(mm.PluginError, match="the stage 'mine' goes on after its budget"):
        model(Serial(), Stage(deaf)).find(2_000)


@pytest.mark.parametrize(
    ("does", "said"),
    [
        (lambda p, t, m: StageOutcome(t, "converged"), "the reason 'converged'; allowed: a StopReason"),
        (lambda p, t, m: StageOutcome(["a", "b"], StopReason.CONVERGED), r"θ \['a', 'b'\]"),
        (lambda p, t, m: StageOutcome([[1], [2, 3]], StopReason.CONVERGED), "allowed: numbers"),
        (lambda p, t, m: m.step(t, None), "told the monitor"),
        (lambda p, t, m: m.step(t, "x"), "told the monitor"),
        (lambda p, t, m: m.step(t, 1.0, np.zeros(2)), "told the monitor"),
        (lambda p, t, m: p.value([[1], [2, 3]]), "asked for −2 log L at"),
    ],
)
def test_what_a_stage_says_is_looked_at(does: Any, said: str) -> None:
    with pytest.raises(mm.PluginError, match=f"(?s)the stage 'mine'.*{said}"):
        fit_with(does)


def gives(method: str, value: Any) -> CovarianceStructure:
    return type("Gives", (Serial,), {method: lambda self, *_: value})()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    ("method", "value", "said"),
    [
        ("params", None, r"params\(\) gave None; allowed: a tuple of Param"),
        ("params", (1, 2), "allowed: a tuple of Param"),
        ("params", (Param("a", Positive(), 2), Param("a", Positive(), 2)), "each once"),
        ("covariance", "text", "covariance"),
        ("covariance", np.full((10, 10), np.nan), "not finite"),
        ("covariance", np.eye(10) + 1j, "complex128"),
        ("covariance", np.triu(np.ones((10, 10))) + 9 * np.eye(10), "not symmetric"),
        ("jacobian", None, "gave NoneType; allowed: a mapping"),
        ("jacobian", np.zeros((2, 10, 10)), "gave ndarray; allowed: a mapping"),
        ("jacobian", {"variance": np.ones((10, 10))}, "has no 'rho'"),
        ("jacobian", {"variance": np.ones((10, 10)), "rho": np.ones(3)}, r"\['rho'\] is an array \(3,\)"),
        ("report", 3, r"report\(\) gave 3; allowed: a mapping"),
        ("report", {1: 2.0}, "allowed: a mapping by name"),
    ],
)
def test_what_a_structure_gives_is_looked_at_once(method: str, value: Any, said: str, residual: bool) -> None:
    with pytest.raises(mm.PluginError, match=f"the covariance structure 'serial'.*{said}"):
        model(gives(method, value), residual=residual).fit().parameters  # noqa: B018


def test_project_and_markov_give_what_they_must() -> None:
    with pytest.raises(mm.PluginError, match=r"project\(\) gave 3"):
        model(gives("project", 3)).fit()
    with pytest.raises(mm.PluginError, match=r"project\(\) has no 'rho'"):
        model(gives("project", {"variance": 1.0})).fit()
    with pytest.raises(mm.PluginError, match=r"markov\(\) gave"):
        model(gives("markov", np.ones(2)), residual=True)
    nan = {"variance": float("nan"), "rho": 0.5}
    assert model(gives("project", nan)).fit().converged, "a search takes its place"


@pytest.mark.parametrize(
    ("member", "value", "said"),
    [
        ("size", 3, "size is 3; allowed: 1"),
        ("lower", np.zeros(2), "lower is"),
        ("forward", lambda self, theta: None, r"forward\(\) gave None"),
        ("inverse", lambda self, value: np.zeros((1, 1)), r"inverse\(\) gave array"),
        ("jacobian", lambda self, theta: np.zeros(3), r"jacobian\(\) gave array"),
        ("curvature", lambda self, theta, adjoint: None, r"curvature\(\) gave None"),
    ],
)
def test_what_coordinates_give_is_looked_at_once(member: str, value: Any, said: str) -> None:
    coordinates = type("Odd", (LogElementwise,), {member: value})

    class Coordinates(Cholesky):
        name = "odd"

        def bijection(self, param: Any) -> Any:
            return coordinates(param.domain)

    with pytest.raises(mm.PluginError, match=f"the parameterization 'odd'.*{said}"):
        model(Serial(), parameterization=Coordinates())


def test_an_instance_keeps_the_rules_that_registered_classes_keep() -> None:
    class Wrong(Cholesky):
        name = "wrong"
        scale = "relative"  # type: ignore[assignment]

    with pytest.raises(mm.PluginError, match="declares scale = 'relative'; allowed: RELATIVE, ABSOLUTE"):
        model(Serial(), parameterization=Wrong())
    with pytest.raises(mm.PluginError, match="declares index_kind = 'position'"):
        model(type("Wrong", (Serial,), {"index_kind": "position"})())


def test_a_matrix_of_the_wrong_shape_is_not_broadcast() -> None:
    class Flat(Serial):
        def covariance(self, phi: Any, index: Any) -> Any:
            return Serial.covariance(self, phi, index).reshape(-1)

    with pytest.raises(
        mm.PluginError, match=r"covariance\(\) gave an array \(100,\) of float64 for an index \(10, 1\)"
    ):
        model(Flat()).fit()


def test_the_users_own_callback_is_not_a_plugin() -> None:
    def stop(_: Any) -> None:
        raise RuntimeError("enough")

    stage = Stage(lambda problem, theta, monitor: monitor.step(theta, problem.value(theta)))
    with pytest.raises(RuntimeError, match="enough"):
        model(Serial(), stage, "newton").fit(on_step=stop)


def test_an_interruption_goes_through() -> None:
    def interrupt(problem: Any, theta: Any, monitor: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit_with(interrupt)
