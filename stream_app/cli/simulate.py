"""`stream-app simulate`: a shop with known truth, to a file."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from stream_app.simulation import Drift, ShopConfig, simulate_shop
from stream_app.simulation.files import write_file


def simulate(
    out: Annotated[Path, typer.Option(help="File to write: JSON Lines, every line with its topic; .gz is compressed.")],
    days: Annotated[int, typer.Option(help="Days to simulate.")] = 365,
    customers: Annotated[int, typer.Option(help="Customers, those acquired on the way included.")] = 1000,
    seed: Annotated[int, typer.Option(help="One seed, one shop, byte for byte.")] = 1,
    start: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="First day (UTC).")] = datetime(2025, 1, 1),  # noqa: DTZ001 - a date
    drift: Annotated[Drift, typer.Option(help="What changes in behaviour while the shop runs.")] = Drift.SEASONAL,
) -> None:
    """Simulate a shop whose truth is known."""
    config = ShopConfig(
        customers=customers, days=days, seed=seed, start=date(start.year, start.month, start.day), drift=drift
    )
    written = write_file(out, simulate_shop(config))
    typer.echo(f"{written:,} events written to {out}")


command = simulate
