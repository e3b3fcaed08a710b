"""All configuration, read once by the shell from the environment (prefix STREAM_APP_); the engine gets policies."""

import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError as UnparsableError

from stream_app.core.currencies import CurrencyCode
from stream_app.core.events import Token
from stream_app.core.topics import Topic
from stream_app.wire.decode import DecodeLimits
from stream_app.wire.encode import EncodePolicy

ENV_PREFIX = "STREAM_APP_"
_TOPIC_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")
Share = Annotated[float, Field(ge=0, le=1)]


class Settings(BaseSettings):
    """Settings of worker, trainer, dashboard and CLI. Every field is an environment variable STREAM_APP_<FIELD>."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_file=".env", extra="ignore", frozen=True)

    # --- the broker, for every client alike
    bootstrap: str = Field(default="127.0.0.1:9092", description="Kafka bootstrap servers, host:port, comma-separated.")
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        default="PLAINTEXT", description="How clients talk to the brokers."
    )
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        default="SCRAM-SHA-512", description="SASL mechanism, for the SASL protocols."
    )
    sasl_username: str = Field(default="", description="SASL user name.")
    sasl_password: SecretStr = Field(default=SecretStr(""), description="SASL password.")
    tls_ca_file: Path | None = Field(default=None, description="CA bundle for TLS; absent: the system's.")
    tls_cert_file: Path | None = Field(default=None, description="Client certificate for mutual TLS.")
    tls_key_file: Path | None = Field(default=None, description="Key of the client certificate.")
    tls_key_password: SecretStr = Field(default=SecretStr(""), description="Password of the client key.")

    # --- topics
    topic_clickstream: str = Field(default="clickstream", description="Input: clicks.")
    topic_orders: str = Field(default="orders", description="Input: orders.")
    topic_reviews: str = Field(default="reviews", description="Input: reviews, feedback, complaints, chats, surveys.")
    topic_customers: str = Field(default="customers", description="Input: profiles and consent.")
    topic_intervention_feedback: str = Field(
        default="intervention-feedback", description="Input: what became of messages."
    )
    topic_products: str = Field(default="products", description="Input, optional: product facts.")
    topic_calendar: str = Field(default="calendar", description="Input, optional: holidays and promotions.")
    topic_interventions: str = Field(default="interventions", description="Output: decisions to act (CloudEvents).")
    topic_churn_scores: str = Field(default="churn-scores", description="Output: latest score per customer.")
    topic_churn_warnings: str = Field(default="churn-warnings", description="Output: tier changes.")
    topic_suppressed_interventions: str = Field(default="suppressed-interventions", description="Output: every no.")
    topic_rerouted: str = Field(default="rerouted", description="Internal: records re-published by customer.")
    topic_ticks: str = Field(default="ticks", description="Internal: the passing of idle time.")
    topic_training_examples: str = Field(default="training-examples", description="Internal: matured observations.")
    topic_decision_outcomes: str = Field(default="decision-outcomes", description="Internal: matured decisions.")
    topic_population_statistics: str = Field(default="population-statistics", description="Internal: daily sums.")
    topic_model_snapshots: str = Field(default="model-snapshots", description="Internal: published weights.")
    topic_model_events: str = Field(
        default="model-events",
        description="Output: reviews, promotions and rollbacks of models, and requests for them.",
    )
    topic_dead_letters: str = Field(default="dead-letters", description="Output: refused records with their reason.")
    cloudevents_mode: Literal["binary", "structured"] = Field(
        default="binary",
        description="binary: CloudEvents attributes in headers; structured: the whole event in the value.",
    )
    cloudevents_source: str = Field(
        default="",
        description="CloudEvents source, a URI; empty: urn:stream-app:<app_id>. Part of the idempotency key.",
    )
    partitions: Annotated[int, Field(ge=1, le=1024)] = Field(
        default=12,
        description="Partition count of the customer-keyed topics and the changelog; fixed for the life of an app id.",
    )
    replication_factor: Annotated[int, Field(ge=1, le=9)] = Field(default=1, description="Copies of each partition.")
    input_retention_ms: int = Field(default=-1, description="retention.ms of the inputs; -1 keeps history for ever.")
    output_retention_ms: Annotated[int, Field(ge=-1)] = Field(
        default=2_592_000_000, description="retention.ms of interventions, warnings, suppressed and dead letters."
    )
    training_retention_ms: Annotated[int, Field(ge=-1)] = Field(
        default=31_536_000_000, description="retention.ms of what the trainer can learn from anew."
    )

    # --- identity and places
    app_id: str = Field(default="stream-app", description="Consumer group and prefix of changelog and trainer group.")
    instance_id: str = Field(default="", description="Static group membership, e.g. the pod's name; empty: dynamic.")
    data_dir: Path = Field(default=Path(".stream-app"), description="Local files: trainer checkpoint, RocksDB, logs.")
    store: Literal["memory", "rocksdb"] = Field(default="memory", description="Where customer states live.")
    standbys: Annotated[int, Field(ge=0, le=8)] = Field(
        default=1,
        description="RocksDB: how many other workers (or processes) keep a warm copy of each partition, so that a "
        "takeover reads only the newest of its changelog. All workers alike.",
    )
    catalogue_file: Path | None = Field(default=None, description="Action catalogue (YAML); absent: the shipped one.")
    catalogue_poll_seconds: Annotated[float, Field(gt=0)] = Field(
        default=5, description="Seconds between looks at the catalogue's file; a changed one is taken over at once."
    )
    policy: Literal["learned", "q_learning", "catalogue"] = Field(
        default="learned",
        description="What is believed of actions: learned: what the trainer's bandit publishes, until then the "
        "catalogue's own beliefs; q_learning: the same of what it learned over sequences of contacts; catalogue: the "
        "catalogue's for good. A policy_file stands above all.",
    )
    policy_file: Path | None = Field(
        default=None, description="Serve the learned policy in this file only (`stream-app policy learn`)."
    )

    # --- time
    clock: Literal["wall", "event"] = Field(
        default="wall", description="wall: idle time passes by ticks; event: the data alone move time (history, demo)."
    )
    allowed_lateness_seconds: Annotated[int, Field(ge=0)] = Field(
        default=600, description="How much later than the newest event an event may come and still count everywhere."
    )
    alignment_wait_ms: Annotated[int, Field(ge=-1)] = Field(
        default=5_000,
        description="How long to wait for a topic that lags, to keep event-time order; -1: as long as it takes.",
    )
    tick_seconds: Annotated[int, Field(ge=1)] = Field(default=60, description="Wall clock: idle seconds between ticks.")
    future_tolerance_seconds: Annotated[int, Field(ge=0)] = Field(
        default=3600, description="An event further ahead of its record timestamp than this is bad input."
    )
    max_event_time_jump_days: Annotated[int, Field(ge=1)] = Field(
        default=400, description="Event clock: an event further ahead of its partition than this is bad input."
    )
    source_epoch: Annotated[int, Field(ge=0)] = Field(
        default=0, description="Raise when source topics were re-created."
    )

    # --- the churn definition and the score
    horizon_days: Annotated[int, Field(ge=1, le=365)] = Field(
        default=30, description="H: churn is no order in (T, T+H]."
    )
    extra_horizons_days: Annotated[tuple[Annotated[int, Field(ge=2, le=730)], ...], Field(max_length=4)] = Field(
        default=(),
        description="Longer horizons that are scored and learned beside H, as JSON: [60, 90]. Scores tell their risks; "
        "tiers and decisions go by H. Workers and trainer alike.",
    )
    observation_days: Annotated[int, Field(ge=1, le=90)] = Field(default=14, description="Days between calendar looks.")
    observation_origin: date | None = Field(
        default=None,
        description="Calendar looks at all customers fall on the same dates, counted from the end of this one "
        "(YYYY-MM-DD, UTC), as in evaluations; absent: each customer has its own, which spreads the work.",
    )
    thin_observations: bool = Field(
        default=True, description="Keep at most 16 open observations of a customer, weighted; false: keep all."
    )
    eligible_days: Annotated[int, Field(ge=1)] = Field(
        default=180, description="Looks end so long after the last order."
    )
    default_currency: CurrencyCode = Field(default="EUR", description="Currency of orders that name none.")
    exchange_rates: dict[CurrencyCode, Annotated[float, Field(gt=0, allow_inf_nan=False)]] = Field(
        default={}, description='Value of one unit of a foreign currency in the default one, e.g. {"USD": 0.92}.'
    )
    look_days: Annotated[int, Field(ge=1, le=90)] = Field(
        default=7, description="Days between scores of a silent customer; observation_days must be a multiple."
    )
    tier_medium: Share = Field(default=0.35, description="Probability from which the tier is medium.")
    tier_high: Share = Field(default=0.6, description="Probability from which the tier is high.")
    tier_critical: Share = Field(default=0.8, description="Probability from which the tier is critical.")
    tier_medium_loss: Annotated[float, Field(ge=0)] = Field(
        default=0, description="Least expected loss (probability times value at stake) of the tier medium; 0: none."
    )
    tier_high_loss: Annotated[float, Field(ge=0)] = Field(default=0, description="The same of the tier high.")
    tier_critical_loss: Annotated[float, Field(ge=0)] = Field(default=0, description="The same of the tier critical.")
    recommend_share: Share = Field(
        default=1, description="Share of customers whose purchases product picks are made from; about 0.4 KB each."
    )
    score_change: Share = Field(default=0.02, description="Scores are published when they moved by at least this.")
    model_key: SecretStr = Field(default=SecretStr(""), description="HMAC key for model snapshots; empty: unsigned.")
    pinned_model: str = Field(default="", description="Serve this snapshot version only; 'prior': never a learned one.")

    # --- deciding
    holdout_share: Share = Field(default=0.1, description="Share of customers never contacted, for measured lift.")
    salt: SecretStr = Field(default=SecretStr("stream-app"), description="Salt of arms and draws; keep it for good.")
    interventions_enabled: bool = Field(
        default=True, description="The kill switch: false records decisions, sends none."
    )

    actions_mode: Literal["as_written", "shadow", "approve", "live"] = Field(
        default="as_written", description="Mode of all actions that are not off; as_written: what the catalogue says."
    )
    unknown_consent: Literal["as_written", "deny", "allow"] = Field(
        default="as_written",
        description="What counts where nobody stated a consent; as_written: as the catalogue says.",
    )
    fairness_attributes: Annotated[tuple[Token, ...], Field(max_length=4)] = Field(
        default=(),
        description="Attributes that profiles declare by which contacts, offers and errors are compared, as JSON: "
        '["gender"]. They are never features.',
    )
    fairness_ratio: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.8, description="A group that certainly gets less than this share of another's alarms (four fifths)."
    )
    fairness_error: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.05, description="Certain distance of two groups' mean errors of the score that alarms."
    )

    # --- the worker
    processes: Annotated[int, Field(ge=1, le=64)] = Field(
        default=1,
        description="Processes of one worker, which share its partitions, buffers and caches; each can fill a core.",
    )
    max_chunk_records: Annotated[int, Field(ge=1)] = Field(
        default=2_000, description="Records in one delivered chunk, and of one partition in a batch."
    )
    buffer_records: Annotated[int, Field(ge=1)] = Field(
        default=50_000, description="Bound of a worker's buffered records, all topics and processes."
    )
    buffer_bytes: Annotated[int, Field(ge=1)] = Field(
        default=64 << 20, description="Bound of a worker's buffered bytes, all topics and processes."
    )
    max_record_bytes: Annotated[int, Field(ge=1)] = Field(
        default=262_144, description="A larger input record is bad input."
    )
    dead_letter_flood_count: Annotated[int, Field(ge=1)] = Field(
        default=100, description="Bad records in the last 1,000 of a partition from which the worker stops loudly."
    )
    max_intervention_age_seconds: Annotated[int, Field(ge=1)] = Field(
        default=3_600, description="Wall clock: an intervention decided longer ago than this is dropped, not sent."
    )
    session_timeout_seconds: Annotated[int, Field(ge=6)] = Field(default=45, description="Group session timeout.")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(default="INFO", description="Log level.")
    log_format: Literal["auto", "json", "console"] = Field(default="auto", description="auto: console on a terminal.")

    # --- HTTP
    metrics_host: str = Field(default="0.0.0.0", description="Address of /metrics, /healthz, /readyz.")  # noqa: S104 - scraped from outside by design; holds no personal data
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=9464, description="Port of /metrics; 0: any free."
    )
    stall_seconds: Annotated[float, Field(ge=5)] = Field(
        default=60, description="A partition with lag that commits nothing for so long fails /healthz."
    )
    api_host: str = Field(default="127.0.0.1", description="Address of /v1; anything but loopback needs api_token.")
    api_port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=6066, description="Port of /v1, and of a further process the next; 0: any free."
    )
    api_token: SecretStr = Field(default=SecretStr(""), description="Bearer token of /v1.")
    api_advertised_url: str = Field(default="", description="URL by which other workers reach this one's /v1.")
    dashboard_port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8080, description="Port of the live page.")

    # --- the trainer
    checkpoint_seconds: Annotated[int, Field(ge=1)] = Field(default=30, description="Seconds between checkpoints.")
    snapshot_seconds: Annotated[float, Field(gt=0)] = Field(default=60, description="Least seconds between snapshots.")
    snapshot_examples: Annotated[int, Field(ge=1)] = Field(
        default=500, description="Least new examples for a snapshot."
    )

    model: str = Field(default="kalman", description="Model to begin with: a name, with or without options.")
    challengers: tuple[str, ...] = Field(
        default=(),
        description="Models that learn in shadow and may take over, as JSON, with or without options: "
        '["adagrad", "kalman:prior_variance=0.01"].',
    )
    promotion: Literal["auto", "ask", "off"] = Field(
        default="auto",
        description="A challenger that has proved itself: auto serves it, ask waits for a person, off leaves it.",
    )
    promotion_error_rate: Annotated[float, Field(gt=0, lt=1)] = Field(
        default=0.05, description="Probability of ever promoting no better a model while one champion serves."
    )
    promotion_margin: Annotated[float, Field(ge=0)] = Field(
        default=0.001, description="Nats of log loss that a challenger must be better by for certain."
    )
    challengers_halving_weeks: Annotated[int, Field(ge=0, le=52)] = Field(
        default=0,
        description="The worse half of the challengers leaves after so many weeks, then after twice as many, and so "
        "on, until two are left; 0: all stay.",
    )
    model_selection: Literal["champion", "bandit"] = Field(
        default="champion", description="champion: one model for all; bandit: one for each segment of customers."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Refuse values that are each fine and wrong together."""
        names: dict[str, str] = {}
        for role in Topic:
            name = self.topic(role)
            variable = ENV_PREFIX + _field_of(role).upper()
            if not _TOPIC_NAME.fullmatch(name) or name in {".", ".."}:
                raise ValueError(f"{variable}: {name!r} is no Kafka topic name: use letters, digits, '.', '_' and '-'")
            if name in names:
                raise ValueError(f"{variable} and {names[name]} both name the topic {name!r}: give each its own")
            names[name] = variable
        if self.observation_days % self.look_days:
            raise ValueError("STREAM_APP_OBSERVATION_DAYS must be a multiple of STREAM_APP_LOOK_DAYS")
        horizons = [self.horizon_days, *self.extra_horizons_days]
        if horizons != sorted(set(horizons)):
            raise ValueError(
                "STREAM_APP_EXTRA_HORIZONS_DAYS must rise, from more than STREAM_APP_HORIZON_DAYS: "
                f"they are {list(self.extra_horizons_days)} and {self.horizon_days}. Decide by the shortest"
            )
        if not self.tier_medium < self.tier_high < self.tier_critical:
            raise ValueError(
                "STREAM_APP_TIER_MEDIUM, STREAM_APP_TIER_HIGH and STREAM_APP_TIER_CRITICAL must rise: "
                f"they are {self.tier_medium}, {self.tier_high} and {self.tier_critical}"
            )
        if not self.tier_medium_loss <= self.tier_high_loss <= self.tier_critical_loss:
            raise ValueError(
                "STREAM_APP_TIER_MEDIUM_LOSS, STREAM_APP_TIER_HIGH_LOSS and STREAM_APP_TIER_CRITICAL_LOSS must not "
                f"fall: they are {self.tier_medium_loss}, {self.tier_high_loss} and {self.tier_critical_loss}"
            )
        if self.security_protocol.startswith("SASL") and not self.sasl_username:
            raise ValueError(
                f"STREAM_APP_SASL_USERNAME is needed with STREAM_APP_SECURITY_PROTOCOL={self.security_protocol}"
            )
        if (self.tls_key_file is None) != (self.tls_cert_file is None):
            raise ValueError("STREAM_APP_TLS_CERT_FILE and STREAM_APP_TLS_KEY_FILE go together: set both or neither")
        return self

    @model_validator(mode="after")
    def _give_every_process_work(self) -> Self:
        if self.processes > self.partitions:
            raise ValueError(
                f"STREAM_APP_PROCESSES ({self.processes}) must not be more than STREAM_APP_PARTITIONS "
                f"({self.partitions}): a process without a partition has no work"
            )
        return self

    def topic(self, role: Topic) -> str:
        """Return what a topic is called on this broker."""
        name: str = getattr(self, _field_of(role))
        return name

    def role_of(self, name: str) -> Topic | None:
        """Return the role of a topic by its name on this broker, the inverse of `topic`; None for a foreign topic."""
        return next((role for role in Topic if self.topic(role) == name), None)

    @property
    def changelog_topic(self) -> str:
        """Return the name of the changelog of the customer table."""
        return f"{self.app_id}-customers-changelog"

    def decode_limits(self) -> DecodeLimits:
        """Return what a record may be. Under the event clock no record is judged by its Kafka timestamp."""
        tolerance_ms = self.future_tolerance_seconds * 1000 if self.clock == "wall" else None
        return DecodeLimits(
            max_bytes=self.max_record_bytes, future_tolerance_ms=tolerance_ms, source_epoch=self.source_epoch
        )

    def encode_policy(self) -> EncodePolicy:
        """Return how public events are dressed."""
        return EncodePolicy(
            source=self.cloudevents_source or f"urn:stream-app:{self.app_id}",
            structured=self.cloudevents_mode == "structured",
        )


class SettingsError(ValueError):
    """A setting has a bad value; the message names every variable at fault, a line each."""


def load_settings(**given: Any) -> Settings:
    """Read all settings from the environment and `.env`.

    Parameters
    ----------
    given
        Settings from a command line, by name: they stand above all else.

    Raises
    ------
    SettingsError
        When a value is bad.
    """
    try:
        return Settings(**given)
    except ValidationError as failure:
        raise SettingsError(describe_settings_failure(failure)) from failure
    except UnparsableError as failure:
        raise SettingsError(describe_unparsable(failure)) from failure


def describe_unparsable(failure: UnparsableError) -> str:
    """Return one line for a structured setting whose text is no JSON."""
    named = re.search(r'field "(\w+)"', str(failure))
    variable = ENV_PREFIX + named[1].upper() if named else "a setting"
    return f"{variable}: write it as JSON, as its description in `stream-app settings` shows"


def describe_settings_failure(failure: ValidationError) -> str:
    """Return one line for each bad variable; values are never shown, since some are secret."""
    lines = []
    for error in failure.errors(include_url=False, include_input=False):
        message = error["msg"].removeprefix("Value error, ")
        variable = ENV_PREFIX + str(error["loc"][0]).upper() if error["loc"] else ""
        lines.append(f"{variable}: {message[:1].lower()}{message[1:]}" if variable else message)
    return "\n".join(lines)


def _field_of(role: Topic) -> str:
    return "topic_" + role.value.replace("-", "_")
