"""The options that several commands share, each written once."""

from __future__ import annotations

from typing import Annotated

import typer

UINT32 = 2**32 - 1

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on one line.")]
Token = Annotated[
    str, typer.Option(envvar="FOVEA_TOKEN", show_envvar=True, help="Bearer token.", show_default=False)
]
DecoderAddress = Annotated[
    str, typer.Option("--decoder", envvar="FOVEA_DECODER", metavar="HOST:PORT", help="Where the decoder is.")
]
EncoderAddress = Annotated[
    str, typer.Option("--encoder", envvar="FOVEA_ENCODER", metavar="HOST:PORT", help="Where the encoder is.")
]

# As in fovea.client, which is not imported for a `--help`; a test holds the two together.
DECODER = "127.0.0.1:50052"
ENCODER = "127.0.0.1:50051"
