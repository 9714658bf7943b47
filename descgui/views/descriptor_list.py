"""The list of descriptors: in groups by what can be done with them, with their times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, QSize, Qt
from PySide6.QtGui import QPainter, QPalette, QPen, QStandardItemModel
from PySide6.QtWidgets import QComboBox, QStyle, QStyledItemDelegate, QStyleOptionViewItem

from descgui.models.describing_times import SLOW_S, DescribingTime, DescribingTimes
from descgui.models.engine_state import DescriptorChoiceInfo, EngineState
from descgui.views.words import duration_text

READY: Final = "Ready"
NEEDS_WEIGHTS: Final = "Needs weights"
SLOW: Final = f"Slow: over {SLOW_S:g} s an image here"
YOURS: Final = "Yours"

DETAIL_ROLE: Final = Qt.ItemDataRole.UserRole + 1
_HEADING_ROLE: Final = Qt.ItemDataRole.UserRole + 2
_GAP_PX: Final = 24
_WIDEST_PX: Final = 460
_Index = QModelIndex | QPersistentModelIndex


def grouped(
    state: EngineState, times: DescribingTimes, weights_of: Callable[[str], Any]
) -> tuple[tuple[str, tuple[DescriptorChoiceInfo, ...]], ...]:
    """The groups that are not empty, with their descriptors.

    Args:
        state: the descriptors and opened networks there are.
        times: how long they took.
        weights_of: the weights file that is chosen for a descriptor, if any.
    """
    groups: dict[str, list[DescriptorChoiceInfo]] = {
        name: [] for name in (READY, NEEDS_WEIGHTS, SLOW, YOURS)
    }
    for info in (*state.descriptors, *state.networks):
        taken = times.of(info.name)
        if info in state.networks or info.source != "built-in":
            group = YOURS
        elif state.missing_weights(info.name, {"weights": weights_of(info.name)}):
            group = NEEDS_WEIGHTS
        else:
            group = SLOW if taken is not None and taken.seconds > SLOW_S else READY
        groups[group].append(info)
    return tuple((name, tuple(infos)) for name, infos in groups.items() if infos)


def time_words(taken: DescribingTime | None) -> tuple[str, str]:
    """How long an image took: for the list, and as a sentence."""
    if taken is None:
        return "not measured", "Not measured on this machine yet."
    when = "Measured now" if taken.now else "Measured last on this machine"
    text = duration_text(taken.seconds)
    return text, f"{when}: {text} for an image of {taken.long_edge_px} px on {taken.device}."


def fill(
    combo: QComboBox, groups: tuple[tuple[str, tuple[DescriptorChoiceInfo, ...]], ...],
    times: DescribingTimes,
) -> None:  # fmt: skip
    """Add the groups to a combo box below what it has; headings cannot be chosen."""
    model = combo.model()
    assert isinstance(model, QStandardItemModel)
    for heading, infos in groups:
        combo.addItem(heading)
        combo.setItemData(combo.count() - 1, True, _HEADING_ROLE)
        model.item(combo.count() - 1).setFlags(Qt.ItemFlag.NoItemFlags)
        for info in infos:
            short, sentence = time_words(times.of(info.name))
            combo.addItem(info.title, info.name)
            row = combo.count() - 1
            combo.setItemData(row, short, DETAIL_ROLE)
            tip = f"{info.name} · {info.source}\n{info.summary}\n{sentence}"
            combo.setItemData(row, tip, Qt.ItemDataRole.ToolTipRole)


def widen(combo: QComboBox) -> None:
    """Make the list of a filled combo box wide enough for the names and times."""
    view = combo.view()
    view.setMinimumWidth(min(view.sizeHintForColumn(0) + _GAP_PX, _WIDEST_PX))


class DescriptorDelegate(QStyledItemDelegate):
    """Paints a descriptor with its time at the right, and headings of groups in bold."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: _Index) -> None:
        if _is_line(index):
            y = option.rect.center().y()
            painter.setPen(QPen(option.palette.color(QPalette.ColorRole.Mid)))
            painter.drawLine(option.rect.left() + 4, y, option.rect.right() - 4, y)
            return
        self.initStyleOption(option, index)
        if index.data(_HEADING_ROLE):
            painter.save()
            painter.setFont(option.font)
            painter.setPen(option.palette.color(QPalette.ColorRole.PlaceholderText))
            place = option.rect.adjusted(6, 0, -6, 0)
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, str(index.data()))
            painter.restore()
            return
        super().paint(painter, option, index)
        detail = index.data(DETAIL_ROLE)
        if detail:
            chosen = bool(option.state & QStyle.StateFlag.State_Selected)
            role = (
                QPalette.ColorRole.HighlightedText if chosen else QPalette.ColorRole.PlaceholderText
            )
            painter.save()
            painter.setFont(option.font)
            painter.setPen(option.palette.color(role))
            place = QRect(option.rect).adjusted(0, 0, -8, 0)
            flags = Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
            painter.drawText(place, flags, str(detail))
            painter.restore()

    def initStyleOption(self, option: QStyleOptionViewItem, index: _Index) -> None:
        super().initStyleOption(option, index)
        option.font.setBold(bool(index.data(_HEADING_ROLE)))

    def sizeHint(self, option: QStyleOptionViewItem, index: _Index) -> QSize:
        if _is_line(index):
            return QSize(20, 7)
        size = super().sizeHint(option, index)
        detail = index.data(DETAIL_ROLE)
        beside = option.fontMetrics.horizontalAdvance(str(detail)) + _GAP_PX if detail else 0
        return QSize(size.width() + beside + 8, size.height() + 4)


def _is_line(index: _Index) -> bool:
    return bool(index.data(Qt.ItemDataRole.AccessibleDescriptionRole) == "separator")
