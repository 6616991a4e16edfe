"""Two tenants and the same images: what one can learn of what the other holds.

A pair is an image that tenant A has uploaded and asked about, and another that nobody holds, of the same size
and kind; the same goes for a text and a response format. Tenant B makes the same calls about both, in random
order, by id before its own upload too. The members of a pair must not differ in any number, text or header
but those of content and times, and a classifier on all numbers must do no better than chance. In some pairs a
second token of tenant A takes the place of B: there the case must see the difference.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

import numpy as np

from bench import services
from bench.fault_cases import classifier
from bench.fault_cases.classifier import Floats
from bench.fault_cases.pairs import SIDE, Callers, Pair, Secret
from bench.result import Measure, Result
from bench.runner import Run
from fovea.server.identity import Identity, Role
from fovea.server.tokens import entry
from standin import model_dir

FEWEST = 100
"""Fewer pairs do not tell a classifier from chance."""
CHANCE, SEES = 0.6, 0.9
TENANTS = {"A": "acme", "A again": "acme", "B": "other"}
"""By token."""
DECODER, OPERATOR = "decoder", "operator"


def measure(run: Run) -> Result:
    pairs, controls = run.effort((400, 60), (4, 2))
    callers, dice, lost = start(run), random.Random(run.seed), 0
    taken: dict[str, list[Pair]] = {"B": [], "A again": []}
    for token, count in (("B", pairs), ("A again", controls)):
        for number in range(count):
            run.status(f"pair {number + 1} of {count} as {token}")
            first = 2 * (number if token == "B" else pairs + number)
            held, fresh = (Secret.draw(first + member, run.seed) for member in (0, 1))
            callers.observe("A", held)
            seen = {secret: callers.observe(token, secret) for secret in dice.sample([held, fresh], 2)}
            if token == "B":
                for secret in dice.sample([held, fresh], 2):
                    seen[secret] |= callers.delete(token, secret)
                callers.purge(OPERATOR, TENANTS["B"])
                lost += not callers.holds("A", held)
            taken[token].append(Pair(seen[held], seen[fresh]))
    return Result(
        config={"pairs": pairs, "controls": controls, "side": SIDE},
        sides={},
        measures=measures(taken["B"], taken["A again"], lost, run.seed),
        notes=notes(taken["B"]),
    )


def start(run: Run) -> Callers:
    tokens, own = run.folder / "tokens.toml", run.folder / "token"
    identities = {name: Identity(tenant, Role.USER) for name, tenant in TENANTS.items()}
    identities |= {DECODER: Identity("default", Role.SERVICE), OPERATOR: Identity("ops", Role.OPERATOR)}
    tokens.write_text("\n".join(entry(token, identity) for token, identity in identities.items()))
    own.write_text(DECODER)
    encoder, decoder = services.pair(
        model_dir(),
        run.folder / "cache",
        ("--tokens", str(tokens)),
        ("--arena-bytes", str(64 << 20)),
        ("--encoder-token-file", str(own), "--row-cache-bytes", str(64 << 20)),
    )
    run.start(encoder, decoder)
    return Callers(encoder.address, decoder.address)


def measures(pairs: Sequence[Pair], controls: Sequence[Pair], lost: int, seed: int) -> dict[str, Measure]:
    names, differences = figures(pairs)
    n = len(pairs)
    counts = {
        "cross_hits": sum(pair.hits() for pair in pairs),
        "cross_reads": sum(pair.reads() for pair in pairs),
        "differing": sum(len(pair.differing()) for pair in pairs),
        "lost": lost,
    }
    told = classifier.auc(differences, seed)
    single = classifier.best_figure(differences)[1]
    classified = {
        "auc": Measure.of("AUC", told, CHANCE, "at most"),
        "off_chance": Measure("AUC", abs(told.value - 0.5), n, target=CHANCE - 0.5, sense="at most"),
        "single_auc": Measure("AUC", single, n, target=CHANCE, sense="at most"),
        "control_auc": Measure.of("AUC", classifier.auc(figures(controls)[1], seed), SEES),
    }
    return {
        **{name: Measure("count", count, n, target=0, sense="at most") for name, count in counts.items()},
        **{name: taken if n >= FEWEST else taken.owed() for name, taken in classified.items()},
        "figures": Measure("count", len(names), n),
        "control_hits": Measure("count", sum(pair.hits() for pair in controls), len(controls), target=1),
    }


def figures(pairs: Sequence[Pair]) -> tuple[list[str], Floats]:
    """The numbers that differ in any pair, and their differences (pairs, figures), 0 where one is missing."""
    names = sorted({name for pair in pairs for name, value in pair.held.items() if isinstance(value, float)})

    def difference(pair: Pair, name: str) -> float:
        held, fresh = pair.held.get(name), pair.fresh.get(name)
        return held - fresh if isinstance(held, float) and isinstance(fresh, float) else 0.0

    table = np.array([[difference(pair, name) for name in names] for pair in pairs])
    varied = np.flatnonzero(table.any(axis=0))
    return [names[at] for at in varied], table[:, varied]


def notes(pairs: Sequence[Pair]) -> list[str]:
    names, differences = figures(pairs)
    at, alone = classifier.best_figure(differences)
    counted = Counter(name for pair in pairs for name in pair.differing())
    return [
        f"the figure that tells most by itself, of {len(names)}: {names[at]}, AUC {alone:.3f}",
        *(f"differs in {count} pairs: {name}" for name, count in counted.most_common(12)),
    ]
