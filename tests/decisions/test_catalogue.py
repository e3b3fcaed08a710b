"""The catalogue: what is shipped, and how its mistakes are told."""

import re
from pathlib import Path

import pytest

from stream_app.core.outputs import TIERS
from stream_app.decisions.catalogue import CatalogueError, Kind, load_catalogue, parse_catalogue, shipped_catalogue_file
from tests.support.decisions import SHIPPED

TEXT = shipped_catalogue_file().read_text(encoding="utf-8")
KINDS: tuple[str, ...] = Kind.__args__  # type: ignore[attr-defined]


def line_of(fragment: str) -> int:
    return next(number for number, line in enumerate(TEXT.splitlines(), start=1) if fragment in line)


def test_the_shipped_catalogue_covers_all_kinds_and_all_tiers_in_shadow() -> None:
    assert {action.kind for action in SHIPPED.actions} == set(KINDS)
    assert {action.channel for action in SHIPPED.actions} == {"email", "sms", "push", "phone", "onsite"}
    assert {action.mode for action in SHIPPED.actions} == {"shadow"}
    for tier in TIERS:
        assert sum(tier in action.tiers for action in SHIPPED.actions) >= 5


@pytest.mark.parametrize(
    ("old", "new", "field", "words"),
    [
        ("    cost: 6\n", "    cost: -6\n", "actions[4].cost", "greater than or equal to 0"),
        ("    channel: phone\n", "    channel: fax\n", "actions[4].channel", "'phone'"),
        ("margin: 0.35", "margin: 35", "margin", "less than or equal to 1"),
        ("  signal_days: 7", "  signal_dayz: 7", "guardrails.signal_dayz", "Extra inputs"),
        ('    start: "21:00"', "    start: 21:00", "guardrails.quiet_hours.start", "in quotes"),
        ("{points: 200,", "{points: $pionts,", "actions[9].content", "known are $order_value"),
        ("sentiment: [-0.2, 1]", "sentiment: [1, -0.2]", "actions[10].sentiment", "upside down"),
        ("{high: 0.06, critical: 0.06}", "{high: 0.06}", "actions[1].uplift.by_tier", "lacks critical"),
        ("name: care-sms", "name: care-call", "actions[6].name", "share a name: care-call"),
        ("name: care-sms", "name: nothing", "actions[6].name", "choice not to act"),
    ],
)
def test_a_mistake_is_told_with_file_line_and_field(old: str, new: str, field: str, words: str) -> None:
    text = TEXT.replace(old, new, 1)
    assert text != TEXT
    with pytest.raises(CatalogueError) as caught:
        parse_catalogue(text, "my.yaml")
    assert re.fullmatch(rf"my\.yaml:\d+: {re.escape(field)}: .*{re.escape(words)}.*", str(caught.value))


def test_the_line_is_where_the_field_stands_or_its_action_begins() -> None:
    with pytest.raises(CatalogueError, match=rf"^my.yaml:{line_of('    cost: 6')}: "):
        parse_catalogue(TEXT.replace("    cost: 6\n", "    cost: six\n"), "my.yaml")
    with pytest.raises(CatalogueError, match=rf"^my.yaml:{line_of('name: care-sms')}: actions\[6\].cost: "):
        parse_catalogue(TEXT.replace("    cost: 0.08\n", ""), "my.yaml")


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(CatalogueError) as caught:
        parse_catalogue(TEXT.replace("margin: 0.35", "margin: 9").replace("cost: 6\n", "cost: -1\n"))
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "actions.yaml:1: the file is empty"),
        ("format: 1\nformat: 1\n", "actions.yaml:2: the key 'format' stands twice"),
        ("a: [1, 2\nb: 3\n", "actions.yaml:2: "),
        ("a: &x [*x]\n", "contains itself"),
        ("a: !!python/object:os.system {}\n", "actions.yaml:1: could not determine a constructor"),
        ("- 1\n", "actions.yaml:1: catalogue: Input should be"),
    ],
)
def test_what_is_no_catalogue_at_all_is_told_too(text: str, words: str) -> None:
    with pytest.raises(CatalogueError, match=re.escape(words)):
        parse_catalogue(text)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be read"):
        load_catalogue(tmp_path / "none.yaml")


def test_the_version_is_the_content_and_not_its_looks() -> None:
    assert parse_catalogue(TEXT + "\n# a remark\n").version == SHIPPED.version
    assert parse_catalogue(TEXT.replace("margin: 0.35", "margin: 0.36")).version != SHIPPED.version
    assert SHIPPED.with_mode("live").version != SHIPPED.version
    assert SHIPPED.with_mode("live").with_mode("shadow").version == SHIPPED.version


def test_an_action_that_is_off_stays_off_and_yaml_may_write_it_bare() -> None:
    catalogue = parse_catalogue(TEXT.replace("    kind: survey\n", "    kind: survey\n    mode: off\n"))
    modes = {action.name: action.mode for action in catalogue.with_mode("live").actions}
    assert modes.pop("satisfaction-survey") == "off"
    assert set(modes.values()) == {"live"}
