"""The rules of what a structure declares: its class, its options, and its parameters."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np

from mmframe.covariance.domain import Box, PositiveDefinite
from mmframe.covariance.structure import CovarianceStructure, Param
from mmframe.registry.rules import STRUCTURE
from mmframe.testing.designs import covariate_points
from mmframe.testing.place import Place
from mmframe.testing.registered import registrable


def names(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    registrable(STRUCTURE, structure)
    cls: Any = type(structure)
    if attrs.has(cls):
        options = {f.name: getattr(structure, f.name) for f in attrs.fields(cls) if f.init}
        again = cls(**{f.alias: getattr(structure, f.name) for f in attrs.fields(cls) if f.init})
        kept = {name: getattr(again, name) for name in options}
        assert repr(kept) == repr(options), f"{structure.name}: made again with its options {options} it has {kept}"
        for name, value in options.items():
            try:
                setattr(structure, name, value)
            except attrs.exceptions.FrozenInstanceError:
                continue
            raise AssertionError(f"{structure.name}: its option {name!r} can be changed after it was made")
        return
    own = {k for k in vars(structure) if not k.startswith("_")}
    assert not own, f"{structure.name} keeps {sorted(own)} that are no attrs fields, so no formula can set them"


def declarations(structure: CovarianceStructure, sizes: tuple[int, ...]) -> None:
    for size in sizes:
        place = Place.of(structure, size)
        names = [p.name for p in place.params]
        assert names, f"{place.who()}: there is no parameter"
        assert len(set(names)) == len(names), f"{place.who()}: parameter names repeat: {names}"
        assert all(name.isidentifier() for name in names), f"{place.who()}: {names} are not all identifiers"
        for param in place.params:
            _param(place, param)
        again = Place.of(structure, size).params
        assert [_told(p) for p in again] == [_told(p) for p in place.params], f"{place.who()}: params() changes"
        if structure.unit:
            own = structure.params(covariate_points(structure, size))
            assert all(p.scale_power == 0 for p in own), f"{place.who()}: a variance function carries no scale"


def _param(place: Place, param: Param) -> None:
    domain = param.domain
    count = domain.dim if isinstance(domain, PositiveDefinite) else domain.count
    who = f"{place.who()}: {param.name}"
    assert not param.labels or len(param.labels) == count, f"{who} has {len(param.labels)} labels for {count} entries"
    if param.start is not None and isinstance(domain, Box):
        assert domain.low <= param.start <= domain.high, f"{who} starts at {param.start}, outside its domain"
    if param.reading is not None:
        value = domain.sample(np.random.default_rng(3))
        back = param.reading.back(param.reading.to(value))
        assert np.allclose(back, value, rtol=1e-8), f"{who}: its reading takes {value} back to {back}"


def _told(param: Param) -> tuple[Any, ...]:
    return param.name, param.domain, param.scale_power, param.labels
