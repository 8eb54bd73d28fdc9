"""Observers: they hear of a fit, each alone; one that fails is warned of once, and changes no number."""

from __future__ import annotations

import types
from typing import Any

import pytest

import mmframe as mm
from mmframe.api import TraceRow, hookimpl
from mmframe.registry import loader
from mmframe.registry.registry import Registry


def watching(**observers: Any) -> mm.ModelBuilder:
    records = [loader.examined(loader.PluginRecord(n, n, "1.0", None, o)) for n, o in observers.items()]
    registry = Registry.from_records((*loader.built_ins(), *records))
    assert not registry.failures
    return mm.ModelBuilder(registry=registry).fixed("Reaction ~ Days + (Days | Subject)").stages("em", "newton")


def fit(builder: mm.ModelBuilder) -> mm.FitResult:
    return builder.build(mm.datasets.load("sleepstudy")).fit()


class Recorder:
    """Everything that can be heard."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []

    @hookimpl
    def mmframe_fit_started(self, model: mm.Model) -> None:
        self.heard.append(("started", (model.spec.formula, model.design.n)))

    @hookimpl
    def mmframe_iteration(self, row: TraceRow) -> None:
        self.heard.append(("iteration", row))

    @hookimpl
    def mmframe_stage_finished(self, name: str, outcome: Any, value: float) -> None:
        self.heard.append(("stage", (name, outcome.reason.name, value)))

    @hookimpl
    def mmframe_fit_finished(self, result: Any) -> None:
        self.heard.append(("finished", result))


def test_they_hear_of_the_whole_fit_in_its_order() -> None:
    recorder = Recorder()
    result = fit(watching(recorder=recorder))
    kinds = [kind for kind, _ in recorder.heard]
    assert kinds[0] == "started" and kinds[-1] == "finished"
    assert recorder.heard[0][1] == ("Reaction ~ Days", 180)
    assert recorder.heard[-1][1] is result
    rows = [row for kind, row in recorder.heard if kind == "iteration"]
    written = result.trace[result.trace["stage"] != "start"]
    assert [(r.stage, r.iteration, r.value) for r in rows] == list(
        written[["stage", "iteration", "value"]].itertuples(index=False, name=None)
    )
    stages = [said for kind, said in recorder.heard if kind == "stage"]
    assert [name for name, *_ in stages] == ["em", "newton"]
    # −2 REML log L of lme4, sleepstudy: 1743.6283 (Bates et al. 2015, Journal of Statistical Software 67, section 5)
    assert stages[-1][2] == pytest.approx(1743.6283, abs=1e-4)


class Breaking:
    """Fails in every hook, and in the middle of what it is shown."""

    def __init__(self) -> None:
        self.calls = 0

    @hookimpl
    def mmframe_iteration(self, row: TraceRow) -> None:
        self.calls += 1
        raise OSError("no space left on the disk")

    @hookimpl
    def mmframe_fit_finished(self, result: Any) -> None:
        self.calls += 1


def test_one_that_fails_is_warned_of_once_and_the_others_hear_on() -> None:
    plain = fit(watching())
    breaking, recorder = Breaking(), Recorder()
    with pytest.warns(UserWarning, match="breaking/breaking failed in mmframe_iteration.*no space left") as said:
        found = fit(watching(breaking=breaking, recorder=recorder))
    assert len(said) == 1
    assert breaking.calls == 1, "it hears no more of this fit"
    assert [kind for kind, _ in recorder.heard].count("iteration") == len(found.trace) - 1
    columns = ["stage", "iteration", "evaluations", "value"]
    assert found.trace[columns].equals(plain.trace[columns]), "every number is as without observers"
    assert found.loglike == plain.loglike
    assert found.parameters.equals(plain.parameters)


def test_one_that_writes_into_what_it_is_shown_changes_no_number() -> None:
    class Writing:
        @hookimpl
        def mmframe_stage_finished(self, outcome: Any) -> None:
            outcome.theta[:] = -7.0

    plain, found = fit(watching()), fit(watching(writing=Writing()))
    assert found.parameters.equals(plain.parameters)


def test_one_that_failed_hears_of_the_next_fit() -> None:
    breaking = Breaking()
    model = watching(breaking=breaking).build(mm.datasets.load("sleepstudy"))
    for calls in (1, 2):
        with pytest.warns(UserWarning, match="no space left"):
            model.fit()
        assert breaking.calls == calls


def test_one_that_calls_exit_does_not_end_the_fit() -> None:
    class Exiting:
        @hookimpl
        def mmframe_iteration(self, row: TraceRow) -> None:
            raise SystemExit(5)

    with pytest.warns(UserWarning, match="SystemExit: 5"):
        assert fit(watching(exiting=Exiting())).converged


def test_a_fit_that_an_observer_makes_is_told_to_nobody() -> None:
    class Fitting:
        made = 0

        @hookimpl
        def mmframe_fit_finished(self, result: Any) -> None:
            type(self).made += 1
            fit(builder)

    builder = watching(fitting=Fitting())
    fit(builder)
    assert Fitting.made == 1


def test_what_fits_many_times_does_not_tell_each_refit() -> None:
    recorder = Recorder()
    result = fit(watching(recorder=recorder))
    told = len(recorder.heard)
    result.conf_int("profile")
    assert len(recorder.heard) == told


def test_an_observer_may_be_an_object_or_a_module() -> None:
    heard = []

    @hookimpl
    def mmframe_fit_finished(result: Any) -> None:
        heard.append(result.converged)

    module = types.ModuleType("watch")
    module.mmframe_fit_finished = mmframe_fit_finished  # type: ignore[attr-defined]
    fit(watching(module=module))
    assert heard == [True]
