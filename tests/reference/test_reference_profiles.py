"""Profile intervals of the reference cases: by root search on a dense likelihood, and lme4's, which are interpolated."""

from __future__ import annotations

import re

import pytest

from tests.reference.cases import BY_ID, fitted
from tests.reference.test_reference_cases import each
from tests.reference.test_reference_inference import labels_of


def name_of(case_id: str, theirs: str) -> str:
    """Our name of lme4's `sd_(Intercept)|g`, `cor_x.(Intercept)|g`, `sigma` or a coefficient."""
    label = labels_of(case_id) | {"(Intercept)": "Intercept"}
    found = re.match(r"^(sd|cor)_(.+)\|(.+)$", theirs)
    if found is None:
        return label.get(theirs, theirs)
    kind, basis, group = found.groups()
    if kind == "sd":
        return f"sd({label.get(basis, basis)} | {group})"
    return "corr({}, {} | {})".format(*(label.get(b, b) for b in basis.split(".", 1)), group)


@each("profile_ci95")
def test_profile_intervals(case_id: str) -> None:
    """To the digits of the source: 1e-6 of the width of root searches, 1e-3 of lme4's splines."""
    case, fit = BY_ID[case_id], fitted(case_id)
    expected = {name_of(case_id, row["par"]): row for row in case["expected"]["profile_ci95"]}
    found = fit.conf_int("profile", parameters=expected)
    relative = 2e-6 if "root search" in case["expected"]["profile_note"] else 1e-3
    assert len(found) == len(expected)
    for (_, ours), theirs in zip(found.iterrows(), expected.values(), strict=True):
        allowed = relative * (theirs["upper"] - theirs["lower"])
        assert [ours["lower"], ours["upper"]] == pytest.approx([theirs["lower"], theirs["upper"]], abs=allowed), theirs
        assert bool(ours["lower_at_bound"]) == (theirs["lower"] == 0) and not ours["upper_at_bound"]


@each("profile_ci95_lme4")
def test_lme4_s_splines(case_id: str) -> None:
    """lme4's ends are interpolated: near one another except where a lower end is near zero."""
    fit = fitted(case_id)
    expected = {name_of(case_id, row["par"]): row for row in BY_ID[case_id]["expected"]["profile_ci95_lme4"]}
    found = fit.conf_int("profile", parameters=expected)
    for (_, ours), theirs in zip(found.iterrows(), expected.values(), strict=True):
        width = theirs["upper"] - theirs["lower"]
        assert ours["upper"] == pytest.approx(theirs["upper"], abs=1e-3 * width), theirs
        assert ours["lower"] == pytest.approx(theirs["lower"], abs=3e-3 * width), theirs
