import json
import sys
from pathlib import Path

import numpy as np
import pytest

from stream_app.cli.main import main
from stream_app.core.times import DAY_MS, iso
from stream_app.evaluation.baselines import BASELINES
from stream_app.evaluation.page import report_page
from stream_app.evaluation.reporting import evaluate_pass, scores_in_test
from stream_app.evaluation.running import run_pass
from stream_app.learning.learner import Learner
from stream_app.sentiment.protocol import NeutralSentiment
from tests.support.small_pass import POLICY, small_pass
from tests.support.small_shop import HORIZON_DAYS, shop_orders, shop_records


def test_no_score_knows_of_a_label_that_was_not_due() -> None:
    _, learner = small_pass()

    assert len(learner.given) > 300
    assert len({example.model_version for example in learner.given}) > 50
    for example in learner.given:
        assert learner.trained_through[example.model_version] <= example.at_ms


def test_labels_are_those_of_the_history() -> None:
    _, learner = small_pass()
    times: dict[str, list[int]] = {}
    for at_ms, customer_id, _ in shop_orders():
        times.setdefault(customer_id, []).append(at_ms)

    for example in learner.given:
        ends_ms = example.at_ms + HORIZON_DAYS * DAY_MS
        came = any(example.at_ms < at_ms <= ends_ms for at_ms in times[example.customer_id])
        assert example.churned == (not came)
        assert example.due_ms == ends_ms


def test_calendar_observations_fall_on_common_dates() -> None:
    result, _ = small_pass()
    moments = np.unique(result.observed.at_ms[result.observed.kind == 1])

    assert len(moments) > 5
    assert set(np.diff(moments).tolist()) == {14 * DAY_MS}


def test_a_second_pass_gives_the_same_scores() -> None:
    result, _ = small_pass()

    again = run_pass(shop_records(), Learner(HORIZON_DAYS), POLICY, NeutralSentiment())

    assert again.observed.probability.tobytes() == result.observed.probability.tobytes()


@pytest.mark.parametrize("observations", ["calendar", "event"])
def test_figures_are_of_the_last_part_of_the_span(observations: str) -> None:
    result, _ = small_pass()

    figures = evaluate_pass(
        result, observations, (0.35, 0.6, 0.8), baselines=("recency", "rfm", "bgnbd"),
        compared=scores_in_test(result, observations),
    )  # fmt: skip

    expected = result.observed.chosen(
        (result.observed.at_ms >= result.first_ms + 0.6 * (result.last_ms - result.first_ms))
        & (result.observed.kind == (observations == "calendar"))
    )
    assert figures["test"]["n"] == len(expected)
    assert figures["test"]["churn_rate"] == pytest.approx(expected.churned.mean())
    assert figures["compared"]["auc_gain"] == 0.0
    assert set(figures["baselines"]) == {"recency", "rfm", "bgnbd"}
    assert sum(group["n"] for name, group in figures["groups"].items() if "order" in name) == len(expected)
    if observations == "event":
        assert figures["baselines"]["recency"]["auc"] == pytest.approx(0.5)


def test_boosting_is_fitted_on_matured_rows_only() -> None:
    pytest.importorskip("lightgbm", reason="the boosting baseline needs the bench extra")
    result, _ = small_pass()
    calendar = result.observed.chosen(result.observed.kind == 1)
    start_ms = int(np.median(calendar.at_ms))

    scores = BASELINES["lightgbm_refit30"](calendar, start_ms)
    calendar.churned[calendar.due_ms > calendar.at_ms.max()] ^= True
    same = BASELINES["lightgbm_refit30"](calendar, start_ms)
    calendar.churned[calendar.due_ms > calendar.at_ms.max()] ^= True

    assert len(scores) == (calendar.at_ms >= start_ms).sum()
    assert np.array_equal(scores, same)


def _write(path: Path) -> Path:
    lines = [
        {
            "event_id": f"e{number}", "order_id": f"o{number}", "customer_id": customer_id, "timestamp": iso(at_ms),
            "amount": amount, "items": [{"product_id": "p", "quantity": 1, "unit_price": amount}],
        }
        for number, (at_ms, customer_id, amount) in enumerate(shop_orders())
    ]  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"no": "order"}\n', encoding="utf-8")
    return path


def _run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_:
        main(["evaluate", *arguments])
    return int(exit_.value.code or 0)


def test_the_command_prints_one_json_object_and_writes_a_page(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"

    code = _run(
        str(_write(tmp_path / "orders.jsonl")), "--horizon-days", str(HORIZON_DAYS), "--json", "--html", str(page),
        "--model", "kalman", "--model", "adagrad",
    )  # fmt: skip

    summary = json.loads(capsys.readouterr().out)
    assert code == 0
    assert summary["events"] == len(shop_orders())
    assert sum(summary["rejected"].values()) == 1
    assert [result["model"] for result in summary["results"]] == ["kalman", "adagrad"]
    assert 0.5 < summary["results"][0]["test"]["auc"] <= 1.0
    assert "http" not in page.read_text(encoding="utf-8")
    assert "<svg" in page.read_text(encoding="utf-8")


def test_the_command_prints_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(str(_write(tmp_path / "orders.jsonl")), "--observations", "event", "--horizon-days", "20") == 0

    printed = capsys.readouterr().out
    assert "kalman" in printed
    assert "first 60 days" in printed


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--observations", "weekly"), 2, "calendar or event"),
        (("--model", "oracle"), 2, "kalman"),
        (("--model", "all", "--baselines"), 2, "--baselines says nothing"),
        (("--model", "naive-bayes", "--html", "never.html"), 2, "--html says nothing"),
        (("--model", "all", "--ablate"), 2, "--ablate says nothing"),
        (("--model", "all", "--observations", "event"), 2, "--observations says nothing"),
        (("--model", "adagrad", "--ablate"), 2, "name kalman first"),
        (("--topic", "reviews"), 1, "must hold orders"),
        (("--topic", "clickstream"), 1, "no events"),
    ],
)
def test_wrong_use_is_told_in_a_line(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(str(_write(tmp_path / "orders.jsonl")), *arguments) == code
    assert said in capsys.readouterr().err


def test_without_lightgbm_the_remedy_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", None)

    assert _run(str(_write(tmp_path / "orders.jsonl")), "--baselines", "--horizon-days", "20") == 3
    assert "stream-app[bench]" in capsys.readouterr().err


def test_the_page_shows_what_the_summary_says() -> None:
    result, _ = small_pass()
    figures = evaluate_pass(result, "calendar", (0.35, 0.6, 0.8))
    summary = {
        "files": ["<orders>"], "events": result.events, "customers": result.customers,
        "observations": len(result.observed), "results": [figures],
    }  # fmt: skip

    page = report_page(summary)

    assert "&lt;orders&gt;" in page
    assert f"{figures['test']['auc']:.4f}" in page


def test_families_of_features_are_told_in_all_forms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    orders, page = str(_write(tmp_path / "orders.jsonl")), tmp_path / "report.html"

    assert _run(orders, "--horizon-days", "20", "--ablate", "--html", str(page)) == 0

    printed = capsys.readouterr().out
    assert "season" in printed
    assert "not in the default model" in printed
    assert "clicks and texts" not in printed  # this shop sends none
    assert "families of features bring to kalman" in printed
    assert "families of features bring to kalman" in page.read_text(encoding="utf-8")


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_online_retail_is_predicted_as_well_as_measured(data_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = str(data_dir / "online_retail" / "orders.jsonl.gz")

    assert _run(files, "--horizon-days", "30", "--json") == 0

    [result] = json.loads(capsys.readouterr().out)["results"]
    assert result["test"]["auc"] >= 0.7335 - 0.003  # LightGBM refitted every 30 days, facts of 2026
    assert result["test"]["ece"] <= 0.03
    assert result["first_60_days"]["auc"] >= 0.65
