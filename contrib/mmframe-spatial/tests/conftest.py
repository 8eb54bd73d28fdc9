"""Fits that several tests look at."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from mmframe_spatial import wheat2

import mmframe as mm


@pytest.fixture(scope="session")
def trial() -> pd.DataFrame:
    return wheat2().assign(plot=range(224))


@pytest.fixture(scope="session")
def flat(trial: pd.DataFrame) -> Any:
    """Varieties, and independent residuals."""
    return mm.fit("yld ~ 0 + variety", trial)
