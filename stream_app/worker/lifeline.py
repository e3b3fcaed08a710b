"""What binds a process of a worker to its supervisor: a socket in the place of standard input.

The process tells once where its probes answer. Nothing ever comes the other way: the socket ends when the supervisor
does, however that died, and that is how the process learns of it, on every Unix and without asking again and again.
"""

import contextlib
import os
import signal
import socket
import threading
import time

STOP_SECONDS = 60.0
"""How long an orphan may take to end in order: more than a worker allows itself."""

EXIT_ORPHANED = 70


class Lifeline:
    """The end that the process holds.

    Parameters
    ----------
    descriptor
        The socket's. It is duplicated: closing one's own standard input does not look like the supervisor's end.

    Raises
    ------
    OSError
        It is no socket: nobody supervises this process.
    """

    def __init__(self, descriptor: int = 0) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))

    def hold(self) -> None:
        """From now on, end this process as SIGTERM does when the supervisor is gone; by force where that hangs."""
        threading.Thread(target=self._outlive, name="lifeline", daemon=True).start()

    def tell(self, url: str) -> None:
        """Say where probes and metrics of this process answer."""
        self._socket.sendall(f"{url}\n".encode())

    def _outlive(self) -> None:
        # Any answer is the end of the supervisor, an error as well: it sends nothing.
        with contextlib.suppress(OSError):
            self._socket.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STOP_SECONDS)
        os._exit(EXIT_ORPHANED)
