"""What was asked: the model specification, and the languages that it is read from and written to."""
