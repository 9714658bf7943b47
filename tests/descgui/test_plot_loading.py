"""What draws curves is loaded beside the window, once all types of Qt are made on its thread."""

import importlib
import subprocess
import sys
import textwrap

from descgui.workers.plot_loading import PlotLoader


def test_types_of_qt_are_made_on_the_windows_thread_before_plots_are_imported_in_another():
    """Two threads that make types at once crash the program (in a fresh one, none is made yet)."""
    script = textwrap.dedent("""
        import sys, threading
        from PySide6 import QtCore, QtGui, QtWidgets
        from descgui.workers.plot_loading import PlotLoader

        class Watch:
            def find_spec(self, name, path=None, target=None):
                if name == "pyqtgraph":
                    on_window = threading.current_thread() is threading.main_thread()
                    missing = [
                        name
                        for module in (QtCore, QtGui, QtWidgets)
                        for name in dir(module)
                        if name not in vars(module)
                    ]
                    print(on_window, missing)

        app = QtWidgets.QApplication([])
        assert "QWizard" not in vars(QtWidgets), "types are made at once: this test has no object"
        sys.meta_path.insert(0, Watch())
        turns = []
        counter = QtCore.QTimer(interval=0)
        counter.timeout.connect(lambda: turns.append(1))
        counter.start()
        loader = PlotLoader(print)
        def ready():
            print("pyqtgraph" in sys.modules, threading.current_thread() is threading.main_thread())
        loader.load(ready)
        loader.load(lambda: (ready(), loader.load(lambda: print("again")), app.quit()))
        app.exec()
        print(len(turns) > 5)
    """)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.stderr == ""
    assert done.stdout.split("\n")[:-1] == ["False []", "True True", "True True", "again", "True"]


def test_a_failed_import_is_reported_and_tried_again(qtbot, monkeypatch, close_after):
    failures, ready = [], []
    monkeypatch.setattr("descgui.workers.plot_loading._PLOTS", "no_such_plots")
    loader = PlotLoader(failures.append)
    close_after(loader.lane)
    loader.load(lambda: ready.append(1))
    qtbot.waitUntil(lambda: len(failures) == 1)
    loader.load(lambda: ready.append(2))
    qtbot.waitUntil(lambda: len(failures) == 2)
    assert ready == []
    assert "no_such_plots" in failures[0].trace


def test_what_is_loaded_needs_no_thread(qtbot):
    importlib.import_module("pyqtgraph")
    ready = []
    PlotLoader(ready.append).load(lambda: ready.append("now"))
    assert ready == ["now"]
