"""What a decision looks at, and what was drawn: the steps between a point and its decision hand these on."""

from collections.abc import Mapping
from typing import NamedTuple

from stream_app.core.ledger import Ledger
from stream_app.decisions.catalogue import Action, Signal
from stream_app.decisions.guardrails import Situation
from stream_app.decisions.signals import MEDIUM, URGENT


class Drawn(NamedTuple):
    """What was drawn, at this point or at an earlier one of the epoch."""

    action: Action
    alternatives: Mapping[str, float]
    number: int
    stay: float = 1.0
    """Probability with which this draw would have left the customer uncontacted, by what is sent at once."""
    stay_if_approved: float = 1.0
    """The same, had everything drawn been approved."""
    is_new: bool = True
    is_care: bool = False


class Seen(NamedTuple):
    """What a decision point looks like."""

    signals: frozenset[Signal]
    candidates: list[Action]
    situation: Situation

    @property
    def is_urgent(self) -> bool:
        """Whether a "no" is worth telling."""
        return self.situation.point.tier >= MEDIUM or not URGENT.isdisjoint(self.signals)


def close_draw(ledger: Ledger, drawn: Drawn) -> None:
    """Note that the epoch's draw was carried out; care beside it leaves it as it is."""
    if not drawn.is_care:
        ledger.drawn_open = False
        ledger.drawn_alternatives = {}
