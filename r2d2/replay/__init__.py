"""Recurrent replay: sequences with their stored states. Needs NumPy, Numba and Gymnasium's spaces, never TensorFlow."""

from r2d2.replay.batch import Batch, Inputs
from r2d2.replay.buffer import SequenceReplay
from r2d2.replay.collector import StepCollector
from r2d2.replay.gather import NO_ACTION
from r2d2.replay.geometry import SequenceGeometry, Window

__all__ = ["NO_ACTION", "Batch", "Inputs", "SequenceGeometry", "SequenceReplay", "StepCollector", "Window"]
