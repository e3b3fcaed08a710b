import msgspec
import numpy as np
import pytest

from stream_app.evaluation.rescoring import as_if_all_counted, rescore
from stream_app.evaluation.running import PassResult
from stream_app.learning.learner import Learner
from tests.support.small_pass import small_pass
from tests.support.small_shop import HORIZON_DAYS


def _served() -> PassResult:
    return small_pass()[0]


def test_the_same_learner_serves_the_same_bits_again() -> None:
    result = _served()

    again = rescore(result.examples, result.learned_before, Learner(HORIZON_DAYS))

    assert np.array_equal(again, result.observed.probability)
    assert len(np.unique(again)) > 100


def test_another_model_serves_other_scores_and_ends_as_trained() -> None:
    result = _served()
    learner = Learner(HORIZON_DAYS, "adagrad")

    other = rescore(result.examples, result.learned_before, learner)

    assert not np.array_equal(other, result.observed.probability)
    assert learner.trained_examples == max(result.learned_before.values())
    assert learner.metrics()["all_auc"] != result.learner.metrics()["all_auc"]


def test_a_naive_learner_counts_the_contacted() -> None:
    contacted = [msgspec.structs.replace(each, contacts=1, stay_propensity=0.3) for each in _served().examples]
    careful, naive = Learner(HORIZON_DAYS), Learner(HORIZON_DAYS)

    careful.learn(contacted)
    naive.learn([as_if_all_counted(example) for example in contacted])

    assert careful.trained_examples == 0
    assert naive.trained_examples == len(contacted)


def test_a_version_that_nobody_knows_is_refused() -> None:
    result = _served()

    with pytest.raises(ValueError, match="unlisted version"):
        rescore(result.examples, {}, Learner(HORIZON_DAYS))
