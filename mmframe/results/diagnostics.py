"""Diagnostics: what a fit cost, and where the time went."""

from __future__ import annotations

import pandas as pd
from attrs import frozen

from mmframe.results.estimates import Estimates


@frozen(eq=False)
class Diagnostics:
    """What a fit cost.

    evaluations: how often the engine gave values, gradients (with the value) and Hessians (with both) to the stages and
    the check; the one pass that the moments of the start may take is in the time of `start` only.
    seconds: of all phases.   phases: a table phase x (seconds, share). `design` assembles the matrices, `reduce` makes
    the engine's statistics (and its plan), `start` finds and evaluates the starting values, then come the stages by name,
    with ` (cover)` where one was continued in coordinates without bounds; `check` examines the end.
    """

    engine: str
    evaluations: dict[str, int]
    seconds: float
    phases: pd.DataFrame

    @property
    def total_evaluations(self) -> int:
        return sum(self.evaluations.values())

    @property
    def line(self) -> str:
        """Evaluations and time in one line."""
        kinds = ", ".join(f"{kind} {count}" for kind, count in self.evaluations.items())
        return f"evaluations: {self.total_evaluations} ({kinds}) in {self.seconds:.3g} seconds"

    def __str__(self) -> str:
        shown = pd.DataFrame(
            {
                "seconds": [f"{v:.3g}" for v in self.phases["seconds"]],
                "share": [f"{v:.1%}" for v in self.phases["share"]],
            },
            index=self.phases.index,
        ).rename_axis(None)
        return f"engine: {self.engine}\n{self.line}" + (f"\n{shown}" if len(shown) else "")


def diagnostics(e: Estimates) -> Diagnostics:
    """The diagnostics of estimates; a fit that was saved without its phases has an empty table."""
    seconds = pd.Series(e.phases, dtype=float)
    phases = pd.DataFrame({"seconds": seconds, "share": seconds / e.seconds}).rename_axis("phase")
    return Diagnostics(e.engine, dict(e.evaluations), e.seconds, phases)
