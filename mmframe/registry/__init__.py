"""Names and plugins: hook specifications, the loader of plugin packages, and the registry that resolves names."""
