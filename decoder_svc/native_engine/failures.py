"""What went wrong in a step, as the failure of one request.

Knows exceptions and memory; does not decide who fails.
"""

from __future__ import annotations

import torch

from decoder_svc.errors import RequestFailed
from decoder_svc.native_engine.request_state import RequestState
from fovea.contract.errors import EngineOutOfMemory, FoveaError

# torch has a class for the memory of a GPU; that of the host is a RuntimeError of these words.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "ALLOC_FAILED")


def failure_of(error: BaseException, state: RequestState) -> FoveaError:
    """What the caller of `state` is told. It has no cause: a traceback holds the tensors of its step."""
    if isinstance(error, FoveaError):
        return error
    if is_out_of_memory(error):
        return EngineOutOfMemory(state.prompt_tokens)
    return RequestFailed()


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def free_memory() -> None:
    """Give back what torch keeps of a step that failed, so that a smaller one finds room."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
