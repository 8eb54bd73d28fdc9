"""mmrm, in a process of R's. Written from its documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from r_adapter import RPackage

if TYPE_CHECKING:
    from case import Case

# mmrm's names of the structures by mmframe's. Its `sp_exp` in one dimension is `car1`; its `ar1` takes a factor.
_NAMES = {"us": "us", "car1": "sp_exp"}


class Mmrm(RPackage):
    name = "mmrm"
    structures = frozenset(_NAMES)

    def unable(self, case: Case) -> str:
        if case.within is None or case.random:
            return "it has structures of the residuals only, no random effects"
        return super().unable(case)

    def call(self, case: Case) -> str:
        within = case.within
        assert within is not None
        term = f"{_NAMES[within.structure]}({within.points} | {within.group})"
        return f"mmrm({case.fixed} + {term}, data, reml = {'TRUE' if case.reml else 'FALSE'})"
