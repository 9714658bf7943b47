"""The engine's public names: the only door for the window and for other programs.

Names are imported when they are first asked for, so that ``import engine.api`` costs next to
nothing and the window can paint before torch is loaded.  The two blocks below are the one list of
these names: type checkers and the import linter read them as imports, and this module reads them as
its table of homes.  A name is added by one line.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Importing these loads no torch.
    from engine import __version__ as __version__
    from engine.colors import BEST as BEST
    from engine.colors import CYCLE as CYCLE
    from engine.colors import RIGHT as RIGHT
    from engine.colors import SERIES as SERIES
    from engine.colors import TRUTH as TRUTH
    from engine.colors import WRONG as WRONG
    from engine.config import OptionInfo as OptionInfo
    from engine.config import build_config as build_config
    from engine.config import config_values as config_values
    from engine.config import describe_options as describe_options
    from engine.config import flatten as flatten
    from engine.config import nest as nest
    from engine.config import option as option
    from engine.config import override_texts as override_texts
    from engine.config import parse_overrides as parse_overrides
    from engine.config import read_yaml as read_yaml
    from engine.data.demo import demo_dataset as demo_dataset
    from engine.data.demo import first_demo_pair as first_demo_pair
    from engine.data.download import HPATCHES_FOLDER as HPATCHES_FOLDER
    from engine.data.download import HPATCHES_URLS as HPATCHES_URLS
    from engine.data.download import download_hpatches as download_hpatches
    from engine.data.hpatches import Dataset as Dataset
    from engine.data.hpatches import Sequence as Sequence
    from engine.data.hpatches import open_dataset as open_dataset
    from engine.data.hpatches import pair_from_folder as pair_from_folder
    from engine.data.hpatches import subset as subset
    from engine.data.pairs import ImagePair as ImagePair
    from engine.descriptors.plugins import load_entry_points as load_entry_points
    from engine.descriptors.plugins import load_plugin as load_plugin
    from engine.descriptors.registry import DescriptorSpec as DescriptorSpec
    from engine.descriptors.registry import list_descriptors as list_descriptors
    from engine.descriptors.registry import make_spec as make_spec
    from engine.errors import ConfigError as ConfigError
    from engine.errors import DatasetError as DatasetError
    from engine.errors import DescSpaceError as DescSpaceError
    from engine.errors import JobCancelled as JobCancelled
    from engine.evaluation.comparison import MergedResults as MergedResults
    from engine.evaluation.comparison import merge_results as merge_results
    from engine.evaluation.datasets import find_data_folder as find_data_folder
    from engine.evaluation.report import REPORT_HTML as REPORT_HTML
    from engine.evaluation.result import PairRow as PairRow
    from engine.evaluation.result import SummaryRow as SummaryRow
    from engine.evaluation.run_folder import Begun as Begun
    from engine.figures import figure_content as figure_content
    from engine.figures import write_figure as write_figure
    from engine.geometry.homography import read_homography as read_homography
    from engine.geometry.homography import warp_image as warp_image
    from engine.geometry.homography import warp_points as warp_points
    from engine.images import IMAGE_SUFFIXES as IMAGE_SUFFIXES
    from engine.images import Image as Image
    from engine.images import as_uint8 as as_uint8
    from engine.images import read_image as read_image
    from engine.images import read_thumbnail as read_thumbnail
    from engine.images import write_image as write_image
    from engine.inspection.requests import Extent as Extent
    from engine.inspection.requests import MapInfo as MapInfo
    from engine.inspection.requests import MatchRequest as MatchRequest
    from engine.inspection.requests import MatchTable as MatchTable
    from engine.inspection.requests import PcaAnswer as PcaAnswer
    from engine.inspection.requests import PcaRequest as PcaRequest
    from engine.inspection.requests import Peak as Peak
    from engine.inspection.requests import Picture as Picture
    from engine.inspection.requests import Point as Point
    from engine.inspection.requests import ProbeAnswer as ProbeAnswer
    from engine.inspection.requests import ProbeRequest as ProbeRequest
    from engine.inspection.requests import Recipe as Recipe
    from engine.inspection.requests import ScalarMap as ScalarMap
    from engine.inspection.requests import WinnersAnswer as WinnersAnswer
    from engine.jobs.command_line import TrainOptions as TrainOptions
    from engine.jobs.command_line import ViewOptions as ViewOptions
    from engine.jobs.command_line import command_line as command_line
    from engine.jobs.doctor import diagnosis_text as diagnosis_text
    from engine.jobs.doctor import examine as examine
    from engine.jobs.matches import write_matches as write_matches
    from engine.jobs.qt_platform import window_problem as window_problem
    from engine.jobs.report import ReportJob as ReportJob
    from engine.jobs.runs import RunInfo as RunInfo
    from engine.jobs.runs import list_runs as list_runs
    from engine.jobs.runs import read_runs as read_runs
    from engine.jobs.runs import restore_run as restore_run
    from engine.jobs.runs import run_settings as run_settings
    from engine.jobs.runs import trash_run as trash_run
    from engine.jobs.settings import EvaluateConfig as EvaluateConfig
    from engine.jobs.settings import TrainConfig as TrainConfig
    from engine.jobs.settings import resolve_settings as resolve_settings
    from engine.metrics import PCK_THRESHOLDS_PX as PCK_THRESHOLDS_PX
    from engine.metrics import MetricGroup as MetricGroup
    from engine.metrics import best_of as best_of
    from engine.metrics import group_metrics as group_metrics
    from engine.metrics import is_better as is_better
    from engine.metrics import judge_of as judge_of
    from engine.metrics import metric_info as metric_info
    from engine.metrics import pck_name as pck_name
    from engine.paths import cache_dir as cache_dir
    from engine.paths import config_dir as config_dir
    from engine.paths import data_dir as data_dir
    from engine.paths import log_dir as log_dir
    from engine.paths import new_run_dir as new_run_dir
    from engine.paths import runs_dir as runs_dir
    from engine.paths import unused_dir as unused_dir
    from engine.paths import user_data_dir as user_data_dir
    from engine.paths import write_atomically as write_atomically
    from engine.progress import CancelToken as CancelToken
    from engine.progress import Checkpoint as Checkpoint
    from engine.progress import Event as Event
    from engine.progress import JobContext as JobContext
    from engine.progress import Metric as Metric
    from engine.progress import Note as Note
    from engine.progress import PauseToken as PauseToken
    from engine.progress import Preview as Preview
    from engine.progress import Progress as Progress
    from engine.progress import Saved as Saved
    from engine.progress import Stage as Stage
    from engine.training.settings import TrainSettings as TrainSettings
    from engine.vocabulary import PANELS as PANELS
    from engine.vocabulary import PRECISIONS as PRECISIONS
    from engine.vocabulary import PRECOMPUTED as PRECOMPUTED
    from engine.vocabulary import SIDES as SIDES
    from engine.vocabulary import VIEW_MODES as VIEW_MODES
    from engine.vocabulary import Colormap as Colormap
    from engine.vocabulary import Panel as Panel
    from engine.vocabulary import PointsKind as PointsKind
    from engine.vocabulary import Precision as Precision
    from engine.vocabulary import Side as Side
    from engine.vocabulary import ViewMode as ViewMode
    from engine.vocabulary import other_side as other_side

if TYPE_CHECKING:
    # Importing these loads torch: ask for them from a worker thread.
    from engine.devices import list_devices as list_devices
    from engine.inspection.session import Session as Session
    from engine.jobs.estimate import Estimate as Estimate
    from engine.jobs.estimate import EstimateJob as EstimateJob
    from engine.jobs.evaluate import EvaluateJob as EvaluateJob
    from engine.jobs.evaluate import choose_descriptors as choose_descriptors
    from engine.jobs.export import ExportJob as ExportJob
    from engine.jobs.train import TrainJob as TrainJob
    from engine.jobs.training_runs import TrainingRunInfo as TrainingRunInfo
    from engine.jobs.training_runs import TrainingSamples as TrainingSamples
    from engine.jobs.training_runs import TrainingSamplesJob as TrainingSamplesJob
    from engine.jobs.training_runs import is_training_run as is_training_run
    from engine.jobs.training_runs import list_training_runs as list_training_runs
    from engine.jobs.training_runs import read_curves as read_curves
    from engine.jobs.training_runs import read_previews as read_previews
    from engine.jobs.training_runs import read_training_run as read_training_run
    from engine.training.loop import TrainingState as TrainingState
    from engine.training.run_folder import SavedWeights as SavedWeights

_HOME_OF = {
    alias.name: str(line.module)
    for block in ast.parse(inspect.getsource(sys.modules[__name__])).body
    if isinstance(block, ast.If)
    for line in block.body
    if isinstance(line, ast.ImportFrom)
    for alias in line.names
}
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    """Import a public name on first use and keep it."""
    try:
        home = _HOME_OF[name]
    except KeyError:
        raise AttributeError(f"engine.api has no name {name!r}") from None
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """All public names, loaded or not."""
    return __all__
