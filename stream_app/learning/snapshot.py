"""A model snapshot: everything that is needed to score, as numbers. Workers load it; nothing in it can be executed."""

import hmac
import math
from hashlib import sha256

import msgspec

from stream_app.core.features import FEATURE_INDEX, FEATURE_LISTS, list_hash
from stream_app.core.population import Population
from stream_app.learning.inputs import feature_of
from stream_app.learning.zoo.bends import bend_of
from stream_app.learning.zoo.types import LearnedWeights

FORMAT = 1
BENT_FORMAT = 2
"""Of a snapshot with a bend: workers that know nothing of bends have to refuse it."""


class SnapshotRefusedError(ValueError):
    """The bytes are no snapshot that this version can serve; the message says why and what to do."""


class Alternative(msgspec.Struct, frozen=True):
    """Another model's weights, for segments of customers that it serves."""

    model: str
    inputs: tuple[str, ...]
    learned: LearnedWeights


class ModelSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """Weights of a logistic model over standardised inputs, with the population that its features were computed with.

    logit = offset feature + intercept + sum of weight * clip((input - mean) * inverse_scale, +-clip) + bend
    """

    format: int = FORMAT
    version: str
    """Model, horizon, examples learned and a digest of the content, e.g. "kalman-h30-000012345-5f0c2e91ab"."""
    model: str
    horizon_days: int
    features_hash: str
    """The feature list that it was learned on."""
    inputs: tuple[str, ...]
    offset: str = ""
    """Feature added to the logit as it is; empty: none."""
    offset_mean: float = 0.0
    clip: float = 5.0
    mean: tuple[float, ...] = ()
    inverse_scale: tuple[float, ...] = ()
    """0 for an input that has not varied yet."""
    weights: tuple[float, ...] = ()
    intercept: float = 0.0
    covariance: tuple[float, ...] = ()
    """Posterior covariance of (intercept, weights), row by row; empty: the model has none."""
    form: str = ""
    """What is added to the linear terms (see `zoo.bends`): "hidden" or "pairs"; empty: nothing."""
    arrays: tuple[float, ...] = ()
    """The numbers of that."""
    widening: float = 1.0
    """Factor on the posterior variance for customers who are seen many times."""
    spread: float = 0.2
    """Share of p (1 - p) that is the variance of the true probability among customers with the same features."""
    population: Population = Population()
    metrics: dict[str, float] = {}
    trained_examples: int = 0
    trained_through_ms: int = 0
    """Latest T + H that was learned."""
    effective_examples: float = 0.0
    """(sum of importance)^2 / sum of its squares: how many equally weighted examples it stands on."""
    alternatives: dict[str, Alternative] = {}
    """By name, where a bandit selects models."""
    selection: dict[str, str] = {}
    """By segment, the alternative that serves it."""


class _Envelope(msgspec.Struct):
    snapshot: msgspec.Raw
    signature: str = ""


_decoder = msgspec.json.Decoder(ModelSnapshot)
_envelopes = msgspec.json.Decoder(_Envelope)


def with_version(snapshot: ModelSnapshot) -> ModelSnapshot:
    """Return the snapshot with the version that its content has: equal models have equal versions."""
    digest = sha256(msgspec.json.encode(msgspec.structs.replace(snapshot, version=""))).hexdigest()[:10]
    version = f"{snapshot.model}-h{snapshot.horizon_days}-{snapshot.trained_examples:09d}-{digest}"
    return msgspec.structs.replace(snapshot, version=version)


def without_alternatives(snapshot: ModelSnapshot, name: str = "") -> ModelSnapshot:
    """Return the snapshot as if one of its models served alone: the champion, or an alternative by name."""
    if not name:
        return msgspec.structs.replace(snapshot, alternatives={}, selection={})
    chosen = snapshot.alternatives[name]
    weights = {field: getattr(chosen.learned, field) for field in LearnedWeights.__struct_fields__}
    form = BENT_FORMAT if chosen.learned.form else FORMAT
    return msgspec.structs.replace(
        snapshot, format=form, model=chosen.model, inputs=chosen.inputs, alternatives={}, selection={}, **weights
    )


def encode_snapshot(snapshot: ModelSnapshot, key: bytes = b"") -> bytes:
    """Return the snapshot as JSON, with an HMAC-SHA256 over its bytes when a key is given."""
    body = msgspec.json.encode(snapshot)
    signature = hmac.new(key, body, sha256).hexdigest() if key else ""
    return msgspec.json.encode(_Envelope(snapshot=msgspec.Raw(body), signature=signature))


def decode_snapshot(data: bytes, key: bytes = b"") -> ModelSnapshot:
    """Return the snapshot in `data`, checked: signature, format, shapes, finite numbers, known feature names.

    Raises SnapshotRefusedError; with a key, an unsigned snapshot is refused as well.
    """
    try:
        envelope = _envelopes.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotRefusedError(f"not a model snapshot: {error}") from error
    body = bytes(envelope.snapshot)
    if key:
        expected = hmac.new(key, body, sha256).hexdigest()
        if not hmac.compare_digest(expected, envelope.signature):
            raise SnapshotRefusedError(
                "the signature does not fit: give trainer and workers the same STREAM_APP_MODEL_KEY"
            )
    try:
        snapshot = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SnapshotRefusedError(f"not a model snapshot: {error}") from error
    _check(snapshot)
    return snapshot


def _check(snapshot: ModelSnapshot) -> None:
    if snapshot.format != (BENT_FORMAT if snapshot.form else FORMAT):
        raise SnapshotRefusedError(
            f"snapshot format {snapshot.format}, this version reads {FORMAT} and {BENT_FORMAT}: upgrade the workers"
        )
    width = len(snapshot.inputs)
    lengths = {len(snapshot.mean), len(snapshot.inverse_scale), len(snapshot.weights)}
    if lengths != {width}:
        raise SnapshotRefusedError(f"{width} inputs, but arrays of {sorted(lengths)} numbers")
    if len(snapshot.covariance) not in {0, (width + 1) ** 2}:
        raise SnapshotRefusedError(
            f"the covariance has {len(snapshot.covariance)} numbers, expected {(width + 1) ** 2}"
        )
    numbers = (
        *snapshot.mean,
        *snapshot.inverse_scale,
        *snapshot.weights,
        *snapshot.covariance,
        *snapshot.arrays,
        *(snapshot.intercept, snapshot.offset_mean, snapshot.clip, snapshot.widening, snapshot.spread),
    )
    if not all(map(math.isfinite, numbers)):
        raise SnapshotRefusedError("it holds numbers that are not finite")
    try:
        bend_of(snapshot.form, snapshot.arrays, width)
    except ValueError as error:
        raise SnapshotRefusedError(f"{error}: upgrade the workers before the trainer") from error
    if snapshot.clip <= 0 or snapshot.horizon_days <= 0:
        raise SnapshotRefusedError("clip and horizon_days must be positive")
    if not 0 <= snapshot.spread < 1:
        raise SnapshotRefusedError(f"spread is {snapshot.spread}: it must be at least 0 and less than 1")
    if snapshot.features_hash not in FEATURE_LISTS:
        raise SnapshotRefusedError(
            f"feature list {snapshot.features_hash} is unknown: upgrade the workers before the trainer"
        )
    wanted = {feature_of(name) for name in snapshot.inputs} | ({snapshot.offset} - {""})
    missing = sorted(wanted - FEATURE_INDEX.keys())
    if missing:
        raise SnapshotRefusedError(f"it needs features that this version does not have: {', '.join(missing)}")
    _check_selection(snapshot)


def _check_selection(snapshot: ModelSnapshot) -> None:
    for name in snapshot.alternatives:
        _check(without_alternatives(snapshot, name))
    absent = sorted(set(snapshot.selection.values()) - snapshot.alternatives.keys())
    if absent:
        raise SnapshotRefusedError(f"its selection names models that it does not hold: {', '.join(absent)}")


def check_lists() -> None:
    """Raise ValueError when a released feature list is not what its hash says."""
    for known_hash, names in FEATURE_LISTS.items():
        if list_hash(names) != known_hash:
            raise ValueError(f"feature list {known_hash} has changed: names may not be edited, only a new list added")
