"""`python -m esa.cli` is `esa`."""

from esa.cli.program import main

main()
