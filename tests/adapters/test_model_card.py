from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest

from stream_app.adapters.model_card import CardEvidence, ModelCard, build_card
from stream_app.adapters.model_card_page import card_page
from stream_app.adapters.model_events import ModelLog, event_record
from stream_app.core.effects import TrainingExample
from stream_app.core.model_events import ModelEvent
from stream_app.learning.learner import Learner
from stream_app.learning.quality import QualityTally
from stream_app.learning.selection import SEGMENTS
from stream_app.learning.snapshot import ModelSnapshot
from stream_app.settings import Settings
from tests.support.observed import HORIZON_DAYS, examples_of, shop_rows

_ROWS, _LABELS = shop_rows(400)
_SCORES = np.where(_LABELS, 0.75, 0.35).tolist()
_EXAMPLES = examples_of(_ROWS, _LABELS, _SCORES)


def _snapshot() -> ModelSnapshot:
    learner = Learner(HORIZON_DAYS)
    learner.learn(_EXAMPLES)
    return learner.snapshot()


def _evidence(examples: list[TrainingExample], attribute: str = "") -> CardEvidence:
    evidence = CardEvidence(HORIZON_DAYS, attribute)
    for example in examples:
        evidence.add_example(example)
    return evidence


def _card(tmp_path: Path, evidence: CardEvidence, log: ModelLog | None = None) -> ModelCard:
    settings = Settings(data_dir=tmp_path)
    return build_card(settings, _snapshot(), "trainer", 1_767_225_600_000, evidence, log or ModelLog(HORIZON_DAYS))


def test_quality_and_calibration_are_those_of_the_served_scores(tmp_path: Path) -> None:
    card = _card(tmp_path, _evidence(_EXAMPLES))

    tally = QualityTally()
    tally.add(np.array(_SCORES), _LABELS, np.ones(len(_LABELS)))
    assert card.quality[0].name == "all"
    assert card.quality[0].metrics == pytest.approx(tally.metrics())
    filled = {each.low: each for each in card.calibration if each.labels}
    assert set(filled) == {0.3, 0.7}
    assert filled[0.3].observed == 0
    assert filled[0.7].observed == 1
    assert sum(each.labels for each in card.calibration) == len(_LABELS)


def test_parts_add_up_to_the_whole(tmp_path: Path) -> None:
    parts = {each.name: each.metrics["examples"] for each in _card(tmp_path, _evidence(_EXAMPLES)).quality}

    assert parts["after order"] + parts["calendar"] == parts["all"] == len(_EXAMPLES)
    assert sum(parts[segment] for segment in SEGMENTS) == parts["all"]


def test_contacted_repeated_and_foreign_labels_are_told_and_not_judged(tmp_path: Path) -> None:
    odd = [
        msgspec.structs.replace(_EXAMPLES[0], example_id="x1", contacts=1),
        msgspec.structs.replace(_EXAMPLES[0], example_id="x2", horizon_days=90),
        msgspec.structs.replace(_EXAMPLES[0], example_id="x3", probability=-1.0),
        _EXAMPLES[0],
    ]
    card = _card(tmp_path, _evidence([*_EXAMPLES, *odd]))

    assert card.quality[0].metrics["examples"] == len(_EXAMPLES)
    assert card.data["labels_censored_by_contact"] == 1
    assert card.data["labels_of_other_horizons"] == 1
    assert card.data["labels_without_score"] == 1


def test_groups_that_are_scored_differently_wrong_are_found(tmp_path: Path) -> None:
    evidence = _evidence(_EXAMPLES, "region")
    for number, label in enumerate(_LABELS.tolist()):
        evidence.add_profile(f"c{number}", {"region": "north" if label else "south"})
    evidence.add_profile("gone", {"region": "north"})
    evidence.add_profile("gone", None)
    fairness = _card(tmp_path, evidence).fairness

    assert fairness is not None
    assert {group.group: round(group.score_bias or 0.0, 2) for group in fairness.groups} == {
        "north": -0.25,
        "south": 0.35,
    }
    assert len(fairness.findings) == 2


def test_limits_say_what_the_figures_show(tmp_path: Path) -> None:
    few = " ".join(_card(tmp_path, _evidence(_EXAMPLES[:50])).limits)
    assert "fewer than 1,000" in few
    assert "of the holdout" in few
    assert "No profile declares an attribute" in few
    assert "off by" in " ".join(_card(tmp_path, _evidence(_EXAMPLES)).limits)


def test_the_page_has_every_section_and_names_no_customer(tmp_path: Path) -> None:
    evidence = _evidence(_EXAMPLES, "region")
    evidence.add_profile("c1", {"region": "north"})
    evidence.add_intervention("iv_1", "c1", 3.5)
    evidence.add_intervention("iv_1", "c1", 3.5)
    log = ModelLog(HORIZON_DAYS)
    promoted = ModelEvent(
        event_id="e1",
        kind="promoted",
        horizon_days=HORIZON_DAYS,
        at=datetime(2026, 1, 5, tzinfo=UTC),
        by="ann",
        champion="adagrad",
        former="kalman",
    )
    log.take(event_record(promoted).value)
    card = _card(tmp_path, evidence, log)
    page = card_page(card)

    titles = [line for line in page.splitlines() if line.startswith("## ")]
    assert [title.removeprefix("## ") for title in titles] == [
        "Model",
        "Definition",
        "Data",
        "Quality of served scores",
        "Calibration",
        "Fairness",
        "Drift",
        "Champion and challengers",
        "Cost",
        "Limits",
    ]
    assert card.cost["interventions_committed_cost"] == 3.5
    assert 0 < card.cost["score_cpu_microseconds_a_row"] < 10_000
    assert "| kalman | adagrad | ann |" in page
    assert "c1" not in page.replace("c14", "").replace("c180", "")
    assert msgspec.json.decode(msgspec.json.encode(card), type=ModelCard) == card


def test_without_any_label_it_says_so(tmp_path: Path) -> None:
    page = card_page(_card(tmp_path, CardEvidence(HORIZON_DAYS)))

    assert "No label has come due yet." in page
