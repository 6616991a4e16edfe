"""The failures that the command finds by itself, before any service is asked."""

from __future__ import annotations

import grpc

from fovea.contract.errors import FoveaError, InvalidArgument


class FileNotReadable(InvalidArgument):
    """A file that is not there or may not be read."""

    reason = "FILE_NOT_READABLE"

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"cannot read {path or 'the file'}: {why}", path=path)


class NotAnImage(InvalidArgument):
    """A file in which no JPEG, PNG, WebP or GIF can be recognised."""

    reason = "IMAGE_FORMAT_NOT_SUPPORTED"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is not a JPEG, PNG, WebP or GIF that can be read", path=path)


class TooManyPixels(InvalidArgument):
    """An image so large that its header alone is reason enough to stop."""

    reason = "IMAGE_TOO_MANY_PIXELS"

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} claims more pixels than any image may have", path=path)


class NeitherFileNorSize(InvalidArgument):
    """An argument of `fovea count` that names no file and no size."""

    def __init__(self, argument: str) -> None:
        super().__init__(f"{argument!r} is neither a file nor a size such as 1024x1024", argument=argument)


class NoPdf(InvalidArgument):
    """`--pages` without a file that has some."""

    def __init__(self, pages: str) -> None:
        super().__init__(f"--pages {pages} is for PDFs, and there is none", pages=pages)


class ServiceDied(FoveaError):
    """A service that was started here has ended by itself; `status` is its exit status."""

    code = grpc.StatusCode.UNAVAILABLE
    reason = "SERVICE_DIED"

    def __init__(self, name: str, status: int) -> None:
        super().__init__(f"the {name} ended with status {status}", service=name, status=status)
        self.name = name
        self.status = status


class NotReadyInTime(FoveaError):
    """A service that was started here did not become ready in time."""

    code = grpc.StatusCode.DEADLINE_EXCEEDED
    reason = "NOT_READY"

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"the {name} was not ready within {seconds:.0f} s", service=name)
        self.name = name
