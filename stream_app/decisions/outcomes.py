"""What came of a draw: noted when it is made, told once when its attribution window has passed.

The outcome is the difference of the customer's totals at both ends, so nothing has to be kept up in between, and every
draw has one: of the holdout, of "nothing", and of what limits stopped. A draw that was taken and not sent is no reason
to leave a customer out, or lift would compare the reachable with all.

A draw of care falls into the window of another. Orders count for both, as each window is a comparison of its own; what
became of messages counts for the newer message from the draw on that led to it, and a redemption for what gave
something away. What the newer one cost within the older window is told besides: that window's orders are its work too.
"""

from collections.abc import Mapping

from stream_app.core.compact import singles
from stream_app.core.facts import Facts
from stream_app.core.hashing import stable_id
from stream_app.core.ledger import Ledger, OpenDraw
from stream_app.core.outputs import TIERS, Arm, DecisionOutcome
from stream_app.core.times import DAY_MS, from_ms
from stream_app.decisions.catalogue import Action, Catalogue, Experiment
from stream_app.decisions.courses import Course, course_of
from stream_app.decisions.policy import EPOCH_DAYS, Choice, circumstances_of, context_from, incentive_of
from stream_app.decisions.telling import Versions
from stream_app.decisions.types import NOTHING, DecisionPoint

WINDOW_MS = EPOCH_DAYS * DAY_MS
MAX_OPEN = 3
"""Windows do not overlap, but for one of care within another; where nobody asks for outcomes, the oldest draws are
dropped."""
_HALF_LIFE_MS = 30 * DAY_MS
_ONE_REDEMPTION = 0.5
"""A redemption at the start of the window has faded to 0.72 at its end; none leaves 0."""


def open_draw(
    point: DecisionPoint,
    ledger: Ledger,
    action: Action | None,
    choice: Choice,
    versions: Versions,
    *,
    experiments: Mapping[Experiment, str],
    course: Course,
    is_care: bool = False,
) -> None:
    """Note a draw that was just made.

    Parameters
    ----------
    point, ledger
        Where, and of whom.
    action
        What was drawn; None for doing nothing.
    choice
        From what.
    versions
        Of policy and catalogue.
    experiments
        Those that the customer enters with it, and its arm of each.
    course
        Where the customer stood.
    is_care
        Drawn because of a complaint, within the window of another draw.
    """
    facts = point.facts
    ledger.open_draws.append(
        OpenDraw(
            at_ms=point.now_ms,
            number=ledger.draws,
            act_number=ledger.act_draws if action is not None else -1,
            action=action.name if action is not None else NOTHING,
            cost=action.cost if action is not None else 0.0,
            incentive=incentive_of(action, facts.mean_amount) if action is not None else 0.0,
            alternatives=choice.probabilities,
            tier=point.tier,
            circumstances=singles(circumstances_of(point)),
            probability=point.probability,
            value_at_stake=facts.value_at_stake(point.now_ms),
            usual_order=facts.mean_amount,
            orders=facts.orders,
            total_amount=facts.total_amount,
            redeemed_30d=facts.redeemed_30d,
            redeemed_at_ms=facts.redeemed_at_ms,
            policy_version=versions.policy,
            catalogue_version=versions.catalogue,
            experiments={experiment.name: arm for experiment, arm in experiments.items()},
            experiment_shares={experiment.name: experiment.shares for experiment in experiments},
            is_care=is_care,
            opened=facts.opened,
            clicked=facts.clicked,
            responded=facts.responded,
            course=singles(course.columns),
            last_action=course.last_action,
        )
    )
    ledger.draws += 1
    ledger.act_draws += action is not None
    del ledger.open_draws[:-MAX_OPEN]


def outcome_due_ms(ledger: Ledger) -> int:
    """Return when the next draw has its outcome, 0 for none."""
    return ledger.oldest_draw_ms + WINDOW_MS if ledger.oldest_draw_ms else 0


def mature_draws(
    customer_id: str, ledger: Ledger, facts: Facts, at_ms: int, arm: Arm, catalogue: Catalogue
) -> list[DecisionOutcome]:
    """Return the outcomes that are due by `at_ms`, given the customer's facts then, and forget their draws."""
    outcomes = []
    while ledger.open_draws and ledger.open_draws[0].at_ms + WINDOW_MS <= at_ms:
        draw = ledger.open_draws.pop(0)
        outcomes.append(_outcome(customer_id, draw, ledger, facts, at_ms, arm, catalogue))
    return outcomes


def _outcome(
    customer_id: str, draw: OpenDraw, ledger: Ledger, facts: Facts, at_ms: int, arm: Arm, catalogue: Catalogue
) -> DecisionOutcome:
    # By its number, not by its action: a draw of care may be of the same action, in the window of another.
    sent = any(contact.draw == draw.number and contact.at_ms < draw.at_ms + WINDOW_MS for contact in ledger.contacts)
    later = _sent_later(draw, ledger)
    redeemed = sent and draw.incentive > 0 and _redeemed(draw, next((one for one in later if one.incentive > 0), facts))
    until = later[0] if later else facts
    unsubscribed = facts.unsubscribed_ms >= draw.at_ms
    complained = facts.message_complaint_ms >= draw.at_ms
    revenue = facts.total_amount - draw.total_amount
    cost = (draw.cost if sent else 0.0) + (draw.incentive if redeemed else 0.0)
    penalties = catalogue.unsubscribe_penalty * unsubscribed + catalogue.complaint_penalty * complained
    return DecisionOutcome(
        outcome_id=stable_id("out", customer_id, draw.at_ms, draw.number),
        customer_id=customer_id,
        drawn_at=from_ms(draw.at_ms),
        matured_at=from_ms(at_ms),
        number=draw.number,
        act_number=draw.act_number,
        arm=arm,
        action=draw.action,
        propensity=draw.alternatives[draw.action],
        alternatives=draw.alternatives,
        context=context_from(draw.tier, draw.circumstances),
        tier=TIERS[draw.tier],
        probability=draw.probability,
        value_at_stake=round(draw.value_at_stake, 4),
        usual_order=round(draw.usual_order, 4),
        sent=sent,
        orders=facts.orders - draw.orders,
        revenue=round(revenue, 4),
        redeemed=redeemed,
        opened=sent and until.opened > draw.opened,
        clicked=sent and until.clicked > draw.clicked,
        responded=sent and until.responded > draw.responded,
        unsubscribed=unsubscribed,
        complained=complained,
        cost=round(cost, 4),
        reward=round(catalogue.margin * revenue - cost - penalties, 4),
        policy_version=draw.policy_version,
        catalogue_version=draw.catalogue_version,
        experiments=draw.experiments,
        experiment_shares=draw.experiment_shares,
        is_care=draw.is_care,
        course=draw.course,
        course_after=course_of(facts, ledger, at_ms, catalogue.incentives).columns,
        last_action=draw.last_action,
        offer=round(draw.cost + draw.incentive, 4),
        cost_besides=round(sum(one.cost + one.incentive * _redeemed(one, facts) for one in later), 4),
    )


def _sent_later(draw: OpenDraw, ledger: Ledger) -> list[OpenDraw]:
    """Return the later draws of which a message was sent within the window of a draw, oldest first."""
    sent = {contact.draw for contact in ledger.contacts if contact.at_ms < draw.at_ms + WINDOW_MS}
    return [later for later in ledger.open_draws if later.number > draw.number and later.number in sent]


def _redeemed(draw: OpenDraw, until: Facts | OpenDraw) -> bool:
    """Tell from the decayed counts whether a redemption came in between a draw and a later moment."""
    fade = 2.0 ** (-max(0, until.redeemed_at_ms - draw.redeemed_at_ms) / _HALF_LIFE_MS) if draw.redeemed_at_ms else 0.0
    return until.redeemed_30d - draw.redeemed_30d * fade > _ONE_REDEMPTION
