"""The conformance kit, one test a rule: in full for the stages that take seconds, and for the others by `pytest -m slow`."""

from __future__ import annotations

import mmframe_optimizers
import pytest
from mmframe_optimizers import BOBYQA, COBYQA, PyBOBYQA, Subplex, TrustRegion

from mmframe.testing import Case, conformance_cases

FAST = (BOBYQA(), TrustRegion())
SLOW = (COBYQA(), PyBOBYQA(), Subplex(), TrustRegion(subproblem="krylov"), TrustRegion(subproblem="ncg"))
# The rule that fits every structure in every parameterization; a search without derivatives takes a minute for it.
LONG = "optimum"


def marked(case: Case, fast: bool) -> object:
    slow = pytest.mark.slow if case.rule.name == LONG and not fast else ()
    return pytest.param(case, marks=slow, id=f"{case} {case.plugin!r}"[:60])


@pytest.mark.parametrize(
    "case", [marked(case, stage in FAST) for stage in (*FAST, *SLOW) for case in conformance_cases(stage)]
)
def test_conformance(case: Case) -> None:
    case.check()


def test_every_registered_stage_is_checked() -> None:
    assert {type(s) for s in (*FAST, *SLOW)} == set(mmframe_optimizers.mmframe_optimizer_stages())
