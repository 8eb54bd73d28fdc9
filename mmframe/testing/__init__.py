"""The conformance kit: the rules of each interface, and whether a plugin keeps them. For authors of plugins.

One call checks everything, and raises ConformanceError with what was found, what to do and a line that shows it again:

    from mmframe.testing import check
    check(MyStructure(power=0.5))

For pytest, one test a rule:

    import pytest
    from mmframe.testing import conformance_cases

    @pytest.mark.parametrize("case", conformance_cases(MyStructure(power=0.5), MyStage()), ids=str)
    def test_conformance(case):
        case.check()
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmframe.covariance.parameterization import Parameterization
from mmframe.covariance.structure import CovarianceStructure
from mmframe.optimize.stage import OptimizerStage
from mmframe.testing.case import Case, ConformanceError, check_all, chosen
from mmframe.testing.parameterizations import check_parameterization, parameterization_cases
from mmframe.testing.stages import check_stage, stage_cases
from mmframe.testing.structures import SIZES, check_covariance_structure, structure_cases

__all__ = [
    "Case",
    "ConformanceError",
    "check",
    "check_covariance_structure",
    "check_parameterization",
    "check_stage",
    "conformance_cases",
]


def conformance_cases(*plugins: Any, sizes: tuple[int, ...] = SIZES) -> list[Case]:
    """The cases of structures, parameterizations and stages, one a rule: classes (with default options) or instances.

    sizes: numbers of points at which structures are checked. Raises TypeError for anything else.
    """
    found: list[Case] = []
    for given in plugins:
        try:
            plugin = given() if isinstance(given, type) else given
        except TypeError as problem:
            raise TypeError(f"{given.__name__}: {problem} · give an instance, with its options") from None
        if isinstance(plugin, CovarianceStructure):
            found += structure_cases(plugin, sizes)
        elif isinstance(plugin, Parameterization):
            found += parameterization_cases(plugin)
        elif isinstance(plugin, OptimizerStage):
            found += stage_cases(plugin)
        else:
            raise TypeError(f"{plugin!r} is not a covariance structure, a parameterization or an optimizer stage")
    return found


def check(plugin: Any, *, rules: Iterable[str] | None = None, sizes: tuple[int, ...] = SIZES) -> list[str]:
    """Check a structure, a parameterization or a stage: a class (with default options) or an instance.

    rules: only these, by name.   sizes: of a structure, the numbers of points. Returns the sentences of the rules that hold.
    Raises ConformanceError at the first that does not, SpecError for a rule that there is not, TypeError for anything else.
    """
    return check_all(chosen(conformance_cases(plugin, sizes=sizes), rules))
