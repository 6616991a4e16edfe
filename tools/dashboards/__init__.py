"""Grafana dashboards as Python: `python -m tools.dashboards` writes deploy/observability/dashboards/.

Grafana's own builders (grafana-foundation-sdk), which know its schema, make the JSON. A module per dashboard
lists panels and their queries, a panel a line where it fits.
"""
