"""Pictures of fits, by matplotlib (`pip install mmframe[plot]`), which is imported when the first is drawn."""

from mmframe.pictures.caterpillar import random_effects
from mmframe.pictures.convergence import trace
from mmframe.pictures.normal import quantiles
from mmframe.pictures.scatter import residuals
from mmframe.pictures.signed_root import profile

__all__ = ["profile", "quantiles", "random_effects", "residuals", "trace"]
