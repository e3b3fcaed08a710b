"""Named experiments: arms are fixed, filled as configured, independent of one another, and keep to their actions."""

import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.core.times import DAY_MS
from stream_app.decisions.arms import arm_of, experiment_arm
from stream_app.decisions.catalogue import Catalogue, CatalogueError, parse_catalogue, shipped_catalogue_file
from stream_app.decisions.types import NOTHING, Act, DecisionPoint, Suppress
from tests.support.decisions import NOON_MS, SHIPPED, Decided, decider, facts, point, sequences, willing_facts

TEXT = shipped_catalogue_file().read_text(encoding="utf-8")
SIZE = {
    "name": "coupon-size",
    "arms": [{"name": "small", "without": ["coupon-20"], "weight": 3}, {"name": "none", "only": []}],
}
NEWS = {"name": "news", "share": 0.5, "arms": [{"name": "as-is"}, {"name": "less", "without": ["promotion-news"]}]}


def catalogue(*experiments: dict[str, Any]) -> Catalogue:
    return Catalogue.model_validate({**SHIPPED.model_dump(mode="json"), "experiments": experiments})


BOTH = catalogue(SIZE, NEWS)


def test_arms_are_filled_as_configured_and_independently() -> None:
    counts: Counter[tuple[str, str, str]] = Counter()
    for number in range(20_000):
        size, news = (experiment_arm(f"c{number}", "salt", e) for e in BOTH.experiments)
        assert size is not None
        counts[arm_of(f"c{number}", "salt", 0.1), size.name, news.name if news else ""] += 1
    for arm, arm_share in (("treatment", 0.9), ("holdout", 0.1)):
        for of_size, size_share in (("small", 0.75), ("none", 0.25)):
            for of_news, news_share in (("", 0.5), ("as-is", 0.25), ("less", 0.25)):
                expected = 20_000 * arm_share * size_share * news_share
                assert abs(counts[arm, of_size, of_news] - expected) < 5 * expected**0.5


@given(sequences(willing_facts, customers=6, max_size=50))
def test_no_arm_is_offered_what_it_may_not_have(points: list[DecisionPoint]) -> None:
    run = Decided(decider(BOTH)).on(points)
    for told in [a.intervention for a in run.those(Act)] + [s.suppressed for s in run.those(Suppress)]:
        size, news = (experiment_arm(told.customer_id, "test", e) for e in BOTH.experiments)
        assert size is not None
        for name in set(told.alternatives) - {NOTHING}:
            assert size.permits(name)
            assert news is None or news.permits(name)


@given(st.integers(0, 10**9))
def test_whoever_has_a_choice_enters_whatever_its_arm_leaves(number: int) -> None:
    name = f"c{number}"
    run = Decided(decider(BOTH)).on([point(customer_id=name, at_ms=NOON_MS + d * DAY_MS) for d in (0, 14, 28)])
    told = run.by.mature(name, run.ledgers[name], facts(), NOON_MS + 60 * DAY_MS)
    arms = {e.name: arm.name for e in BOTH.experiments if (arm := experiment_arm(name, "test", e)) is not None}
    assert [outcome.experiments for outcome in told] == [arms, {}, {}][: len(told)]
    if arms["coupon-size"] == "none":
        assert {outcome.action for outcome in told} == {NOTHING}
        assert [outcome.propensity for outcome in told] == pytest.approx([1.0] * len(told))


def test_without_experiments_decisions_are_what_they_were() -> None:
    points = [point(customer_id=f"c{n}", at_ms=NOON_MS + n * DAY_MS) for n in range(30)]
    idle = catalogue({"name": "idle", "arms": [{"name": "a"}, {"name": "b"}]})
    plain, same = Decided(decider()).on(points), Decided(decider(idle)).on(points)
    assert [a.intervention.action for a in plain.those(Act)] == [a.intervention.action for a in same.those(Act)]


@pytest.mark.parametrize(
    ("arms", "field", "words"),
    [
        ("[{name: a}, {name: b, only: [coupon-99]}]", "experiments[0].arms[1].only", "no action is called 'coupon-99'"),
        ("[{name: a}, {name: a}]", "experiments[0].arms[1].name", "two arms are called a"),
        ("[{name: a}]", "experiments[0].arms", "at least 2"),
        ("[{name: a}, {name: b, weight: 0}]", "experiments[0].arms[1].weight", "greater than 0"),
    ],
)
def test_a_mistake_is_told_with_line_and_field(arms: str, field: str, words: str) -> None:
    line = len(TEXT.splitlines()) + 2
    with pytest.raises(CatalogueError) as caught:
        parse_catalogue(f"{TEXT}\nexperiments: [{{name: x, arms: {arms}}}]\n", "my.yaml")
    assert re.match(rf"my\.yaml:{line}: {re.escape(field)}: .*{re.escape(words)}.*", str(caught.value))
