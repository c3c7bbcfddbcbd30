"""From one observation to features, by its space: dense for vectors, convolutions for images, one-hot or
embedding for discrete values, joined for Dict and Tuple."""

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from gymnasium import spaces

from r2d2.replay import trees
from r2d2.replay.spaces import space_tree

LARGEST_ONE_HOT = 256
"""Discrete values up to this many are read one-hot, more are embedded."""
EMBEDDING_UNITS = 64


class Torso(keras.layers.Layer):
    """Features ``float32[n, features]`` of observations, leaves ``[n, ...]`` at the dtypes of their spaces.

    Everything that is not an image is joined and goes through one dense layer; each image goes through
    convolutions (those of Mnih et al. 2015 from 36 pixels on, three of 3 x 3 below) and a dense layer.

    Args:
        space: a Gymnasium space that the replay supports.
        units: outputs of each dense layer.
    """

    def __init__(self, space: spaces.Space[Any], units: int) -> None:
        super().__init__(name="torso")
        self._tree = space_tree(space)
        self.spaces = trees.leaves(self._tree)
        """Of the leaves of an observation."""
        self._images = [_Image(s, units) if _is_image(s) else None for s in self.spaces]
        self._embeddings = [_embedding(s) for s in self.spaces]
        flat = any(image is None for image in self._images)
        self.dense = keras.layers.Dense(units, activation="relu", name="dense") if flat else None
        self.is_dense = not any(self._images) and not any(self._embeddings)
        """Whether the dense layer is all there is: no convolutions, no embeddings."""

    def call(self, observation: Any) -> Any:
        parts = trees.leaves_like(self._tree, observation, "observation")
        flat, features = [], []
        for part, space, image, embedding in zip(parts, self.spaces, self._images, self._embeddings, strict=True):
            if image is not None:
                features.append(image(part))
            elif embedding is not None:
                flat.append(embedding(_index(part, space)))
            else:
                flat.append(_vector(part, space))
        if self.dense is not None:
            features.append(self.dense(_join(flat)))
        return _join(features)


class _Image(keras.layers.Layer):
    """Convolutions over an image of 8-bit or unit-range pixels, then a dense layer."""

    def __init__(self, space: spaces.Box, units: int) -> None:
        super().__init__(name="image")
        self._channels_first = _channels_first(space.shape)
        height, width = space.shape[1:] if self._channels_first else space.shape[:2]
        filters = ((32, 8, 4), (64, 4, 2), (64, 3, 1)) if min(height, width) >= 36 else ((16, 3, 1), (32, 3, 1))
        padding = "valid" if min(height, width) >= 36 else "same"
        self._scale = 1.0 / float(space.high.max()) if np.issubdtype(space.dtype, np.integer) else 1.0
        self._layers_in_order = [
            *(keras.layers.Conv2D(f, size, stride, padding, activation="relu") for f, size, stride in filters),
            keras.layers.Flatten(),
            keras.layers.Dense(units, activation="relu"),
        ]

    def call(self, image: Any) -> Any:
        features = tf.cast(image, tf.float32) * self._scale
        if self._channels_first:
            features = tf.transpose(features, [0, 2, 3, 1])
        for layer in self._layers_in_order:
            features = layer(features)
        return features


def _is_image(space: spaces.Space[Any]) -> bool:
    return isinstance(space, spaces.Box) and len(space.shape) == 3 and min(sorted(space.shape)[1:]) >= 5


def _channels_first(shape: tuple[int, ...]) -> bool:
    """Stacked grey frames come as ``[frames, height, width]``: the smallest axis is that of the channels."""
    return shape[0] < shape[2]


def _embedding(space: Any) -> Any:
    if isinstance(space, spaces.Discrete) and space.n > LARGEST_ONE_HOT:
        return keras.layers.Embedding(int(space.n), EMBEDDING_UNITS)
    return None


def _vector(part: Any, space: Any) -> Any:
    """One leaf as ``float32[n, width]``."""
    if isinstance(space, spaces.Discrete):
        return tf.one_hot(_index(part, space), int(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        columns = tf.reshape(_index(part, space), [-1, math.prod(space.shape)])
        sizes = np.asarray(space.nvec).reshape(-1)
        return tf.concat([tf.one_hot(columns[:, i], int(n)) for i, n in enumerate(sizes)], axis=-1)
    vector = tf.reshape(tf.cast(part, tf.float32), [-1, math.prod(space.shape)])
    if isinstance(space, spaces.Box) and np.issubdtype(space.dtype, np.integer):
        # Whole numbers of a bounded range can be large; a network reads them better near one.
        vector = vector / float(max(1, abs(int(space.low.min())), abs(int(space.high.max()))))
    return vector


def _index(part: Any, space: Any) -> Any:
    """Discrete values counted from 0; in int64, because TensorFlow has a one-hot for some dtypes only."""
    return tf.cast(part, tf.int64) - np.asarray(space.start, np.int64)


def _join(parts: list[Any]) -> Any:
    return parts[0] if len(parts) == 1 else tf.concat(parts, axis=-1)
