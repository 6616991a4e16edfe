"""The package's public surface: its imports, and the runnable examples of its docstrings."""

from __future__ import annotations

import asyncio
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import fovea
from fovea import client as package
from tests.fovea.client.fakes import png, served


def test_the_clients_are_named_by_the_package_and_loaded_when_they_are():
    script = "import sys, fovea; light = 'grpc' not in sys.modules; from fovea import AsyncClient, Client; print(light)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "True"
    assert (fovea.Client, fovea.AsyncClient) == (package.Client, package.AsyncClient)
    with pytest.raises(AttributeError):
        fovea.nothing  # noqa: B018


def examples(module) -> list[str]:
    """The indented blocks of a module's docstring."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", inspect.getdoc(module) + "\n", re.MULTILINE)
    return [textwrap.dedent(block).strip("\n") for block in blocks]


@pytest.fixture
def in_a_folder_with_a_chart(tmp_path: Path, monkeypatch) -> None:
    png(tmp_path / "chart.png")
    monkeypatch.chdir(tmp_path)


EXAMPLES = [example for module in (fovea, package) for example in examples(module)]


@pytest.mark.usefixtures("in_a_folder_with_a_chart")
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_run_as_they_stand(example, decoder, capsys):
    with served(decoder) as address:
        code = re.sub(r"Client\(.*?\)", f"Client({address!r})", example)
        if "async " in code:
            scope: dict = {}
            exec("async def main():\n" + textwrap.indent(code, "    "), scope)  # noqa: S102
            asyncio.run(scope["main"]())
        else:
            exec(code, {})  # noqa: S102
    assert "forty" in capsys.readouterr().out


def test_there_is_an_example_for_each_kind_of_client():
    assert len(EXAMPLES) == 3
    assert sum("async with" in example for example in EXAMPLES) == 1


@pytest.mark.parametrize(
    ("blocking", "awaiting"),
    [(package.Client, package.AsyncClient), (package.EncoderClient, package.AsyncEncoderClient)],
)
def test_sync_and_async_clients_have_equal_signatures(blocking, awaiting):
    def calls(kind: type) -> dict[str, object]:
        functions = inspect.getmembers(kind, inspect.isfunction)
        return {
            name: inspect.signature(function).parameters
            for name, function in functions
            if not name.startswith("_")
        }

    assert calls(blocking) == calls(awaiting)
    assert len(calls(blocking)) > 5
