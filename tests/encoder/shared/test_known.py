"""Keys are known for a bounded time, and a bounded number of them."""

from __future__ import annotations

from encoder_svc.shared.known import RecentKeys


def test_the_oldest_key_is_forgotten() -> None:
    keys = RecentKeys(2, 60)
    for key in (b"a", b"b", b"a", b"c"):
        keys.add(key)
    assert [key in keys for key in (b"a", b"b", b"c")] == [True, False, True]
    keys.clear()
    assert b"a" not in keys


def test_a_key_is_forgotten_in_time() -> None:
    now = 0.0
    keys = RecentKeys(2, 60, lambda: now)
    keys.add(b"a")
    now = 59.0
    assert b"a" in keys
    now = 60.0
    assert b"a" not in keys
