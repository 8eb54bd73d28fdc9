"""Adapters: one small class a system, and all of them by name.

Systems are imported inside the methods, so that one which is not installed is only left out.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING

from adapter import Adapter, OneFactor
from gpboost_adapter import GPBoost
from lme4_adapter import Lme4
from mmrm_adapter import Mmrm
from nlme_adapter import Nlme

if TYPE_CHECKING:
    from case import Case


class Mmframe(Adapter):
    name = "mmframe"
    module = "mmframe"
    structures = frozenset({"us", "ar1", "car1"})

    def fit(self, case: Case) -> float:
        import mmframe

        loglike = mmframe.fit(case.formula, case.data, reml=case.reml, residual=case.residual).loglike
        assert loglike is not None
        return loglike


class MixedlmRs(OneFactor):
    name = "mixedlm-rs"
    module = "mixedlm_rs"

    def fit(self, case: Case) -> float:
        import mixedlm_rs

        (term,) = case.random
        model = mixedlm_rs.mixedlm(case.fixed, case.data, groups=term.group, re_formula=f"~{term.basis}")
        return float(model.fit(reml=case.reml).llf)


class Mixedlm(Adapter):
    name = "mixedlm"
    module = "mixedlm"
    # It was stopped after three minutes.
    slow = frozenset({"crossed_million"})

    def fit(self, case: Case) -> float:
        import mixedlm

        return float(mixedlm.lmer(case.formula, case.data, REML=case.reml).logLik().value)


class LmePython(Adapter):
    name = "lme-python"
    module = "lme_python"
    # It was stopped after four minutes with `insteval` and after two with `crossed_slopes`.
    slow = frozenset({"insteval", "insteval_ml", "crossed_million", "crossed_slopes"})

    def fit(self, case: Case) -> float:
        import lme_python

        loglike = lme_python.lmer(case.formula, data=case.data, reml=case.reml).log_likelihood
        assert loglike is not None
        return loglike


class Face(OneFactor):
    """mmframe's own MixedLM, called as `Statsmodels` calls statsmodels'."""

    name = "mmframe-mixedlm"
    module = "mmframe"

    def version(self) -> str:
        return metadata.version("mmframe")

    def fit(self, case: Case) -> float:
        from mmframe.compat.statsmodels import mixedlm

        (term,) = case.random
        model = mixedlm(case.fixed, case.data, groups=term.group, re_formula=f"~{term.basis}")
        return model.fit(reml=case.reml).llf


class Statsmodels(OneFactor):
    """Several grouping factors would be variance components of one group with all rows, which no case here is for."""

    name = "statsmodels"
    module = "statsmodels"
    # About half a second for each thousand rows of small groups.
    row_limit = 20_000

    def fit(self, case: Case) -> float:
        import statsmodels.formula.api as smf  # type: ignore[import-untyped]

        (term,) = case.random
        model = smf.mixedlm(case.fixed, case.data, groups=term.group, re_formula=f"~{term.basis}")
        return float(model.fit(reml=case.reml).llf)


ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter
    for adapter in (
        Mmframe(),
        MixedlmRs(),
        Mixedlm(),
        LmePython(),
        GPBoost(),
        Face(),
        Statsmodels(),
        Lme4(),
        Nlme(),
        Mmrm(),
    )
}
REFERENCE = Mmframe.name
