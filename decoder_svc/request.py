"""A chat request and its planned images: plain values, no protobuf.

An image is given by its bytes or by the digest of a stored image. An ImagePart of `messages` holds its index
in `images`.
"""

from __future__ import annotations

from dataclasses import dataclass

from decoder_svc.budget.budget import ServerBudget
from decoder_svc.engine.protocol import Sampling
from decoder_svc.prompt.messages import ChatMessage
from fovea.contract.image import ImageKind
from fovea.contract.plan import EncodePlan
from fovea.contract.receipt import Step
from fovea.geometry import Planned


@dataclass(frozen=True)
class ImageInput:
    """`data` is None if the caller names a stored image. With `size` there is no image and no digest: only
    its cost is counted. `path` is the image's field in the request, for errors.
    """

    digest: str
    data: bytes | None = None
    size: tuple[int, int] | None = None
    path: str = ""


@dataclass(frozen=True)
class ChatRequest:
    """A conversation to continue."""

    id: str
    messages: tuple[ChatMessage, ...]
    images: tuple[ImageInput, ...]
    sampling: Sampling
    budget: ServerBudget


@dataclass(frozen=True)
class Thinned:
    """Rows of a video frame before near repeats of the previous frame were dropped, and the share to keep."""

    before: int
    share: float


@dataclass(frozen=True)
class PlannedImage:
    """An image at a place of the request: its size as displayed, and its plan.

    At most `encoded` rows are computed; between `sent_min` and `sent` of them are used. A `referred` place
    holds a line of text instead. `sizing` lists the steps from the checkpoint's limits to the planned size.
    """

    digest: str
    width: int
    height: int
    plan: EncodePlan
    planned: Planned
    tokens_full: int
    encoded: int
    sent: int
    sent_min: int
    sizing: tuple[Step, ...] = ()
    kind: ImageKind = ImageKind.UNSPECIFIED
    repeat_of: int | None = None
    referred: bool = False
    kept: bytes = b""
    thinned: Thinned | None = None
    path: str = ""

    @property
    def tokens(self) -> int:
        """Upper bound of the visual tokens at this place."""
        return 0 if self.referred else self.sent

    @property
    def tokens_min(self) -> int:
        return 0 if self.referred else self.sent_min

    @property
    def rows(self) -> int:
        """Rows that this place adds; a repeat adds none."""
        return self.sent if self.repeat_of is None else 0

    @property
    def patches(self) -> int:
        """Patches that the tower computes if the rows are not stored."""
        return self.encoded * self.planned.patches // self.planned.tokens

    @property
    def steps(self) -> tuple[Step, ...]:
        """Every step that changed the token count, in order."""
        full, plan, steps = self.planned.tokens, self.plan, list(self.sizing)
        if plan.flat_tolerance is not None:
            steps.append(Step("flat", full, self.encoded, f"tolerance {plan.flat_tolerance}"))
        if not plan.rows.all:
            share = "auto" if plan.rows.auto else f"{plan.rows.keep:.0%}"
            chosen = self.thinned.before if self.thinned else self.sent
            steps.append(Step("reduce", self.encoded, chosen, f"{plan.rows.reducer.value} {share}"))
        if self.thinned:
            steps.append(Step("near_repeats", self.thinned.before, self.sent, f"{self.thinned.share:.0%}"))
        if self.referred:
            steps.append(Step("repeat", self.sent, 0, f"the same as image {(self.repeat_of or 0) + 1}"))
        return tuple(steps)


@dataclass(frozen=True)
class TokenCost:
    """Tokens of a prompt: text, bounds of the visual tokens, rows of the distinct images."""

    text_tokens: int
    visual_tokens: int
    visual_tokens_min: int
    rows: int

    @property
    def prompt_tokens(self) -> int:
        return self.text_tokens + self.visual_tokens

    @property
    def exact(self) -> bool:
        return self.visual_tokens == self.visual_tokens_min


@dataclass(frozen=True)
class RequestCost:
    """What a prompt costs on this server."""

    kv_bytes: int
    prefill_flops: float
    fits_context: bool
