"""How well it fits: engines that evaluate −2 log L and its derivatives from reduced data."""
