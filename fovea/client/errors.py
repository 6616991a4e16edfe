"""Errors of calls: an exception class per reason of the contract, named after it.

    try:
        client.ask("What is the title?", [digest])
    except errors.ImageNotStored:
        client.put("chart.png")

Each carries what the server sent: `code`, `reason`, `message`, `metadata`, `violations`, `retry_after_s`
(None if a retry is pointless) and `request_id`. A reason of a newer server is a `RemoteError`. All derive
from `FoveaError`.
"""

from fovea.contract.errors import *  # noqa: F403
