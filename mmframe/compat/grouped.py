"""The data of a model in groups: arrays, names, and the same by group; what is left when the data are removed."""

from __future__ import annotations

from functools import cached_property
from typing import Any, Self

import numpy as np

from mmframe.compat.components import VCSpec, write_components
from mmframe.compat.data import ModelData
from mmframe.compat.inputs import Inputs
from mmframe.compat.layout import Layout
from mmframe.compat.params import MixedLMParams
from mmframe.covariance.domain import Array
from mmframe.errors import DataError


class GroupedModel:
    """endog (n,), exog (n, k_fe), exog_re (n, k_re) or None, exog_vc, groups; numbers of parameters k_fe, k_re, k_re2, k_vc."""

    def _bind(self, inputs: Inputs, use_sqrt: bool, use_sparse: bool = False) -> None:
        self._inputs: Inputs | None = inputs
        self._sparse = use_sparse
        self.use_sqrt, self.reml = use_sqrt, True
        self.fe_pen: Any = None
        self.cov_pen: Any = None
        self.re_pen: Any = None
        self._free: MixedLMParams | None = None
        self.formula = inputs.formula
        self.k_fe, self.k_re, self.k_vc = inputs.exog.shape[1], inputs.exog_re.shape[1], len(inputs.components)
        self.k_re2 = self.k_re * (self.k_re + 1) // 2
        self.k_params = self.k_fe + self.k_re2
        self.endog: Any = inputs.endog
        self.exog: Any = inputs.exog
        self.exog_re: Any = inputs.exog_re if self.k_re else None
        self.group_labels, self.group_sizes = inputs.groups.labels, inputs.groups.sizes
        self.n_groups = len(self.group_labels)
        self.nobs = self.n_totobs = len(inputs.endog)
        self.data = ModelData.of(inputs)
        self.initialize()

    @classmethod
    def _restored(cls, inputs: Inputs | None, kept: dict[str, Any], use_sqrt: bool, reml: bool) -> Self:
        """The model of saved results; without data where none were saved."""
        model = cls.__new__(cls)
        model._sparse, model.use_sqrt, model.reml = False, use_sqrt, reml
        model._free = model.fe_pen = model.cov_pen = model.re_pen = None
        for name, value in kept["model"].items():
            setattr(model, name, value)
        model._inputs = inputs
        model.endog, model.exog, model.exog_re = None, None, None
        model.data = ModelData(**{**kept["data"], "formula": None})  # arrays are what is left of a formula
        model.formula = None
        if inputs is not None:
            model.endog, model.exog = inputs.endog, inputs.exog
            model.exog_re = inputs.exog_re if model.k_re else None
            model.data.attach(inputs)
        return model

    def kept(self) -> dict[str, Any]:
        """Sizes and names: what is left of a model without its data."""
        sizes = (
            "formula",
            "k_fe",
            "k_re",
            "k_vc",
            "k_re2",
            "k_params",
            "n_groups",
            "nobs",
            "n_totobs",
            "df_model",
            "df_resid",
        )
        values = {name: getattr(self, name) for name in (*sizes, "group_labels", "group_sizes")}
        return {"model": values, "data": self.data.kept()}

    def initialize(self) -> None:
        """The degrees of freedom: df_model = k_fe − 1 and df_resid = n − k_fe (exog has full rank)."""
        self.df_model = float(self.k_fe - 1)
        self.df_resid = float(self.nobs - self.k_fe)

    # data

    @property
    def _given(self) -> Inputs:
        if self._inputs is None:
            raise DataError("the data of this model were removed · make the model again")
        return self._inputs

    @property
    def layout(self) -> Layout:
        """The mmframe model, and what its terms are. Raises DataError where the data were removed."""
        return self._given.layout

    @property
    def removed(self) -> bool:
        """Whether the data were removed."""
        return self._inputs is None

    def remove_data(self) -> None:
        """Forget the data; names and sizes stay."""
        self._inputs = self.endog = self.exog = self.exog_re = None
        self.data.detach()
        for name in ("groups", "row_indices", "exog_vc", "endog_li", "exog_li", "exog_re_li", "exog_re2_li"):
            self.__dict__.pop(name, None)

    @property
    def endog_names(self) -> str:
        """The name of the response."""
        return self.data.ynames

    @property
    def exog_names(self) -> list[str]:
        """The names of the slopes."""
        return self.data.xnames

    @cached_property
    def groups(self) -> Any:
        """The label of each row."""
        labels = np.empty(self.n_groups, dtype=object)
        labels[:] = self.group_labels
        return labels[self._given.groups.codes]

    @cached_property
    def row_indices(self) -> dict[Any, list[int]]:
        """The rows of each group."""
        return {g: r.tolist() for g, r in zip(self.group_labels, self._given.groups.rows, strict=True)}

    @cached_property
    def exog_vc(self) -> VCSpec:
        """The variance components, group by group."""
        if self._given.vc is not None:
            return self._given.vc
        return write_components(self._given.components, self._given.groups.rows, as_sparse=self._sparse)

    def group_list(self, array: Any) -> list[Array] | None:
        """An array (n,) or (n, k) as a list with one array for each group; None for None."""
        if array is None:
            return None
        values = np.asarray(array)
        return [values[rows] for rows in self._given.groups.rows]

    @cached_property
    def endog_li(self) -> list[Array] | None:
        return self.group_list(self.endog)

    @cached_property
    def exog_li(self) -> list[Array] | None:
        return self.group_list(self.exog)

    @cached_property
    def exog_re_li(self) -> list[Array] | None:
        return self.group_list(self.exog_re)

    @cached_property
    def exog_re2_li(self) -> list[Array] | None:
        return None if self.exog_re_li is None else [Z.T @ Z for Z in self.exog_re_li]
