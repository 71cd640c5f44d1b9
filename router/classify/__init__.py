"""Which task a request is: the first question of the router. Pure; no I/O but the rules' file."""

from common.quality_config import TASKS, Task
from router.classify.classifier import Spoken, Verdict, classify
from router.classify.conversation import Conversation, Turn, of_text, read
from router.classify.rules import Rules, default_rules, load

__all__ = [
    "TASKS",
    "Conversation",
    "Rules",
    "Spoken",
    "Task",
    "Turn",
    "Verdict",
    "classify",
    "default_rules",
    "load",
    "of_text",
    "read",
]
