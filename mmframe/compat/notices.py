"""The warnings of this face, by the names that its users filter."""

from __future__ import annotations


class ModelWarning(UserWarning):
    """Root of the warnings about models and fits."""


class ConvergenceWarning(ModelWarning):
    """A fit that has not reached an optimum."""


class SingularMatrixWarning(ModelWarning):
    """A covariance of random effects that is singular: a variance of zero, or a correlation of ±1."""
