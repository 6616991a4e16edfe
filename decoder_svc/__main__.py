"""`python -m decoder_svc`."""

import sys

from fovea.server.entry import prepare


def main() -> None:
    prepare("decoder")
    # Only now: a plain install lacks what this imports.
    from decoder_svc import app

    app.main(sys.argv[1:])


main()
