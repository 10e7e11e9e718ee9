"""``python -m kronosfw``."""

from .cli import main

main()
