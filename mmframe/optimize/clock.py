"""The clock: how many seconds each phase of a fit takes."""

from __future__ import annotations

import time

from attrs import define, field


@define(eq=False)
class Clock:
    """Seconds by phase, in the order in which the phases first end; phases of one name add up."""

    seconds: dict[str, float] = field(factory=dict)
    last: float = field(factory=time.perf_counter)

    def lap(self, phase: str) -> None:
        """The time since the last lap belongs to this phase."""
        now = time.perf_counter()
        self.seconds[phase] = self.seconds.get(phase, 0.0) + now - self.last
        self.last = now
