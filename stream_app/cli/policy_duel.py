"""`stream-app policy duel`: the bandit, the policy over sequences and simple ones, each alone in the same shops."""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from stream_app.cli.errors import CommandError, ExitCode
from stream_app.decisions.catalogue import CatalogueError, load_catalogue, load_shipped_catalogue
from stream_app.simulation.arena import ArenaScale
from stream_app.simulation.duel import BANDIT, LIVES, Q_LEARNING, ShopDuel, duel

_SHOWN = {
    BANDIT: "bandit",
    Q_LEARNING: "over sequences",
    "floors": "floors alone",
    "rules": "rules by risk",
    "random": "at random",
}


def command(
    seeds: Annotated[int, typer.Option(min=1, help="Number of shops, each learnt from nothing by each policy.")] = 8,
    customers: Annotated[int, typer.Option(min=200, help="Customers of a shop.")] = 20_000,
    days: Annotated[int, typer.Option(min=112, help="Days of a shop.")] = 364,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first shop.")] = 1,
    catalogue: Annotated[Path | None, typer.Option(help="Action catalogue. Default: the shipped one.")] = None,
    least: Annotated[
        float | None, typer.Option(help="Exit 1 where sequences bring less than this above the bandit, per customer.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    r"""Let each policy live a year through the same shops, where messages tire, and count what it brings.

    Money is the margin of all orders less messages, incentives and penalties, above a shop that never writes; gains are
    the true expected ones of each decision by itself, as `policy prove` has them. Both per treated customer.

    \b
    Examples:
      stream-app policy duel --seeds 2 --customers 5000
      stream-app policy duel --json
    """
    try:
        known = load_catalogue(catalogue) if catalogue is not None else load_shipped_catalogue()
    except CatalogueError as problems:
        raise CommandError(str(problems)) from problems
    console = Console(stderr=True)

    def told(shop: ShopDuel) -> None:
        console.print(f"shop {shop.seed}: sequences {_ahead(shop):+.3f} a customer above the bandit", highlight=False)

    scale = ArenaScale(customers=customers, days=days)
    shops = duel(scale, known, range(first_seed, first_seed + seeds), on_shop=told)
    ahead = np.array([_ahead(shop) for shop in shops])
    error = float(ahead.std(ddof=1) / len(ahead) ** 0.5) if len(ahead) > 1 else None
    if as_json:
        print(json.dumps(_json_ready(scale, shops, ahead.tolist(), error), indent=2))
    else:
        table = Table("per customer and year", "money above silence", "true gains", "messages", "repeated", box=None)
        for name in LIVES:
            table.add_row(_SHOWN[name], *_cells(shops, name))
        Console().print(table)
        shown = "" if error is None else f" +- {error:.3f} (standard error)"
        print(f"sequences above the bandit, money a customer: {ahead.mean():+.3f}{shown}, {len(shops)} shops")
    if least is not None and float(ahead.mean()) < least:
        raise CommandError(
            f"sequences bring {ahead.mean():.3f} above the bandit, less than {least:g}", ExitCode.FINDING
        )


def _money(shop: ShopDuel, name: str) -> float:
    return float(shop.money_above_silence(name).sum()) / shop.customers


def _ahead(shop: ShopDuel) -> float:
    return _money(shop, Q_LEARNING) - _money(shop, BANDIT)


def _cells(shops: tuple[ShopDuel, ...], name: str) -> tuple[str, ...]:
    money = np.mean([_money(shop, name) for shop in shops])
    gains = np.mean([shop.lives[name].gains.sum() / shop.customers for shop in shops])
    messages = np.mean([shop.lives[name].messages / shop.customers for shop in shops])
    repeated = np.mean([shop.lives[name].repeats / max(shop.lives[name].messages, 1) for shop in shops])
    return f"{money:+.3f}", f"{gains:+.3f}", f"{messages:.2f}", f"{repeated:.0%}"


def _json_ready(
    scale: ArenaScale, shops: tuple[ShopDuel, ...], ahead: list[float], error: float | None
) -> dict[str, Any]:
    return {
        "scale": scale._asdict(),
        "sequences_above_bandit": {"mean": float(np.mean(ahead)), "standard_error": error, "by_shop": ahead},
        "shops": [
            {
                "seed": shop.seed,
                "customers": shop.customers,
                "policies": {
                    name: {
                        "money_above_silence_by_quarter": (shop.money_above_silence(name) / shop.customers).tolist(),
                        "gains_by_quarter": (shop.lives[name].gains / shop.customers).tolist(),
                        "messages": shop.lives[name].messages,
                        "repeats": shop.lives[name].repeats,
                    }
                    for name in LIVES
                },
            }
            for shop in shops
        ],
    }
