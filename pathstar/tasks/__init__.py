"""What is learned. A task is a frozen dataclass of its config fields with NumPy code only; add one = one file + one line here."""

from pathstar.tasks.path_star import PathStar

TASKS = {
    "path_star": PathStar,
}
