"""make_envs: environments from an id, and one clear line where that fails."""

from __future__ import annotations

import multiprocessing
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from agents.make_envs import EXTRAS, make_envs

MODULE = """
import os

import gymnasium
import numpy as np

PARENT = os.getpid()


class Env(gymnasium.Env):
    metadata = {"render_modes": []}
    observation_space = gymnasium.spaces.Box(0, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, size=1, fails=""):
        self.size = size
        if fails == "always":
            raise FileNotFoundError("no level\\n of that name")
        if fails == "in one worker" and os.getpid() != PARENT:
            try:
                os.close(os.open(__file__ + ".died", os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
            os._exit(1)
        if fails == "dynamic space":
            self.observation_space = gymnasium.spaces.Sequence(gymnasium.spaces.Discrete(2))
        if fails == "missing package":
            import a_package_that_is_not_there

    def reset(self, *, seed=None, options=None):
        return np.zeros(1, np.float32), {}

    def step(self, action):
        return np.zeros(1, np.float32), 0.0, False, False, {}


gymnasium.register("MakeEnvsTest-v0", entry_point=Env)
"""


@pytest.fixture(autouse=True)
def _module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A module `make_envs_test_module` that registers MakeEnvsTest-v0 when imported."""
    (tmp_path / "make_envs_test_module.py").write_text(MODULE)
    (tmp_path / "make_envs_test_broken.py").write_text("import a_package_that_is_not_there")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(__import__("sys").modules, "make_envs_test_module", raising=False)
    yield
    gymnasium.registry.pop("MakeEnvsTest-v0", None)


def refused(*args: Any, **kwargs: Any) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the callers compare the whole message
        make_envs(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(("mode", "kind"), [("sync", SyncVectorEnv), ("async", AsyncVectorEnv)])
def test_environments_do_not_reset_themselves(mode: Any, kind: type) -> None:
    envs = make_envs("CartPole-v1", 3, mode=mode)
    try:
        assert isinstance(envs, kind)
        assert envs.num_envs == 3
        assert envs.metadata["autoreset_mode"] is AutoresetMode.DISABLED
        assert envs.reset(seed=0)[0].shape == (3, 4)
    finally:
        envs.close()
    if mode == "async":
        assert envs.shared_memory


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_module_is_imported_and_arguments_reach_the_environment(mode: Any) -> None:
    envs = make_envs("make_envs_test_module:MakeEnvsTest-v0", 2, mode=mode, env_kwargs={"size": 5})
    try:
        assert envs.get_attr("size") == (5, 5)
    finally:
        envs.close()


def test_the_time_limit_may_be_set() -> None:
    envs = make_envs("CartPole-v1", 1, env_kwargs={"max_episode_steps": 2})
    envs.reset(seed=0)
    assert [envs.step(np.array([0]))[3].tolist() for _ in range(2)] == [[False], [True]]


def test_an_unknown_id_keeps_gymnasiums_suggestion() -> None:
    assert refused("CartPol-v1", 1) == (
        "env_id='CartPol-v1' is not registered: Environment `CartPol` doesn't exist. Did you mean: `CartPole`? "
        "An environment of another package is named 'module:Env-v0', after the module that registers it."
    )
    assert "env_id='CartPole-v99' is not registered: Environment version `v99`" in refused("CartPole-v99", 1)
    assert "env_id='Nowhere/CartPole-v1' is not registered: Namespace Nowhere not found." in refused(
        "Nowhere/CartPole-v1", 1
    )


def test_a_module_that_does_not_register_the_id_is_named() -> None:
    assert refused("make_envs_test_module:MakeEnvsTesting-v0", 1) == (
        "env_id='make_envs_test_module:MakeEnvsTesting-v0' is not registered: Environment `MakeEnvsTesting` doesn't "
        "exist. Did you mean: `MakeEnvsTest`? Module 'make_envs_test_module' was imported; does it register the "
        "environment?"
    )


@pytest.mark.parametrize(
    ("module", "missing"),
    [("no_such_module", "no_such_module"), ("make_envs_test_broken", "a_package_that_is_not_there")],
)
def test_a_module_that_cannot_be_imported_is_named(module: str, missing: str) -> None:
    message = refused(f"{module}:Env-v0", 1)
    assert message.startswith(
        f"env_id='{module}:Env-v0' names a module that cannot be imported: No module named '{missing}'"
    )


def test_of_a_module_that_an_extra_brings_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(EXTRAS, "not_there", "atari")
    message = refused("not_there:Pong-v5", 1)
    assert message.endswith("The project's extra 'atari' brings it: pip install '.[atari]' in its folder.")


def test_the_extras_that_are_named_are_there() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for module, extra in EXTRAS.items():
        (needed,) = project["optional-dependencies"][extra]
        assert needed.startswith(module.replace("_", "-"))


def test_an_environment_that_cannot_be_made_says_why() -> None:
    env_id = "make_envs_test_module:MakeEnvsTest-v0"
    assert refused(env_id, 1, env_kwargs={"fails": "always"}) == (
        f"env_id='{env_id}' cannot be made: FileNotFoundError: no level of that name. "
        "Are its arguments {'fails': 'always'} right?"
    )
    assert "cannot be made: ModuleNotFoundError: No module named 'a_package_that_is_not_there'." in refused(
        env_id, 1, env_kwargs={"fails": "missing package"}
    )
    unknown = refused(env_id, 1, env_kwargs={"colour": 3})
    assert "unexpected keyword argument 'colour'" in unknown
    assert unknown.endswith("Are its arguments {'colour': 3} right?")


def test_a_space_that_cannot_be_shared_says_so() -> None:
    message = refused("make_envs_test_module:MakeEnvsTest-v0", 1, mode="async", env_kwargs={"fails": "dynamic space"})
    assert "cannot be made: TypeError: As Sequence(Discrete(2), stack=False) has a dynamic shape" in message


@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_dies_at_once_takes_the_others_with_it(capfd: pytest.CaptureFixture[str]) -> None:
    before = multiprocessing.active_children()
    with pytest.raises(ValueError, match=r"cannot be made: .*Error.* Does mode='sync' work\?$") as caught:
        make_envs("make_envs_test_module:MakeEnvsTest-v0", 3, mode="async", env_kwargs={"fails": "in one worker"})
    assert multiprocessing.active_children() == before
    assert caught.value.__cause__ is not None  # whose traceback would hold the other workers
    capfd.readouterr()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", 1), "env_id='' must have the form"),
        (("a:b:c", 1), "env_id='a:b:c' must have the form"),
        (("CartPole-v1", 0), "num_envs=0 must be a whole number of at least 1"),
        (("CartPole-v1", 2.0), "num_envs=2.0 must be"),
        (("CartPole-v1", True), "num_envs=True must be"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments: tuple[Any, ...], message: str) -> None:
    assert refused(*arguments).startswith(message)


def test_other_refusals() -> None:
    assert refused("CartPole-v1", 1, mode="parallel") == "mode='parallel' must be 'sync' or 'async'"
    assert refused("CartPole-v1", 1, env_kwargs={"num_envs": 3}).startswith("env_kwargs has 'num_envs'")
    with pytest.raises(TypeError, match=re.escape("env_id=None must be a string")):
        make_envs(None, 1)  # type: ignore[arg-type]
    assert refused("bad id!", 1).startswith("env_id='bad id!' cannot be made: Error: Malformed environment ID: bad id!")
