"""One process of `stream-app worker`: the worker itself, with Faust and all; loaded by nobody else."""

from collections.abc import Callable

from stream_app.adapters.stores_rocksdb import RocksdbMissingError
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.settings import Settings
from stream_app.wire.partition_record import ChangelogFormatError
from stream_app.worker.changelog import ChangelogError
from stream_app.worker.http import HttpConfigurationError
from stream_app.worker.intake import DeadLetterFloodError
from stream_app.worker.ownership import FencedError, SourceRecreatedError
from stream_app.worker.pipeline import CoPartitioningError
from stream_app.worker.publisher import PublishError
from stream_app.worker.run import WorkerCrashedError, run_worker
from stream_app.worker.source_topics import TopicSetupError

_ENVIRONMENT = (
    ChangelogError,
    ChangelogFormatError,
    CoPartitioningError,
    FencedError,
    PublishError,
    RocksdbMissingError,
    SourceRecreatedError,
    TopicSetupError,
    WorkerCrashedError,
)


def run_process(settings: Settings, on_served: Callable[[str], None] | None = None) -> None:
    """Run the worker in this process; failures become those of the command line.

    Parameters
    ----------
    settings
        Of this process.
    on_served
        Called with the URL of its probes and metrics once they answer.
    """
    try:
        run_worker(settings, on_served)
    except HttpConfigurationError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error
    except DeadLetterFloodError as error:
        raise CommandError(str(error), ExitCode.FINDING) from error
    except _ENVIRONMENT as error:
        raise CommandError(str(error), ExitCode.ENVIRONMENT) from error
