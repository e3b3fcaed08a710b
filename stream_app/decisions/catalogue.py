"""The action catalogue: what can be done for whom, at what cost, and the guardrails that hold for all of it.

The file is YAML, so that retention and CRM people can edit it. Every mistake in it is reported with its line and field.
"""

import hashlib
from datetime import time
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from stream_app.core.currencies import CurrencyCode
from stream_app.core.outputs import TIERS, Tier
from stream_app.decisions.types import NOTHING, Mode
from stream_app.decisions.yaml_lines import YamlProblem, load_with_lines

Kind = Literal[
    "coupon",
    "birthday_gift",
    "vip_service",
    "personal_care",
    "product_picks",
    "loyalty_points",
    "promotion_news",
    "survey",
    "interactive_activity",
]
Channel = Literal["email", "sms", "push", "phone", "onsite"]
CHANNELS: tuple[Channel, ...] = ("email", "sms", "push", "phone", "onsite")
Signal = Literal["risk", "complaint", "unhappy", "birthday", "open_cart", "order", "routine"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
Days = Annotated[float, Field(ge=0, le=3650)]
Money = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]
Polarity = Annotated[float, Field(ge=-1, le=1)]


def _unfold_yaml_off(value: object) -> object:
    return "off" if value is False else value


def _clock_text(value: object) -> object:
    # YAML 1.1 reads an unquoted 21:00 as the number 1260.
    if isinstance(value, int | float):
        raise ValueError('write a time of day in quotes, e.g. "21:00"')  # noqa: TRY004 - pydantic wants ValueError
    return value


CatalogueMode = Annotated[Mode, BeforeValidator(_unfold_yaml_off)]
"""YAML 1.1 reads an unquoted `off` as false; both mean off."""
ClockTime = Annotated[time, BeforeValidator(_clock_text)]
ParameterValue = str | int | float | bool

MAX_ACTIONS = 40
"""With a floor of 0.02 for each, so many leave room for a preference."""

REFERENCES = ("$order_value", "$days_since_order", "$loyalty_tier", "$intervention_id", "$expires_on", "$tier")
"""What a content parameter may refer to; it is filled in when the decision is made."""


class Misplaced(ValueError):  # noqa: N818 - told to the file's author, as any other mistake in it
    """A mistake that shows only in the whole; `location` says where in the validated part it stands."""

    def __init__(self, location: tuple[int | str, ...], what: str) -> None:
        super().__init__(what)
        self.location = location


class CatalogueError(ValueError):
    """The catalogue cannot be used; the message names every problem with file, line and field."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Cap(_Part):
    """At most `count` contacts in any rolling `days` days."""

    count: Annotated[int, Field(ge=0)]
    days: Annotated[float, Field(gt=0, le=366)]


class ContentTemplate(_Part):
    """What the messaging service is asked to say."""

    template: Annotated[str, StringConstraints(min_length=1, max_length=128)]
    languages: Annotated[tuple[str, ...], Field(min_length=1)] = Field(description="The first one is the fallback.")
    parameters: dict[str, ParameterValue] = {}
    picks: Annotated[int, Field(ge=0, le=20)] = Field(default=0, description="Number of product picks.")

    @model_validator(mode="after")
    def _known_references(self) -> Self:
        for name, value in self.parameters.items():
            if isinstance(value, str) and value.startswith("$") and value not in REFERENCES:
                raise ValueError(f"parameter {name!r} refers to {value!r}; known are {', '.join(REFERENCES)}")
        return self


class Uplift(_Part):
    """What is believed of an action before there is evidence: the fall of the churn probability that it causes.

    `by_tier` are points of probability; `uncertainty` is their standard deviation.
    """

    by_tier: dict[Tier, Annotated[float, Field(ge=-1, le=1)]]
    uncertainty: Annotated[float, Field(gt=0, le=1)] = 0.02


class Action(_Part):
    """One thing that can be done for a customer."""

    name: Name
    kind: Kind
    channel: Channel
    purpose: Literal["marketing", "service"] = Field(
        default="marketing", description="Marketing needs marketing consent; service needs the channel's consent only."
    )
    mode: CatalogueMode = "shadow"
    priority: int = Field(
        default=0, description="Among allowed actions only those of the highest priority are drawn from."
    )
    signals: Annotated[tuple[Signal, ...], Field(min_length=1)] = Field(description="Any of these makes it eligible.")
    tiers: Annotated[tuple[Tier, ...], Field(min_length=1)] = TIERS
    sentiment: tuple[Polarity, Polarity] = Field(
        default=(-1, 1), description="Range of the mean sentiment, ends included."
    )
    min_orders: Annotated[int, Field(ge=0)] = 0
    min_value: Money = Field(default=0, description="Least value at stake, shop currency.")
    min_expected_loss: Money = Field(default=0, description="Least churn probability times value at stake.")
    cost: Money = Field(description="Cost of one contact, shop currency.")
    incentive: Money = Field(default=0, description="Worth of what is given away, shop currency.")
    incentive_share: Share = Field(default=0, description="As `incentive`, as a share of the usual order.")
    take_rate: Share = Field(default=1, description="Share of customers that take the incentive.")
    price_cut: bool = Field(default=False, description="Subject to the discount-dependence limit.")
    uplift: Uplift
    cooldown_days: Days = 0
    caps: tuple[Cap, ...] = ()
    expires_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 72
    content: ContentTemplate

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.name == NOTHING:
            raise Misplaced(("name",), f"an action may not be called {NOTHING!r}: that is the choice not to act")
        if self.sentiment[0] > self.sentiment[1]:
            raise Misplaced(("sentiment",), f"the range {list(self.sentiment)} is upside down; give [lowest, highest]")
        missing = [tier for tier in self.tiers if tier not in self.uplift.by_tier]
        if missing:
            raise Misplaced(("uplift", "by_tier"), f"lacks {', '.join(missing)}, which `tiers` allows")
        return self


class ExperimentArm(_Part):
    """One arm of an experiment: which actions its customers may get."""

    name: Name
    weight: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1
    only: tuple[Name, ...] | None = Field(default=None, description="Only these; [] is none, absent is all.")
    without: tuple[Name, ...] = Field(default=(), description="All but these.")

    def permits(self, action: str) -> bool:
        """Say whether customers of this arm may get an action."""
        return (self.only is None or action in self.only) and action not in self.without


class Experiment(_Part):
    """A named comparison of fixed arms (A/B); the first arm is what the others are compared with.

    Who is in which arm depends on the experiment's name, so that experiments run side by side do not disturb one
    another. What is changed is another experiment: give it another name.
    """

    name: Name
    share: Annotated[float, Field(gt=0, le=1)] = Field(default=1, description="Share of customers that take part.")
    arms: Annotated[tuple[ExperimentArm, ...], Field(min_length=2, max_length=10)]

    @model_validator(mode="after")
    def _sound(self) -> Self:
        names = [arm.name for arm in self.arms]
        for position, name in enumerate(names):
            if name in names[:position]:
                raise Misplaced(("arms", position, "name"), f"two arms are called {name}")
        return self

    @property
    def shares(self) -> dict[str, float]:
        """Return the share of each arm among the customers that take part."""
        total = sum(arm.weight for arm in self.arms)
        return {arm.name: arm.weight / total for arm in self.arms}


class QuietHours(_Part):
    """Local hours in which interruptive channels are silent; `start` may be later than `end` (over midnight)."""

    start: ClockTime = time(21)
    end: ClockTime = time(8)
    channels: tuple[Channel, ...] = ("sms", "push", "phone")
    unknown_zone: Annotated[str, StringConstraints(min_length=1)] = Field(
        default="deny", description="deny, or the IANA zone that is taken where the customer's is unknown."
    )


class Budget(_Part):
    """Limits for the whole shop and UTC day; every partition owns an equal share. Absent: no limit."""

    money_per_day: Money | None = None
    count_per_day: Annotated[int, Field(ge=0)] | None = None


class Breaker(_Part):
    """When a jump in a partition's interventions stops sending.

    That is at more than `minimum` in a window, and more than `factor` times the usual.
    """

    window_minutes: Annotated[int, Field(ge=1)] = 60
    factor: Annotated[float, Field(gt=1)] = 10
    minimum: Annotated[int, Field(ge=1)] = 200


class Guardrails(_Part):
    """Limits that hold for every action."""

    unknown_consent: Literal["deny", "allow"] = Field(
        default="deny",
        description="allow only where the messaging service checks consent itself; a stated no always holds.",
    )
    quiet_hours: QuietHours = QuietHours()
    total_caps: tuple[Cap, ...] = (Cap(count=3, days=30),)
    channel_caps: dict[Channel, tuple[Cap, ...]] = {}
    order_cooldown_hours: Annotated[float, Field(ge=0)] = Field(
        default=48, description="No marketing for so long after an order, but for actions with the signal `order`."
    )
    complaint_cooldown_days: Days = Field(default=14, description="No marketing for so long after a complaint.")
    message_complaint_days: Days = Field(
        default=365, description="No contact for so long after a complaint about messages."
    )
    discount_share_limit: Share = Field(
        default=0.6, description="Above this share of discounted orders: no price cuts."
    )
    discount_min_orders: Annotated[int, Field(ge=1)] = 3
    stale_hours: Annotated[float, Field(gt=0)] = Field(
        default=48, description="A point so far behind the partition's event time leads to no contact."
    )
    signal_days: Days = Field(default=7, description="How long a complaint, a survey or an open cart stays a signal.")
    birthday_days: Annotated[int, Field(ge=0, le=60)] = Field(
        default=7, description="Days before a birthday that count."
    )
    open_cart_minutes: Annotated[int, Field(ge=1)] = 30
    unhappy_below: Polarity = -0.2
    budget: Budget = Budget()
    breaker: Breaker = Breaker()


class Catalogue(_Part):
    """All actions and guardrails, with a version that is the hash of their content."""

    format: Literal[1]
    currency: CurrencyCode
    margin: Annotated[float, Field(gt=0, le=1)] = Field(description="Share of revenue that is profit.")
    unsubscribe_penalty: Money = Field(default=5, description="What losing a way to reach a customer costs.")
    complaint_penalty: Money = Field(default=10, description="What a complaint about messages costs.")
    guardrails: Guardrails = Guardrails()
    actions: Annotated[tuple[Action, ...], Field(min_length=1, max_length=MAX_ACTIONS)]
    experiments: Annotated[tuple[Experiment, ...], Field(max_length=20)] = ()

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        for part, names in (
            ("actions", [action.name for action in self.actions]),
            ("experiments", [experiment.name for experiment in self.experiments]),
        ):
            for position, name in enumerate(names):
                if name in names[:position]:
                    raise Misplaced((part, position, "name"), f"{part} share a name: {name}")
        return self

    @model_validator(mode="after")
    def _known_actions(self) -> Self:
        known = {action.name for action in self.actions}
        for position, experiment in enumerate(self.experiments):
            for number, arm in enumerate(experiment.arms):
                for field, names in (("only", arm.only or ()), ("without", arm.without)):
                    for name in names:
                        if name not in known:
                            place = ("experiments", position, "arms", number, field)
                            raise Misplaced(
                                place, f"no action is called {name!r}; known are {', '.join(sorted(known))}"
                            )
        return self

    @cached_property
    def version(self) -> str:
        """Hash of the content: comments and the order of keys do not change it."""
        return hashlib.blake2b(self.model_dump_json().encode(), digest_size=6).hexdigest()

    @cached_property
    def memory_days(self) -> float:
        """The longest time in days for which a contact can still matter to a cap or cooldown."""
        guards = self.guardrails
        caps = [*guards.total_caps, *(cap for caps in guards.channel_caps.values() for cap in caps)]
        caps += [cap for action in self.actions for cap in action.caps]
        return max([cap.days for cap in caps] + [action.cooldown_days for action in self.actions], default=0)

    @cached_property
    def incentives(self) -> frozenset[str]:
        """The actions that give something away."""
        return frozenset(action.name for action in self.actions if action.incentive or action.incentive_share)

    def with_mode(self, mode: Mode) -> "Catalogue":
        """Return the catalogue with this mode for every action that is not off."""
        actions = tuple(a if a.mode == "off" else a.model_copy(update={"mode": mode}) for a in self.actions)
        return self._changed(actions=actions)

    def with_unknown_consent(self, answer: Literal["deny", "allow"]) -> "Catalogue":
        """Return the catalogue with this answer to consent that nobody stated."""
        return self._changed(guardrails=self.guardrails.model_copy(update={"unknown_consent": answer}))

    def _changed(self, **fields: object) -> "Catalogue":
        # model_copy would carry the cached version along.
        return Catalogue.model_construct(
            **{**{name: getattr(self, name) for name in type(self).model_fields}, **fields}
        )


def parse_catalogue(text: str, source: str = "actions.yaml") -> Catalogue:
    """Return the catalogue that a YAML text describes.

    Raises
    ------
    CatalogueError
        One line a problem: ``<source>:<line>: <field>: <what is wrong>``.
    """
    try:
        document, line_of = load_with_lines(text)
    except YamlProblem as problem:
        raise CatalogueError(f"{source}:{problem.line}: {problem}") from problem
    try:
        return Catalogue.model_validate(document)
    except ValidationError as error:
        problems = []
        for item in error.errors(include_url=False):
            cause = item.get("ctx", {}).get("error")
            place = item["loc"] + (cause.location if isinstance(cause, Misplaced) else ())
            problems.append(f"{source}:{line_of(place)}: {_field(place)}: {item['msg'].removeprefix('Value error, ')}")
        raise CatalogueError("\n".join(problems)) from error


def load_catalogue(path: Path) -> Catalogue:
    """Return the catalogue in a file.

    Raises
    ------
    CatalogueError
        The file cannot be read, or what `parse_catalogue` says.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CatalogueError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    return parse_catalogue(text, str(path))


def shipped_catalogue_file() -> Path:
    """Return where the shipped catalogue is: inside the installed package, or in the source tree."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_data" / "actions.yaml"
    return installed if installed.exists() else package.parent / "deploy" / "actions.yaml"


def load_shipped_catalogue() -> Catalogue:
    """Return the catalogue that comes with stream-app; every action of it is in shadow mode."""
    return load_catalogue(shipped_catalogue_file())


def _field(location: tuple[int | str, ...]) -> str:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return path.removeprefix(".") or "catalogue"
