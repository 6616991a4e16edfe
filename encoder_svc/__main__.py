"""`python -m encoder_svc`."""

import sys

from encoder_svc.app import main

main(sys.argv[1:])
