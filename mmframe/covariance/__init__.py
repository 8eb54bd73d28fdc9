"""What may vary: domains, structures, parameterizations, and the model that binds them to coordinates."""
