"""Configuration: every field and its default, config files, overrides, and validation into one frozen `Config`.

Fields that belong to a task, a mixer, an objective or an evaluation are declared beside its code and merged here under `task.`, `model.`,
`objective.` and `eval.` (registry.py); the others are in sections.py. A config file (files.py) is Python with `get_config(arg="")`.
"""

from pathstar.config.files import Loaded, arguments, load, packaged
from pathstar.config.registry import FREE_FIELDS, VALUE_FIELDS, cast_field, default, factored, flatten, override, schema, selected, varied
from pathstar.config.resolve import Config, check_used, differences, of_run, recorded, recorded_in, resolve
from pathstar.config.sections import Data, Eval, Optimizer, Train

__all__ = [
    "FREE_FIELDS", "VALUE_FIELDS", "Config", "Data", "Eval", "Loaded", "Optimizer", "Train", "arguments",
    "cast_field", "check_used", "default", "differences", "factored", "flatten", "load", "of_run", "override", "packaged", "recorded",
    "recorded_in", "resolve", "schema", "selected", "varied",
]
