"""`stream-app policy`: check an action catalogue, compare two, judge and learn policies, measure lift and fairness."""

import gc
import json
from pathlib import Path
from typing import Annotated

import msgspec
import typer
from rich.table import Table

from stream_app.adapters.assembly import engine_of
from stream_app.adapters.event_files import merge_by_event_time
from stream_app.adapters.model_registry import ModelRefusedError
from stream_app.cli import policy_duel, policy_history, policy_prove
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.cli.files import open_files, progress_over
from stream_app.cli.policy_history import Method, method_of
from stream_app.cli.registry import registry_on_topic
from stream_app.cli.report import Log, console, matured, report
from stream_app.core.effects import Output, TrainingExample
from stream_app.core.outputs import TIERS, DecisionOutcome, Intervention, SuppressedIntervention
from stream_app.decisions.catalogue import Catalogue, CatalogueError, load_catalogue, load_shipped_catalogue
from stream_app.decisions.courses import Course
from stream_app.decisions.difference import DecisionLog, PolicyDifference, difference
from stream_app.decisions.fairness import FairnessBook
from stream_app.decisions.offpolicy import Estimate, UnsupportedPolicyError, evaluate
from stream_app.decisions.policy import PolicyError, PolicySnapshot, choose_by, load_policy, prior_snapshot
from stream_app.engine.replay import OutputSink, Replay, SourceRecord
from stream_app.settings import Settings, load_settings
from stream_app.worker.policy_pupil import LEARNERS

app = typer.Typer(no_args_is_help=True, help="Check, compare, judge and learn policies; measure their lift.")
app.command("lift")(report)
app.command("prove")(policy_prove.command)
app.command("duel")(policy_duel.command)
app.command("history")(policy_history.history)
app.command("pin")(policy_history.pin)
app.command("rollback")(policy_history.rollback)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CatalogueFile = Annotated[
    Path | None, typer.Option("--catalogue", help="Action catalogue; absent: the configured or the shipped one.")
]
MOST_CHANGES = 15


@app.command()
def check(
    file: Annotated[Path | None, typer.Argument(help="Catalogue; absent: the configured or the shipped one.")] = None,
) -> None:
    """Check an action catalogue; every mistake is told with its line and field."""
    catalogue = _catalogue(file, load_settings())
    table = Table("action", "kind", "channel", "mode", "tiers", "signals", "cost", box=None)
    for action in catalogue.actions:
        table.add_row(
            action.name,
            action.kind,
            action.channel,
            action.mode,
            "all" if set(action.tiers) == set(TIERS) else " ".join(action.tiers),
            " ".join(action.signals),
            f"{action.cost:g}",
        )
    console().print(table)
    print(f"fine: {len(catalogue.actions)} actions, catalogue version {catalogue.version}")


@app.command()
def diff(
    before: Annotated[Path, typer.Argument(help="One catalogue.")],
    after: Annotated[Path, typer.Argument(help="Another.")],
    files: Annotated[list[Path], typer.Argument(help="Event files, as for `replay`.")],
    as_json: AsJson = False,
) -> None:
    """Replay the same events under two catalogues and tell where decisions part. Scores are the prior's in both."""
    settings = load_settings().model_copy(update={"clock": "event"})
    found = difference(*(_decisions(_named(path, settings), files) for path in (before, after)))
    if as_json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
    else:
        _print_difference(found, before.name, after.name)


@app.command("evaluate")
def judge(
    policy: Annotated[Path, typer.Option(help="Policy in question: a learned one (JSON), or a catalogue (YAML).")],
    log: Log = None,
    catalogue: CatalogueFile = None,
    as_json: AsJson = False,
) -> None:
    """Estimate what another policy would have achieved on logged decisions (IPS, SNIPS, doubly robust).

    Judge a learned policy on another log than the one it was learned from: on its own log it looks better than it is.
    """
    settings = load_settings()
    known, snapshot = _policy(policy, _catalogue(catalogue, settings))
    actions = {action.name: action for action in known.actions if action.mode != "off"}

    def target(outcome: DecisionOutcome) -> dict[str, float]:
        allowed = [actions[name] for name in outcome.alternatives if name in actions]
        stake = outcome.value_at_stake * known.margin
        course = Course(outcome.course, outcome.last_action) if outcome.course else None
        return choose_by(allowed, outcome.context, stake, outcome.usual_order, snapshot, course).probabilities

    try:
        found = evaluate(list(matured(log, settings)), target, settings.holdout_share)
    except UnsupportedPolicyError as refused:
        raise CommandError(str(refused)) from refused
    except ValueError as failure:
        raise CommandError(str(failure)) from failure
    if as_json:
        print(json.dumps({"policy": snapshot.version, **msgspec.to_builtins(found)}, indent=2))
        return
    table = Table("mean reward of a decision", "estimate", "95 % interval", box=None)
    rows: tuple[tuple[str, Estimate], ...] = (
        ("as logged", found.logged),
        ("doubly robust", found.dr),
        ("self-normalised (SNIPS)", found.snips),
        ("inverse propensity (IPS)", found.ips),
        ("gain over the log (doubly robust)", found.gain_dr),
    )
    for name, estimate in rows:
        table.add_row(name, f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}")
    console().print(table)
    print(f"policy {snapshot.version}: {found.decisions:,} decisions of {found.customers:,} customers,", end=" ")
    print(f"worth {found.effective_size:,.0f} equally weighted ones; {found.unsupported:.1%} unsupported")


@app.command()
def learn(
    out: Annotated[Path, typer.Option(help="Where the learned policy goes (JSON).")],
    log: Log = None,
    catalogue: CatalogueFile = None,
    method: Annotated[
        Method, typer.Option(help="learned: a bandit; q_learning: over sequences of contacts, what follows counts too.")
    ] = Method.LEARNED,
) -> None:
    """Learn from matured decisions which action helps whom; the catalogue's uplifts are the prior."""
    settings = load_settings()
    learner = LEARNERS[method.name_of_policies](_catalogue(catalogue, settings))
    total = 0
    for outcome in matured(log, settings):
        total += 1
        learner.learn(outcome)
    if not learner.learned:
        raise CommandError(f"none of {total:,} matured decisions can be learned from (were any sent?)")
    snapshot = learner.snapshot()
    _write_policy(snapshot, out)
    print(f"learned from {learner.learned:,} of {total:,} matured decisions: {snapshot.version} in {out}")


@app.command()
def fetch(
    out: Annotated[Path, typer.Argument(help="Where the policy goes (JSON).")],
    version: Annotated[str, typer.Option(help="A named version (`policy history`); absent: what workers follow.")] = "",
) -> None:
    """Save a policy that the trainer published: to judge it, or to serve it from a file (STREAM_APP_POLICY_FILE)."""
    settings = load_settings()
    try:
        policies, key = registry_on_topic(settings).policies, settings.model_key.get_secret_value().encode()
        policy = policies.load(version, key) if version else policies.load_chosen(method_of(settings), key)
    except ModelRefusedError as error:
        raise CommandError(str(error)) from error
    if policy is None:
        raise CommandError("the trainer has published no policy yet: it learns from matured decisions")
    _write_policy(policy, out)
    print(f"{policy.version} in {out}")


@app.command()
def fairness(
    files: Annotated[list[Path], typer.Argument(help="Event files with profiles, as for `replay`.")],
    attribute: Annotated[str, typer.Option(help="Declared attribute of profiles (attributes.NAME).")],
    as_json: AsJson = False,
) -> None:
    """Replay events and compare how groups of customers are treated; exits 1 where a bound is passed beyond chance."""
    settings = load_settings().model_copy(update={"clock": "event"})
    book = FairnessBook(attribute)

    def sink(output: Output) -> None:
        if isinstance(output.body, Intervention):
            book.add_intervention(output.body.customer_id, output.body.cost)
        elif isinstance(output.body, TrainingExample):
            book.add_label(output.body.customer_id, output.body.probability, output.body.churned)

    declared = 0
    for customer_id, state in _replayed(settings, files, sink).store.items():
        group = dict(state.profile.attributes).get(attribute, "") if state.profile is not None else ""
        declared += bool(group)
        book.add_customer(customer_id, group)
    if not declared:
        raise CommandError(f"no profile declares the attribute {attribute!r}", ExitCode.USAGE)
    report = book.report()
    if as_json:
        print(json.dumps(msgspec.to_builtins(report), indent=2))
    else:
        table = Table(attribute, "customers", "contacted", "mean offer", "labelled", "score less label", box=None)
        for each in report.groups:
            offer = "" if each.offer_value is None else f"{each.offer_value:.2f}"
            bias = "" if each.score_bias is None else f"{each.score_bias:+.3f}"
            row = (each.group, f"{each.customers:,}", f"{each.contacted_share:.1%}", offer, f"{each.labelled:,}")
            table.add_row(*row, bias)
        console().print(table)
    if report.findings:
        raise CommandError("\n".join(report.findings))


def _write_policy(policy: PolicySnapshot, out: Path) -> None:
    out.write_bytes(msgspec.json.format(msgspec.json.encode(policy), indent=1) + b"\n")


def _catalogue(file: Path | None, settings: Settings) -> Catalogue:
    chosen = file or settings.catalogue_file
    try:
        return load_catalogue(chosen) if chosen is not None else load_shipped_catalogue()
    except CatalogueError as problems:
        raise CommandError(str(problems)) from problems


def _named(catalogue: Path, settings: Settings) -> Settings:
    _catalogue(catalogue, settings)
    return settings.model_copy(update={"catalogue_file": catalogue})


def _policy(file: Path, catalogue: Catalogue) -> tuple[Catalogue, PolicySnapshot]:
    if file.suffix in {".yaml", ".yml"}:
        other = _catalogue(file, load_settings())
        return other, prior_snapshot(other)
    try:
        return catalogue, load_policy(file)
    except PolicyError as failure:
        raise CommandError(str(failure), ExitCode.USAGE) from failure


def _decisions(settings: Settings, files: list[Path]) -> DecisionLog:
    log = DecisionLog()

    def sink(output: Output) -> None:
        if isinstance(output.body, Intervention | SuppressedIntervention):
            log.add(output.body)

    _replayed(settings, files, sink)
    return log


def _replayed(settings: Settings, files: list[Path], sink: OutputSink) -> Replay:
    opened = open_files(files, None, None)
    gc.disable()  # millions of long-lived objects without cycles
    try:
        replay = Replay(engine_of(settings, partitions=1), None, settings.decode_limits(), sink=sink)
        with progress_over(opened, "replaying") as show:
            events = merge_by_event_time(opened)
            replay.run((SourceRecord(e.topic, e.customer_id.encode("utf-8") or None, e.value) for e in events), show)
    finally:
        gc.enable()
    return replay


def _print_difference(found: PolicyDifference, before: str, after: str) -> None:
    print(f"{found.points:,} decisions of {found.customers:,} customers; {found.same_points:,} are the same,")
    print(f"{found.changed_customers:,} customers are treated differently at some point\n")
    counts = Table("", before, after, "change", box=None)
    for title, rows in (("", found.actions), ("no: ", found.reasons)):
        for name, (old, new) in rows.items():
            counts.add_row(f"{title}{name}", f"{old:,}", f"{new:,}", f"{new - old:+,}" if new != old else "")
    old_cost, new_cost = found.committed_cost
    counts.add_row("committed cost", f"{old_cost:,.2f}", f"{new_cost:,.2f}", f"{new_cost - old_cost:+,.2f}")
    page = console()
    page.print(counts)
    for change in found.changes[:MOST_CHANGES]:
        print(f"\n{change.customers:,} x  {change.before}  ->  {change.after}")
        print(f"    e.g. customer {change.example_customer} on {change.example_time[:16]}")
        for name, detail in ((before, change.example_before), (after, change.example_after)):
            if detail:
                print(f"      {name}: {detail}")
    if len(found.changes) > MOST_CHANGES:
        print(f"\n... and {len(found.changes) - MOST_CHANGES:,} rarer changes (--json shows all)")
