"""Another learner over the observations of a pass: the same features, scored and learned at the same moments.

Features, labels and moments do not depend on the model that served, so a second model needs no second pass of the
engine. With a learner like the one that served, every score comes out to the last bit (a law holds the two together).
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from stream_app.core.effects import TrainingExample
from stream_app.core.features import FEATURE_NAMES, FEATURES_HASH
from stream_app.core.packing import in_single, unpack
from stream_app.learning.learner import Learner
from stream_app.learning.scorer import PRIOR_VERSION, PriorScorer, Scorer, SnapshotScorer


class ServedBlock(NamedTuple):
    """What one model version serves in a rescoring."""

    chosen: NDArray[np.intp]
    """Indexes of the observations."""
    features: NDArray[np.float32]
    probability: NDArray[np.float64]
    scorer: Scorer


def rescore(
    examples: Sequence[TrainingExample], learned_before: Mapping[str, int], learner: Learner
) -> NDArray[np.float64]:
    """Return the probability (n,) that `learner` would have served for each observation; see `serve_again`."""
    probability = np.zeros(len(examples))
    for block in serve_again(examples, learned_before, learner):
        probability[block.chosen] = block.probability
    return probability


def serve_again(
    examples: Sequence[TrainingExample], learned_before: Mapping[str, int], learner: Learner
) -> Iterator[ServedBlock]:
    """Yield, version by version in the order of serving, what `learner` would have served in its place.

    Parameters
    ----------
    examples
        In the order of their labels, packed under the present feature list. The learner is told its own scores of them.
    learned_before
        By the version that served, how many of them were known at that time, in the order of serving.
    learner
        Fresh; it ends trained on all examples that any version knew of.

    Raises
    ------
    ValueError
        For an example of another feature list, or one that was served by a version that is not listed.
    """
    by_version: dict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        if example.features_hash != FEATURES_HASH:
            raise ValueError(f"example {example.example_id}: feature list {example.features_hash} is not the present")
        if example.model_version != PRIOR_VERSION and example.model_version not in learned_before:
            raise ValueError(f"example {example.example_id}: served by the unlisted version {example.model_version}")
        by_version[example.model_version].append(index)
    served = np.array([example.probability for example in examples])
    known = 0
    for version, count in {PRIOR_VERSION: 0, **learned_before}.items():
        learner.learn(
            [
                msgspec.structs.replace(example, probability=float(probability))
                for example, probability in zip(examples[known:count], served[known:count], strict=True)
            ]
        )
        known = max(known, count)
        chosen = by_version.get(version)
        if not chosen:
            continue
        is_prior = version == PRIOR_VERSION
        scorer: Scorer = PriorScorer(learner.horizon_days) if is_prior else SnapshotScorer(learner.snapshot())
        rows = np.array([unpack(examples[index].features, len(FEATURE_NAMES)) for index in chosen], dtype=np.float32)
        indexes = np.array(chosen, dtype=np.intp)
        served[indexes] = in_single(scorer.score(rows))
        yield ServedBlock(indexes, rows, served[indexes], scorer)


def as_if_all_counted(example: TrainingExample) -> TrainingExample:
    """Return the example as a naive learner takes it: contacted or not, every outcome is the customer's own."""
    return msgspec.structs.replace(example, contacts=0, stay_propensity=1.0, arm=0)
