"""The house keeps its layers: who may import whom, read from the imports themselves."""

import ast
import pathlib

import pytest

import pathstar

ROOT = pathlib.Path(pathstar.__file__).parent
# Lower ones never import upper ones. Those of a line may import each other, without a cycle between files.
LAYERS = (
    {"errors"},
    {"devices", "storage", "tasks", "objectives"},
    {"models", "evals"},
    {"config", "grid", "presets", "scales", "sweep"},
    {"training"},
    {"sweeps", "reports"},
    {"run", "pricing"},
    {"commands"},
)
FILES = sorted(ROOT.rglob("*.py"))
MODULES = {".".join(file.relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES}


def imports(file, whole=False):
  """Modules of pathstar that a file imports at its top level (`whole`: anywhere in it)."""
  tree, found = ast.parse(file.read_text()), set()
  for node in ast.walk(tree) if whole else tree.body:
    if isinstance(node, ast.ImportFrom) and node.level == 0 and (node.module or "").split(".")[0] == "pathstar":
      # `from package import name` imports the module package.name, if there is one, and package itself.
      found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} & MODULES.keys()
    elif isinstance(node, ast.Import):
      found |= {alias.name for alias in node.names} & MODULES.keys()
  return found


def layer(module):
  part = module.split(".")[1] if "." in module else ""
  return next((number for number, parts in enumerate(LAYERS) if part in parts), None)


@pytest.mark.parametrize("module", MODULES)
def test_no_module_imports_one_above_it(module):
  if module in ("pathstar", "pathstar.__main__"):  # the front doors
    return
  assert layer(module) is not None, "a new package or file belongs to a layer"
  for other in imports(MODULES[module], whole=True) - {"pathstar"}:
    assert layer(other) <= layer(module), f"{module} imports {other}"
    assert not other.startswith("pathstar.commands") or module.startswith("pathstar.commands")


def test_there_is_no_cycle():
  needs = {module: imports(file, whole=True) - {module, "pathstar"} for module, file in MODULES.items()}
  # A package's __init__ puts its modules together; that these name the package to reach each other is no cycle of files.
  for module in needs:
    package = module.rpartition(".")[0]
    if module.split(".")[:2] == package.split(".")[:2]:
      needs[module] = needs[module] - {package}
  done = set()
  while ready := {module for module in needs.keys() - done if needs[module] <= done}:
    done |= ready
  assert not needs.keys() - done, f"these import each other: {sorted(needs.keys() - done)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_stand_on_top_but_for_heavy_ones(file):
  """No import inside a function dodges a cycle; what is slow to load may wait until it is needed."""
  inside = imports(file, whole=True) - imports(file) - {"pathstar"}
  heavy = {"__init__.py": {"pathstar.run"},  # `import pathstar` without JAX
           "cli.py": {"pathstar.config", "pathstar.devices", "pathstar.devices.hosts", "pathstar.devices.mesh"}}  # and `pathstar --help`
  assert inside <= heavy.get(file.name, set())


def test_files_are_short_and_the_root_holds_few():
  long = {file.relative_to(ROOT).as_posix(): lines for file in FILES if (lines := len(file.read_text().splitlines())) > 300}
  assert not long
  assert len([file for file in ROOT.iterdir() if file.is_file()]) <= 10
