"""Spatial and spatio-temporal covariance structures for mmframe, and variograms of residuals."""

from mmframe_spatial.anisotropic import Anisotropic, ellipse, natural
from mmframe_spatial.datasets import wheat2
from mmframe_spatial.matern_nu import MaternNu
from mmframe_spatial.picture import plot_variogram
from mmframe_spatial.sphere import EARTH, ChordalMatern, GreatCircle, chord, great_circle
from mmframe_spatial.variogram import variogram

__all__ = [
    "EARTH",
    "Anisotropic",
    "ChordalMatern",
    "GreatCircle",
    "MaternNu",
    "chord",
    "ellipse",
    "great_circle",
    "natural",
    "plot_variogram",
    "variogram",
    "wheat2",
]
