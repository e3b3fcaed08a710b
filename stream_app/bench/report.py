"""The benchmark's results as a table for a person; the JSON has everything."""

from collections.abc import Mapping, Sequence
from typing import Any

from stream_app.bench.contest import Standing

BASE = "faust"


def as_json(conditions: Mapping[str, Any], standings: Sequence[Standing]) -> dict[str, Any]:
    """Return the whole report, JSON-ready."""
    return {
        "conditions": dict(conditions),
        "contenders": [
            {**standing._asdict(), "runs": [run._asdict() for run in standing.runs]} for standing in standings
        ],
        "ratios": ratios(standings),
    }


def ratios(standings: Sequence[Standing]) -> dict[str, float]:
    """Return how many times ours is as fast as each other contender that was measured."""
    rates = {standing.peer: standing.events_per_second for standing in standings}
    ours = rates.get("ours")
    if not ours:
        return {}
    return {f"ours/{peer}": round(ours / rate, 2) for peer, rate in rates.items() if rate and peer != "ours"}


def as_table(conditions: Mapping[str, Any], standings: Sequence[Standing]) -> str:
    """Return the standings for a terminal, conditions first."""
    lines = [f"{name.replace('_', ' ')}: {_number(value)}" for name, value in conditions.items()]
    lines += [
        "",
        f"{'contender':<13}{'events/s':>10}{'cpu us':>10}{'broker us':>11}{'MiB':>7}{'start s':>8}{'clicks':>8}  ",
    ]
    found = ratios(standings)
    for standing in standings:
        if standing.events_per_second is None:
            lines.append(f"{standing.peer:<13}{standing.status}: {_first_line(standing.detail)}")
            continue
        run = standing.runs[-1]
        cells = [
            f"{standing.events_per_second:>10,.0f}",
            f"{_or_dash(standing.cpu_microseconds_per_event):>10}",
            f"{_or_dash(run.broker_cpu_microseconds_per_event):>11}",
            f"{_or_dash(run.peak_memory_mebibytes):>7}",
            f"{run.start_seconds:>8}",
            f"{run.click_share:>8.1%}",
        ]
        notes = [standing.meaning, *([f"{run.processes} processes"] if run.processes > 1 else [])]
        if f"ours/{standing.peer}" in found:
            notes.append(f"ours is {found[f'ours/{standing.peer}']:g} times this")
        if any(run.drained for run in standing.runs):
            notes.append("drained the backlog within the window")
        if standing.status != "ok":
            notes.append(f"{standing.status} in a later round: {_first_line(standing.detail)}")
        lines.append(f"{standing.peer:<13}{''.join(cells)}  {'; '.join(notes)}")
    lines += ["", "durable when an offset is committed:"]
    lines += [f"{standing.peer:<13}{standing.durability}" for standing in standings]
    return "\n".join(lines)


def _first_line(text: str) -> str:
    return text.partition("\n")[0]


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _or_dash(value: float | None) -> str:
    return "-" if value is None else f"{round(value, 2):,}"
