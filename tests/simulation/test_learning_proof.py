import json
from functools import cache

import numpy as np
import pytest

from stream_app.cli.main import main
from stream_app.core.times import DAY_MS
from stream_app.evaluation.rescoring import rescore
from stream_app.learning.learner import Learner
from stream_app.settings import Settings
from stream_app.simulation.config import Drift, ShopConfig
from stream_app.simulation.drift_proof import prove_drift
from stream_app.simulation.learning_loop import LearningRun, run_with_learner
from stream_app.simulation.learning_proof import against_truth, learning_figures

SETTINGS = Settings(clock="event", actions_mode="live", allowed_lateness_seconds=0)
CONFIG = ShopConfig(customers=120, days=250, seed=3, visits_per_order=2.0)


@cache
def _run() -> LearningRun:
    return run_with_learner(CONFIG, SETTINGS)


def test_the_loop_acts_learns_and_serves_what_it_learned() -> None:
    run = _run()

    assert run.report.reacted == run.report.actions.total() > 100
    assert run.learner.trained_examples == int(run.uncontacted().sum()) - sum(
        example.contacts == 0 for example in run.examples[max(run.learned_before.values()) :]
    )
    assert np.array_equal(
        rescore(run.examples, run.learned_before, Learner(30)), np.array([each.probability for each in run.examples])
    )


def test_truth_is_that_of_the_moment_of_the_observation() -> None:
    run = _run()
    uncontacted = run.uncontacted()
    truth, churned = run.truth[uncontacted], run.observed.churned[uncontacted]

    # Labels of the uncontacted are draws of the truth: calibrated in each fifth, and no score can rank better.
    for low in np.arange(0.0, 1.0, 0.2):
        inside = (truth >= low) & (truth <= low + 0.2)
        error = 3.0 * np.sqrt(truth[inside].mean() * (1 - truth[inside].mean()) / max(inside.sum() / 2.0, 1))
        assert truth[inside].mean() == pytest.approx(churned[inside].mean(), abs=max(float(error), 0.02))
    assert against_truth(truth, truth, churned)["ece_to_truth"] == 0.0
    assert against_truth(run.observed.probability, run.truth, run.observed.churned)["auc"] < 0.9


def test_the_figures_set_ours_beside_the_naive_learner() -> None:
    figures = learning_figures(_run())

    assert set(figures["quality"]) == {"holdout", "treated_uncontacted", "treated"}
    for both in figures["quality"].values():
        assert both["ours"]["n"] == both["naive"]["n"] > 0
        assert both["ours"]["auc"] != both["naive"]["auc"]
        assert both["ours"]["mean_truth"] == both["naive"]["mean_truth"]
    served, posterior = figures["intervals"]["served"], figures["intervals"]["posterior"]
    assert posterior["coverage"] < served["coverage"]
    assert posterior["width"] < served["width"]
    assert json.loads(json.dumps(figures))["weeks"][0]["week"] == 0.0


def test_while_evidence_is_thin_nobody_is_called_loyal_by_mistake() -> None:
    run = _run()
    day = (run.observed.at_ms - run.first_ms) / DAY_MS
    thin = (day >= 30) & (day < 70)

    assert run.observed.probability[thin].mean() > run.truth[thin].mean() - 0.15


def test_a_horizon_beyond_the_truth_and_the_wall_clock_are_refused() -> None:
    with pytest.raises(ValueError, match="horizons_days"):
        run_with_learner(ShopConfig(customers=5, days=5, horizons_days=(10,)), SETTINGS)
    with pytest.raises(ValueError, match="wall"):
        run_with_learner(CONFIG, Settings(clock="wall"))


def test_delays_and_false_alarms_are_counted_by_kind() -> None:
    base = ShopConfig(customers=30, days=60, visits_per_order=1.0)

    found = prove_drift(base, SETTINGS, [(Drift.NONE, 1), (Drift.ABRUPT, 1)], judged_from_day=30)

    assert [shop["drift"] for shop in found["shops"]] == ["none", "abrupt"]
    assert found["stationary"]["shops"] == 1
    assert found["stationary"]["whole_shop_alarms_a_year"] == 0.0
    assert found["abrupt"]["whole_shop_alarm_after_days"] == [None]  # no watch settles in two months
    assert found["gradual"] == {}


def test_the_commands_print_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as short:
        main(["prove", "learning", "--customers", "20", "--days", "90"])
    assert short.value.code == 1
    assert "--days 300" in capsys.readouterr().err
    with pytest.raises(SystemExit) as done:
        main(["prove", "drift", "--customers", "20", "--days", "60", "--stationary", "1", "--drifting", "1"])
    assert done.value.code == 0
    assert "abrupt from day 36" in capsys.readouterr().out
