"""Parameterizations: which coordinates each domain gets, and on which scale they stand.

A parameterization never sees a structure, so every structure works with every parameterization.
"""

from __future__ import annotations

import enum
from abc import ABC, abstractmethod
from typing import Any, ClassVar

from mmframe.covariance.bijections import Bijection
from mmframe.covariance.cover import default_bijection
from mmframe.covariance.sound import check_bijection
from mmframe.covariance.structure import Param
from mmframe.errors import PluginError


class Scale(enum.Enum):
    """RELATIVE: coordinates of G/σ², with σ² profiled out. ABSOLUTE: coordinates of G itself, with σ² in θ."""

    RELATIVE = "relative"
    ABSOLUTE = "absolute"


RELATIVE = Scale.RELATIVE
ABSOLUTE = Scale.ABSOLUTE


class Parameterization(ABC):
    """A named way to choose coordinates for every domain."""

    name: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    scale: ClassVar[Scale]

    @abstractmethod
    def bijection(self, param: Param) -> Any:
        """Coordinates for one natural parameter; NotImplemented selects the domain's own (`default_bijection`)."""


def resolve_bijection(parameterization: Parameterization, param: Param) -> Bijection:
    """The parameterization's coordinates for a parameter, or the domain's own."""
    chosen = parameterization.bijection(param)
    if chosen is NotImplemented:
        return default_bijection(param.domain)
    if not isinstance(chosen, Bijection):
        raise PluginError(
            f"the parameterization {parameterization.name!r} gave {chosen!r} for {param.name!r}; allowed: a Bijection, or"
            " NotImplemented"
        )
    if not type(chosen).__module__.startswith("mmframe."):
        check_bijection(parameterization.name, chosen, param)
    return chosen
