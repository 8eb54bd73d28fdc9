"""The coordinates that a domain has by itself, and its *cover*.

The cover is a special set of coordinates, without any bound, that reach the boundary at an ordinary point: a signed
square root for a number with one bound, a sine for an interval, any square root for a matrix. The pipeline continues in
it when a stage has stopped at the boundary of its own coordinates.
"""

from __future__ import annotations

from mmframe.covariance.bijections import Bijection, Identity, RootElementwise
from mmframe.covariance.domain import Box, Domain, PositiveDefinite
from mmframe.covariance.matrix_bijections import CholeskyEntries


def default_bijection(domain: Domain) -> Bijection:
    """The domain's own coordinates: the number itself in its box, a matrix by its Cholesky factor."""
    if isinstance(domain, PositiveDefinite):
        return CholeskyEntries(domain)
    if isinstance(domain, Box):
        return Identity(domain)
    raise TypeError(f"no coordinates are known for the domain {domain!r}")


def cover(domain: Domain) -> Bijection:
    """Free coordinates that reach the boundary of the domain at an ordinary point."""
    if isinstance(domain, Box):
        return RootElementwise(domain)
    return default_bijection(domain)
