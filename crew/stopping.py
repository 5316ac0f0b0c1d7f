"""The flag by which a tool, a signal or a cap stops a run: tools cannot stop CrewAI by raising, the model door can."""

import threading

from backend_crew.crew.model import Status, Stop


class StopFlag:
    """Set once; the first reason wins."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()
        self._stop: Stop | None = None

    def set(self, stop: Stop) -> None:
        """Ask everybody to stop, for this reason."""
        with self._lock:
            self._stop = self._stop or stop
            self._event.set()

    def clear_waiting(self) -> None:
        """Go on after a person decided; every other reason stays."""
        with self._lock:
            if self._stop is not None and self._stop.status is Status.WAITING:
                self._stop = None
                self._event.clear()

    @property
    def stop(self) -> Stop | None:
        """Why, or None while nothing asked for it."""
        return self._stop

    def __bool__(self) -> bool:
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait at most that long; whether the flag is set."""
        return self._event.wait(seconds)
