"""The commands, one module each, in the order in which help lists them."""

from engine.cli.commands import (
    bench,
    demo,
    describe,
    descriptors,
    doctor,
    download,
    evaluate,
    export,
    match,
    report,
    train,
    view,
)

COMMANDS = (
    *(view.COMMAND, match.COMMAND, describe.COMMAND, evaluate.COMMAND, report.COMMAND),
    *(train.COMMAND, export.COMMAND, descriptors.COMMAND, demo.COMMAND, download.COMMAND),
    *(doctor.COMMAND, bench.COMMAND),
)
