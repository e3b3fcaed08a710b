"""`stream-app prove`: the product against simulated shops, whose truth is known."""

import json
import math
import sys
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from stream_app.cli.errors import CommandError, ExitCode
from stream_app.cli.json_ready import json_ready
from stream_app.settings import Settings, load_settings
from stream_app.simulation.config import Drift, ShopConfig
from stream_app.simulation.drift_proof import prove_drift
from stream_app.simulation.fairness_proof import prove_fairness
from stream_app.simulation.learning_loop import run_with_learner
from stream_app.simulation.learning_proof import gains_of_clicks_and_texts, learning_figures
from stream_app.simulation.sequence_proof import prove_sequences

app = typer.Typer(
    help="Run the product against simulated shops whose truth is known.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
MOST_WIDTH = 2.0
_SETTLED_DAY = 26 * 7 + 30

Customers = Annotated[int, typer.Option(min=1, help="Customers of a shop, those acquired on the way included.")]
Days = Annotated[int, typer.Option(min=60, help="Days that a shop runs.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the (first) shop.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


@app.command()
def learning(
    customers: Customers = 3000,
    days: Days = 420,
    seed: Seed = 1,
    families: Annotated[
        bool, typer.Option("--families", help="Also what each family of features brings, for several times the work.")
    ] = False,
    as_json: Json = False,
) -> None:
    r"""Judge scores in a shop that is acted upon from its first day: against labels and against the truth.

    Figures are of observations taken after six months of interventions, beside those of a naive learner that takes
    every outcome for the customer's own, contacted or not.

    \b
    Examples:
      stream-app prove learning
      stream-app prove learning --customers 1000 --families --json
    """
    settings = _settings("live")
    config = _config(customers, days, seed, settings)
    run = run_with_learner(config, settings, show=_teller(days, config.first_day))
    figures: dict[str, Any] = {"customers": customers, "days": days, "seed": seed} | learning_figures(run)
    if not figures["quality"]:
        raise CommandError(
            f"no label of an observation after six months in {days} days: give --days 300 or more", ExitCode.FINDING
        )
    if families:
        figures["families"] = gains_of_clicks_and_texts(run)
    print(json.dumps(figures, indent=2) if as_json else _learning_text(figures))


@app.command()
def drift(
    customers: Customers = 800,
    days: Days = 540,
    stationary: Annotated[int, typer.Option(min=0, help="Shops in which nothing changes.")] = 10,
    drifting: Annotated[int, typer.Option(min=0, help="Shops with an abrupt, and as many with a gradual, change.")] = 5,
    drift_at: Annotated[float, typer.Option(min=0.3, max=0.9, help="Where in the run the change falls.")] = 0.6,
    noisy: Annotated[bool, typer.Option("--noisy", help="With promotions and crises, which are no drift.")] = False,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    r"""Count false alarms in stationary shops, and how long a change goes unnoticed.

    \b
    Examples:
      stream-app prove drift
      stream-app prove drift --stationary 2 --drifting 1 --noisy
    """
    settings = _settings("shadow")
    config = ShopConfig(
        customers=customers,
        days=days,
        drift_at=drift_at,
        visits_per_order=4.0,
        promotions=noisy,
        crises=noisy,
        horizons_days=(settings.horizon_days,),
    )
    runs = [(Drift.NONE, seed + number) for number in range(stationary)]
    runs += [(kind, seed + number) for number in range(drifting) for kind in (Drift.ABRUPT, Drift.GRADUAL)]
    console = Console(stderr=True)
    found = prove_drift(config, settings, runs, _SETTLED_DAY, lambda shop: console.print(f"shop: {shop}"))
    print(json.dumps(found, indent=2) if as_json else _drift_text(found))


@app.command()
def sequences(
    shops: Annotated[int, typer.Option(min=1, help="Small shops, one after the other.")] = 1000,
    customers: Annotated[int, typer.Option(min=200, help="Customers analysed in each.")] = 2000,
    holdout: Annotated[float, typer.Option(min=0.01, max=0.99, help="Share that is not treated.")] = 0.1,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    r"""Count the shops in which an interval of the lift report misses the true mean effect at any look.

    Exits 1 where more are missed than promised (and chance explains), or where intervals end twice as wide as those of
    a fixed sample that is adjusted by the covariate, too.

    \b
    Examples:
      stream-app prove sequences
      stream-app prove sequences --shops 200 --holdout 0.2 --json
    """
    try:
        found = prove_sequences(shops, seed, customers, 1 - holdout)
    except ValueError as failure:
        raise CommandError(f"--customers and --holdout: {failure}", ExitCode.USAGE) from failure
    if as_json:
        print(json.dumps(json_ready(msgspec.to_builtins(found)), indent=2))
    else:
        missed = f"{found.missed:,} of {shops:,} shops missed at any of {found.looks} looks ({found.missed_share:.1%}"
        print(f"{missed}; promised: {found.alpha:.0%}); final width {found.width_to_fixed:.2f} times that of a fixed")
        adjusted = f"{found.width_to_fixed_adjusted:.2f} times (at worst {found.widest_to_fixed_adjusted:.2f})"
        print(f"sample, and {adjusted} that of one adjusted by the covariate")
    chance = 2.2 * math.sqrt(found.alpha * (1 - found.alpha) / shops)
    if found.missed_share > found.alpha + chance:
        raise CommandError(f"{found.missed:,} of {shops:,} shops are missed: more than promised", ExitCode.FINDING)
    if found.width_to_fixed_adjusted > MOST_WIDTH:
        raise CommandError("intervals end more than twice as wide as a fixed sample's", ExitCode.FINDING)


@app.command()
def fairness(
    shops: Annotated[int, typer.Option(min=1, help="Small shops of each kind, one after the other.")] = 100,
    customers: Annotated[int, typer.Option(min=300, help="Customers of each, in three groups.")] = 9000,
    seed: Seed = 1,
    as_json: Json = False,
) -> None:
    r"""Count the shops that ever alarm though their groups are treated alike, and how soon a real difference is found.

    Exits 1 where more alarm for nothing than promised (and chance explains).

    \b
    Examples:
      stream-app prove fairness
      stream-app prove fairness --shops 20 --customers 20000 --json
    """
    found = prove_fairness(shops, seed, customers)
    if as_json:
        print(json.dumps(json_ready(msgspec.to_builtins(found)), indent=2))
    else:
        print(f"{shops:,} shops of {customers:,} customers, looked at {found.looks} times; promised: {found.alpha:.0%}")
        print(f"  false alarms: {found.false_alike:,} with groups alike, {found.false_at_bound:,} at the bounds")
        for measure, each in found.found.items():
            soon = f"{each.median_customers:,} customers" if each.median_customers is not None else "never in half"
            print(f"  {measure} apart ({each.difference:g}): found in {each.share:.0%} of shops, median {soon}")
    wrong = max(found.false_alike, found.false_at_bound)
    if wrong > shops * found.alpha + 2.2 * math.sqrt(shops * found.alpha * (1 - found.alpha)):
        raise CommandError(f"{wrong:,} of {shops:,} shops alarm for nothing: more than promised", ExitCode.FINDING)


def _settings(mode: str) -> Settings:
    return load_settings().model_copy(update={"clock": "event", "actions_mode": mode, "allowed_lateness_seconds": 0})


def _config(customers: int, days: int, seed: int, settings: Settings) -> ShopConfig:
    return ShopConfig(customers=customers, days=days, seed=seed, horizons_days=(settings.horizon_days,))


def _teller(days: int, first_day: int) -> Callable[[int, int], None] | None:
    if not sys.stderr.isatty():
        return None

    def tell(learned: int, at_ms: int) -> None:
        print(f"\rday {at_ms // 86_400_000 - first_day} of {days}, {learned:,} labels", end="", file=sys.stderr)

    return tell


def _learning_text(figures: dict[str, Any]) -> str:
    counts = f"{figures['observations']:,} observations, {figures['interventions']:,} interventions"
    lines = [f"{counts}; after {figures['settled_days']} days:"]
    for group, both in figures["quality"].items():
        lines += [f"  {group.replace('_', ' '):20} {who:6} {_quality_text(found)}" for who, found in both.items()]
    for name, found in figures["intervals"].items():
        if found:
            lines.append(
                f"  90 % interval, {name}: holds {found['coverage']:.1%} of true probabilities, "
                f"mean width {found['width']:.3f}"
            )
    lines.append("  first weeks (score, truth): " + ", ".join(
        f"{week['week']:.0f}: {week['mean_score']:.2f} {week['mean_truth']:.2f}" for week in figures["weeks"][:16]
    ))  # fmt: skip
    for family, found in figures.get("families", {}).items():
        if family:
            low, high = found["auc_gain_interval"]
            added = "" if found["in_default_model"] else " (not in the default model)"
            lines.append(f"  {family:26} AUC {found['auc_gain']:+.4f} ({low:+.4f} to {high:+.4f}){added}")
    return "\n".join(lines)


def _drift_text(found: dict[str, Any]) -> str:
    lines = [f"{len(found['shops'])} shops of {found['customers']:,} customers over {found['days']} days"]
    calm = found["stationary"]
    if calm:
        lines.append(
            f"  stationary: {calm['whole_shop_alarms_a_year']:.2f} alarms about the whole shop and "
            f"{calm['feature_alarms_a_year']:.2f} about single features a shop and year; "
            f"{calm['shops_without_whole_shop_alarm']:.0f} of {calm['shops']:.0f} shops raised none about the whole"
        )
    lines += [
        f"  {kind} from day {found['drift_begins_on_day'][kind]}: first alarm about the whole shop after "
        f"{_days(found[kind]['whole_shop_alarm_after_days'])} days, about a feature after "
        f"{_days(found[kind]['feature_alarm_after_days'])} days"
        for kind in ("abrupt", "gradual")
        if found[kind]
    ]
    return "\n".join(lines)


def _quality_text(found: dict[str, float]) -> str:
    return (
        f"ECE {found['ece']:.4f}, to the truth {found['ece_to_truth']:.4f}; AUC {found['auc']:.4f}, at best "
        f"{found['auc_of_truth']:.4f}; mean {found['mean_score']:.3f}, truth {found['mean_truth']:.3f} "
        f"({found['n']:,.0f})"
    )


def _days(delays: list[int | None]) -> str:
    return ", ".join("none" if delay is None else str(delay) for delay in delays)
