"""Decisions in mode `approve`: kept with the customer until a person answers, then sent by the engine itself.

What is approved passes the guardrails again that a customer's own word can have closed since (consent, unsubscription,
complaint), and quiet hours. It counts as a contact at the time at which it is sent; its place in caps and budget was
taken when it was proposed.
"""

from collections.abc import Iterable

import msgspec

from stream_app.core.ledger import Contact, Ledger, Proposal
from stream_app.core.outputs import Intervention
from stream_app.core.times import from_ms, to_ms
from stream_app.decisions.catalogue import Action
from stream_app.decisions.guardrails import GUARDS, Situation
from stream_app.decisions.outcomes import WINDOW_MS

ASKED_AGAIN = frozenset({"profiling", "consent", "unsubscribed", "message_complaint", "quiet_hours"})
"""Guardrails that an approved proposal must pass once more."""
PASSING = frozenset({"quiet_hours", "kill_switch"})
"""Obstacles that end by themselves or by us: what is approved waits for that. At any other it is dropped."""
MAX_WAITING = 3
"""Proposals kept of one customer; a new one more drops the oldest, which then cannot be approved any more."""
UNNAMED = "somebody"
"""Who approved where the approval does not say."""


def latest_answer_ms(action: Action, drawn_ms: int) -> int | None:
    """Return until when an action of a draw may wait for a person; None for one that waits for nobody.

    That is the end of the draw's attribution window: a contact after it would belong to no outcome.
    """
    return drawn_ms + WINDOW_MS if action.mode == "approve" else None


def propose(ledger: Ledger, intervention: Intervention, stay_probability: float, draw: int) -> None:
    """Keep what draw number `draw` led to until it is answered or expires."""
    waiting = Proposal(
        intervention_id=intervention.intervention_id,
        action=intervention.action,
        proposed_ms=to_ms(intervention.decided_at),
        expires_ms=to_ms(intervention.expires_at),
        stay_probability=stay_probability,
        body=intervention.model_dump_json().encode("utf-8"),
        draw=draw,
    )
    ledger.proposals = [*ledger.proposals, waiting][-MAX_WAITING:]


def note_approval(ledger: Ledger, intervention_id: str, by: str) -> bool:
    """Note that a person approved; return False where nothing of that id waits, or it was approved before."""
    for position, waiting in enumerate(ledger.proposals):
        if waiting.intervention_id == intervention_id and not waiting.approved_by:
            ledger.proposals[position] = msgspec.structs.replace(waiting, approved_by=by or UNNAMED)
            return True
    return False


def forget_expired(ledger: Ledger, now_ms: int) -> list[Proposal]:
    """Drop the proposals that have expired, and return them."""
    expired = [waiting for waiting in ledger.proposals if now_ms >= waiting.expires_ms]
    if expired:
        ledger.proposals = [waiting for waiting in ledger.proposals if now_ms < waiting.expires_ms]
    return expired


def say_waiting(proposal: Intervention) -> str:
    """Return the sentence that tells for what and until when a person is asked."""
    return f"{proposal.action} waits for a person's approval until {proposal.expires_at:%Y-%m-%d %H:%M} UTC."


def say_dropped(dropped: Iterable[Proposal], why: str) -> str:
    """Return the sentence that tells who relies on them that approved proposals are not sent."""
    return " ".join(f"{each.action} was approved by {each.approved_by} and is not sent: {why}" for each in dropped)


def objection_to(action: Action, situation: Situation) -> tuple[str, str] | None:
    """Return what forbids to send an approved action now (code and sentence), None if nothing does."""
    for code, guard in GUARDS:
        if code in ASKED_AGAIN:
            sentence = guard(action, situation)
            if sentence is not None:
                return code, sentence
    return None


def take_approved(ledger: Ledger, waiting: Proposal, channel: str, now_ms: int) -> Intervention:
    """Return what was approved, as it is sent now, and enter it in the ledger as the contact that it becomes."""
    ledger.proposals.remove(waiting)
    reserved = Contact(waiting.proposed_ms, waiting.action, channel, waiting.draw)
    ledger.would_be[:] = [contact for contact in ledger.would_be if contact != reserved]
    ledger.contacts.append(Contact(now_ms, waiting.action, channel, waiting.draw))
    intervention = Intervention.model_validate_json(waiting.body)
    return intervention.model_copy(update={"approved_by": waiting.approved_by, "approved_at": from_ms(now_ms)})
