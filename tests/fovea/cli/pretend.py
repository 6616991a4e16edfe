"""`python -m tests.fovea.cli.pretend encoder|decoder --listen ADDR ...`: a service without a model.

It takes the real services' flags. `--die SECONDS` makes it end by itself with status 7; `--never` keeps it
from listening at all.
"""

from __future__ import annotations

import signal
import sys
import threading

from tests.fovea.client.fakes import FakeDecoder, FakeEncoder, served


def main(name: str, *flags: str) -> int:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stop.set())
    servicer = FakeDecoder() if name == "decoder" else FakeEncoder()
    after = float(flags[flags.index("--die") + 1]) if "--die" in flags else None
    print(f"{name} speaks", file=sys.stderr, flush=True)
    if "--never" in flags:
        stop.wait(60)
        return 0
    with served(servicer, flags[flags.index("--listen") + 1]):
        if stop.wait(after):
            print(f"{name} says goodbye", file=sys.stderr, flush=True)
            return 0
    return 7


sys.exit(main(*sys.argv[1:]))
