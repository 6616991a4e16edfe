"""vLLM's failures as ours: refused requests, and the death of vLLM."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from vllm.exceptions import VLLMClientError
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from fovea.contract.errors import EngineFailed, EngineUnavailable, InvalidArgument


@contextmanager
def translated() -> Iterator[None]:
    """Raises InvalidArgument for what vLLM refuses (a schema, an expression), EngineFailed for its death."""
    try:
        yield
    except VLLMClientError as error:
        raise InvalidArgument(f"vLLM refuses the request: {error}") from error
    except EngineDeadError as error:
        raise EngineFailed("vLLM is dead") from error
    except EngineGenerateError as error:
        if isinstance(error.__cause__, ValueError):  # a check without an exception class of its own
            raise InvalidArgument(f"vLLM refuses the request: {error.__cause__}") from error
        raise EngineUnavailable(f"vLLM failed: {type(error.__cause__).__name__}") from error
