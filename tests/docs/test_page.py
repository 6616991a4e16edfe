"""Reading, writing and comparing a page with commands."""

from __future__ import annotations

import pytest

from tests.docs.comparison import VOLATILE, steady
from tests.docs.grpcurl import PAGE, page_blocks
from tests.docs.page import blocks, with_outputs

TEXT = """Say it.

```sh
WORD=yes
```

And:

```sh
echo $WORD
```

```json
yes
```

```console
$ not run
```
"""


def test_commands_are_paired_with_their_output() -> None:
    assert [(b.command, b.output) for b in blocks(TEXT)] == [("WORD=yes\n", ""), ("echo $WORD\n", "yes\n")]


def test_a_new_output_takes_the_place_of_the_old_one_alone() -> None:
    assert with_outputs(TEXT, ["", "no\n"]) == TEXT.replace("\nyes\n", "\nno\n")


def test_an_output_without_a_block_is_refused() -> None:
    with pytest.raises(ValueError, match="no block"):
        with_outputs(TEXT, ["surprise\n", "yes\n"])


def test_every_block_of_commands_in_the_page_is_run() -> None:
    assert len(page_blocks()) == PAGE.read_text().count("```sh\n") > 10


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('"request_id": "a"', '"request_id": "b"'),
        ('"stages_ms": {\n  "ttft": 1.5\n}', '"stages_ms": {\n  "queue": 2,\n  "ttft": 1e-3\n}'),
        ('"record_bytes": "57344"', '"record_bytes": "65536"'),
    ],
)
def test_volatile_values_are_not_compared(first: str, second: str) -> None:
    assert steady(first) == steady(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('"text": "yellow"', '"text": "pink"'),
        ('"row_bytes": 49152', '"row_bytes": 49153'),
        ('"wire_bytes": "49152"', '"wire_bytes": "0"'),
        ('"request_id": "a"', ""),
    ],
)
def test_everything_else_is_compared(first: str, second: str) -> None:
    assert steady(first) != steady(second)


def test_the_page_lists_the_fields_that_are_not_compared() -> None:
    section = PAGE.read_text().partition("\n## What differs from run to run\n")[2]
    bullets = [line for line in section.splitlines() if line.startswith("- ")]
    assert {name for line in bullets for name in line.split("`")[1::2]} == set(VOLATILE)
