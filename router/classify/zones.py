"""Where in a text a wish is likely to stand: at its start or end, outside of quotations."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass

from router.classify.spelling import Spelling

_ASK_EDGE = 250  # of either end of a longer text; in the middle stands material, not the wish
_LEAD_CHARS = 200
_LEAST_REST = 12

_SPACES = re.compile(r"[ \t\u00a0\u3000]+")
_HANGUL = re.compile(r"[가-힣]")
_SENTENCE_END = re.compile(r"[.?!:。]['\"”]?\s|\n")
_ENDINGS = "\n .?!:\"'”)…~^ㅋㅎㅠ"
_SCRIPTS_MEET = re.compile(r"(?<=[a-z])(?=[가-힣])|(?<=[가-힣])(?=[a-z])")
_LONG_QUOTATION = re.compile(r'"[^\n]{40,}"|“[^”\n]{40,}”|「[^」\n]{40,}」|『[^』\n]{40,}』')
# What people say before and after a wish out of courtesy. Whole sentences: a greeting card or a
# letter of thanks that is to be written stays.
_GREETING = re.compile(
    r"""^(?:
    (?:(?:hi|hello|hey|yo|ok(?:ay)?|cool|great|nice|lovely|perfect|cute|dear\s\w+|greetings|sorry
      |thanks?(?:\syou)?(?:\sso\smuch)?|good\s(?:morning|afternoon|evening)|excuse\sme|quick\sone)
      (?:\s(?:there|all|everyone|again|team|friend|chat\s?gpt|assistant|bot))?(?=[\s,.!:?~-]|$)
    |안녕(?:하세요|하십니까)?|저기요?|고마워요?|감사합니다|감사해요|고맙습니다|실례합니다|실례지만|오키|오케이
    |ㅇㅋ|ㅇㅇ|좋아요?|굿|수고하십니다|수고\s?많으십니다)
    [\s,.!~^ㅎㅋ:-]*
    |(?:i\s(?:really\s)?hope\s(?:you|this|that|all|everything)|i(?:'m|\sam)\s(?:so\s)?sorry\sto
      |sorry\s(?:to|for)\s(?:bother|the|ask)|(?:i\s)?(?:just\s)?(?:have|had|got)\s(?:a|one|another)
      \s(?:\w+\s)?question|i\s(?:could\suse|need)\s(?:your|some|a\sbit\sof|a\slittle)\shelp
      |i\swas\swondering\sif\syou\scould\shelp|hope\s(?:you|this|all)|how\sare\syou\s(?:today|doing)
      |(?:could|can|would|will)\syou\s(?:please\s|kindly\s)?help\sme(?=\s?[?.!,:]|\sout|\swith\s
      (?:this|something)))
    [^.!?:\n]{0,60}[.!?:\n]\s*
    |(?:바쁘신?|바쁘실|귀찮으|번거로|도움이|도와주|여쭤|여쭙|질문이?\s?(?:하나|있)|궁금한\s?(?:게|것이|점이)\s?있
      |다름이\s아니라|초면에|죄송(?:하지만|한데|합니다만?)|미안(?:한데|하지만))[^.!?\n]{0,30}
      (?:[.!?\n,]|다만|지만|는데)\s*
    )+""",
    re.VERBOSE,
)
_THANKS = re.compile(
    r"""(?:(?:^|(?<=[\s.!?:)~"'\]]))\s*(?:
    (?:many\s|kind\s)?thanks?(?:\syou)?(?:\s(?:so|very|a|in|for|again|and)\b[^.!?\n]{0,40})?
    |cheers|much\sappreciated|tia|thx|ty|(?:any|your)\s(?:help|time|advice)[^.!?\n]{0,20}appreciated
    |i(?:'d|\swould)?\s(?:really\s|greatly\s)?appreciate\s(?:it|your|any)[^.!?\n]{0,30}
    |have\sa\s(?:nice|good|great)\s\w+|best\sregards|kind\sregards
    |(?:미리|정말|너무|항상|늘|진심으로|도와주셔서|읽어\s?주셔서|바쁘신\s?중에)?\s?
      (?:감사(?:합니다|해요|드립니다|드려요|하겠습니다|요)|고마워요?|고맙습니다|땡큐)
    |(?:잘\s|꼭\s|좀\s)?부탁(?:드려요?|드립니다|드리겠습니다|해요?|합니다|할게요?)
    |수고하세요|제발|좋은\s?하루\s?(?:되|보내)\S{0,6})
    [\s.,!?~^ㅎㅋㅠ:)]*)+\Z""",
    re.VERBOSE,
)
# How a sentence looks that asks for something.
_WISH = re.compile(
    r"""^\W*(?:(?:please|now|then|and|so|ok|just)\s)*(?:translate|summari[sz]e|sum|write|explain|list
    |give|find|tell|compare|analy[sz]e|calculate|compute|solve|create|make|draft|describe|convert
    |identify|classify|extract|rank|rate|evaluate|generate|rewrite|correct|fix|prove|show|turn|say
    |read|answer|name|suggest|put|what|who|which|how|why|where|when|can|could|would|will|should|is
    |are|do|does|did|i\sneed|i\swant|help|let's|need)\b
    |\?\W*$|tl;?dr|:\W*$|in\s(?:one|two|three|a\sfew|\d+)\s\w+\W*$
    |(?:줘|주라|줄래|주세요|주십시오|주시겠어요|주시|하라|해라|시오|세요|까|까요|나요|가요|냐|니|부탁\S{0,6}|바랍니다
    |는가|요약|번역|뭐야|은|는|봐|봐라|해)[요.!~?\s]*$""",
    re.MULTILINE | re.VERBOSE,
)


@dataclass(frozen=True)
class Zone:
    """A text to search. What begins before `lead_end` or after `tail_start` stands prominently."""

    text: str
    lead_end: int
    tail_start: int
    breaks: tuple[int, ...] = ()  # where spaces were taken out

    def is_prominent(self, start: int, end: int) -> bool:
        return start < self.lead_end or end > self.tail_start

    def is_torn(self, start: int, end: int) -> bool:
        """Made of the end of one word and the beginning of the next, which is chance.

        As when the last syllable of `미국의` and the first of `역사` make `의역`.
        """
        at = bisect_right(self.breaks, start)
        torn = at < len(self.breaks) and self.breaks[at] == start + 1 < end
        inside = start > 0 and (at == 0 or self.breaks[at - 1] != start)
        return torn and inside and _HANGUL.match(self.text, start) is not None


def ask_of(prose: str) -> str:
    """The part of a text in which a wish is looked for, still with its spaces."""
    if len(prose) <= 2 * _ASK_EDGE:
        return prose
    return f"{prose[:_ASK_EDGE]}\n{prose[-_ASK_EDGE:]}"


def wish_of(text: str) -> str:
    """The sentence that looks like the wish; all of the text where none does."""
    ask = zone_of(without_quotations(text.lower()))
    lead, tail = ask.text[: ask.lead_end], ask.text[ask.tail_start :]
    return next((part for part in (lead, tail) if _WISH.search(part)), text)


def latin_zone(text: str, has_hangul: bool, spelling: Spelling) -> Zone:
    apart = _SCRIPTS_MEET.sub(" ", text) if has_hangul else text
    return zone_of(spelling.mend(apart))


def compact_zone(text: str, spelling: Spelling) -> Zone:
    words = _SPACES.split(text)
    breaks, at = [], 0
    for word in words[:-1]:
        at += len(word)
        breaks.append(at)
    zone = zone_of(spelling.mend_korean("".join(words)))
    return Zone(zone.text, zone.lead_end, zone.tail_start, tuple(breaks))


def without_courtesies(text: str) -> str:
    """A greeting before a wish and thanks after it say nothing of the wish."""
    rest = _GREETING.sub("", text.strip())
    rest = _THANKS.sub("", rest).strip()
    return rest if len(rest) >= _LEAST_REST else text


def without_quotations(text: str) -> str:
    """A long quotation is material; what is to be done with it stands around it."""
    rest = _LONG_QUOTATION.sub('"..."', text)
    return rest if len(rest) >= _LEAST_REST else text


def zone_of(text: str) -> Zone:
    """A wish stands in the first or the last sentence; where only one of them is, there alone."""
    first = _SENTENCE_END.search(text, 12)
    lead_end = min(first.start() + 1 if first else len(text), _LEAD_CHARS)
    tail_end = len(text.rstrip(_ENDINGS))
    tail_start = max(tail_end - _LEAD_CHARS, 0)
    for match in _SENTENCE_END.finditer(text, tail_start, tail_end):
        tail_start = match.end()
    lead, tail = text[:lead_end], text[tail_start:]
    if lead_end <= tail_start and _WISH.search(lead) and not _WISH.search(tail):
        tail_start = len(text)
    return Zone(text, lead_end, tail_start)
