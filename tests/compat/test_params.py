"""MixedLMParams: natural, profile and square-root parameterizations and their packing, against statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.regression.mixed_linear_model as sm

from mmframe.compat.statsmodels import MixedLMParams
from tests.compat.theirs import random_params


@pytest.mark.parametrize("has_fe", [True, False])
@pytest.mark.parametrize("use_sqrt", [True, False])
@pytest.mark.parametrize(("k_fe", "k_re", "k_vc"), [(3, 2, 2), (1, 3, 0), (2, 0, 2), (0, 1, 1)])
def test_packing_is_that_of_statsmodels(k_fe: int, k_re: int, k_vc: int, use_sqrt: bool, has_fe: bool) -> None:
    mine, their = random_params(5, k_fe, k_re, k_vc)
    packed = mine.get_packed(use_sqrt, has_fe)
    np.testing.assert_allclose(packed, their.get_packed(use_sqrt, has_fe), rtol=1e-12)
    again = MixedLMParams.from_packed(packed, k_fe, k_re, use_sqrt, has_fe)
    other = sm.MixedLMParams.from_packed(packed, k_fe, k_re, use_sqrt, has_fe)
    for name in ("cov_re", "vcomp", "fe_params"):
        np.testing.assert_allclose(getattr(again, name), getattr(other, name), rtol=1e-12)
        if has_fe or name != "fe_params":
            np.testing.assert_allclose(getattr(again, name), getattr(mine, name), rtol=1e-10)
    for name in ("k_fe", "k_re", "k_re2", "k_vc", "k_tot"):
        assert getattr(again, name) == getattr(other, name)


def test_components_may_be_left_out() -> None:
    root = np.array([[2.0, 0.0], [1.0, 3.0]])
    params = MixedLMParams.from_components(cov_re_sqrt=root)
    np.testing.assert_array_equal(params.cov_re, root @ root.T)
    assert params.k_fe == params.k_vc == 0
    assert MixedLMParams.from_components(np.ones(2), vcomp=np.ones(1)).k_tot == 3


def test_a_copy_shares_nothing() -> None:
    mine, _ = random_params(1)
    other = mine.copy()
    other.fe_params[0], other.cov_re[0, 0], other.vcomp[0] = 9.0, 9.0, 9.0
    assert mine.fe_params[0] != 9.0 and mine.cov_re[0, 0] != 9.0 and mine.vcomp[0] != 9.0


def test_a_singular_matrix_has_its_root() -> None:
    """statsmodels drops the covariances of a matrix that has no Cholesky factor of full rank."""
    singular = np.array([[1.0, 2.0], [2.0, 4.0]])
    packed = MixedLMParams.from_components(cov_re=singular).get_packed(use_sqrt=True)
    np.testing.assert_allclose(packed, [1.0, 2.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(MixedLMParams.from_packed(packed, 0, 2, True, False).cov_re, singular)


def test_wrong_parameters_are_refused() -> None:
    with pytest.raises(ValueError, match="not positive semidefinite"):
        MixedLMParams.from_components(cov_re=np.array([[1.0, 2.0], [2.0, 1.0]])).get_packed(use_sqrt=True)
    with pytest.raises(ValueError, match="at least 2 slopes and 3 entries"):
        MixedLMParams.from_packed(np.ones(4), 2, 2, True, True)
