"""Fork detection: bounded memory of the facts seen at some positions, to compare with another history."""

from factwire.domain.position import Position
from factwire.store.read_tail import Mark

TRAIL_MARKS_MAX = 64


class SeenFacts:
    """Marks of some of the facts that were seen: the older the facts, the fewer marks.

    If the ring is empty, the marks show the position at which the histories part.
    """

    def __init__(self) -> None:
        self._marks: list[tuple[Position, Mark]] = []

    def keep(self, position: Position, mark: Mark) -> None:
        self._marks.append((position, mark))
        if len(self._marks) > TRAIL_MARKS_MAX:
            newest = self._marks[-TRAIL_MARKS_MAX // 2 :]
            self._marks = self._marks[: -TRAIL_MARKS_MAX // 2 : 2] + newest

    def marks(self) -> list[tuple[Position, Mark]]:
        return self._marks
