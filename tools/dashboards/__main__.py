"""Writes every dashboard as JSON for Grafana's file provisioning."""

from __future__ import annotations

from tools.dashboards.files import FOLDER, files

for name, text in files().items():
    (FOLDER / name).write_text(text, encoding="utf-8")
