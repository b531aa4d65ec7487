"""Surface cues in a customer's message: the words by which a guardrail becomes due."""

from __future__ import annotations

import re

from guardalign.judging.rules.text import NUMBER, inflected, literal, phrases, plain, sentences

_I = re.IGNORECASE
ORDER = re.compile(r"(?<![\w-])[A-Z]{2}-?\d{4,5}(?![\w-])", _I)

_ONE = "(?:an?|your|the|some|another|any|one of your|one of the)"
_STAFF = "(?:person|human|human being|manager|supervisor|boss|colleague|superior|agent|advis[eo]r|team leader)"
_PERSON = rf"(?:(?:real|actual|living|live)\s+)?(?:{_STAFF}|somebody|someone|people)"
_COUNT = rf"(?:a|several|many|some|over|{NUMBER})"
_BODY = (
    "(?:hands?|fingers?|thumb|foot|feet|arm|legs?|knee|palm|toe|face|lip|head|skin|wrist|heel|ankle|elbow|chin"
    "|cheek|shin)"
)
_BY_WHEN = (
    r"(?:next|this|tomorrow|tonight|noon|midday|lunch|christmas|\w+day|\d+(?:st|nd|rd|th)?|one|two|three|four|five|six|eight|nine|ten"
    r"|twelve|the (?:end|weekend|first|second|third|\w+th|\d+(?:st|nd|rd|th)?)"
    r"|january|february|march|april|may|june|july|august|september|october|november|december)"
)

_CUES: dict[str, re.Pattern[str]] = {
    "asks_how": phrases(
        "how (?:do|can|could|should|would|must|shall|might|may|am|does one|to)"
        r"(?! (?:you|u) (?:do|know|feel|explain|justify|call|expect|dare)\b)(?! (?:i|we) know\b)",
        "(?:how|where) (?:exactly|else|on earth) (?:do|can|should|would|am) (?:i|we|one)",
        r"where (?:do|can|could|should|would|must|shall|may|am)(?! you\b)",
        "what (?:do|must|should) (?:i|we) (?:have to |need to )?do|what steps",
    ),
    "asks_hours": phrases(
        "(?:opening|office|business|what|which|the|your|those|their|counter|shop|desk|phone) hours|opening times?",
        r"(?:when|whether|if|what days|which days|until|till|how late|are|is|be|still|you|stay|even|it|they"
        r"|we)\b[^.?!]{0,25}"
        r"\bopen(?! (?:my|the|a|an|up|it|this|that|your|any|account|with)\b)(?=[^.!]*\?)",
        r"(?:when|whether|know if|what days|which days|until when|how late)\b[^.?!]{0,25}\bopen",
        "when (?:can|could|may|do) (?:i|we|one|people|anyone|customers?) (?:reach|call|ring|phone|get hold)",
        "when are you (?:there|around|available|in|reachable|at)|until (?:when|what time) (?:can|are|do|could|may)",
        r"till (?:when|what time)|hours are you|what (?:times?|days?) (?:are|can|do) (?:you|i|we)",
        "hours(?= (?:do|are|is|please))",
    ),
    "asks_price": phrases(
        r"how much(?! (?:longer|more time|time|patience|trouble|space|data|memory|I (?:hate|love|like))\b)",
        r"costs?|pric(?:e|es|ing)|fees?|charges?(?! (?:it|this|that|the \w+|everything) to\b)|charged for",
    ),
    "asks_duration": phrases(
        r"how (?:long|soon|quickly|fast)|how many (?:\w+ )?(?:minutes|hours|days|weeks|months)|how much (?:longer|time)"
    ),
    "gives_number": ORDER,
    "wants_cancel": phrases(
        r"(?<!was )(?<!were )(?<!got )(?<!been )cancel\w*|terminat\w+|get out of (?:my|the|this) contract",
        r"clos(?:e|ing) (?:down )?(?:\w+ ){0,2}account",
        r"(?:end(?:ing)?|quit\w*) (?:\w+ ){0,2}(?:contract|subscription|membership|plan)",
    ),
    "says_bye": phrases(
        r"(?:good)?-?bye|farewell|see you|cheerio|have a (?:\w+ )?(?:day|evening|weekend|night|afternoon|one)",
        r"that(?:'s| is| was|s| will be|'ll be|'d be| would be) all(?! (?:i|you|we|they|the|that|of|right)\b)",
    ),
    "angry": phrases(
        r"ang(?:ry|rily|er)|furious\w*|ridiculous\w*|unacceptabl[ey]|outrage\w*|fed up|terribl[ey]|awful\w*"
        r"|disgrac\w+|disgust\w+",
        r"worst|livid|sick (?:and tired )?of|had enough|(?<!not )a (?:\w+ )?joke|appall\w+|shame(?:ful|fully|less)"
        r"|useless",
    ),
    "wants_person": phrases(
        rf"(?:speak|speaking|talk|talking|spk|chat|deal|word)\s+(?:\w+\s+){{0,3}}?(?:to"
        rf"|with)\s+(?:{_ONE}\s+)?(?:\w+\s+)?{_PERSON}",
        r"(?:put me through|connect me|transfer me|pass me|hand me|get me|give me|fetch|find me"
        r"|let me have)\s+(?:\w+\s+)?"
        rf"(?:to\s+|with\s+|over to\s+|on to\s+)?(?:{_ONE}\s+)?(?:\w+\s+)?{_PERSON}",
        rf"(?:want|need|reach|demand|like|prefer|call|is there|ask for|asking for)\s+{_ONE}\s+"
        rf"(?:real\s+|actual\s+|living\s+)?{_STAFF}|(?:real|actual) (?:person|human)",
        "(?:someone|somebody) (?:real|in charge|human|to (?:speak|talk) to|else (?:to|I can))",
        "(?:human being|a human|living (?:person|soul)|flesh and blood)|your (?:supervisor|colleagues?|manager|boss)",
    ),
    "urgent": phrases(
        r"urgen(?:t|tly|cy)|in a (?:\w+ )?(?:hurry|rush)|asap|as soon as (?:possible|you can)",
        r"emergency(?! (?:(?:tele)?phone|cash|calls?|number|exit|room|line|contact|lamp|service|fund)\b)",
        r"(?:can ?not|can'?t) (?:possibly |really |just )?wait(?! to\b)",
    ),
    "damage": phrases(
        r"damag\w+|broken|crack(?:ed|s)?|scratch(?:ed|es)?|torn|dent(?:ed|s)?|leak(?:ing|s|ed|y)?|shatter(?:ed)?"
        r"|ripped",
        "smash(?:ed)?|bent|stain(?:ed|s)?",
    ),
    "asks_refund": phrases(r"refund\w*|(?:my )?money back|my money|reimburse(?!s)\w*|reimbursing"),
    "card_digits": re.compile(
        r"(?:\d[ -]?){10,19}|\b[A-Z]{2}\d{2}(?: ?\w{4}){3,}"
        r"|(?:card|account|iban|bank|sort code|digits|ending|ends)\b[^.?!]{0,40}?(?<![\w-])\d{4,}(?![\w-])",
        _I,
    ),
    "asks_case": phrases(
        r"(?:case|reference|ref|file|ticket|complaint)(?: or case)?(?:'s)?[ -]?(?:number|no|nr|id|code)",
        "(?:the|a|my|your|any) reference",
        r"(?:what|which|have|give|tell|need|got|send|quote|is there|write down|note)\b[^.?!]{0,40}\b(?:reference"
        r"|(?<!in )case)",
    ),
    "asks_link": phrases(
        "links?|url|(?:web|page|online) ?(?:site|page|address)",
        r"(?:send|give|text|e?mail|share|get|have|post|need|want|is there|got|forward|drop|paste|point)\b[^.?!]{0,30}"
        r"\b(?:page|address of|site)",
    ),
    "asks_discount": phrases(
        r"discount\w*|vouchers?|credit(?! (?:card|limit|score|check|line|note|transfer|agreement)\b)|rebate"
        r"|money off|coupon",
        r"(?<!feel )(?<!toll-)free(?! (?:up|to|time)\b)|(?:half|something|a bit|some\w*|\d+|per ?cent) off|freebies?"
        r"|on the house",
        r"goodwill|knock (?:something|a bit|some)|waive|compensat\w+|gift",
        r"\d+ ?% off",
    ),
    "asks_promise": phrases(
        rf"promis\w+|guarantee\w*|deadline|(?:by|before|on|until) {_BY_WHEN}|today|tomorrow|tonight|this week"
        rf"|next week|in time for",
        r"(?:give|name|tell|set|want|need|get|have|commit to|fix)\b[^.?!]{0,25}\b(?:date|day|deadline|time)",
        "(?:what|which) (?:day|date|time)|when will|when (?:exactly |precisely )?(?:is|are|does|do)",
    ),
    "injury": phrases(
        rf"hurt\w*|injur\w+|bruis\w+|sprain\w*|bleed\w*|bled|cut (?:(?:my|her|his|their|our) (?:\w+ )?{_BODY}|\w+self)",
        r"burn(?:ed|t|s)(?! (?:bread|toast|out|down|smell|plastic|cable|rubber|wire)\b)",
    ),
    "says_years": phrases(
        rf"(?<!dead )(?<!gone )for (?:\w+ ){{0,3}}?{_COUNT} (?:\w+ )?(?:years?|decades?)|for (?:years|ages|decades)",
        r"since (?:\w+ )?(?:19|20)\d\d|customers? (?:of yours )?for|with you since|years (?:now|of)",
        rf"{_COUNT} (?:\w+ )?years(?! (?:old|ago|of age|divorced|younger|older|later)\b)",
    ),
}
_ASKING = re.compile(
    r"\?|\b(?:how (?:much|long|many|soon|quickly|fast)|what|which|tell me|want to know|need to know|like to know"
    r"|wonder\w*"
    r"|curious|ask\w*|price (?:of|for)|(?:is|are|does|do|will|would|can|could) (?:there|it|that|this|i|you|we))\b",
    _I,
)
_CUSTOMER = phrases(
    r"with (?:you|\w+)|customers?|client|guest|been|here|subscri\w+|loyal\w*|coming|stay\w*|bank\w*|member|patient"
    r"|using|used",
    r"paying|paid|order\w*|shop\w*|bought|buy\w*|your",
)
# words that the sentence must have besides the cue
_BESIDES = {"asks_price": _ASKING, "asks_duration": _ASKING, "says_years": _CUSTOMER}


def cue_quote(name: str, message: str, values: dict[str, str] | None = None) -> str | None:
    """The words of ``message`` that give cue ``name``, or None.

    ``values`` are the guardrail's: cue "rival" needs the name of the rival, "uses_word" the word.
    """
    text, values = plain(message), values or {}
    if name in ("rival", "uses_word"):
        pattern = literal(values["rival"]) if name == "rival" else inflected(values["word"])
        match = pattern.search(text)
        return match.group() if match else None
    for sentence in sentences(text):
        match = _CUES[name].search(sentence)
        if match and (name not in _BESIDES or _BESIDES[name].search(sentence)):
            return match.group()
    return None
