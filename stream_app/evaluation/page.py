"""The evaluation as one self-contained HTML page: tables, calibration and learning curves as inline SVG."""

from collections.abc import Sequence
from html import escape
from math import isfinite
from typing import Any

_WIDTH, _HEIGHT, _MARGIN = 420, 260, 36
_COLUMNS = ("n", "churn_rate", "auc", "pr_auc", "log_loss", "brier", "ece", "lift_10")
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c2430}
table{border-collapse:collapse;margin:1rem 0}td,th{padding:.25rem .7rem;text-align:right;border-bottom:1px solid
#d8dde4}
td:first-child,th:first-child{text-align:left}svg{background:#f7f8fa;margin:.5rem 1rem .5rem 0}h2{margin-top:2.5rem}"""


def report_page(summary: dict[str, Any]) -> str:
    """Return the page for what `stream-app evaluate` found."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><title>Churn evaluation</title>",
        f"<style>{_STYLE}</style><h1>Churn evaluation</h1>",
        f"<p>{_what_was_read(summary)}</p>",
    ]
    for result in summary["results"]:
        heading = f"{result['model']}, {result['observations']} observations, H = {result['horizon_days']} days"
        parts.append(f"<h2>{escape(heading)}</h2>")
        rows = {
            "served": result["test"],
            "before the test": result["before_test"],
            "first 60 days": result["first_60_days"],
        }
        parts.append(_table("", rows | result["baselines"]))
        parts.append(
            _svg("Calibration (score, churn rate)", [(p["score"], p["churn_rate"]) for p in result["calibration"]])
        )
        curve = [(index, point["auc"]) for index, point in enumerate(result["learning_curve"])]
        parts.append(_svg("AUC per 30 days", curve, low=0.5))
        parts.append("<h3>By group</h3>" + _table("", result["groups"]))
        parts.append("<h3>At the tier thresholds</h3>" + _figures(result["tiers"]))
        if result["value_90d"]:
            parts.append("<h3>90-day value</h3>" + _figures([result["value_90d"]]))
        parts.append("<h3>Cost</h3>" + _figures([result["cost"]]))
    if summary.get("families"):
        parts.append(
            f"<h2>What families of features bring to {escape(summary['families_of_model'])}</h2>"
            + _families(summary["families"])
        )
    return "\n".join([*parts, "</html>\n"])


def _what_was_read(summary: dict[str, Any]) -> str:
    names = escape(", ".join(summary["files"]))
    return (
        f"{names}: {summary['events']:,} events of {summary['customers']:,} customers, {summary['observations']:,} "
        "observations. Every observation was scored when it was taken and learned when its label was due; figures are "
        "of the last 40 % of the time span."
    )


def _table(corner: str, rows: dict[str, dict[str, float]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in (corner, *_COLUMNS))
    lines = [
        f"<tr><td>{escape(name)}</td>"
        + "".join(f"<td>{_number(values.get(column))}</td>" for column in _COLUMNS)
        + "</tr>"
        for name, values in rows.items()
    ]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _figures(rows: Sequence[dict[str, float]]) -> str:
    names = tuple(rows[0]) if rows else ()
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in names)
    lines = ["<tr>" + "".join(f"<td>{_number(row[name])}</td>" for name in names) + "</tr>" for row in rows]
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def _number(value: float | None) -> str:
    if value is None or not isfinite(value):
        return ""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.4f}"  # noqa: PLR2004 - counts and shares


def _families(families: dict[str, dict[str, Any]]) -> str:
    head = "<tr><th></th><th>AUC gain</th><th>95 % interval</th><th>in the default model</th></tr>"
    lines = [
        f"<tr><td>{escape(family)}</td><td>{found['auc_gain']:+.4f}</td>"
        f"<td>{found['auc_gain_interval'][0]:+.4f} to {found['auc_gain_interval'][1]:+.4f}</td>"
        f"<td>{'yes' if found['in_default_model'] else 'no'}</td></tr>"
        for family, found in families.items()
        if family
    ]
    return f"<table>{head}{''.join(lines)}</table>"


def _svg(title: str, points: Sequence[tuple[float, float]], low: float = 0.0) -> str:
    if not points:
        return ""
    right = max(1.0, *(x for x, _ in points))

    def place(x: float, y: float) -> str:
        across = _MARGIN + x / right * (_WIDTH - 2 * _MARGIN)
        down = _HEIGHT - _MARGIN - (y - low) / (1.0 - low) * (_HEIGHT - 2 * _MARGIN)
        return f"{across:.1f},{down:.1f}"

    line = " ".join(place(x, y) for x, y in points)
    dots = "".join('<circle r="3" fill="#2456a6" cx="{}" cy="{}"/>'.format(*place(x, y).split(",")) for x, y in points)
    corner, end = place(0, low).split(","), place(right, 1.0 if low == 0.0 else low).split(",")
    return (
        f'<svg width="{_WIDTH}" height="{_HEIGHT}" role="img" aria-label="{escape(title)}">'
        f'<text x="{_MARGIN}" y="20" font-size="13">{escape(title)}</text>'
        f'<line x1="{corner[0]}" y1="{corner[1]}" x2="{end[0]}" y2="{end[1]}" stroke="#b6bec9"/>'
        f'<text x="4" y="{_HEIGHT - _MARGIN}" font-size="11">{low:g}</text>'
        f'<text x="4" y="{_MARGIN}" font-size="11">1</text>'
        f'<polyline points="{line}" fill="none" stroke="#2456a6" stroke-width="2"/>{dots}</svg>'
    )
