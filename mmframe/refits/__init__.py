"""Inference that fits again: profiles and the bootstrap."""
