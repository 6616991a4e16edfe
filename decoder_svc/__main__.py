"""`python -m decoder_svc`."""

import signal
import sys


def main() -> None:
    # The default Python handler would raise in the middle of an import.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from fovea.server.entry import prepare

    prepare("decoder")
    # Imported after `prepare`: a plain install lacks the dependencies of this module.
    from decoder_svc import app

    app.main(sys.argv[1:])


main()
