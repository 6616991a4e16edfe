"""Options that several commands share."""

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

DECODER_HINT = "Start both services with `fovea serve`, or name another decoder with --decoder"
ENCODER_HINT = "Start both services with `fovea serve`, or name another encoder with --encoder"

# Equal to fovea.client's, which is not imported for `--help`; a test compares them.
DECODER = "127.0.0.1:50052"
ENCODER = "127.0.0.1:50051"
