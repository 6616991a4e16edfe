"""Text instead of pixels: what reading screenshots of plain text by OCR saves, loses and costs.

The screenshots are drawn with real fonts at 12 to 24 px and read by the encoder's own reader, in its worker
processes. The rules are those of a tier of kind `text` with its default settings.

`tokens_saved` is the share of visual tokens that is saved over all screenshots, if their kind is TEXT; those
that the tier would not replace count with their pixels. The kind is the encoder's to tell: `called_text` is
the share of the screenshots that its rules call TEXT, `tokens_saved_by_rules` what is saved if only these are
replaced. `replaced` is the share that the tier replaces, `dense_replaced` that of pages full of small text,
which cost more as text. `character_errors` is the Levenshtein distance to the drawn text over its length,
white space folded. `facts_kept` is the share of planted names, numbers, dates and amounts that the text of
replaced screenshots has verbatim: a question about a fact that is not kept cannot be answered right.

Break-even at Qwen3-VL-30B-A3B. Reading costs `cpu_s` seconds of a CPU core. What it saves on a GPU is

    gpu_s = (prefill(v) - prefill(t) + vision(p)) / rate

with v visual tokens, t tokens of text in their place, p patches. `prefill` counts two operations per active
weight and token and four per attended pair, layer, head and dimension (`decoder_svc/budget/cost.py`);
`vision` counts the tower's matrix products (`bench/parts/roofline.py`); both from the published config. The
rate is 790 TFLOP/s, a large bf16 product on an H200. `break_even_price` is cpu_s / gpu_s: reading pays once a
second of the GPU costs that many times a second of a core. An image that is read once and asked about k times
divides it by k. KV memory and decoding are left out, which favours the pixels.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

from tokenizers import Tokenizer

from bench import bounds
from bench.parts.roofline import vision_flops
from bench.parts.screens import Screen, draw_dense, draw_screens
from bench.result import Measure, Result
from bench.runner import Run
from decoder_svc.budget.cost import PrefillCost
from decoder_svc.tiers.substitute import fence
from decoder_svc.tiers.text import TextSettings
from encoder_svc.images.decoder import Decoder
from encoder_svc.images.limits import ImageLimits
from encoder_svc.reading.engine import find_reader
from encoder_svc.reading.reader import ReaderLimits, TextReader
from encoder_svc.store.keys import UploadKey, tenant_id
from fovea.checkpoint import read_json
from fovea.contract.image import ImageFacts, ImageKind
from fovea.contract.rows import digest
from fovea.contract.text import ImageText
from fovea.geometry import Geometry
from fovea.nursery.limits import ChildLimits
from standin import model_dir

VOCABULARY = Path(__file__).parents[2] / "build/qwen3/tokenizer.json"
CONFIG = Path(__file__).parent / "qwen3_vl_30b_a3b.json"
FLOPS_PER_S = 790e12
SAVED, KEPT = 0.70, 0.99
CHILD = ChildLimits(cpu_s=120, memory_bytes=2 << 30)


@dataclass(frozen=True)
class Reading:
    """A screenshot as the encoder sees it, and its tokens as pixels and as text."""

    screen: Screen
    facts: ImageFacts
    text: ImageText
    visual_tokens: int
    text_tokens: int
    patches: int

    @property
    def replaced(self) -> bool:
        """Whether a tier with default settings replaces the pixels of an image of kind TEXT."""
        rules = TextSettings()
        sure = self.text.confidence >= rules.min_confidence
        return sure and self.text_tokens <= self.visual_tokens * (1 - rules.min_saving)

    @property
    def is_text(self) -> bool:
        """As the encoder's rules see it."""
        return self.facts.kind is ImageKind.TEXT

    @property
    def tokens(self) -> int:
        return self.text_tokens if self.replaced else self.visual_tokens

    @property
    def tokens_by_rules(self) -> int:
        return self.tokens if self.is_text else self.visual_tokens

    @property
    def error_rate(self) -> float:
        drawn = _folded(self.screen.text)
        return distance(drawn, _folded(str(self.text))) / len(drawn)

    @property
    def facts_kept(self) -> list[bool]:
        read = _folded(str(self.text))
        return [fact in read for fact in self.screen.facts]


def measure_ocr(run: Run) -> Result:
    """Raises TextReaderMissing if the extra `ocr` is not installed."""
    screens = draw_screens(run.effort(96, 12), run.seed)
    dense = draw_dense(run.effort(8, 2), run.seed)
    tokenizer, vocabulary = _tokenizer()
    readings = asyncio.run(_read([*screens, *dense], tokenizer, run))
    plain, full = readings[: len(screens)], readings[len(screens) :]
    replaced = [reading for reading in plain if reading.replaced]
    kept = [kept for reading in replaced for kept in reading.facts_kept]
    cpu_s = [reading.text.cpu_ms / 1000 for reading in plain]
    measures = {
        "tokens_saved": _saved(plain, [each.tokens for each in plain], run.seed, SAVED),
        "tokens_saved_by_rules": _saved(plain, [each.tokens_by_rules for each in plain], run.seed),
        "called_text": Measure.of("share", bounds.share(sum(each.is_text for each in plain), len(plain))),
        "replaced": Measure.of("share", bounds.share(len(replaced), len(plain))),
        "dense_replaced": Measure.of("share", bounds.share(sum(r.replaced for r in full), len(full))),
        "character_errors": Measure.of("share", bounds.mean([r.error_rate for r in plain], run.seed)),
        "facts_kept": Measure.of("share", bounds.share(sum(kept), len(kept)), KEPT),
        "cpu_s": Measure.median("s", cpu_s, run.seed),
        "break_even_price": Measure.median("x", [_break_even(each) for each in replaced], run.seed),
        "answers_text_less_pixels": Measure("share", None, target=0.0),
    }
    reader = find_reader("rapidocr")
    return Result(
        config={
            "screens": len(screens),
            "dense": len(dense),
            "reader": str(reader),
            "vocabulary": vocabulary,
        },
        sides={"ours": {"reader": str(reader)}},
        measures=measures,
        dataset_digest="sha256:" + hashlib.sha256(b"".join(s.data for s in screens)).hexdigest(),
        facts=[_by_height(plain)],
        notes=[
            "answers_text_less_pixels is owed: the stand-in learned to read pixels, not text in the prompt."
            " A model that reads both is needed to compare its answers.",
            f"tokens are counted with {vocabulary}",
        ],
    )


async def _read(screens: Sequence[Screen], tokenizer: Tokenizer, run: Run) -> list[Reading]:
    limits = ImageLimits()
    with (
        closing(Decoder(limits, CHILD, 1)) as decoder,
        closing(TextReader(find_reader("rapidocr"), limits, ReaderLimits(), CHILD)) as reader,
    ):
        readings = []
        for at, screen in enumerate(screens):
            run.status(f"reading screenshot {at + 1} of {len(screens)}")
            key = UploadKey.of(tenant_id("bench"), digest(screen.data))
            facts = await decoder.facts(key, screen.data)
            text = await reader.read(key, screen.data)
            plan = Geometry().plan(facts.width, facts.height)
            fenced = tokenizer.encode(fence(1, str(text)), add_special_tokens=False).ids
            readings.append(Reading(screen, facts, text, plan.tokens, len(fenced), plan.patches))
    return readings


def _tokenizer() -> tuple[Tokenizer, str]:
    """Qwen3's own vocabulary where `make test` has fetched it, else that of the stand-in."""
    if VOCABULARY.exists():
        return Tokenizer.from_file(str(VOCABULARY)), "the vocabulary of Qwen3"
    return Tokenizer.from_file(str(model_dir() / "tokenizer.json")), "the stand-in's vocabulary"


def _saved(
    readings: Sequence[Reading], tokens: Sequence[int], seed: int, target: float | None = None
) -> Measure:
    spent = bounds.ratio_of_means(tokens, [reading.visual_tokens for reading in readings], seed)
    return Measure("share", 1 - spent.value, spent.n, 1 - spent.upper, 1 - spent.lower, target)


def _break_even(reading: Reading) -> float:
    config = read_json(CONFIG.parent, CONFIG.name)
    prefill = PrefillCost.of(config["text_config"])
    vision = vision_flops(SimpleNamespace(**config["vision_config"]), reading.patches)
    saved = prefill.flops(reading.visual_tokens) - prefill.flops(reading.text_tokens) + vision
    return reading.text.cpu_ms / 1000 / (saved / FLOPS_PER_S)


def _by_height(readings: Sequence[Reading]) -> str:
    heights = sorted({reading.screen.height for reading in readings})
    parts = []
    for height in heights:
        some = [reading for reading in readings if reading.screen.height == height]
        errors = sum(reading.error_rate for reading in some) / len(some)
        saved = 1 - sum(r.tokens for r in some) / sum(r.visual_tokens for r in some)
        parts.append(f"{height} px: {saved:.0%} saved, {errors:.2%} of characters wrong")
    return "; ".join(parts)


def _folded(text: str) -> str:
    return " ".join(text.split())


def distance(left: str, right: str) -> int:
    """Levenshtein's: the fewest insertions, deletions and replacements between two texts."""
    previous = list(range(len(right) + 1))
    for row, here in enumerate(left, 1):
        current = [row]
        for at, there in enumerate(right, 1):
            replaced = previous[at - 1] + (here != there)
            current.append(min(previous[at] + 1, current[at - 1] + 1, replaced))
        previous = current
    return previous[-1]
