"""``python -m clearing.cli`` is ``clearing``."""

from clearing.cli import main

main()
