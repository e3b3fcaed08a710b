import gzip
import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from stream_app.cli.errors import CommandError
from stream_app.cli.simulate import command

app = typer.Typer()
app.command()(command)


def run(*arguments: str) -> dict[str, object]:
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0
    report: dict[str, object] = json.loads(done.stdout)
    return report


def test_a_file_has_its_topic_in_every_line_and_repeats_byte_for_byte(tmp_path: Path) -> None:
    paths = [tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz"]
    reports = [run("--out", str(path), "--customers", "30", "--days", "10") for path in paths]

    assert paths[0].read_bytes() == paths[1].read_bytes()
    lines = gzip.decompress(paths[0].read_bytes()).splitlines()
    assert len(lines) == reports[0]["records"]
    assert {json.loads(line)["topic"] for line in lines} >= {"orders", "clickstream", "customers", "products"}


def test_a_folder_has_a_file_a_topic_and_the_truth_stands_beside_it(tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    report = run(
        "--out-dir",
        str(tmp_path / "shop"),
        "--customers",
        "40",
        "--days",
        "30",
        "--truth",
        str(truth),
        "--truth-days",
        "7",
    )

    by_topic = report["by_topic"]
    assert isinstance(by_topic, dict)
    for topic, count in by_topic.items():
        lines = gzip.decompress((tmp_path / "shop" / f"{topic}.jsonl.gz").read_bytes()).splitlines()
        assert len(lines) == count
        assert "topic" not in json.loads(lines[0])
    assert len(truth.read_text().splitlines()) == 1 + int(str(report["truth_rows"]))


def test_dirt_is_counted_in_the_report(tmp_path: Path) -> None:
    report = run("--out", str(tmp_path / "d.jsonl"), "--customers", "60", "--days", "20", "--malformed", "0.1")

    dirt = report["dirt"]
    assert isinstance(dirt, dict)
    assert sum(dirt.values()) > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of --out"),
        (["--out", "a", "--kafka"], "one of --out"),
        (["--out", "a", "--respond"], "give --kafka too"),
        (["--out", "a", "--speed", "-1"], "days of event time"),
        (["--out", "a", "--days", "0"], "days is 0"),
        (["--out", "a", "--preset", "nobody"], "unknown preset"),
    ],
)
def test_bad_usage_is_told_in_a_sentence(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        CliRunner().invoke(app, arguments, catch_exceptions=False)
