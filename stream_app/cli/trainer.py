"""`stream-app trainer`: learns from matured labels and publishes model snapshots."""

import asyncio

from stream_app.adapters.checkpoints import CheckpointError
from stream_app.adapters.logs import set_up_logging
from stream_app.cli.errors import CommandError, ExitCode
from stream_app.decisions.catalogue import CatalogueError
from stream_app.learning.learner import LearnerRefusedError
from stream_app.settings import load_settings
from stream_app.worker.http import HttpConfigurationError
from stream_app.worker.trainer import FolderInUseError, pupils_of, run_trainer
from stream_app.worker.trainer_group import TrainerPositionError
from stream_app.worker.trainer_run import CheckpointFormatError


def trainer() -> None:
    r"""Run the trainer: learns from matured labels, publishes model snapshots.

    Exactly one learns at a time; a second one stands by. Its checkpoint is in STREAM_APP_DATA_DIR/trainer: keep that
    folder over restarts, or the trainer learns the topic again from its beginning.

    \b
    Examples:
      stream-app trainer
      STREAM_APP_CHALLENGERS='["adagrad", "mlp:hidden=8"]' stream-app trainer
    """
    settings = load_settings()
    set_up_logging(settings.log_level, settings.log_format)
    try:
        pupils = pupils_of(settings)
    except CatalogueError:
        raise  # says itself what is wrong, and where
    except ValueError as error:
        raise CommandError(f"STREAM_APP_MODEL or STREAM_APP_CHALLENGERS: {error}", ExitCode.USAGE) from error
    except ModuleNotFoundError as missing:
        raise CommandError(f"STREAM_APP_CHALLENGERS: {missing}", ExitCode.ENVIRONMENT) from missing
    try:
        asyncio.run(run_trainer(settings, pupils))
    except HttpConfigurationError as error:
        raise CommandError(str(error), ExitCode.USAGE) from error
    except (
        CheckpointError,
        CheckpointFormatError,
        FolderInUseError,
        LearnerRefusedError,
        TrainerPositionError,
    ) as error:
        raise CommandError(str(error), ExitCode.ENVIRONMENT) from error


command = trainer
