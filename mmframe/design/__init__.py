"""What the data are: the matrices and groupings of one model."""
