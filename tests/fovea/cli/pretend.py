"""`python -m tests.fovea.cli.pretend encoder|decoder --listen ADDR ...`: a service without a model.

It accepts the real services' flags. `--die SECONDS` makes it exit with status 7; `--never` keeps it from
listening.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import threading
from pathlib import Path

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
    address = flags[flags.index("--listen") + 1]
    # What the real decoder's encoder would still know after both were started again at the same address.
    known = Path(tempfile.gettempdir()) / f"fovea-pretend-{name}-{address.replace(':', '-')}"
    if isinstance(servicer, FakeDecoder) and known.exists():
        servicer.encoded.update(known.read_text().split())
        known.unlink()
    with served(servicer, address):
        if stop.wait(after):
            if isinstance(servicer, FakeDecoder) and servicer.encoded:
                known.write_text("\n".join(servicer.encoded))
            print(f"{name} says goodbye", file=sys.stderr, flush=True)
            return 0
    return 7


sys.exit(main(*sys.argv[1:]))
