"""`python -m encoder_svc`."""

import sys

from fovea.server.entry import prepare


def main() -> None:
    prepare("encoder")
    # Imported after `prepare`, because a plain install lacks the dependencies.
    from encoder_svc import app

    app.main(sys.argv[1:])


main()
