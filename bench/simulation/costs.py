"""What each stage of a request costs: seconds of a core or of a GPU, and seconds of waiting.

The stages are those of `docs/structure.md`. A cost belongs to a thread: the caller's, the event loop of a
decoder or an encoder, a decoding worker, the tower, the engine.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Costs:
    """Seconds. `put`: an upload, which lies on `copies` encoders. `ask`: a request, up to its first token.

    The tower takes `tower_call` a call and `tower_patch` a patch; a step of the engine `step`, `step_token` a
    sequence that decodes and `prefill_token` a token of a prompt. `*_wait` passes without using a core.
    """

    client_put: float = 0.0
    client_ask: float = 0.0
    client_token: float = 0.0
    decoder_put: float = 0.0
    decoder_ask: float = 0.0
    decoder_token: float = 0.0
    encoder_put: float = 0.0
    worker_put: float = 0.0
    encoder_hit: float = 0.0
    encoder_new: float = 0.0
    worker_new: float = 0.0
    tower_call: float = 0.0
    tower_patch: float = 0.0
    step: float = 0.0
    step_token: float = 0.0
    prefill_token: float = 0.0
    put_wait: float = 0.0
    ask_wait: float = 0.0

    def step_s(self, decoding: int, prefilled: int) -> float:
        """A step in which `decoding` sequences get a token and `prefilled` tokens of prompts are computed."""
        return self.step + decoding * self.step_token + prefilled * self.prefill_token

    def tower_s(self, patches: int) -> float:
        return self.tower_call + patches * self.tower_patch

    def as_ms(self) -> dict[str, float]:
        return {f"{name}_ms": 1000 * seconds for name, seconds in asdict(self).items()}
