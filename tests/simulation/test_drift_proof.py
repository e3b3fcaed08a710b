"""How alarms become figures; what alarms there are in real shops is for `stream-app prove drift`."""

import pytest

from stream_app.settings import Settings
from stream_app.simulation import drift_proof
from stream_app.simulation.config import Drift, ShopConfig
from stream_app.simulation.drift_proof import WHOLE, Alarm, prove_drift


def test_false_alarms_and_their_years_are_of_the_same_days(monkeypatch: pytest.MonkeyPatch) -> None:
    raised = {1: [Alarm(WHOLE[0], 50), Alarm("c30", 99)], 2: [Alarm(WHOLE[0], 100), Alarm("c30", 300)]}
    monkeypatch.setattr(drift_proof, "alarms_of", lambda config, _: raised[config.seed])
    base = ShopConfig(customers=100, days=100 + 1461, drift_at=0.5)

    found = prove_drift(base, Settings(), [(Drift.NONE, 1), (Drift.NONE, 2)], judged_from_day=100)["stationary"]

    assert found["judged_years"] == pytest.approx(8.0)
    assert found["whole_shop_alarms_a_year"] == pytest.approx(1 / 8)
    assert found["feature_alarms_a_year"] == pytest.approx(1 / 8)
    assert found["shops_without_whole_shop_alarm"] == 1
