"""The printed summary of a fit: what was fitted, and a table of its parameters in the units of the data."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from mmframe.covariance.domain import Array

if TYPE_CHECKING:
    from mmframe.compat.results import MixedLMResults


class Summary:
    """Two tables: of the fit, and of its parameters. `tables` are DataFrames of text; `as_text`, `as_html`, `as_latex`."""

    def __init__(self, info: dict[str, str], parameters: pd.DataFrame, title: str) -> None:
        self.title = title
        half = (len(info) + 1) // 2
        items = list(info.items())
        left, right = items[:half], items[half:]
        right += [("", "")] * (len(left) - len(right))
        self.tables = [pd.DataFrame([[*a, *b] for a, b in zip(left, right, strict=True)]), parameters]

    def as_text(self) -> str:
        """Between lines of one width."""
        body = self.tables[1].to_string(justify="right").splitlines()
        cells = [[str(v) for v in row] for row in self.tables[0].to_numpy()]
        sizes = [max(len(row[j]) for row in cells) for j in range(4)]
        width = max(len(self.title), *(len(line) for line in body), sum(sizes) + 5)
        gap = width - sum(sizes) - 2
        head = [f"{a:<{sizes[0]}} {b:<{sizes[1]}}{'':<{gap}}{c:<{sizes[2]}} {d:<{sizes[3]}}" for a, b, c, d in cells]
        double, single = "=" * width, "-" * width
        lines = [self.title.center(width), double, *head, single, body[0], single, *body[1:], double]
        return "\n".join(line.rstrip() for line in lines) + "\n"

    def as_html(self) -> str:
        info, parameters = (
            self.tables[0].to_html(index=False, header=False, border=0),
            self.tables[1].to_html(border=0),
        )
        return f"<table><caption>{escape(self.title)}</caption></table>\n{info}\n{parameters}"

    def as_latex(self) -> str:
        """Two tabulars under a caption."""
        parts = [_tabular(self.tables[0].to_numpy().tolist(), "llll", None)]
        rows = [
            [name, *map(str, row)] for name, row in zip(self.tables[1].index, self.tables[1].to_numpy(), strict=True)
        ]
        parts.append(_tabular(rows, "l" + "r" * self.tables[1].shape[1], ["", *self.tables[1].columns]))
        return "\n".join(["\\begin{table}", f"\\caption{{{_tex(self.title)}}}", *parts, "\\end{table}"])

    def __str__(self) -> str:
        return self.as_text()

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.as_html()


def _tex(text: Any) -> str:
    out = str(text)
    for mark in "&%$#_{}":
        out = out.replace(mark, f"\\{mark}")
    return out.replace("|", "\\textbar{}").replace(">", "\\textgreater{}")


def _tabular(rows: list[list[Any]], columns: str, header: Sequence[str] | None) -> str:
    lines = [" & ".join(map(_tex, row)) + " \\\\" for row in rows]
    head = [" & ".join(map(_tex, header)) + " \\\\", "\\hline"] if header else []
    return "\n".join([f"\\begin{{tabular}}{{{columns}}}", "\\hline", *head, *lines, "\\hline", "\\end{tabular}"])


def parameter_frame(estimates: Array, errors: Array, k_fe: int, names: list[str], alpha: float) -> pd.DataFrame:
    """Slopes with z, p and interval; covariances with their errors only, whose law is far from normal."""
    with np.errstate(all="ignore"):
        z = np.where(np.arange(len(estimates)) < k_fe, estimates / errors, np.nan)
    half = norm.ppf(1 - alpha / 2) * np.where(np.isfinite(z), errors, np.nan)
    columns = {
        "Coef.": estimates, "Std.Err.": errors, "z": z, "P>|z|": 2 * norm.sf(np.abs(z)),
        f"[{alpha / 2}": estimates - half, f"{1 - alpha / 2}]": estimates + half,
    }  # fmt: skip
    return pd.DataFrame(
        {c: [f"{v:.3f}" if np.isfinite(v) else "" for v in values] for c, values in columns.items()}, index=names
    )


def summarize(
    results: MixedLMResults, yname: Any, xname_fe: Any, xname_re: Any, title: str | None, alpha: float
) -> Summary:
    """The summary of a fit. Raises ValueError for names of another number."""
    model = results.model
    names = list(model.data.param_names)
    for what, given, place in (
        ("xname_fe", xname_fe, slice(0, results.k_fe)),
        ("xname_re", xname_re, slice(results.k_fe, None)),
    ):
        if given is not None:
            if len(given) != len(names[place]):
                raise ValueError(f"{what} should be a list of length {len(names[place])}")
            names[place] = list(given)
    sizes = model.group_sizes
    info = {
        "Model:": "MixedLM",
        "No. Observations:": str(results.nobs),
        "No. Groups:": str(model.n_groups),
        "Min. group size:": f"{sizes.min()}",
        "Max. group size:": f"{sizes.max()}",
        "Mean group size:": f"{sizes.mean():.1f}",
        "Dependent Variable:": str(model.endog_names if yname is None else yname),
        "Method:": results.method,
        "Scale:": f"{results.scale:.4f}",
        "Log-Likelihood:": f"{results.llf:.4f}",
        "Converged:": "Yes" if results.converged else "No",
    }
    estimates, errors = results.natural
    frame = parameter_frame(estimates, errors, results.k_fe, names, alpha)
    return Summary(info, frame, "Mixed Linear Model Regression Results" if title is None else title)
