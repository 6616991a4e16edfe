"""The dashboards: made from tools/dashboards, well laid out, and of metrics that there are."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
import yaml

from tests.deploy.compose import ROOT, services
from tests.deploy.documented import aliases, documented, is_documented
from tests.deploy.prometheus import FOLDER
from tests.deploy.test_rules import BOARDS, RULES
from tools.dashboards.files import files

EACH = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
OF_OTHERS = {"up", "ALERTS", "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"}
NAME = re.compile(
    r"(?<![\w:$])(?:fovea[_:][\w:]+|grpc_server_\w+|process_\w+|DCGM_\w+|ALERTS|up)(?=[{\[ )/]|$)"
)


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def test_the_files_are_those_that_the_source_makes() -> None:
    assert {path.name: path.read_text() for path in (FOLDER / "dashboards").iterdir()} == files()


@EACH
def test_panels_have_a_title_a_unit_a_query_and_a_place_of_their_own(board: dict[str, Any]) -> None:
    titles = [panel["title"] for panel in panels(board)]
    assert len(titles) == len(set(titles)) > 15
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = set(itertools.product(range(at["x"], at["x"] + at["w"]), range(at["y"], at["y"] + at["h"])))
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    for panel in panels(board):
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        assert panel["datasource"]["uid"] == "${datasource}"


def test_dashboards_and_rules_ask_for_metrics_that_are_documented() -> None:
    queries = [
        target["expr"] for board in BOARDS.values() for panel in panels(board) for target in panel["targets"]
    ]
    named = {name for query in [*queries, *(rule["expr"] for rule in RULES)] for name in NAME.findall(query)}
    ours = {name for name in named if name.startswith("fovea_")}
    assert len(ours) > 60
    assert [name for name in sorted(ours) if not is_documented(name)] == []
    assert {name for name in named if name.startswith("fovea:")} <= RECORDED
    assert {name for name in named if re.match("DCGM|up|ALERTS", name)} <= OF_OTHERS


def test_every_metric_of_the_services_is_shown_or_left_out_on_purpose() -> None:
    queries = [
        target["expr"] for board in BOARDS.values() for panel in panels(board) for target in panel["targets"]
    ]
    named = {name for query in [*queries, *(rule["expr"] for rule in RULES)] for name in NAME.findall(query)}
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in named}
    assert documented().keys() - shown == {
        "fovea_decoder_kv_blocks", "fovea_decoder_kv_blocks_used", "fovea_decoder_row_cache_used_bytes",
        "fovea_decoder_row_cache_evictions_total", "fovea_decoder_request_time_per_output_token_seconds",
        "fovea_encoder_rankings_total", "fovea_encoder_arena_leases", "fovea_encoder_store_records",
    }  # fmt: skip


def test_every_name_that_stands_beside_those_of_other_engines_is_ours() -> None:
    ours = [own for _, _, own in aliases() if own]
    assert len(ours) > 20
    assert [name for name in ours if not is_documented(name)] == []
    shared = [(vllm, own) for vllm, _, own in aliases() if vllm and own]
    differing = {vllm for vllm, own in shared if own != f"fovea_decoder_{vllm}"}
    assert differing == {
        "admission_rejections_total", "cache_config_info", "mm_cache_hits_total", "mm_cache_queries_total",
        "prompt_tokens_by_source_total", "prompt_tokens_cached_total", "request_inference_time_seconds",
        "request_success_total",
    }, "a stem that is not vLLM's"  # fmt: skip


def test_prometheus_scrapes_every_service_of_the_compose_file() -> None:
    config = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())
    scraped = {job["job_name"]: job["static_configs"][0]["targets"] for job in config["scrape_configs"]}
    listening: dict[str, list[str]] = {}
    for name, service in services().items():
        (port,) = (
            value.rpartition(":")[2]
            for key, value in service.environment.items()
            if key.endswith("METRICS_LISTEN")
        )
        listening.setdefault(f"fovea-{service.target.removesuffix('-cpu')}", []).append(f"{name}:{port}")
    assert scraped == listening


def test_the_second_compose_file_mounts_what_there_is_and_publishes_on_loopback_only() -> None:
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    assert not compose["services"].keys() & services().keys()
    mounted = set()
    for service in compose["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        for source in (volume.partition(":")[0] for volume in service["volumes"]):
            if source.startswith("."):
                mounted.add((ROOT / "deploy/compose" / source).resolve())
            else:
                assert source in compose["volumes"]
    assert all(path.exists() for path in mounted)
    assert {path.name for path in mounted} == {
        "prometheus.yaml",
        "rules.yaml",
        "datasources.yaml",
        "dashboards.yaml",
        "dashboards",
    }


def test_provisioned_folders_are_those_that_are_mounted() -> None:
    text = (FOLDER / "compose.yaml").read_text()
    (provider,) = yaml.safe_load((FOLDER / "grafana/dashboards.yaml").read_text())["providers"]
    assert f":{provider['options']['path']}:ro" in text
    home = re.search(r"HOME_DASHBOARD_PATH: (\S+)", text)
    assert home
    assert home[1].rpartition("/")[2] in files()


def test_the_readme_names_every_file() -> None:
    text = (FOLDER / "README.md").read_text()
    for path in FOLDER.iterdir():
        assert path.name == "README.md" or f"`{path.name}" in text, path.name
