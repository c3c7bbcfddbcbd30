"""A clean stream of steps from any Gymnasium vector environment, whatever its autoreset mode."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from numpy.typing import NDArray

from agents.env_failures import EnvironmentFailure, watch

# A nested dict or tuple of arrays, the environments being the leading axis.
Tree = Any


class FinishedEpisodes(NamedTuple):
    """The K episodes that ended in one step, in rising order of their rows."""

    rows: NDArray[np.int64]  # [K] environments
    returns: NDArray[np.float64]  # [K] undiscounted sums of rewards
    lengths: NDArray[np.int64]  # [K] steps


class StepResult(NamedTuple):
    """What followed one action in each of N environments."""

    reward: NDArray[np.float64]  # [N] 0 in inactive rows
    terminated: NDArray[np.bool_]  # [N] the episode ended; both may be True, then this one decides
    truncated: NDArray[np.bool_]  # [N] the episode was cut off
    final_observation: Tree  # [N, ...] the observation after the last step; in rows that did not end arbitrary
    active: NDArray[np.bool_]  # [N] False: the row made no step, its action was ignored; it counts for nothing
    finished: FinishedEpisodes


class EpisodeStream:
    """Steps N environments, each through one episode after the other.

    Where the observations of an episode's end are found, for an episode whose last step leads from o_1 to the
    final observation o_2, the next episode starting with p_0:

                                          NEXT_STEP            SAME_STEP            DISABLED
        the step from o_1                 gives o_2            gives p_0;           gives o_2; the stream
                                                               o_2 is in `info`     resets, which gives p_0
        then `observation`, `first`       o_2, False           p_0, True            p_0, True
        the next call                     inactive, gives p_0  a step from p_0      a step from p_0
        then `observation`, `first`       p_0, True            p_1, False           p_1, False

    `final_observation` is o_2 in all three. In SAME_STEP mode an `AsyncVectorEnv` sends o_2 after the
    environment has been reset: an environment that reuses its observation buffer has lost it by then, and
    nobody can tell (Gymnasium issue 1132). The other modes, and `SyncVectorEnv`, have no such gap.

    The stream owns the environments: it resets them when made, nobody else may step them, and `close` closes
    them. When a call raises (one environment failed, a reward was not finite), `observation` and `first` stay
    what they were before it, and every further `step` raises the same error: the answer to one action is never
    taken for the answer to another.

    Attributes:
        num_envs: N.
        observation: tree [N, ...], o_t to act on now. A copy: the environments' own buffers are never handed out.
        first: bool[N], True where `observation` starts an episode. Recurrent state, previous action and previous
            reward are to be reset in these rows before acting.

    Args:
        envs: the vector environment.
        seed: given to the first reset, so that the same seed gives the same stream; None for an arbitrary one.
        autoreset_mode: to be given if `envs.metadata` does not name it; an `AutoresetMode`, its name or value.
        timeout_seconds: the longest one call may take, resets included; for environments in processes of their
            own (`AsyncVectorEnv`) only. None: no limit.

    Raises:
        TypeError: `envs` is not a vector environment.
        ValueError: the autoreset mode is not known or contradicts the environment's own; a bad seed or time limit.
        EnvironmentFailure: the first reset failed; the environments are closed then.
    """

    def __init__(
        self,
        envs: VectorEnv[Any, Any, Any],
        *,
        seed: int | None,
        autoreset_mode: AutoresetMode | str | None = None,
        timeout_seconds: float | None = None,
    ) -> None:
        if not isinstance(envs, VectorEnv):
            raise TypeError(
                f"envs={envs!r} must be a gymnasium.vector.VectorEnv, not {type(envs).__name__}: see make_envs"
            )
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0):
            raise ValueError(f"seed={seed!r} must be a whole number of at least 0, or None")
        self._mode = _mode_of(envs, autoreset_mode)
        _check_pending_resets(envs, self._mode)
        self._envs = envs
        self._watch = watch(envs, timeout_seconds=timeout_seconds, keep_final=self._mode is AutoresetMode.SAME_STEP)

        self.num_envs: int = envs.num_envs
        self._action_shape = envs.action_space.shape
        self._returns = np.zeros(self.num_envs)
        self._lengths = np.zeros(self.num_envs, np.int64)
        # NEXT_STEP only: rows that the environments will reset in the next call instead of stepping them.
        self._resetting = np.zeros(self.num_envs, np.bool_)
        self._failure: Exception | None = None
        self._closed = False
        try:
            observation, _ = self._ask(envs.reset, seed=None if seed is None else int(seed))
        except BaseException as error:
            self._failure = error if isinstance(error, Exception) else None
            self.close()
            raise
        self.observation: Tree = _copy(observation)
        self.first: NDArray[np.bool_] = np.ones(self.num_envs, np.bool_)

    def step(self, actions: Any) -> StepResult:
        """Take one action in each environment.

        Args:
            actions: batch of the action space, [N] or [N, ...]; those of rows about to be reset are ignored.

        Raises:
            ValueError: `actions` has the wrong shape (nothing has happened then), or the environments do not keep to
                their autoreset mode.
            EnvironmentFailure: an environment raised, its process died, the time limit passed, or a reward is not
                finite.
            RuntimeError: the stream is closed.
        """
        if self._failure is not None:
            raise self._failure
        if self._closed:
            raise RuntimeError("this EpisodeStream is closed: make a new one")
        if self._action_shape is not None and np.shape(actions) != self._action_shape:
            raise ValueError(
                f"actions have shape {np.shape(actions)}, must have {self._action_shape}: one per environment"
            )
        try:
            return self._step(actions)
        except Exception as error:
            self._failure = error
            raise
        except BaseException as error:  # an interrupt leaves answers unread
            self._failure = EnvironmentFailure(
                f"a step was interrupted by {type(error).__name__}: the environments are out of step",
                tuple(range(self.num_envs)),
            )
            raise

    def _step(self, actions: Any) -> StepResult:
        observation, reward, terminated, truncated, info = self._ask(self._envs.step, actions)
        observation = _copy(observation)
        reward = self._per_row("reward", reward, np.float64)
        terminated = self._per_row("terminated", terminated, np.bool_)
        truncated = self._per_row("truncated", truncated, np.bool_)
        ended = terminated | truncated

        # Most steps end nothing: they cost no more than this count.
        if np.count_nonzero(self._resetting):
            if np.count_nonzero(ended & self._resetting):
                raise ValueError(
                    f"environment rows {np.flatnonzero(ended & self._resetting).tolist()} ended an episode in the "
                    "call that should only reset them: their autoreset mode is not NEXT_STEP"
                )
            first = self._resetting
            active = ~first
            reward[first] = 0.0
        else:
            first = np.zeros(self.num_envs, np.bool_)
            active = np.ones(self.num_envs, np.bool_)
        if np.count_nonzero(np.isfinite(reward)) != self.num_envs:
            row = int(np.flatnonzero(~np.isfinite(reward))[0])
            raise EnvironmentFailure(f"environment row {row} gave reward={reward[row]}, which must be finite", (row,))

        final_observation = observation
        any_ended = np.count_nonzero(ended) > 0
        if any_ended:
            if self._mode is AutoresetMode.NEXT_STEP:
                pass  # the observation is the final one, and stays until the next call
            elif self._mode is AutoresetMode.SAME_STEP:
                final_observation = _final_observation(observation, ended, info)
                first = ended
            else:
                started, _ = self._ask(self._envs.reset, options={"reset_mask": ended.copy()})
                observation = _replace_rows(observation, ended, started)
                first = ended

        # Nothing can fail from here on: a call that raised above has changed nothing.
        self._returns += reward
        self._lengths += active
        finished = self._finish(ended) if any_ended else _NONE_FINISHED
        if self._mode is AutoresetMode.NEXT_STEP:
            self._resetting = ended
        self.observation = observation
        self.first = first
        return StepResult(reward, terminated, truncated, final_observation, active, finished)

    def close(self) -> None:
        """Close the environments and end their processes, by force if need be. Never raises; may be repeated."""
        if not self._closed:
            self._closed = True
            self._watch.close(failed=self._failure is not None)

    def __enter__(self) -> EpisodeStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call the environments; whatever they raise becomes an EnvironmentFailure."""
        self._watch.start()
        try:
            return call(*args, **kwargs)
        except Exception as error:
            raise self._watch.failure(error) from error
        finally:
            self._watch.stop()

    def _per_row(self, name: str, values: Any, dtype: type[np.generic]) -> NDArray[Any]:
        array = np.array(values, dtype)  # a copy: the environments may reuse their buffer
        if array.shape != (self.num_envs,):
            raise ValueError(f"the environments gave {name} of shape {array.shape}, must be ({self.num_envs},)")
        return array

    def _finish(self, ended: NDArray[np.bool_]) -> FinishedEpisodes:
        rows = np.flatnonzero(ended)
        finished = FinishedEpisodes(rows, self._returns[rows], self._lengths[rows])
        self._returns[rows] = 0.0
        self._lengths[rows] = 0
        return finished


# Serves every step that ends nothing.
_NONE_FINISHED = FinishedEpisodes(np.zeros(0, np.int64), np.zeros(0), np.zeros(0, np.int64))


def _mode_of(envs: VectorEnv[Any, Any, Any], given: AutoresetMode | str | None) -> AutoresetMode:
    """The autoreset mode of `envs`: what it says itself, else what is `given`; they must not differ."""
    choices = "AutoresetMode.NEXT_STEP, SAME_STEP or DISABLED (gymnasium.vector)"
    said = (envs.metadata or {}).get("autoreset_mode")
    given_mode, said_mode = _parse_mode(given), _parse_mode(said)
    if given is not None and given_mode is None:
        raise ValueError(f"autoreset_mode={given!r} must be {choices}")
    mode = given_mode or said_mode
    if mode is None:
        raise ValueError(
            f"{envs!r} has metadata['autoreset_mode']={said!r}, which does not say how it resets: pass "
            f"autoreset_mode={choices}, whichever it follows"
        )
    if said_mode not in (None, mode):
        raise ValueError(
            f"autoreset_mode={given!r} contradicts the environments' metadata['autoreset_mode']={said!r}: leave "
            "the argument out, or correct the metadata"
        )
    return mode


def _parse_mode(value: Any) -> AutoresetMode | None:
    return next((mode for mode in AutoresetMode if value in (mode, mode.name, mode.value)), None)


def _check_pending_resets(envs: VectorEnv[Any, Any, Any], mode: AutoresetMode) -> None:
    """Refuse the one case in which a full reset does not begin anew.

    The workers of an AsyncVectorEnv without shared memory do not take a reset as the one they owe after an end
    (NEXT_STEP): they would reset again at the first step and discard its action. Whether one is owed cannot be
    seen from here, but unused environments owe none, and their observation buffer is still all zeros.
    """
    inner = envs.unwrapped
    if (
        mode is AutoresetMode.NEXT_STEP
        and isinstance(inner, AsyncVectorEnv)
        and not inner.shared_memory
        and any(np.any(leaf) for leaf in _leaves(inner.observations))
    ):
        raise ValueError(
            "envs=AsyncVectorEnv(shared_memory=False, autoreset_mode=NEXT_STEP) has been used before, and may "
            "discard the first action: pass it unused, or make it with shared_memory=True or "
            "autoreset_mode=AutoresetMode.DISABLED"
        )


def _final_observation(observation: Tree, ended: NDArray[np.bool_], info: Any) -> Tree:
    """SAME_STEP: `observation` with the final observations, which are in `info`, in the rows that ended.

    Gymnasium's own environments give an object array of single observations; others give one batch.
    """
    final = info.get("final_obs") if isinstance(info, dict) else None
    if final is None:
        raise ValueError(
            "environments in SAME_STEP mode must give the final observations in info['final_obs'], which is "
            "missing: another autoreset_mode may be the right one"
        )
    missing = ended & ~np.asarray(info.get("_final_obs", ended), np.bool_)
    single = isinstance(final, np.ndarray) and final.dtype == np.object_
    if single:
        missing = missing | (ended & np.array([value is None for value in final]))
    if np.count_nonzero(missing):
        raise ValueError(
            f"environment rows {np.flatnonzero(missing).tolist()} ended without a final observation in "
            "info['final_obs']"
        )
    if not single:
        return _replace_rows(observation, ended, final)
    result = _copy(observation)
    for row in np.flatnonzero(ended):
        _put(result, int(row), final[row])
    return result


def _copy(tree: Tree) -> Tree:
    if isinstance(tree, dict):
        return {key: _copy(value) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_copy(value) for value in tree)
    return np.array(tree)


def _leaves(tree: Tree) -> list[Any]:
    if isinstance(tree, dict):
        return [leaf for value in tree.values() for leaf in _leaves(value)]
    if isinstance(tree, tuple):
        return [leaf for value in tree for leaf in _leaves(value)]
    return [tree]


def _replace_rows(tree: Tree, rows: NDArray[np.bool_], source: Tree) -> Tree:
    """A copy of `tree` whose `rows` are those of `source`."""
    if isinstance(tree, dict):
        return {key: _replace_rows(value, rows, source[key]) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(_replace_rows(value, rows, part) for value, part in zip(tree, source, strict=True))
    result = np.array(tree)
    result[rows] = np.asarray(source)[rows]
    return result


def _put(tree: Tree, row: int, single: Tree) -> None:
    """Write a `single` environment's observation into a row of `tree`."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            _put(value, row, single[key])
    elif isinstance(tree, tuple):
        for value, part in zip(tree, single, strict=True):
            _put(value, row, part)
    else:
        tree[row] = single
