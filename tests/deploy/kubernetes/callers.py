"""Callers of a cluster: gRPC clients of the decoders by their DNS name, and HTTP clients of the gateways."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from ssl import SSLContext, create_default_context

import httpx

from bench.fault_cases.questions import CALL_S, NEW_TOKENS, Caller, ChannelOptions, Question, Questions
from bench.fault_cases.rolling import WITHOUT
from fovea.client.channel import RESOLVE_MS
from fovea.contract.errors import Unreachable
from tests.deploy.kubernetes.cluster import DOMAIN, Cluster
from tests.deploy.kubernetes.dns import PORT
from tests.gateway.pictures import data_uri, image, user

WITHOUT_RETRIES: ChannelOptions = (*WITHOUT, ("grpc.dns_min_time_between_resolutions_ms", RESOLVE_MS))
HOST = "fovea-gateway"
Ask = Callable[[Question], Awaitable[str]]


def of_decoders(cluster: Cluster, options: ChannelOptions) -> Caller:
    """A health-aware client of every decoder that the cluster's DNS names."""
    return Caller(f"dns://{cluster.dns}:{PORT}/fovea-decoder.{DOMAIN}:50052", options)


@dataclass
class GatewayCaller:
    """Opens a connection for each call, to any endpoint of the Service, as a node's proxy would."""

    cluster: Cluster
    token: str = ""
    ca: Path | None = None

    async def ask(self, question: Question) -> str:
        """The text of an answer. Raises Unreachable."""
        reply = await self.post(question)
        if reply.status_code != 200:
            raise Unreachable(f"status {reply.status_code}: {reply.text[:500]}")
        text: str = reply.json()["choices"][0]["message"]["content"]
        return text

    async def post(self, question: Question) -> httpx.Response:
        url = f"{'https' if self.ca else 'http'}://{random.choice(self.cluster.endpoints(HOST))}:8080"
        body = {
            "model": self._model,
            "messages": user(image(data_uri(question.picture)), question.text),
            "max_tokens": NEW_TOKENS,
        }
        headers = {"host": f"{HOST}:8080"} | ({"authorization": f"Bearer {self.token}"} if self.token else {})
        async with httpx.AsyncClient(verify=self._trust, trust_env=False, timeout=CALL_S) as client:
            try:
                return await client.post(
                    f"{url}/v1/chat/completions",
                    json=body,
                    headers=headers,
                    extensions={"sni_hostname": HOST},
                )
            except httpx.HTTPError as error:
                raise Unreachable(f"{url}: {error!r}") from error

    @property
    def _model(self) -> str:
        """The name under which the decoders serve their checkpoint."""
        settings = self.cluster.overlay.workloads["fovea-decoder"].environment("")
        folder = Path(settings["FOVEA_DECODER_MODEL"])
        return settings.get("FOVEA_DECODER_SERVED_MODEL_NAME", folder.name)

    @property
    def _trust(self) -> SSLContext | bool:
        return create_default_context(cafile=str(self.ca)) if self.ca else False


@dataclass
class Recorder:
    """Asks the questions of a caller by number, and keeps the answers."""

    ask: Ask
    questions: Questions
    answers: dict[Question, set[str]] = field(default_factory=dict)

    async def __call__(self, number: int) -> None:
        question = self.questions[number]
        self.answers.setdefault(question, set()).add(await self.ask(question))

    @property
    def contradictions(self) -> list[Question]:
        """Questions that got several answers."""
        return [question for question, answers in self.answers.items() if len(answers) > 1]
