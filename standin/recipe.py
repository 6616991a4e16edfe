"""The recipe: which stages make the stand-in, its control and the small model, how long and on what. Runs
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from standin.config import LARGE, SMALL, Form
from standin.dataset import DRAWER_WEIGHTS, SIZES, ZOOM, Recipe

DENSE_LEVELS = [1.0, 0.0, 0.0, 0.2]  # weights of the dense labels: pooled rows, then the deepstack levels
BALANCE = 0.01  # weight of the routers' balance
LOOKING = 0.2
MOST_DROPPED = 0.6  # part of the visual rows that a picture can lose

TOWER_STEPS = 1400
TOWER_RATE = 2e-3


@dataclass(frozen=True)
class Stage:
    """One run of the trainer. The learning rate falls in a straight line from `rate` to `final_rate`."""

    name: str
    steps: int
    rate: float
    final_rate: float
    seed: int
    start: str  # the stage whose weights it takes
    form: Form = LARGE
    exported: bool = False
    dense: float = 0.2  # weight of the dense labels beside the answers
    naming: float = 0.3  # weight of naming what the visual rows show
    looking: float = LOOKING  # weight of looking where a quoted name leads
    drop: float = 0.0  # share of the pictures that lose a random part of their visual rows
    flat: float = 0.0  # share of the pictures that lose their uniform patches before the tower
    scope: float = 0.0  # share of the pictures that keep only their best rows
    counting: float = 1.0  # weight of the answers to questions that count
    fine: float = 1.0  # weight of the answers to fine questions
    zoom: float = 0.0  # share of the batches that are shrunk or enlarged a little
    zooms: tuple[float, float] = ZOOM  # from the smallest to the largest factor
    drawers: tuple[float, ...] = DRAWER_WEIGHTS
    half: float = 0.05  # share of the batches at half size
    coarse: float = 0.35  # share of coarse questions
    largest: int = 10**9  # pixels of the largest picture
    questions: int = 10  # behind one picture
    pixels: int = 590_000  # in a batch of one process
    warm_up: int = 100  # steps, after every start

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, warm-up apart."""
        done = step / self.steps
        return self.rate * (1 - done) + self.final_rate * done

    def data(self) -> Recipe:
        """What the training stream of this stage is made of."""
        return Recipe(
            sizes=tuple(size for size in SIZES if size[0] * size[1] <= self.largest),
            questions=self.questions,
            coarse_share=self.coarse,
            half_share=self.half,
            zoom_share=self.zoom,
            zoom=self.zooms,
            drawer_weights=self.drawers,
            pixels=self.pixels,
        )


TRUNK = Stage(
    "trunk", steps=4500, rate=2e-3, final_rate=1.1e-3, seed=1, start="tower", coarse=0.25, largest=50176
)
# All sizes, and the labels that say where a quoted name leads.
MORE = replace(TRUNK, name="more", steps=2000, rate=1.5e-3, seed=3, start="trunk", coarse=0.4, largest=10**9)
LAST = Stage(
    "model",
    steps=1100,
    rate=1.4e-3,
    final_rate=0.0,
    seed=2,
    start="more",
    exported=True,
    dense=0.1,
    naming=0.2,
    drop=0.4,
    half=0.08,
    warm_up=15,
)
CONTROL = replace(LAST, name="control", drop=0.0)
# What an economical server sends: only squares that show something, at sizes that are nearly right.
THRIFT = replace(
    LAST, name="thrift", start="model", steps=600, rate=8e-4, seed=5, drop=0.35, flat=0.5, zoom=0.4, half=0.03
)
# Counting by how much of a picture is what needs most to learn that squares may be gone.
SQUARES = replace(
    THRIFT,
    name="squares",
    start="thrift",
    steps=700,
    rate=7e-4,
    seed=6,
    drop=0.25,
    flat=0.65,
    zoom=0.25,
    coarse=0.5,
)
# The rows that the encoder itself would keep, and counting once more.
BEST = replace(
    SQUARES,
    name="best",
    start="squares",
    steps=1800,
    rate=8e-4,
    seed=7,
    drop=0.1,
    flat=0.45,
    scope=0.45,
    counting=2.5,
    zoom=0.2,
    half=0.03,
)
# The small model: pictures of at most as many visual tokens as its processor makes. Fine questions stay, with
# little weight, so that it learns how sure it can be of them.
SMALL_STAGE = Stage(
    "small",
    steps=1600,
    rate=1.5e-3,
    final_rate=0.0,
    seed=8,
    start="best",
    form=SMALL,
    exported=True,
    dense=0.1,
    naming=0.0,
    looking=0.0,
    counting=1.5,
    fine=0.25,
    zoom=0.75,
    zooms=(0.65, 1.0),
    drawers=(1.6, 1.3, 1.2, 1.0, 0.4, 1.6, 1.0),
    half=0.02,
    coarse=0.8,
    questions=6,
    pixels=600_000,
    warm_up=40,
)
STAGES = {stage.name: stage for stage in (TRUNK, MORE, LAST, CONTROL, THRIFT, SQUARES, BEST, SMALL_STAGE)}
