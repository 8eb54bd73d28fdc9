"""Built-in plugins, registered just as third parties are."""
