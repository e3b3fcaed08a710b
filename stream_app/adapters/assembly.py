"""Settings to an engine: the one place where worker, replay and evaluation get the same product from."""

from stream_app.core.times import SECOND_MS
from stream_app.decisions.catalogue import Catalogue, load_catalogue, load_shipped_catalogue
from stream_app.decisions.decider import CatalogueDecider
from stream_app.decisions.policy import load_policy
from stream_app.engine.engine import Engine
from stream_app.engine.policy import EnginePolicy
from stream_app.learning.scorer import PriorScorer, Scorer
from stream_app.sentiment.lexical import LexicalSentiment
from stream_app.settings import Settings


def policy_of(settings: Settings) -> EnginePolicy:
    """Return the engine's policy as the settings say."""
    return EnginePolicy(
        event_clock=settings.clock == "event",
        allowed_lateness_ms=settings.allowed_lateness_seconds * SECOND_MS,
        max_jump_ms=settings.max_event_time_jump_days * 24 * 3600 * SECOND_MS,
        horizon_days=settings.horizon_days,
        look_days=settings.look_days,
        observation_days=settings.observation_days,
        eligible_days=settings.eligible_days,
        default_currency=settings.default_currency,
        exchange_rates=dict(settings.exchange_rates),
        tier_thresholds=(settings.tier_medium, settings.tier_high, settings.tier_critical),
        score_change=settings.score_change,
    )


def catalogue_of(settings: Settings) -> Catalogue:
    """Return the action catalogue; raises CatalogueError naming line and field where it is wrong."""
    if settings.catalogue_file is None:
        return load_shipped_catalogue()
    return load_catalogue(settings.catalogue_file)


def decider_of(settings: Settings, catalogue: Catalogue, partitions: int) -> CatalogueDecider:
    """Return the decider of a worker; `partitions` is how many share the budget."""
    mode, consent = settings.actions_mode, settings.unknown_consent
    return CatalogueDecider(
        catalogue,
        salt=settings.salt.get_secret_value(),
        holdout_share=settings.holdout_share,
        enabled=settings.interventions_enabled,
        partitions=partitions,
        policy=load_policy(settings.policy_file) if settings.policy_file is not None else None,
        mode_override=None if mode == "as_written" else mode,
        unknown_consent_override=None if consent == "as_written" else consent,
    )


def engine_of(
    settings: Settings,
    *,
    scorer: Scorer | None = None,
    policy: EnginePolicy | None = None,
    partitions: int | None = None,
) -> Engine:
    """Return the engine of the product.

    Parameters
    ----------
    settings
        What is configured.
    scorer
        The model in force; absent: the prior.
    policy
        Instead of `policy_of(settings)`.
    partitions
        How many shards share the budget; absent: the configured partition count.
    """
    policy = policy if policy is not None else policy_of(settings)
    decider = decider_of(settings, catalogue_of(settings), partitions or settings.partitions)
    return Engine(policy, decider, LexicalSentiment(), scorer or PriorScorer(policy.horizon_days))
