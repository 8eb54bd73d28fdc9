"""The table of coverage in docs/howto/intervals.md, from results.csv: percent of intervals that hold the truth, a row a kind.

python contrib/coverage/table.py contrib/coverage/results.csv
"""

from __future__ import annotations

import sys

import pandas as pd

COVARIANCE = ("sd(", "corr(", "sigma", "residual.")
APART = ("random intercepts", "new rows")


def of(what: str) -> str:
    if what in APART:
        return what
    return "covariance parameters" if what.startswith(COVARIANCE) else "fixed effects"


def main() -> None:
    table = pd.read_csv(sys.argv[1])
    table["of"] = table["what"].map(of)
    designs = list(dict.fromkeys(table["design"]))
    print("| interval | of | replicates | " + " | ".join(designs) + " |\n|---|---|---|" + "---|" * len(designs))
    for (method, kind), rows in table.groupby(["method", "of"], sort=False):
        cells = []
        for design in designs:
            own = rows[rows["design"] == design]["coverage"]
            lowest, highest = f"{100 * own.min():.1f}", f"{100 * own.max():.1f}"
            cells.append("" if own.empty else lowest if lowest == highest else f"{lowest} to {highest}")
        counts = ", ".join(f"{n:,}" for n in sorted(set(rows["replicates"]), reverse=True))
        print(f"| {method} | {kind} | {counts} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
