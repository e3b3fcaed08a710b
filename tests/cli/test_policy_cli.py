"""The policy commands from end to end: replay, lift, learning, judging, comparing."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from stream_app.cli.main import main
from stream_app.decisions.catalogue import shipped_catalogue_file

START = datetime(2026, 1, 5, 10, tzinfo=UTC)


@pytest.fixture(scope="module")
def orders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shop of 150 customers that order every few weeks for half a year."""
    rows = []
    for customer in range(150):
        for visit in range(8):
            at = START + timedelta(days=visit * (12 + customer % 30), minutes=customer)
            rows.append(
                {
                    "event_id": f"e{customer}-{visit}",
                    "customer_id": f"c{customer}",
                    "order_id": f"o{customer}-{visit}",
                    "timestamp": at.isoformat(),
                    "amount": 40.0 + customer,
                    "items": [{"product_id": f"p{customer % 7}", "quantity": 1, "unit_price": 40.0}],
                }
            )
    rows.sort(key=lambda row: str(row["timestamp"]))
    file = tmp_path_factory.mktemp("shop") / "orders.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


@pytest.fixture(autouse=True)
def _live(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAM_APP_ACTIONS_MODE", "live")
    monkeypatch.setenv("STREAM_APP_UNKNOWN_CONSENT", "allow")
    monkeypatch.setenv("STREAM_APP_HOLDOUT_SHARE", "0.3")


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return int(ended.value.code or 0)


def test_a_replays_decisions_can_be_measured_learned_from_and_judged(
    orders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log, learned = tmp_path / "out.jsonl", tmp_path / "policy.json"
    assert run("replay", orders, "--model", "prior", "--out", log, "--advance-to", "2026-09-01") == 0
    capsys.readouterr()

    assert run("policy", "lift", log, "--json") == 0
    lift = json.loads(capsys.readouterr().out)
    overall = next(each for each in lift["slices"] if each["name"] == "all")
    assert overall["treated"] + overall["held"] == lift["customers"] > 100
    assert overall["conversion"]["low"] <= 0 <= overall["conversion"]["high"]

    assert run("policy", "learn", log, "--out", learned) == 0
    assert "learned from" in capsys.readouterr().out
    assert run("policy", "evaluate", log, "--policy", learned, "--json") == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged["policy"].startswith("learned-")
    assert judged["dr"]["low"] < judged["dr"]["value"] < judged["dr"]["high"]
    assert judged["unsupported"] == 0

    assert run("policy", "learn", log, "--out", learned, "--method", "q_learning") == 0
    assert "sequential-" in capsys.readouterr().out
    assert run("policy", "evaluate", log, "--policy", learned, "--json") == 0
    judged = json.loads(capsys.readouterr().out)
    assert judged["policy"].startswith("sequential-")
    assert judged["dr"]["low"] < judged["dr"]["value"] < judged["dr"]["high"]
    assert judged["unsupported"] == 0

    assert run("policy", "evaluate", log, "--policy", shipped_catalogue_file(), "--json") == 0
    same = json.loads(capsys.readouterr().out)
    assert same["snips"]["value"] == pytest.approx(same["logged"]["value"], rel=0.1)


def test_one_changed_threshold_gives_a_readable_difference(
    orders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = shipped_catalogue_file()
    other = tmp_path / "other.yaml"
    other.write_text(shipped.read_text().replace("order_cooldown_hours: 48", "order_cooldown_hours: 600"))
    assert run("policy", "diff", shipped, shipped, orders, "--json") == 0
    assert json.loads(capsys.readouterr().out)["changed_customers"] == 0
    assert run("policy", "diff", shipped, other, orders) == 0
    text = capsys.readouterr().out
    assert "->  no: order_cooldown" in text
    assert "ordered within the last 600 hours" in text


def test_groups_are_compared_by_a_declared_attribute(
    orders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    customers = tmp_path / "customers.jsonl"
    with customers.open("w") as file:
        for customer in range(150):
            consent = {"marketing": True, "email": customer % 2 == 0, "push": False, "sms": False, "onsite": False}
            profile = {
                "customer_id": f"c{customer}",
                "timestamp": (START - timedelta(days=1)).isoformat(),
                "consent": consent,
                "attributes": {"cohort": "even" if customer % 2 == 0 else "odd"},
            }
            file.write(json.dumps(profile) + "\n")
    assert run("policy", "fairness", customers, orders, "--attribute", "cohort", "--json") == 1
    printed = capsys.readouterr()
    report = json.loads(printed.out)
    contacted = {group["group"]: group["contacted_share"] for group in report["groups"]}
    assert contacted["odd"] == 0 < contacted["even"]
    assert "odd is contacted less" in printed.err
    assert run("policy", "fairness", customers, orders, "--attribute", "shoe") == 2
    assert "no profile declares the attribute 'shoe'" in capsys.readouterr().err


def test_a_wrong_catalogue_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("policy", "check") == 0
    assert "13 actions" in capsys.readouterr().out
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(shipped_catalogue_file().read_text().replace("margin: 0.35", "margin: lots"))
    assert run("policy", "check", wrong) == 1
    assert "wrong.yaml:8: margin: " in capsys.readouterr().err


def test_a_log_that_is_none_is_told_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text('{"topic": "interventions", "key": "c", "value": {}}\n{"outcome_id": "x"}\n')
    assert run("policy", "lift", log) == 2
    assert "log.jsonl:2: no matured decision" in capsys.readouterr().err


def test_a_wrong_catalogue_or_policy_stops_other_commands_with_the_same_words(
    orders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(shipped_catalogue_file().read_text().replace("margin: 0.35", "margin: lots"))
    monkeypatch.setenv("STREAM_APP_CATALOGUE_FILE", str(wrong))
    assert run("replay", orders) == 3
    assert "wrong.yaml:8: margin: " in capsys.readouterr().err
    monkeypatch.delenv("STREAM_APP_CATALOGUE_FILE")
    monkeypatch.setenv("STREAM_APP_POLICY_FILE", str(wrong))
    assert run("replay", orders) == 3
    assert "no learned policy" in capsys.readouterr().err
