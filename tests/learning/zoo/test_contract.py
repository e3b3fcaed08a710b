"""What every model of the zoo promises, one suite over all of them."""

import os
import subprocess
import sys
from functools import cache

import msgspec
import numpy as np
import pytest

from stream_app.core.features import FEATURE_INDEX, FEATURE_NAMES
from stream_app.learning.zoo.registry import ENTRIES, MODEL_NAMES, create, options_of
from stream_app.learning.zoo.types import Features, Labels, ModelNotServedError, ModelState, OnlineModel, Vector
from tests.support.observed import shop_rows

_ROWS = 140
_FEATURES, _LABELS = shop_rows(_ROWS, seed=4)
_WEIGHT = np.where(np.arange(_ROWS) % 7 == 0, 2.3, 0.8)


def model_of(name: str) -> OnlineModel:
    extra = ENTRIES[name].extra
    if extra:
        pytest.importorskip("deep_river", reason=f"model {name} needs the extra {extra!r}")
    return create(name, options=small(name))


def small(name: str) -> dict[str, float]:
    """Return options that make a model quick: few trees, which split early."""
    wanted = {"trees": 3.0, "members": 3.0, "grace": 50.0}
    return {option: value for option, value in wanted.items() if option in ENTRIES[name].knobs}


@cache
def _learned(name: str) -> OnlineModel:
    model = model_of(name)
    model.learn(_FEATURES, _LABELS, _WEIGHT)
    return model


def _separable(rows: int) -> tuple[Features, Labels]:
    """Return a stream where recent orders tell who stays, with one label in twenty wrong."""
    random = np.random.default_rng(9)
    features = shop_rows(rows, seed=9)[0].copy()
    activity = random.normal(0.0, 1.0, rows).astype(np.float32)
    features[:, FEATURE_INDEX["c30"]] = activity
    return features, (activity < 0.3) ^ (random.random(rows) < 0.05)


def _log_loss(probability: Vector, churned: Labels) -> float:
    return float(-np.log(np.where(churned, probability, 1.0 - probability)).mean())


def _through_bytes(state: ModelState) -> ModelState:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(state), type=ModelState)


@pytest.mark.parametrize("name", MODEL_NAMES)
class TestEveryModel:
    def test_predicts_probabilities_from_the_first_row_on(self, name: str) -> None:
        for model in (model_of(name), _learned(name)):
            probability = model.predict(_FEATURES)
            assert probability.shape == (_ROWS,)
            assert ((probability > 0.0) & (probability < 1.0)).all()

    def test_learns_more_than_the_base_rate(self, name: str) -> None:
        features, churned = _separable(1_000)
        model = model_of(name)
        model.learn(features[:800], churned[:800], np.ones(800))

        constant = np.full(200, churned[:800].mean())

        assert _log_loss(model.predict(features[800:]), churned[800:]) < 0.97 * _log_loss(constant, churned[800:])

    def test_goes_on_from_its_checkpoint_as_if_nothing_had_happened(self, name: str) -> None:
        first = model_of(name)
        first.learn(_FEATURES[:90], _LABELS[:90], _WEIGHT[:90])
        second = model_of(name)
        second.load(_through_bytes(first.dump()))
        second.learn(_FEATURES[90:], _LABELS[90:], _WEIGHT[90:])

        assert second.predict(_FEATURES).tobytes() == _learned(name).predict(_FEATURES).tobytes()
        assert second.dump() == _learned(name).dump()

    def test_does_not_change_by_predicting(self, name: str) -> None:
        before = _learned(name).dump()

        once, twice = _learned(name).predict(_FEATURES), _learned(name).predict(_FEATURES)

        assert once.tobytes() == twice.tobytes()
        assert _learned(name).dump() == before

    def test_learns_nothing_from_rows_that_count_nothing(self, name: str) -> None:
        model = model_of(name)
        model.learn(_FEATURES[:9], _LABELS[:9], np.zeros(9))
        model.learn(_FEATURES[:40], _LABELS[:40], _WEIGHT[:40])
        plain = model_of(name)
        plain.learn(_FEATURES[:40], _LABELS[:40], _WEIGHT[:40])

        assert model.predict(_FEATURES).tobytes() == plain.predict(_FEATURES).tobytes()

    def test_does_not_care_how_rows_are_cut_into_blocks(self, name: str) -> None:
        model = model_of(name)
        for start in range(0, _ROWS, 37):
            stop = start + 37
            model.learn(_FEATURES[start:stop], _LABELS[start:stop], _WEIGHT[start:stop])

        assert model.predict(_FEATURES).tobytes() == _learned(name).predict(_FEATURES).tobytes()

    def test_is_served_or_says_why_not(self, name: str) -> None:
        if ENTRIES[name].served:
            assert len(_learned(name).export().mean) == len(_learned(name).inputs.names)
        else:
            with pytest.raises(ModelNotServedError, match=f"'{name}' cannot be served"):
                _learned(name).export()

    def test_sees_only_the_inputs_that_it_is_given(self, name: str) -> None:
        model_of(name)
        model = create(name, ("c30", "log_rec", "calendar"), small(name))
        model.learn(_FEATURES[:80], _LABELS[:80], np.ones(80))
        blind = _FEATURES.copy()
        kept = [FEATURE_INDEX[one] for one in ("c30", "log_rec", "calendar", "lo_gampois_dec")]
        blind[:, [index for index in range(len(FEATURE_NAMES)) if index not in kept]] = 0.0

        assert model.predict(blind).tobytes() == model.predict(_FEATURES).tobytes()

    def test_refuses_an_option_that_it_lacks(self, name: str) -> None:
        with pytest.raises(ValueError, match=f"model '{name}' has no option 'colour'"):
            options_of(name, {"colour": 1.0})


_SCRIPT = """
from hashlib import sha256
import numpy as np
from stream_app.learning.zoo.registry import ENTRIES, create
from tests.support.observed import shop_rows
features, labels = shop_rows(70, seed=4)
for name, entry in ENTRIES.items():
    if not entry.extra:
        model = create(name)
        model.learn(features, labels, np.ones(len(labels)))
        print(name, sha256(model.predict(features).tobytes()).hexdigest())
"""


def test_another_process_learns_the_same() -> None:
    def run(hash_seed: str) -> list[str]:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", _SCRIPT]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    one, other = run("1"), run("2")

    assert len(one) == sum(1 for entry in ENTRIES.values() if not entry.extra)
    assert one == other
