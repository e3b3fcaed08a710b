"""What an intervention says: the template's parameters filled in, a language that exists, product picks."""

from stream_app.core.outputs import TIERS, Content
from stream_app.core.times import DAY_MS, from_ms
from stream_app.decisions.catalogue import Action, ParameterValue
from stream_app.decisions.types import DecisionPoint


def content_of(action: Action, point: DecisionPoint, intervention_id: str, expires_ms: int) -> Content:
    """Return the content of an intervention in the customer's language, or in the template's first one."""
    template = action.content
    return Content(
        template=template.template,
        language=language_for(point.facts.language, template.languages),
        parameters={
            name: _filled(value, point, intervention_id, expires_ms) for name, value in template.parameters.items()
        },
        products=picks_for(point, template.picks),
    )


def language_for(wanted: str, available: tuple[str, ...]) -> str:
    """Return the available language that fits best: the same tag, the same primary language, else the first."""
    by_tag = {language.lower(): language for language in reversed(available)}
    tag = wanted.lower().replace("_", "-")
    return by_tag.get(tag) or by_tag.get(tag.partition("-")[0]) or available[0]


def picks_for(point: DecisionPoint, count: int) -> tuple[str, ...]:
    """Return up to `count` products: the recommender's where there is one, else seen and not bought, then bought."""
    if not count:
        return ()
    if point.picks is not None:
        return point.picks(count)
    facts = point.facts
    seen = [product for product in facts.recent_seen if product not in facts.recent_bought]
    return tuple(dict.fromkeys([*seen, *facts.recent_bought]))[:count]


def _filled(value: ParameterValue, point: DecisionPoint, intervention_id: str, expires_ms: int) -> ParameterValue:
    facts = point.facts
    match value:
        case "$order_value":
            return round(facts.mean_amount, 2)
        case "$days_since_order":
            return max(0, point.now_ms - facts.last_order_ms) // DAY_MS if facts.last_order_ms else -1
        case "$loyalty_tier":
            return facts.profile.loyalty_tier if facts.profile is not None else ""
        case "$intervention_id":
            return intervention_id
        case "$expires_on":
            return from_ms(expires_ms).date().isoformat()
        case "$tier":
            return TIERS[point.tier]
        case _:
            return value
