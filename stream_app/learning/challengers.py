"""Champion and challengers side by side: one learner, several models, one of which is served.

All models learn the same examples in the same order. What each would have said at T is compared once the label is
there (`shadow`), week by week (`weekly`); `promotion` says when that is enough. Everything is a function of the
examples and requests in their order, so a restart from a checkpoint repeats no decision and loses none.
"""

import logging
from collections.abc import Mapping, Sequence

import msgspec

from stream_app.core.effects import PopulationDay, TrainingExample
from stream_app.core.model_events import ModelEvent
from stream_app.core.times import DAY_MS
from stream_app.learning.halving import HalvingRule, Round, step
from stream_app.learning.learner import Learner, LearnerRefusedError, Matured
from stream_app.learning.population_keeper import Defer, when_asked
from stream_app.learning.promotion import PromotionRules, standings_of
from stream_app.learning.reign import Court, CourtSaved
from stream_app.learning.selection import SEGMENTS, segment_of, select
from stream_app.learning.shadow import Frozen, FrozenCopy, FrozenWeights, Panel, WeightHistory
from stream_app.learning.snapshot import Alternative, ModelSnapshot, with_version
from stream_app.learning.specs import create_spec, created, has_array_form
from stream_app.learning.weekly import WEEK_MS, Week, WeeklyLosses
from stream_app.learning.zoo.types import ModelState, OnlineModel

FORMAT = 1
RECENT_WEEKS = 13

logger = logging.getLogger(__name__)


class _Saved(msgspec.Struct):
    challenged: int
    learner: bytes
    models: dict[str, ModelState]
    learned: dict[str, int]
    court: CourtSaved
    bodies: list[bytes]
    """What was set aside; the history refers to it by place, since one state may stand for several days."""
    history: list[tuple[int, dict[str, int]]]
    panel: dict[int, int]
    panel_mask: int
    panel_begun_ms: int
    weeks: list[Week]
    open_week: Week | None
    selection: dict[str, str]
    frontier_ms: int
    copied: dict[str, int]
    population: Round = Round(())
    left: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    have_served: tuple[str, ...] = ()
    inputs: dict[str, tuple[str, ...]] = {}
    """What each model sees. A model that is missing was saved without it and saw what this version gives it."""


class ChallengedLearner:
    """A `Learner` whose model has challengers.

    Parameters
    ----------
    learner
        Learns the first champion; its model stays in the comparison whoever serves.
    challengers
        Fresh models by spec (`stream_app.learning.specs`); one of the spec of the learner's own model is left out.
    rules
        What a promotion takes.
    """

    def __init__(self, learner: Learner, challengers: Mapping[str, OnlineModel], rules: PromotionRules) -> None:
        self.learner = learner
        self.rules = rules
        self.base = learner.spec
        self.models: dict[str, OnlineModel] = {**challengers, self.base: learner.model}
        self.served = tuple(name for name, model in self.models.items() if has_array_form(model))
        """Those that workers can serve."""
        horizon_ms = learner.horizon_days * DAY_MS
        self.court = Court(self.base, learner.horizon_days)
        self.history = WeightHistory(horizon_ms)
        self.panel = Panel(horizon_ms)
        self.losses = WeeklyLosses(len(SEGMENTS))
        self.selection: dict[str, str] = {}
        self.population = Round(tuple(name for name in self.models if name != self.base))
        """The challengers that are halved, where the rules say so."""
        self.left: tuple[str, ...] = ()
        """Who left by that; never created again while it is in the configuration."""
        self.outside: tuple[str, ...] = ()
        """Who lost a round and stayed, since it serves, has served or waits for approval: halved no more."""
        self.have_served = {self.base}
        """All champions so far, those included whom a rollback took off."""
        self.learned = dict.fromkeys(self.models, 0) | {self.base: learner.trained_examples}
        self.frontier_ms = 0
        """The newest due time among the examples."""
        self._copied: dict[str, int] = {}
        """By model without array form, the week of its newest copy."""
        learner.on_matured = self._on_matured

    @property
    def champion(self) -> str:
        """Spec of the model that is served."""
        return self.court.champion

    @property
    def trained_examples(self) -> int:
        """Examples that moved the weights."""
        return self.learner.trained_examples

    def learn(self, examples: Sequence[TrainingExample]) -> int:
        """Learn a block of examples in order; return how many were new.

        The block is cut where an event-day ends: there weights are set aside, and weeks are closed.
        """
        new = 0
        piece: list[TrainingExample] = []
        for example in examples:
            due_ms = example.due_ms if example.horizon_days == self.learner.horizon_days else 0
            if due_ms // DAY_MS > self.frontier_ms // DAY_MS:
                new += self.learner.learn(piece)
                piece = []
                self._begin_day(due_ms)
            self.frontier_ms = max(self.frontier_ms, due_ms)
            piece.append(example)
        return new + self.learner.learn(piece)

    def observe_population(self, day: PopulationDay) -> bool:
        """Take in one partition's sums of one day; return False for a repeat."""
        return self.learner.observe_population(day)

    def take_event(self, event: ModelEvent) -> bool:
        """Answer a request, or follow what an earlier trainer decided; return whether anything was done."""
        before = self.champion
        done = self.court.take(event, self.served, self._week())
        if self.champion != before:
            self._champion_changed()
        return done

    def snapshot(self) -> ModelSnapshot:
        """Return the champion as it is now, with the models of segments where a bandit selects."""
        present = self.learner.snapshot(self.models[self.champion])
        alternatives = {name: _alternative(name, self.models[name]) for name in sorted(set(self.selection.values()))}
        return with_version(
            msgspec.structs.replace(
                present,
                version="",
                metrics={**present.metrics, **self._shadow_metrics()},
                alternatives=alternatives,
                selection=self.selection,
            )
        )

    def checkpoint(self) -> bytes:
        """Return everything that `restore` needs, as numbers (MessagePack)."""
        bodies: dict[bytes, int] = {}
        history = [
            (through, {name: bodies.setdefault(model.body, len(bodies)) for name, model in models.items()})
            for through, models in self.history.entries
        ]
        return msgspec.msgpack.encode(
            _Saved(
                challenged=FORMAT,
                learner=self.learner.checkpoint(),
                models={name: model.dump() for name, model in self.models.items() if name != self.base},
                learned=self.learned,
                court=self.court.save(),
                bodies=list(bodies),
                history=history,
                panel=self.panel.last,
                panel_mask=self.panel.mask,
                panel_begun_ms=self.panel.begun_ms,
                weeks=self.losses.closed,
                open_week=self.losses.open,
                selection=self.selection,
                frontier_ms=self.frontier_ms,
                copied=self._copied,
                population=self.population,
                left=self.left,
                outside=self.outside,
                have_served=tuple(sorted(self.have_served)),
                inputs={name: model.inputs.names for name, model in self.models.items() if name != self.base},
            )
        )

    @classmethod
    def restore(
        cls, data: bytes, challengers: Sequence[str], rules: PromotionRules, defer: Defer = when_asked
    ) -> "ChallengedLearner":
        """Return the learner that `checkpoint` saved, or one around the checkpoint of a plain `Learner`.

        Challengers that are new in the configuration, or whose state this version cannot read, begin with nothing
        learned; the others keep the inputs that they had. Those that left the configuration are forgotten,
        except a champion, which serves until another one does.

        Raises
        ------
        LearnerRefusedError
            When it cannot go on from there; the message says why and what to do.
        """
        try:
            saved = msgspec.msgpack.decode(data, type=_Saved)
        except msgspec.ValidationError:
            return cls(Learner.restore(data, defer), created(challengers), rules)
        except msgspec.DecodeError as error:
            raise LearnerRefusedError(
                f"not a learner's checkpoint: {error}; move the file away to start anew"
            ) from error
        if saved.challenged != FORMAT:
            raise LearnerRefusedError(f"checkpoint format {saved.challenged}, this version reads {FORMAT}: upgrade")
        champion = saved.court.reigns[-1].champion
        learner = Learner.restore(saved.learner, defer)
        kept = [champion] if champion != learner.spec else []
        wanted = [spec for spec in challengers if spec not in saved.left or not rules.halving_weeks]
        models = created([*kept, *wanted])
        begun_anew = {name for name in saved.models if name in models and name != learner.spec}
        for name in tuple(begun_anew):
            restored = _restored(name, saved.models[name], saved.inputs.get(name), serves=name == champion)
            if restored is not None:
                models[name] = restored
                begun_anew.remove(name)
        result = cls(learner, models, rules)
        if rules.halving_weeks:
            result.left = tuple(spec for spec in saved.left if spec in challengers)
            # Who lost and was kept is not to join again: a restart would change who is halved.
            result.outside = tuple(name for name in saved.outside if name in result.models)
            halved = [name for name in result.population.alive if name not in result.outside]
            result.population = saved.population.joined(halved)
        for name in saved.models:
            if name in result.models and name not in begun_anew:
                result.learned[name] = saved.learned.get(name, 0)
        result.learned[result.base] = saved.learned.get(result.base, 0)
        result.court.load(saved.court)
        result.have_served = {result.base, *saved.have_served, *(reign.champion for reign in saved.court.reigns)}
        result.history.entries = [
            (
                through,
                {
                    name: result._thawed(name, saved.bodies[place])
                    for name, place in models.items()
                    if name in result.models and name not in begun_anew
                },
            )
            for through, models in saved.history
        ]
        panel = result.panel
        panel.last, panel.mask, panel.begun_ms = saved.panel, saved.panel_mask, saved.panel_begun_ms
        result.losses.closed, result.losses.open = saved.weeks, saved.open_week
        result.selection = {
            segment: name for segment, name in saved.selection.items() if name in result.models and rules.by_segment
        }
        result.frontier_ms, result._copied = saved.frontier_ms, saved.copied
        return result

    def _thawed(self, name: str, body: bytes) -> Frozen:
        if name not in self.served:
            return FrozenCopy(create_spec(name, self.models[name].inputs.names), body)
        model = self.models[name]
        learned = model.export()
        return FrozenWeights(model.inputs, body, learned.offset, learned.form)

    def _begin_day(self, due_ms: int) -> None:
        """Set weights aside before the first example of a new day is learned, and close a week that is over."""
        if len(self.models) == 1:
            return
        frozen = {name: self._frozen(name, model) for name, model in self.models.items() if self._may_judge(name)}
        if frozen:
            self.history.set_aside(self.frontier_ms, frozen)
            self.court.meet(frozen, self._week())
        if self.losses.close_before(due_ms // WEEK_MS):
            self._review()

    def _may_judge(self, name: str) -> bool:
        return self.learned[name] >= self.rules.warm_up_examples

    def _frozen(self, name: str, model: OnlineModel) -> Frozen:
        if name in self.served:
            return FrozenWeights.of(model.inputs, model.export())
        # A whole copy is large: once a week has to do, which can only be to such a model's disadvantage.
        last = self.history.newest(name)
        if last is not None and self._copied.get(name) == self._week():
            return last
        self._copied[name] = self._week()
        return FrozenCopy(create_spec(name, model.inputs.names), FrozenCopy.body_of(model))

    def _on_matured(self, block: Matured) -> None:
        self._compare(block)
        for name, model in self.models.items():
            if name != self.base:
                model.learn(block.rows, block.churned, block.importance)
            self.learned[name] += len(block.examples)

    def _compare(self, block: Matured) -> None:
        """Count what the models had said at T, for those examples that enter."""
        if len(self.models) == 1:
            return
        entered: dict[int, list[int]] = {}
        for place, example in enumerate(block.examples):
            entry = self.history.at(example.at_ms)
            if entry < 0 or not self.panel.admits(example.customer_id, example.at_ms, self.frontier_ms):
                continue
            entered.setdefault(entry, []).append(place)
        segments = segment_of(block.rows)
        said: dict[int, dict[str, float]] = {}
        for entry, places in entered.items():
            frozen = self.history.entries[entry][1]
            for name, model in frozen.items():
                for place, probability in zip(places, model.probability(block.rows[places]).tolist(), strict=True):
                    said.setdefault(place, {})[name] = probability
        for place in sorted(said):
            self.losses.add(
                self._week(),
                int(segments[place]),
                float(block.importance[place]),
                bool(block.churned[place]),
                said[place],
            )

    def _review(self) -> None:
        """Look at all comparisons; promote, propose or leave it."""
        weeks, met = self.losses.closed, self.court.met
        # Those who left by halving were looked at, too: leaving does not make it easier for the others.
        everyone = len(self.models) - 1 + len(self.left)
        everybody = standings_of(weeks, self.champion, met, self.rules, everyone, self.court.spent)
        standings = [each for each in everybody if each[0].challenger in self.models]
        if self.rules.by_segment:
            judged = [name for name in self.served if name in met]
            self.selection = select(weeks, self.champion, judged, f"h{self.learner.horizon_days}")
        if self.court.review(standings, self.rules, self.served, self.selection, self.frontier_ms):
            self._champion_changed()
        elif self.rules.halving_weeks:
            self._halve()

    def _halve(self) -> None:
        """Let the worse half of the challengers go when a round of weeks is over.

        Who has ever served, serves a segment or waits for a person's approval stays.
        """
        found = step(self.population, self.losses.closed, HalvingRule(self.rules.halving_weeks))
        self.population = found.round
        kept = self.have_served | {self.court.proposal} | set(self.selection.values())
        for name in found.left:
            if name in kept:
                self.outside += (name,)
                continue
            self.left += (name,)
            del self.models[name], self.learned[name]
            self._copied.pop(name, None)
            self.history.entries = [
                (through, {other: model for other, model in models.items() if other != name})
                for through, models in self.history.entries
            ]
        self.served = tuple(name for name in self.served if name in self.models)

    def _champion_changed(self) -> None:
        """Begin all comparisons anew: against another champion, nothing is known yet."""
        self.have_served.add(self.champion)
        self.selection = {}
        self.court.meet([name for name in self.models if self._may_judge(name)], self.losses.open_from(self._week()))

    def _week(self) -> int:
        return self.frontier_ms // WEEK_MS

    def _shadow_metrics(self) -> Mapping[str, float]:
        """Return each model's mean loss over the recent weeks that all of its labels were judged in."""
        found: dict[str, float] = {}
        for name in self.models:
            losses = [loss for week in self.losses.closed[-RECENT_WEEKS:] if (loss := week.loss(name)) is not None]
            if losses:
                found[f"shadow_log_loss_{name}"] = sum(losses) / len(losses)
        return found


def _restored(name: str, state: ModelState, inputs: tuple[str, ...] | None, *, serves: bool) -> OnlineModel | None:
    """Return a model as it was saved, with the inputs that it had; None for a challenger that cannot be read.

    Raises
    ------
    LearnerRefusedError
        When it cannot be read and serves: a model that knows nothing must not take its place unnoticed.
    """
    try:
        model = create_spec(name, inputs)
        if inputs is not None and model.inputs.names != inputs:
            raise ValueError("it learned with other inputs than this version gives it")  # noqa: TRY301 - one way out
        model.load(state)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        if serves:
            raise LearnerRefusedError(
                f"the champion {name!r} cannot be read from the checkpoint: {error}; run the version that wrote it and "
                "roll back with 'stream-app champion rollback', or move the checkpoint away to learn anew"
            ) from error
        logger.warning("challenger %s begins anew: its state in the checkpoint cannot be read: %s", name, error)
        return None
    return model


def _alternative(name: str, model: OnlineModel) -> Alternative:
    # A covariance is most of a snapshot's bytes, and several would not fit into a record.
    learned = msgspec.structs.replace(model.export(), covariance=())
    return Alternative(model=name, inputs=model.inputs.names, learned=learned)
