"""A bar on a terminal: the stage, the iteration, −2 log L, and by how much the last iteration lowered it."""

from __future__ import annotations

from attrs import define, field
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from mmframe_trace.events import Event


@define(eq=False)
class Bar:
    """One line a fit. The bar fills by stages: how many iterations a stage takes nobody knows before."""

    console: Console = field(factory=lambda: Console(stderr=True))
    _progress: Progress | None = None
    _tasks: dict[str, TaskID] = field(factory=dict)
    _last: dict[str, float] = field(factory=dict)

    def tell(self, fit: str, event: Event) -> None:
        if self._progress is None:
            columns = (TextColumn("{task.description}"), BarColumn(bar_width=20), TimeElapsedColumn())
            self._progress = Progress(*columns, console=self.console)
            self._progress.start()
        kind = event["event"]
        if kind == "fit_started":
            self._tasks[fit] = self._progress.add_task(event["formula"], total=len(event["stages"]))
        elif kind == "iteration":
            self._progress.update(self._tasks[fit], description=self._said(fit, event))
        elif kind == "stage_finished":
            self._progress.update(self._tasks[fit], advance=1)
        else:
            said = f"−2 log L {-2 * event['loglike']:.4f}, {'converged' if event['converged'] else 'not converged'}"
            task = self._tasks.pop(fit)
            total = self._progress.tasks[list(self._progress.task_ids).index(task)].total
            self._progress.update(task, description=said, completed=total)

    def _said(self, fit: str, event: Event) -> str:
        value = event["value"]
        if value is None:
            return f"{event['stage']} {event['iteration']}: −2 log L is not finite"
        fell = self._last.get(fit, value) - value
        self._last[fit] = value
        return f"{event['stage']} {event['iteration']}: −2 log L {value:.4f}, lower by {fell:.1e}"

    def close(self) -> None:
        """Leave the last state on the screen."""
        if self._progress is not None:
            self._progress.stop()
