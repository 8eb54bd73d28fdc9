"""The conformance kit, one test a rule, on all that the package registers."""

from __future__ import annotations

import mmframe_matrix_log
import pytest

from mmframe.testing import Case, conformance_cases


@pytest.mark.parametrize("case", conformance_cases(*mmframe_matrix_log.mmframe_parameterizations()), ids=str)
def test_conformance(case: Case) -> None:
    case.check()
