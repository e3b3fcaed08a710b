"""The promise of the confidence sequences, over a thousand small shops at the product's own holdout."""

import json

import pytest

from stream_app.cli.main import main
from stream_app.simulation.sequence_proof import prove_sequences


def test_the_true_mean_effect_is_missed_no_more_often_than_promised_and_intervals_are_not_wide() -> None:
    found = prove_sequences(1000, seed=1)
    assert found.missed <= 65
    assert found.width_to_fixed_adjusted <= 2
    assert found.width_to_fixed < found.width_to_fixed_adjusted
    assert found.missed > 5, "intervals that never miss are wider than they need be, or the count is broken"


def test_an_interval_that_promises_less_misses_more_often() -> None:
    careless, careful = (prove_sequences(60, seed=1, alpha=alpha) for alpha in (0.5, 0.01))
    assert careless.missed > careful.missed + 5
    assert careless.width_to_fixed < careful.width_to_fixed


def test_the_command_tells_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["prove", "sequences", "--shops", "20", "--customers", "500", "--json"])
    assert not end.value.code
    told = json.loads(capsys.readouterr().out)
    assert (told["shops"], told["customers"]) == (20, 500)


@pytest.mark.parametrize("holdout", ["0.01", "0.2", "0.95"])
def test_shops_with_next_to_nobody_in_an_arm_are_refused(holdout: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["prove", "sequences", "--shops", "1", "--customers", "200", "--holdout", holdout])

    assert end.value.code == 2
    assert "smaller arm" in capsys.readouterr().err


def test_the_smallest_shops_that_are_taken_have_finite_figures(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["prove", "sequences", "--shops", "200", "--customers", "200", "--holdout", "0.25", "--json"])

    assert all(isinstance(value, int | float) for value in json.loads(capsys.readouterr().out).values())
