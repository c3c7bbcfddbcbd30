"""Compiled code that is kept on disk is that of today's text."""

import ast
import hashlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import r2d2

FOLDER = Path(r2d2.__file__).parent


def of_the_project(tree: ast.Module) -> dict[str, str]:
    """Names that a module imports from others of the project, and from which."""
    return {
        (alias.asname or alias.name): node.module
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("r2d2")
        for alias in node.names
        if node.module is not None
    }


def compiled_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            decorators = {
                name.id for part in node.decorator_list for name in ast.walk(part) if isinstance(name, ast.Name)
            }
            if decorators & {"njit", "overload", "register_jitable", "intrinsic"}:
                yield node


def built_on(path: Path) -> set[str]:
    """Modules whose names compiled functions of the file look up."""
    tree = ast.parse(path.read_text())
    imported = of_the_project(tree)
    used = {
        name.id for function in compiled_functions(tree) for name in ast.walk(function) if isinstance(name, ast.Name)
    }
    return {imported[name] for name in used & set(imported)}


FILES = {path: built_on(path) for path in FOLDER.rglob("*.py")}
MODULES = [
    importlib.import_module(".".join(("r2d2", *path.relative_to(FOLDER).with_suffix("").parts)))
    for path, modules in FILES.items()
    if modules
]


def test_there_is_such_code() -> None:
    assert {"r2d2.lstm_kernel", "r2d2.replay.gather", "r2d2.replay.write_steps"} <= {m.__name__ for m in MODULES}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_compiled_code_names_all_that_it_is_built_on(module: ModuleType) -> None:
    names = {name.rsplit(".", 1)[-1] + ".py" for name in FILES[Path(str(module.__file__))]}
    assert set(module.BUILT_ON) == names


@pytest.mark.parametrize(
    ("module", "name"),
    [(module, name) for module in MODULES for name in module.BUILT_ON],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_compiled_code_names_what_it_was_built_on(module: ModuleType, name: str) -> None:
    """Numba looks at the file of a function alone, and not at those of what it calls or reads."""
    text = (Path(str(module.__file__)).parent / name).read_bytes()
    digest = hashlib.sha256(text).hexdigest()[:12]
    assert module.BUILT_ON[name] == digest, f"{name} has changed: write {digest!r} in {module.__name__}.BUILT_ON"
