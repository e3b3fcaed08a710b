"""`stream-app worker`: events in, scores and interventions out."""

from stream_app.adapters.logs import set_up_logging
from stream_app.adapters.stores_rocksdb import RocksdbMissingError
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.settings import load_settings
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


def worker() -> None:
    """Run a worker: events in, scores and interventions out. Start more of them to scale, with the same settings.

    It ends with status 1 on a flood of bad records, and with 3 when the brokers, the topics or another worker make it
    end. In every case nothing is lost: what was not finished is done again after the next start.
    """
    settings = load_settings()
    set_up_logging(settings.log_level, settings.log_format)
    try:
        run_worker(settings)
    except HttpConfigurationError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error
    except DeadLetterFloodError as error:
        raise CommandError(str(error), ExitCode.FINDING) from error
    except _ENVIRONMENT as error:
        raise CommandError(str(error), ExitCode.ENVIRONMENT) from error


command = worker
