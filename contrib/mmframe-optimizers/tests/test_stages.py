"""What a stage does at edges: bounds, infinite values, few coordinates, budgets, exceptions, packages that are missing."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from mmframe_optimizers import BOBYQA, COBYQA, PyBOBYQA, Subplex, TrustRegion
from problems import Quadratic, values, watched

from mmframe.api import BudgetExhaustedError, MissingPackageError, OptimizerStage, StopReason

MODELS = (BOBYQA(), PyBOBYQA(), COBYQA())
BY_VALUES = (*MODELS, Subplex())
ALL = (*BY_VALUES, TrustRegion())
A = np.array([[1.0, 0.4, 0.0], [0.4, 2.0, -0.3], [0.0, -0.3, 0.5]])


def name(stage: OptimizerStage) -> str:
    return stage.name


@pytest.mark.parametrize("stage", ALL, ids=name)
def test_the_minimum_of_a_quadratic(stage: Any) -> None:
    problem = Quadratic([1.0, -2.0, 3.0], A)
    outcome = stage.run(problem, np.zeros(3), watched(problem))
    assert outcome.reason is StopReason.CONVERGED
    np.testing.assert_allclose(outcome.theta, problem.best, atol=1e-4)


@pytest.mark.parametrize("stage", BY_VALUES, ids=name)
@pytest.mark.parametrize("start", [[0.0, 0.0, 0.5], [2.0, 0.3, 1.0], [5.0, -1.0, 9.0]])
def test_the_minimum_in_a_box(stage: Any, start: Any) -> None:
    # the first coordinate ends at its upper bound; the starts are on the bounds, and outside
    problem = Quadratic([3.0, 0.5, 3.0], np.eye(3), lower=[0.0, 0.0, -np.inf], upper=[2.0, np.inf, np.inf])
    outcome = stage.run(problem, np.array(start), watched(problem))
    np.testing.assert_allclose(outcome.theta, [2.0, 0.5, 3.0], atol=1e-4)
    assert problem.outside_the_box == 0


@pytest.mark.parametrize("stage", BY_VALUES, ids=name)
def test_a_box_narrower_than_the_radius(stage: Any) -> None:
    problem = Quadratic([0.31, 5.0], np.eye(2), lower=[0.3, -10.0], upper=[0.4, 10.0])
    outcome = stage.run(problem, np.array([0.4, 0.0]), watched(problem))
    np.testing.assert_allclose(outcome.theta, problem.best, atol=1e-4)
    assert problem.outside_the_box == 0


@pytest.mark.parametrize("stage", ALL, ids=name)
def test_one_coordinate_and_none(stage: Any) -> None:
    one = Quadratic([0.7], [[2.0]])
    np.testing.assert_allclose(stage.run(one, np.array([-3.0]), watched(one)).theta, [0.7], atol=1e-4)
    none = Quadratic([], np.zeros((0, 0)))
    outcome = stage.run(none, np.zeros(0), watched(none))
    assert outcome.reason is StopReason.NOTHING_TO_DO and outcome.theta.size == 0


@pytest.mark.parametrize("stage", ALL, ids=name)
def test_infinite_values_off_the_domain(stage: Any) -> None:
    # a disc around the best point, which the first steps from its edge leave
    problem = Quadratic([1.0, 1.0, 1.0], A, inside=lambda u: np.sum((u - 1.0) ** 2) < 3.5)
    outcome = stage.run(problem, np.array([2.7, 1.3, 1.0]), watched(problem))
    np.testing.assert_allclose(outcome.theta, problem.best, atol=1e-4)


@pytest.mark.parametrize("stage", BY_VALUES, ids=name)
def test_a_start_off_the_domain_is_an_outcome(stage: Any) -> None:
    problem = Quadratic([1.0, 1.0], np.eye(2), inside=lambda u: False)
    outcome = stage.run(problem, np.zeros(2), watched(problem))
    np.testing.assert_array_equal(outcome.theta, [0.0, 0.0])


def test_a_hessian_that_is_not_finite_is_an_outcome() -> None:
    problem = Quadratic([1.0, 1.0], np.eye(2))
    problem.hessian = lambda theta: np.full((2, 2), np.nan)  # type: ignore[method-assign]
    outcome = TrustRegion().run(problem, np.zeros(2), watched(problem))  # type: ignore[arg-type]
    assert outcome.reason is StopReason.NO_PROGRESS and "Hessian" in outcome.message


@pytest.mark.parametrize("stage", ALL, ids=name)
def test_the_budget_ends_it_and_the_best_point_is_kept(stage: Any) -> None:
    problem = Quadratic([40.0, -4.0, 4.0], A)
    monitor = watched(problem, budget=9)
    with pytest.raises(BudgetExhaustedError):
        stage.run(problem, np.zeros(3), monitor)
    assert monitor.rows[-1].evaluations >= 9 > (monitor.rows[-2].evaluations if len(monitor.rows) > 1 else 0)
    assert monitor.best_theta is not None
    assert monitor.best_value == problem.value(monitor.best_theta) < problem.value(np.zeros(3))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
@pytest.mark.parametrize("stage", ALL, ids=name)
def test_exceptions_come_out_as_themselves(stage: Any, error: type[BaseException]) -> None:
    def stop(row: Any) -> None:
        raise error("from the monitor")

    problem = Quadratic([4.0, -4.0, 4.0], A)
    with pytest.raises(error, match="from the monitor"):
        stage.run(problem, np.zeros(3), watched(problem, on_step=stop))


@pytest.mark.parametrize("stage", BY_VALUES, ids=name)
def test_evaluations_are_counted_and_limited(stage: Any) -> None:
    problem = Quadratic([4.0, -4.0, 4.0], A)
    monitor = watched(problem)
    limited = type(stage)(max_evaluations=15)
    outcome = limited.run(problem, np.zeros(3), monitor)
    assert outcome.reason is StopReason.ITERATIONS and len(monitor.rows) <= 15
    assert problem.asked == len(monitor.rows) + 1  # and the start
    assert np.all(np.diff(values(monitor.rows)) <= 0.0)


def test_iterations_of_the_trust_region_are_limited() -> None:
    problem = Quadratic([40.0, -4.0, 4.0], A)
    monitor = watched(problem)
    outcome = TrustRegion(max_iterations=2).run(problem, np.zeros(3), monitor)  # type: ignore[arg-type]
    assert outcome.reason is StopReason.ITERATIONS and len(monitor.rows) == 2


@pytest.mark.parametrize("stage", BY_VALUES, ids=name)
def test_it_is_quiet_and_not_random(stage: Any, capfd: Any) -> None:
    def run() -> Any:
        problem = Quadratic([1.0, 1.0, 1.0], A, inside=lambda u: np.sum((u - 1.0) ** 2) < 3.5)
        monitor = watched(problem)
        stage.run(problem, np.array([2.7, 1.3, 1.0]), monitor)
        return values(monitor.rows)

    np.random.seed(1)  # noqa: NPY002 -- the global state, which Py-BOBYQA could draw from
    before = np.random.get_state()[1].copy()  # type: ignore[index] # noqa: NPY002
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = run(), run()
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # type: ignore[index] # noqa: NPY002
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("stage", "module", "extra"),
    [(BOBYQA(), "nlopt", "nlopt"), (Subplex(), "nlopt", "nlopt"), (PyBOBYQA(), "pybobyqa", "pybobyqa")],
)
def test_a_missing_package_is_named_where_it_is_needed(stage: Any, module: str, extra: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    problem = Quadratic([1.0], [[1.0]])
    with pytest.raises(
        MissingPackageError, match=rf"stage '{stage.name}'.*pip install 'mmframe-optimizers\[{extra}\]'"
    ):
        stage.run(problem, np.zeros(1), watched(problem))


def test_the_other_stages_load_without_the_packages() -> None:
    code = (
        "import sys; sys.modules['nlopt'] = sys.modules['pybobyqa'] = None; import mmframe as mm; "
        "fit = mm.fit('Reaction ~ Days + (Days | Subject)', mm.datasets.load('sleepstudy'), stages=['cobyqa']); "
        "print(fit.converged)"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True"], done.stderr
