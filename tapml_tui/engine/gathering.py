"""Rows of values that stayed on their backend: a sample right away, all of them when that is asked for."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Generator
from dataclasses import replace

import numpy as np

from tapml_tui.backends.protocol import TensorSpec
from tapml_tui.engine.jobs import Job, Jobs, Pending
from tapml_tui.engine.sampling import layout_of, pieces, sampled_rows
from tapml_tui.engine.store import Label, RunStore
from tapml_tui.engine.values import Outcome, Sample, Stored, load
from trace_format.dtypes import item_size, numpy_dtype

LEAST_ROW = 64
"""Bytes of a row that are worth its number."""

_WRITTEN = Stored("", TensorSpec("uint8", (0,)), None)


class Gatherer:
    """Gathers rows.

    Attributes:
        progress: (done, total) pieces of a value that is being fetched, or None.
    """

    def __init__(self, jobs: Jobs, store: RunStore, fetch_limit: int) -> None:
        """Sample what is larger than `fetch_limit` bytes."""
        self.progress: tuple[int, int] | None = None
        self._jobs, self._store, self._fetch_limit = jobs, store, fetch_limit
        self._numbers: dict[TensorSpec, Sample] = {}

    def follow(self, job: Job, label: Label) -> None:
        """Send a request for samples right behind a unit whose outputs will stay where they are."""
        for output, spec in enumerate(job.request.unit.outputs):
            if math.prod(spec.shape) * item_size(spec.dtype) > job.request.fetch_limit:
                self._follow(job, output, spec, label)

    def _follow(self, job: Job, output: int, spec: TensorSpec, label: Label) -> None:
        sample = self._sample_of(spec)

        def into(words: np.ndarray) -> Stored:
            kept = self._store.aside(words)
            if job.label is not None and job.outcome is not None:  # it may be looked up again
                self._store.remember(job.outcome.outputs[output], sample._replace(words=kept))
            return kept

        value, lane = Pending(job, output), job.request.lane
        following = self._jobs.gather(job.backend, value, sample, label=label, into=into, lane=lane)
        job.samples[output] = following, sample

    def followed(self, job: Job) -> Generator[Job, None, Outcome]:
        """The outcome of a job that was answered, once its samples are there."""
        assert job.outcome is not None
        outputs = list(job.outcome.outputs)
        for output, (following, sample) in job.samples.items():
            while not following.done:
                yield following
            given = following.outcome.outputs if following.outcome is not None else ()
            if outputs and given and outputs[output].bytes is None:
                outputs[output] = replace(outputs[output], sample=sample._replace(words=given[0]))
        return replace(job.outcome, outputs=tuple(outputs))

    def _sample_of(self, spec: TensorSpec) -> Sample:
        """Which rows are looked at; `words` are their numbers."""
        if spec not in self._numbers:
            layout = layout_of(spec)
            rows = sampled_rows(layout, self._fetch_limit)
            self._numbers[spec] = Sample(layout, rows, self._store.aside(rows))
        return self._numbers[spec]

    def whole(self, label: Label, outcome: Outcome) -> Generator[Job, None, list[np.ndarray] | None]:
        """All elements of the outputs of an outcome, fetched piece by piece; None if that cannot be done.

        They are mapped from a file that has no name any more.
        """
        away = [stored for stored in outcome.outputs if stored.bytes is None]
        if any(stored.held is None or layout_of(stored.spec, whole=True).row_bytes < LEAST_ROW for stored in away):
            return None
        self.progress = (0, sum(len(pieces(layout_of(stored.spec, whole=True))[1]) for stored in away))
        try:
            arrays: list[np.ndarray] = []
            for stored in outcome.outputs:
                array = load(stored)
                if array is None:
                    array = yield from self._fetched(label, stored)
                if array is None:
                    return None
                arrays.append(array)
            return arrays
        finally:
            self.progress = None

    def _fetched(self, label: Label, stored: Stored) -> Generator[Job, None, np.ndarray | None]:
        assert stored.held is not None and self.progress is not None
        layout = layout_of(stored.spec, whole=True)
        count, starts = pieces(layout)
        shape = (layout.count, layout.width)
        with tempfile.NamedTemporaryFile(prefix="tapml-tui-", suffix=".value") as file:
            array = np.memmap(file.name, numpy_dtype(stored.spec.dtype), "w+", shape=shape)
        for start in starts:
            first = min(start, layout.count - count)

            def into(words: np.ndarray, first: int = first) -> Stored:
                array[first : first + count] = layout.elements(words)
                return _WRITTEN

            rows = np.arange(first, first + count, dtype=np.int32)
            piece = Sample(layout, rows, self._store.aside(rows))
            job = self._jobs.gather(stored.held.backend, stored, piece, label=label, into=into)
            while not job.done:
                yield job
            if job.outcome is None or job.outcome.failure is not None:
                return None
            self.progress = (self.progress[0] + 1, self.progress[1])
        return array.reshape(stored.spec.shape)
