"""`python -m pgtrace`: the same as the command `pgtrace`."""

from pgtrace.cli import main

main()
