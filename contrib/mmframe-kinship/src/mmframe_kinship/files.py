"""Relationships to CSV files, as a specification in YAML reads them: `relationship: {animal: {file: ..., inverse: true}}`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import scipy.sparse as sp

from mmframe.api import Relationship


def write(relationship: Relationship, path: str | Path) -> None:
    """Write K, or its inverse where that is what the relationship holds.

    A sparse matrix as the lower triangle in columns row, column, value; a dense one as a square table whose first column holds the
    labels. The file does not say whether it is an inverse: the specification does. Numbers are written in full precision.
    """
    labels = relationship.levels
    if sp.issparse(relationship.matrix):
        lower = sp.tril(relationship.matrix).tocoo()
        table = pd.DataFrame({"row": labels[lower.row], "column": labels[lower.col], "value": lower.data})
        table.to_csv(path, index=False)
    else:
        pd.DataFrame(relationship.matrix, index=labels, columns=labels).to_csv(path, index_label="label")
