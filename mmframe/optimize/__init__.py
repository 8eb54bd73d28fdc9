"""How the optimum is found: stages, the problem that they see, and the pipeline that runs them."""
