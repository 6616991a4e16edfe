"""Reserves for all requests that wait, in a single transaction.

A transaction waits for the database's disk. With a transaction for each request, many callers would wait one
after another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from decoder_svc.budget.tariff import Spend
from decoder_svc.ledger.database import Database
from decoder_svc.ledger.spending import Quota, give_back, give_back_expired, reserve

Reserved = tuple[bool, Spend]
"""Whether the quota has room, and what the tenant has spent and reserved."""


@dataclass
class Wish:
    """The most that request `id` may spend. `is_left`: the request waits for the result no longer."""

    id: str
    tenant: str
    most: Spend
    quota: Quota
    result: Future[Reserved] = field(default_factory=Future)
    is_left: bool = False


class ReservationQueue:
    """`is_open` tells whether a request still runs. `result` of a wish has the errors of the database."""

    def __init__(self, database: Database, is_open: Callable[[str], bool]) -> None:
        self._database = database
        self._is_open = is_open
        self._waiting: list[Wish] = []
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="quota")

    def add(self, wish: Wish) -> None:
        with self._lock:
            self._waiting.append(wish)
        self._thread.submit(self._reserve_waiting)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _reserve_waiting(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        wishes = [wish for wish in waiting if wish.result.set_running_or_notify_cancel()]
        if not wishes:
            return
        try:
            results = self._reserve(wishes)
        except Exception as error:  # the requests that wait raise it
            for wish in wishes:
                wish.result.set_exception(error)
            return
        for wish, result in zip(wishes, results, strict=True):
            wish.result.set_result(result)
        reserved = [wish for wish, (is_reserved, _) in zip(wishes, results, strict=True) if is_reserved]
        self._give_back_late([wish.id for wish in reserved if wish.is_left])

    def _reserve(self, wishes: Sequence[Wish]) -> list[Reserved]:
        """Before a refusal, what decoders that are gone had reserved is given back."""
        results = self._once(wishes)
        refused = [wish for wish in wishes if not results[wish.id][0]]
        if refused:
            with self._database.writing() as connection:
                given_back = give_back_expired(connection)
            results |= self._once(refused) if given_back else {}
        return [results[wish.id] for wish in wishes]

    def _once(self, wishes: Sequence[Wish]) -> dict[str, Reserved]:
        """By id. Tenants are locked in order, so that decoders do not deadlock."""
        with self._database.writing() as connection:
            return {
                wish.id: reserve(connection, wish.id, wish.tenant, wish.most, wish.quota)
                for wish in sorted(wishes, key=lambda wish: wish.tenant)
            }

    def _give_back_late(self, ids: Sequence[str]) -> None:
        """Requests that did not wait may have been settled before they had a reservation.

        Those that waited are settled after it, by the writer. Giving back theirs earlier would make room
        before what they spent is counted.
        """
        if ended := [id for id in ids if not self._is_open(id)]:
            with self._database.writing() as connection:
                give_back(connection, ended)
