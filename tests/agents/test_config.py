"""The configuration refuses what cannot work, and the presets are what they say."""

import json
import math
from dataclasses import FrozenInstanceError, asdict, fields
from typing import Any

import numpy as np
import pytest

from agents.config import Config
from agents.presets import PRESETS, preset
from r2d2.replay import SequenceGeometry


class TestRefuses:
    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("total_steps", 0, "total_steps=0 must be at least 1"),
            ("num_envs", 0, "num_envs=0 must be at least 1"),
            ("batch_size", 0, "batch_size=0 must be at least 1"),
            ("evaluation_period", 0, "evaluation_period=0 must be at least 1"),
            ("evaluation_episodes", 0, "evaluation_episodes=0 must be at least 1"),
            ("final_evaluation_episodes", -1, "final_evaluation_episodes=-1 must be at least 1"),
            ("report_period", 0, "report_period=0 must be at least 1"),
            ("torso_units", 0, "torso_units=0 must be at least 1"),
            ("seed", -1, r"seed=-1 must be in \[0, 2\*\*32\)"),
            ("seed", 2**32, r"seed=4294967296 must be in \[0, 2\*\*32\)"),
            ("learning_starts", -1, "learning_starts=-1 must be at least 0"),
            ("epsilon_decay_steps", -5, "epsilon_decay_steps=-5 must be at least 0"),
            ("head_units", -1, "head_units=-1 must be at least 0"),
            ("priority_exponent", -0.1, "priority_exponent=-0.1 must be a finite number, at least 0"),
            ("priority_exponent", math.inf, "priority_exponent=inf must be a finite number, at least 0"),
            ("importance_exponent", math.nan, "importance_exponent=nan must be a finite number, at least 0"),
            ("epsilon_spread", -1.0, "epsilon_spread=-1.0 must be a finite number, at least 0"),
            ("epsilon_base", 1.5, r"epsilon_base=1.5 must be in \[0, 1\]"),
            ("epsilon_base", math.nan, r"epsilon_base=nan must be in \[0, 1\]"),
            ("replay_ratio", 0.0, "replay_ratio=0.0 must be a finite number greater than 0"),
            ("replay_ratio", math.inf, "replay_ratio=inf must be a finite number greater than 0"),
            ("core_units", (), r"core_units=\(\) must be one or more numbers of at least 1"),
            ("core_units", (64, 0), r"core_units=\(64, 0\) must be one or more numbers of at least 1"),
            ("solved_return", math.nan, "solved_return=nan must be None or a finite number"),
            ("env_timeout", 0.0, "env_timeout=0.0 must be None or a finite number greater than 0"),
            ("env_timeout", math.inf, "env_timeout=inf must be None or a finite number greater than 0"),
            ("env_timeout", 5.0, "env_timeout=5.0 needs env_mode='async'"),
            ("env_args", ("a=3", "b=1", "a=4"), "env_args='a=4' gives a a second time"),
            ("env_args", ("corridor_length",), "env_args='corridor_length' must have the form name=value"),
            ("env_args", ("=3",), "env_args='=3' must have the form name=value"),
            # One of few.
            ("preset", "doom", "preset='doom' must be one of"),
            ("env_mode", "thread", "env_mode='thread' must be one of"),
            ("sequence_start", "first", "sequence_start='first' must be one of"),
            ("core", "rnn", "core='rnn' must be one of"),
            ("core", np.zeros(2), r"core=array\(\[0., 0.\]\) must be one of"),
            ("evaluated_weights", "best", "evaluated_weights='best' must be one of"),
            # The geometry's.
            ("train_length", 0, "train_length=0 must be at least 1"),
            ("burn_in", -1, "burn_in=-1 must be at least 0"),
            ("overlap", -1, "overlap=-1 must be at least 0"),
            ("overlap", 64, "overlap=64 must be smaller than train_length=64"),
            ("n_step", 0, "n_step=0 must be at least 1"),
            # The update's.
            ("gamma", 1.5, r"gamma=1.5 must be in \[0, 1\]"),
            ("eta", -0.1, r"eta=-0.1 must be in \[0, 1\]"),
            ("rescaling_epsilon", -1.0, "rescaling_epsilon=-1.0 must be None or at least 0"),
            ("huber_delta", 0.0, "huber_delta=0.0 must be None or a number greater than 0"),
            ("learning_rate", 0.0, "learning_rate=0.0 must be a number greater than 0"),
            ("adam_epsilon", -1e-3, "adam_epsilon=-0.001 must be a number greater than 0"),
            ("max_gradient_norm", 0.0, "max_gradient_norm=0.0 must be a number greater than 0"),
            ("target_mixing", None, "target_period=None and target_mixing=None: exactly one must be"),
            ("target_mixing", 1.1, r"target_mixing=1.1 must be None or in \(0, 1\]"),
            ("target_period", 100, "target_period=100 and target_mixing=0.01: exactly one must be"),
        ],
    )
    def test_a_value_out_of_range_and_names_it(self, name: str, value: Any, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            Config(**{name: value})

    @pytest.mark.parametrize("name", ["num_envs", "total_steps", "seed", "n_step", "burn_in", "batch_size"])
    @pytest.mark.parametrize("value", [2.0, 8.5, math.nan, "3", None, True])
    def test_a_number_that_is_not_whole(self, name: str, value: Any) -> None:
        with pytest.raises(TypeError, match=rf"{name}={value!r} must be a whole number"):
            Config(**{name: value})

    @pytest.mark.parametrize(
        ("name", "value", "said"),
        [
            ("gamma", "0.9", "gamma='0.9' must be a number"),
            ("dueling", "no", "dueling='no' must be True or False"),
            ("dueling", 1, "dueling=1 must be True or False"),
            ("env_id", None, "env_id=None must be a string"),
            ("target_period", 2.5, "target_period=2.5 must be None or a whole number"),
            ("solved_return", "high", "solved_return='high' must be None or a number"),
            ("core_units", 64, "core_units=64 must be a tuple, each part a whole number"),
            ("core_units", [64], r"core_units=\[64\] must be a tuple, each part a whole number"),
            ("core_units", (64, 32.5), r"core_units=\(64, 32.5\) must be a tuple, each part a whole number"),
            ("env_args", ("a=1", 2), r"env_args=\('a=1', 2\) must be a tuple, each part a string"),
        ],
    )
    def test_a_value_of_another_type(self, name: str, value: Any, said: str) -> None:
        with pytest.raises(TypeError, match=said + "$"):
            Config(**{name: value})

    def test_a_replay_without_room_for_a_sequence_of_each_environment(self) -> None:
        lengths: dict[str, Any] = {"train_length": 8, "burn_in": 4, "overlap": 4, "n_step": 2, "num_envs": 3}
        least = 3 * SequenceGeometry(4, 8, 4, 2).rows_needed
        assert Config(**lengths, capacity=least).capacity == least
        said = f"capacity={least - 1} must be at least {least}: room for one sequence of each of num_envs=3"
        with pytest.raises(ValueError, match=said):
            Config(**lengths, capacity=least - 1)

    def test_a_preset_it_does_not_know(self) -> None:
        with pytest.raises(ValueError, match=r"preset='doom' must be one of \['atari', 'control', 'memory'\]"):
            preset("doom")

    def test_an_option_it_does_not_know(self) -> None:
        with pytest.raises(TypeError, match="burnin"):
            preset("memory", burnin=3)

    def test_changes_of_a_preset_that_do_not_fit(self) -> None:
        with pytest.raises(ValueError, match="overlap=30 must be smaller than train_length=20"):
            preset("memory", train_length=20, overlap=30)

    def test_to_be_changed(self) -> None:
        with pytest.raises(FrozenInstanceError):
            Config().seed = 3  # type: ignore[misc]


def test_arguments_of_the_environment_are_python_literals_or_strings() -> None:
    config = Config(env_args=("corridor_length=20", "shape=(3, 4)", "render_mode=ansi", "difficulty='2'", "text=a=b"))
    assert config.env_kwargs == {
        "corridor_length": 20,
        "shape": (3, 4),
        "render_mode": "ansi",
        "difficulty": "2",
        "text": "a=b",
    }


class TestGeometry:
    def test_is_made_of_the_lengths(self) -> None:
        config = Config(burn_in=3, train_length=8, overlap=2, n_step=4)
        assert config.geometry == SequenceGeometry(burn_in=3, train_length=8, overlap=2, n_step=4)

    @pytest.mark.parametrize(("start", "burn_in"), [("stored_with_burn_in", 16), ("stored", 0), ("zero", 16)])
    def test_has_no_burn_in_where_sequences_start_without(self, start: Any, burn_in: int) -> None:
        assert Config(sequence_start=start).geometry.burn_in == burn_in


class TestLearnerSettings:
    def test_are_those_of_the_same_names(self) -> None:
        values: dict[str, Any] = {
            "n_step": 3,
            "gamma": 0.8,
            "eta": 0.7,
            "rescaling_epsilon": 1e-2,
            "huber_delta": 2.0,
            "learning_rate": 0.5,
            "adam_epsilon": 0.25,
            "max_gradient_norm": 3.5,
            "target_period": 17,
            "target_mixing": None,
        }
        made = Config(**values).learner_settings
        assert {field.name: getattr(made, field.name) for field in fields(made)} == values


class TestPresets:
    @pytest.mark.parametrize("name", ["memory", "control", "atari"])
    def test_carry_their_own_name_and_can_be_changed(self, name: str) -> None:
        config = preset(name, seed=3)
        assert config.preset == name
        assert config.seed == 3
        assert PRESETS[name].seed == 0

    def test_memory_is_the_default(self) -> None:
        assert preset("memory") == Config()

    def test_atari_holds_the_papers_numbers(self) -> None:
        c = preset("atari")
        assert (c.burn_in, c.train_length, c.overlap, c.n_step) == (40, 80, 40, 5)
        assert (c.gamma, c.eta) == (0.997, 0.9)
        assert (c.priority_exponent, c.importance_exponent) == (0.9, 0.6)
        assert (c.target_period, c.target_mixing) == (2500, None)
        assert (c.learning_rate, c.adam_epsilon, c.batch_size) == (1e-4, 1e-3, 64)
        assert c.rescaling_epsilon == 1e-3
        assert (c.epsilon_base, c.epsilon_spread) == (0.4, 7.0)
        assert (c.core, c.core_units, c.torso_units, c.dueling) == ("lstm", (512,), 512, True)
        assert not c.normalize_rewards
        assert c.huber_delta is None

    @pytest.mark.parametrize("name", ["memory", "control"])
    def test_of_small_tasks_keep_adams_epsilon_far_below_the_papers(self, name: str) -> None:
        assert preset(name).adam_epsilon <= 1e-5
        assert preset(name).normalize_rewards


def test_numbers_of_numpy_become_those_of_python() -> None:
    config = Config(seed=np.int64(3), gamma=np.float32(0.5), dueling=np.bool_(False), core_units=(np.int32(8),))
    assert json.dumps(asdict(config)) == json.dumps(asdict(Config(seed=3, gamma=0.5, dueling=False, core_units=(8,))))


def test_whole_numbers_are_numbers() -> None:
    assert Config(replay_ratio=4).replay_ratio == 4
