"""Manners and habits of a reply: apologies, thanks, understanding, requests, questions, short forms."""

from __future__ import annotations

import re

from guardalign.judging.rules.text import clauses, passages, phrases, plain, sentences, without_quotations

_I = re.IGNORECASE
_APOLOGY = phrases(
    r"sorry|apolog\w+|(?:I|we) (?:\w+ )?regret|our regrets?|forgive|pardon|my bad|mea culpa|excuse (?:us|me|our|my|the)"
)
_NO_APOLOGY = phrases(
    "(?:no need|needn't|need not|no reason|don't have to|do not have to|never have to) (?:to |for you to )?"
    "(?:be sorry|apologi[sz]e|say sorry)",
    r"(?:you|your)(?: \w+)? (?:apolog\w+|sorry)|asked for an apology|better safe than sorry|a sorry \w+|no excuse",
)
_APOLOGY_DENIED = re.compile(r"\b(?:no|without|not (?:an?|any)|won't|will not|can't|cannot|don't) (?:\w+ )?$", _I)
_THANKS = phrases(
    "thank(?:s| you|ing)?|thank-you|thx|grateful|gratitude|obliged to you|much obliged",
    r"(?:I|we|much|really|truly|very) (?:\w+ )?appreciat\w+|appreciat(?:e|ed) (?:it|you|your|that you|the)",
)
_NO_THANKS = re.compile(
    r"\b(?:no need to|need not|needn't|don't have to|do not have to|you (?:can|may|will|are)|you'll|your"
    r"|no) (?:\w+ )?$",
    _I,
)
_OTHERS_THANK = re.compile(r"^(?!.*\b(?:I|we)\b).*(?:\bwill|\bwould|'ll) (?:\w+ )?$")
_UNDERSTAND = phrases("underst(?:and|ands|ood|anding|andable|andably)")
_NOT_CLAIMED = re.compile(
    r"\b(?:you|your|customers?|they|we both|to|to (?:better|fully|really|properly|truly)) $"
    r"|\b(?:your|you|you both) \w+ $|\bhelp\w* (?:(?:me|us) )?(?:\w+ )?$|\b(?:my|our) (?:own )?$",
    _I,
)
_CANNOT = re.compile(r"\b(?:cannot|can't|not(?! only| just)|don't|never)\b", _I)
_GLADLY = phrases(
    r"(?:happy|glad|pleased|delighted|here|ready|keen|eager|thrilled|available|love)\b(?:,? [\w']+){0,4}? "
    r"(?:to|about|(?:that |if )?(?:I|we) (?:can|could))(?: [\w']+){0,2}? (?:help|assist|support|be of (?:help"
    r"|service|use))\w*",
    r"(?:pleasure|joy|honou?r) (?:for (?:us|me) )?to (?:help|assist|support|be of)\w*",
    r"(?:help|assist)(?:ing)? (?:you )?(?:\w+ ){0,5}(?:gladly|happily|with pleasure)",
    r"(?:gladly|happily) (?:help|assist|support)\w*|happy helping|here for you|at your service",
    r"(?:help|assist|support)\w* (?:you )?(?:\w+ ){0,6}(?:is|makes|gives)(?: \w+){0,3} (?:happy|glad|pleased"
    r"|pleasure|joy)",
)
_CONFIRM = r"(?:re-?)?(?:confirm\w*|verif(?:y|ies|ied|ying))"
_CONFIRM_ASKED = re.compile(
    r"\b(?:please|(?:could|can|would|will|might) you|may (?:I|we)|asks?|asked|asking|kindly|needs?|want|like"
    r"|as long as|provided|have (?:you|to)|trouble|invite|wait for|waiting for|require|await|just|simply|request\w*"
    r"|mind|all (?:I|we) \w+|grateful for|appreciate|missing is|remains"
    r"|(?:if|once|as soon as|when|until|before|that) you(?:'ve)?)\b"
    rf"(?:\W+(?!(?:I|we|us|me|they|it)\b)[\w']+){{0,10}}?\W+{_CONFIRM}"
    r"(?! (?:e-?mail|message|letter|number|page|link|code))"
    rf"|^\W*(?:(?:and|so|but|then|next|first|now|also|just|simply|do|meanwhile|today|here),? )*{_CONFIRM}\b"
    rf"|^(?!.*\b(?:I|we|they|it|he|she|team|desk|which|who|\w+'ll)\b.*\b{_CONFIRM}).*\band (?:confirm|verify)\b"
    rf"|\b(?:do|did|have) you {_CONFIRM}|\byour confirmation\b|\byou (?:do |would |will |can )?confirm\b(?=[^.!]*\?)"
    r"|\ba (?:(?:quick|short|brief|simple|one-line) )?confirmation (?:of|from|that|would|will|is all)\b"
    r"|\bawait\w* confirmation",
    _I,
)
_AGENT_CONFIRMS = re.compile(
    r"\b(?:I|we|which|that|it|they|team|desk|he|she)(?: \w+)? (?:can|could|will|shall|would|may|have|am able to"
    r"|are able to|do|cannot|'ll|must|need to|want to|has)?(?: \w+)? ?$|'ll (?:\w+ )?$"
)
_NOT_NEEDED = phrases("no need|need not|needn't|don't|do not|not|without|nothing|never|no")
_INDIRECT = re.compile(
    r"(?<!\bnor )(?<!\bthen )(?<!\bso )\b(?:could|would|can|will) you\b|^(?:do|did|are|have) you\b[^.!?]*$"
    r"|^(?:may|shall|can|could) (?:I|we)\b|\bmay I ask\b"
    r"|\b(?:I|we) (?:wonder|would like to (?:know|ask)|'d like to (?:know|ask)|have to ask|must ask)\b",
    _I,
)
_IS_SHORT = (
    r"\b(?:it|that|there|here|what|who|how|where|when|why|he|she|let|this|everything|something|nothing|everyone|someone"
    r"|nobody|one)'s\b"
)
_AFTER_IS = (
    "(?:been|not|got|gone|going|being|already|still|now|just|on (?:it|the)|an?|the|looking|here|there|in|at|right"
    "|always|never|likely|probably|usually|often|clearly|hardly|surely|certainly|really|also|too|then|what|why|how|where|that)"
)
CONTRACTION = re.compile(
    rf"\b[A-Za-z]+(?:'(?:ll|re|ve|d|m)|n't)\b|{_IS_SHORT}|\b[a-z]+'s (?={_AFTER_IS}\b)"
    r"|\b(?:'tis|'cause|y'all|gonna|wanna|gotta)\b",
    _I,
)
_RECOVERY = phrases(
    "recover(?:y|s|ed)?|get(?:s|ting)? well|well again|feel(?:s|ing)? better|heal(?:s|ed|ing)?|mend(?:s|ed|ing)?",
    "back on (?:your|her|his|their) feet",
)
_WISHES = phrases(r"wish\w*|hope|hopes|hoping|may|get well|good|quick|speedy|full|swift|all the best|soon|smooth")
_PICTURE = "(?:(?:photo|picture|image|photograph|screenshot|snapshot|snap|pic)s?|photographic (?:evidence|proof))"
_PHOTO = phrases(_PICTURE)
_NO_PHOTO = phrases(
    "(?:clear(?:er)?|full(?:er)?|whole|better|big(?:ger)?|complete|good|get (?:a|the)) picture|profile (?:photo"
    "|picture)",
    "picture (?:of (?:what|how) (?:happened|went|is going|things)|of the (?:situation|matter))",
    rf"(?:once|when|as soon as|until|if) (?:the|that|this|your) {_PICTURE}",
)
_REQUEST = re.compile(
    r"\b(?:please|(?:could|can|would|will|might) you|may (?:I|we)|kindly"
    r"|let (?:us|me|him|her|them) (?:have|see|send|take))\b"
    r"|(?:^|\b(?:and|then|do|to|also|just|simply|first|you|so|but|can|could|would) |[,;:.] )"
    r"(?:send|attach|upload|share|take|snap|forward|add|include|provide|mail|email|drop|enclose|hold|shoot)\b",
    _I,
)
_PHOTO_WANTED = phrases(
    r"would|could|(?:I|we)(?:'d| do| will|'ll)?(?: \w+)? (?:need|like|want|ask|require|love)\w*",
    "do you have|help(?:s|ful)?|useful|welcome|enough|missing|lack|worth|adds|sends",
    rf"(?:one|two|another) (?:more )?(?:\w+ )?{_PICTURE}|with (?:a|an|one|two) (?:\w+ )?{_PICTURE}",
    rf"{_PICTURE} (?:\w+ )*(?:will|can) (?:do|help|show|tell|speed|make|settle|be)",
)


def apology(reply: str) -> str | None:
    """An apology in any words. "I cannot apologise enough" is one, "no need to be sorry" is none."""
    for found in passages(_APOLOGY, without_quotations(reply)):
        denied = _APOLOGY_DENIED.search(found.before) and not re.match(r" (?:\w+ )?enough", found.after, _I)
        if not denied and not _NO_APOLOGY.search(found.clause):
            return found.text
    return None


def thanks(reply: str) -> str | None:
    """Thanks to the customer; "Cheers" counts at the beginning."""
    if re.match(r"Cheers[,!] ?(?=\w+ \w+)", plain(reply)):
        return "Cheers"
    for found in passages(_THANKS, without_quotations(reply)):
        if not _NO_THANKS.search(found.before) and not _OTHERS_THANK.search(found.before):
            return found.text
    return None


def understanding(reply: str) -> str | None:
    """The agent's claim to understand; not that the customer should, or that something is to be understood."""
    for found in passages(_UNDERSTAND, without_quotations(reply)):
        if not _NOT_CLAIMED.search(found.before) and not _CANNOT.search(found.before):
            return found.text
    return None


def gladly(reply: str) -> str | None:
    """The assurance that the agent is glad, or here, to help."""
    match = _GLADLY.search(without_quotations(reply))
    return match.group() if match else None


def _asks_to_confirm(clause: str) -> bool:
    match = _CONFIRM_ASKED.search(clause)
    if not match:
        return False
    before = clause[: match.start()] + re.split(_CONFIRM, match.group(), flags=_I)[0]
    if _AGENT_CONFIRMS.search(before) and not re.search(r"\b(?:please|may (?:I|we)|you)\b", before, _I):
        return False
    return "?" in clause or not _NOT_NEEDED.search(before)


def confirm_requests(reply: str) -> list[str]:
    """Sentences that ask the customer to confirm or verify something."""
    said = sentences(without_quotations(reply))
    return [sentence for sentence in said if any(map(_asks_to_confirm, clauses(sentence)))]


def question(reply: str) -> str | None:
    """The first sentence with a question mark outside quotations."""
    return next((sentence for sentence in sentences(without_quotations(reply)) if "?" in sentence), None)


def indirect_question(reply: str) -> str | None:
    """A question without a question mark."""
    for sentence in sentences(without_quotations(reply)):
        if match := _INDIRECT.search(sentence.rstrip(".!")):
            return match.group().strip()
    return None


def recovery(reply: str) -> str | None:
    """A wish that somebody may get well."""
    for sentence in sentences(reply):
        match = _RECOVERY.search(sentence)
        if match and _WISHES.search(sentence):
            return match.group()
    return None


def photo_request(reply: str) -> str | None:
    """A request for a photo: asked for outright in the sentence, or wished for near the word."""
    for sentence in sentences(without_quotations(reply)):
        for part in clauses(sentence):
            match = _PHOTO.search(part)
            if not match or _NO_PHOTO.search(part):
                continue
            at = sentence.index(part) + match.start()
            near = sentence[max(0, at - 45) : at].split(";")[-1] + sentence[at : at + 70].split(";")[0]
            denied = re.search(
                r"\b(?:no|not|without|never|cannot)\b|n't\b", part[: match.start()].split(",")[-1][-28:], _I
            )
            if not denied and (_REQUEST.search(sentence) or _PHOTO_WANTED.search(near)):
                return match.group()
    return None
