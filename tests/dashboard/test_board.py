from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel

from stream_app.core.effects import Output, TrainingExample
from stream_app.core.outputs import (
    ChurnScore,
    ChurnWarning,
    Content,
    DeadLetter,
    Intervention,
    Reason,
    SuppressedIntervention,
)
from stream_app.core.topics import Topic
from stream_app.dashboard.board import Board
from stream_app.wire.encode import EncodePolicy, encode, encode_dead_letter

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
AT_MS = int(AT.timestamp() * 1000)
WHY = (Reason(code="recency", text="Last order 40 days ago; one is usual every 20 days.", contribution=0.8),)


def feed(board: Board, topic: Topic, body: BaseModel | TrainingExample | None, *, structured: bool = False) -> None:
    key = getattr(body, "customer_id", "c1")
    record = encode(Output(topic, key, body), EncodePolicy(structured=structured))
    board.apply(record.topic, record.key, record.value, list(record.headers), record.timestamp_ms)


def part(board: Board, name: str) -> Mapping[str, Any]:
    found = board.summary()[name]
    assert isinstance(found, Mapping)
    return found


def score(tier: str = "high", *, customer: str = "c1", cold_start: bool = False) -> ChurnScore:
    return ChurnScore.model_validate(
        {
            "customer_id": customer,
            "event_time": AT,
            "probability": 0.7,
            "horizon_days": 30,
            "tier": tier,
            "cold_start": cold_start,
            "model_version": "m1",
        }
    )


def intervention(number: int = 1) -> Intervention:
    return Intervention(
        intervention_id=f"i{number}",
        customer_id="c1",
        action="coupon-10",
        action_kind="coupon",
        channel="email",
        content=Content(template="coupon", language="en", products=("p1", "p2")),
        tier="high",
        probability=0.7,
        reasons=WHY,
        arm="treatment",
        propensity=0.5,
        model_version="m1",
        policy_version="1",
        catalogue_version="1",
        trigger="timer",
        event_time=AT,
        decided_at=AT,
        expires_at=AT,
    )


def suppressed(number: int, reason: str) -> SuppressedIntervention:
    return SuppressedIntervention(
        suppression_id=f"s{number}",
        customer_id="c1",
        event_time=AT,
        reason=reason,
        detail="why not",
        tier="high",
        probability=0.7,
        arm="treatment",
        policy_version="1",
        catalogue_version="1",
        model_version="m1",
        trigger="timer",
    )


def test_tiers_follow_the_latest_scores_and_erasure() -> None:
    board = Board()
    feed(board, Topic.SCORES, score("high", customer="c1"))
    feed(board, Topic.SCORES, score("low", customer="c2"))
    feed(board, Topic.SCORES, score("critical", customer="c1"))
    assert board.summary()["tiers"] == {"low": 1, "medium": 0, "high": 0, "critical": 1}

    board.apply(Topic.SCORES, b"c1", None, (), AT_MS)

    assert board.summary()["tiers"] == {"low": 1, "medium": 0, "high": 0, "critical": 0}
    assert board.stories.find("c1") is None


def test_an_intervention_that_comes_again_under_its_id_counts_once() -> None:
    board = Board()
    for _ in range(2):
        feed(board, Topic.INTERVENTIONS, intervention())

    assert part(board, "interventions")["total"] == 1
    assert part(board, "interventions")["by_day"] == [["2026-03-01", 1]]


def test_binary_and_structured_cloudevents_are_read_alike() -> None:
    binary, structured = Board(), Board()
    feed(binary, Topic.INTERVENTIONS, intervention())
    feed(structured, Topic.INTERVENTIONS, intervention(), structured=True)

    assert part(binary, "interventions") == part(structured, "interventions")
    latest = part(binary, "interventions")["latest"][0]
    assert latest["reasons"] == [WHY[0].text]
    assert latest["at"] == AT_MS


def test_products_are_called_by_their_names_once_known() -> None:
    board = Board()
    board.apply(Topic.PRODUCTS, b"p1", b'{"product_id":"p1","name":"Harbor kettle"}', (), AT_MS)
    feed(board, Topic.INTERVENTIONS, intervention())

    assert part(board, "interventions")["latest"][0]["products"] == ["Harbor kettle", "p2"]


def test_rare_reasons_stay_visible_beside_a_common_one() -> None:
    board = Board()
    feed(board, Topic.SUPPRESSED, suppressed(0, "consent"))
    for number in range(1, 200):
        feed(board, Topic.SUPPRESSED, suppressed(number, "cooldown"))

    told = part(board, "suppressed")

    assert {one["reason"] for one in told["latest"]} == {"consent", "cooldown"}
    assert told["by_reason"] == [("cooldown", 199), ("consent", 1)]


def test_a_story_tells_what_happened_in_order() -> None:
    board = Board()
    feed(board, Topic.SCORES, score("high"))
    feed(
        board,
        Topic.WARNINGS,
        ChurnWarning(
            warning_id="w1",
            customer_id="c1",
            event_time=AT,
            previous_tier="low",
            tier="high",
            probability=0.7,
            reasons=WHY,
            model_version="m1",
        ),
    )
    feed(board, Topic.INTERVENTIONS, intervention())
    order = b'{"customer_id":"c1","timestamp":"2026-03-02T10:00:00Z","event_id":"e1","order_id":"o1","amount":1234.5}'
    board.apply(Topic.ORDERS, b"c1", order, (), AT_MS)

    story = board.story(board.stories.best(1)[0])
    entries = story["entries"]

    assert isinstance(entries, list)
    assert [entry["kind"] for entry in entries] == ["order", "intervention", "tier"]
    assert entries[0]["text"] == "Ordered: 1,234.50"
    assert entries[1]["detail"] == WHY[0].text


def test_inputs_of_customers_without_a_story_leave_nothing() -> None:
    board = Board()
    board.apply(
        Topic.FEEDBACK, b"c9", b'{"customer_id":"c9","kind":"opened","timestamp":"2026-03-02T10:00:00Z"}', (), 1
    )

    assert board.stories.find("c9") is None
    assert board.unreadable == 0


def test_quality_comes_from_matured_examples() -> None:
    board = Board()
    for number, churned in enumerate((True, False)):
        feed(
            board,
            Topic.TRAINING,
            TrainingExample(
                example_id=f"x{number}",
                customer_id="c1",
                partition=0,
                sequence=number,
                at_ms=AT_MS,
                due_ms=AT_MS,
                horizon_days=30,
                kind=0,
                churned=churned,
                weight=1.0,
                features=b"",
                features_hash="h",
                probability=0.9 if churned else 0.2,
                model_version="m1",
            ),
        )

    assert part(board, "quality")["auc"] == 1.0
    assert part(board, "quality")["examples"] == 2


def test_dead_letters_are_counted_by_reason() -> None:
    board = Board()
    letter = DeadLetter(topic="orders", partition=0, offset=3, reason="not_json", detail="send JSON")
    key, value, headers = encode_dead_letter(letter, b"k", b"{", ())
    board.apply(Topic.DEAD_LETTERS, key, value, [(name, item or b"") for name, item in headers], AT_MS)

    assert part(board, "dead_letters") == {"total": 1, "by_reason": [("not_json", 1)], "latest": "orders: send JSON"}


def test_what_cannot_be_read_is_counted_and_changes_nothing_else() -> None:
    board = Board()
    before = {**board.summary(), "unreadable": None}
    for topic in Topic:
        for value in (
            b"",
            b"{",
            b"[]",
            b'"text"',
            b"{}",
            b'{"customer_id":5}',
            b"\xff\xfe",
            b'{"customer_id":"c","event_time":"x"}',
        ):
            board.apply(topic, b"\xff", value, (), AT_MS)
            board.apply(topic, None, value, (), AT_MS)

    after = {**board.summary(), "unreadable": None}
    snapshots_seen = {"version": "", "snapshots": after["model"]["snapshots"], "prior": True}  # type: ignore[index]
    assert board.unreadable > 0
    assert {**after, "model": snapshots_seen} == {**before, "model": snapshots_seen}


def test_pointers_and_reports_are_no_models() -> None:
    board = Board()

    for key in (b"churn/7", b"served/30", b"pinned/30", b"report/drift"):
        board.apply(Topic.SNAPSHOTS, key, b"{}", (), 0)
    board.apply(Topic.SNAPSHOTS, b"churn/6", None, (), 0)

    assert (board.snapshots, board.unreadable) == (1, 0)
