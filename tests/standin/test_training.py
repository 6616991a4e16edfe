"""Parts of training: checkpoints, Muon, the recipe."""

from __future__ import annotations

from pathlib import Path

import torch

from standin import control_dir, model_dir
from standin.checkpoint import load_state, load_weights, save_state, steps_done
from standin.dataset import KINDS
from standin.model import build_model
from standin.optimiser import Pair, orthogonalised
from standin.recipe import CONTROL, LAST, SMALL_STAGE, STAGES
from standin.train import answer_weights, dropped_rows, start_of


def module() -> torch.nn.ModuleDict:
    return torch.nn.ModuleDict({"head": torch.nn.Linear(4, 3), "body": torch.nn.Linear(4, 4)})


def take_step(parts: torch.nn.ModuleDict, optimiser: Pair) -> None:
    optimiser.zero_grad()
    torch.manual_seed(1)
    parts["head"](parts["body"](torch.randn(5, 4))).square().sum().backward()
    optimiser.step()


def test_a_resumed_run_takes_the_same_step(tmp_path: Path) -> None:
    parts = module()
    optimiser = Pair(parts, 1e-2)
    take_step(parts, optimiser)
    save_state(tmp_path / "state.safetensors", parts, optimiser, 1)
    take_step(parts, optimiser)
    again = module()
    resumed = Pair(again, 1e-2)
    assert load_state(tmp_path / "state.safetensors", again, resumed) == 1
    take_step(again, resumed)
    for tensor, other in zip(parts.parameters(), again.parameters(), strict=True):
        assert torch.equal(tensor, other)


def test_a_checkpoint_that_is_not_there_is_at_step_zero(tmp_path: Path) -> None:
    assert steps_done(tmp_path / "none.safetensors") == 0


def test_the_whole_model_takes_the_tower_of_pretraining(tmp_path: Path) -> None:
    tower, whole = build_model(), build_model()
    parts = torch.nn.ModuleDict({"visual": tower.model.visual})
    save_state(tmp_path / "tower.safetensors", parts, None, 7)
    holder = torch.nn.ModuleDict({"model": whole})
    assert load_weights(tmp_path / "tower.safetensors", holder) == 7
    for tensor, other in zip(tower.model.visual.parameters(), whole.model.visual.parameters(), strict=True):
        assert torch.equal(tensor, other)


def test_muon_updates_have_singular_values_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((2, 16, 48), (1, 48, 16), (1, 32, 32)):
        values = torch.linalg.svdvals(orthogonalised(torch.randn(shape)))
        # Five steps of the published polynomial end between 0.7 and 1.2, the smallest singular values apart.
        assert values.max() < 1.3
        assert values.median() > 0.6


def test_dropping_spares_the_pictures_outside_its_share() -> None:
    torch.manual_seed(0)
    assert dropped_rows(4, 10, 0.0) is None
    kept = dropped_rows(400, 50, 0.5)
    assert kept is not None
    whole = kept.all(dim=1).float().mean()
    assert 0.4 < whole < 0.6
    assert kept.float().mean(dim=1).min() > 0.2


def test_control_differs_from_the_model_in_dropping_alone() -> None:
    differing = {n for n in vars(LAST) if getattr(LAST, n) != getattr(CONTROL, n)}
    assert differing == {"name", "drop"}
    assert all(stage.start in ("tower", *STAGES) for stage in STAGES.values())
    assert LAST.rate_at(0) == LAST.rate
    assert LAST.rate_at(LAST.steps) == LAST.final_rate


def test_the_last_phases_go_on_from_their_own_weights_unless_the_stage_before_was_run(tmp_path: Path) -> None:
    assert (start_of(LAST, tmp_path), start_of(CONTROL, tmp_path)) == (model_dir(), control_dir())
    trained = tmp_path / "more.safetensors"
    trained.touch()
    assert start_of(CONTROL, tmp_path) == start_of(LAST, tmp_path) == trained


def test_the_small_model_starts_from_the_committed_weights(tmp_path: Path) -> None:
    assert start_of(SMALL_STAGE, tmp_path) == model_dir()


def test_answers_weigh_by_their_kind() -> None:
    kinds = torch.tensor([[KINDS.index("bar_count"), KINDS.index("title"), KINDS.index("bar_tallest"), -1]])
    assert answer_weights(kinds, 2.5, 0.25).tolist() == [[2.5, 0.25, 1.0, 1.0]]
