"""The contract of every job.

A job is a frozen dataclass that holds all it needs.  It runs on any thread, tells what it does
through the context and checks ``context.cancel`` at least once a second.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from engine.progress import JobContext

Result = TypeVar("Result", covariant=True)


class Job(Protocol[Result]):
    """A piece of long work."""

    @property
    def title(self) -> str:
        """What a person reads while it runs, such as ``Match a.png with b.png``."""
        ...

    def run(self, context: JobContext) -> Result:
        """Do the work.

        Raises:
            DescSpaceError: it cannot be done; the text says why and what would help.
            JobCancelled: it was asked to stop; nothing half-written is left behind.
        """
        ...
