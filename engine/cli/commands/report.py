"""``report``: make the report of finished evaluations, several in one."""

from __future__ import annotations

from argparse import Namespace

from engine.cli.command import Command, Shell, options_from
from engine.errors import ConfigError
from engine.jobs.command_line import ReportOptions, command_line
from engine.progress import Stage


def run(arguments: Namespace, shell: Shell) -> int:
    """Make the report."""
    from engine.evaluation.report import REPORT_HTML, REPORT_PDF
    from engine.evaluation.report_figures import FIGURES_FOLDER
    from engine.evaluation.report_html import paper_html
    from engine.evaluation.table_text import TABLE_FILES
    from engine.jobs.report import ReportJob

    options = options_from(arguments, ReportOptions)
    out = options.out
    if out is None and len(options.folders) > 1:
        raise ConfigError("out", "name the folder for the report of several runs")
    if out is None:
        (folder,) = options.folders
        out = folder.parent if folder.suffix == ".json" else folder
    job = ReportJob(
        folders=options.folders,
        out=out,
        pictures=not options.no_pictures,
        dataset=options.dataset,
        command=command_line("report", options),
        tables=options.tables,
        figures=options.figures,
    )
    report = job.run(shell.context())
    if options.pdf:
        if shell.draw_pdf is None:
            raise ConfigError("pdf", "this program cannot draw a PDF; use main.py")
        with shell.stage(Stage.DRAWING_PDF):
            shell.draw_pdf(paper_html(report), out / REPORT_PDF)
    shell.sink.close()
    shell.print(report.summary)
    shell.print(f"\nreport: {out / REPORT_HTML}")
    if options.pdf:
        shell.print(f"as PDF: {out / REPORT_PDF}")
    for kind in options.tables:
        shell.print(f"tables: {out / TABLE_FILES[kind]}")
    if options.figures:
        shell.print(f"figures: {out / FIGURES_FOLDER}")
    return 0


COMMAND = Command(
    usage="DIR… [option …]",
    examples=(
        "report runs/1",
        "report runs/1 runs/2 --out runs/both --pdf",
        "report runs/1 --dataset /data/hpatches",
    ),
    description="Write report.html, one file without anything to load, from the results of "
    "'evaluate'.\nThe worst pairs are shown with their matches, where their images "
    "can be found.\nTables and curves are written beside it, to copy into a paper.",
    options=(ReportOptions,),
    run=run,
)
