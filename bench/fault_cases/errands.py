"""The calls of a soak: of each kind one, with the errors that it may end in, and why.

Every answer is compared with the answer that the same services gave before the first fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping

from bench.fault_cases.questions import CALL_S, KNOWN, TEXTS, Caller, Question, Reply, picture
from fovea.contract.cache import deletion_from_proto
from fovea.contract.errors import FoveaError
from fovea.contract.sampling import ResponseFormat
from fovea.decoder.v1 import decoder_pb2 as pb

LONG_ANSWER = 200
HURRY_S = 0.05
SCHEMA = ResponseFormat.json_schema(
    {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"]}
)
EXPECTED: Mapping[str, Mapping[str, str]] = {
    "deleted": {
        "IMAGE_NOT_STORED": "the call before has deleted the picture",
        "ENCODER_UNAVAILABLE": "an encoder that is down may still hold the picture",
    },
    "hurried": {"DEADLINE_EXCEEDED": f"its deadline is {HURRY_S * 1000:g} ms"},
}
"""By kind, the reasons of errors that are no failure of the services."""


class Errands:
    """Calls by number. `wrong` counts answers that differ from their reference, `kinds` the calls."""

    def __init__(self, caller: Caller, seed: int) -> None:
        self.wrong = 0
        self.kinds: Counter[str] = Counter()
        self._caller, self._seed = caller, seed
        self._references: dict[Question, Reply] = {}
        self._counted: dict[Question, int] = {}
        self._known = [picture(seed, 0, number) for number in range(KNOWN)]
        self._deleted_after_use = [picture(seed, 2, number) for number in range(KNOWN)]
        self._errands: dict[str, Callable[[int], Awaitable[None]]] = {
            "new": self._new, "id": self._by_id, "text": self._text, "again": self._again,
            "stream": self._stream, "left": self._left, "count": self._count, "form": self._form,
            "upload": self._upload, "deleted": self._deleted, "hurried": self._hurried,
        }  # fmt: skip

    async def prepare(self) -> None:
        """Upload the known pictures and take every reference."""
        for data in self._known:
            await self._caller.put(data)
        for number in range(len(self._errands) * KNOWN):
            await self.call(number)
        self.wrong = 0
        self.kinds.clear()

    def kind(self, number: int) -> str:
        return list(self._errands)[number % len(self._errands)]

    async def call(self, number: int) -> None:
        """Raises the FoveaErrors that are not expected of the kind."""
        kind = self.kind(number)
        self.kinds[kind] += 1
        try:
            await self._errands[kind](number // len(self._errands))
        except FoveaError as error:
            if error.reason not in EXPECTED.get(kind, {}):
                raise

    async def _asked(self, question: Question, form: ResponseFormat | None = None) -> None:
        reply = await self._caller.ask(question, form)
        self.wrong += reply.differs(self._references.setdefault(question, reply))

    async def _new(self, number: int) -> None:
        question = Question(TEXTS[0], self._deleted_after_use[number % KNOWN])
        await self._asked(question)
        await self._delete(question)

    async def _by_id(self, number: int) -> None:
        await self._asked(Question(TEXTS[number % 3], self._known[number % KNOWN], by_id=True))

    async def _again(self, number: int) -> None:
        await self._asked(Question(TEXTS[number % 3], self._known[number % KNOWN]))

    async def _text(self, number: int) -> None:
        await self._asked(Question(f"{TEXTS[number % 3]} {number % KNOWN}"))

    async def _form(self, number: int) -> None:
        await self._asked(Question("Answer as JSON.", self._known[number % KNOWN]), SCHEMA)

    async def _stream(self, number: int) -> None:
        await self._caller.stream(Question(TEXTS[number % 3], self._known[number % KNOWN]), LONG_ANSWER)

    async def _left(self, number: int) -> None:
        """Leave an answer after its first events."""
        question = Question(TEXTS[number % 3], self._known[number % KNOWN])
        with self._caller.typed_failures():
            call = self._caller.stub.Generate(question.request(LONG_ANSWER), timeout=CALL_S)
            for _ in range(3):
                await call.read()
            call.cancel()

    async def _count(self, number: int) -> None:
        question = Question(TEXTS[number % 3], self._known[number % KNOWN], by_id=True)
        message = pb.CountTokensRequest(request=question.request())
        with self._caller.typed_failures():
            count = await self._caller.stub.CountTokens(message, timeout=CALL_S)
        self.wrong += count.prompt_tokens != self._counted.setdefault(question, count.prompt_tokens)

    async def _upload(self, number: int) -> None:
        await self._caller.put(self._known[number % KNOWN])

    async def _deleted(self, number: int) -> None:
        """Ask by id for a picture that was deleted; where every encoder confirmed, it must be gone."""
        data = picture(self._seed, 3, number)
        await self._caller.put(data)
        question = Question(TEXTS[0], data, by_id=True)
        confirmed = await self._delete(question)
        await self._caller.ask(question)
        self.wrong += confirmed

    async def _hurried(self, number: int) -> None:
        question = Question(TEXTS[number % 3], self._known[number % KNOWN])
        with self._caller.typed_failures():
            message = pb.CompleteRequest(request=question.request())
            await self._caller.stub.Complete(message, timeout=HURRY_S)

    async def _delete(self, question: Question) -> bool:
        """Whether every encoder confirmed the deletion."""
        with self._caller.typed_failures():
            message = pb.DeleteImageRequest(digest=question.digest)
            reply = await self._caller.stub.DeleteImage(message, timeout=CALL_S)
        return deletion_from_proto(reply).complete
