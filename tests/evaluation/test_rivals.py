"""The short form of `stream-app champion prove`; the long one takes some minutes."""

import json

import pytest

from stream_app.cli.main import main
from stream_app.evaluation.rivals import HORIZON_DAYS, better_model, same_models, stream
from stream_app.learning.promotion import PromotionRules


def test_equal_models_are_not_promoted() -> None:
    result = same_models(6, 3, 40, PromotionRules(warm_up_examples=300), customers=120)

    # At 5 % over a whole reign, two of six would happen once in thirty times.
    assert result.promoted <= 1


def test_a_model_that_sees_more_is_found_among_equal_ones() -> None:
    result = better_model(2, 2, 40, PromotionRules(warm_up_examples=300), customers=200, advantage=1.0)

    assert result.promoted == 2
    assert all(weeks < 30 for weeks in result.first_weeks)


def test_streams_are_reproducible_and_their_labels_are_due_one_horizon_later() -> None:
    first, again = list(stream(3, 4, 40)), list(stream(3, 4, 40))

    assert first == again
    assert first != list(stream(4, 4, 40))
    for day in first:
        assert all(example.due_ms - example.at_ms == HORIZON_DAYS * 86_400_000 for example in day)


def test_the_command_counts_and_says_what_is_allowed(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--runs", "2", "--better", "0", "--weeks", "14", "--customers", "100", "--json"]
    with pytest.raises(SystemExit) as end:
        main(["champion", "prove", *arguments])

    report = json.loads(capsys.readouterr().out)
    assert end.value.code == 0
    assert (report["runs"], report["false_promotions"], report["challengers"]) == (2, 0, 3)
    assert report["allowed"] >= 1


def test_a_comparison_that_never_finds_the_better_model_fails(capsys: pytest.CaptureFixture[str]) -> None:
    # Ten weeks are less than the warm-up, so that nothing can be found.
    arguments = ["--runs", "1", "--better", "1", "--weeks", "10", "--customers", "50"]
    with pytest.raises(SystemExit) as end:
        main(["champion", "prove", *arguments])

    told = capsys.readouterr()
    assert end.value.code == 1
    assert "found in 0 of 1 runs\n" in told.out
    assert "less than 50%" in told.err
