"""All models of one window, made together."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from descgui.models.browser_state import BrowserModel
from descgui.models.describing_times import TIMES_FILE, DescribingTimes
from descgui.models.engine_state import EngineState
from descgui.models.evaluation_state import EvaluationModels
from descgui.models.maps_state import MapsModel
from descgui.models.matches_state import MatchesState
from descgui.models.messages import MessagesModel
from descgui.models.networks_state import NetworksState, WeightsState
from descgui.models.pair_state import PairModel
from descgui.models.pictures_state import PicturesState
from descgui.models.probe_state import PinsModel, ProbeModel
from descgui.models.settings import SettingsModel
from descgui.models.state import StateModel
from descgui.models.study_state import StudyState
from descgui.models.training_state import TrainingModel
from descgui.models.video_state import VideoState
from descgui.models.view_state import ViewState
from engine.api import MOST_COMPARED


def _no_choices() -> tuple[MapsModel, ...]:
    return tuple(MapsModel() for _ in range(1 + MOST_COMPARED))


@dataclass(frozen=True)
class AppModels:
    """Everything a view may draw.

    Attributes:
        settings: kept in a file; the rest lives as long as the window.
        descriptors: the shown descriptor, and those beside it; the choice of a place that is free
            has no name.
    """

    settings: SettingsModel
    times: DescribingTimes = field(default_factory=partial(DescribingTimes, None))
    engine: StateModel[EngineState] = field(default_factory=partial(StateModel, EngineState()))
    networks: StateModel[NetworksState] = field(
        default_factory=partial(StateModel, NetworksState())
    )
    network_weights: StateModel[WeightsState] = field(
        default_factory=partial(StateModel, WeightsState())
    )
    browser: BrowserModel = field(default_factory=BrowserModel)
    pair: PairModel = field(default_factory=PairModel)
    view: StateModel[ViewState] = field(default_factory=partial(StateModel, ViewState()))
    descriptors: tuple[MapsModel, ...] = field(default_factory=_no_choices)
    pictures: StateModel[PicturesState] = field(
        default_factory=partial(StateModel, PicturesState())
    )
    probe: ProbeModel = field(default_factory=ProbeModel)
    pins: PinsModel = field(default_factory=PinsModel)
    matches: StateModel[MatchesState] = field(default_factory=partial(StateModel, MatchesState()))
    evaluation: EvaluationModels = field(default_factory=EvaluationModels)
    video: StateModel[VideoState] = field(default_factory=partial(StateModel, VideoState()))
    study: StateModel[StudyState] = field(default_factory=partial(StateModel, StudyState()))
    training: TrainingModel = field(default_factory=TrainingModel)
    messages: MessagesModel = field(default_factory=MessagesModel)

    @property
    def maps(self) -> MapsModel:
        """The shown descriptor."""
        return self.descriptors[0]

    @property
    def compared(self) -> tuple[MapsModel, ...]:
        """The places for descriptors beside the shown one, taken and free."""
        return self.descriptors[1:]

    @property
    def numbers(self) -> tuple[int, ...]:
        """Which places are taken, from 0; that of the shown descriptor always is."""
        return tuple(
            number
            for number, maps in enumerate(self.descriptors)
            if number == 0 or maps.choice.name
        )

    @property
    def comparing(self) -> bool:
        """Whether any descriptor is shown beside the first."""
        return len(self.numbers) > 1


def make_models(settings_file: Path | None) -> AppModels:
    """Make the models of a window whose settings live in ``settings_file`` (None: nowhere)."""
    times = None if settings_file is None else settings_file.with_name(TIMES_FILE)
    return AppModels(settings=SettingsModel(settings_file), times=DescribingTimes(times))
