import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream_app.learning.halving import HalvingRule, Round, step
from stream_app.learning.weekly import Week


def _week(number: int, losses: dict[str, float], examples: int = 40) -> Week:
    return Week(
        number,
        examples,
        [float(examples)],
        {name: [loss * examples] for name, loss in losses.items()},
        dict.fromkeys(losses, examples),
    )


def _run(weeks: list[Week], names: tuple[str, ...], rule: HalvingRule) -> list[tuple[str, ...]]:
    """Look after every week, and return who left, look by look."""
    now, left = Round(names), []
    for count in range(1, len(weeks) + 1):
        found = step(now, weeks[:count], rule)
        now = found.round
        left.append(found.left)
    return left


def test_rounds_double_and_the_worse_half_leaves() -> None:
    quality = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "e": 0.5}
    weeks = [_week(number, quality) for number in range(100, 120)]

    left = _run(weeks, tuple(quality), HalvingRule(first_weeks=2, keep=1))

    assert left[1] == ("e", "d")
    assert left[1 + 4] == ("c",)
    assert left[1 + 4 + 8] == ("b",)
    assert sum(map(len, left)) == 4


def test_a_week_that_not_everybody_judged_does_not_count() -> None:
    partly = _week(101, {"a": 0.9, "b": 0.1})
    partly.seen["b"] = 3
    weeks = [_week(100, {"a": 0.1, "b": 0.2}), partly, _week(102, {"a": 0.1, "b": 0.2})]

    assert _run(weeks, ("a", "b"), HalvingRule(first_weeks=2, keep=1)) == [(), (), ("b",)]


def test_earlier_rounds_are_forgotten() -> None:
    early = [_week(number, {"a": 0.1, "b": 0.2, "c": 0.9, "d": 0.9}) for number in range(100, 102)]
    late = [_week(number, {"a": 0.4, "b": 0.3}) for number in range(102, 110)]

    assert _run(early + late, ("a", "b", "c", "d"), HalvingRule(first_weeks=2, keep=1))[-5:].count(("a",)) == 1


@given(st.dictionaries(st.text("abcdefgh", min_size=1, max_size=3), st.floats(0.1, 1.0), min_size=2, max_size=12),
       st.integers(1, 3), st.integers(1, 4))  # fmt: skip
def test_who_is_best_all_along_stays_and_looking_seldom_changes_nothing(
    quality: dict[str, float], first_weeks: int, keep: int
) -> None:
    rule, names = HalvingRule(first_weeks, keep), tuple(sorted(quality))
    weeks = [_week(number, quality) for number in range(60)]
    often, seldom = Round(names), Round(names)
    for count in range(1, len(weeks) + 1):
        often = step(often, weeks[:count], rule).round
    while (following := step(seldom, weeks, rule).round) != seldom:
        seldom = following

    assert often == seldom
    assert len(often.alive) >= min(keep, len(names))
    assert min(names, key=lambda name: (quality[name], name)) in often.alive


def test_a_rule_that_keeps_nobody_is_refused() -> None:
    with pytest.raises(ValueError, match="somebody has to stay"):
        step(Round(("a", "b")), [], HalvingRule(4, 0))
