"""``leaderboard``: rank the results of many evaluations on one page."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

from engine.cli.command import Command, Shell, options_from
from engine.jobs.command_line import LeaderboardOptions

if TYPE_CHECKING:
    from engine.evaluation.leaderboard import Board


def run(arguments: Namespace, shell: Shell) -> int:
    """Rank them."""
    from engine.jobs.leaderboard import LeaderboardJob

    options = options_from(arguments, LeaderboardOptions)
    boards = LeaderboardJob(options=options).run(shell.context())
    shell.sink.close()
    for board in boards:
        shell.print("\n".join(_as_text(board)))
        shell.print("")
    shell.print(f"leaderboard: {options.out}")
    return 0


def _as_text(board: Board) -> Iterator[str]:
    """The standings in the terminal, line by line."""
    from engine.evaluation.report_prose import remark_on
    from engine.metrics import metric_text

    standings = board.standings()
    yield f"{board.title}: {board.ranked_by}"
    for field, values in board.tolerated.items():
        yield f"  allowed to differ: {field} ({', '.join(values)})"
    width = max((len(one.label) for one in standings), default=0)
    for one in standings:
        row = board.value(one.label)
        share, ends = "–", ""
        if row is not None and row.value is not None:
            share = metric_text(board.metric, row.value)
            some = [metric_text(board.metric, end) for end in row.ends or ()]
            ends = f"[{', '.join(some)}]" if some else ""
        rank = "–" if one.rank is None else str(one.rank)
        remark = remark_on(board.merged, one.label)
        said = f"{one.run} ({remark})" if remark else one.run
        yield f"  {rank:>3}  {one.label:<{width}}  {share:>5} {ends}  {said}"


COMMAND = Command(
    usage="DIR… [option …]",
    examples=(
        "leaderboard runs",
        "leaderboard runs/1 runs/2 --out board.html",
        "leaderboard runs --allow device --allow versions",
        "leaderboard runs --by corner_auc@5",
    ),
    description="Write one page that ranks the descriptors of many results of 'evaluate'.\n"
    "Only results whose fingerprints agree in everything but the descriptors are ranked together; "
    "others\nget boards of their own, and the page tells what differs.",
    options=(LeaderboardOptions,),
    run=run,
)
