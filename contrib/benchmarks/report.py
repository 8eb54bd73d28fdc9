"""Reports: outcomes as a table of text, as Markdown and as JSON, with the machine they come from."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from measure import Outcome, Series
from threads import threads


def machine() -> dict[str, Any]:
    """The processor's model, its cores, and what runs on it."""
    model = platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        model = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model)
    return {
        "cpu": model or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
    }


def machine_line() -> str:
    m = machine()
    used = f"{m['threads']} thread{'s' * (m['threads'] > 1)} used"
    return f"{m['cpu']}, {m['cores']} cores, {used}; Python {m['python']}, {m['platform']}"


def time_text(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms" if seconds < 1 else f"{seconds:.3f} s"


def _memory_text(peak: int | None) -> str:
    return "-" if peak is None else f"{peak / 2**20:.0f} MB"


def _row(series: Series, reference: Series | None, memory: bool) -> list[str]:
    seconds = series.seconds
    cells = [
        f"{series.system} {series.version}",
        str(len(seconds)),
        *(time_text(x) for x in (statistics.median(seconds), min(seconds), max(seconds))),
        "-" if reference is None else f"{series.ratio_to(reference):.2f}",
        f"{series.loglike:.6f}",
        "-" if reference is None else f"{series.loglike - reference.loglike:+.1e}",
    ]
    return [*cells, _memory_text(series.peak)] if memory else cells


def _table(outcome: Outcome) -> tuple[list[str], list[list[str]]]:
    memory = outcome.baseline is not None
    head = [
        "system",
        "fits",
        "median",
        "min",
        "max",
        "ratio",
        "log-likelihood",
        "difference",
        *(["peak"] if memory else []),
    ]
    return head, [_row(series, outcome.reference, memory) for series in outcome.series]


def _title(outcome: Outcome, mark: str = "") -> str:
    """mark: what stands around code."""
    case = outcome.case
    criterion = "REML" if case.reml else "ML"
    groups = " + ".join(f"{count:,}" for count in case.levels)
    residual = f", residual {mark}{case.residual}{mark}" if case.residual else ""
    return f"{mark}{case.formula}{mark}{residual}, {criterion}, {len(case.data):,} rows, {groups} groups"


def _footnote(outcome: Outcome) -> str:
    return f"A process that only loads the data: {_memory_text(outcome.baseline)}." if outcome.baseline else ""


def text(outcome: Outcome) -> str:
    head, rows = _table(outcome)
    widths = [max(len(row[j]) for row in [head, *rows]) for j in range(len(head))]
    lines = [f"{outcome.case.name}: {_title(outcome)}"]
    for row in [head, *rows]:
        cells = [c.ljust(w) if j == 0 else c.rjust(w) for j, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  " + "  ".join(cells))
    return "\n".join([*lines, _footnote(outcome)]).rstrip()


def markdown(outcome: Outcome) -> str:
    head, rows = _table(outcome)
    lines = [
        f"### `{outcome.case.name}`",
        "",
        _title(outcome, "`"),
        "",
    ]
    lines += [f"| {' | '.join(head)} |", "|:--" + "|--:" * (len(head) - 1) + "|"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*lines, "", _footnote(outcome)]).rstrip()


def as_json(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Every single time, so that other summaries can be made later."""

    def one(series: Series, reference: Series | None) -> dict[str, Any]:
        return {
            "system": series.system,
            "version": series.version,
            "seconds": series.seconds,
            "median": statistics.median(series.seconds),
            "min": min(series.seconds),
            "max": max(series.seconds),
            "ratio": None if reference is None else series.ratio_to(reference),
            "loglike": series.loglike,
            "reported_loglike": series.reported,
            "difference": None if reference is None else series.loglike - reference.loglike,
            "peak_bytes": series.peak,
        }

    return {
        "machine": machine(),
        "cases": [
            {
                "case": outcome.case.name,
                "formula": outcome.case.formula,
                "residual": outcome.case.residual,
                "reml": outcome.case.reml,
                "rows": len(outcome.case.data),
                "groups": outcome.case.levels,
                "data_peak_bytes": outcome.baseline,
                "systems": [one(series, outcome.reference) for series in outcome.series],
            }
            for outcome in outcomes
        ],
    }
