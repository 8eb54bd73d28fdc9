"""The source of a result that was read from a file: what the file holds, and what it cannot be asked for."""

from __future__ import annotations

import pandas as pd
from attrs import frozen

from mmframe.covariance.domain import Array
from mmframe.design.fixed_summary import FixedSummary
from mmframe.design.kept import Encoding
from mmframe.design.relationship import Relationship
from mmframe.errors import StoreError
from mmframe.likelihood.effects import Effects, TabledEffects
from mmframe.results.estimates import Estimates
from mmframe.results.memory import ResidualMemory
from mmframe.results.predict import Rows
from mmframe.results.residual import Table
from mmframe.results.sensitivity import Sensitivity
from mmframe.results.source import Source
from mmframe.results.stored_memory import StoredCovariance


@frozen(eq=False)
class StoredSource(Source):
    """What a saved file holds."""

    estimates: Estimates
    table: pd.DataFrame
    table_cov: Array
    stored_effects: TabledEffects
    stored_fitted: Array
    stored_population: Array
    stored_response: Array
    stored_weights: Array | None
    stored_index: pd.Index
    stored_encoding: Encoding
    residual_tables: tuple[Table, ...]
    pearson: Array
    normalized: Array
    memory: ResidualMemory | None
    kept_sensitivity: Sensitivity | None
    kept_second_order: tuple[Array, Array] | None
    fixed_summary: FixedSummary

    @property
    def parameter_table(self) -> pd.DataFrame:
        return self.table

    @property
    def parameter_cov(self) -> Array:
        return self.table_cov

    @property
    def effects(self) -> Effects:
        return self.stored_effects

    @property
    def fitted(self) -> Array:
        return self.stored_fitted

    @property
    def population(self) -> Array:
        return self.stored_population

    @property
    def response(self) -> Array:
        return self.stored_response

    @property
    def weights(self) -> Array | None:
        return self.stored_weights

    @property
    def index(self) -> pd.Index:
        return self.stored_index

    @property
    def encoding(self) -> Encoding:
        return self.stored_encoding

    @property
    def residual_flats(self) -> tuple[Array, ...]:
        if self.memory is None:
            return ()
        assert isinstance(self.memory.covariance, StoredCovariance)
        return self.memory.covariance.flats

    @property
    def sensitivity(self) -> Sensitivity:
        if self.kept_sensitivity is None:
            raise StoreError("this saved fit has no degrees of freedom: its design is large · ask the fit itself")
        return self.kept_sensitivity

    @property
    def second_order(self) -> tuple[Array, Array]:
        assert self.kept_second_order is not None, "it is kept with the sensitivity, which is asked for first"
        return self.kept_second_order

    def precision(self, columns: Array) -> Array:
        raise StoreError("a saved fit holds no data · fit again for leverage and Cook's distances")

    def noise(self, independent: Array) -> Array:
        raise StoreError("a saved fit holds no data · fit again to simulate")

    @property
    def relationships(self) -> tuple[Relationship | None, ...]:
        raise StoreError("a saved fit holds no relationships · fit again to simulate")

    @property
    def rows(self) -> Rows:
        raise StoreError(
            "a saved fit holds no data · pass data= to predict; fit again to simulate, or for leverage and Cook's distances"
        )
