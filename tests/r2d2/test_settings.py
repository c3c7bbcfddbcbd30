"""Settings of the update refuse what cannot work; their defaults are the paper's."""

import math
from typing import Any

import numpy as np
import pytest

from r2d2.settings import LearnerSettings


def settings(**changes: Any) -> LearnerSettings:
    return LearnerSettings(**({"target_period": 100} | changes))


def test_the_defaults_are_the_papers() -> None:
    s = LearnerSettings()
    assert (s.n_step, s.gamma, s.eta, s.rescaling_epsilon) == (5, 0.997, 0.9, 1e-3)
    assert (s.learning_rate, s.adam_epsilon, s.target_period, s.huber_delta) == (1e-4, 1e-3, 2500, None)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_step": 0}, "n_step=0 must be at least 1"),
        ({"gamma": 1.1}, r"gamma=1.1 must be in \[0, 1\]"),
        ({"gamma": -0.1}, r"gamma=-0.1 must be in \[0, 1\]"),
        ({"gamma": math.nan}, r"gamma=nan must be in \[0, 1\]"),
        ({"eta": 2.0}, r"eta=2.0 must be in \[0, 1\]"),
        ({"rescaling_epsilon": -1e-3}, "rescaling_epsilon=-0.001 must be None or at least 0"),
        ({"rescaling_epsilon": math.inf}, "rescaling_epsilon=inf must be None or at least 0"),
        ({"huber_delta": 0.0}, "huber_delta=0.0 must be None or a number greater than 0"),
        ({"learning_rate": 0.0}, "learning_rate=0.0 must be a number greater than 0"),
        ({"learning_rate": math.inf}, "learning_rate=inf must be a number greater than 0"),
        ({"adam_epsilon": 0.0}, "adam_epsilon=0.0 must be a number greater than 0"),
        ({"max_gradient_norm": -1.0}, "max_gradient_norm=-1.0 must be a number greater than 0"),
        ({"target_period": 0}, "target_period=0 must be None or at least 1"),
        ({"target_period": None}, "target_period=None and target_mixing=None: exactly one must be"),
        ({"target_mixing": 0.1}, "target_period=100 and target_mixing=0.1: exactly one must be"),
        ({"target_period": None, "target_mixing": 0.0}, r"target_mixing=0.0 must be None or in \(0, 1\]"),
        ({"target_period": None, "target_mixing": 1.5}, r"target_mixing=1.5 must be None or in \(0, 1\]"),
    ],
)
def test_refuse_what_is_out_of_range(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        settings(**changes)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"n_step": 2.0}, "n_step=2.0 must be a whole number"),
        ({"gamma": None}, "gamma=None must be a number"),
        ({"target_period": 2.5}, "target_period=2.5 must be None or a whole number"),
    ],
)
def test_refuse_what_is_of_another_type(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError, match=said):
        settings(**changes)


def test_numbers_of_numpy_are_numbers() -> None:
    assert settings(n_step=np.int64(3), gamma=np.float32(0.5)) == settings(n_step=3, gamma=0.5)
