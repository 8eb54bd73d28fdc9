"""Covariance structures, one file each."""
