"""Every command of the window, declared once: menus, tool bar, palette and shortcut sheet read it.

A command's checked state follows the models, and a click on one that only changes how things look
(mode, linked views, theme) is written into its model here.  All others are carried out by what is
connected to ``actions["id"].triggered``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from PySide6.QtGui import QKeySequence

from descgui.models.bundle import AppModels
from descgui.views.conditions import (
    always,
    needs_comparison,
    needs_dense_truth,
    needs_engine,
    needs_homography,
    needs_maps,
    needs_matches,
    needs_members,
    needs_network,
    needs_pair,
    needs_pair_and_engine,
    needs_pins,
    needs_points,
    needs_results,
    needs_selected_pin,
    needs_study,
    needs_training,
    needs_truth,
    needs_work,
    set_elsewhere,
)
from descgui.views.workspaces import WORKSPACES
from engine.api import (
    PANELS,
    VIEW_MODES,
    Placement,
)

Key = str | QKeySequence.StandardKey
Section = tuple["Command", ...]
_Standard = QKeySequence.StandardKey

MENU_TITLES = {
    "file": "&File",
    "edit": "&Edit",
    "view": "&View",
    "run": "&Run",
    "window": "&Window",
    "help": "&Help",
}
SUBMENU_TITLES = {"stacked": "P&anes", "colormap": "C&olour map", "theme": "&Theme"}


@dataclass(frozen=True, slots=True)
class Command:
    """What a command is called, how it looks, and when it can be used.

    Attributes:
        id: key in :class:`~descgui.views.actions.Actions`.
        text: in menus, with a mnemonic.
        tip: one sentence without a full stop, for the tooltip and the palette.
        icon: name of an icon.
        keys: its shortcuts.
        needs: why it cannot be used now; "" if it can.
        checked: whether it is on, by the models; None where they do not know.
        checkable: it is on or off, but something other than a model decides which.
        apply: what a click changes in the models; None where something else acts.
        group: commands of one group exclude one another.
        submenu: key of :data:`SUBMENU_TITLES`; "" for the menu itself.
    """

    id: str
    text: str
    tip: str
    icon: str
    keys: tuple[Key, ...] = ()
    needs: Callable[[AppModels], str] = always
    checked: Callable[[AppModels], bool] | None = None
    checkable: bool = False
    apply: Callable[[AppModels, bool], None] | None = None
    group: str = ""
    submenu: str = ""


def _mode(number: int, mode: str) -> Command:
    text, tip, needs = {
        "image": ("&Image", "Show the images alone", needs_pair),
        "pca": ("&PCA", "Show the descriptors as colours", needs_pair),
        "overlay": ("O&verlay", "Show the descriptors' colours over the images", needs_pair),
        "heat": ("&Heat map", "Show the similarity of every point to the query", needs_pair),
        "warp": ("&Warp", "Warp one image onto the other by the homography", needs_homography),
        "cycle": ("&Cycle", "Show the error of matching there and back", needs_pair),
        "members": ("&Members", "Show which member of the set won at each point", needs_members),
        "norms": ("&Norms", "Show how long a network's vectors are", needs_network),
        "error": ("&Error", "Show how far the match of every cell is off", needs_dense_truth),
    }[mode]
    return Command(
        f"mode_{mode}",
        text,
        tip,
        f"mode-{mode}",
        (str(number),),
        needs,
        checked=lambda models: models.view.state.mode == mode,
        apply=lambda models, _on: models.view.update(mode=mode),
        group="mode",
    )


def _arrangement(name: Placement, text: str, tip: str) -> Command:
    key = ("Shift+L",) if name == "stacked" else ()

    def apply(models: AppModels, _on: bool) -> None:
        again = models.view.state.arrangement == name  # the key also leads back
        models.view.update(arrangement="auto" if again else name)

    return Command(
        f"panes_{name}",
        text,
        tip,
        "stacked" if name == "stacked" else "side-by-side",
        key,
        checked=lambda models: models.view.state.arrangement == name,
        apply=apply,
        group="arrangement",
        submenu="stacked",
    )


def _setting(setting: str, value: str, text: str, tip: str, icon: str) -> Command:
    return Command(
        f"{setting}_{value}",
        text,
        tip,
        icon,
        checked=lambda models: getattr(models.settings.state, setting) == value,
        apply=lambda models, _on: models.settings.update(**{setting: value}),
        group=setting,
        submenu=setting,
    )


def _panel(name: str) -> Command:
    text, icon, key = {
        "browser": ("&Browser", "browser", "F2"),
        "descriptor": ("&Descriptor", "descriptor", "F3"),
        "probe": ("&Probe", "probe", "F4"),
        "matches": ("&Matches", "matches", "F6"),
        "evaluation": ("&Evaluation", "evaluate", ""),
        "training": ("&Training", "train", ""),
        "log": ("&Log", "log", "F7"),
    }[name]
    tip = "Show or hide this panel"
    keys = (key,) if key else ()
    return Command(f"dock_{name}", text, tip, icon, keys, set_elsewhere, checkable=True)


def _workspace(name: str) -> Command:
    text, tip, icon, keys = {
        "inspect": ("&Inspect", "Look at the pair and probe it", "search", ("I",)),
        "evaluate": (
            "E&valuate", "Measure descriptors on sets of pairs, or go back to the pair",
            "evaluate", ("E", "F8"),
        ),
        "train": ("Trai&n", "Train a descriptor, or go back to the pair", "train", ("T", "F9")),
    }[name]  # fmt: skip
    return Command(
        f"workspace_{name}", text, tip, icon, keys, set_elsewhere, checkable=True, group="workspace"
    )


# fmt: off
MENUS: Mapping[str, tuple[Section, ...]] = {
    "file": (
        (
            Command("open_pair", "&Open pair…", "Open two images", "open-pair", (_Standard.Open,)),
            Command(
                "open_folder", "Open &folder…", "Open a folder with pairs of images",
                "open-folder", ("Ctrl+Shift+O",),
            ),
            Command(
                "open_session", "Open sess&ion…", "Open a saved session: pair, pins, view and all",
                "open-session", ("Ctrl+Alt+O",),
            ),
            Command("open_demo", "Open &demo", "Open the built-in demo sequences", "demo"),
        ),
        (),  # the recent pairs and folders stand between
        (
            Command(
                "load_homography", "Load &homography…",
                "Load the true homography of the open pair from a file", "homography",
                needs=needs_pair,
            ),
            Command(
                "load_truth", "Load tr&uth…",
                "Load ground truth of any kind for the open pair: flow, disparity, points, …",
                "truth", needs=needs_pair,
            ),
            Command(
                "clear_truth", "&Clear truth",
                "Remove the ground truth of the open pair", "homography-clear",
                needs=needs_truth,
            ),
            Command(
                "open_network", "Open &network…",
                "Describe by a network of timm or another library, or by one in a file",
                "network", ("Ctrl+Shift+N",), needs_engine,
            ),
            Command(
                "load_maps", "Load precomputed &maps…",
                "Show dense descriptors of your own, one map file for each image", "maps",
                needs=needs_pair,
            ),
            Command(
                "load_plugin", "Load p&lugin…", "Run a Python file that registers a descriptor",
                "plugin", needs=needs_engine,
            ),
        ),
        (
            Command(
                "save_session", "Sa&ve session…",
                "Save pair, truth, descriptors, settings, pins and view to a small file",
                "save-session", ("Ctrl+Shift+S",), needs_pair,
            ),
            Command(
                "export_canvas", "&Save picture…", "Save both panes as a PNG", "export-image",
                (_Standard.Save,), needs_pair,
            ),
            Command(
                "export_window", "Save &window picture…", "Save the whole window as a PNG",
                "export-window",
            ),
            Command(
                "export_figure", "&Export figure…", "Export a figure for a paper, with a preview",
                "export-figure", ("Ctrl+E",), needs_pair,
            ),
            Command(
                "export_matches", "Export ma&tches…",
                "Export all matches as CSV, NumPy or COLMAP files", "table", ("Ctrl+Shift+E",),
                needs_matches,
            ),
        ),
        (
            Command(
                "export_points", "E&xport points…",
                "Export the query and all pins with their matches as CSV or Markdown", "table",
                needs=needs_points,
            ),
        ),
        (Command("quit", "&Quit", "Quit the program", "quit", ("Ctrl+Q",)),),
    ),
    "edit": (
        (
            Command(
                "undo", "&Undo", "Undo the last pin change", "undo", (_Standard.Undo,),
                set_elsewhere,
            ),
            Command(
                "redo", "&Redo", "Redo the last undone pin change", "redo", (_Standard.Redo,),
                set_elsewhere,
            ),
        ),
        (
            Command(
                "copy_canvas", "&Copy picture", "Copy both panes as a picture", "copy",
                (_Standard.Copy,), needs_pair,
            ),
            Command(
                "copy_command", "Copy as co&mmand", "Copy the command line that opens this view",
                "terminal", ("Ctrl+Shift+C",), needs_pair,
            ),
            Command(
                "copy_points_csv", "Copy points as CS&V",
                "Copy the query and all pins with their matches for a spreadsheet", "table",
                needs=needs_points,
            ),
            Command(
                "copy_points_markdown", "Copy points as Mark&down",
                "Copy the query and all pins with their matches as a Markdown table", "table",
                needs=needs_points,
            ),
            Command(
                "paste_image", "&Paste images", "Open images or their paths from the clipboard",
                "paste", (_Standard.Paste,),
            ),
        ),
        (
            Command(
                "remove_pin", "Remove p&in", "Remove the selected pin", "pin-remove",
                (_Standard.Delete,), needs_selected_pin,
            ),
            Command(
                "clear_pins", "Remove &all pins", "Remove all pins", "clear-pins",
                needs=needs_pins,
            ),
        ),
        (Command("settings", "&Settings…", "Change the settings", "settings", ("Ctrl+,",)),),
    ),
    "view": (
        tuple(_mode(number, mode) for number, mode in enumerate(VIEW_MODES, start=1)),
        (
            Command(
                "blink", "&Blink", "Alternate an image with the other one warped onto it", "blink",
                ("Space",), needs_truth,
                checked=lambda models: models.view.state.blink and models.view.state.mode == "warp",
                apply=lambda models, on: models.view.update(
                    blink=on, mode="warp" if on else models.view.state.mode
                ),
            ),
            Command(
                "pca_colours", "PCA colou&rs…",
                "Choose the components that are red, green and blue, and the foreground",
                "pca-colours", ("P",), needs_pair,
            ),
            Command(
                "self_similarity", "Self-similarit&y",
                "Show the heat map in the query's own image, too", "self-similarity", ("S",),
                needs_pair,
                checked=lambda models: models.view.state.self_similarity,
                apply=lambda models, on: models.view.update(
                    self_similarity=on, mode="heat" if on else models.view.state.mode
                ),
            ),
            Command(
                "own_ranges", "Colour ran&ge for each descriptor",
                "Fit the heat map's colours for each descriptor alone", "colormap", ("G",),
                needs_comparison,
                checked=lambda models: models.view.state.own_ranges,
                apply=lambda models, on: models.view.update(own_ranges=on),
            ),
            Command(
                "linked", "&Linked views", "Pan and zoom both panes together", "linked", ("L",),
                checked=lambda models: models.view.state.linked,
                apply=lambda models, on: models.view.update(linked=on),
            ),
            _arrangement("auto", "&Automatic", "Place the panes where the images are largest"),
            _arrangement("beside", "&Side by side", "Place the panes side by side"),
            _arrangement("stacked", "S&tacked", "Place the panes above one another"),
        ),
        (
            Command(
                "value_range", "Blac&k and white points…",
                "Choose which values of the images are black and white", "value-range",
                needs=needs_pair,
            ),
            Command(
                "heat_colours", "Heat map colour&s…",
                "Choose the range and the colour map of heat maps", "colormap", ("Shift+G",),
            ),
        ),
        (
            Command("fit", "&Fit", "Fit both images", "fit", ("Ctrl+0",), needs_pair),
            Command(
                "one_to_one", "&1:1", "Show each image pixel as one screen pixel", "one-to-one",
                ("Ctrl+1",), needs_pair,
            ),
            Command(
                "zoom_in", "&Zoom in", "Zoom in", "zoom-in", (_Standard.ZoomIn, "Ctrl+="),
                needs_pair,
            ),
            Command(
                "zoom_out", "Zoom o&ut", "Zoom out", "zoom-out", (_Standard.ZoomOut,), needs_pair,
            ),
        ),
        (
            _setting("colormap", "viridis", "&Viridis", "From purple to yellow", "colormap"),
            _setting(
                "colormap", "cividis", "&Cividis",
                "From blue to yellow, readable with most kinds of colour blindness", "colormap",
            ),
            _setting("colormap", "magma", "&Magma", "From black over purple to white", "colormap"),
            _setting("colormap", "inferno", "&Inferno", "From black to yellow", "colormap"),
            _setting(
                "colormap", "turbo", "&Turbo (not uniform)",
                "A rainbow, not perceptually uniform: equal steps of value do not look equal",
                "colormap",
            ),
            _setting("theme", "system", "&System", "Follow the system's theme", "theme"),
            _setting("theme", "light", "&Light", "Use the light theme", "theme-light"),
            _setting("theme", "dark", "&Dark", "Use the dark theme", "theme-dark"),
        ),
    ),
    "run": (
        (
            Command(
                "previous_pair", "&Previous pair", "Open the previous pair", "previous", ("A",),
                set_elsewhere,
            ),
            Command("next_pair", "&Next pair", "Open the next pair", "next", ("D",), set_elsewhere),
        ),
        (
            Command(
                "describe_again", "&Describe again", "Recompute the open pair's descriptors",
                "refresh", (_Standard.Refresh,),
                needs=needs_pair_and_engine,
            ),
            Command(
                "compare", "&Compare descriptors…",
                "Add, remove and order descriptors: up to four at one cursor", "compare", ("C",),
                needs_engine,
                checked=lambda models: models.comparing,
            ),
        ),
        (
            Command(
                "run_matches", "&Match points", "Match many points of image A", "matches",
                ("Ctrl+M",),
                needs=needs_maps,
            ),
            Command(
                "clear_matches", "C&lear matches", "Clear the matches", "matches-clear",
                needs=needs_matches,
            ),
        ),
        (
            Command(
                "evaluate", "&Evaluate…", "Measure descriptors on HPatches or another set of pairs",
                "evaluate", ("Ctrl+Shift+R",),
            ),
            Command(
                "gallery", "Measured pa&irs…",
                "All pairs of the results on display: pictures, sorted and filtered, and a scatter "
                "plot", "images", needs=needs_results,
            ),
            Command(
                "study", "St&udy a network…",
                "Find out which layer of the shown network matches best", "study",
                needs=needs_study,
            ),
            Command(
                "train", "&Train…", "Train a descriptor on your own photos", "train",
                ("Ctrl+Shift+T",),
            ),
            Command(
                "stop_training", "St&op training", "Stop training and keep a checkpoint", "stop",
                needs=needs_training,
            ),
        ),
        (Command("cancel", "&Stop", "Stop the current computation", "stop", ("Esc",), needs_work),),
    ),
    "window": (
        tuple(_workspace(name) for name in WORKSPACES),
        tuple(_panel(name) for name in PANELS),
        (
            Command(
                "reset_layout", "&Reset layout", "Restore the default layout of this workspace",
                "layout-reset",
            ),
            Command(
                "full_screen", "&Full screen", "Fill the screen", "fullscreen", ("F11",),
                checkable=True,
            ),
        ),
    ),
    "help": (
        (
            Command(
                "palette", "Command &palette…", "Find and run any command by its name", "palette",
                ("Ctrl+Shift+P",),
            ),
            Command(
                "help_shortcuts", "&Keyboard shortcuts", "List all shortcuts", "keyboard", ("F1",),
            ),
            Command("help_tour", "&First five minutes", "Take a short tour", "tour"),
        ),
        (
            Command("doctor", "&Doctor", "Check this computer and suggest fixes", "doctor"),
            Command("open_log_folder", "Open &log folder", "Show the log files' folder", "folder"),
        ),
        (
            Command(
                "about", "&About Descriptor Space", "Show versions, devices and folders", "info",
            ),
        ),
    ),
}
"""The commands by menu, in sections that stand between separators."""
# fmt: on


def shown_keys(keys: tuple[Key, ...]) -> list[str]:
    """The shortcuts of a command as text: of a standard key the usual one alone."""
    native = QKeySequence.SequenceFormat.NativeText
    return [found[0].toString(native) for key in keys if (found := key_sequences(key))]


def key_sequences(key: Key) -> list[QKeySequence]:
    """All sequences of a key: standard keys have several on some platforms."""
    if isinstance(key, QKeySequence.StandardKey):
        return QKeySequence.keyBindings(key)
    return [QKeySequence(key)]
