import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from stream_app.cli.main import main
from stream_app.core.events import OrderEvent, OrderItem
from stream_app.core.records import Position, Record
from stream_app.core.times import DAY_MS, from_ms, iso
from stream_app.core.topics import Topic
from stream_app.engine.policy import EnginePolicy
from stream_app.evaluation.contest import (
    Importances,
    Stream,
    bytes_of,
    figures_of,
    run_model,
    share_of_customers,
    stream_of,
)
from stream_app.evaluation.reporting import evaluate_pass
from stream_app.evaluation.running import PassResult, run_pass
from stream_app.learning.learner import Learner
from stream_app.learning.zoo.registry import create
from stream_app.sentiment.protocol import NeutralSentiment

HORIZON_DAYS = 20
START_MS = 19_000 * DAY_MS


def _orders() -> list[tuple[int, str, float]]:
    """Return (time, customer, amount) of a shop where some leave: by event time."""
    random = np.random.default_rng(11)
    orders: list[tuple[int, str, float]] = []
    for number in range(60):
        at, gap = float(random.uniform(0, 60)), float(random.uniform(3, 40))
        while at < 200 and random.random() > 0.08:
            orders.append((START_MS + int(at * DAY_MS), f"c{number}", round(float(random.uniform(5, 90)), 2)))
            at += float(random.exponential(gap))
    return sorted(orders)


def _record(offset: int, at_ms: int, customer_id: str, amount: float) -> Record:
    event = OrderEvent(
        customer_id=customer_id,
        timestamp=from_ms(at_ms),
        event_id=f"e{offset}",
        order_id=f"o{offset}",
        amount=amount,
        items=(OrderItem(product_id="p", quantity=1, unit_price=amount),),
    )
    return Record(Position(Topic.ORDERS, 0, offset), customer_id, at_ms, event)


@cache
def _pass() -> tuple[PassResult, Stream]:
    learner = Learner(HORIZON_DAYS)
    importances = Importances(learner)
    records = [_record(offset, *order) for offset, order in enumerate(_orders())]
    result = run_pass(records, learner, EnginePolicy(horizon_days=HORIZON_DAYS), NeutralSentiment())
    return result, stream_of(result, importances)


def _all(stream: Stream) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.ones(len(stream.observed), dtype=np.bool_)


def test_the_default_model_gets_the_scores_that_the_pass_served() -> None:
    result, stream = _pass()

    trial = run_model(stream, create("kalman"), _all(stream))

    assert trial.probability == pytest.approx(result.observed.probability, abs=1e-12)
    expected = evaluate_pass(result, "calendar", ())["test"]
    assert figures_of(stream, trial)["calendar"] == pytest.approx(expected, abs=1e-9)
    assert trial.learned == int((stream.importance[: stream.known.max()] > 0).sum())


def test_no_label_is_known_before_its_time() -> None:
    _, stream = _pass()
    due_ms = stream.observed.due_ms

    latest = np.maximum.accumulate(due_ms)
    known = stream.known > 0

    assert known.any()
    assert (latest[stream.known[known] - 1] <= stream.observed.at_ms[known]).all()


def test_a_model_that_learns_from_fewer_customers_is_still_asked_about_all() -> None:
    _, stream = _pass()
    taught = share_of_customers(stream.observed, 0.5)

    trial = run_model(stream, create("adagrad"), stream.in_test, taught)

    customers = len(np.unique(stream.observed.customer))
    assert 0.25 * customers < len(np.unique(stream.observed.customer[taught])) < 0.75 * customers
    assert 0 < trial.learned < int(stream.known.max())
    assert (np.isnan(trial.probability) == ~stream.in_test).all()
    assert figures_of(stream, trial)["calendar"]["n"] == float((stream.in_test & (stream.observed.kind == 1)).sum())


def test_memory_counts_arrays_and_nothing_twice() -> None:
    shared = np.zeros(1000)

    assert 8_000 < bytes_of([shared]) < 9_000
    assert bytes_of([shared, shared]) - bytes_of([shared]) < 100


def _write(path: Path) -> Path:
    lines = [
        json.dumps(
            {
                "customer_id": customer_id, "timestamp": iso(at_ms), "event_id": f"e{number}", "order_id": f"o{number}",
                "amount": amount, "items": [{"product_id": "p", "quantity": 1, "unit_price": amount}],
            }
        )
        for number, (at_ms, customer_id, amount) in enumerate(_orders())
    ]  # fmt: skip
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def _run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *arguments])
    return ended.value.code


def test_the_command_writes_one_table_for_each_shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, page = str(_write(tmp_path / "orders.jsonl")), tmp_path / "models.md"

    for title, model in (("One", "knn"), ("Other", "knn"), ("One", "naive-bayes")):
        models = ("--model", "kalman", "--model", model)
        assert _run(files, "--horizon-days", "20", *models, "--table", str(page), "--title", title) == 0

    printed, text = capsys.readouterr().out, page.read_text(encoding="utf-8")
    assert "naive-bayes" in printed
    assert text.count("## One, H = 20 days") == 1
    assert text.count("## Other, H = 20 days") == 1
    kept = json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))
    assert [result["model"] for result in kept[0]["results"]] == ["kalman", "naive-bayes", "knn"]
    assert f"| {kept[0]['results'][0]['calendar']['auc']:.4f} |" in text


def test_a_table_needs_a_contest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = str(_write(tmp_path / "orders.jsonl"))

    assert _run(files, "--table", str(tmp_path / "models.md")) == 2
    assert "--model all" in capsys.readouterr().err
