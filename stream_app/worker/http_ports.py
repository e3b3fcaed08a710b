"""What the HTTP side needs of a process: the worker's and the trainer's composition roots implement these."""

import socket
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

from stream_app.core.outputs import Reason
from stream_app.core.state import CustomerState
from stream_app.settings import Settings

WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - recognised here, not bound to


class Readiness(NamedTuple):
    """Whether the process does its work, and if not, why, in words."""

    ready: bool
    reason: str = ""


class Progress(NamedTuple):
    """How far one source partition has come: offset of the next record to be acknowledged, and the end of the log."""

    committed: int
    end: int

    @property
    def lag_records(self) -> int:
        """Records not yet acknowledged; 0 while the end is not known."""
        return max(0, self.end - self.committed)


class Probed(Protocol):
    """A process whose health can be asked. Both methods are called often, on the event loop, and must not block."""

    def readiness(self) -> Readiness:
        """Tell whether state is restored and no rebalance is under way."""
        ...

    def progress(self) -> Mapping[tuple[str, int], Progress]:
        """Return the progress of every source partition that this process owns, by topic name and partition."""
        ...


class WorkerViews(Probed, Protocol):
    """What `/v1` shows of a worker."""

    def lookup(self, customer_id: str) -> CustomerState | None:
        """Return the state of a customer of this worker's own partitions; None if never seen. Not to be changed."""
        ...

    def reasons(self, customer_id: str, language: str) -> tuple[Reason, ...]:
        """Explain the newest score of a customer of this worker's own partitions; empty where there is none."""
        ...

    def partition_of(self, customer_id: str) -> int:
        """Return the partition of a customer."""
        ...

    def owner_url(self, customer_id: str) -> str | None:
        """Return where the customer's state is: "" here, a base URL on another worker, None if no owner is known."""
        ...

    def customers(self) -> Iterator[tuple[str, CustomerState]]:
        """Go through the customers of this worker's own partitions.

        The caller pauses between customers to let events be processed: the iterator must bear that states change,
        come and go meanwhile.
        """
        ...

    def tiers(self) -> Mapping[str, int]:
        """Return how many customers of this worker's own partitions are in each tier; asked every few seconds."""
        ...

    def experiments(self) -> bytes:
        """Return the trainer's newest report of what interventions and experiments achieved, as JSON; empty: none."""
        ...

    def fairness(self) -> bytes:
        """Return the trainer's newest report of how groups of customers are treated, as JSON; empty: none."""
        ...

    def status(self) -> Mapping[str, object]:
        """Return what an operator wants to see at once, JSON-ready: owned partitions, versions in force, ..."""
        ...


def advertised_url(settings: Settings) -> str:
    """Return the base URL by which other workers reach this one's `/v1`.

    Absent STREAM_APP_API_ADVERTISED_URL it is made of host and port; a host that means "all addresses" is replaced by
    this machine's name, which Docker and Kubernetes (with a headless service) resolve.
    """
    if settings.api_advertised_url:
        return settings.api_advertised_url
    host = socket.gethostname() if settings.api_host in WILDCARDS else settings.api_host
    return f"http://{host}:{settings.api_port}"
