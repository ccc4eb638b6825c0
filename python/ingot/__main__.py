"""`python -m ingot`: the compiler's command line."""

from ._compile import main

main()
