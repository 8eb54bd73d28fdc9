"""nlme, in a process of R's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from r_adapter import RPackage

if TYPE_CHECKING:
    from case import Case


class Nlme(RPackage):
    """`gls` without random effects, `lme` with those of one grouping factor, which is also that of the residuals."""

    name = "nlme"
    structures = frozenset({"us", "ar1", "car1"})
    # A fit of `mmrm_20000` took 138 s.
    slow = frozenset({"mmrm_20000", "mmrm_200000"})

    def unable(self, case: Case) -> str:
        if case.within is None:
            return "it is here for structures of the residuals"
        if len(case.random) > 1:
            return "it does not take crossed random effects together with a structure of the residuals"
        if case.random and case.random[0].group != case.within.group:
            return "its residuals have the groups of the random effects"
        return super().unable(case)

    def call(self, case: Case) -> str:
        within = case.within
        assert within is not None
        form = f"form = ~ {within.points} | {within.group}"
        if within.structure == "us":
            position = f"form = ~ as.integer({within.points}) | {within.group}"
            residual = f"corSymm({position}), weights = varIdent(form = ~ 1 | {within.points})"
        else:
            residual = f"{'corAR1' if within.structure == 'ar1' else 'corCAR1'}({form})"
        end = f"data, correlation = {residual}, method = '{'REML' if case.reml else 'ML'}')"
        if not case.random:
            return f"gls({case.fixed}, {end}"
        (term,) = case.random
        return f"lme({case.fixed}, random = ~ {term.basis} | {term.group}, {end}"
