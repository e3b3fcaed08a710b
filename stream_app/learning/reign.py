"""Who serves, since when, and who asks for a change: the state of the succession and its events."""

from collections.abc import Collection, Container, Iterable, Sequence

import msgspec

from stream_app.core.hashing import stable_id
from stream_app.core.model_events import EventKind, ModelEvent, Standing
from stream_app.core.times import from_ms, to_ms
from stream_app.learning.paired import Bounds
from stream_app.learning.promotion import PromotionRules, seasons_until, winner

EVIDENCE = "evidence"
_KEPT_REQUESTS = 1_000


class Reign(msgspec.Struct, array_like=True):
    """One champion's time."""

    champion: str
    since_ms: int
    by: str


class CourtSaved(msgspec.Struct):
    """A `Court` as plain values."""

    reigns: list[Reign]
    met: dict[str, int]
    proposal: str
    number: int
    handled: list[str]
    changes: list[str]
    unsent: list[bytes]
    spent: dict[str, int] = {}


class Court:
    """Champions past and present, who may succeed, and what has to be told of it.

    Parameters
    ----------
    champion
        The first one.
    horizon_days
        For the events.
    """

    def __init__(self, champion: str, horizon_days: int) -> None:
        self._horizon_days = horizon_days
        self.reigns = [Reign(champion, 0, "configuration")]
        """The present champion last; a rollback takes the last one off."""
        self.met: dict[str, int] = {}
        """By challenger, the week in which its comparison with this champion began."""
        self.spent: dict[str, int] = {}
        """By challenger that was declined, how many seasons (see `promotion`) it was judged in against this champion.

        They have used up their shares of the error rate, which is for the champion's whole reign."""
        self.proposal = ""
        """The challenger that waits for a person's approval."""
        self.unsent: list[ModelEvent] = []
        """Events to be published; the caller takes them off once that is certain."""
        self._number = 0
        self._handled: list[str] = []
        self._changes: list[str] = []

    @property
    def champion(self) -> str:
        """Who serves."""
        return self.reigns[-1].champion

    @property
    def former(self) -> str:
        """Whom a rollback brings back; empty if nobody."""
        return self.reigns[-2].champion if len(self.reigns) > 1 else ""

    def meet(self, names: Iterable[str], week: int) -> None:
        """Note challengers that are compared from now on."""
        for name in names:
            if name != self.champion:
                self.met.setdefault(name, week)

    def review(
        self,
        standings: Sequence[tuple[Standing, Bounds]],
        rules: PromotionRules,
        served: Container[str],
        selection: dict[str, str],
        at_ms: int,
    ) -> bool:
        """Tell how things stand and act on it; return whether the champion changed."""
        told = tuple(standing for standing, _ in standings)
        self._tell("reviewed", at_ms, EVIDENCE, standings=told, selection=selection)
        best = winner(standings, rules, served) if rules.mode != "off" else None
        if best is None:
            return False
        reason = _reason(best)
        if rules.mode == "auto":
            self._enthrone(best.challenger, at_ms, EVIDENCE, reason, standings=told)
            return True
        if self.proposal != best.challenger:
            self.proposal = best.challenger
            self._tell("proposed", at_ms, EVIDENCE, challenger=best.challenger, reason=reason, standings=told)
        return False

    def take(self, event: ModelEvent, served: Collection[str], week: int) -> bool:
        """Answer a request, once; follow a change that an earlier trainer made. Return whether anything was done.

        Parameters
        ----------
        event
            From the log; others than requests and changes are passed over.
        served
            Models that may serve.
        week
            Present event week, from which a declined challenger is compared anew.
        """
        if event.horizon_days != self._horizon_days:
            return False
        if event.kind in {"promoted", "rolled_back"}:
            return self._follow(event, served)
        if event.kind != "requested" or event.event_id in self._handled:
            return False
        self._handled = [*self._handled, event.event_id][-_KEPT_REQUESTS:]
        at_ms = to_ms(event.at)
        wanted = {"approve": self.proposal, "decline": self.proposal, "rollback": self.former}.get(
            event.wish or "", event.challenger
        )
        obstacle = self._obstacle(event, wanted, served)
        if obstacle:
            self._tell("refused", at_ms, event.by, challenger=wanted, reason=obstacle, answers=event.event_id)
        elif event.wish == "decline":
            self.proposal = ""
            self.spent[wanted] = self.spent.get(wanted, 0) + seasons_until(self.met.get(wanted, week), week)
            self.met[wanted] = week
            reason = event.reason or "declined; its comparison begins anew"
            self._tell("declined", at_ms, event.by, challenger=wanted, reason=reason, answers=event.event_id)
        else:
            self._enthrone(wanted, at_ms, event.by, event.reason, answers=event.event_id)
        return True

    def save(self) -> CourtSaved:
        """Return everything, for a checkpoint; the inverse is `load`."""
        return CourtSaved(
            reigns=self.reigns,
            met=self.met,
            proposal=self.proposal,
            number=self._number,
            handled=self._handled,
            changes=self._changes,
            spent=self.spent,
            unsent=[event.model_dump_json().encode() for event in self.unsent],
        )

    def load(self, saved: CourtSaved) -> None:
        """Take over what `save` returned."""
        self.reigns, self.met, self.proposal = saved.reigns, saved.met, saved.proposal
        self.spent = saved.spent
        self._number, self._handled, self._changes = saved.number, saved.handled, saved.changes
        self.unsent = [ModelEvent.model_validate_json(body) for body in saved.unsent]

    def _obstacle(self, event: ModelEvent, wanted: str, served: Collection[str]) -> str:
        """Return why a request cannot be fulfilled; empty if it can."""
        if not wanted:
            missing = {"approve": "no promotion is proposed", "decline": "no promotion is proposed"}
            return missing.get(event.wish or "", "there is no former champion to go back to")
        if event.wish in {"approve", "decline"} and event.challenger not in {"", wanted}:
            return f"{wanted} is proposed, not {event.challenger}"
        if wanted == self.champion:
            return f"{wanted} serves already"
        if wanted not in served:
            return f"{wanted} cannot serve: choose one of {', '.join(served)}"
        return ""

    def _follow(self, event: ModelEvent, served: Collection[str]) -> bool:
        """Take over a change that is in the log and not in this memory: a trainer whose checkpoint was lost made it."""
        if event.event_id in self._changes:
            return False
        self._changes.append(event.event_id)
        if event.champion == self.champion or event.champion not in served:
            return False
        self._succeed(event.champion, to_ms(event.at), event.by)
        return True

    def _enthrone(
        self,
        name: str,
        at_ms: int,
        by: str,
        reason: str,
        *,
        answers: str = "",
        standings: tuple[Standing, ...] = (),
    ) -> None:
        former = self.champion
        kind: EventKind = "rolled_back" if name == self.former else "promoted"
        self._succeed(name, at_ms, by)
        event = self._tell(
            kind, at_ms, by, former=former, challenger=name, reason=reason, answers=answers, standings=standings
        )
        self._changes.append(event.event_id)

    def _succeed(self, name: str, at_ms: int, by: str) -> None:
        if name == self.former:
            self.reigns.pop()
        else:
            self.reigns.append(Reign(name, at_ms, by))
        self.met, self.spent, self.proposal = {}, {}, ""

    def _tell(
        self,
        kind: EventKind,
        at_ms: int,
        by: str,
        *,
        former: str = "",
        challenger: str = "",
        reason: str = "",
        answers: str = "",
        standings: tuple[Standing, ...] = (),
        selection: dict[str, str] | None = None,
    ) -> ModelEvent:
        self._number += 1
        event = ModelEvent(
            event_id=stable_id("mev", self._horizon_days, self._number, kind, self.champion, challenger, at_ms),
            kind=kind,
            horizon_days=self._horizon_days,
            at=from_ms(at_ms),
            by=by,
            champion=self.champion,
            former=former,
            challenger=challenger,
            reason=reason,
            answers=answers,
            standings=standings,
            selection=selection or {},
        )
        self.unsent.append(event)
        return event


def _reason(best: Standing) -> str:
    assert best.difference is not None, "who wins has been compared"
    assert best.low is not None, "who wins has a lower bound"
    return (
        f"{best.challenger} lost {best.difference:.4f} nats a label less over {best.weeks} weeks and "
        f"{best.examples:,} labels, at least {best.low:.4f} (error rate {best.error_rate:.4f})"
    )
