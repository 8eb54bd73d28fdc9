"""What a model says of its data: names of slopes, random effects and rows; and labelled results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mmframe.compat.inputs import Inputs
from mmframe.compat.names import covariance_names


class ModelData:
    """Names, and the data as they came.

    xnames (k_fe,), exog_re_names (k_re,), exog_re_names_full (k_re2,): `a Var`, `a x b Cov`.   param_names: of all packed parameters.
    ynames: of the response.   row_labels: the index of the rows, where the data are pandas.   labelled: whether results carry labels.
    """

    def __init__(
        self, ynames: str, xnames: list[str], exog_re_names: list[str], exog_re_names_full: list[str], vcomp_names: list[str],
        formula: str | None, labelled: bool, row_labels: pd.Index | None = None,
    ) -> None:  # fmt: skip
        self.ynames, self.xnames, self.exog_re_names, self.exog_re_names_full = (
            ynames,
            xnames,
            exog_re_names,
            exog_re_names_full,
        )
        self.vcomp_names, self.formula, self.labelled = vcomp_names, formula, labelled
        self.param_names = [*xnames, *exog_re_names_full, *(f"{name} Var" for name in vcomp_names)]
        self.cov_names = self.param_names
        self.row_labels = row_labels
        self.orig_endog: Any = None
        self.orig_exog: Any = None
        self.endog: Any = None
        self.exog: Any = None
        self.exog_re: Any = None

    @classmethod
    def of(cls, inputs: Inputs) -> ModelData:
        default = inputs.exog_re_names == ["Group"] and inputs.formula is None
        full = covariance_names(inputs.exog_re_names)
        names = full if default else list(inputs.exog_re_names)
        data = cls(
            inputs.endog_name, list(inputs.exog_names), names, full, [c.name for c in inputs.components], inputs.formula,
            inputs.index is not None,
        )  # fmt: skip
        data.attach(inputs)
        return data

    def attach(self, inputs: Inputs) -> None:
        """Take the data themselves."""
        self.row_labels = inputs.index
        self.orig_endog, self.orig_exog = inputs.given
        self.endog, self.exog = inputs.endog, inputs.exog
        self.exog_re = inputs.exog_re if inputs.exog_re.shape[1] else None

    def detach(self) -> None:
        """Forget the data but the rows' labels."""
        self.orig_endog = self.orig_exog = self.endog = self.exog = self.exog_re = None

    def kept(self) -> dict[str, Any]:
        """What makes the same names again."""
        names = (
            "ynames",
            "xnames",
            "exog_re_names",
            "exog_re_names_full",
            "vcomp_names",
            "formula",
            "labelled",
            "row_labels",
        )
        return {name: getattr(self, name) for name in names}

    def series(self, values: Any, names: list[str]) -> Any:
        """A Series where results carry labels, else the array."""
        return pd.Series(values, index=names) if self.labelled else np.asarray(values)

    def frame(self, values: Any, names: list[str], columns: list[Any] | None = None) -> Any:
        """A DataFrame (square, unless its columns are given) where results carry labels, else the array."""
        if not self.labelled:
            return np.asarray(values)
        return pd.DataFrame(values, index=names, columns=names if columns is None else columns)
