"""Small environments with memory; importing this package registers them with Gymnasium.

Any of these makes `gymnasium.make` find them:

    gymnasium.make("envs:r2d2/TMaze-v0")    # Gymnasium imports the module before the colon
    import envs; gymnasium.make("r2d2/TMaze-v0")

Without one of them it cannot: since version 1.0, Gymnasium no longer looks for installed packages'
`gymnasium.envs` entry points (release notes of v1.0.0a1, "Removing the plugin system").
"""

import gymnasium

__all__ = ["register"]


def register() -> None:
    """Register the environments of this package; those already registered are left as they are.

    Entry points are given as text, so that a specification can be sent to another process and so that
    registering costs no import.
    """
    if "r2d2/TMaze-v0" not in gymnasium.registry:
        gymnasium.register(id="r2d2/TMaze-v0", entry_point="envs.t_maze:TMaze", reward_threshold=0.95)
    if "r2d2/Alphabet-v0" not in gymnasium.registry:
        gymnasium.register(id="r2d2/Alphabet-v0", entry_point="envs.alphabet:Alphabet", reward_threshold=0.9)
    if "r2d2/CartPoleHiddenVelocity-v0" not in gymnasium.registry:
        gymnasium.register(
            id="r2d2/CartPoleHiddenVelocity-v0",
            entry_point="envs.cart_pole:CartPoleHiddenVelocity",
            max_episode_steps=500,
            reward_threshold=475.0,
        )


register()
