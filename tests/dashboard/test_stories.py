from hypothesis import given
from hypothesis import strategies as st

from stream_app.dashboard.stories import SCORE_POINTS, TIMELINE_ENTRIES, Story, StoryBook


@given(st.lists(st.integers(0, 10_000), max_size=100))
def test_a_timeline_is_in_order_of_time_and_bounded(times: list[int]) -> None:
    story = Story("c1")
    for at_ms in times:
        story.tell(at_ms, "order", f"order at {at_ms}")

    told = [entry["at"] for entry in story.entries]
    assert told == sorted(told)  # type: ignore[type-var]
    assert len(told) == min(len(times), TIMELINE_ENTRIES)


@given(st.integers(1, 500))
def test_the_risk_curve_is_bounded_and_keeps_its_first_and_last_point(count: int) -> None:
    story = Story("c1")
    for at_ms in range(count):
        story.score(at_ms, at_ms / count, "low")

    assert len(story.scores) <= SCORE_POINTS
    assert story.scores[0][0] == 0
    assert story.scores[-1][0] == count - 1
    assert [at_ms for at_ms, _ in story.scores] == sorted(at_ms for at_ms, _ in story.scores)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=200))
def test_the_risk_curve_never_goes_back_in_time(times: list[int]) -> None:
    story = Story("c1")
    for at_ms in times:
        story.score(at_ms, 0.5, "medium")

    assert [at_ms for at_ms, _ in story.scores] == sorted(at_ms for at_ms, _ in story.scores)
    assert story.scores[-1][0] == max(times)


def test_the_same_no_again_replaces_the_older_one() -> None:
    story = Story("c1")
    story.tell(1, "suppressed", "Not contacted: consent")
    story.tell(2, "suppressed", "Not contacted: consent")

    assert [entry["at"] for entry in story.entries] == [2]


def test_contacted_customers_outlive_the_others() -> None:
    book = StoryBook(capacity=3, contacted_capacity=2)
    book.contacted("kept", 1)
    for number in range(10):
        book.open(f"c{number}")

    assert book.find("kept") is not None
    assert book.find("c0") is None
    assert book.find("c9") is not None


def test_the_best_stories_are_of_contacted_customers_with_most_to_tell() -> None:
    book = StoryBook()
    book.open("silent").score(1, 0.99, "critical")
    book.contacted("plain", 1).tell(1, "intervention", "coupon")
    rich = book.contacted("rich", 1)
    rich.tell(1, "intervention", "coupon")
    rich.tell(2, "order", "ordered")

    assert [story.customer_id for story in book.best(5)] == ["rich", "plain"]


def test_an_erased_customer_leaves_no_story() -> None:
    book = StoryBook()
    book.contacted("c1", 1)
    book.remove("c1")

    assert book.find("c1") is None
