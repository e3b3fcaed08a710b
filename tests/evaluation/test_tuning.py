import json
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest

from stream_app.evaluation.contest import Stream
from stream_app.evaluation.tuning import Candidate, Judge, Judged, LabelSettings, choose, configuration, suggest
from stream_app.learning.specs import check_specs, create_spec, parse_spec
from stream_app.learning.zoo.registry import ENTRIES, MODEL_NAMES, knobs_of, options_of
from tests.support.small_shop import shop_stream

PRESENT = LabelSettings(14, 180)
OFTEN = LabelSettings(7, 180)
NOW = Candidate("kalman", options_of("kalman"), PRESENT)


def _judge(change: Any = None) -> Judge:
    def streams(labels: LabelSettings) -> Stream:
        stream = shop_stream(labels)[0]
        return stream if change is None else change(stream)

    return Judge(streams, PRESENT, shop_stream(PRESENT)[1])


class _FirstOrLast:
    """A sampler that always takes one end of the range."""

    def __init__(self, *, last: bool) -> None:
        self._last = last
        self.asked: dict[str, Any] = {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.asked[name] = choices[-1 if self._last else 0]
        return self.asked[name]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        assert not log or low > 0
        self.asked[name] = high if self._last else low
        return high if self._last else low

    def suggest_int(self, name: str, low: int, high: int, *, log: bool = False) -> int:
        return int(self.suggest_float(name, low, high, log=log))


@pytest.mark.parametrize("name", [name for name in MODEL_NAMES if not ENTRIES[name].extra])
@pytest.mark.parametrize("last", [False, True])
def test_every_model_can_be_suggested_at_both_ends_of_its_ranges_and_named_again(name: str, last: bool) -> None:
    sampler = _FirstOrLast(last=last)

    candidate = suggest(sampler, [name], [PRESENT, OFTEN])

    assert candidate.model == name
    assert candidate.labels == (OFTEN if last else PRESENT)
    assert set(candidate.options) <= set(knobs_of(name))
    spec_name, options = parse_spec(candidate.spec)
    assert spec_name == name
    assert options_of(name, options) == pytest.approx(options_of(name, candidate.options))


def test_families_that_say_nothing_are_not_worth_a_trial() -> None:
    stream = shop_stream(PRESENT)[0]
    varied = np.ptp(stream.observed.features.astype(np.float32), axis=0) > 0
    sampler = _FirstOrLast(last=False)

    suggest(sampler, ["kalman"], [PRESENT], varied)

    assert "kalman/crossed" in sampler.asked
    assert "kalman/visits" not in sampler.asked


def test_what_happens_after_the_search_window_changes_nothing() -> None:
    def spoiled(stream: Stream) -> Stream:
        observed = stream.observed
        late = observed.due_ms > stream.test_start_ms
        assert late.any()
        features = observed.features.copy()
        features[observed.at_ms >= stream.test_start_ms] = 0.0
        return stream._replace(observed=_replaced(observed, churned=observed.churned ^ late, features=features))

    assert _judge(spoiled).judge(NOW) == _judge().judge(NOW)
    assert _judge(spoiled).test(NOW) != _judge().test(NOW)


def _replaced(observed: Any, **changes: Any) -> Any:
    return type(observed)(**{**observed.__dict__, **changes})


def test_candidates_are_judged_on_the_same_observations_however_many_they_learn_from() -> None:
    judge = _judge()
    often = msgspec.structs.replace(NOW, labels=OFTEN)

    assert len(judge.stream(OFTEN).observed) > 1.5 * len(judge.stream(PRESENT).observed)
    one, other = judge.test(NOW), judge.test(often)
    assert one["calendar"]["n"] == other["calendar"]["n"]
    assert one["event"]["n"] == other["event"]["n"]
    assert one != other


def test_a_model_that_sees_nothing_loses() -> None:
    judge = _judge()
    blind = Candidate("kalman", {**options_of("kalman"), "prior_variance": 1e-9}, PRESENT)

    assert len(judge.judge(NOW).by_block) == 3
    assert judge.judge(NOW).log_loss == pytest.approx(np.mean(judge.judge(NOW).by_block))
    assert judge.judge(blind) != judge.judge(NOW)


def test_the_configuration_is_one_that_the_product_takes() -> None:
    best = Candidate("adagrad", {"rate": 0.1, "crossed": 0.0}, OFTEN)

    found = configuration(best, PRESENT)

    assert found == {
        "STREAM_APP_CHALLENGERS": '["adagrad:crossed=0,rate=0.1"]',
        "STREAM_APP_OBSERVATION_DAYS": "7",
    }
    assert not any("*" in name for name in create_spec(best.spec).inputs.names)


def test_challengers_stay_and_nobody_is_named_twice() -> None:
    best = Candidate("adagrad", {"rate": 0.1, "l2": 0.001}, PRESENT)

    added = configuration(best, PRESENT, "adagrad", ["kalman", "mlp"])["STREAM_APP_CHALLENGERS"]
    assert json.loads(added) == ["kalman", "mlp", best.spec]
    check_specs("adagrad", json.loads(added))

    assert configuration(best, PRESENT, "kalman", ["adagrad: rate=0.10 , l2=0.001"]) == {}
    assert configuration(Candidate("adagrad", {}, PRESENT), PRESENT, "adagrad", ["mlp"]) == {}
    assert json.loads(configuration(NOW, PRESENT, "adagrad")["STREAM_APP_CHALLENGERS"]) == ["kalman"]


def test_the_present_settings_stay_unless_they_are_beaten_in_every_block() -> None:
    lucky = Candidate("adagrad", {"rate": 0.4}, PRESENT)
    better = Candidate("adagrad", {"rate": 0.1}, PRESENT)
    present = (NOW, Judged(0.6, (0.6, 0.6, 0.6), 0.7))
    mixed = (lucky, Judged(0.5, (0.3, 0.3, 0.9), 0.7))
    steady = (better, Judged(0.59, (0.59, 0.59, 0.59), 0.7))

    assert choose([present, mixed]) == present
    assert choose([present, mixed, steady]) == steady
    assert configuration(NOW, PRESENT) == {}
