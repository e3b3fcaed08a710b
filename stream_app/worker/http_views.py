"""What `/v1` says about a customer: the state as JSON that a person can read. Nothing here is logged."""

import heapq
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from stream_app.core.outputs import TIERS, Reason
from stream_app.core.state import CustomerState, ScoreState

JsonObject = dict[str, Any]
_PACKED_FORMS = frozenset({"packed", "history"})
"""Fields that hold bytes of what is told nowhere, or by other fields."""


def customer_view(customer_id: str, partition: int, state: CustomerState, reasons: Sequence[Reason]) -> JsonObject:
    """Return everything that is kept of a customer.

    Event times (`*_ms` in the state) become ISO 8601 UTC under `*_at`, null for never. The packed features of pending
    observations and the positions and id rings of deduplication are left out: they are no news to a reader.
    """
    shown = {
        _name(field): _value(field, value)
        for field, value in state.parts().items()
        if field not in {"sources", "score"}
    }
    return {
        "customer_id": customer_id,
        "partition": partition,
        "score": score_view(state.score),
        "reasons": [reason.model_dump() for reason in reasons],
        **shown,
    }


def score_view(score: ScoreState | None) -> JsonObject | None:
    """Return the newest score; None before the first. `velocity_7d` is null until a week-old score is known."""
    if score is None or score.probability < 0:
        return None
    return {
        "at": _iso(score.at_ms),
        "probability": score.probability,
        "tier": TIERS[score.tier] if 0 <= score.tier < len(TIERS) else None,
        "velocity_7d": score.probability - score.week_ago if score.week_ago >= 0 else None,
        "published": score.published if score.published >= 0 else None,
        "published_at": _iso(score.published_ms),
        "model_version": score.model_version,
    }


async def most_at_risk(
    customers: Iterator[tuple[str, CustomerState]], tier: str | None, limit: int, pauses: AsyncIterator[None]
) -> list[JsonObject]:
    """Return the `limit` customers with the highest scores, highest first, of one tier or of all.

    `pauses` is awaited after every thousand customers, so that a large partition does not keep events waiting.
    """
    wanted = TIERS.index(tier) if tier is not None else None
    best: list[tuple[float, str, JsonObject]] = []
    for number, (customer_id, state) in enumerate(customers, start=1):
        if number % 1_000 == 0:
            await anext(pauses)
        score = state.score
        if score is None or score.probability < 0 or (wanted is not None and score.tier != wanted):
            continue
        if len(best) == limit and score.probability <= best[0][0]:
            continue
        entry = (score.probability, customer_id, {"customer_id": customer_id, **(score_view(score) or {})})
        if len(best) < limit:
            heapq.heappush(best, entry)
        else:
            heapq.heapreplace(best, entry)
    return [view for _, _, view in sorted(best, key=lambda entry: (-entry[0], entry[1]))]


def _readable(part: msgspec.Struct) -> JsonObject:
    return {
        _name(field): _value(field, value)
        for field, value in msgspec.structs.asdict(part).items()
        if field not in _PACKED_FORMS
    }


def _name(name: str) -> str:
    return "at" if name == "at_ms" else name.removesuffix("_ms") + "_at" if name.endswith("_ms") else name


def _value(name: str, value: object) -> object:
    if name.endswith("_ms") and isinstance(value, int):
        return _iso(value)
    if isinstance(value, msgspec.Struct):
        return _readable(value)
    if isinstance(value, list | tuple):
        return [_value("", item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _value("", item) for key, item in value.items()}
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    return value


def _iso(at_ms: int) -> str | None:
    if at_ms == 0:
        return None
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
