"""The structural check of a data file: a script for a process of its own, never imported. See `inspection`.

`verify.py FILE MEMORY_BYTES SECONDS` prints nothing for a sound file and a line for a damaged file. It
reads the tree and free-list pages and the header of each overflow extent, not the values, and never passes
the file to LMDB. The script sets its own limits, so that nothing outlives a killed parent for long.
"""

from __future__ import annotations

import resource
import signal
import sys

from lmdb.verify import VerifyError, verify


def main(file: str, memory_bytes: int, seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.alarm(seconds)
    try:
        problems = verify(file, subdir=False)
    except (VerifyError, OSError) as error:
        problems = [str(error)]
    if problems:
        print(f"{problems[0]}; {len(problems)} in all" if len(problems) > 1 else problems[0])


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
