"""`python -m mmframe.cli`."""

from mmframe.cli import main

main()
