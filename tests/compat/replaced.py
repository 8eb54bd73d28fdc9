"""A pytest plugin under which statsmodels' own tests of its mixed model meet mmframe's class in its place."""

import statsmodels.formula.api
import statsmodels.regression.tests.test_lme as theirs

from mmframe.compat import statsmodels as ours

for name in ("MixedLM", "MixedLMParams", "Summary", "SingularMatrixWarning"):
    setattr(theirs, name, getattr(ours, name))
statsmodels.formula.api.mixedlm = ours.mixedlm
