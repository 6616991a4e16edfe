"""Library logs, warnings and prints become events."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from fovea.logs import Repeats

SCRIPT = """
import asyncio, logging, sys, warnings
from fovea import logs
logs.configure("json", "info")
logs.adopt_libraries("json")
{body}
"""


def events(body: str) -> list[dict[str, Any]]:
    script = SCRIPT.format(body=body)
    done = subprocess.run([sys.executable, "-W", "default", "-c", script], capture_output=True, text=True)
    assert done.stdout == ""
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_warning_is_an_event() -> None:
    (event,) = events('warnings.warn("old\\nhabits", DeprecationWarning)')
    assert "DeprecationWarning: old habits" in event["event"]
    assert (event["level"], event["logger"]) == ("warning", "py.warnings")


def test_a_record_of_a_library_is_an_event_without_its_traceback() -> None:
    (event,) = events('logging.getLogger("lib").error("failed", exc_info=ValueError("no weights"))')
    assert event["event"] == "failed"
    assert event["error"] == "ValueError: no weights"
    assert (event["level"], event["logger"]) == ("error", "lib")


def test_a_custom_log_level_is_an_event() -> None:
    (event,) = events('logging.getLogger("lib").log(35, "loud")')
    assert (event["event"], event["level"]) == ("loud", "warning")


def test_each_printed_line_is_an_event_whichever_stream_and_however_it_is_written() -> None:
    printed = events(
        'print("to stdout"); sys.stderr.write("in "); sys.stderr.write("parts\\nand \\"quoted\\"\\n\\n")'
    )
    assert [(event["event"], event["logger"]) for event in printed] == [
        ("to stdout", "stdout"),
        ("in parts", "stderr"),
        ('and "quoted"', "stderr"),
    ]


def test_a_progress_bar_is_an_event_once_it_ends() -> None:
    (event,) = events(
        '[print(f"\\r{n} %", end="", file=sys.stderr) for n in range(3)]; print(file=sys.stderr)'
    )
    assert event["event"] == "2 %"


def test_asyncio_logs_are_events() -> None:
    body = """
async def main():
    asyncio.get_running_loop().call_exception_handler({"message": "lost", "exception": KeyError("x")})
asyncio.run(main())
"""
    (event,) = events(body)
    assert event["event"] == "lost"
    assert event["error"] == "KeyError: 'x'"


def test_an_exception_at_exit_is_logged_as_json() -> None:
    assert len(events("import atexit; atexit.register(lambda: 1 / 0)")) > 1


def test_a_warning_of_each_kind_passes_once_in_its_time() -> None:
    now = 0.0
    warnings = Repeats(60, lambda: now)
    assert [warnings.passes("put"), warnings.passes("put"), warnings.passes("get")] == [True, False, True]
    now = 59.0
    assert not warnings.passes("put")
    now = 60.0
    assert warnings.passes("put")
