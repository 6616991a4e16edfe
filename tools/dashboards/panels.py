"""The few kinds of panels that our dashboards have, and what all of them share."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    Threshold,
    ThresholdsMode,
    VariableRefresh,
)

SOURCE = DataSourceRef("prometheus", "${datasource}")
SHARE, SECONDS, BYTES, PER_SECOND, COUNT = "percentunit", "s", "bytes", "ops", "short"
Query = tuple[str, str]
"""An expression and the legend of its series."""
Panels = list[timeseries.Panel | stat.Panel]
Row = tuple[str, Panels]


def board(title: str, uid: str, description: str, rows: Iterable[Row]) -> dashboard.Dashboard:
    """A dashboard for any Prometheus that the viewer chooses."""
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags(["fovea"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"))
    )
    ids = itertools.count(1)
    for name, panels in rows:
        built = built.with_row(dashboard.Row(name).id(next(ids)))
        for panel in panels:
            built = built.with_panel(panel.id(next(ids)))
    return built


def lines(
    title: str, unit: str, *queries: Query, text: str = "", stacked: bool = False, limit: float | None = None
) -> timeseries.Panel:
    """Series over time, a third of the width. `limit` is drawn as a red line."""
    panel = timeseries.Panel().title(title).unit(unit).min(0).span(8).height(8).datasource(SOURCE)
    legend = common.VizLegendOptions().show_legend(True).placement(options.LegendPlacement.BOTTOM)
    panel = panel.legend(legend)
    panel = panel.tooltip(common.VizTooltipOptions().mode(options.TooltipDisplayMode.MULTI))
    panel = panel.fill_opacity(30 if stacked else 5).line_width(1).show_points(options.VisibilityMode.NEVER)
    if text:
        panel = panel.description(text)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(options.StackingMode.NORMAL))
    if limit is not None:
        style = common.GraphThresholdsStyleConfig().mode(options.GraphTresholdsStyleMode.LINE)
        panel = panel.thresholds(_steps(limit)).thresholds_style(style)
    for index, (expression, name) in enumerate(queries):
        panel = panel.with_target(_target(chr(ord("A") + index), expression).range().legend_format(name))
    return panel


def number(
    title: str, unit: str, expression: str, *, text: str = "", limit: float | None = None
) -> stat.Panel:
    """A figure as of now or of the chosen time, a sixth of the width; red from `limit` on."""
    panel = stat.Panel().title(title).unit(unit).span(4).height(4).datasource(SOURCE)
    panel = panel.graph_mode(options.BigValueGraphMode.AREA).reduce_options(
        common.ReduceDataOptions().calcs(["lastNotNull"])
    )
    if text:
        panel = panel.description(text)
    if limit is not None:
        panel = panel.thresholds(_steps(limit))
    target = _target("A", expression)
    return panel.with_target(target.instant() if "$__range" in expression else target.range())


def variable(name: str, label: str, query: str) -> dashboard.QueryVariable:
    """Values to choose from, all of them by default."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(SOURCE)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def quantiles(histogram: str, by: str = "", shares: Iterable[float] = (0.5, 0.9, 0.99)) -> list[Query]:
    """Quantiles of a histogram over all instances, for each value of the label `by` if it is given."""
    labels = f"le, {by}" if by else "le"
    rate = f"sum by ({labels}) (rate({histogram}_bucket[$__rate_interval]))"
    legend = f"{{{{{by}}}}} " if by else ""
    return [(f"histogram_quantile({share}, {rate})", f"{legend}p{share * 100:g}") for share in shares]


def mean(histogram: str) -> str:
    """The mean of what a histogram has observed, over all instances."""
    return f"sum(rate({histogram}_sum[$__rate_interval])) / sum(rate({histogram}_count[$__rate_interval]))"


def share(part: str, whole: str) -> str:
    """The share of a counter in another, over all instances."""
    return f"sum(rate({part}[$__rate_interval])) / sum(rate({whole}[$__rate_interval]))"


def rate(counter: str, by: str = "") -> str:
    """What a counter grows by in a second, for each value of the labels `by`."""
    grown = f"rate({counter}[$__rate_interval])"
    return f"sum by ({by}) ({grown})" if by else f"sum({grown})"


def _target(letter: str, expression: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().ref_id(letter).expr(expression).datasource(SOURCE)


def _steps(limit: float) -> dashboard.ThresholdsConfig:
    steps = [Threshold(None, "green"), Threshold(limit, "red")]
    return dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps)
