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


def _compare(found: pd.DataFrame, expected: list[dict[str, Any]], estimate: str, relative: float, p_abs: float) -> None:
    assert len(found) == len(expected)
    for (_, ours), theirs in zip(found.iterrows(), expected, strict=True):
        error = theirs["SE"]
        assert ours["estimate"] == pytest.approx(theirs[estimate], abs=relative * error), theirs
        assert ours["std_error"] == pytest.approx(error, rel=relative), theirs
        assert ours["df"] == pytest.approx(theirs["df"], rel=relative), theirs
        for name, end in (("lower", "lower.CL"), ("upper", "upper.CL")):
            assert ours[name] == pytest.approx(theirs[end], abs=max(1e-4, 10 * relative) * error), theirs
        assert ours["statistic"] == pytest.approx(theirs["t.ratio"], rel=relative, abs=relative), theirs
        assert ours["p_value"] == pytest.approx(theirs["p.value"], rel=200 * relative, abs=p_abs), theirs


@each("emmeans")
def test_marginal_means(case_id: str) -> None:
    """emmeans's means, pairwise differences with and without Tukey's adjustment, and contrasts of one's own."""
    case, fit = BY_ID[case_id], fitted(case_id)
    relative = max(DF, 10 * case["tolerance"]["se_rel"])
    for test in case["expected"]["emmeans"]:
        how: dict[str, Any] = {"df": test["df_method"].replace("-", "_"), "at": (test["args"] or {}).get("at")}
        found = fit.emmeans(test["specs"], **how)
        named = [str(row[test["specs"]]) for row in test["means"]]
        assert found[test["specs"]].astype(str).tolist() == named
        _compare(found, test["means"], "emmean", relative, 1e-12)
        if "pairwise_none" in test:
            pairs = fit.emmeans(test["specs"], contrast="pairwise", adjust="none", **how)
            assert pairs["contrast"].tolist() == [r["contrast"] for r in test["pairwise_none"]]
            _compare(pairs, test["pairwise_none"], "estimate", relative, 1e-12)
            # both programs integrate the studentized range to about 1e-10
            _compare(
                fit.emmeans(test["specs"], contrast="pairwise", **how),
                test["pairwise_tukey"],
                "estimate",
                relative,
                1e-8,
            )
        if "custom_contrasts" in test:
            own = fit.emmeans(test["specs"], contrast=test["custom_contrasts"]["coefs"], **how)
            assert own["contrast"].tolist() == [r["contrast"] for r in test["custom_contrasts"]["rows"]]
            _compare(own, test["custom_contrasts"]["rows"], "estimate", relative, 1e-12)
        for row in test.get("joint_tests", []):
            ours = _row(fit.anova(df=how["df"]), row["model term"])
            assert [ours["num_df"], ours["den_df"]] == pytest.approx([row["df1"], row["df2"]], rel=relative)
            assert ours["statistic"] == pytest.approx(row["F.ratio"], abs=5.1e-4)  # three decimals were printed
            assert ours["p_value"] == pytest.approx(row["p.value"], rel=200 * relative)
