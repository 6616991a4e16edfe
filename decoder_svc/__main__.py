"""`python -m decoder_svc`."""

import sys

from decoder_svc.app import main

main(sys.argv[1:])
