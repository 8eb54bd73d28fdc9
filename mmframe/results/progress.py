"""Progress on a terminal; silence elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, track

from mmframe.optimize.stage import TraceRow


@contextmanager
def terminal_progress() -> Iterator[Callable[[TraceRow], None] | None]:
    """A line with stage, iteration and −2 log L on standard error; None where that is not a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("fitting", total=None)

        def show(row: TraceRow) -> None:
            progress.update(task, description=f"{row.stage} {row.iteration}: −2 log L = {row.value:.6f}")

        yield show


_Item = TypeVar("_Item")


def counted(items: Iterable[_Item], what: str, progress: bool, total: int | None = None) -> Iterable[_Item]:
    """The items, with a bar on standard error that counts them, where that is asked for and is a terminal."""
    console = Console(stderr=True)
    if not (progress and console.is_terminal):
        return items
    return track(items, description=what, total=total, console=console, transient=True)
