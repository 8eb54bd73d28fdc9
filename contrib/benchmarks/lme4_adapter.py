"""lme4, in a process of R's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from r_adapter import RPackage

if TYPE_CHECKING:
    from case import Case


class Lme4(RPackage):
    name = "lme4"
    # It was stopped after nine minutes.
    slow = frozenset({"crossed_million"})

    def call(self, case: Case) -> str:
        return f"lmer({case.formula}, data, REML = {'TRUE' if case.reml else 'FALSE'})"
