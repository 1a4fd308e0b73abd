"""Exported graphs, run on one thread."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from recsys.errors import ArtifactError
from recsys.features.batch import Arrays

__all__ = ["OnnxGraph"]


class OnnxGraph:
    """A loaded graph with one output.

    Args:
        source: the `.onnx` file, or what it holds.

    Raises:
        ArtifactError: the file is missing or is no graph onnxruntime can run.
    """

    def __init__(self, source: Path | bytes) -> None:
        options = onnxruntime.SessionOptions()
        # Request threads run side by side; idle spinning would make them fight over the cores.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        self.path = source if isinstance(source, Path) else "a graph in memory"
        try:
            # From bytes: a graph that names outside files then cannot read any.
            self.content = source.read_bytes() if isinstance(source, Path) else source
            self._session = onnxruntime.InferenceSession(self.content, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ArtifactError(f"{self.path}: not a graph that can be run ({error}); export it again") from error
        self.inputs: Sequence[str] = [value.name for value in self._session.get_inputs()]

    def run(self, inputs: Arrays) -> NDArray[np.float32]:
        """The output for inputs by name; others are ignored.

        Raises:
            ArtifactError: an input is missing or has the wrong type or shape.
        """
        missing = [name for name in self.inputs if name not in inputs]
        if missing:
            raise ArtifactError(f"{self.path}: no input {', '.join(missing)}; found {', '.join(inputs)}")
        try:
            output: NDArray[np.float32] = self._session.run(None, {name: inputs[name] for name in self.inputs})[0]
        except Exception as error:
            given = ", ".join(f"{name} {inputs[name].dtype} {inputs[name].shape}" for name in self.inputs)
            raise ArtifactError(f"{self.path}: cannot run on these inputs ({error}); given {given}") from error
        return output
