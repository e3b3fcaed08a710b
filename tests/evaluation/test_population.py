from stream_app.evaluation.population import run_population
from stream_app.evaluation.tuning import LabelSettings
from stream_app.learning.halving import HalvingRule
from stream_app.learning.zoo.registry import create
from stream_app.learning.zoo.types import OnlineModel
from tests.support.small_shop import shop_stream

_STREAM = shop_stream(LabelSettings(14, 180))[0]
_KINDS: dict[str, tuple[str, dict[str, float]]] = {
    "wild": ("adagrad", {"rate": 40.0}),
    "wilder": ("logistic-sgd", {"rate": 30.0}),
    "default": ("kalman", {}),
    "orders": ("kalman-orders", {}),
}


def _models(*names: str) -> dict[str, OnlineModel]:
    return {name: create(kind, None, options) for name in names for kind, options in [_KINDS[name]]}


def test_who_is_wrong_leaves_and_learns_no_more() -> None:
    models = _models("wild", "default", "wilder", "orders")

    found = run_population(_STREAM, models, HalvingRule(first_weeks=3, keep=2))

    assert set(found.survivors) == {"default", "orders"}
    assert len(found.rounds) == 1
    assert found.rounds[0]["default"] < found.rounds[0]["wild"]
    assert found.learned["wild"] < 0.6 * found.learned["default"]


def test_a_survivor_has_learned_as_if_it_had_been_alone() -> None:
    crowd, alone = _models("wild", "default"), _models("default")
    run_population(_STREAM, crowd, HalvingRule(first_weeks=3, keep=1))
    run_population(_STREAM, alone, HalvingRule())

    assert crowd["default"].dump() == alone["default"].dump()
