"""Reads message filters in AsyncOS's language: text to `tree`. Called by the configuration, the command line and the plan's tests.

Syntax alone: whether a word is known is the plan's question. Comments are kept, which AsyncOS does not do. What is wrong is told with file, line and
column, with what stands there and what could stand there.
"""

from __future__ import annotations

import difflib
import functools
import re
import threading
from collections.abc import Sequence
from dataclasses import replace

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken, v_args

from esa.errors import ConfigurationError
from esa.policy.filters.tree import And, At, Block, Call, Condition, Filter, FilterFile, If, Not, Number, Or, Test, Text, Texts, Value

GRAMMAR = r"""
start: filter*
filter: WORD (COLON | MARK) statement
statement: IF condition block [ELSE (block | statement)]
block: OPEN item* [last] CLOSE
item: call END+ | statement
last: call
call: WORD "(" [value ("," value)*] ")"
?condition: condition AND inverse -> both
    | condition OR inverse -> either
    | inverse
?inverse: NOT inverse -> negation
    | "(" condition ")"
    | test
test: name [OPERATOR value]
name: WORD ["(" [argument ("," argument)*] ")"]
argument: value [OPERATOR value]
value: STRING -> text
    | NUMBER -> number
    | "[" STRING ("," STRING)* "]" -> texts

IF.2: /if(?![\w-])/i
ELSE.2: /else(?![\w-])/i
AND.2: /and(?![\w-])/i
OR.2: /or(?![\w-])/i
NOT.2: /not(?![\w-])/i
WORD: /[A-Za-z_][\w-]*/
STRING: /"(?:[^"\\\n]|\\[^\n])*"|'(?:[^'\\\n]|\\[^\n])*'/
NUMBER: /[-+]?\d+(?:\.\d+)?[KMGkmg]?(?![\w.])/
OPERATOR: /[=!<>]=|[<>]/
COLON: ":"
MARK: "!"
OPEN: "{"
CLOSE: "}"
END: ";"
COMMENT: /#[^\n]*/
SPACE: /\s+/
%ignore SPACE
%ignore COMMENT
"""

_KEYWORDS = ("if", "else", "and", "or", "not")
_SHOWN = {
    "IF": "'if'",
    "ELSE": "'else'",
    "AND": "'and'",
    "OR": "'or'",
    "NOT": "'not'",
    "WORD": "a name",
    "STRING": "a text in quotes",
    "NUMBER": "a number",
    "OPERATOR": "one of == != < <= > >=",
    "COLON": "':'",
    "MARK": "'!'",
    "OPEN": "'{'",
    "CLOSE": "'}'",
    "END": "';'",
    "LPAR": "'('",
    "RPAR": "')'",
    "LSQB": "'['",
    "RSQB": "']'",
    "COMMA": "','",
    "$END": "the end",
}
_OTHER_LANGUAGES = {
    "=": "== where both sides are to be equal",
    "&": "and",
    "|": "or",
    "/": "# before a comment",
    ".": "nothing but filters",
}
_ESCAPE = re.compile(r"\\([\\\"'])")


MOST_FAULTS = 20  # places of a text that are told at once: what is no file of filters has one in every line
_BEGIN = re.compile(r"^[ \t]*[A-Za-z_][\w-]*\s*[:!]\s*(?:#[^\n]*\n\s*)*if(?![\w-])", re.IGNORECASE | re.MULTILINE)  # of a filter


class _Comments:
    """The comments that were read and belong to nobody yet, in order."""

    def __init__(self) -> None:
        self.waiting: list[Token] = []

    def keep(self, comment: Token) -> Token:
        self.waiting.append(comment)
        return comment

    def take(self, start: int, end: int) -> list[Token]:
        """Those that stand between two offsets of the text."""
        found = [comment for comment in self.waiting if start <= _start(comment) < end]
        if found:
            self.waiting = [comment for comment in self.waiting if not start <= _start(comment) < end]
        return found


def _start(token: Token) -> int:
    assert token.start_pos is not None
    return token.start_pos


def _end(token: Token) -> int:
    assert token.end_pos is not None
    return token.end_pos


def _words_of(comment: Token) -> str:
    return comment[1:].strip()


class _Span:
    """An item of a block with the offsets and the last line that it takes."""

    __slots__ = ("end", "item", "line", "start")

    def __init__(self, item: Call | If, start: int, end: int, line: int) -> None:
        self.item, self.start, self.end, self.line = item, start, end, line


@v_args(inline=True)
class _Tree(Transformer[Token, FilterFile]):
    """Makes the tree while the parser runs; called innermost first."""

    def __init__(self) -> None:
        super().__init__()
        self._file, self._comments = "", _Comments()

    def begin(self, file: str) -> _Comments:
        """Make another file; the comments in it that belong to no filter are left in what is returned."""
        self._file, self._comments = file, _Comments()
        return self._comments

    def keep(self, comment: Token) -> Token:
        return self._comments.keep(comment)

    def _at(self, token: Token) -> At:
        return At(self._file, token.line or 0, token.column or 0)

    # --- values and conditions ----------------------------------------------------------------------------------------------------------

    def text(self, token: Token) -> Text:
        inner = token[1:-1]
        if "\\" not in inner:
            return Text(inner, self._at(token))
        shifts = [found.start() - number for number, found in enumerate(_ESCAPE.finditer(inner))]
        return Text(_ESCAPE.sub(r"\1", inner), self._at(token), tuple(shifts))

    def number(self, token: Token) -> Number:
        return Number(str(token), self._at(token))

    def texts(self, *tokens: Token) -> Texts:
        items = tuple(self.text(token) for token in tokens)
        return Texts(items, items[0].at)

    def argument(self, value: Value, operator: Token | None, other: Value | None) -> tuple[Value, str, Value | None]:
        return value, str(operator or ""), other

    def name(self, word: Token, *arguments: tuple[Value, str, Value | None] | None) -> tuple[Token, list[tuple[Value, str, Value | None]]]:
        return word, [argument for argument in arguments if argument is not None]

    def test(self, name: tuple[Token, list[tuple[Value, str, Value | None]]], operator: Token | None, value: Value | None) -> Test:
        word, arguments = name
        if (
            arguments and arguments[-1][1] and operator is None
        ):  # signed-certificate("issuer" == "x") is signed-certificate("issuer") == "x"
            return Test(str(word), tuple(one[0] for one in arguments), arguments[-1][1], arguments[-1][2], self._at(word))
        return Test(str(word), tuple(one[0] for one in arguments), str(operator or ""), value, self._at(word))

    def both(self, left: Condition, _: Token, right: Condition) -> Condition:
        return And(left, right)

    def either(self, left: Condition, _: Token, right: Condition) -> Condition:
        return Or(left, right)

    def negation(self, _: Token, inner: Condition) -> Condition:
        return Not(inner)

    # --- statements ---------------------------------------------------------------------------------------------------------------------

    def call(self, word: Token, *arguments: Value | None) -> tuple[Token, Call]:
        return word, Call(str(word), tuple(value for value in arguments if value is not None), self._at(word))

    def item(self, item: tuple[Token, Call] | _Span, *ends: Token) -> _Span:
        if isinstance(item, _Span):
            return item
        word, made = item
        return _Span(made, _start(word), _end(ends[-1]), ends[-1].line or 0)

    def last(self, call: tuple[Token, Call]) -> _Span:
        """The last action of a block may stand without a semicolon."""
        word, made = call
        return _Span(made, _start(word), _end(word), word.line or 0)

    def block(self, opening: Token, *rest: _Span | Token | None) -> tuple[Token, Block, Token]:
        closing = rest[-1]
        assert isinstance(closing, Token)
        spans = [span for span in rest if isinstance(span, _Span)]
        comments = self._comments.take(_start(opening), _start(closing)) if self._comments.waiting else []
        if not comments:
            return opening, Block(tuple(span.item for span in spans)), closing
        before: list[list[str]] = [[] for _ in spans]
        behind: list[str] = []
        for comment in comments:
            at = next((number for number, span in enumerate(spans) if span.end > _start(comment)), len(spans))
            former = spans[at - 1] if at else None
            if former is not None and former.line == comment.line and isinstance(former.item, Call) and not former.item.remark:
                former.item = replace(former.item, remark=_words_of(comment))
            elif at < len(spans):
                before[at].append(_words_of(comment))
            else:
                behind.append(_words_of(comment))
        items = tuple(
            replace(span.item, comments=(*span.item.comments, *lines)) if lines else span.item
            for span, lines in zip(spans, before, strict=True)
        )
        return opening, Block(items, tuple(behind)), closing

    def statement(
        self,
        first: Token,
        condition: Condition,
        then: tuple[Token, Block, Token],
        _: Token | None,
        otherwise: tuple[Token, Block, Token] | _Span | None,
    ) -> _Span:
        last, line = _end(then[2]), then[2].line or 0
        block = None
        if isinstance(otherwise, _Span):
            block, last, line = Block((otherwise.item,)), otherwise.end, otherwise.line
        elif otherwise is not None:
            block, last, line = otherwise[1], _end(otherwise[2]), otherwise[2].line or 0
        return _Span(If(condition, then[1], block, self._at(first)), _start(first), last, line)

    def filter(self, name: Token, mark: Token, span: _Span) -> Filter:
        before = self._comments.take(0, _start(name))
        within = self._comments.take(_start(name), span.end)
        statement = span.item
        assert isinstance(statement, If)
        if within:
            statement = replace(statement, comments=tuple(map(_words_of, within)))
        places = _start(name), _start(mark), span.end
        return Filter(str(name), statement, mark.type == "COLON", self._at(name), tuple(map(_words_of, before)), places)

    def start(self, *filters: Filter) -> FilterFile:
        return FilterFile(filters, ())


class _Reader:
    """The parser, made once: making it takes a hundred times as long as a filter. It reads one text at a time."""

    def __init__(self) -> None:
        self._tree = _Tree()
        self._lock = threading.Lock()
        self._parser = Lark(
            GRAMMAR, parser="lalr", maybe_placeholders=True, transformer=self._tree, lexer_callbacks={"COMMENT": self._tree.keep}
        )

    def read(self, text: str, file: str) -> FilterFile:
        """Raises lark's UnexpectedInput."""
        with self._lock:
            comments = self._tree.begin(file)
            found = self._parser.parse(text)
        assert isinstance(found, FilterFile)
        return replace(found, comments=tuple(map(_words_of, comments.waiting)))


_reader = functools.cache(_Reader)


def read(text: str, file: str = "") -> FilterFile:
    """The filters of a text; `file` is its name in messages. Raises ConfigurationError with line and column of all that cannot be read."""
    try:
        return _reader().read(text, file)
    except UnexpectedInput as wrong:
        faults = _all_faults(wrong, text, file)
    if len(faults) == 1:
        raise faults[0]
    told = "\n".join(str(fault) for fault in faults)
    more = ", and perhaps more" if len(faults) == MOST_FAULTS else ""
    raise ConfigurationError(f"{len(faults)} places{more} cannot be read\n{told}", where=file or None)


def faults_in(text: str, file: str = "") -> list[ConfigurationError]:
    """What cannot be read of a text, MOST_FAULTS at most; nothing if all can."""
    try:
        _reader().read(text, file)
    except UnexpectedInput as wrong:
        return _all_faults(wrong, text, file)
    return []


def _all_faults(wrong: UnexpectedInput, text: str, file: str) -> list[ConfigurationError]:
    """The first fault, and those that are found when reading goes on with the next filter, again and again."""
    faults = [_explained(wrong, text, file)]
    begins = [(found.start(), found.end()) for found in _BEGIN.finditer(text)]
    at = 0
    while len(faults) < MOST_FAULTS:
        place = _offset(text, wrong)
        # where a brace is missing, the name of the next filter is what cannot stand there: it is whole itself
        at = next((start for start, end in begins if start > at and (start <= place < end or start > place)), -1)
        if at < 0:
            break
        before = text.count("\n", 0, at)
        rest = "\n" * before + text[at:]
        try:
            _reader().read(rest, file)
            break
        except UnexpectedInput as another:
            wrong = another
            faults.append(_explained(wrong, rest, file))
    return faults


def _offset(text: str, wrong: UnexpectedInput) -> int:
    """Where something wrong stands in the whole text."""
    if isinstance(wrong, UnexpectedToken) and wrong.token.type == "$END":
        return len(text)
    at = 0
    for _ in range(wrong.line - 1):
        at = text.index("\n", at) + 1
    return at + wrong.column - 1


def _explained(wrong: UnexpectedInput, text: str, file: str) -> ConfigurationError:
    if isinstance(wrong, UnexpectedCharacters):
        what, mend = _odd_character(text[wrong.pos_in_stream or 0], wrong)
        return ConfigurationError(what, where=str(At(file, wrong.line, wrong.column)), mend=mend)
    assert isinstance(wrong, UnexpectedToken)
    expected = sorted(wrong.accepts or wrong.expected)
    found = str(wrong.token)
    if wrong.token.type == "$END":
        at = At(file, text.count("\n") + 1, len(text) - text.rfind("\n"))
        return ConfigurationError("the filters end in the midst of one", where=str(at), mend=f"write {_one_of(expected)}")
    keywords = [word for word in _KEYWORDS if word.upper() in expected]
    close = difflib.get_close_matches(found.lower(), keywords, n=1, cutoff=0.5) if wrong.token.type == "WORD" else []
    mend = f"did you mean {close[0]!r}?" if close else f"write {_one_of(expected)}"
    return ConfigurationError(f"{_shown(found)} cannot stand here", where=str(At(file, wrong.line, wrong.column)), mend=mend)


def _odd_character(char: str, wrong: UnexpectedCharacters) -> tuple[str, str]:
    """What is wrong with a character that begins no word of the language, and how to mend it."""
    if char in "\"'":
        mend = f"close it with {char} in the same line; a {char} within it is written \\{char}"
        return f"the text that begins here has no closing {char}", mend
    if char in _OTHER_LANGUAGES:
        return f"{char!r} has no meaning here", f"write {_OTHER_LANGUAGES[char]}"
    return f"{char!r} has no meaning here", f"write {_one_of(sorted(wrong.allowed or ()))}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")


def _one_of(names: Sequence[str]) -> str:
    shown = sorted(_SHOWN.get(name, name) for name in names)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"
