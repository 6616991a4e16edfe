"""int8 weights equal the weights to half a step. All implementations of experts agree."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from decoder_svc.engine.protocol import Quantization
from decoder_svc.model.checkpoint import Checkpoint
from decoder_svc.model.experts import Experts, _all, _gathered
from decoder_svc.model.linear import KERNEL_TOKENS, Int8, dense, linear, stack
from decoder_svc.model.load import load_text

EXPERTS, K, HIDDEN, INNER = 6, 2, 64, 32


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_weight_in_int8_is_off_by_half_a_step_at_most() -> None:
    weight = noise(5, 7, 33) * torch.logspace(-4, 4, 7)[:, None]
    weight[2, 3] = 0.0
    small = Int8.of(weight)
    assert (small.values.dtype, small.values.shape, small.scales.shape) == (torch.int8, weight.shape, (5, 7))
    steps = small.scales[..., None]
    assert ((dense(small, torch.float32) - weight).abs() <= 0.501 * steps).all()
    assert dense(small, torch.float32)[2, 3].abs().max() == 0


@pytest.mark.parametrize("tokens", [1, KERNEL_TOKENS, KERNEL_TOKENS + 1])
def test_a_product_with_int8_is_that_with_its_floats(tokens: int) -> None:
    small, x = Int8.of(noise(48, HIDDEN)), noise(tokens, HIDDEN, seed=1)
    expected = F.linear(x, dense(small, torch.float32))
    # The kernel for few tokens takes bf16: eight bits of each factor.
    torch.testing.assert_close(linear(x, small), expected, atol=0.02 * float(expected.abs().max()), rtol=0)
    both = stack([small, Int8.of(noise(16, HIDDEN, seed=2))])
    torch.testing.assert_close(linear(x, both)[:, :48], linear(x, small))


@pytest.mark.parametrize("tokens", [1, 2, 300])
def test_a_large_product_on_a_cpu_is_that_of_torch(tokens: int) -> None:
    weight, x = noise(640, 512), noise(tokens, 512, seed=1)
    torch.testing.assert_close(linear(x, weight), F.linear(x, weight), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("tokens", [1, 5, 40])
def test_every_way_to_compute_experts_gives_the_same(tokens: int) -> None:
    gate_up, down = noise(EXPERTS, 2 * INNER, HIDDEN) / 8, noise(EXPERTS, HIDDEN, INNER, seed=1) / 6
    x = noise(tokens, HIDDEN, seed=2)
    shares, chosen = noise(tokens, EXPERTS, seed=3).softmax(-1).topk(K)
    experts = Experts(gate_up, down)
    expected = torch.stack([one_by_hand(x[t], chosen[t], shares[t], gate_up, down) for t in range(tokens)])
    for out in (
        experts(x, chosen, shares),
        experts._sorted(x, chosen, shares, gate_up, down),
        experts._in_turn(x, chosen, shares),
        _all(x, chosen, shares, gate_up, down),
    ):
        torch.testing.assert_close(out, expected, atol=1e-5, rtol=1e-4)
    small = Int8.of(gate_up), Int8.of(down)
    floats = [dense(weight, torch.float32) for weight in small]
    expected = _all(x, chosen, shares, *floats)
    for out in (Experts(*small)(x, chosen, shares), _gathered(x, chosen, shares, *small)):
        torch.testing.assert_close(out, expected, atol=0.02 * float(expected.abs().max()), rtol=0)


def one_by_hand(
    x: torch.Tensor, chosen: torch.Tensor, shares: torch.Tensor, gate_up: torch.Tensor, down: torch.Tensor
) -> torch.Tensor:
    out = torch.zeros_like(x)
    for expert, share in zip(chosen.tolist(), shares, strict=True):
        gate, up = (gate_up[expert] @ x).chunk(2)
        out += share * (down[expert] @ (F.silu(gate) * up))
    return out


@pytest.mark.parametrize("kind", ["moe", "dense"])
def test_int8_halves_what_is_resident_and_nothing_is_held_twice(
    checkpoints: dict[str, Path], kind: str
) -> None:
    def resident(quantization: Quantization) -> int:
        weights = load_text(
            Checkpoint(checkpoints[kind]), torch.bfloat16, [torch.device("cpu")] * 4, quantization
        )
        for i, layer in enumerate(weights.text.layers):
            names = [f"layers.{i}.self_attn.{name}_proj.weight" for name in "qkv"]
            whole = weights.stacked(names)
            values = whole.values if isinstance(whole, Int8) else whole
            assert values.data_ptr() == layer.self_attn.q_proj.weight.data_ptr()
        projections = [
            p for n, p in weights.text.named_parameters() if n.removesuffix(".weight").endswith("_proj")
        ]
        return sum(p.numel() * p.element_size() for p in projections)

    assert 2 * resident("int8") == resident("none")


@pytest.mark.parametrize(("width", "suits"), [(16, True), (24, False), (40, False), (48, True)])
def test_torchs_int8_kernel_is_given_no_width_that_it_reads_beyond(
    width: int, suits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a width of 24 it reads past the end of the weights, into memory that may not be mapped."""
    used, kernel = [], torch._weight_int8pack_mm

    def noted(x: torch.Tensor, values: torch.Tensor, scales: torch.Tensor) -> torch.Tensor:
        used.append(values.shape[-1])
        return kernel(x, values, scales)

    monkeypatch.setattr(torch, "_weight_int8pack_mm", noted)
    small = Int8.of(torch.randn(8, width))
    x = torch.randn(3, width).bfloat16()
    out = small.linear(x)
    assert bool(used) is suits
    exact = x.float() @ dense(small, torch.float32).T
    torch.testing.assert_close(out.float(), exact, atol=0.1, rtol=0.02)  # bf16 keeps 8 bits
