"""Cases with several grouping factors, crossed or nested: real data, and data made anew from fixed seeds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from case import Case, Term

REAL = Path(__file__).resolve().parents[2] / "tests" / "reference" / "data"


def _intercepts(*groups: str) -> tuple[Term, ...]:
    return tuple(Term("1", group) for group in groups)


def _pairs(
    rng: np.random.Generator, activity: np.ndarray, popularity: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """`count` different pairs in order: those that come first where each comes at the rate activity x popularity."""
    time = rng.standard_exponential((activity.size, popularity.size), dtype=np.float32)
    time /= activity.astype(np.float32)[:, None]
    time /= popularity.astype(np.float32)
    first = np.sort(np.argpartition(time.ravel(), count)[:count])
    row, column = np.divmod(first, popularity.size)
    return row, column


def _parents(rng: np.random.Generator, parents: int, children: int) -> np.ndarray:
    """The parent of each child in order: every parent has one child at least, the others fall anywhere."""
    rest = rng.integers(0, parents, children - parents)
    return np.sort(np.concatenate([np.arange(parents), rest]))


def penicillin() -> Case:
    about = "144 rows, every one of 24 plates with every one of 6 samples"
    data = pd.read_csv(REAL / "penicillin.csv")
    return Case("penicillin", about, data, "diameter ~ 1", _intercepts("plate", "sample"))


def pastes() -> Case:
    about = "60 rows, 30 samples nested in 10 batches"
    data = pd.read_csv(REAL / "pastes.csv")
    return Case("pastes", about, data, "strength ~ 1", _intercepts("batch", "sample"))


def insteval() -> Case:
    about = "73,421 ratings of 1,128 lecturers in 14 departments by 2,972 students, partly crossed"
    data = pd.read_csv(REAL / "insteval.csv.gz").astype(dict.fromkeys(("s", "d", "dept", "service"), "category"))
    return Case("insteval", about, data, "y ~ service", _intercepts("s", "d", "dept"))


def insteval_ml() -> Case:
    return replace(insteval(), name="insteval_ml", about="the rows of `insteval` by ML", reml=False)


def crossed_million() -> Case:
    """Some users rate thousands of items and some a few, some items are rated by nearly everybody."""
    about = "1,000,000 rows, 6,000 users crossed with 3,700 items, skewed as ratings of films are; no pair twice"
    rng = np.random.default_rng(8)
    user, item = _pairs(rng, rng.lognormal(0.0, 1.0, 6_000), rng.lognormal(0.0, 1.2, 3_700), 1_000_000)
    x, b_user, b_item = rng.standard_normal(user.size), rng.standard_normal(6_000), rng.standard_normal(3_700)
    y = 1.0 + 0.5 * x + 0.5 * b_user[user] + 0.7 * b_item[item] + rng.standard_normal(user.size)
    data = pd.DataFrame({"y": y, "x": x, "user": user, "item": item})
    return Case("crossed_million", about, data, "y ~ x", _intercepts("user", "item"), reml=False)


def nested_large() -> Case:
    """Columns with numbers of their own for every classroom and pupil, so that nothing says they are nested."""
    about = "500,000 rows, 100,000 pupils in 20,000 classrooms in 1,000 schools, all of uneven sizes"
    rng = np.random.default_rng(9)
    pupil = _parents(rng, 100_000, 500_000)
    classroom = _parents(rng, 20_000, 100_000)[pupil]
    school = _parents(rng, 1_000, 20_000)[classroom]
    x = rng.standard_normal(pupil.size)
    y = 1.0 + 0.5 * x + rng.standard_normal(pupil.size)
    for sd, levels, at in ((0.4, 1_000, school), (0.6, 20_000, classroom), (0.8, 100_000, pupil)):
        y += sd * rng.standard_normal(levels)[at]
    data = pd.DataFrame({"y": y, "x": x, "school": school, "classroom": classroom, "pupil": pupil})
    return Case("nested_large", about, data, "y ~ x", _intercepts("school", "classroom", "pupil"), reml=False)


def crossed_slopes() -> Case:
    about = "100,000 rows, 2,000 subjects crossed with 200 items, random intercept and slope for both"
    rng = np.random.default_rng(10)
    subject, item = _pairs(rng, np.ones(2_000), np.ones(200), 100_000)
    x = rng.standard_normal(subject.size)
    y = 1.0 + 0.5 * x + rng.standard_normal(subject.size)
    for sd, levels, at in ((1.0, 2_000, subject), (0.7, 200, item)):
        b = sd * rng.standard_normal((levels, 2))
        y += b[at, 0] + 0.5 * (0.3 * b[at, 0] + np.sqrt(1 - 0.3**2) * b[at, 1]) * x
    data = pd.DataFrame({"y": y, "x": x, "subject": subject, "item": item})
    return Case("crossed_slopes", about, data, "y ~ x", (Term("x", "subject"), Term("x", "item")))
