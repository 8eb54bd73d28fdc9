"""What was found: a frozen record of a fit, and the topics that read from it, a file each."""
