"""Why a call failed: one exception for each reason of the contract, named after it.

    try:
        client.ask("What is the title?", [digest])
    except errors.ImageNotStored:
        client.put("chart.png")

Each has what the server sent: `code`, `reason`, `message`, `metadata`, `violations`, `retry_after_s` (None if
there is no use in coming back) and `request_id`. A reason of a newer server is a `RemoteError`. All are
`FoveaError`.
"""

from fovea.contract.errors import *  # noqa: F403
