"""What the demo shows in the terminal: a calm live panel, or a line now and then where there is no terminal."""

import contextlib
import sys
import termios
from collections.abc import Iterator, Mapping
from typing import Any, Self

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from stream_app.core.outputs import TIERS

ENOUGH_OUTCOMES = 50
"""Before that, a ranking quality means nothing."""

LINE_EVERY_SECONDS = 10
BAR_WIDTH = 32
LATEST = 3
STYLES = {"low": "cyan", "medium": "yellow", "high": "dark_orange", "critical": "red"}

Summary = Mapping[str, Any]


class Screen:
    """Shows the dashboard's summary. Standard error: the JSON at the end is what standard output is for."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.console = Console(stderr=True, highlight=False)
        self._live = Live(console=self.console, refresh_per_second=4) if self.console.is_terminal else None
        self._next_line = 0.0

    def __enter__(self) -> Self:
        self._quiet = contextlib.ExitStack()
        if self._live is not None:
            self._quiet.enter_context(_silent_control_keys())
        return self

    def __exit__(self, *_: object) -> None:
        with self._quiet:
            if self._live is not None:
                self._live.stop()

    def show(self, summary: Summary, elapsed_seconds: float) -> None:
        """Bring the terminal up to date."""
        if self._live is not None:
            self._live.update(panel(summary, self._url))
            self._live.start()  # does nothing once started; begun with something to show
        elif elapsed_seconds >= self._next_line:
            self._next_line = elapsed_seconds + LINE_EVERY_SECONDS
            self.console.print(f"{elapsed_seconds:4.0f} s  {line(summary)}", soft_wrap=True)


@contextlib.contextmanager
def _silent_control_keys() -> Iterator[None]:
    """Keep the terminal from writing ^C into the panel, which would move it down by a line."""
    try:
        before = termios.tcgetattr(sys.stdin)
    except (OSError, termios.error):  # input comes from elsewhere
        yield
        return
    silent = list(before)
    silent[3] &= ~termios.ECHOCTL
    termios.tcsetattr(sys.stdin, termios.TCSANOW, silent)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSANOW, before)


def line(summary: Summary) -> str:
    """Return the state of the demo in one line."""
    quality = summary["quality"]
    auc = (
        "-"
        if quality["auc"] is None or quality["examples"] < ENOUGH_OUTCOMES
        else f"{quality['auc']:.3f} ({quality['examples']:,} outcomes)"
    )
    tiers = " ".join(f"{tier} {summary['tiers'][tier]:,}" for tier in TIERS)
    return (
        f"shop time {(summary['shop_time'] or '-')[:10]}  events {summary['flow']['total']:,} "
        f"({summary['flow']['rate']:.0f}/s)  {tiers}  interventions {summary['interventions']['total']:,}  AUC {auc}"
    )


def panel(summary: Summary, url: str) -> Panel:
    """Return the live panel."""
    flow, quality, model = summary["flow"], summary["quality"], summary["model"]
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right")
    table.add_column()
    waiting = "" if flow["lag"] is None else f", {flow['lag']:,} waiting"
    table.add_row("shop time", (summary["shop_time"] or "opening")[:10])
    table.add_row("events", f"{flow['total']:,} in all, {flow['rate']:.0f} a second{waiting}")
    most = max(1, *summary["tiers"].values())
    for tier in TIERS:
        count = summary["tiers"][tier]
        bar = Text("█" * round(BAR_WIDTH * count / most), style=STYLES[tier])
        table.add_row(f"{tier} risk", bar.append(f" {count:,}", style="default"))
    table.add_row("interventions", f"{summary['interventions']['total']:,}")
    table.add_row("not contacted", f"{summary['suppressed']['total']:,} times, each with its reason")
    known = quality["auc"] is not None and quality["examples"] >= ENOUGH_OUTCOMES
    table.add_row(
        "AUC so far",
        f"{quality['auc']:.3f} over {quality['examples']:,} outcomes"
        if known
        else f"{quality['examples']} outcomes so far, too few to tell",
    )
    table.add_row("model", "prior (nothing learned yet)" if model["prior"] else model["version"])
    latest = [_latest(one) for one in summary["interventions"]["latest"][:LATEST]]
    latest += [Text()] * (LATEST - len(latest))  # a panel that keeps its height leaves no traces above it
    title = Text.assemble("stream-app demo   ", (url, "bold underline"))
    return Panel(Group(table, Text(), *latest), title=title, subtitle="Ctrl-C ends it", padding=(1, 2))


def _latest(one: Summary) -> Text:
    why = one["reasons"][0] if one["reasons"] else ""
    action = one["action"].replace("-", " ")
    return Text.assemble(
        (f"{action} ", "bold"),
        (f"to {one['customer']} by {one['channel']}, "),
        (f"{one['tier']} {one['probability']:.0%}", STYLES.get(one["tier"], "")),
        (f"  {why}", "dim"),
        no_wrap=True,
        overflow="ellipsis",
    )
