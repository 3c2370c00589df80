"""How far a long command is: a bar on a terminal, a plain line at each tenth elsewhere; it knows nothing of the work."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Step = Callable[[int], None]


@contextmanager
def progress(what: str, total: int) -> Iterator[Step]:
    """`with progress("data keys", 10_000) as step:` and `step(500)` after each 500. Written to standard error."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines(what, total, console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, advance=done)


def _lines(what: str, total: int, console: Console) -> Step:
    done = 0

    def step(more: int) -> None:
        nonlocal done
        before, done = done, done + more
        if done >= total or done * 10 // total > before * 10 // total:
            console.print(f"{what}: {done} of {total}", highlight=False, soft_wrap=True)

    return step
