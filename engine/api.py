"""The engine's public names: the only door for the window and for other programs.

Names are imported when they are first asked for, so that ``import engine.api`` costs next to
nothing and the window can paint before torch is loaded.  The two blocks below are the one list of
these names: type checkers and the import linter read them as imports, and this module reads them as
its table of homes.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Importing these loads no torch.
    from engine import __version__
    from engine.colors import (
        BEST,
        CYCLE,
        ERROR_RANGE_PX,
        OCCLUDED,
        OUTSIDE,
        RIGHT,
        SERIES,
        TRUTH,
        WRONG,
    )
    from engine.config import (
        OptionInfo,
        build_config,
        config_values,
        describe_options,
        flatten,
        nest,
        option,
        override_texts,
        parse_overrides,
        read_yaml,
        typed_path,
    )
    from engine.data.demo import demo_dataset, first_demo_pair, is_demo
    from engine.data.download import HPATCHES_FOLDER, HPATCHES_URLS, download_hpatches
    from engine.data.folders import natural_key
    from engine.data.layouts import (
        fitting_readers,
        group_word,
        open_named_set,
        open_pair_set,
        split_layout,
    )
    from engine.data.layouts.hpatches import HPatchesReader
    from engine.data.layouts.manifest import write_point_pair
    from engine.data.pair_set import PairGroup, PairSet, PairSetReader
    from engine.data.pairs import ImagePair
    from engine.data.video import Video, frame_file, image_title, is_frame, is_video, read_video
    from engine.descriptors.known_models import KnownModel, WeightsState
    from engine.descriptors.model_names import ModelName, network_of
    from engine.descriptors.network_list import MissingFamily, NetworkList, list_networks
    from engine.descriptors.plugins import (
        load_entry_points,
        load_plugin,
        plugin_fault,
        plugin_files,
    )
    from engine.descriptors.registry import (
        DescriptorEntry,
        DescriptorSpec,
        get_descriptor,
        list_descriptors,
        make_spec,
        weights_in_use,
        weights_were_found,
    )
    from engine.errors import (
        ConfigError,
        DatasetError,
        DescSpaceError,
        JobCancelled,
        OutputError,
    )
    from engine.evaluation.comparison import MergedResults, merge_results
    from engine.evaluation.datasets import find_data_folder
    from engine.evaluation.metric_summary import MetricRow, metric_gaps
    from engine.evaluation.pair_pictures import pair_picture
    from engine.evaluation.report import REPORT_HTML, Cell, Column, Table
    from engine.evaluation.report_metrics import slices_of
    from engine.evaluation.result import PairRow, SummaryRow
    from engine.evaluation.run_folder import Begun
    from engine.evaluation.slices import SLICINGS, Slicing, slice_rows
    from engine.evaluation.study import STUDY_HTML, LayerRow, StudyResult
    from engine.evaluation.table_text import CopyFormat, table_text
    from engine.figures import figure_content, render_figure, write_figure
    from engine.files import csv_text, make_folder, write_atomically
    from engine.geometry.homography import warp_image, warp_points
    from engine.geometry.matrix_files import MATRIX_SUFFIXES
    from engine.heat_range import (
        FITTED,
        HEAT_RANGE_KINDS,
        HeatRange,
        HeatRangeKind,
        heat_range_numbers,
        parse_heat_range,
    )
    from engine.image_store import ImageStore
    from engine.imagefiles.value_range import (
        AUTO,
        ValueRange,
        check_value_range,
        parse_pair_ranges,
    )
    from engine.images import (
        IMAGE_SUFFIXES,
        Image,
        as_uint8,
        read_image,
        read_thumbnail,
        write_image,
    )
    from engine.inspection.requests import (
        ErrorsAnswer,
        Extent,
        LayerInfo,
        MapInfo,
        MatchRequest,
        MatchTable,
        NetworkInfo,
        NormsAnswer,
        PcaAnswer,
        PcaRequest,
        Peak,
        Picture,
        Point,
        ProbeAnswer,
        ProbeRequest,
        Recipe,
        ScalarMap,
        SelfSimilarity,
        WinnersAnswer,
    )
    from engine.jobs.command_line import (
        EvaluateOptions,
        StudyOptions,
        TrainOptions,
        ViewOptions,
        command_line,
        compared_options,
        parse_compared,
        parse_pins,
        pin_options,
    )
    from engine.jobs.doctor import diagnosis_text, examine
    from engine.jobs.match_files import MATCH_FORMATS, write_matches
    from engine.jobs.open_pair import read_truth
    from engine.jobs.qt_platform import window_problem
    from engine.jobs.report import ReportJob
    from engine.jobs.runs import RunInfo, list_runs, read_runs, restore_run, run_settings, trash_run
    from engine.jobs.session_file import (
        OpenedSession,
        SavedDescriptor,
        SavedMatches,
        SavedPair,
        SavedPin,
        SavedSession,
        SavedSettings,
        SavedTruth,
        SavedView,
        read_session,
        write_session,
    )
    from engine.jobs.settings import (
        EvaluateConfig,
        StudyConfig,
        TrainConfig,
        descriptor_names,
        resolve_settings,
    )
    from engine.loading import link_ahead, loading
    from engine.matching.colouring import MOST_COMPONENTS, PLAIN, Colouring
    from engine.metrics import (
        PCK_THRESHOLDS_PX,
        MetricGroup,
        best_of,
        group_metrics,
        is_better,
        judge_of,
        metric_info,
        metric_text,
        pck_name,
        plateau_text,
    )
    from engine.paths import (
        cache_dir,
        config_dir,
        data_dir,
        log_dir,
        new_run_dir,
        runs_dir,
        stamped,
        unused_dir,
        user_data_dir,
    )
    from engine.progress import (
        CHOICES,
        CancelToken,
        Checkpoint,
        Event,
        JobContext,
        Metric,
        Note,
        PauseToken,
        Phase,
        Preview,
        Progress,
        Saved,
        Stage,
    )
    from engine.training.settings import TrainSettings
    from engine.truth.base import Truth, TruthSource, Visibility, snap
    from engine.truth.homography import HomographySource
    from engine.truth.looks import TruthLook, look_at_truth, truth_summary
    from engine.truth.named import named_truth
    from engine.truth.points import HeldPointsSource
    from engine.vocabulary import (
        COLORMAPS,
        LISTED_TRUTHS,
        MOST_COMPARED,
        PANELS,
        PRECOMPUTED,
        SEPARATION_PX,
        SESSION_SUFFIX,
        SIDES,
        VIEW_MODES,
        WITHOUT_LARGE,
        Colormap,
        FigureTheme,
        Panel,
        PcaFit,
        Placement,
        PointsKind,
        Precision,
        Side,
        ViewMode,
        other_side,
        plural,
        truth_words,
    )
    from engine.weight_titles import SHIPPED_WEIGHTS, weights_title

if TYPE_CHECKING:
    # Importing these loads torch: ask for them from a worker thread.
    from engine.devices import list_devices
    from engine.inspection.session import Session
    from engine.jobs.estimate import Estimate, EstimateJob
    from engine.jobs.evaluate import EvaluateJob, choose_descriptors
    from engine.jobs.export import ExportJob
    from engine.jobs.fetch import FetchJob, ModelWeights, model_weights_state
    from engine.jobs.study import StudyJob, choose_study
    from engine.jobs.train import TrainJob
    from engine.jobs.training_runs import (
        TrainingRunInfo,
        TrainingSamples,
        TrainingSamplesJob,
        is_training_run,
        list_training_runs,
        read_curves,
        read_previews,
        read_training_run,
    )
    from engine.training.loop import TrainingState
    from engine.training.run_folder import SavedWeights

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
