"""What TensorBoard shows first: which curves share axes (Custom Scalars), which settings a run had (HParams)."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata  # type: ignore[attr-defined]
from tensorboard.compat.proto.tensor_pb2 import TensorProto  # type: ignore[attr-defined]
from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto  # type: ignore[attr-defined]
from tensorboard.plugins.custom_scalar import metadata
from tensorboard.plugins.custom_scalar.layout_pb2 import (
    Category,  # type: ignore[attr-defined]
    Chart,  # type: ignore[attr-defined]
    Layout,  # type: ignore[attr-defined]
    MultilineChartContent,  # type: ignore[attr-defined]
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData  # type: ignore[attr-defined]
from torch.utils.tensorboard.summary import hparams

Charts = Mapping[str, Sequence[str]]
"""Title of a chart → the tags that it shows, of every run; `*` stands for anything."""

STORY: Charts = {
    "error, validation (%)": ("eval/error",),
    "error, training (%)": ("rollout/error",),
    "reward": ("rollout/reward",),
    "classification loss (nats)": ("train/classification_loss",),
    "total loss": ("train/loss",),
    "fixation spread": ("rollout/fixation_spread",),
}
"""Two rows of three on a page of common width."""
GRADIENT: Charts = {
    "signal-to-noise, by estimator": ("gradient/snr_*",),
    "gradient norm": ("train/gradient_norm",),
    "exploration (std)": ("train/window_std",),
}
HARD: Charts = {
    "REINFORCE loss": ("train/reinforce_loss",),
    "baseline loss": ("train/baseline_loss",),
}
SPEED: Charts = {"episodes per second": ("time/episodes_per_second",)}

TELLING = ("environment.glimpses", "role", "seed", "sensor.kind", "training.method")
"""Settings that the table begins with. TensorBoard shows five until it is told otherwise, and would take them from the
alphabet; those that are said to differ between runs go first.
"""


def layout(glimpses: int) -> Layout:
    """The page, of agents with as many looks. TensorBoard merges those of all runs, equal charts once."""
    by_glimpse = {f"error after look {k} (%)": (f"eval_by_glimpse/error_{k}",) for k in range(1, glimpses + 1)}
    page: Mapping[str, Charts] = {
        "The story: hard and soft attention on the same axes": STORY,
        "Error by glimpse": by_glimpse,
        "Gradient: what it tells of where to look": GRADIENT,
        "Losses of hard attention alone": HARD,
        "Speed": SPEED,
    }
    return Layout(category=[Category(title=title, chart=_charts(charts)) for title, charts in page.items()])


def layout_summary(glimpses: int) -> Summary:
    """`layout`, as TensorBoard looks for it in an event file."""
    content = layout(glimpses).SerializeToString()
    tensor = TensorProto(dtype="DT_STRING", string_val=[content], tensor_shape=TensorShapeProto())
    plugin = SummaryMetadata.PluginData(plugin_name=metadata.PLUGIN_NAME)
    value = Summary.Value(tag=metadata.CONFIG_SUMMARY_TAG, tensor=tensor, metadata=SummaryMetadata(plugin_data=plugin))
    return Summary(value=[value])


def settings_summaries(settings: Mapping[str, Any], metrics: Sequence[str]) -> tuple[Summary, ...]:
    """A row of the table of settings, whose results are the scalars called `metrics`, for the run's own event file.

    `add_hparams` would make a run of its own for them. Settings that are None are left out.
    """
    plain = {
        name: value if isinstance(value, bool | str | float | int) else str(value)
        for name, value in settings.items()
        if value is not None
    }
    experiment, *session = hparams(plain, dict.fromkeys(metrics, 0.0))
    plugin = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin.content)
    for info in content.experiment.hparam_infos:
        info.differs = info.name in TELLING
    plugin.content = content.SerializeToString()
    return experiment, *session


def _charts(charts: Charts) -> list[Chart]:
    return [
        Chart(title=title, multiline=MultilineChartContent(tag=[_whole(tag) for tag in tags]))
        for title, tags in charts.items()
    ]


def _whole(tag: str) -> str:
    """A regular expression for the whole tag: TensorBoard matches beginnings, and `eval/error` begins others."""
    return re.escape(tag).replace(r"\*", ".*") + "$"
