"""Many refits: each with a seed of its own, so that the numbers are the same however many workers share them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from attrs import evolve, frozen

from mmframe.covariance import report
from mmframe.covariance.domain import Array
from mmframe.errors import Issue, MmframeError, SpecError
from mmframe.likelihood.penalty import PenalizedEngine
from mmframe.model import Model
from mmframe.optimize.found import Found
from mmframe.results.progress import counted
from mmframe.results.result import FitResult

# Below so many seconds of work other processes take longer to start than they save.
_ALONE = 3.0


@frozen(eq=False)
class Refit:
    """One refit: what it gave, or why there is none.   singular: whether a parameter ended on a bound."""

    values: Array | None
    singular: bool = False
    reason: str = ""


def unfinished(found: Found) -> Refit:
    """Of stages that did not converge, with the last of what they said."""
    return Refit(None, found.singular, found.reason.rsplit("; ", 1)[-1])


Job = Callable[[np.random.Generator], Refit]


def base_model(fit: FitResult, where: str) -> Model:
    """As `model_near`, from moments where the fit ended at a bound: other responses may leave it."""
    model = model_near(fit, where)
    return evolve(model, warm=None) if fit.singular else model


def model_near(fit: FitResult, where: str) -> Model:
    """The model of a fit for refits near its end, by Newton's method. Raises StoreError for a saved fit, SpecError for one with
    penalties or held effects."""
    model = Model.of(fit).using(stages=("newton",))
    if isinstance(model.engine, PenalizedEngine):
        raise SpecError(Issue(where, "a fit with penalties or held fixed effects", "fits without them"))
    return model


def names_of(fit: FitResult) -> list[str]:
    """What `estimates_of` gives: covariance parameters, then fixed effects."""
    return [*map(str, fit.parameters["name"]), *fit.estimates.columns]


def estimates_of(model: Model, found: Found, names: list[str]) -> Array:
    """The parameters by name at what was found."""
    rows, flats = model.reported, found.point.flats
    values = dict(zip((r.name for r in rows), report.values(rows, model.covariance.terms, flats), strict=True))
    values.setdefault(report.SIGMA, float(np.sqrt(found.point.sigma2)))
    values |= dict(zip(model.design.columns, found.evaluation.beta, strict=True))
    return np.array([values[name] for name in names])


def check_count(where: str, n: Any) -> int:
    """Raises SpecError unless n is a whole number, 1 or more."""
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise SpecError(Issue(where, f"n={n!r}", "a whole number of refits, at least 1"))
    return int(n)


def run(job: Job, n: int, seed: int | None, workers: int | None, progress: bool, what: str) -> tuple[list[Refit], int]:
    """(n refits in order, the seed). seed: None for one of the system's, which can be given again.

    workers: processes; None for one where the work is short, else one a core.
    """
    if workers is not None and (isinstance(workers, bool) or not isinstance(workers, (int, np.integer)) or workers < 1):
        raise SpecError(Issue("workers", repr(workers), "a whole number of processes, at least 1, or None"))
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0):
        raise SpecError(Issue("seed", repr(seed), "a whole number, 0 or more, or None"))
    entropy = int(np.random.SeedSequence().entropy if seed is None else seed)  # type: ignore[arg-type]
    return list(counted(_each(job, n, entropy, workers), what, progress, n)), entropy


def _each(job: Job, n: int, entropy: int, workers: int | None) -> Iterator[Refit]:
    import joblib  # only who fits many times waits for it

    began = time.perf_counter()
    done = 0
    if workers is None or workers == 1:
        while done < n:
            yield _one(job, entropy, done)
            done += 1
            left = (time.perf_counter() - began) / done * (n - done)
            if workers is None and done >= 2 and left > _ALONE and joblib.cpu_count() > 1:
                break
    if done == n:
        return
    count = joblib.cpu_count() if workers is None else int(workers)
    size = max(1, min(50, (n - done) // (4 * count)))
    parts = [range(start, min(start + size, n)) for start in range(done, n, size)]
    pool = joblib.Parallel(n_jobs=count, return_as="generator")
    for found in pool(joblib.delayed(_some)(job, entropy, part) for part in parts):
        yield from found


def _some(job: Job, entropy: int, numbers: range) -> list[Refit]:
    return [_one(job, entropy, number) for number in numbers]


def _one(job: Job, entropy: int, number: int) -> Refit:
    rng = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(number,)))
    try:
        return job(rng)
    except (MmframeError, np.linalg.LinAlgError) as problem:
        return Refit(None, reason=str(problem).splitlines()[0])
