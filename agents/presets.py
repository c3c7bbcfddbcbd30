"""Named configurations: what small memory tasks, control, and the paper's games want."""

from dataclasses import replace
from typing import Any

from agents.config import Config

PRESETS: dict[str, Config] = {
    # What small memory tasks want: whole episodes in a sequence, one-step targets, a fast optimizer.
    "memory": Config(),
    # Control from partial observations: long returns, short sequences, uniform replay, one constant epsilon.
    "control": Config(
        preset="control",
        env_id="r2d2/CartPoleHiddenVelocity-v0",
        train_length=40,
        burn_in=10,
        overlap=20,
        n_step=20,
        gamma=0.99,
        priority_exponent=0.0,
        importance_exponent=0.0,
        epsilon_base=0.12,
        epsilon_spread=0.0,
        read_previous_reward=False,
        replay_ratio=160.0,
        learning_rate=5e-4,
        learning_starts=1_000,
        epsilon_decay_steps=5_000,
        target_mixing=0.005,
        evaluated_weights="target",
    ),
    # Kapturowski et al. (2019), table 2 of the appendix. The paper's preprocessing of frames is not part of it.
    "atari": Config(
        preset="atari",
        env_id="ale_py:ALE/Pong-v5",
        total_steps=100_000_000,
        num_envs=256,
        env_mode="async",
        train_length=80,
        burn_in=40,
        overlap=40,
        capacity=4_000_000,
        batch_size=64,
        priority_exponent=0.9,
        importance_exponent=0.6,
        replay_ratio=0.8,
        learning_starts=400_000,
        epsilon_decay_steps=0,
        n_step=5,
        gamma=0.997,
        rescaling_epsilon=1e-3,
        normalize_rewards=False,
        huber_delta=None,
        learning_rate=1e-4,
        adam_epsilon=1e-3,
        max_gradient_norm=40.0,
        target_period=2500,
        target_mixing=None,
        torso_units=512,
        core_units=(512,),
        head_units=512,
        evaluation_period=1_000_000,
        evaluation_episodes=10,
        final_evaluation_episodes=30,
        report_period=50_000,
    ),
}


def preset(name: str, **changes: Any) -> Config:
    """The preset ``name`` with some values changed.

    Raises:
        ValueError: there is no such preset, or a value is out of its range.
        TypeError: there is no such option.
    """
    if name not in PRESETS:
        raise ValueError(f"preset={name!r} must be one of {sorted(PRESETS)}")
    return replace(PRESETS[name], **changes)
