"""How commands fail: one clear line and an exit code, never a stack trace unless `--debug` asks for it."""

from enum import IntEnum

from pydantic import ValidationError
from pydantic_settings.exceptions import SettingsError as UnparsableError

from stream_app.settings import Settings, SettingsError, describe_settings_failure, describe_unparsable


class ExitCode(IntEnum):
    """What the exit status of every command means."""

    OK = 0
    FINDING = 1
    """The command did its work and found something wrong."""
    USAGE = 2
    """Bad arguments or settings: call it differently."""
    ENVIRONMENT = 3
    """The broker cannot be reached, a file cannot be read, a port is taken: mend the surroundings and try again."""
    DEFECT = 70
    """An error in stream-app itself."""
    INTERRUPTED = 130
    BROKEN_PIPE = 141


class CommandError(Exception):
    """A failure that a command explains itself.

    Parameters
    ----------
    message
        What is wrong and what to do, for a person; may have several lines.
    code
        Exit status.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.FINDING) -> None:
        super().__init__(message)
        self.code = code


_ENVIRONMENT = {
    "stream_app.adapters.broker.BrokerError": "",
    "stream_app.adapters.topics_admin.TopicsError": "",
    "stream_app.adapters.event_files.EventFileError": "",
    "stream_app.adapters.feeding.FeedError": "",
    "stream_app.decisions.catalogue.CatalogueError": "",
    "stream_app.decisions.policy.PolicyError": "",
    "kafka.errors.KafkaError": "the broker refused or could not be reached (see STREAM_APP_BOOTSTRAP): ",
    "aiokafka.errors.KafkaError": "the broker refused or could not be reached (see STREAM_APP_BOOTSTRAP): ",
}
"""Known errors by qualified name, so that this module need not import their packages."""


def explain(error: BaseException) -> tuple[str, ExitCode]:
    """Return what to print for an error, and the exit status.

    Parameters
    ----------
    error
        Whatever ended a command.
    """
    if isinstance(error, CommandError):
        return str(error), error.code
    if isinstance(error, SettingsError):
        return str(error), ExitCode.USAGE
    if isinstance(error, UnparsableError):
        return describe_unparsable(error), ExitCode.USAGE
    if isinstance(error, ValidationError) and error.title == Settings.__name__:
        return describe_settings_failure(error), ExitCode.USAGE
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", ExitCode.INTERRUPTED
    for base in type(error).__mro__:
        known = _ENVIRONMENT.get(f"{base.__module__}.{base.__qualname__}")
        if known is not None:
            return f"{known}{str(error) or type(error).__name__}", ExitCode.ENVIRONMENT
    if isinstance(error, OSError):
        return _explain_os_error(error), ExitCode.ENVIRONMENT
    text = str(error).partition("\n")[0]
    return (
        f"an error in stream-app itself: {type(error).__name__}: {text} (run with --debug to see where)",
        ExitCode.DEFECT,
    )


def _explain_os_error(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {reason}" if error.filename else reason
