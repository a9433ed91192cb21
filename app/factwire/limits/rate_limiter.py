"""Rate limiter in bounded memory. The only module that uses the library `limits`."""

import math
import time
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerSecond
from limits.storage import Storage
from limits.strategies import FixedWindowRateLimiter


@dataclass(slots=True)
class Window:
    """Amount used since a window began."""

    used: int
    ends_at: float


class BoundedStorage(Storage):
    """Keeps a bounded number of windows in memory, and evicts the oldest.

    The storage of the library keeps every user until a window has ended, and starts a thread for each sweep.
    """

    def __init__(self, *, windows_max: int) -> None:
        super().__init__()
        self._windows: dict[str, Window] = {}
        self._windows_max = windows_max

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def base_exceptions(self) -> type[Exception]:
        return ValueError

    def incr(self, key: str, expiry: float, amount: int = 1) -> int:
        window = self._current(key)
        if window is None:
            self._windows.pop(key, None)  # so that it is at the end, with the newest
            while len(self._windows) >= self._windows_max:
                del self._windows[next(iter(self._windows))]
            window = self._windows[key] = Window(0, time.time() + expiry)
        window.used += amount
        return window.used

    def get(self, key: str) -> int:
        window = self._current(key)
        return 0 if window is None else window.used

    def get_expiry(self, key: str) -> float:
        window = self._current(key)
        return time.time() if window is None else window.ends_at

    def check(self) -> bool:
        return True

    def reset(self) -> int:
        count = len(self._windows)
        self._windows.clear()
        return count

    def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _current(self, key: str) -> Window | None:
        window = self._windows.get(key)
        return window if window is not None and window.ends_at > time.time() else None


class Rate:
    """Amount per second for each user, on average over a window: a burst may use all of it at once.

    Each amount is counted in full, also above the limit: a request is admitted while anything is left.
    """

    def __init__(self, name: str, per_second: int, *, window_seconds: int, users_max: int) -> None:
        self.name = name
        self.window_seconds = window_seconds
        self.quota = per_second * window_seconds
        self._item: RateLimitItem = RateLimitItemPerSecond(self.quota, window_seconds)
        self._storage = BoundedStorage(windows_max=users_max)
        self._limiter = FixedWindowRateLimiter(self._storage)

    def take(self, user: str, amount: int = 1) -> bool:
        """Count an amount for a user. True if something was left for it."""
        left = self.is_left(user)
        if left and amount:
            self._limiter.hit(self._item, user, cost=amount)
        return left

    def is_left(self, user: str) -> bool:
        return self._limiter.test(self._item, user)

    def remaining(self, user: str) -> int:
        """Amount that is left for a user in the current window."""
        return self._limiter.get_window_stats(self._item, user).remaining

    def seconds_left(self, user: str) -> float:
        """Seconds until the user gets a new window."""
        return max(0.0, self._limiter.get_window_stats(self._item, user).reset_time - time.time())

    def retry_after_seconds(self, user: str) -> int:
        return max(1, math.ceil(self.seconds_left(user)))
