"""The package that `mmframe new-plugin` writes: files/common for every kind, and one folder a kind."""
