"""Shows, compares, deletes and restores past evaluations, and opens what they measured."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication

from descgui.controllers.matches_controller import MatchesController
from descgui.controllers.pair_controller import PairController
from descgui.desktop import open_on_desktop
from descgui.models.bundle import AppModels
from descgui.models.evaluation_state import Deleted, ShownRun
from descgui.models.maps_state import DescriptorChoice
from descgui.models.messages import Failure
from descgui.models.result_tables import ResultTables
from descgui.workers.lane import JobLane
from engine import api


class ResultsController(QObject):
    """Reads and moves the folders of past runs, writes reports, and opens measured pairs.

    Signals:
        pair_wanted(): a measured pair is being opened, which should come into sight.
    """

    pair_wanted = Signal()

    def __init__(
        self,
        models: AppModels,
        pairs: PairController,
        matches: MatchesController,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._models = models
        self._model = models.evaluation
        self._shown = models.evaluation.shown
        self._pairs = pairs
        self._matches = matches
        self._wants_matches = False
        self.lane = JobLane(models.messages.report, self)
        models.pair.changed.connect(self._on_pair)
        models.engine.changed.connect(self.refresh)

    def refresh(self) -> None:
        """List the past runs again."""
        if self._ready:
            self.lane.submit(
                lambda _context: api.list_runs(), key="list", done=self._model.runs.set
            )

    def show(self, folders: Sequence[Path]) -> None:
        """Show a past run, or several in one table."""
        if self._ready and folders and not self._shown.state.busy:
            self.lane.submit(lambda _context: _read(tuple(folders)), key="show", done=self._on_read)

    def delete(self, folders: Sequence[Path]) -> None:
        """Move runs to the trash folder, except the one that is running."""
        shown = self._shown.state
        running = shown.content.folders if shown.busy and shown.content is not None else ()
        chosen = [folder for folder in folders if folder not in running]
        if self._ready and chosen:
            self.lane.submit(
                lambda _context: tuple(Deleted(api.trash_run(one), one) for one in chosen),
                key=("delete", *chosen),
                done=self._on_deleted,
                failed=self._on_move_failed,
            )

    def undo_delete(self) -> None:
        """Restore the runs that were deleted last."""
        deleted = self._model.deleted.state
        if self._ready and deleted:
            self.lane.submit(
                lambda _context: _restore(deleted),
                key="restore",
                done=lambda _none: self._on_deleted(()),
                failed=self._on_move_failed,
            )

    def open_report(self) -> None:
        """Open the report of the results on display; write it first if there is none."""
        shown = self._shown.state
        if shown.report is not None and shown.report.exists():
            open_on_desktop(shown.report, self._models.messages)
        elif shown.content is not None and shown.content.finished and self._ready:
            folders = shown.content.folders
            self._shown.update(reporting=True)
            self.lane.submit(
                partial(_write_report, folders),
                key="report",
                done=partial(self._on_report, folders),
                failed=self._on_report_failed,
                cancelled=lambda: self._shown.update(reporting=False),
            )

    def copy_table(self, kind: api.CopyFormat, table: api.Table) -> None:
        """Put a table on the clipboard, as text."""
        QGuiApplication.clipboard().setText(api.table_text(kind, table))
        self._models.messages.notify("The table is on the clipboard.")

    def open_pair(self, group: str, index: int, label: str, threshold_px: float) -> None:
        """Open a measured pair with the descriptor called ``label``, and match it."""
        content = self._shown.state.content
        if content is None:
            return
        if content.opened is None:
            self._models.messages.notify("The images of this run were moved or deleted.", "warning")
            return
        measured = next((one for one in content.descriptors if one.label == label), None)
        if measured is not None and self._models.engine.state.descriptor(measured.name):
            file = content.weights_of(label)
            weights = {"weights": str(file)} if file is not None else {}
            self._models.maps.choose(DescriptorChoice(measured.name, MappingProxyType(weights)))
        if content.changed:
            self._models.messages.notify(
                "The pair is shown as it is on the disk: without rotation or scaling."
            )
        self._models.settings.override(correct_px=max(threshold_px, 0.1))
        self._models.matches.update(visible=True, descriptor=0)
        self._wants_matches = True
        self._pairs.open_set(content.opened, group=group, index=index)
        self.pair_wanted.emit()

    @property
    def _ready(self) -> bool:
        return self._models.engine.state.stage == "ready"

    def _on_read(self, found: tuple[ResultTables, Path | None]) -> None:
        tables, report = found
        content = tables.content
        if not self._shown.state.busy:
            self._shown.set(
                ShownRun(
                    "done" if content.finished else "stopped",
                    content,
                    tables,
                    notes=tables.notes,
                    report=report,
                )
            )

    def _on_deleted(self, deleted: tuple[Deleted, ...]) -> None:
        self._model.deleted.set(deleted)
        content = self._shown.state.content
        if content is not None and {one.folder for one in deleted} & set(content.folders):
            self._shown.set(ShownRun())
        self.refresh()

    def _on_move_failed(self, failure: Failure) -> None:
        self.refresh()
        self._models.messages.report(failure)

    def _on_report(self, folders: tuple[Path, ...], page: Path) -> None:
        content = self._shown.state.content
        if content is not None and content.folders == folders:
            self._shown.update(report=page, reporting=False)
        open_on_desktop(page, self._models.messages)

    def _on_report_failed(self, failure: Failure) -> None:
        self._shown.update(reporting=False)
        self._models.messages.report(failure)

    def _on_pair(self) -> None:
        if self._wants_matches:
            self._wants_matches = False
            self._matches.run()


def _read(folders: tuple[Path, ...]) -> tuple[ResultTables, Path | None]:
    page = folders[0] / api.REPORT_HTML
    tables = ResultTables.of(api.read_runs(folders))
    return tables, page if len(folders) == 1 and page.exists() else None


def _restore(deleted: tuple[Deleted, ...]) -> None:
    for one in deleted:
        api.restore_run(one.trashed, one.folder)


def _write_report(folders: tuple[Path, ...], context: api.JobContext) -> Path:
    out = folders[0]
    if len(folders) > 1:
        # Comparing the same runs again writes to the same folder.
        out = api.user_data_dir() / "reports" / "+".join(folder.name for folder in folders)[:120]
    api.ReportJob(folders=folders, out=out).run(context)
    return out / api.REPORT_HTML
