"""Variance functions, one file each: diagonal structures without a scale, which multiply a structure that has one."""
