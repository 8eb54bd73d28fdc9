"""Parameterizations, one file each."""
