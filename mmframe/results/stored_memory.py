"""The memory of a structured residual as plain values, and back."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from attrs import frozen

from mmframe.covariance.derivative import make_phi
from mmframe.covariance.domain import Array
from mmframe.covariance.structure import CovarianceStructure
from mmframe.design.residual import ResidualDesign, Stratum
from mmframe.results.memory import ResidualMemory
from mmframe.results.stored_encoding import (
    fields_of,
    read_layout,
    read_points,
    write_layout,
    write_points,
)
from mmframe.spec.model import ModelSpec


def write_memory(memory: ResidualMemory | None, flats: tuple[Array, ...]) -> dict[str, Any] | None:
    """flats: the natural parameters of each stratum."""
    if memory is None:
        return None
    residual = fields_of(memory.residual)
    residual["strata"] = [
        {"label": s.label, "layout": write_layout(s.layout), "points": write_points(s.points)}
        for s in memory.residual.strata
    ]
    kept = {k: v for k, v in fields_of(memory).items() if k not in ("residual", "covariance")}
    return {"residual": residual, "flats": flats, **kept}


def read_memory(kept: dict[str, Any] | None, spec: ModelSpec) -> ResidualMemory | None:
    if kept is None:
        return None
    values = dict(kept.pop("residual"))
    strata = tuple(
        Stratum(s["label"], read_layout(s["layout"]), read_points(s["points"])) for s in values.pop("strata")
    )
    residual = ResidualDesign(strata=strata, **values)
    return ResidualMemory(residual, StoredCovariance(spec, strata, tuple(kept.pop("flats"))), **kept)


@frozen(eq=False)
class StoredCovariance:
    """Σ of a stratum at indices; its structures are looked up when they are first needed."""

    spec: ModelSpec
    strata: tuple[Stratum, ...]
    flats: tuple[Array, ...]

    @cached_property
    def _structures(self) -> tuple[CovarianceStructure, ...]:
        from mmframe.model import residual_structures
        from mmframe.registry.registry import default_registry
        from mmframe.resolution import resolve

        return residual_structures(self.strata, resolve(self.spec, default_registry()))

    def __call__(self, k: int, index: Array) -> Array:
        structure = self._structures[k]
        params = tuple(structure.params(self.strata[k].points))
        found: Array = structure.covariance(make_phi(params, self.flats[k]), index)
        return found
