"""Optimizer stages, one file each."""
