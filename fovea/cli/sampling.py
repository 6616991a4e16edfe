"""The options for how tokens are sampled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fovea.cli.options import UINT32, takes

if TYPE_CHECKING:
    from fovea.client import Sampling

PANEL = "Sampling"


def _option(*names: str, **options: Any) -> Any:
    return typer.Option(*names, rich_help_panel=PANEL, show_default=False, **options)


@dataclass(frozen=True)
class SamplingFlags:
    """The sampling options as given; None if not given. The names are those of the client's Sampling."""

    max_new_tokens: Annotated[
        int | None,
        _option("--max-new-tokens", min=1, max=UINT32, metavar="N", help="The longest answer, in tokens."),
    ] = None
    temperature: Annotated[
        float | None, _option("--temperature", help="0, the default, takes the likeliest token.")
    ] = None
    top_p: Annotated[
        float | None,
        _option("--top-p", help="Sample from the likeliest tokens up to this total probability."),
    ] = None
    top_k: Annotated[
        int | None,
        _option("--top-k", min=0, max=UINT32, help="Sample from this many likeliest tokens."),
    ] = None
    min_p: Annotated[
        float | None, _option("--min-p", help="Drop tokens less likely than this share of the likeliest.")
    ] = None
    repetition_penalty: Annotated[
        float | None, _option("--repetition-penalty", help="Above 1 avoids repeating.")
    ] = None
    presence_penalty: Annotated[
        float | None,
        _option("--presence-penalty", help="Above 0 avoids tokens that the answer has already. -2 to 2."),
    ] = None
    frequency_penalty: Annotated[
        float | None,
        _option("--frequency-penalty", help="As --presence-penalty, for each time that it has them."),
    ] = None
    logit_bias: Annotated[
        list[str] | None,
        _option("--logit-bias", metavar="ID:BIAS", help="Add this to the logit of a token; may be repeated."),
    ] = None
    checkpoint_defaults: Annotated[
        bool,
        _option("--checkpoint-defaults", help="Take what is not given from the checkpoint's own defaults."),
    ] = False
    seed: Annotated[int | None, _option("--seed", min=0, max=UINT32, help="Makes sampling repeatable.")] = (
        None
    )
    stop: Annotated[list[str] | None, _option("--stop", help="Stop before this text; may be repeated.")] = (
        None
    )

    def sampling(self) -> Sampling:
        """Raises BadParameter for a bias that is not ID:BIAS."""
        from fovea.client import Sampling

        given: dict[str, Any] = asdict(self)
        given["logit_bias"] = _biases(self.logit_bias) if self.logit_bias else None
        given["stop"] = self.stop or None
        return Sampling.of(**given)


def _biases(given: Sequence[str]) -> dict[int, float]:
    """Biases by token id. The server checks their range."""
    return dict(map(_bias, given))


def _bias(text: str) -> tuple[int, float]:
    token, _, bias = text.partition(":")
    try:
        pair = int(token), float(bias)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not ID:BIAS, as in 151645:-100") from None
    if not 0 <= pair[0] <= UINT32:
        raise typer.BadParameter(f"{text!r}: a token id is between 0 and {UINT32}")
    return pair


takes_sampling = takes("flags", SamplingFlags)
"""Replaces a command's parameter `flags` by all options of SamplingFlags."""
