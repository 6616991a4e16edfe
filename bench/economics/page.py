"""The page that a full run of `bench/economy.py` writes: accuracy against tokens, the losses, the targets.

Turns outcomes into Markdown; what it computes is only what the tables show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.bounds import Bounded
from bench.economics.asking import Outcomes
from bench.economics.losses import FINE, FLAT_KINDS, accuracy, loss
from bench.economics.policies import CONTROLLED, DRAWN, UPLOADED, Policy
from bench.economics.views import SCALES, scale_of
from bench.evaluation.report import targets
from bench.evaluation.scores import tier_of
from bench.result import Measure
from standin.dataset import KINDS

COARSE = tuple(kind for kind in KINDS if tier_of(kind) == "coarse")
TIERS = {"all": KINDS, "coarse": COARSE, "fine": FINE}
SORTS = {
    "bars": "bar", "lines": "line", "pies": "pie", "tables": "table", "cards": "card", "scenes": "scene",
    "pages": "page",
}  # fmt: skip

METHOD = """\
Model `{model}`, {per_kind:,} held-out questions of each of {kinds} kinds (seed {seed}, set `{set}`), asked
through the running services over gRPC, {concurrency} at a time, greedy; {asks:,} asks in {seconds:,.0f} s
on {cores} cores. An answer is right when it is the expected text, letter by letter. Accuracy is percent, a
loss is points, both with 95 % bounds from a bootstrap over rows of questions that share pictures; every
question is asked under every policy, so losses are paired. Each kind counts alike."""

DRAWN_TEXT = """\
The pictures as they were drawn, 160 to 320 pixels a side, with text of 12 to 16 pixels. `off` keeps every
token. `flat` leaves squares of one colour out before the tower, `flat near` also those whose values differ
by at most {tolerance}. `auto` stops where the gain of SCOPE flattens. `economy` and `strong` are the
server's modes with its default reducer, SCOPE, by saliency and coverage; below them the others at the same
ratios: by difference (divprune), evenly (stride), at random, and by resizing the image, to whole
squares and so to about 7 % fewer tokens."""

CONTROL_TEXT = """\
`standin/control` is the same model, trained as long but for the last stages, in which the stand-in learns
from pictures that lose rows and squares. It shows what leaving tokens out costs a model that has never met
it."""

UPLOADED_TEXT = """\
The same pictures as people upload screenshots and scans: enlarged 1, 1.5, 2 or 3 times, a quarter of them
each. `native` is the size that was uploaded. The stand-in reads text of the height that it was trained on
and hardly any other, so at its native size an enlarged picture is read badly, and `detail=auto` gains
instead of losing; a model that reads all sizes would not gain so. The stricter comparison is with the
pictures as they were drawn, before they were enlarged: the last column."""


def page(
    facts: Mapping[str, Any],
    outcomes: Outcomes,
    found: Mapping[str, Measure],
    uniform: Mapping[str, tuple[float, float]],
    plot: str,
) -> str:
    """The whole page; `uniform` is, by sort of picture, the share of uniform squares and of those dropped."""
    parts = [
        "# What a visual token is worth",
        "Written by `python -m bench.economy`; do not edit.",
        METHOD.format_map({**facts, "set": facts["dataset"][:12]}),
        f"![Accuracy against visual tokens, a point a policy]({plot})",
        "## Targets",
        "The bound stands as the value where it is held to a target.",
        targets(found),
        "## Fewer tokens of the same pictures",
        DRAWN_TEXT.format_map(facts),
        _policies(outcomes, DRAWN),
        "## The control",
        CONTROL_TEXT,
        _policies(outcomes, CONTROLLED),
        "## Smaller rows",
        "The same questions to services whose rows rest and travel in fp8 and in int8, every token kept.",
        _policies(outcomes, [Policy(name, DRAWN[0].budget) for name in ("off", *facts["row_dtypes"])]),
        "## Squares of one colour",
        _uniform(uniform),
        "## The right size of what is uploaded",
        UPLOADED_TEXT,
        _by_scale(outcomes),
        "## By kind",
        _kinds(outcomes, [policy.name for policy in DRAWN]),
    ]
    return "\n\n".join(parts) + "\n"


def _policies(outcomes: Outcomes, policies: Sequence[Policy]) -> str:
    base = policies[0].name
    head = "| policy | tokens | accuracy | coarse | fine | points lost | on fine questions |"
    rows = [head, "|---|---:|---:|---:|---:|---:|---:|"]
    for policy in policies:
        tiers = [_plain(accuracy(outcomes, policy.name, kinds)) for kinds in TIERS.values()]
        losses = (
            ["", ""]
            if policy.name == base
            else [_points(loss(outcomes, base, policy.name, kinds)) for kinds in (KINDS, FINE)]
        )
        tokens = f"{outcomes.tokens[policy.name].mean():.1f}"
        rows.append(f"| {' | '.join([f'`{policy.name}`', tokens, *tiers, *losses])} |")
    return "\n".join(rows)


def _by_scale(outcomes: Outcomes) -> str:
    rows = ["| enlarged | policy | tokens | coarse | fine | points lost against as drawn |"]
    rows.append("|---:|---|---:|---:|---:|---:|")
    for scale in SCALES:
        part = _rows(outcomes, [row for row in range(outcomes.per_kind) if scale_of(row) == scale])
        if part.per_kind < 2:
            continue
        for policy in (DRAWN[0], *UPLOADED):
            drawn = policy is DRAWN[0]
            name = "as drawn" if drawn else policy.name
            tiers = [_plain(accuracy(part, policy.name, kinds)) for kinds in (COARSE, FINE)]
            lost = "" if drawn else _points(loss(part, DRAWN[0].name, policy.name))
            tokens = f"{part.tokens[policy.name].mean():.1f}"
            rows.append(f"| {scale:g} | `{name}` | {tokens} | {' | '.join([*tiers, lost])} |")
    return "\n".join(rows)


def _rows(outcomes: Outcomes, rows: Sequence[int]) -> Outcomes:
    part = Outcomes(len(rows))
    part.right = {name: right[:, rows] for name, right in outcomes.right.items()}
    part.tokens = {name: tokens[:, rows] for name, tokens in outcomes.tokens.items()}
    return part


def _uniform(uniform: Mapping[str, tuple[float, float]]) -> str:
    rows = ["| pictures | squares of exactly one colour | of these dropped |", "|---|---:|---:|"]
    rows += [f"| {sort} | {share:.1%} | {dropped:.1%} |" for sort, (share, dropped) in uniform.items()]
    kinds = ", ".join(f"`{kind}`" for kind in FLAT_KINDS)
    return "\n".join(rows) + f"\n\n`flat_loss` is over the questions about charts, tables and pages: {kinds}."


def _kinds(outcomes: Outcomes, names: Sequence[str]) -> str:
    rows = [f"| kind | {' | '.join(f'`{name}`' for name in names)} |", "|---|" + "---:|" * len(names)]
    for place, kind in enumerate(KINDS):
        shares = [f"{100 * outcomes.right[name][place].mean():.1f}" for name in names]
        rows.append(f"| `{kind}` | {' | '.join(shares)} |")
    return "\n".join(rows)


def _plain(found: Bounded) -> str:
    return f"{found.value:.1f} ({found.lower:.1f} to {found.upper:.1f})"


def _points(found: Bounded) -> str:
    return f"{found.value:+.2f} ({found.lower:+.2f} to {found.upper:+.2f})"
