"""The old name of `pathstar.presets`, for config files that import it from here."""

from pathstar.presets import *  # noqa: F403
