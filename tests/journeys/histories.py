"""Histories that hypothesis makes of one kind of deeds: how they are drawn, how workers run in them, and what befell them."""

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from structlog import DropEvent
from structlog.typing import EventDict

from tests.journeys.stage import Stage

BOUTS, HISTORIES = 20, 10
"""Of each bout the first history is the simplest; and after the tenth hypothesis would vary the others, which makes of many
things that befall them a few that befall them often."""
OFTEN = 5
"""In so many of the histories at least each thing befalls them that they are there for."""
WELL, LATER, KILLED, LATE = "goes well", "is not run yet", "killed", "answer after the lease"
"""How a worker's run may go, whatever it is for."""

few = st.sampled_from([False, False, False, True])
leaps = {"seconds": st.sampled_from([2, 20, 600, 3600, 93600]), "struck": st.booleans(), "wiped": few}
"""How time may pass (`Histories.pass_time`)."""

Drawn = tuple[str, dict[str, Any]]


class Deeds:
    """What may happen in the histories of one kind, by the names of its methods."""

    def __init__(self) -> None:
        self._all: list[st.SearchStrategy[Drawn]] = []

    def __call__(self, often: int = 1, **more: st.SearchStrategy[Any]) -> Callable[[Any], Any]:
        """The method may happen, `often` times as likely as others.

        All of them are drawn by one rule: of many rules hypothesis switches most off in most histories, and in none of ours
        would enough come together.
        """

        def kept(does: Any) -> Any:
            self._all.extend(st.tuples(st.just(does.__name__), st.fixed_dictionaries(more)) for _ in range(often))
            return does

        return kept

    def drawn(self) -> st.SearchStrategy[Drawn]:
        """One of them, with what it needs."""
        return st.one_of(self._all)


class Histories(RuleBasedStateMachine):
    """A history on a stage; `met` is what has befallen it, besides the faults that the simulator has counted."""

    stage: ClassVar[Stage]
    ran: ClassVar[int]
    befell: ClassVar[Counter[str]]

    def __init__(self) -> None:
        super().__init__()
        self.stage.begin()
        self.met: set[str] = set()

    def workers_run(self, *, killed_at: int | None = None) -> None:
        """Workers do what there is to do; or one dies at so many looks at its clock, if it is not done before."""
        if killed_at is not None:
            self.stage.work(0)
        with self.stage.fuse.lit(killed_at):
            self.stage.work(99)
        if self.stage.fuse.has_blown:
            self.met.add(KILLED)
            self.stage.clock.tick(60)  # what it held is free again
        self.stage.crossing.do(None)

    def another_worker_runs(self) -> None:
        """While a provider answers: it has been given the job, and ends it."""
        self.stage.clock.tick(60)
        self.stage.work(99)

    def pass_time(self, seconds: int, struck: bool, wiped: bool) -> None:
        """Beat puts what is due, or is away meanwhile; Redis may lose everything."""
        self.stage.clock.tick(seconds)
        if wiped:
            self.met.add("Redis wiped")
            self.stage.troth.redis.flushdb()
        if struck:
            self.met.add(f"{seconds} s passed")
            self.stage.beat()

    def is_over(self) -> None:
        """It held."""
        type(self).befell.update(self.met | self.stage.outside.server.calls.faults.keys())
        type(self).ran += 1


def play(machine: type[Histories], befalls: Collection[str], *, steps: int) -> None:
    """Histories enough, of so many steps, in each of which everything holds, and that are about something: `befalls` are what
    has to befall them often."""
    machine.ran, machine.befell = 0, Counter()
    for bout in range(BOUTS):
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            seed(bout)(machine),
            settings=settings(
                max_examples=HISTORIES, stateful_step_count=steps, deadline=None, database=None, print_blob=True,
                phases=[Phase.generate, Phase.shrink], suppress_health_check=list(HealthCheck),
            ),
        )  # fmt: skip
    assert machine.ran >= BOUTS * HISTORIES
    assert {name: machine.befell[name] for name in befalls if machine.befell[name] < OFTEN} == {}


def unwritten(*_: object) -> EventDict:
    """For logs that nobody reads: writing them takes a third of the time."""
    raise DropEvent
