"""``python -m back_office.cli`` is ``clearing``."""

from back_office.cli import main

main()
