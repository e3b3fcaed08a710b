"""When served and evaluated scores agree: all the ways in which they may not."""

from collections.abc import Callable
from functools import cache

import msgspec
import pytest

from stream_app.core.effects import TrainingExample
from stream_app.core.times import DAY_MS
from stream_app.engine.policy import EnginePolicy
from stream_app.evaluation.agreement import agreement, disagreements
from stream_app.evaluation.running import PassResult, run_pass
from stream_app.learning.learner import Learner
from stream_app.sentiment.protocol import NeutralSentiment
from tests.support.small_shop import HORIZON_DAYS, shop_records

Examples = list[TrainingExample]


@cache
def _evaluated() -> PassResult:
    policy = EnginePolicy(horizon_days=HORIZON_DAYS)
    return run_pass(shop_records(), Learner(HORIZON_DAYS), policy, NeutralSentiment())


def _reasons(served: Examples, tolerance: float = 0.005, unmatched_share: float = 0.01) -> list[str]:
    return disagreements(agreement(_evaluated(), served, "calendar"), tolerance, unmatched_share)


def _changed(example: TrainingExample, **fields: object) -> TrainingExample:
    return msgspec.structs.replace(example, **fields)


def test_the_same_observations_agree_in_whatever_order_and_however_often() -> None:
    examples = list(_evaluated().examples)

    assert agreement(_evaluated(), examples, "calendar")["in_both"] > 50
    assert _reasons([*reversed(examples), *examples[:10]], tolerance=0.0, unmatched_share=0.0) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda all_: [_changed(one, at_ms=one.at_ms + DAY_MS) for one in all_], "no observation is common"),
        (lambda _: [], "no observation is common"),
        (lambda all_: [*all_[:-1], _changed(all_[-1], churned=not all_[-1].churned)], "another label"),
        (lambda all_: all_[: -len(all_) // 10], "on one side only"),
        (lambda all_: [*all_, *(_changed(one, customer_id="new-" + one.customer_id) for one in all_)], "one side only"),
        (lambda all_: [_changed(one, probability=1.0 - one.probability) for one in all_], "AUCs lie"),
        (lambda all_: [one for one in all_ if one.churned], "no AUC"),
    ],
)
def test_what_is_no_agreement_is_told(change: Callable[[Examples], Examples], said: str) -> None:
    examples = [one for one in _evaluated().examples if one.kind == 1]

    assert said in " ".join(_reasons(change(examples)))
