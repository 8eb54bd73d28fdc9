"""Where the time of a fit goes: its phases, as a fit of mmframe itself counts them, and on request its functions.

`python contrib/benchmarks/profile_fit.py CASE --repeats 20 --functions 25 --threads 1`
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from threads import option, use_threads

if TYPE_CHECKING:
    from case import Case

TOTAL = "mmframe.fit"


def _fit(case: Case) -> Any:
    import mmframe

    return mmframe.fit(case.formula, case.data, reml=case.reml, residual=case.residual)


def phases(case: Case, seconds: dict[str, list[float]]) -> str:
    """One fit, whose phases are added to `seconds`; returns how often the criterion was asked for, and by what engine."""
    fresh = replace(case, data=case.data.copy())  # no fit finds what an earlier one left on the table
    began = time.perf_counter()
    told = _fit(fresh).diagnostics
    seconds.setdefault(TOTAL, []).append(time.perf_counter() - began)
    for name, value in told.phases["seconds"].items():
        seconds.setdefault(name, []).append(value)
    return f"engine {told.engine}, {told.line}"


def report(seconds: dict[str, list[float]]) -> str:
    """Medians by phase and their share of the whole fit; `elsewhere` is what no phase holds, such as reading a formula."""
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    total = medians.pop(TOTAL)
    medians["elsewhere"] = total - sum(medians.values())
    lines = [f"{name:12s} {1e3 * t:10.3f} ms {t / total:7.1%}" for name, t in medians.items()]
    return "\n".join([*lines, f"{TOTAL:12s} {1e3 * total:10.3f} ms"])


def main() -> None:
    from cases import CASES

    parser = argparse.ArgumentParser(description="Time the phases of an mmframe fit.", parents=[option()])
    parser.add_argument("case", choices=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--functions", type=int, default=0, metavar="N", help="also the N functions with the most own time"
    )
    given = parser.parse_args()
    case = CASES[given.case]()
    phases(case, {})
    seconds: dict[str, list[float]] = {}
    counts = ""
    for _ in range(given.repeats):
        counts = phases(case, seconds)
    print(
        f"{case.name}: {case.formula}{f', residual {case.residual}' if case.residual else ''}, medians of {given.repeats}"
    )
    print(report(seconds))
    print(counts)
    if given.functions:
        profile = cProfile.Profile()
        with profile:
            for _ in range(given.repeats):
                _fit(case)
        print(f"\n{given.repeats} fits under the profiler, which slows small calls down:")
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(given.functions)


if __name__ == "__main__":
    use_threads()
    main()
