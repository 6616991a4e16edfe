"""`python -m fovea.cli`, equivalent to `fovea`."""

from fovea.cli import main

main()
