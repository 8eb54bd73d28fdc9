"""The bar: what it shows, and that it ends."""

from __future__ import annotations

import io

import mmframe_trace
import pytest
from mmframe_trace.bar import Bar
from rich.console import Console

import mmframe as mm

FORMULA = "Reaction ~ Days + (Days | Subject)"
DATA = mm.datasets.load("sleepstudy")


def test_it_shows_where_a_fit_is_and_how_it_ended() -> None:
    out = io.StringIO()
    with mmframe_trace.showing(Bar(Console(file=out, force_terminal=True, width=120))):
        fit = mm.fit(FORMULA, DATA, stages=["em", "newton"])
    text = out.getvalue()
    assert f"−2 log L {fit.deviance:.4f}, converged" in text


def test_each_iteration_is_said() -> None:
    bar = Bar(Console(file=io.StringIO(), width=120))
    said = []
    for iteration, value in enumerate([10.0, 4.0, None]):
        event = {"event": "iteration", "stage": "em", "iteration": iteration, "value": value}
        said.append(bar._said("a", event))
    assert said == [
        "em 0: −2 log L 10.0000, lower by 0.0e+00",
        "em 1: −2 log L 4.0000, lower by 6.0e+00",
        "em 2: −2 log L is not finite",
    ]


def test_it_ends_where_a_fit_fails() -> None:
    bar = Bar(Console(file=io.StringIO(), force_terminal=True, width=120))

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    model = mm.ModelBuilder().fixed(FORMULA).stages("em").build(DATA)
    with pytest.raises(KeyboardInterrupt), mmframe_trace.showing(bar):
        model.fit(on_step=stop)
    assert bar._progress is not None and not bar._progress.live.is_started
