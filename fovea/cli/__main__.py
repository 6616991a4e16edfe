"""`python -m fovea.cli`, the same as `fovea`."""

from fovea.cli import main

main()
