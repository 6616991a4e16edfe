"""`python -m gateway_svc`."""

import signal
import sys


def main() -> None:
    # Python's own handler would raise in the middle of an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from fovea.server.entry import prepare

    prepare("gateway")
    # Imported after `prepare`, because a plain install lacks the dependencies.
    from gateway_svc import app

    app.main(sys.argv[1:])


main()
