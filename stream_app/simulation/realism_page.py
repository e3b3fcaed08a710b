"""The realism report: one self-contained HTML page with quantile tables and quantile-quantile plots (inline SVG)."""

from collections.abc import Sequence
from html import escape
from math import log1p

from stream_app.simulation.realism import QUANTILES, Comparison

_SIZE, _MARGIN = 240, 34
_TICKS = (0, 1, 3, 10, 30, 100, 300, 1000, 3000)

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem; }
section { display: flex; flex-wrap: wrap; gap: 2rem; align-items: center; padding: 1rem 0; }
section { border-top: 1px solid #8884; }
section > div { flex: 1; min-width: min(100%, 28rem); }
h2 { font-size: 1.1rem; margin: 0; width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .85rem; }
th, td { padding: .2rem .6rem; text-align: right; border-bottom: 1px solid #8883; }
th:first-child { text-align: left; font-weight: 600; }
svg { max-width: 100%; height: auto; }
.axis { stroke: currentColor; stroke-opacity: .35; }
.same { stroke: currentColor; stroke-opacity: .5; stroke-dasharray: 4 4; }
.dot { fill: #2a78d6; }
text { fill: currentColor; font-size: 10px; }
"""


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _plot(comparison: Comparison) -> str:
    """Draw simulated over real quantiles, both on a log(1 + x) scale."""
    top = log1p(max(max(pair) for pair in comparison.curve)) or 1.0
    span = _SIZE - 2 * _MARGIN

    def across(value: float) -> float:
        return _MARGIN + span * log1p(max(value, 0.0)) / top

    def up(value: float) -> float:
        return _SIZE - across(value)

    marks = "".join(
        f'<text x="{across(tick):.1f}" y="{_SIZE - _MARGIN + 14}" text-anchor="middle">{tick}</text>'
        f'<text x="{_MARGIN - 4}" y="{up(tick) + 3:.1f}" text-anchor="end">{tick}</text>'
        for tick in _TICKS
        if log1p(tick) <= top
    )
    dots = "".join(f'<circle class="dot" cx="{across(x):.1f}" cy="{up(y):.1f}" r="2"/>' for x, y in comparison.curve)
    low, high = _MARGIN, _SIZE - _MARGIN
    label = escape(f"{comparison.what}, {comparison.real_name}: simulated against real quantiles")
    return (
        f'<svg role="img" aria-label="{label}" width="{_SIZE}" height="{_SIZE}" viewBox="0 0 {_SIZE} {_SIZE}">'
        f'<path class="axis" fill="none" d="M{low} {low}V{high}H{high}"/>'
        f'<path class="same" d="M{low} {high}L{high} {low}"/>{marks}{dots}'
        f'<text x="{_SIZE / 2}" y="{_SIZE - 4}" text-anchor="middle">real, {escape(comparison.unit)}</text>'
        f'<text x="10" y="{_SIZE / 2}" text-anchor="middle" transform="rotate(-90 10 {_SIZE / 2})">'
        "simulated</text></svg>"
    )


def _section(comparison: Comparison) -> str:
    head = "".join(f"<th>{quantile:.0%}</th>" for quantile in QUANTILES)
    real = "".join(f"<td>{_number(value)}</td>" for value in comparison.real)
    simulated = "".join(f"<td>{_number(value)}</td>" for value in comparison.simulated)
    return (
        f"<section><h2>{escape(comparison.what)} &middot; {escape(comparison.real_name)}</h2>"
        f"{_plot(comparison)}<div><table><tr><th>{escape(comparison.unit)}</th>{head}</tr><tr><th>real</th>{real}</tr>"
        f"<tr><th>simulated</th>{simulated}</tr></table><p>Largest difference of the distribution functions "
        f"<b>{comparison.distance:.3f}</b>; mean error of the quantiles <b>{comparison.log_error:.0%}</b>; "
        f"{comparison.real_count:,} real and {comparison.simulated_count:,} simulated observations.</p></div></section>"
    )


def realism_page(comparisons: Sequence[Comparison]) -> str:
    """Return the report as HTML.

    Parameters
    ----------
    comparisons
        In the order in which they are shown.
    """
    sections = "".join(_section(comparison) for comparison in comparisons)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>How real is the simulated shop?</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head><body>'
        "<h1>How real is the simulated shop?</h1><p>Each dot is a hundredth of the customers, orders or visits: on the "
        "dashed line the simulated shop and the real one agree. The presets <code>cdnow</code> and "
        "<code>online-retail</code> are held against the shops they were fitted to, visits of the preset "
        "<code>shop</code> against one morning of REES46.</p>"
        f"{sections}</body></html>\n"
    )
