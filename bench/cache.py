"""What the caches save, at 768x768: time to first token cold, with rows, with KV, and after a restart.

Measures, with both services in their default configuration and the stand-in (see `standin`) as the model:

- `hit_encode_share`: the encode stage of the receipt on a row hit, against cold;
- `prefix`: time to first token on a prefix hit, against cold; owed if the engine reuses no KV;
- `restart`: the first question after a restart of both services, with stored rows, against later questions.

Cold is a new picture. A turn later, when its rows have been written, it gets two more questions. The first
puts a new text before the picture: no token of the picture can be in the KV cache, so its rows are reused.
The second begins with the picture, as the cold question did, so its KV can be reused. The receipt says what
was reused; an answer from another source is refused, except for the prefix.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from bench import runner, services
from bench.host import side
from bench.parts.photo import photos
from bench.parts.timing import TimedAnswer, time_answer
from bench.result import Measure, Result, medians
from bench.runner import Run
from bench.services import Services
from bench.turns import turns
from fovea.cli.children import Launch
from fovea.client import Client, Message
from fovea.client.messages import Image
from standin import model_dir

SIDE = 768
HIT_ENCODE_TARGET = 0.05
PREFIX_TARGET = 0.35
RESTART_TARGET = 1.2
WARM_QUESTIONS = 3
SERIES = 31

Restarts = Sequence[Sequence[float]]
"""By restart: milliseconds to the first token of the first question and of those after it."""


@dataclass(frozen=True)
class Effort:
    """How long is measured."""

    visits_s: float = 60.0
    least: int = 10
    restarts: int = 12


QUICK = Effort(visits_s=3.0, least=4, restarts=2)


@dataclass
class Visits:
    """The answers, a value for each turn."""

    cold: list[TimedAnswer] = field(default_factory=list)
    rows: list[TimedAnswer] = field(default_factory=list)
    prefix: list[TimedAnswer] = field(default_factory=list)


def measure(run: Run) -> Result:
    effort = run.effort(Effort(), QUICK)
    launched = services.pair(model_dir(), run.folder)
    running = run.start(*launched)
    run.status("cold, rows, prefix")
    visits = visit(launched[-1].address, effort, run.seed)
    run.status("restarts")
    restarts = restart(running, launched, effort.restarts, run.seed)
    return Result(
        config={"model": model_dir().name, "image": [SIDE, SIDE], **vars(effort)},
        sides={"ours": side("fovea")},
        measures=measures(visits, restarts, run.seed),
    )


def visit(address: str, effort: Effort, seed: int) -> Visits:
    """Against a running decoder, with a new picture every turn."""
    visits, texts, pictures = Visits(), _texts(seed), photos(seed, SERIES, SIDE)
    with Client(address) as client:
        previous = next(pictures)
        time_answer(client, "What is this?", [previous])  # not counted: connects, warms up
        for _ in turns(effort.visits_s, effort.least):
            picture = next(pictures)
            visits.cold.append(time_answer(client, "What is this?", [picture]).came_from("encoded"))
            visits.prefix.append(time_answer(client, "How many are there?", [previous]))
            visits.rows.append(_answer_from_rows(client, next(texts), previous))
            previous = picture
    return visits


def restart(running: Services, launched: Sequence[Launch], rounds: int, seed: int) -> Restarts:
    """Restart both services `rounds` times, and each time ask about the first picture of `visit`.

    The client connects before its first question, as a connection pool would. The services have had no other
    request by then.
    """
    restarts, texts = list[list[float]](), _texts(seed + 1)
    picture = next(photos(seed, SERIES, SIDE))
    for _ in range(rounds):
        running = running.restarted(launched)
        with Client(launched[-1].address) as client:
            client.info()
            answers = [_answer_from_rows(client, next(texts), picture) for _ in range(1 + WARM_QUESTIONS)]
        restarts.append(_ttft(answers))
    return restarts


def measures(visits: Visits, restarts: Restarts, seed: int) -> dict[str, Measure]:
    """The promised ratios, and the times they are made of."""
    cold, rows, prefix = _ttft(visits.cold), _ttft(visits.rows), _ttft(visits.prefix)
    if any(answer.sources != {"prefix"} for answer in visits.prefix):
        prefix = []  # owed
    first = [times[0] for times in restarts]
    later = [statistics.median(times[1:]) for times in restarts]
    hit, encode = (
        [answer.receipt.stages_ms.encode for answer in answers] for answers in (visits.rows, visits.cold)
    )
    times = {"cold": cold, "rows": rows, "prefix": prefix, "restart": first}
    return {
        "hit_encode_share": Measure.ratio(hit, encode, seed, HIT_ENCODE_TARGET, "at most"),
        "prefix": Measure.ratio(prefix, cold, seed, PREFIX_TARGET, "at most"),
        "restart": Measure.ratio(first, later, seed, RESTART_TARGET, "at most"),
        **medians("ms", {f"ttft_{name}_ms": values for name, values in times.items()}, seed),
    }


def _answer_from_rows(client: Client, text: str, picture: bytes) -> TimedAnswer:
    question = [Message("user", [text, Image(picture), "How many are there?"])]
    return time_answer(client, question).came_from("rows")


def _texts(seed: int) -> Iterator[str]:
    """Texts of a few tokens that differ from the first token on."""
    return (f"{chr(ord('A') + number % 26)}{number} {seed}: " for number in itertools.count())


def _ttft(answers: Sequence[TimedAnswer]) -> list[float]:
    return [answer.ttft_ms for answer in answers]


if __name__ == "__main__":
    runner.main("cache", "Measure what the caches save: rows, KV prefix, restart.", measure)
