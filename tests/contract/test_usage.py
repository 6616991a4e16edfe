"""Usage records over the wire."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fovea.contract.image import timestamp
from fovea.contract.usage import filter_from_proto, microseconds
from fovea.decoder.v1 import usage_pb2


@given(st.floats(1.7e9, 2.2e9))
def test_a_filter_from_the_time_of_a_record_includes_the_record(time: float) -> None:
    """Until 2039, when a float of nanoseconds becomes too coarse."""
    started = microseconds(time)
    assert filter_from_proto(usage_pb2.UsageFilter(start_time=timestamp(started))).start == started
