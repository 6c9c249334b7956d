"""Time series: the native form is ``SeriesBatch``; :func:`windows` cuts long recordings into one."""

from zoo.data.series_batch import SeriesBatch
from zoo.data.series_windows import windows

__all__ = ["SeriesBatch", "windows"]
