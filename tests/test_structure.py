"""The shape of the program: floors, circles, sizes and names, read from the source by `ast`.

CONTRIBUTING.md says the same in words.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("vtrack", "detectors", "filters", "pipelines")
"""Folders at the top of the repository that hold the program; the last three are imported as `vtrack.<folder>`."""

FLOORS = (
    ("_version", "errors", "runtime"),
    ("imaging", "parts"),
    ("measures",),
    ("types", "options"),
    ("anchors", "filters"),
    ("text", "layouts"),
    ("template", "query"),
    ("facemap", "data"),
    ("models",),
    ("detectors",),
    ("evaluation", "pipelines"),
    ("training",),
    ("__init__", "cli"),
    ("__main__",),
)
"""What stands in `vtrack`, lowest first. A module imports from its own room and from lower floors only."""

MOST_MODULES = MOST_PACKAGES = 12
MOST_LINES = 399

LAZY_ROOMS = ("vtrack.cli",)
"""The command line imports inside functions, so that `--help` and a mistyped option answer without torch or OpenCV."""


def module_name(path: Path) -> str:
    """What a file of the repository is imported as."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    parts = parts if parts[0] == "vtrack" else ("vtrack", *parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def modules() -> Mapping[str, Path]:
    """Every module of the program by its name; the links inside `vtrack/` are not followed twice."""
    paths = (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))
    return {module_name(path): path for path in paths if not any(parent.is_symlink() for parent in path.parents)}


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(module: str) -> Iterator[str]:
    """Modules of the program that one imports, wherever in it, also for type checking alone."""
    for node in ast.walk(tree(modules()[module])):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules())
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative import in line {node.lineno}; write the whole name"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                target = whole if whole in modules() else node.module
                if target in modules():
                    yield str(target)


@cache
def arrows() -> tuple[tuple[str, str], ...]:
    """(from, to) for each import between two modules of the program."""
    return tuple((module, target) for module in modules() for target in sorted({*imports(module)} - {module}))


def circle(edges: Mapping[str, set[str]]) -> list[str]:
    """Some circle of a graph, or nothing."""
    done: set[str] = set()

    def walk(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node in done:
            return []
        for target in sorted(edges.get(node, ())):
            if found := walk(target, [*path, node]):
                return found
        done.add(node)
        return []

    return next((found for node in sorted(edges) if (found := walk(node, []))), [])


def within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def child(module: str, package: str) -> str:
    """The module or package right below `package` that a module is or belongs to."""
    return "__init__" if module == package else module.removeprefix(package + ".").split(".")[0]


def test_no_circle_of_modules() -> None:
    edges = defaultdict(set)
    for source, target in arrows():
        edges[source].add(target)
    assert len(edges) > 100
    assert not circle(edges)


def test_no_circle_of_rooms() -> None:
    packages = [name for name, path in modules().items() if path.name == "__init__.py"]
    assert len(packages) > 20
    for package in packages:
        edges = defaultdict(set)
        for source, target in arrows():
            if within(source, package) and within(target, package):
                edges[child(source, package)].add(child(target, package))
        for room, targets in edges.items():
            targets.discard(room)
        assert not circle(edges), f"in {package}"


def test_imports_go_to_lower_floors() -> None:
    floor = {name: number for number, names in enumerate(FLOORS) for name in names}
    rooms = {child(module, "vtrack") for module in modules()}
    assert rooms == floor.keys(), "FLOORS names every module and package right below vtrack, and nothing else"
    wrong = []
    for source, target in arrows():
        room, other = child(source, "vtrack"), child(target, "vtrack")
        if room != other and floor[other] >= floor[room]:
            wrong.append(f"{source} imports {target}")
    assert not wrong


def test_rooms_are_small() -> None:
    for module, path in modules().items():
        if path.name == "__init__.py":
            files = [file for file in path.parent.glob("*.py") if not file.name.startswith("__")]
            packages = [folder for folder in path.parent.iterdir() if (folder / "__init__.py").is_file()]
            assert len(files) <= MOST_MODULES, f"{module} has {len(files)} modules; group some of them in a package"
            assert len(packages) <= MOST_PACKAGES, f"{module} has {len(packages)} packages"


def test_rooms_say_what_they_are_for() -> None:
    silent = [
        module for module, path in modules().items() if path.name != "__main__.py" and not ast.get_docstring(tree(path))
    ]
    assert not silent


def test_files_are_short() -> None:
    files = [*modules().values(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "samples").rglob("*.py")]
    lengths = {str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {name: lines for name, lines in lengths.items() if lines > MOST_LINES}


def test_a_class_name_means_one_thing() -> None:
    count = Counter(
        node.name
        for path in modules().values()
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )
    twice = {name for name, times in count.items() if times > 1}
    assert not twice


def extras() -> set[str]:
    """Import names of the packages that only an extra of pyproject.toml brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = [need for needs in project["optional-dependencies"].values() for need in needs]
    return {re.split(r"[\[<>=]", need)[0].replace("-", "_") for need in needs} - {"vtrack"}


def lazy_imports() -> Iterator[tuple[str, ast.Import | ast.ImportFrom, bool]]:
    """File, import and whether a comment stands above its block or behind it, for each import inside a function."""
    for path in modules().values():
        lines = path.read_text(encoding="utf-8").splitlines()
        for function in ast.walk(tree(path)):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            explained_until = -1
            nodes = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
            for node in sorted(nodes, key=lambda node: node.lineno):
                above = lines[node.lineno - 2].strip()
                told = above.startswith("#") or "# " in lines[(node.end_lineno or node.lineno) - 1].replace(
                    "# noqa", ""
                )
                # One comment serves a block of imports, also across the empty line that isort puts between its parts.
                if told or node.lineno - explained_until <= 2:
                    told, explained_until = True, node.end_lineno or node.lineno
                yield str(path.relative_to(ROOT)), node, told


def test_imports_inside_functions_have_a_reason() -> None:
    unexplained = set()
    for place, node, told in lazy_imports():
        module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
        lazy_room = any(place.startswith(room.replace(".", "/")) for room in LAZY_ROOMS)
        if not told and not lazy_room and str(module).split(".")[0] not in extras():
            unexplained.add(place)
    assert not unexplained


def test_loggers_are_called_log() -> None:
    others = set()
    for path in modules().values():
        for node in tree(path).body:
            is_logger = isinstance(node, ast.Assign) and "getLogger" in ast.unparse(node.value)
            if is_logger and ast.unparse(node) != "log = logging.getLogger(__name__)":
                others.add(str(path.relative_to(ROOT)))
    assert not others


def test_threads_have_a_name_of_the_program() -> None:
    """Tests look for threads that were left running by this name."""
    names = {"Thread": "name='vtrack-", "ThreadPoolExecutor": ", 'vtrack-"}
    calls = [
        ast.unparse(node)
        for path in modules().values()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in names
    ]
    assert len(calls) > 5
    assert not [call for call in calls if not any(name in call for name in names.values())]


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = [word for word in re.findall(r"`([\w./-]+/[\w.-]*)`", text) if "NAME" not in word and word[0] != "/"]
    assert len(paths) > 20
    assert not [path for path in paths if not (ROOT / path).exists()]
