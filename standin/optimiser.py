"""The optimiser: Muon for the matrices of blocks and mergers, AdamW for everything else.

Muon (Jordan et al., 2024) orthogonalises the momentum of each matrix with five Newton-Schulz steps; its
update is scaled by 0.2 * sqrt(larger side), so that both take the same learning rate (Liu et al., 2025).
Processes that train together share the work: each orthogonalises some of the matrices.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from standin.parallel import gathered, world

ADAM_NAMES = ("embed_tokens", "lm_head", "pos_embed", "patch_embed", "gate.weight", "head.", "maps.")
MOMENTUM = 0.95
DECAY = 0.02


def orthogonalised(update: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrices of a batch (N, rows, cols), roughly: five steps."""
    x = update / (update.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.transpose(1, 2) if tall else x
    for _ in range(5):
        gram = x @ x.transpose(1, 2)
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return x.transpose(1, 2) if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum; every parameter is a matrix or a stack of matrices."""

    def __init__(self, params: list[nn.Parameter], lr: float) -> None:
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        rank, processes = world()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            parts: list[Tensor | None] = []
            # The largest matrices first, dealt in turn, so that every process has as much to do.
            order = sorted(range(len(parameters)), key=lambda place: -parameters[place].numel())
            owner = {place: turn % processes for turn, place in enumerate(order)}
            for place, parameter in enumerate(parameters):
                momentum = self.state[parameter].setdefault("exp_avg", torch.zeros_like(parameter))
                momentum.lerp_(parameter.grad, 1 - MOMENTUM)
                parts.append(self._update(parameter, momentum) if owner[place] == rank else None)
            for parameter, update in zip(
                parameters, gathered(parts, [p.shape for p in parameters]), strict=True
            ):
                parameter.mul_(1 - group["lr"] * DECAY)
                parameter.add_(update, alpha=-group["lr"] * 0.2 * max(parameter.shape[-2:]) ** 0.5)

    @staticmethod
    def _update(parameter: nn.Parameter, momentum: Tensor) -> Tensor:
        ahead = parameter.grad.lerp(momentum, MOMENTUM)
        return orthogonalised(ahead.reshape(-1, *parameter.shape[-2:])).reshape(parameter.shape)


class Pair(torch.optim.Optimizer):
    """Both optimisers as one; the learning rate is set on all groups alike."""

    def __init__(self, module: nn.Module, lr: float) -> None:
        named = [(n, p) for n, p in module.named_parameters() if p.requires_grad]
        adam = [p for n, p in named if p.ndim < 2 or any(part in n for part in ADAM_NAMES)]
        chosen = {id(p) for p in adam}
        self.adam = torch.optim.AdamW(adam, lr, (0.9, 0.98), weight_decay=DECAY, fused=True)
        self.muon = Muon([p for _, p in named if id(p) not in chosen], lr)
        self.param_groups = [*self.adam.param_groups, *self.muon.param_groups]

    @property
    def state(self):  # type: ignore[no-untyped-def,override]
        return {**self.adam.state, **self.muon.state}

    def restore(self, parameter: nn.Parameter, state: dict[str, Tensor]) -> None:
        """Put back the moments of one parameter."""
        (self.adam if len(state) > 1 else self.muon).state[parameter] = state

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.adam.zero_grad(set_to_none)
        self.muon.zero_grad(set_to_none)

    def step(self, closure: None = None) -> None:
        self.adam.step()
        self.muon.step()
