"""``python -m gifthorse``."""

from .cli.main import main

main()
