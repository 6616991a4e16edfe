"""`fovea demo`: runs both services on this machine, asks about four images, and shows what each answer cost.

Exits with status 0 only if everything worked and every answer was right. Leaves nothing behind.
"""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import typer

from fovea.cli.children import Child, Children
from fovea.cli.output import clean, reported
from fovea.cli.samples import Sample, SampleQuestion, load
from fovea.cli.serve import launches
from fovea.cli.standin import standin_dir
from fovea.contract.errors import FoveaError

if TYPE_CHECKING:
    from fovea.cli.demo_view import View
    from fovea.client import Client
    from fovea.contract.receipt import Receipt

START_S = 600.0
ANSWER_TOKENS = 16
TAIL_LINES = 15
ENCODER_FLAGS = ("--cache-bytes", str(64 * 2**20), "--uploads-bytes", str(64 * 2**20), "--metrics-listen", "")
DECODER_FLAGS = ("--metrics-listen", "")


@dataclass
class DemoTally:
    """Questions asked and their total cost."""

    questions: int = 0
    right: int = 0
    encodes: int = 0
    visual_tokens: int = 0
    text_tokens: int = 0
    wire_bytes: int = 0
    problems: list[str] = field(default_factory=list)

    def add(self, right: bool, receipt: Receipt) -> None:
        self.questions += 1
        self.right += right
        for name in ("encodes", "visual_tokens", "text_tokens", "wire_bytes"):
            setattr(self, name, getattr(self, name) + getattr(receipt.totals, name))

    @property
    def success(self) -> bool:
        return self.right == self.questions and not self.problems


def demo() -> None:
    """Start both services, ask about four pictures, show what each answer cost, stop."""
    from fovea.cli.demo_view import View

    with reported(as_json=False):
        samples = load()
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, _end)
    view, tally = View(), DemoTally()
    with ExitStack() as stack:
        cache = stack.enter_context(tempfile.TemporaryDirectory(prefix="fovea-demo-"))
        children = stack.enter_context(Children(_environ(os.environ), lambda name, line: None))
        try:
            Demo(children, view, tally, Path(cache)).run(samples)
            view.heading("Stopping both services")
        except (FoveaError, OSError) as error:
            tally.problems.append(str(error))
            view.heading("The last lines of both logs")
            view.logs(children.tail(TAIL_LINES))
    _summary(view, tally)
    raise typer.Exit(0 if tally.success else 1)


class Demo:
    """The steps of the demo, in order."""

    def __init__(self, children: Children, view: View, tally: DemoTally, cache: Path) -> None:
        self._children = children
        self._view = view
        self._tally = tally
        encoder, decoder = _free_addresses()
        flags = ("--cache-dir", str(cache / "encoder"), *ENCODER_FLAGS)
        ledger = ("--ledger-dir", str(cache / "decoder"))
        self._launches = launches(standin_dir(), encoder, decoder, flags, (*ledger, *DECODER_FLAGS))

    def run(self, samples: list[Sample]) -> None:
        from fovea.client import Client

        self._view.heading("Starting two processes with the stand-in model")
        encoder, decoder = (self._children.start(launch) for launch in self._launches)
        self._wait([encoder, decoder])
        with Client(decoder.address) as client:
            self._tell(client)
            for sample in samples:
                self._view.stored(sample.path.name, client.put(sample.path))
                for sample_question in sample.questions:
                    self._ask(client, sample, sample_question)
            first = samples[0]
            self._view.heading(f"{first.path.name} again: the decoder has cached it, so no rows are sent")
            self._ask_cached(client, first)
        self._view.heading("Restarting both services; the encoder's cache is on disk")
        children = zip((encoder, decoder), self._launches, strict=True)
        self._wait([self._children.restart(child, launch) for child, launch in children])
        with Client(decoder.address) as client:
            self._ask_cached(client, first)

    def _tell(self, client: Client) -> None:
        """Show the model's notice, if it has one."""
        if notice := client.info().details.get("model_notice"):
            self._view.line(f"  {clean(notice)}")

    def _wait(self, waiting: list[Child]) -> None:
        from fovea.cli.readiness import wait_until_ready

        with self._view.loading() as show:

            def pause(seconds: float) -> bool:
                show("loading: " + ", ".join(f"{child.name} {_loaded(child)}" for child in waiting))
                time.sleep(seconds)
                return False

            def ready(child: Child, seconds: float) -> None:
                self._view.line(f"  {child.name} on {child.address}, ready after {seconds:.1f} s")

            wait_until_ready(self._children, waiting, START_S, ready, pause)

    def _ask(self, client: Client, sample: Sample, sample_question: SampleQuestion) -> Receipt:
        from fovea.client import Sampling

        sampling = Sampling(max_new_tokens=ANSWER_TOKENS)
        with self._view.answering(sample_question.question) as show:
            answer = client.ask(sample_question.question, [sample.path], sampling=sampling, on_text=show)
        self._view.answered(sample_question, answer)
        self._tally.add(sample_question.right(answer.text), answer.receipt)
        return answer.receipt

    def _ask_cached(self, client: Client, sample: Sample) -> None:
        receipt = self._ask(client, sample, sample.questions[0])
        if receipt.totals.encodes or any(image.source == "encoded" for image in receipt.images):
            self._tally.problems.append(f"{sample.path.name} was encoded again although it was in the cache")


def _loaded(child: Child) -> str:
    from fovea.client import Client, EncoderClient

    kind = EncoderClient if child.name == "encoder" else Client
    with kind(child.address, timeout_s=1.0) as client:
        try:
            return f"{client.info().progress:.0%}"
        except FoveaError:
            return "starting"


def _summary(view: View, tally: DemoTally) -> None:
    from fovea.cli.receipts import size

    view.heading("Summary")
    view.line(f"  answers  {tally.right} of {tally.questions} right")
    view.line(f"  tokens   {tally.visual_tokens:,} visual and {tally.text_tokens:,} text, each counted")
    view.line(f"  encodes  {tally.encodes} for {tally.questions} questions; the others were row hits")
    view.line(f"  bytes    {size(tally.wire_bytes)} of rows from the encoder to the decoder")
    for problem in tally.problems:
        view.line(f"  PROBLEM  {problem}", style="bold red")
    view.line("\nNext: `fovea serve --gateway`, then open http://127.0.0.1:8080 in a browser: the page shows")
    view.line(
        "what a picture costs before you ask. In a terminal: `fovea ask IMAGE -q 'What is the title?'`,"
    )
    view.line("and `fovea count IMAGE`, which needs no service.")


def _environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without Fovea's variables: the demo shows the defaults."""
    return {name: value for name, value in environ.items() if not name.startswith("FOVEA_")}


def _free_addresses() -> tuple[str, str]:
    """Two free loopback addresses; both sockets are held until both ports are known."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        return f"127.0.0.1:{first.getsockname()[1]}", f"127.0.0.1:{second.getsockname()[1]}"


def _end(signum: int, frame: FrameType | None) -> None:
    """Exit through the context managers, so that both services are stopped."""
    raise SystemExit(128 + signum)
