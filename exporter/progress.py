"""Progress of an export: one bar per stage."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from runtime.commands import progress_bar

Advance = Callable[[], None]
# `with stage("tracing the UNet", 3) as advance:` opens a stage of three units.
Step = Callable[[str, int], AbstractContextManager[Advance]]


@contextmanager
def showing() -> Iterator[Step]:
    """Stages as progress bars on stderr."""
    with progress_bar() as bars:

        @contextmanager
        def stage(title: str, total: int) -> Iterator[Advance]:
            task = bars.add_task(f"{title:<26}", total=total)
            yield lambda: bars.advance(task)
            bars.update(task, completed=total)

        yield stage


@contextmanager
def silent(title: str, total: int) -> Iterator[Advance]:
    """A stage that shows nothing."""
    yield lambda: None
