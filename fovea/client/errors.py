"""The failures that only a caller can see; all others come from the server and keep its code and reason."""

from __future__ import annotations

import grpc

from fovea.errors import FoveaError


class Unreachable(FoveaError):
    """Nobody answers at the address: not started, still starting, or a wrong address."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "UNAVAILABLE"

    def __init__(self, address: str) -> None:
        super().__init__(f"no service can be reached at {address}", address=address)


class AnswerIncomplete(FoveaError):
    """The stream ended well but without its closing message: the other side is no Fovea decoder."""

    reason = "ANSWER_INCOMPLETE"

    def __init__(self) -> None:
        super().__init__("the answer ended without its closing message")


class RowsMismatch(FoveaError):
    """Rows that are not what their header announced: wrong count, order, length, checksum or digest."""

    reason = "ROWS_MISMATCH"
