"""Tests of terms and marginal means of the reference cases, at their own tolerance: lmerTest's, pbkrtest's, SAS's and emmeans's."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from tests.reference.cases import BY_ID, fitted
from tests.reference.test_reference_cases import each
from tests.reference.test_reference_inference import DF

METHODS = {"Satterthwaite": "satterthwaite", "Kenward-Roger": "kenward_roger"}


def _factors(term: str) -> frozenset[str]:
    """The factors of a term whatever their order, with R's power as formulaic's."""
    plain = term.replace("**", "^").replace(" ", "").replace(",contr.sum", "").replace("C(", "(")
    return frozenset(part.removeprefix("(").removesuffix(")") for part in plain.split(":"))


def _row(table: pd.DataFrame, term: str) -> Any:
    found = [name for name in table.index if _factors(name) == _factors(term)]
    assert len(found) == 1, (term, list(table.index))
    return table.loc[found[0]]


@each("anova")
def test_anova(case_id: str) -> None:
    """F tests of types I, II and III; the sums of squares of lmerTest are F σ² times their degrees of freedom."""
    case, fit = BY_ID[case_id], fitted(case_id)
    relative = max(DF, 10 * case["tolerance"]["se_rel"])
    tables = {}
    for row in case["expected"]["anova"]:
        # some are named by what they test, which is type III for terms that are in no interaction
        how = (row["type"] if isinstance(row["type"], int) else 3, METHODS[row["df_method"]])
        if how not in tables:
            tables[how] = fit.anova(*how)
        found = _row(tables[how], row["term"])
        assert found["num_df"] == row["numdf"], row
        assert found["den_df"] == pytest.approx(row["dendf"], rel=relative), row
        assert found["statistic"] == pytest.approx(row["F"], rel=relative, abs=1e-9), row
        assert found["p_value"] == pytest.approx(row["p"], rel=200 * relative, abs=1e-12), row
        if "sumsq" in row and how[1] == "satterthwaite":  # Kenward and Roger's F is not of these sums
            assert found["statistic"] * fit.sigma2 * row["numdf"] == pytest.approx(
                row["sumsq"], rel=10 * relative, abs=1e-8 * fit.sigma2
            )
