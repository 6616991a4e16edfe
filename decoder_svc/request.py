"""A request as the service hands it over, and what an answer is made of: plain values, no protobuf.

An image is given by its bytes or by the id of a stored one; its place in `messages` is its index in `images`.
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
    """`data` is None where the caller named a stored image. Where `size` is told, there is no image yet, and
    no digest: only its cost is asked for. `path` names the image's field in the request, for errors.
    """

    digest: str
    data: bytes | None = None
    size: tuple[int, int] | None = None
    path: str = ""


@dataclass(frozen=True)
class ChatRequest:
    """One conversation to continue."""

    id: str
    messages: tuple[ChatMessage, ...]
    images: tuple[ImageInput, ...]
    sampling: Sampling
    budget: ServerBudget


@dataclass(frozen=True)
class Thinned:
    """So many rows there were before those went that the image before has too."""

    before: int
    share: float


@dataclass(frozen=True)
class PlannedImage:
    """An image in one place of the request, with its size as a viewer shows it and what it becomes.

    `encoded` of its rows are computed and `sent` of them used, at most; fewer than `sent_min` they are not.
    A place that is `referred` has a line of text instead. `sizing` are the steps from the checkpoint's own
    limits to its size.
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
        """Visual tokens that it costs in this place, at most."""
        return 0 if self.referred else self.sent

    @property
    def tokens_min(self) -> int:
        return 0 if self.referred else self.sent_min

    @property
    def rows(self) -> int:
        """Rows that are kept of it, beside those of earlier places."""
        return self.sent if self.repeat_of is None else 0

    @property
    def patches(self) -> int:
        """What the tower computes of it, where its rows are not stored."""
        return self.encoded * self.planned.patches // self.planned.tokens

    @property
    def steps(self) -> tuple[Step, ...]:
        """Everything that was done to it, in order."""
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
    """What a prompt costs: its text, its visual tokens within bounds, the rows of different images."""

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
    """What that means for this server."""

    kv_bytes: int
    prefill_flops: float
    fits_context: bool
