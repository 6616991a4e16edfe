"""Both kinds of Python clients against the two real services with the stand-in model, each a process of its own.

What the model says is compared with the right answers of `standin/samples`. What needs a long answer takes one
token after the other at random: the stand-in itself answers in a few words.
"""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Any

import pytest

from fovea.cli.samples import Sample, SampleQuestion, load
from fovea.client import (
    AsyncClient,
    Client,
    EncoderClient,
    Finished,
    Format,
    Sampling,
    Started,
    Text,
    errors,
    fit,
)
from fovea.client.channel import ATTEMPTS
from fovea.client.upload import FileUpload
from standin import model_dir
from tests.e2e.house import free_address
from tests.e2e.pictures import picture
from tests.e2e.processes import Process, decoder_process, encoder_process
from tests.fovea.client.driven import KINDS, decoder_client, encoder_client
from tests.fovea.client.material import LARGE_PICTURES, MIB, REFUSED, noise_of_20_mib

pytestmark = pytest.mark.timeout(1200)
CALL_S = 600.0
PATIENCE_S = 120.0
PARALLEL = 20
LEAST = 65_536
BRIEF = Sampling(max_new_tokens=4)


def rambling(tokens: int) -> Sampling:
    """At this temperature tokens are almost equally likely, so an answer rarely ends on its own. Deterministic."""
    return Sampling(temperature=100.0, seed=1, max_new_tokens=tokens)


@dataclass(frozen=True)
class Services:
    encoder: Process
    decoder: Process


def ready(process: Process) -> None:
    asyncio.run(process.until_ready())


def stop(process: Process) -> None:
    process.signal(signal.SIGTERM)
    assert asyncio.run(process.ended()) == 0


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    folder = tmp_path_factory.mktemp("services")
    encoder = encoder_process(model_dir(), folder, free_address())
    decoder = decoder_process(model_dir(), folder, free_address(), encoder.address)
    try:
        for process in (encoder, decoder):
            process.start()
        for process in (encoder, decoder):
            ready(process)
        yield Services(encoder, decoder)
    finally:
        for process in (decoder, encoder):
            process.end()


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def client(kind: str, services: Services) -> Iterator[Any]:
    with decoder_client(kind, services.decoder.address, timeout_s=CALL_S) as client:
        yield client


@pytest.fixture
def own(kind: str) -> int:
    """A seed for pictures that the tests of the other kind do not store."""
    return KINDS.index(kind)


def questions() -> list[tuple[Sample, SampleQuestion]]:
    return [(sample, asked) for sample in load() for asked in sample.questions]


def running(client: Any) -> dict[str, int]:
    return {name: count for name, count in client.info().load.items() if name != "kv_blocks"}


def until(said: Callable[[], bool]) -> None:
    """The limit only guards against hanging."""
    end = time.monotonic() + PATIENCE_S
    while not said():
        assert time.monotonic() < end
        time.sleep(0.05)


def until_free(client: Any) -> None:
    until(lambda: not any(running(client).values()))


def test_the_answers_are_right(client: Any) -> None:
    for sample, asked in questions():
        answer = client.ask(asked.question, [sample.path])
        assert answer.text.strip() == asked.answer, asked.question
        assert answer.finish_reason == "stop"
        assert answer.receipt.totals.output_tokens > 0


def test_an_answer_matches_its_response_format(client: Any) -> None:
    """The model was not trained on JSON. A format that allows its answer does not change it."""
    sample, asked = questions()[0]
    free = client.ask(asked.question, [sample.path], logprobs=True)
    assert len(free.logprobs) == len(free.token_ids) == free.receipt.totals.output_tokens
    allowed = Format.choice("something else", free.text)
    same = client.ask(asked.question, [sample.path], response_format=allowed, logprobs=True)
    assert (same.text, same.token_ids) == (free.text, free.token_ids)
    assert same.logprobs == pytest.approx(free.logprobs, abs=1e-3)
    colours = ["red", "blue", "green"]
    schema = {"type": "object", "properties": {"colour": {"enum": colours}}, "required": ["colour"]}
    form = Format.json_schema({**schema, "additionalProperties": False})
    hot = [Sampling(temperature=1.5, seed=seed) for seed in range(3)]
    said = [client.ask("?", [sample.path], sampling=s, response_format=form) for s in hot]
    assert {json.loads(answer.text)["colour"] for answer in said} <= set(colours)
    assert {answer.finish_reason for answer in said} == {"stop"}
    assert client.ask("?", sampling=BRIEF, response_format=form).finish_reason == "length"
    stopped = client.ask("?", sampling=Sampling(stop=["our"]), response_format=form)
    assert stopped.text.endswith('"col')
    assert (stopped.finish_reason, stopped.matched_stop) == ("stop", "our")
    assert {answer.matched_stop for answer in said} == {""}
    with pytest.raises(errors.InvalidArgument) as refused:
        client.ask("?", response_format=Format.regex("(?=a)b"))
    assert refused.value.violations[0].field == "response_format.regex"


def test_the_second_request_hits_the_rows_of_the_first(client: Any, own: int) -> None:
    data = picture(320, 256, seed=own)
    first = client.ask("?", [data], sampling=BRIEF).receipt
    second = client.ask("??", [data], sampling=BRIEF).receipt
    assert [first.images[0].source, second.images[0].source] == ["encoded", "rows"]
    assert (first.totals.encodes, second.totals.encodes) == (1, 0)
    assert first.images[0].rows_digest == second.images[0].rows_digest


def test_threads_share_a_client(services: Services) -> None:
    asks = list(islice(cycle(questions()), PARALLEL))
    with Client(services.decoder.address, timeout_s=CALL_S) as client, ThreadPoolExecutor(PARALLEL) as pool:
        answers = pool.map(lambda ask: client.ask(ask[1].question, [ask[0].path]).text.strip(), asks)
        assert list(answers) == [asked.answer for _, asked in asks]


def test_tasks_share_a_client(services: Services) -> None:
    asks = list(islice(cycle(questions()), PARALLEL))

    async def ask_all() -> list[str]:
        async with AsyncClient(services.decoder.address, timeout_s=CALL_S) as client:
            answers = await asyncio.gather(
                *(client.ask(asked.question, [sample.path]) for sample, asked in asks)
            )
        return [answer.text.strip() for answer in answers]

    assert asyncio.run(ask_all()) == [asked.answer for _, asked in asks]


def test_closing_a_stream_frees_its_slot(client: Any) -> None:
    until_free(client)
    events = client.stream("Tell me.", sampling=rambling(500))
    assert isinstance(next(events), Started)
    assert isinstance(next(events), Text)
    assert running(client)["running"] == 1
    events.close()
    until_free(client)


def test_cancelling_a_task_frees_its_slot(services: Services) -> None:
    async def leave() -> None:
        async with AsyncClient(services.decoder.address, timeout_s=CALL_S) as client:
            spoken = asyncio.Event()
            task = asyncio.create_task(
                client.ask("Tell me.", sampling=rambling(500), on_text=lambda text: spoken.set())
            )
            await spoken.wait()
            assert (await client.info()).load["running"] == 1
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(leave())
    with Client(services.decoder.address, timeout_s=CALL_S) as client:
        until_free(client)


def test_a_deadline_ends_the_call_and_frees_its_slot(client: Any, kind: str, services: Services) -> None:
    with (
        decoder_client(kind, services.decoder.address, timeout_s=0.1) as hasty,
        pytest.raises(errors.DeadlineExceeded),
    ):
        hasty.ask("Tell me.", sampling=rambling(500))
    until_free(client)


@pytest.mark.parametrize("name", REFUSED)
def test_each_refusal_raises_the_class_of_its_reason(client: Any, name: str) -> None:
    reason, call = REFUSED[name]
    with pytest.raises(reason) as caught:
        call(client)
    assert type(caught.value) is reason
    assert caught.value.message


def test_a_refusal_says_what_would_have_been_allowed(client: Any) -> None:
    with pytest.raises(errors.ImageTooLarge) as caught:
        client.put(bytes(33 * MIB))
    assert caught.value.metadata == {"limit": str(32 * MIB), "actual": str(33 * MIB)}
    assert [violation.field for violation in caught.value.violations] == ["data"]
    assert caught.value.request_id
    assert caught.value.retry_after_s is None


def test_a_picture_of_20_mib_is_uploaded_once_and_asked_about(client: Any, own: int) -> None:
    data, first, second = noise_of_20_mib(own), [], []
    assert len(data) > 20 * MIB
    assert not client.put(data, lambda sent, total: first.append((sent, total))).already
    assert first[-1] == (len(data), len(data))
    assert client.put(data, lambda sent, total: second.append(sent)).already
    assert second == []
    answer = client.ask("?", [data], max_pixels=LEAST, sampling=BRIEF)
    assert answer.receipt.images[0].original == (2660, 2660)


def test_a_slow_reader_misses_nothing(client: Any) -> None:
    """The reader continues long after the service has finished and gets the complete text."""
    asked = {"question": "Tell me.", "sampling": rambling(100)}
    expected = client.ask(**asked)
    events = client.stream(**asked)
    seen = [next(events)]
    until_free(client)
    seen += events
    assert "".join(event.text for event in seen if isinstance(event, Text)) == expected.text
    assert isinstance(seen[-1], Finished)
    assert seen[-1].receipt.totals == expected.receipt.totals


@pytest.mark.parametrize("max_pixels", [None, 262_144, LEAST])
@pytest.mark.parametrize("name", LARGE_PICTURES)
def test_a_fitted_picture_costs_what_the_original_costs(
    client: Any, name: str, max_pixels: int | None
) -> None:
    data = LARGE_PICTURES[name]
    whole = client.count("?", [data], max_pixels=max_pixels)
    fitted = client.count("?", [data], max_pixels=max_pixels, fit=True)
    assert abs(fitted.visual_tokens - whole.visual_tokens) <= 1
    assert fitted.text_tokens == whole.text_tokens


def test_a_fitted_picture_is_what_is_stored_and_seen(client: Any) -> None:
    data = LARGE_PICTURES["a photo on its side"]
    fitted = FileUpload.of(fit(data, 262_144))
    (image,) = client.ask("?", [data], max_pixels=262_144, fit=True, sampling=BRIEF).receipt.images
    assert fitted.byte_size < len(data) / 4
    assert image.digest == fitted.digest
    assert image.original == image.planned
    assert image.original[0] < image.original[1], "it stands upright"


def test_an_image_that_goes_between_upload_and_question_is_uploaded_again(
    client: Any, own: int, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = picture(640, 200, seed=10 + own)
    (server,) = getattr(client, "client", client)._pool.servers()
    stub = server.stub
    generate, gone = stub.Generate, []

    def after_a_loss(*args: Any, **options: Any) -> Any:
        if not gone:
            with EncoderClient(services.encoder.address) as encoder:
                gone.append(encoder.delete(FileUpload.of(data).digest).uploads)
        return generate(*args, **options)

    monkeypatch.setattr(stub, "Generate", after_a_loss)
    assert client.ask("?", [data], sampling=BRIEF).receipt.images[0].source == "encoded"
    assert gone == [1]
    assert client.describe(data).already


def test_rows_come_whole_and_stay_until_they_are_removed(kind: str, own: int, services: Services) -> None:
    data = picture(320, 200, seed=20 + own)
    with encoder_client(kind, services.encoder.address, timeout_s=CALL_S) as encoder:
        digest = encoder.put(data).facts.digest
        first, second = encoder.encode(digest), encoder.encode(digest)
        assert first.count == encoder.count(320, 200).tokens
        assert len(first.data) == first.count * first.width * (1 + first.levels) * 4
        assert (first.source, second.source) == ("encoded", "rows")
        assert first.data == second.data
        with pytest.raises(errors.EncoderMismatch):
            encoder.encode(digest, fingerprint="sha256:another")
        assert encoder.delete(digest).uploads == 1
        with pytest.raises(errors.ImageNotStored):
            encoder.encode(digest)


def refusals(decoder: Process) -> int:
    """Calls that the decoder refused without an encoder, a log line for each attempt."""
    return decoder.log.read_text().count("reason=ENCODER_UNAVAILABLE")


@pytest.mark.long
def test_a_client_outlives_the_services(services: Services) -> None:
    """Both kinds at once, since starting takes longest. While a service is away its absence has a name; when it
    is back, calls are tried until the decoder, too, has found the encoder again."""
    address, picture_path = services.decoder.address, load()[0].path
    question, right = load()[0].questions[0].question, load()[0].questions[0].answer
    clients = [decoder_client(kind, address, timeout_s=CALL_S) for kind in KINDS]
    with clients[0] as blocking, clients[1] as awaiting:
        both = (blocking, awaiting)

        def answers() -> list[str]:
            return [client.ask(question, [picture_path]).text.strip() for client in both]

        assert answers() == [right, right]
        stop(services.decoder)
        for client in both:
            with pytest.raises(errors.Unreachable):
                client.info()
        services.decoder.start()
        ready(services.decoder)
        assert answers() == [right, right]
        stop(services.encoder)
        for nth, client in enumerate(both, 1):
            with pytest.raises(errors.EncoderUnavailable) as caught:
                client.ask(question, [picture_path])
            assert caught.value.retry_after_s
            until(lambda tried=nth * ATTEMPTS: refusals(services.decoder) == tried)
        services.encoder.start()
        ready(services.encoder)
        assert answers() == [right, right]
