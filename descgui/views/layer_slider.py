"""Goes through the layers of a network, and tells where the cells of one were found."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QLabel, QSlider, QWidget

from descgui.views.panel_parts import (
    ElidedLabel,
    ThinBar,
    WheelNeedsFocus,
    in_column,
    in_row,
    tabular,
)
from engine import api

_ALIKE_PX: Final = 0.01
_METHODS: Final = {
    "gradient": "gradients",
    "differences": "differences",
    "mirror": "mirroring images",
    "enlarging": "matching photos with enlarged copies, by the published weights",
}


class LayerSlider(QWidget):
    """A slider over all layers, what the library tells of the present one, and its measured grid.

    Signals:
        layer_chosen(int): the number of the layer that the user wants.
    """

    layer_chosen = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._network: api.NetworkInfo | None = None
        self._wheel = WheelNeedsFocus(self)
        title = QLabel("Layer", self)
        self.slider = QSlider(Qt.Orientation.Horizontal, self)
        self.slider.setAccessibleName("Layer")
        self.slider.setPageStep(1)
        self.slider.setToolTip("Describe by another layer of the network")
        self.slider.valueChanged.connect(self._on_value)
        self._wheel.guard(self.slider)
        title.setBuddy(self.slider)
        self.number = QLabel(self)
        self.number.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.layer = ElidedLabel(parent=self)
        self.grid = ElidedLabel(parent=self)
        for label in (self.number, self.layer, self.grid):
            label.setFont(tabular(label.font()))
        for label in (self.layer, self.grid):
            label.setProperty("subtle", True)
        self.bar = ThinBar(self)
        self.bar.setAccessibleName("Describing by the other layers")
        self.bar.setToolTip("Describing by the other layers, so that the slider shows them at once")
        row = in_row(None, title, (self.slider, 1), self.number, spacing_px=8)
        in_column(self, row, self.layer, self.grid, self.bar, spacing_px=2)
        self.show_preparing(None)
        self.show_network(None, None)

    def show_network(self, network: api.NetworkInfo | None, name: api.ModelName | None) -> None:
        """Show a network at the layers of a name; hide without one."""
        self.setVisible(network is not None and len(network.layers) > 1)
        if network is None or name is None:
            self._network = None
            return
        if network is not self._network:
            self._network = network
            last = len(network.layers) - 1
            self.number.setMinimumWidth(
                self.number.fontMetrics().horizontalAdvance(f"{last} of {last}")
            )
            with QSignalBlocker(self.slider):
                self.slider.setRange(0, last)
            self._show_grid(network)
        chosen = layers_of(name, network)
        with QSignalBlocker(self.slider):
            self.slider.setValue(chosen[-1])
        self._show_layers(chosen)

    def show_preparing(self, share: float | None) -> None:
        """Show how much of the other layers is described, None while nothing is."""
        policy = self.bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # the panel must not jump under the slider
        self.bar.setSizePolicy(policy)
        self.bar.setVisible(share is not None)
        self.bar.show_done(round(1000 * (share or 0.0)), 1000, waiting=False)

    def _show_layers(self, chosen: tuple[int, ...]) -> None:
        assert self._network is not None
        layers = self._network.layers
        number = " + ".join(map(str, chosen))
        self.number.setText(f"{number} of {len(layers) - 1}")
        names = " + ".join(layers[one].name for one in chosen)
        stride_px = min(layers[one].stride_px for one in chosen)
        dim = sum(layers[one].dim for one in chosen)
        self.layer.say(f"{names} · stride {stride_px:g} px · {dim}-d")
        self.slider.setAccessibleDescription(self.layer.text())

    def _show_grid(self, network: api.NetworkInfo) -> None:
        stride, offset = (
            f"{sum(pair) / 2:.3g}"  # what is used
            if abs(pair[0] - pair[1]) <= max(_ALIKE_PX, 4 * network.error_px)
            else "{:.3g} × {:.3g}".format(*pair)
            for pair in (network.stride_px, network.offset_px)
        )
        self.grid.say(
            f"Measured: {stride} px from {offset} ± {error_text(network.error_px)} px",
            "Where the cells of this layer were found in the network's input, by "
            f"{_METHODS.get(network.method, network.method)}: the distance of the cells, and the "
            "first one's place with its standard error.",
        )

    def _on_value(self, layer: int) -> None:
        if self._network is not None:
            self._show_layers((layer,))
            self.layer_chosen.emit(layer)


def layers_of(name: api.ModelName, network: api.NetworkInfo) -> tuple[int, ...]:
    """The numbers of the layers in a network's name, ascending; its last one where it has none."""
    names = [layer.name for layer in network.layers]
    count = len(names)
    found = set()
    for word in name.layers:
        if word in names:
            found.add(names.index(word))
        elif word.lstrip("-").isdecimal() and -count <= int(word) < count:
            found.add(int(word) % count)
    return tuple(sorted(found)) or (count - 1,)


def error_text(error_px: float) -> str:
    """A standard error with one digit: ``0.02``, ``<0.001``."""
    return "<0.001" if error_px < 0.001 else f"{error_px:.1g}"
