"""Models with a structured residual on generated data: missing and irregular points, strata, weights, and random effects that
are of the subject, above it, below it, or crossed with it."""

from __future__ import annotations

import numpy as np
import pandas as pd

import mmframe as mm


def table(seed: int = 1, subjects: int = 24) -> pd.DataFrame:
    """Subjects in schools, up to five visits each, rows in no order; `t` are irregular times, `x` a covariate."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, size=subjects)
    s = np.repeat(np.arange(subjects), sizes)
    visit = np.concatenate([np.sort(rng.choice(5, size=k, replace=False)) + 1 for k in sizes])
    n = s.size
    data = pd.DataFrame(
        {
            "s": s,
            "school": s // 4,
            "item": rng.integers(0, 6, size=n),
            "arm": np.where(s % 2 == 0, "a", "b"),
            "visit": visit,
            "t": visit + rng.uniform(-0.3, 0.3, size=n),
            "u": rng.uniform(0.0, 3.0, size=n),
            "x": rng.normal(2.0, 1.0, size=n),
            "w": rng.uniform(0.5, 2.0, size=n),
            "v": rng.uniform(0.5, 2.0, size=n),
            "trait": np.where(rng.random(n) < 0.5, "p", "q"),
        }
    )
    data["y"] = 3.0 + data["x"] + rng.normal(size=subjects)[s] + rng.normal(size=6)[s // 4] + rng.normal(size=n)
    return data.sample(frac=1.0, random_state=seed).reset_index(drop=True)


# name: (random terms, residual, variance, weights)
MODELS: dict[str, tuple[tuple[str, ...], str | None, str | None, str | None]] = {
    "us": ((), "us(visit | s)", None, None),
    "ar1": ((), "ar1(visit | s)", None, None),
    "car1 irregular": ((), "car1(t | s)", None, "w"),
    "toep by arm": ((), "toep(visit | s, by=arm)", None, None),
    "sp_exp, nugget": ((), "sp_exp(t + u | s, nugget=True)", None, None),
    "sp_gau of all rows": ((), "sp_gau(t + u | 1, nugget=True)", None, None),
    "ident": ((), None, "ident(arm)", None),
    "ident x power": ((), "ar1(visit | s)", "ident(arm) * power(v)", "w"),
    "intercept, ar1": (("1 | s",), "ar1(visit | s)", None, None),
    "slope, exp": (("1 + x | s",), None, "exp(x)", "w"),
    "slope, csh": (("1 + x || s",), "csh(visit | s)", None, None),
    "above: school": (("1 | school",), "car1(t | s)", None, None),
    "nested: school/s": (("1 + x | school", "1 | s"), "ar1(visit | s)", "ident(arm)", None),
    "crossed: item": (("1 | item",), "ar1(visit | s)", None, "w"),
    "crossed: item + s": (("1 | item", "1 | s"), None, "power(v)", None),
    "crossed: school, item, s, by arm": (("1 | s", "1 + x | item", "1 | school"), "ar1(visit | s, by=arm)", None, "w"),
    "sum": ((), "sum(car1(t), diag(trait) | s)", None, None),
    "heterogeneous": (("1 | school",), "heterogeneous(toep(visit) | s)", None, None),
    "G: ar1": (("ar1(0 + visit | s)",), None, "ident(arm)", None),
    "G: block": (("block(us(1 + x), ar1(0 + visit) | s)",), None, "ident(arm)", None),
    "G: kronecker": (("kronecker(us(0 + trait), ar1(0 + visit) | school)",), "cs(t | s)", None, None),
    "G: by": (("us(1 + x | school, by=arm)",), "ar1(visit | s)", None, None),
}
MODELS["kronecker"] = ((), "kronecker(us(trait), car1(t) | s)", None, None)


def build(name: str, engine: str | None, *, reml: bool = True, parameterization: str | None = None) -> mm.Model:
    random, residual, variance, weights = MODELS[name]
    builder = mm.ModelBuilder().fixed("y ~ x + arm").criterion("reml" if reml else "ml")
    for term in random:
        builder = builder.random(term)
    builder = builder.residual(residual).variance(variance).weights(weights).engine(engine)
    return builder.parameterization(parameterization).build(table())
