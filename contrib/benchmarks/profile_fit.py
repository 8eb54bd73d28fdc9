"""Where the time of a fit goes: each layer called by itself, in the order of `mmframe.fit`.

`python contrib/benchmarks/profile_fit.py CASE --repeats 20 --functions 25 --threads 1`
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from threads import option, use_threads

if TYPE_CHECKING:
    from case import Case

TOTAL = "mmframe.fit"


class Clock:
    """Seconds by phase, one list entry a repeat."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds.setdefault(name, []).append(time.perf_counter() - began)


def phases(case: Case, clock: Clock) -> str:
    """One fit, layer by layer; returns how often the criterion was asked for."""
    from mmframe import builder, resolution
    from mmframe import model as model_layer
    from mmframe.design.assemble import assemble
    from mmframe.likelihood.threads import one_blas_thread
    from mmframe.optimize.pipeline import Pipeline
    from mmframe.optimize.start import starting_point
    from mmframe.registry.registry import default_registry

    registry = default_registry()
    with clock.phase("parse"):
        made = builder.ModelBuilder().fixed(case.formula).criterion("reml" if case.reml else "ml")
        spec = made.spec
    with clock.phase("resolve"):
        resolved = resolution.resolve(spec, registry)
    with clock.phase("assemble"):
        design = assemble(spec, case.data, tuple(s.index_kind for s in resolved.structures))
    with clock.phase("check"):
        resolution.check_identifiable(design, resolved.structures)
    with clock.phase("reduce"):
        engine = resolution.choose_engine(design, resolved.engines).reduce(design)
    with clock.phase("covariance"):
        covariance = model_layer.bind_covariance(spec, design, resolved)
        model = model_layer.Model(spec, design, engine, covariance, resolved.stages, registry)
    with one_blas_thread(), clock.phase("start"):
        start = starting_point(engine, covariance, reml=spec.reml)
    with one_blas_thread(), clock.phase("stages"):
        found = Pipeline(resolved.stages).run(engine, covariance, spec.reml, start)
    with clock.phase("result"):
        _ = model.result(found).loglike
    return f"{found.counts.values} values, {found.counts.gradients} gradients, {found.counts.hessians} Hessians"


def report(clock: Clock, counts: str) -> str:
    """Medians by phase and their share of the whole fit; `elsewhere` is what no phase holds, such as later checks."""
    medians = {name: statistics.median(seconds) for name, seconds in clock.seconds.items()}
    total = medians.pop(TOTAL)
    medians["elsewhere"] = total - sum(medians.values())
    lines = [f"{name:12s} {1e3 * t:10.3f} ms {t / total:7.1%}" for name, t in medians.items()]
    return "\n".join([*lines, f"{TOTAL:12s} {1e3 * total:10.3f} ms", f"in the stages: {counts}"])


def main() -> None:
    from cases import CASES

    import mmframe

    parser = argparse.ArgumentParser(description="Time the phases of an mmframe fit.", parents=[option()])
    parser.add_argument("case", choices=list(CASES), metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--functions", type=int, default=0, metavar="N", help="also the N functions with the most own time"
    )
    given = parser.parse_args()
    case = CASES[given.case]()
    phases(case, Clock())
    clock, counts = Clock(), ""
    for _ in range(given.repeats):
        counts = phases(case, clock)
        with clock.phase(TOTAL):
            mmframe.fit(case.formula, case.data, reml=case.reml)
    print(f"{case.name}: {case.formula}, medians of {given.repeats}")
    print(report(clock, counts))
    if given.functions:
        profile = cProfile.Profile()
        with profile:
            for _ in range(given.repeats):
                mmframe.fit(case.formula, case.data, reml=case.reml)
        print(f"\n{given.repeats} fits under the profiler, which slows small calls down:")
        pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(given.functions)


if __name__ == "__main__":
    use_threads()
    main()
