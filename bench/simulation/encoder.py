"""A simulated encoder: an event loop, decoding workers, and a tower that computes batches of images."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from simpy import Environment, Event

from bench.simulation.cores import Processor, Steps, Thread
from bench.simulation.costs import Costs

WORKERS = 4
"""As `decode_workers` of the encoder."""


@dataclass(frozen=True, eq=False)
class _Prepared:
    patches: int
    encoded: Event


class Encoder:
    """Rows of an image are computed once, then kept for ever. `batch` is `max_batch_patches`."""

    def __init__(
        self, env: Environment, name: str, costs: Costs, processor: Processor, batch: int, loops: int = 1
    ) -> None:
        self._env = env
        self._costs = costs
        self._batch = batch
        self._rows: dict[int, Event] = {}
        self._prepared: deque[_Prepared] = deque()
        self._changed = env.event()
        self.loop = Thread(env, processor, name, loops)
        self.tower = Thread(env, processor, name)
        self._workers = Thread(env, processor, f"{name} workers", WORKERS)
        self.encodes = 0
        env.process(self._compute())

    def put(self) -> Steps:
        """Store an upload, once a worker has decoded it."""
        yield from self.loop.run(self._costs.encoder_put)
        yield from self._workers.run(self._costs.worker_put)

    def rows(self, image: int, patches: int) -> Steps:
        """Send the rows of an image, which concurrent callers compute together."""
        encoded = self._rows.get(image)
        if encoded is not None:
            yield encoded
            yield from self.loop.run(self._costs.encoder_hit)
            return
        self._rows[image] = encoded = self._env.event()
        yield from self._workers.run(self._costs.worker_new)
        yield from self.loop.run(self._costs.encoder_new)
        self._prepared.append(_Prepared(patches, encoded))
        if not self._changed.triggered:
            self._changed.succeed()
        yield encoded

    def hold(self, image: int) -> None:
        """Have the rows of an image in the store."""
        self._rows[image] = self._env.event().succeed()

    def _compute(self) -> Steps:
        while True:
            if not self._prepared:
                self._changed = self._env.event()
                yield self._changed
            batch = self._take()
            yield from self.tower.run(self._costs.tower_s(sum(image.patches for image in batch)))
            self.encodes += len(batch)
            for image in batch:
                image.encoded.succeed()

    def _take(self) -> list[_Prepared]:
        """As many as fit a call, at least one."""
        batch, free = [self._prepared.popleft()], self._batch
        free -= batch[0].patches
        while self._prepared and self._prepared[0].patches <= free:
            batch.append(self._prepared.popleft())
            free -= batch[-1].patches
        return batch
