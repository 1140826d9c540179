"""What is learned. A task is a frozen dataclass of its config fields, NumPy code only, with

    examples(seed, split, index_B) -> prefix_BxP, target_BxL, weight_BxL, answer_BxL    pure; splits share no problem
    num_problems(), chance                       how many problems there are; exact match of a guess
    vocab_size, dummy                            number of tokens; the one that stands in for unseen answers
    prefix_length, target_length, answer_length  tokens; the answer is all of the target, or follows a trace
    separator                                    token of the target after which the answer begins; None: no trace
    branch                                       place of the branch token in the target, or None; a task that has
                                                 one gives arms_BxDxL too, all paths from the start
    to_text(batch), from_text(lines)             its file format
    slug, str(task)                              its name in run ids and in tables

Add one = one file + one line here.
"""

from pathstar.tasks.addition import Addition
from pathstar.tasks.path_star import PathStar

TASKS = {
    "path_star": PathStar,
    "addition": Addition,
}
