import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream_app.cli.contest import contest_page, contestants, run_contest
from stream_app.cli.main import main
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
from stream_app.learning.zoo.registry import MODEL_NAMES, create
from stream_app.sentiment.protocol import NeutralSentiment
from tests.support.small_shop import HORIZON_DAYS, shop_records, write_orders


@cache
def _pass(model: str = "kalman") -> tuple[PassResult, Stream]:
    learner = Learner(HORIZON_DAYS, model)
    importances = Importances(learner)
    result = run_pass(shop_records(), learner, EnginePolicy(horizon_days=HORIZON_DAYS), NeutralSentiment())
    return result, stream_of(result, importances)


def _all(stream: Stream) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.ones(len(stream.observed), dtype=np.bool_)


@pytest.mark.parametrize("name", ["kalman", "adagrad", "mlp"])
def test_a_model_gets_the_scores_that_a_pass_of_its_own_serves(name: str) -> None:
    result, stream = _pass(name)

    trial = run_model(_pass()[1], create(name), _all(stream))

    assert trial.probability == pytest.approx(result.observed.probability, abs=1e-12)
    expected = evaluate_pass(result, "calendar", ())["test"]
    assert figures_of(stream, trial)["calendar"] == pytest.approx(expected, abs=1e-9)
    assert trial.learned == int((stream.importance[: stream.known.max()] >= 0).sum())


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


def _run(*arguments: str) -> object:
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *arguments])
    return ended.value.code


def test_the_command_writes_one_table_for_each_shop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, page = str(write_orders(tmp_path / "orders.jsonl")), tmp_path / "models.md"

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
    files = str(write_orders(tmp_path / "orders.jsonl"))

    assert _run(files, "--table", str(tmp_path / "models.md")) == 2
    assert "--model all" in capsys.readouterr().err


def test_a_missing_dependency_is_told_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "deep_river.classification", None)
    monkeypatch.delitem(sys.modules, "stream_app.learning.zoo.lstm", raising=False)
    files = str(write_orders(tmp_path / "orders.jsonl"))

    assert _run(files, "--model", "lstm") == 3

    assert "stream-app[deep]" in capsys.readouterr().err
    assert "lstm" not in contestants(["all"])


def test_the_page_tells_who_did_not_run_and_who_ran_another_time() -> None:
    figures = {"calendar": {}, "event": {}, "predict_microseconds": 1.0, "learn_microseconds": 1.0, "memory_bytes": 1}
    made_of = {"stream": "ab", "versions": {"River": "0.26.1"}}
    rows = [{"model": name, "learned": 100, **figures, **made_of} for name in MODEL_NAMES if name != "lstm"]
    summary = {"title": "Shop", "horizon_days": 30, "events": 1, "customers": 1, "observations": 1, "results": rows}

    page = contest_page([summary])
    assert "Not run on these data: lstm." in page
    assert "versions of the code" not in page
    assert "Made with River 0.26." in page

    rows[1]["stream"] = "cd"
    rows.append({"model": "lstm", "learned": 100, **figures, **made_of})
    page = contest_page([summary])
    assert "Not run" not in page
    assert "versions of the code:\nkalman-orders apart" in page


def test_a_contest_that_was_stopped_goes_on_where_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files, page = str(write_orders(tmp_path / "orders.jsonl")), tmp_path / "models.md"
    arguments = (files, "--horizon-days", "20", "--table", str(page), "--title", "One")
    three = ("--model", "kalman", "--model", "adagrad", "--model", "knn")
    assert _run(*arguments, "--model", "kalman", "--model", "knn") == 0
    before = {
        row["model"]: row for row in json.loads(page.with_suffix(".json").read_text(encoding="utf-8"))[0]["results"]
    }
    capsys.readouterr()

    assert _run(*arguments, *three, "--resume", "--json") == 0

    told = capsys.readouterr()
    assert "2 of 3 models have their rows already" in told.err
    assert "adagrad (1 of 1)" in told.err
    results = {row["model"]: row for row in json.loads(told.out)["results"]}
    assert list(results) == ["kalman", "adagrad", "knn"]
    assert results["knn"]["learn_microseconds"] == before["knn"]["learn_microseconds"]


def test_who_stops_a_contest_is_told_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(*arguments: Any) -> Iterator[dict[str, Any]]:
        yield next(run_contest(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr("stream_app.cli.evaluate.run_contest", stopped)
    files, page = str(write_orders(tmp_path / "orders.jsonl")), tmp_path / "models.md"
    arguments = ("--horizon-days", "20", "--model", "kalman", "--model", "knn", "--table", str(page), "--title", "One")

    assert _run(files, *arguments) != 0

    assert "--resume goes on from there" in capsys.readouterr().err
    assert "Not run on these data: kalman-orders" in page.read_text(encoding="utf-8")


def test_rows_of_other_data_or_other_versions_are_not_gone_on_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, page = str(write_orders(tmp_path / "orders.jsonl")), tmp_path / "models.md"
    arguments = ("--horizon-days", "20", "--model", "kalman", "--model", "knn", "--table", str(page), "--title", "One")
    assert _run(files, *arguments) == 0
    store = page.with_suffix(".json")
    kept = json.loads(store.read_text(encoding="utf-8"))
    kept[0]["results"][0]["versions"]["River"] = "0.1"
    store.write_text(json.dumps(kept), encoding="utf-8")
    capsys.readouterr()

    assert _run(files, *arguments, "--resume") == 0
    assert "1 of 2 models" in capsys.readouterr().err

    lines = Path(files).read_text(encoding="utf-8").splitlines(keepends=True)
    fewer = tmp_path / "fewer" / "orders.jsonl"
    fewer.parent.mkdir()
    fewer.write_text("".join(lines[:-50]), encoding="utf-8")
    assert _run(str(fewer), *arguments, "--resume") == 0
    assert "have their rows already" not in capsys.readouterr().err


def test_to_resume_needs_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(str(write_orders(tmp_path / "orders.jsonl")), "--model", "all", "--resume") == 2
    assert "--table" in capsys.readouterr().err
