"""Brokers that the program starts itself: the embedded one, and Apache Kafka from its jars for tests.

Both are child processes that live as long as their owner wants: `start`, `stop` (graceful), `kill` (SIGKILL) and
`restart` on the same port and data. Neither is meant for production, where a cluster is given by
`STREAM_APP_BOOTSTRAP`.
"""

import signal
import socket
import subprocess
import sys
import time
import uuid
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
START_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 20.0


def new_cluster_id(random_bytes: bytes) -> str:
    """Return a Kafka cluster id of 16 random bytes that no command line takes for an option: none begins with "-"."""
    return urlsafe_b64encode(random_bytes).decode().rstrip("=").replace("-", "_", 1)


class BrokerError(RuntimeError):
    """A broker could not be started; the message says why and what to do."""


def free_port() -> int:
    """Return a TCP port on loopback that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


class _BrokerProcess(ABC):
    """What both brokers share: one child process on one port, its output kept in a file for error messages."""

    name = "broker"

    def __init__(self, data_dir: Path, port: int = 0) -> None:
        self.data_dir = data_dir
        self.port = port
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Return the bootstrap address; known once the broker was started."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def log_file(self) -> Path:
        """Return where the broker's own output goes."""
        return self.data_dir / f"{self.name}.log"

    @property
    def pid(self) -> int | None:
        """Return the process id while the broker runs."""
        child = self._child
        return child.pid if child is not None and child.poll() is None else None

    def start(self) -> Self:
        """Start the broker and wait until it accepts connections.

        Raises
        ------
        BrokerError
            It ended or did not listen in time; the message quotes the end of its output.
        """
        if self.pid is not None:
            return self
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.port = self.port or free_port()
        self._prepare()
        with self.log_file.open("ab") as output:
            # Its own session: a Ctrl-C at the terminal must reach the workers first, or they end with a dead broker.
            self._child = subprocess.Popen(  # noqa: S603 - the command is ours, no shell
                self._command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        self._wait_until_listening()
        return self

    def stop(self) -> None:
        """End the broker gracefully, its data saved; kill it where it does not end in time."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker as a power cut would."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the broker and start it again on the same port and data."""
        self.stop()
        self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @abstractmethod
    def _prepare(self) -> None:
        """Do what must be done before each start."""

    @abstractmethod
    def _command(self) -> list[str]:
        """Return the command that runs the broker in the foreground."""

    def _end(self, how: signal.Signals) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(how)
        try:
            child.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _wait_until_listening(self) -> None:
        assert self._child is not None
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < deadline:
            if self._child.poll() is not None:
                break
            try:
                with socket.create_connection((LOOPBACK, self.port), timeout=1):
                    return
            except OSError:
                time.sleep(0.05)
        self.kill()
        tail = self.log_file.read_text(errors="replace")[-2000:]
        raise BrokerError(
            f"{self.name} did not start on {self.bootstrap}; is the port taken, or the data in "
            f"{self.data_dir} damaged? "
            f"The end of {self.log_file}:\n{tail}"
        )


class EmbeddedBroker(_BrokerProcess):
    """The `noida-db` wheel's Kafka service: real TCP, no Java, no Docker; keeps its data over a restart.

    For one worker, demos and tests: it holds all data in memory, does not rebalance groups of several members and does
    not evict a member that was killed. After a worker's kill -9, `restart` the broker (data and offsets survive).
    """

    name = "embedded-broker"

    def _binary(self) -> str:
        try:
            root = files("noida_db")
        except ModuleNotFoundError:
            raise BrokerError(
                "The embedded broker is not installed: pip install 'stream-app[embedded]', "
                "or set STREAM_APP_BOOTSTRAP to a Kafka cluster."
            ) from None
        path = Path(str(root.joinpath("noida-db.exe" if sys.platform == "win32" else "noida-db")))
        path.chmod(0o755)
        return str(path)

    def _prepare(self) -> None:
        # A predecessor on the same data whose owner was killed would still hold port and files; without one this does
        # nothing.
        subprocess.run(  # noqa: S603 - the command is ours, no shell
            [self._binary(), "down", "--data-dir", str(self.data_dir)],
            check=False,
            capture_output=True,
            timeout=STOP_TIMEOUT_SECONDS,
        )

    def _command(self) -> list[str]:
        data = ["--data-dir", str(self.data_dir)]
        return [self._binary(), "start", *data, "--only", "kafka", "--kafka-port", str(self.port), "--host", LOOPBACK]


class ApacheKafka(_BrokerProcess):
    """Apache Kafka as one KRaft node from a directory of jars (`resolve_kafka_jars`); it creates no topics by itself.

    Parameters
    ----------
    data_dir
        Logs, configuration and output.
    jars_dir
        Where Kafka's jars and all that they need lie.
    port
        Client port; 0 takes any free one.
    heap_megabytes
        Java heap.
    """

    name = "apache-kafka"

    def __init__(self, data_dir: Path, jars_dir: Path, port: int = 0, heap_megabytes: int = 512) -> None:
        super().__init__(data_dir, port)
        self.jars_dir = jars_dir
        self.heap_megabytes = heap_megabytes
        self._controller_port = 0

    def _prepare(self) -> None:
        self._controller_port = self._controller_port or free_port()
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{LOOPBACK}:{self._controller_port}",
            "listeners": f"PLAINTEXT://{LOOPBACK}:{self.port},CONTROLLER://{LOOPBACK}:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": self.data_dir / "logs",
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            "group.min.session.timeout.ms": 1000,
            "delete.topic.enable": "true",
            "log.cleaner.dedupe.buffer.size": 16 << 20,
        }
        self._config_file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        if not (self.data_dir / "logs" / "meta.properties").exists():
            cluster_id = new_cluster_id(uuid.uuid4().bytes)
            done = subprocess.run(  # noqa: S603 - the command is ours, no shell
                [*self._java(), "kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._config_file)],
                check=False,
                capture_output=True,
                text=True,
                timeout=START_TIMEOUT_SECONDS,
            )
            if done.returncode:
                raise BrokerError(f"Formatting Kafka's storage failed:\n{done.stdout}{done.stderr}")

    @property
    def _config_file(self) -> Path:
        return self.data_dir / "server.properties"

    def _java(self) -> list[str]:
        heap = f"{self.heap_megabytes}m"
        quiet = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
        flags = [f"-Xmx{heap}", f"-Xms{heap}", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=4", quiet]
        return ["java", *flags, "-cp", f"{self.jars_dir}/*"]

    def _command(self) -> list[str]:
        return [*self._java(), "kafka.Kafka", str(self._config_file)]


def resolve_kafka_jars(pom: Path, target_dir: Path) -> Path:
    """Copy Kafka's jars, as the pom pins them, into a directory; a second call finds them there.

    Raises
    ------
    BrokerError
        Java or Maven is missing, or Maven failed; the message says which.
    """
    complete = target_dir / "complete"
    if complete.exists():
        return target_dir
    target_dir.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(  # noqa: S603 - the command is ours, no shell
            ["mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies", f"-DoutputDirectory={target_dir}"],  # noqa: S607 - Maven and Java are found on PATH by design
            check=False,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise BrokerError("Apache Kafka for tests needs Java 17 and Maven on PATH; neither `make test` does.") from None
    if done.returncode:
        raise BrokerError(f"Maven could not resolve Kafka's jars:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    complete.touch()
    return target_dir
