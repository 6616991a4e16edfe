"""The failure of a step as the failure of a request. The worker decides which request fails."""

from __future__ import annotations

import torch

from decoder_svc.errors import RequestFailed
from decoder_svc.native_engine.request_state import RequestState
from fovea.contract.errors import EngineOutOfMemory, FoveaError

# torch has a class for exhausted GPU memory. Exhausted host memory is a RuntimeError with these words.
_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "out of memory", "bad_alloc", "ALLOC_FAILED")


def failure_of(error: BaseException, state: RequestState) -> FoveaError:
    """The failure for the caller of `state`. It has no cause: a traceback would hold the step's tensors."""
    if isinstance(error, FoveaError):
        return error
    return EngineOutOfMemory(state.prompt_tokens) if is_out_of_memory(error) else RequestFailed()


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _OUT_OF_MEMORY)


def free_memory() -> None:
    """Release what torch caches of a failed step, so that a smaller step fits."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
