"""`stream-app report`: what interventions achieved against the holdout and in experiments, and for which groups."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from math import isinf
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from stream_app.adapters.assembly import fairness_watch_of
from stream_app.adapters.outcome_logs import OutcomeLogError, labels_on_topic, outcomes_in_file, outcomes_on_topic
from stream_app.adapters.topic_reading import TopicMissingError
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.core.outputs import DecisionOutcome
from stream_app.core.times import iso
from stream_app.decisions.fairness_report import FairnessWatchReport
from stream_app.decisions.fairness_report import to_document as fairness_document
from stream_app.decisions.lift import RATES, LiftBook
from stream_app.decisions.lift_report import LiftReport, Ratio, SliceLift, to_document
from stream_app.decisions.sequences import Interval
from stream_app.settings import Settings, load_settings

Log = Annotated[
    Path | None,
    typer.Argument(help="Matured decisions: what `replay --out` wrote (.gz too); absent: the decision-outcomes topic."),
]
WIDE = 160


def report(
    log: Log = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    r"""Compare contacted customers with the holdout, and the arms of experiments; exits 1 where arms are lopsided.

    With STREAM_APP_FAIRNESS_ATTRIBUTES, groups of customers are compared as well; exits 1 where a bound is certainly
    passed. A file tells of offers alone: contacts and errors are on the topic of labels.

    \b
    Examples:
      stream-app report
      stream-app report outcomes.jsonl.gz --json
    """
    settings = load_settings()
    book = LiftBook(settings.holdout_share)
    watch = fairness_watch_of(settings)
    for outcome in matured(log, settings):
        book.add(outcome)
        watch.add_outcome(outcome)
    if log is None and settings.fairness_attributes:
        with _explained():
            labels_on_topic(settings, watch.add_example)
    found, groups = book.report(), watch.report()
    if as_json:
        through = iso(found.newest_ms) if found.newest_ms else None
        fairness = fairness_document(groups) if groups.attributes else None
        print(json.dumps({"through": through, **to_document(found), "fairness": fairness}, indent=2))
    else:
        _print(found)
        _print_groups(groups)
    complaints = [*groups.findings]
    broken = [check for check in found.ratios if check.alarm]
    if broken:
        named = ", ".join(f"{check.name} (p = {check.p_value:.2g})" for check in broken)
        complaints.append(
            f"arms are not filled as configured: {named}. Do not trust the comparison; look for customers lost in one"
            " arm, or for a holdout share, salt or experiment that was changed"
        )
    if complaints:
        raise CommandError("\n".join(complaints))


def matured(log: Path | None, settings: Settings) -> Iterator[DecisionOutcome]:
    """Yield the matured decisions of a file, or of their topic.

    Raises
    ------
    CommandError
        There is none to read, or something in it is no matured decision.
    """
    with _explained():
        yield from outcomes_in_file(log) if log is not None else outcomes_on_topic(settings)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except OutcomeLogError as failure:
        raise CommandError(str(failure), ExitCode.USAGE) from failure
    except TopicMissingError as failure:
        raise CommandError(str(failure), ExitCode.ENVIRONMENT) from failure


def console() -> Console:
    """Return a console that does not squeeze tables where the output is no terminal."""
    made = Console()
    return made if made.is_terminal else Console(width=WIDE)


def _print(found: LiftReport) -> None:
    table = Table(
        "customers", "treated", "held out", "conversion", "revenue", "margin", "cost per saved", "ROI", box=None
    )
    for each in found.slices:
        table.add_row(each.name, f"{each.treated:,}", f"{each.held:,}", *_differences(each))
    page = console()
    page.print(table)
    rates = Table(
        *("sent", "messages", "converted", "opened", "clicked", "redeemed", "responded", "unsubscribed", "complained"),
        *("mean reward", "added per coupon"),
        box=None,
    )
    for name, rate in found.rates.items():
        shares = [getattr(rate, share) for share in RATES]
        added = _ratio(rate.incremental_per_redeemed) if rate.incremental_per_redeemed is not None else ""
        rates.add_row(name, f"{rate.sent:,}", *(f"{share:.1%}" for share in shares), f"{rate.reward:.2f}", added)
    page.print(rates)
    print(
        f"{found.customers:,} customers compared from their first draw to act; all intervals hold together with",
        end=" ",
    )
    print(f"probability {1 - found.alpha:.0%}, whenever they are looked at; arms' ratio p = {found.ratio_p_value:.2g}")


def _print_groups(found: FairnessWatchReport) -> None:
    """Show how groups are treated, a table an attribute, and how far apart they certainly or possibly are."""
    page = console()
    for each in found.attributes:
        table = Table(
            each.attribute, "windows", "contacted", "messages", "offer", "labels", "score less label", box=None
        )
        for of in each.groups:
            shares = (_within(of.contact_rate, ".1%"), f"{of.offers:,}", _within(of.offer_value, ".2f"))
            table.add_row(of.group, f"{of.windows:,}", *shares, f"{of.labelled:,}", _within(of.score_error, "+.3f"))
        page.print(table)
        for between in each.comparisons:
            if between.estimate is not None and between.low is not None and between.high is not None:
                shown = _within(Interval(between.estimate, between.low, between.high), ".2f")
                name = between.measure.replace("_", " ")
                page.print(f"{name}, {between.lower} against {between.higher}: {shown}, bound {between.bound:g}")


def _within(of: Interval, form: str) -> str:
    return "too few" if isinf(of.high) else f"{of.estimate:{form}} ({of.low:{form}} to {of.high:{form}})"


def _differences(of: SliceLift) -> tuple[str, str, str, str, str]:
    def shown(low: float, value: float, high: float, form: str) -> str:
        return "too few" if high == float("inf") else f"{value:{form}} ({low:{form}} to {high:{form}})"

    return (
        shown(of.conversion.low, of.conversion.estimate, of.conversion.high, "+.1%"),
        shown(of.revenue.low, of.revenue.estimate, of.revenue.high, "+.2f"),
        shown(of.margin.low, of.margin.estimate, of.margin.high, "+.2f"),
        _ratio(of.cost_per_saved),
        _ratio(of.return_on_cost),
    )


def _ratio(of: Ratio) -> str:
    return "unbounded" if of.estimate is None else f"{of.estimate:.2f} ({of.low:.2f} to {of.high:.2f})"
