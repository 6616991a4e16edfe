"""Scores a model folder on held-out questions by kind: native, half size, a blank image instead.

Runs the training forward on the folder's own (bf16-rounded) weights in fp32; an answer is right when
greedy decoding would give it
token for token. The services are scored by `make eval`; this is the quick look between training runs.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from standin import model_dir
from standin.checkpoint import load_folder
from standin.config import IMAGE_SIZE
from standin.dataset import KINDS, HeldOut, heldout, pack
from standin.questions import CHANCE, FINE, Asked
from standin.whole import run_batch

VIEWS = ("native", "half", "blank")


def smart_size(width: int, height: int, most: int = IMAGE_SIZE["longest_edge"]) -> tuple[int, int]:
    """The size the published processor gives a picture.

    Sides are multiples of 32, at most `most` pixels.
    """
    wide, high = round(width / 32) * 32, round(height / 32) * 32
    if wide * high > most:
        beta = (width * height / most) ** 0.5
        wide, high = (max(32, int(side / beta // 32) * 32) for side in (width, height))
    return wide, high


def viewed(image: Image.Image, view: str, most: int = IMAGE_SIZE["longest_edge"]) -> np.ndarray:
    """The picture as the tower gets it: (H, W, 3) uint8, of at most `most` pixels.

    Half size means a quarter of the pixels at most.
    """
    width, height = image.size
    if view == "blank":
        image = Image.new("RGB", image.size, (255, 255, 255))
    size = smart_size(width, height, min(most, width * height // 4) if view == "half" else most)
    return np.asarray(image.resize(size, Image.Resampling.BICUBIC) if size != image.size else image)


@torch.no_grad()
def right_answers(
    model: nn.Module,
    asked: Iterable[HeldOut],
    view: str,
    keep: float = 1.0,
    most: int = IMAGE_SIZE["longest_edge"],
) -> list[bool]:
    """Whether each question is answered right; `keep` below 1 drops random visual rows."""
    by_size: dict[tuple[int, ...], list[tuple[int, np.ndarray, HeldOut]]] = defaultdict(list)
    for place, one in enumerate(asked):
        picture = viewed(one.image, view, most)
        by_size[picture.shape].append((place, picture, one))
    verdicts: dict[int, bool] = {}
    for shape, group in by_size.items():
        for start in range(0, len(group), 32):
            part = group[start : start + 32]
            batch = pack(
                [picture for _, picture, _ in part],
                None,
                [[Asked(h.kind, h.question, h.answer)] for _, _, h in part],
            )
            rows = shape[0] * shape[1] // 1024
            kept = torch.rand(len(part), rows) < keep if keep < 1 else None
            arrays = (torch.from_numpy(one) for one in (batch.pictures, batch.tokens, batch.targets))
            done = run_batch(model, *arrays, kept)
            verdicts |= {place: bool(ok) for (place, _, _), ok in zip(part, done.right[:, 0], strict=True)}
    return [verdicts[place] for place in sorted(verdicts)]


def score(folder: Path, count: int, seed: int, views: tuple[str, ...]) -> dict[str, dict[str, float]]:
    """Share of right answers by kind and view."""
    model = load_folder(folder).eval()
    most = json.loads((folder / "preprocessor_config.json").read_text())["size"]["longest_edge"]
    table = {}
    for kind in KINDS:
        asked = list(heldout(kind, count, seed))
        table[kind] = {view: sum(right_answers(model, asked, view, most=most)) / count for view in views}
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=model_dir())
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--views", nargs="*", default=list(VIEWS), choices=VIEWS)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    table = score(options.folder, options.count, options.seed, tuple(options.views))
    for kind, shares in sorted(table.items(), key=lambda item: item[0] in FINE):
        shown = "  ".join(f"{view} {share:.3f}" for view, share in shares.items())
        print(f"{'fine' if kind in FINE else 'coarse':6} {kind:14} chance {CHANCE[kind]:.3f}  {shown}")
    means = {
        tier: {
            view: round(float(np.mean([table[k][view] for k in table if (k in FINE) == (tier == "fine")])), 4)
            for view in options.views
        }
        for tier in ("coarse", "fine")
    }
    print(json.dumps({"count": options.count, "seed": options.seed, **means}))


if __name__ == "__main__":
    main()
