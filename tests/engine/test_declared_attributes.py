"""What customers declare for fairness reports reaches the reports, and nothing that scores, decides or speaks."""

from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_app.core.effects import Output, TrainingExample
from stream_app.core.events import CustomerProfile, CustomerRecord
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.records import Record
from stream_app.core.times import DAY_MS
from stream_app.engine.policy import EnginePolicy
from tests.support.engines import Run, build_engine, run
from tests.support.logs import START_MS, log_of, order, profile, unordered_logs

ATTRIBUTES = ("gender", "age")
POLICY = EnginePolicy(allowed_lateness_ms=0, fairness_attributes=ATTRIBUTES)
END_MS = START_MS + 200 * DAY_MS
declared = st.dictionaries(st.sampled_from([*ATTRIBUTES, "shoe"]), st.sampled_from(["", "f", "m", "40-49"]))


def with_attributes(log: list[Record], attributes: list[dict[str, str]]) -> list[Record]:
    """Return the log with other declared attributes on its profiles, and nothing else changed."""
    changed, number = [], 0
    for record in log:
        if isinstance(record.event, CustomerProfile):
            event = record.event.model_copy(update={"attributes": attributes[number % len(attributes)]})
            record = Record(record.position, record.customer_id, record.at_ms, event, record.recorded_at_ms)  # noqa: PLW2901 - the same record, changed
            number += 1
        changed.append(record)
    return changed


def without_groups(of: Run) -> list[Any]:
    return [_bare(output) for output, _ in of.outputs]


def _bare(output: Output) -> Output:
    body = output.body
    if isinstance(body, TrainingExample):
        return msgspec.structs.replace(output, body=msgspec.structs.replace(body, groups={}))
    if isinstance(body, DecisionOutcome):
        return msgspec.structs.replace(output, body=body.model_copy(update={"groups": {}}))
    return output


def groups_of(of: Run) -> list[dict[str, str]]:
    bodies = [output.body for output, _ in of.outputs]
    return [body.groups for body in bodies if isinstance(body, TrainingExample | DecisionOutcome)]


@settings(max_examples=60, deadline=None)
@given(unordered_logs(), st.lists(declared, min_size=1, max_size=4))
def test_a_declared_attribute_changes_nothing_but_the_group_of_a_label(
    log: list[Record], attributes: list[dict[str, str]]
) -> None:
    plain = run(log, [], build_engine(POLICY), end_ms=END_MS)
    other = run(with_attributes(log, attributes), [], build_engine(POLICY), end_ms=END_MS)
    assert without_groups(other) == without_groups(plain)
    assert not any(groups_of(plain))
    allowed = [{name: value for name, value in each.items() if name in ATTRIBUTES and value} for each in attributes]
    assert all(each == {} or each in allowed for each in groups_of(other))


def test_labels_and_outcomes_carry_what_is_asked_for_and_what_was_withdrawn_is_gone() -> None:
    events: list[CustomerRecord] = []
    for number in range(30):
        name = f"c{number}"
        said = profile(name, START_MS).model_copy(update={"attributes": {"gender": "f", "shoe": "44"}})
        events += [said, order(name, START_MS + 1), order(name, START_MS + DAY_MS)]
        if number % 2:
            events.append(profile(name, START_MS + 2 * DAY_MS))
    result = run(log_of(sorted(events, key=lambda event: event.timestamp)), [], build_engine(POLICY), end_ms=END_MS)
    seen = set()
    for output, _ in result.outputs:
        body = output.body
        if isinstance(body, TrainingExample | DecisionOutcome):
            seen.add(type(body).__name__)
            kept = int(body.customer_id.removeprefix("c")) % 2 == 0
            assert body.groups == ({"gender": "f"} if kept else {})
    assert seen == {"TrainingExample", "DecisionOutcome"}
    silent = run(log_of(events), [], build_engine(EnginePolicy(allowed_lateness_ms=0)), end_ms=END_MS)
    assert not any(groups_of(silent))
