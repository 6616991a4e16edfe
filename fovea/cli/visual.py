"""The options for the cost of images, shared by every command that sends some."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from fovea.cli.options import UINT32, takes

if TYPE_CHECKING:
    from fovea.client import Budget

PANEL = "Visual tokens"
MOST_TOLERANCE = 32
"""As in fovea.contract.plan, which is not imported for `--help`; a test compares them."""


def _option(*names: str, **options: Any) -> Any:
    return typer.Option(*names, rich_help_panel=PANEL, show_default=False, **options)


def _number(*names: str, help: str) -> Any:
    return _option(*names, min=1, max=UINT32, metavar="N", help=help)


def _share(*names: str, help: str) -> Any:
    return _option(*names, min=0.0, max=1.0, metavar="SHARE", help=help)


DropFlat = Annotated[bool, _option("--drop-flat", help="Drop uniform patches.")]
FlatTolerance = Annotated[
    int | None,
    _option(
        "--flat-tolerance",
        min=0,
        max=MOST_TOLERANCE,
        metavar="N",
        help="Drop patches whose colours differ by at most this.",
    ),
]
Keep = Annotated[
    float | None, _share("--keep", help="Keep this share of the visual tokens, at least 16 of an image.")
]
MaxPixels = Annotated[int | None, _number("--max-pixels", help="Shrink each image to this many pixels.")]


@dataclass(frozen=True)
class Visual:
    """The budget options as given; None if not given. The names are those of the client's Budget."""

    max_pixels: MaxPixels = None
    max_visual_tokens: Annotated[
        int | None, _number("--budget", help="The most visual tokens of all images together.")
    ] = None
    min_tokens: Annotated[
        int | None, _number("--min-tokens", help="Give each image at least this many of the budget.")
    ] = None
    refuse: Annotated[
        bool, _option("--refuse-over-budget", help="Fail where images do not fit, instead of shrinking them.")
    ] = False
    detail: Annotated[
        Literal["low", "high", "auto"] | None, _option("--detail", help="How much of each image matters.")
    ] = None
    min_detail: Annotated[
        Literal["low", "high", "auto"] | None,
        _option("--min-detail", help="The lowest detail when the server is near a limit."),
    ] = None
    max_short_side: Annotated[
        int | None, _number("--short-side", help="Shrink the shorter side to this many pixels.")
    ] = None
    max_long_side: Annotated[
        int | None, _number("--long-side", help="Shrink the longer side to this many pixels.")
    ] = None
    drop_flat: DropFlat = False
    flat_tolerance: FlatTolerance = None
    reduction: Annotated[
        Literal["off", "economy", "strong", "auto"] | None,
        _option("--reduction", help="Keep all, 75 %, 50 % or what adds information."),
    ] = None
    keep: Keep = None
    reducer: Annotated[
        Literal["resize", "scope", "divprune", "stride", "random"] | None,
        _option("--reducer", help="How visual tokens are ranked."),
    ] = None
    repeat_policy: Annotated[
        Literal["keep", "reference"] | None,
        _option("--repeat", help="What to do with a repeated image."),
    ] = None
    near_repeats: Annotated[
        float | None,
        _share("--near-repeats", help="Keep this share of consecutive similar images, such as video frames."),
    ] = None

    def budget(self) -> Budget:
        from fovea.contract.budget import Budget, OnOverBudget

        options = {name: value for name, value in asdict(self).items() if value is not None}
        refuse, drop_flat = options.pop("refuse"), options.pop("drop_flat")
        options["flat_tolerance"] = tolerance(drop_flat, self.flat_tolerance)
        return Budget(**options, on_over_budget=OnOverBudget.REFUSE if refuse else None)


def tolerance(drop_flat: bool, flat_tolerance: int | None) -> int | None:
    """The colour tolerance for dropping uniform patches; None drops none."""
    return 0 if drop_flat and flat_tolerance is None else flat_tolerance


takes_visual = takes("visual", Visual)
"""Replaces a command's parameter `visual` by all options of Visual."""
