"""Failures that the command detects itself, without a service."""

from __future__ import annotations

import grpc

from fovea.contract.errors import FoveaError, InvalidArgument, Violation


class FileNotReadable(InvalidArgument):
    """A file that does not exist or is unreadable."""

    reason = "FILE_NOT_READABLE"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot read {path or 'the file'}: {why}", path=path)


class OutputNotWritable(InvalidArgument):
    """The output file cannot be written."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot write {path}: {why}", violations=[Violation("output", why)], path=path)


class TextNotUtf8(InvalidArgument):
    """An argument that is not UTF-8, the only encoding that a request can carry."""

    def __init__(self, text: str) -> None:
        super().__init__(f"{text[:80]!a} is not valid UTF-8 text")


class NeitherFileNorSize(InvalidArgument):
    """An argument of `fovea count` that is neither a file nor a size."""

    def __init__(self, argument: str) -> None:
        super().__init__(f"{argument!r} is neither a file nor a size such as 1024x1024", argument=argument)


class NoPdf(InvalidArgument):
    """`--pages` without a PDF."""

    def __init__(self, pages: str) -> None:
        super().__init__(f"--pages {pages} is for PDFs, and there is none", pages=pages)


class PlotNotInstalled(InvalidArgument):
    """`--plot` without matplotlib."""

    def __init__(self) -> None:
        super().__init__("--plot needs matplotlib: pip install matplotlib")


class StandinNotInstalled(InvalidArgument):
    """The stand-in is asked for, and its package is not installed."""

    def __init__(self) -> None:
        super().__init__(
            "the stand-in is not installed: in a checkout of Fovea, pip install ./standin."
            " Or name a checkpoint: fovea serve --model DIR"
        )


class ServiceDied(FoveaError):
    """A child service has exited by itself; `status` is its exit status."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "SERVICE_DIED"

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"the {name} ended with status {status}", service=name, status=status)
        self.status = status


class NotReadyInTime(FoveaError):
    """A child service did not become ready in time."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "NOT_READY"

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"the {name} was not ready within {seconds:.0f} s", service=name)
