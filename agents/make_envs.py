"""Make the vector environments an agent plays in, from an environment's id."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping
from typing import Any, Literal, get_args

import gymnasium
from gymnasium.vector import AutoresetMode, VectorEnv

Mode = Literal["sync", "async"]

# Parameters of gymnasium.make_vec itself: among the environment's own they would be taken for those.
_RESERVED_KWARGS = ("id", "num_envs", "vectorization_mode", "vector_kwargs", "wrappers")

EXTRAS = {"ale_py": "atari", "minigrid": "minigrid", "popgym": "popgym"}
"""Which extra of the project brings a module that registers environments."""


def make_envs(
    env_id: str,
    num_envs: int,
    *,
    mode: Mode = "sync",
    env_kwargs: Mapping[str, Any] | None = None,
) -> VectorEnv[Any, Any, Any]:
    """Make `num_envs` environments of one kind, to be stepped together.

    They do not reset themselves (`AutoresetMode.DISABLED`): `agents.episodes.EpisodeStream` does it for
    them, without a wasted step.

    Args:
        env_id: id of a registered environment; `module:Env-v0` imports `module`, which registers it, first.
        num_envs: number of environments, at least 1.
        mode: `"sync"` steps them one after the other in this process, `"async"` gives each a process of its
            own: worth it where one step takes longer than the message to another process (some 0.1 ms).
        env_kwargs: keyword arguments of the environment; `max_episode_steps` sets the time limit.

    Raises:
        TypeError: `env_id` is not a string.
        ValueError: an argument is out of range, or the environment cannot be made; the text names `env_id`.
    """
    if not isinstance(env_id, str):
        raise TypeError(f"env_id={env_id!r} must be a string such as 'CartPole-v1' or 'module:Env-v0'")
    if not env_id.strip() or env_id.count(":") > 1:
        raise ValueError(f"env_id={env_id!r} must have the form 'Env-v0', 'namespace/Env-v0' or 'module:Env-v0'")
    if isinstance(num_envs, bool) or not isinstance(num_envs, int) or num_envs < 1:
        raise ValueError(f"num_envs={num_envs!r} must be a whole number of at least 1")
    if mode not in get_args(Mode):
        raise ValueError(f"mode={mode!r} must be 'sync' or 'async'")
    kwargs = dict(env_kwargs or {})
    for name in _RESERVED_KWARGS:
        if name in kwargs:
            raise ValueError(
                f"env_kwargs has {name!r}, which is no argument of the environment: use make_envs's own arguments"
            )

    vector_kwargs: dict[str, Any] = {"autoreset_mode": AutoresetMode.DISABLED}
    if mode == "async":
        vector_kwargs["shared_memory"] = True
    try:
        return gymnasium.make_vec(
            env_id, num_envs=num_envs, vectorization_mode=mode, vector_kwargs=vector_kwargs, **kwargs
        )
    except Exception as error:
        message = _why_not_made(env_id, mode, kwargs, error)
        # The traceback holds the half-made environments, and they their worker processes.
        traceback.clear_frames(error.__traceback__)
        raise ValueError(message) from error


def _why_not_made(env_id: str, mode: str, kwargs: Mapping[str, Any], error: Exception) -> str:
    """One line that says what is wrong with `env_id` and what to do; Gymnasium's own text is kept."""
    text = " ".join(str(error).split())
    module = env_id.partition(":")[0] if ":" in env_id else None
    if isinstance(error, gymnasium.error.UnregisteredEnv | gymnasium.error.DeprecatedEnv):
        if module is None:
            hint = "An environment of another package is named 'module:Env-v0', after the module that registers it."
        else:
            hint = f"Module {module!r} was imported; does it register the environment?"
        return f"env_id={env_id!r} is not registered: {text} {hint}"
    if isinstance(error, ModuleNotFoundError) and module is not None and module not in sys.modules:
        extra = EXTRAS.get(module)
        hint = f" The project's extra {extra!r} brings it: pip install '.[{extra}]' in its folder." if extra else ""
        return f"env_id={env_id!r} names a module that cannot be imported: {text}{hint}"
    hint = f" Are its arguments {dict(kwargs)!r} right?" if kwargs else ""
    if mode == "async":
        hint += " Does mode='sync' work?"
    what = f"{type(error).__name__}: {text.removesuffix('.')}" if text else type(error).__name__
    return f"env_id={env_id!r} cannot be made: {what}.{hint}"
