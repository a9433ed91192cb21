"""The test case that `eventsourcing` has for its DCB recorders, and enrolment with its DCB classes, against Factwire.

It needs a service with an empty log that nothing else writes to. It runs in an environment of its own: see test_suites.
"""
# mypy: disallow-subclassing-any=False
# The package is not installed where the types are checked.

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from threading import Barrier

import pytest
from eventsourcing.dcb.api import DCBEvent
from eventsourcing.dcb.application import DCBRepository
from eventsourcing.dcb.domain import Decision, EnduringObject, Group, InitialDecision, Tagged
from eventsourcing.dcb.persistence import DCBEventStore, DCBMapper
from eventsourcing.dcb.tests import DCBRecorderTestCase
from eventsourcing.persistence import IntegrityError
from eventsourcing.utils import get_topic, resolve_topic

from tests.suites.eventsourcing_recorder import FactwireRecorder

URL = os.environ["FACTWIRE_URL"]
STUDENTS = 40
PLACES = 5
THREADS = 12


class RecorderTest(DCBRecorderTestCase):
    def setUp(self) -> None:
        self.recorder = FactwireRecorder(URL)
        self.addCleanup(self.recorder.close)
        self.head = self.recorder.read().head or 0

    def test_append_read(self) -> None:
        assert self.head == 0, "This case needs a service with an empty log."
        self._test_append_read(self.recorder)

    def test_append_subscribe(self) -> None:
        self._test_append_subscribe(self.recorder, initial_position=self.head)


class RefusedError(Exception):
    """A rule of the school refuses an enrolment."""


@dataclass
class Enrolled(Decision):
    course_id: str
    student_id: str

    def apply(self, obj: object) -> None:
        if isinstance(obj, Course):
            obj.student_ids.append(self.student_id)
        elif isinstance(obj, Student):
            obj.course_ids.append(self.course_id)


@dataclass
class Suspended(Decision):
    reason: str

    def apply(self, obj: object) -> None:
        if isinstance(obj, Student):
            obj.suspended = True


class Course(EnduringObject[Decision]):
    @dataclass
    class Opened(InitialDecision):
        originator_topic: str
        course_id: str
        places: int

    def __init__(self, places: int) -> None:
        self.places = places
        self.student_ids: list[str] = []

    def enrol(self, student_id: str) -> None:
        if len(self.student_ids) >= self.places:
            raise RefusedError("The course is full.")
        self.trigger_event(Enrolled, [student_id], course_id=self.id, student_id=student_id)


class Student(EnduringObject[Decision]):
    @dataclass
    class Registered(InitialDecision):
        originator_topic: str
        student_id: str
        name: str

    def __init__(self, name: str) -> None:
        self.name = name
        self.course_ids: list[str] = []
        self.suspended = False

    def suspend(self) -> None:
        self.trigger_event(Suspended, reason="fees")


class Students(Group[Decision]):
    """Several students; its consistency boundary has one query item for each of them."""

    def __init__(self, *students: Student) -> None:
        self.students = students

    def enrol(self, course_id: str) -> None:
        """Enrol all of them or none.

        There is one event for each student: `Group.trigger_event` would make one event with the tags of all of them,
        and a fact has at most FACTWIRE_AGGREGATE_IDS_MAX (default: 32) aggregate ids.
        """
        if any(student.suspended for student in self.students):
            raise RefusedError("A student is suspended.")
        for student in self.students:
            enrolled = Enrolled(course_id=course_id, student_id=student.id)
            self.new_decisions.append(Tagged([course_id, student.id], enrolled))


class JsonMapper(DCBMapper[Decision]):
    def to_dcb_event(self, event: Tagged[Decision]) -> DCBEvent:
        data = json.dumps(event.decision.as_dict()).encode()
        return DCBEvent(type=get_topic(type(event.decision)), data=data, tags=event.tags)

    def to_domain_event(self, event: DCBEvent) -> Tagged[Decision]:
        return Tagged(event.tags, resolve_topic(event.type)(**json.loads(event.data)))


class School:
    def __init__(self, recorder: FactwireRecorder) -> None:
        self.repository = DCBRepository(DCBEventStore(JsonMapper(), recorder))

    def open_course(self, places: int) -> str:
        course = Course(places=places)
        self.repository.save(course)
        course_id: str = course.id
        return course_id

    def register_students(self, count: int) -> list[str]:
        students = [Student(name=f"student {number}") for number in range(count)]
        for student in students:
            self.repository.save(student)
        return [student.id for student in students]

    def suspend(self, student_id: str) -> None:
        student = self.repository.get(student_id)
        assert isinstance(student, Student)
        student.suspend()
        self.repository.save(student)

    def course(self, course_id: str) -> Course:
        course = self.repository.get(course_id)
        assert isinstance(course, Course)
        return course

    def students(self, student_ids: list[str]) -> Students:
        students: Students = self.repository.get_group(Students, *student_ids)
        return students


@pytest.fixture
def school() -> Iterator[School]:
    with closing(FactwireRecorder(URL)) as recorder:
        yield School(recorder)


@pytest.mark.parametrize("changed", [0, STUDENTS // 2, STUDENTS - 1])
def test_one_decision_about_40_students_is_refused_if_any_of_them_changed(school: School, changed: int) -> None:
    course_id = school.open_course(places=STUDENTS)
    student_ids = school.register_students(STUDENTS)
    students = school.students(student_ids)
    assert len(students.consistency_boundary()) == STUDENTS
    students.enrol(course_id)

    school.suspend(student_ids[changed])

    with pytest.raises(IntegrityError):
        school.repository.save(students)
    with pytest.raises(RefusedError):
        school.students(student_ids).enrol(course_id)
    assert school.course(course_id).student_ids == []


def test_one_decision_about_40_students_is_stored_if_only_others_changed(school: School) -> None:
    course_id = school.open_course(places=STUDENTS)
    *student_ids, other_id = school.register_students(STUDENTS + 1)
    students = school.students(student_ids)
    students.enrol(course_id)

    school.suspend(other_id)
    school.repository.save(students)

    assert school.course(course_id).student_ids == student_ids
    assert all(student.course_ids == [course_id] for student in school.students(student_ids).students)


def test_of_12_students_at_once_exactly_5_get_the_5_places(school: School) -> None:
    course_id = school.open_course(places=PLACES)
    student_ids = school.register_students(THREADS)
    start = Barrier(THREADS)

    def enrols(student_id: str) -> bool:
        start.wait()
        while True:
            course = school.course(course_id)
            try:
                course.enrol(student_id)
                school.repository.save(course)
            except RefusedError:
                return False
            except IntegrityError:
                continue  # another student was faster: read and decide again
            return True

    with ThreadPoolExecutor(THREADS) as threads:
        answers = list(threads.map(enrols, student_ids))

    enrolled = {student_id for student_id, answer in zip(student_ids, answers, strict=True) if answer}
    in_course = school.course(course_id).student_ids
    assert len(in_course) == PLACES
    assert set(in_course) == enrolled
