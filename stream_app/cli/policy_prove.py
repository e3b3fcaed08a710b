"""`stream-app policy prove`: what the policy that learns is worth, in simulated shops whose truth is known."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from stream_app.cli.errors import CommandError, ExitCode
from stream_app.decisions.catalogue import CatalogueError, load_catalogue, load_shipped_catalogue
from stream_app.simulation.arena import OWN, ArenaScale
from stream_app.simulation.people import KIND_NAMES
from stream_app.simulation.proof import ORACLE, Proof, ShopProof, prove, teach_oracle

_SHOWN = {OWN: "ours, learning", "unlearned": "ours, unlearned", "rules": "rules by risk", "random": "at random"}


def command(
    seeds: Annotated[int, typer.Option(min=1, help="Number of shops, each learnt from nothing.")] = 20,
    customers: Annotated[int, typer.Option(min=200, help="Customers of a shop.")] = 50_000,
    days: Annotated[int, typer.Option(min=112, help="Days of a shop; a value is given for each quarter.")] = 364,
    horizon_days: Annotated[
        int, typer.Option(min=14, max=180, help="A customer is saved who orders in so many days and else would not.")
    ] = 30,
    teachers: Annotated[int, typer.Option(min=1, help="Shops that teach the oracle.")] = 4,
    first_seed: Annotated[int, typer.Option(min=0, max=999_999, help="Seed of the first shop.")] = 1,
    catalogue: Annotated[Path | None, typer.Option(help="Action catalogue. Default: the shipped one.")] = None,
    least: Annotated[
        float | None, typer.Option(help="Exit 1 where the mean share of the oracle's value is below this.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    r"""Let the policy learn in simulated shops, and judge its choices by the truth, beside rivals and an oracle.

    The value is (V - V_nothing) / (V_oracle - V_nothing), of expected gains: no luck enters. The oracle sees what the
    engine sees, and keeps guardrails and floors. Use OPENBLAS_NUM_THREADS=1 on a busy machine.

    \b
    Examples:
      stream-app policy prove --seeds 2 --customers 5000
      stream-app policy prove --least 0.8 --json
    """
    try:
        known = load_catalogue(catalogue) if catalogue is not None else load_shipped_catalogue()
    except CatalogueError as problems:
        raise CommandError(str(problems)) from problems
    console = Console(stderr=True)
    scale = ArenaScale(customers=customers, days=days, horizon_days=horizon_days)

    def told(shop: ShopProof) -> None:
        ratio = shop.values[OWN][-1] / shop.values[ORACLE][-1]
        console.print(f"shop {shop.seed}: {ratio:.3f} of the oracle's value in the last quarter", highlight=False)

    console.print(f"teaching the oracle in {teachers} shops", highlight=False)
    oracle = teach_oracle(scale._replace(customers=min(customers, 20_000)), known, teachers)
    proof = prove(scale, known, range(first_seed, first_seed + seeds), oracle, told)
    mean = float(proof.ratios.mean())
    if as_json:
        print(json.dumps(_json_ready(proof, scale), indent=2))
    else:
        _print(proof)
    if least is not None and mean < least:
        raise CommandError(f"the mean share of the oracle's value is {mean:.3f}, less than {least:g}", ExitCode.FINDING)


def _json_ready(proof: Proof, scale: ArenaScale) -> dict[str, Any]:
    return {
        "scale": scale._asdict(),
        "mean_ratio_last_quarter": float(proof.ratios.mean()),
        "ratios_last_quarter": proof.ratios.tolist(),
        "share_of_oracle_by_quarter": {name: proof.share(name).tolist() for name in proof.shops[0].values},
        "contact_by_quarter": {kind: proof.mean_contact(kind).tolist() for kind in KIND_NAMES},
        "oracle_contact_by_quarter": {kind: proof.mean_oracle_contact(kind).tolist() for kind in KIND_NAMES},
        "shops": [
            {
                "seed": shop.seed,
                "values": {name: values.tolist() for name, values in shop.values.items()},
                "decisions": shop.decisions,
                "messages": shop.messages,
                "learned": shop.learned,
            }
            for shop in proof.shops
        ],
    }


def _print(proof: Proof) -> None:
    quarters = ("first quarter", "second", "third", "last")
    table = Table("share of the oracle's value", *quarters, box=None)
    for name, shown in _SHOWN.items():
        table.add_row(shown, *(f"{share:.2f}" for share in proof.share(name)))
    contacts = Table("probability of contact (oracle's)", *quarters, box=None)
    for kind in KIND_NAMES:
        pairs = zip(proof.mean_contact(kind), proof.mean_oracle_contact(kind), strict=True)
        contacts.add_row(kind.replace("_", " "), *(f"{own:.2f} ({best:.2f})" for own, best in pairs))
    console = Console()
    console.print(table)
    console.print(contacts)
    ratios = proof.ratios
    print(f"last quarter, mean of {len(ratios)} shops: {ratios.mean():.3f} ({ratios.min():.3f} to {ratios.max():.3f})")
