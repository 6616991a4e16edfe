"""`python -m encoder_svc`."""

import sys

from fovea.server.entry import prepare


def main() -> None:
    prepare("encoder")
    # Only now: a plain install lacks what this imports.
    from encoder_svc import app

    app.main(sys.argv[1:])


main()
