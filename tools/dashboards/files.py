"""The dashboards and the files that hold them."""

from __future__ import annotations

from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from tools.dashboards import economy, encoders, operation, serving

FOLDER = Path(__file__).parents[2] / "deploy/observability/dashboards"


def files() -> dict[str, str]:
    """The text of each file by its name."""
    built = (module.build().build() for module in (serving, economy, encoders, operation))
    encoder = JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False)
    return {f"{dashboard.uid}.json": encoder.encode(dashboard) + "\n" for dashboard in built}
