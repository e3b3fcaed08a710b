"""Settings to an engine: the one place where worker, replay and evaluation get the same product from."""

from datetime import date
from pathlib import Path

from stream_app.core.times import DAY_MS, SECOND_MS
from stream_app.decisions.catalogue import Catalogue, load_catalogue, shipped_catalogue_file
from stream_app.decisions.decider import CatalogueDecider
from stream_app.decisions.fairness_watch import FairnessState, FairnessWatch
from stream_app.decisions.policy import PolicySnapshot, load_policy
from stream_app.decisions.types import Decider
from stream_app.engine.engine import Engine
from stream_app.engine.policy import EnginePolicy
from stream_app.learning.horizons import prior_of
from stream_app.learning.scorer import Scorer
from stream_app.sentiment.lexical import LexicalSentiment
from stream_app.settings import Settings


def policy_of(settings: Settings) -> EnginePolicy:
    """Return the engine's policy as the settings say."""
    origin = settings.observation_origin
    return EnginePolicy(
        event_clock=settings.clock == "event",
        allowed_lateness_ms=settings.allowed_lateness_seconds * SECOND_MS,
        max_jump_ms=settings.max_event_time_jump_days * 24 * 3600 * SECOND_MS,
        horizon_days=settings.horizon_days,
        look_days=settings.look_days,
        observation_days=settings.observation_days,
        eligible_days=settings.eligible_days,
        calendar_common=origin is not None,
        calendar_origin_ms=_end_of_day_ms(origin) if origin is not None else 0,
        thin=settings.thin_observations,
        default_currency=settings.default_currency,
        exchange_rates=dict(settings.exchange_rates),
        tier_thresholds=(settings.tier_medium, settings.tier_high, settings.tier_critical),
        tier_losses=(settings.tier_medium_loss, settings.tier_high_loss, settings.tier_critical_loss),
        recommend_share=settings.recommend_share,
        score_change=settings.score_change,
        fairness_attributes=settings.fairness_attributes,
    )


def catalogue_file_of(settings: Settings) -> Path:
    """Return the file of the action catalogue: the configured one, or the one that is shipped."""
    return settings.catalogue_file or shipped_catalogue_file()


def catalogue_of(settings: Settings) -> Catalogue:
    """Return the action catalogue; raises CatalogueError naming line and field where it is wrong."""
    return load_catalogue(catalogue_file_of(settings))


class DeciderMaker:
    """Makes the decider of a worker from settings, catalogue and policy, and anew when one of the two is replaced.

    Parameters
    ----------
    settings
        Salt, holdout, kill switch, modes.
    partitions
        How many share the budget.

    Raises
    ------
    CatalogueError, PolicyError
        The configured files cannot be used.
    """

    def __init__(self, settings: Settings, partitions: int) -> None:
        self._settings = settings
        self._partitions = partitions
        self.catalogue = catalogue_of(settings)
        """As it is written: before modes and consent are overridden."""
        self.policy = load_policy(settings.policy_file) if settings.policy_file is not None else None
        """Learned beliefs; None: the catalogue's own."""

    def decider(self) -> CatalogueDecider:
        """Return the decider for the catalogue and the policy in force."""
        return self._make(self.catalogue, self.policy)

    def with_catalogue(self, catalogue: Catalogue) -> CatalogueDecider:
        """Put another catalogue into force and return the decider for it.

        Raises
        ------
        ValueError
            It cannot be used by so many partitions; the one in force stays.
        """
        made = self._make(catalogue, self.policy)
        self.catalogue = catalogue
        return made

    def with_policy(self, policy: PolicySnapshot | None) -> CatalogueDecider:
        """Put other beliefs into force and return the decider for them."""
        made = self._make(self.catalogue, policy)
        self.policy = policy
        return made

    def _make(self, catalogue: Catalogue, policy: PolicySnapshot | None) -> CatalogueDecider:
        settings = self._settings
        mode, consent = settings.actions_mode, settings.unknown_consent
        return CatalogueDecider(
            catalogue,
            salt=settings.salt.get_secret_value(),
            holdout_share=settings.holdout_share,
            enabled=settings.interventions_enabled,
            partitions=self._partitions,
            policy=policy,
            mode_override=None if mode == "as_written" else mode,
            unknown_consent_override=None if consent == "as_written" else consent,
        )


def engine_of(
    settings: Settings,
    *,
    scorer: Scorer | None = None,
    policy: EnginePolicy | None = None,
    partitions: int | None = None,
    decider: Decider | None = None,
) -> Engine:
    """Return the engine of the product.

    Parameters
    ----------
    settings
        What is configured.
    scorer
        The model in force; absent: the prior, over all horizons.
    policy
        Instead of `policy_of(settings)`.
    partitions
        How many shards share the budget; absent: the configured partition count.
    decider
        Instead of the one that settings and files make.
    """
    policy = policy if policy is not None else policy_of(settings)
    if decider is None:
        decider = DeciderMaker(settings, partitions or settings.partitions).decider()
    scorer = scorer or prior_of(policy.horizon_days, settings.extra_horizons_days)
    return Engine(policy, decider, LexicalSentiment(), scorer)


def fairness_watch_of(settings: Settings, state: FairnessState | None = None) -> FairnessWatch:
    """Return the watch over groups that the settings ask for, to go on from a state; of none it does nothing."""
    return FairnessWatch(
        settings.fairness_attributes,
        settings.observation_days,
        ratio_bound=settings.fairness_ratio,
        error_bound=settings.fairness_error,
        state=state,
    )


def _end_of_day_ms(day: date) -> int:
    """Return the last millisecond of a UTC day: what happens on it lies before the look."""
    return (day.toordinal() - date(1970, 1, 1).toordinal() + 1) * DAY_MS - 1
