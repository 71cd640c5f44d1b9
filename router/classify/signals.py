"""Plain facts about a request that patterns may ask for with `when`."""

from __future__ import annotations

import re

from router.classify.conversation import Conversation

_LONG_CHARS = 450
_SHORT_CHARS = 80

_NUMBER = re.compile(
    r"\d[\d,.]*|\b(?:two|three|four|five|six|seven|eight|nine|ten|dozen|twice|half|hundred"
    r"|double|triple|third|quarter)\b"
)
_CHOICES = re.compile(
    r"(?:^|[\s(])\(?a[.)][ \n].{1,400}?[\s(]\(?b[.)][ \n]|①|^- .{1,200}\n- "
    r"|(?:^|\s)1[.)].{1,300}\s2[.)]",
    re.DOTALL | re.MULTILINE,
)
_SPEAKER = re.compile(r"^[\w가-힣 ]{1,20}: ", re.MULTILINE)
_QUOTED = re.compile(r"[\"“「『\u2018'][^\"”」』\u2019'\n]{2,300}[\"”」』\u2019']")
_IDENTIFIER = re.compile(
    r"\b[a-z]{2,}[A-Z][a-z]+\w*|\b[A-Z][a-z]+[A-Z][a-z]+[A-Z]\w+|\b[A-Z]\w+(?:Error|Exception)\b"
    r"|\b[a-z]+_[a-z]+(?:_[a-z]+)*\b|\b[A-Z]{3,}_[A-Z]+\b"
)
_CODE_FENCE = re.compile(r"```(?!json|text|\s*\{)[^\n]*\n")  # not a form for the answer
_CODE_TOOL = re.compile(
    r"bash|shell|exec|edit|patch|grep|glob|terminal|python|code|(?:read|write|create)_?file|^read$"
    r"|^write$",
    re.IGNORECASE,
)

# Every signal that a pattern may ask for, and what it says.
SIGNALS = {
    "numbers": "at least two numbers",
    "many_numbers": "at least five numbers",
    "question": "a question mark",
    "long": f"longer than {_LONG_CHARS} characters",
    "short": f"at most {_SHORT_CHARS} characters",
    "lines": "at least four lines",
    "dialogue": "three lines that begin with a speaker",
    "quoted": "something in quotes",
    "choices": "a list of choices or points",
    "fence": "a fenced code block",
    "image": "an image is attached",
    "file": "a file is attached",
    "identifiers": "a word written like a programmer's name, as useState or NullPointerError",
    "tools": "tools are offered",
    "code_tools": "tools that edit files or run commands are offered",
    "json": "the answer is to be JSON",
    "turns": "there are turns before this one",
}


def signals_of(text: str, prose: str, conversation: Conversation) -> frozenset[str]:
    numbers = len(_NUMBER.findall(prose))
    found = {
        "numbers": numbers >= 2,
        "many_numbers": numbers >= 5,
        "question": "?" in prose,
        "long": len(text) > _LONG_CHARS,
        "short": len(text) <= _SHORT_CHARS,
        "lines": prose.count("\n") >= 3,
        "dialogue": len(_SPEAKER.findall(prose)) >= 3,
        "quoted": _QUOTED.search(prose) is not None,
        "choices": _CHOICES.search(prose) is not None,
        "fence": _CODE_FENCE.search(text) is not None,
        "image": conversation.has_images,
        "file": conversation.has_files,
        "identifiers": _IDENTIFIER.search(text) is not None,
        "tools": conversation.has_tools,
        "code_tools": any(_CODE_TOOL.search(name) for name in conversation.tools),
        "json": conversation.wants_json,
        "turns": any(turn.role != "system" for turn in conversation.before),
    }
    return frozenset(name for name, there in found.items() if there)
