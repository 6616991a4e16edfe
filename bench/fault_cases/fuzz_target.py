"""A parser under atheris: `python -m bench.fault_cases.fuzz_target NAME [options of libFuzzer]`.

Every input must be parsed or refused with an error of the contract, whose text leaks nothing. Any other
exception ends the process, and libFuzzer writes the input to a file. atheris leaves only with the process.
"""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import atheris
import numpy as np
from PIL import Image

with atheris.instrument_imports(
    include=["fovea.images", "fovea.contract", "fovea.client", "encoder_svc.images"]
):
    from encoder_svc.images.decode import decode
    from encoder_svc.images.limits import ImageLimits
    from fovea.client import pdf
    from fovea.client.row_stream import RowStreamReader
    from fovea.contract.row_stream import RowStream, read_event
    from fovea.images import opened, shown

from google.protobuf.message import DecodeError

from bench.fault_cases.leaks import leaks
from bench.host import ROOT
from fovea.contract.budget import Budget
from fovea.contract.errors import FoveaError
from fovea.encoder.v1 import encoder_pb2

PIXELS = 250_000
LIMITS = ImageLimits(max_image_pixels=PIXELS)


def images(data: bytes) -> None:
    decode(data, LIMITS)


def client_images(data: bytes) -> None:
    still = opened(data, most_pixels=PIXELS)
    still.check_complete()
    shown(still)


def rows(data: bytes) -> None:
    """A stream of events, each after its length in two bytes, as the decoder and as the client read it."""
    stream, reader, at = RowStream(), RowStreamReader(), 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "little")
        event, at = data[at + 2 : at + 2 + size], at + 2 + size
        stream.take(read_event(event))
        reader.take(encoder_pb2.EncodeResponse.FromString(event))
    reader.rows()


def pdfs(data: bytes) -> None:
    if pdf.is_pdf(data):
        pdf.sizes(data, "1")
        pdf.pages(data, "1", budget=Budget(max_pixels=65_536))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "images": images, "client_images": client_images, "rows": rows, "pdfs": pdfs,
}  # fmt: skip
REFUSALS = (FoveaError, DecodeError)
"""The readers of rows leave a message that is no message to their callers."""


def checked(target: Callable[[bytes], None]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        try:
            target(data)
        except REFUSALS as refused:
            if isinstance(refused, FoveaError) and (leaked := leaks([str(refused)])):
                raise AssertionError(f"the refusal leaks: {leaked}") from None

    return run


def seeds(name: str) -> list[bytes]:
    """Valid inputs from which mutation starts."""
    return {"rows": _streams, "pdfs": _documents}.get(name, _files)()


def _files() -> list[bytes]:
    picture = Image.fromarray(np.arange(24 * 16 * 3, dtype=np.uint8).reshape(16, 24, 3))
    kinds = [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("GIF", {})]
    return [_saved(picture, format, **options) for format, options in [*kinds, ("WEBP", {"lossless": True})]]


def _saved(picture: Image.Image, format: str, **options: bool) -> bytes:
    out = io.BytesIO()
    picture.save(out, format, **options)
    return out.getvalue()


def _streams() -> list[bytes]:
    """The good streams of the vectors that the clients are tested with."""
    vectors = json.loads((ROOT / "tests" / "vectors" / "rows.json").read_text(encoding="utf-8"))
    streams = [map(base64.b64decode, case["stream"]) for case in (vectors, vectors["kept"])]
    return [b"".join(len(event).to_bytes(2, "little") + event for event in stream) for stream in streams]


def _documents() -> list[bytes]:
    picture = Image.new("RGB", (20, 30), "white")
    return [_saved(picture, "PDF")]


if __name__ == "__main__":
    name, corpus = sys.argv.pop(1), Path(sys.argv[1])
    if corpus.is_dir():  # a file is parsed once
        for number, start in enumerate(seeds(name)):
            (corpus / f"seed-{number}").write_bytes(start)
    atheris.Setup(sys.argv, checked(TARGETS[name]))
    atheris.Fuzz()
