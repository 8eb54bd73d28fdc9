"""Levels of new data among those that were fitted."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd


def match_levels(levels: pd.Index, columns: tuple[str, ...], frame: pd.DataFrame) -> Any:
    """The level number of each row, −1 for new ones. Labels that are not found are tried as text: "308" is 308."""

    def located(as_text: bool) -> Any:
        def labels(values: Any) -> pd.Index:
            index = pd.Index(values, dtype=object, tupleize_cols=False)
            return index.astype(str) if as_text else index

        if isinstance(levels, pd.MultiIndex):
            known: pd.Index = pd.MultiIndex.from_arrays(
                [labels(levels.get_level_values(k)) for k in range(len(columns))]
            )
            wanted: pd.Index = pd.MultiIndex.from_arrays([labels(frame[c]) for c in columns])
            return known.get_indexer(wanted)
        codes, distinct = pd.factorize(frame[columns[0]])
        return labels(levels).get_indexer(labels(distinct))[codes]

    exact = located(False)
    if np.all(exact >= 0) or not levels.map(str).is_unique:
        return exact
    return np.where(exact >= 0, exact, located(True))
