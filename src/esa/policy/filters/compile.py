"""From the tree of a filter to what runs: words looked up, arguments checked, tests ordered by cost, a clause for the gates.

Called by `plan` and by whoever checks filters. What is wrong is told as a list of problems, all of a filter at once; only syntax stops at the first.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

from esa.policy.filters.comparing import inverted
from esa.policy.filters.expression import fault_of
from esa.policy.filters.gates import Clause, either, rarer
from esa.policy.filters.run import Run
from esa.policy.filters.scope import Problem, Scope, Severity, Unusable
from esa.policy.filters.tree import (
    And,
    At,
    Block,
    Call,
    Condition,
    Filter,
    If,
    Not,
    Number,
    Or,
    Test,
    Text,
    Texts,
    Value,
    flat,
    statements_of,
)
from esa.policy.filters.words import Kind, Rule, Signature, Step, actions, conditions
from esa.policy.filters.write import write_call, write_condition
from esa.policy.outcome import Step as Trace
from esa.policy.view import View

MOST_NESTED = 100  # statements in statements, or parentheses in parentheses: people write five, and running them takes stack
_IDENTIFIER = "*"  # begins a smart identifier, in the place of an expression


@dataclass(frozen=True, slots=True)
class Deed:
    """An action in a compiled filter: `run`, `changes` and `is_final` as in its `Step`; `trace` is what the outcome's trail says of it."""

    run: Callable[[Run], None]
    changes: frozenset[str]
    is_final: bool
    trace: Trace


@dataclass(frozen=True, slots=True)
class Branch:
    """A compiled `if`. `reads` is what its condition reads of the message."""

    evaluate: Callable[[View], bool | None]
    then: tuple[Item, ...]
    otherwise: tuple[Item, ...]
    reads: frozenset[str]
    cost: int
    rule: Rule  # that is evaluated
    plain: tuple[Callable[[Run], None], ...] | None = (
        None  # what `then` does, where these are actions that change nothing of the message and end nothing
    )
    traces: tuple[Trace, ...] = ()  # and what the trail says of them


Item: TypeAlias = Deed | Branch


@dataclass(frozen=True, slots=True)
class Compiled:
    """A filter that can run. `reads` and `changes` are those of all its conditions and actions; `clause` gates it, None: it always runs."""

    name: str
    branch: Branch
    clause: Clause | None
    reads: frozenset[str]
    changes: frozenset[str]
    terms: frozenset[int]  # numbers of the terms that it asks for
    digest: str  # of its text, without comments


def compile_filter(one: Filter, scope: Scope) -> tuple[Compiled | None, list[Problem]]:
    """The filter as it runs, or None if it cannot, and what there is to tell of it."""
    compiler = _Compiler(one, scope)
    scope.terms.used.clear()
    if _is_too_deep(one.statement):
        what = f"it is nested more than {MOST_NESTED} deep"
        return None, [Problem(Severity.ERROR, one.name, one.at, what, "join conditions by and and or, or write several filters")]
    branch, clause = compiler.branch(one.statement)
    if compiler.is_unusable:
        return None, compiler.problems
    reads, changes = frozenset[str](), frozenset[str]()
    for inner in _branches(branch):
        reads |= inner.reads
        for item in (*inner.then, *inner.otherwise):
            changes |= item.changes if isinstance(item, Deed) else frozenset()
    gate = None if branch.otherwise or scope.witness is not None else clause
    return Compiled(one.name, branch, gate, reads, changes, frozenset(scope.terms.used), _digest_of(one.statement)), compiler.problems


def _digest_of(statement: If) -> str:
    """Of the text of a filter without its comments, whatever its layout; a chain of tests may be longer than recursion goes deep."""
    words: list[str] = []
    for one in statements_of(statement):
        waiting: list[Condition] = [one.condition]
        while waiting:
            match condition := waiting.pop():
                case Test():
                    words.append(write_condition(condition))
                case Not(inner):
                    words.append("not")
                    waiting.append(inner)
                case And(left, right) | Or(left, right):
                    words.append("and" if isinstance(condition, And) else "or")
                    waiting += (right, left)
        for block in (one.then, *((one.otherwise,) if one.otherwise is not None else ())):
            words += ["{", *(write_call(item) if isinstance(item, Call) else "if" for item in block.items), "}"]
    return hashlib.blake2b("\n".join(words).encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _branches(branch: Branch) -> Iterator[Branch]:
    waiting = [branch]
    while waiting:
        one = waiting.pop()
        yield one
        waiting += [item for item in (*one.then, *one.otherwise) if isinstance(item, Branch)]


def _inner(branches: Sequence[tuple[Branch, Clause | None]]) -> Clause | None:
    """The gate of a block of nothing but statements: one of them must do something."""
    found: Clause | None = frozenset()
    for branch, clause in branches:
        found = either(found, None if branch.otherwise else clause)
    return found


def _unscanned(view: View) -> None:
    return None


class _Compiler:
    """Compiles one filter."""

    def __init__(self, one: Filter, scope: Scope) -> None:
        self._name, self._scope, self._witness = one.name, scope, scope.witness
        self.problems: list[Problem] = []

    @property
    def is_unusable(self) -> bool:
        return any(problem.severity in (Severity.ERROR, Severity.INVALID) for problem in self.problems)

    def _tell(self, severity: Severity, at: At, what: str, mend: str = "") -> None:
        self.problems.append(Problem(severity, self._name, at, what, mend))

    # --- statements ---------------------------------------------------------------------------------------------------------------------

    def branch(self, statement: If) -> tuple[Branch, Clause | None]:
        """Nested statements are compiled innermost first, so that their depth costs no recursion."""
        made: dict[int, tuple[Branch, Clause | None]] = {}
        for one in reversed(list(statements_of(statement))):
            rule = self.condition(one.condition)
            then = self._items(one.then, made)
            otherwise = self._items(one.otherwise, made) if one.otherwise is not None else ()
            clause = rule.clause
            if then and one.otherwise is None and all(isinstance(item, If) for item in one.then.items):
                clause = rarer(clause, _inner([made[id(item)] for item in one.then.items]))
            evaluate = rule.evaluate if self._witness is None else self._witness.statement(self._name, one, rule.evaluate)
            deeds = [item for item in then if isinstance(item, Deed) and not item.changes and not item.is_final]
            plain = tuple(deed.run for deed in deeds) if len(deeds) == len(then) else None
            traces = tuple(deed.trace for deed in deeds)
            made[id(one)] = Branch(evaluate, then, otherwise, rule.reads, rule.cost, rule, plain, traces), clause
        return made[id(statement)]

    def _items(self, block: Block, made: dict[int, tuple[Branch, Clause | None]]) -> tuple[Item, ...]:
        items: list[Item] = []
        ended = False
        for item in block.items:
            if ended:
                at = item.at
                self._tell(Severity.WARNING, at, "nothing runs after a final action", "remove what stands behind it")
                ended = False
            if isinstance(item, If):
                items.append(made[id(item)][0])
            else:
                step = self.action(item)
                run = step.run if self._witness is None else self._witness.action(self._name, item, step.run)
                items.append(Deed(run, step.changes, step.is_final, Trace(self._name, item.word)))
                ended = step.is_final
        return tuple(items)

    # --- conditions ---------------------------------------------------------------------------------------------------------------------

    def condition(self, condition: Condition) -> Rule:
        match condition:
            case Test():
                rule = replace(self._test(condition), parts=(), joined="", label=write_condition(condition))
                return rule if self._witness is None else self._witness.test(self._name, condition, rule)
            case Not(inner):
                return inverted(self.condition(inner))
            case And():
                return self._joined([self.condition(one) for one in flat(condition)], is_and=True)
            case Or():
                return self._joined([self.condition(one) for one in flat(condition)], is_and=False)

    def _joined(self, rules: Sequence[Rule], *, is_and: bool) -> Rule:
        """Cheapest first, unless the order is to be as written; the answer is the same."""
        ordered = rules if self._scope.is_left_to_right else sorted(rules, key=lambda rule: rule.cost)
        clause = rules[0].clause
        for rule in rules[1:]:
            clause = rarer(clause, rule.clause) if is_and else either(clause, rule.clause)
        tests = tuple(rule.evaluate for rule in ordered)
        reads = frozenset[str]().union(*(rule.reads for rule in rules))
        joined: Literal["and", "or"] = "and" if is_and else "or"
        return Rule(_every(tests) if is_and else _any(tests), sum(rule.cost for rule in rules), clause, reads, tuple(ordered), joined)

    def _test(self, test: Test) -> Rule:
        word = conditions().get(test.word) or conditions().get(test.word.lower())
        nothing = Rule(_unscanned, 0, frozenset())  # no message opens its gate
        if word is None:
            self._unknown("condition", test.word, conditions(), actions(), test.at)
            return nothing
        if word.refused:
            self._tell(Severity.ERROR, test.at, f"{word.word} cannot be tested for: {word.refused}")
            return nothing
        if not self._fits(word.word, word.signature, test.arguments, test.operator, test.value, test.at):
            return nothing
        if word.build is None:
            self._tell(
                Severity.UNSCANNED, test.at, f"{word.word} is unscanned, and the filter does not fire by it: it waits for {word.waits_for}"
            )
            return nothing
        try:
            return word.build(test, self._scope)
        except Unusable as wrong:
            self._tell(wrong.severity, wrong.at, wrong.what, wrong.mend)
            return nothing

    # --- actions ------------------------------------------------------------------------------------------------------------------------

    def action(self, call: Call) -> Step:
        word = actions().get(call.word) or actions().get(call.word.lower())
        nothing = Step(lambda run: None)
        if word is None:
            self._unknown("action", call.word, actions(), conditions(), call.at)
            return nothing
        if word.refused:
            self._tell(Severity.ERROR, call.at, f"{word.word} cannot be done: {word.refused}")
            return nothing
        if not self._fits(word.word, word.signature, call.arguments, "", None, call.at):
            return nothing
        if word.build is None:
            self._tell(Severity.UNSCANNED, call.at, f"{word.word} does nothing: it waits for {word.waits_for}")
            return nothing
        self._scope.note_variables(call)
        try:
            return word.build(call, self._scope)
        except Unusable as wrong:
            self._tell(wrong.severity, wrong.at, wrong.what, wrong.mend)
            return nothing

    # --- words and arguments --------------------------------------------------------------------------------------------------------------

    def _unknown(self, kind: str, word: str, known: Iterable[str], others: Iterable[str], at: At) -> None:
        if word in set(others):
            other = "an action" if kind == "condition" else "a condition"
            self._tell(Severity.ERROR, at, f"{word!r} is {other} and cannot stand here")
            return
        close = difflib.get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
        meant = f"did you mean {close[0]!r}? " if close else ""
        self._tell(Severity.ERROR, at, f"no {kind} is called {word!r}", f"{meant}all {kind}s: esa filters words")

    def _fits(self, word: str, signature: Signature, arguments: Sequence[Value], operator: str, value: Value | None, at: At) -> bool:
        """Whether a word is given what it takes; tells what is not so."""
        kinds = signature.arguments
        if len(arguments) < signature.least or (len(arguments) > len(kinds) and not (signature.repeats and kinds)):
            takes = _takes(kinds, signature)
            self._tell(Severity.ERROR, at, f"{word} is given {_count(len(arguments))}", f"it takes {takes}")
            return False
        if operator and operator not in signature.operators:
            if signature.operators:
                self._tell(Severity.ERROR, at, f"{word} cannot be compared by {operator}", f"write one of {' '.join(signature.operators)}")
            else:
                self._tell(Severity.ERROR, at, f"{word} is not compared with anything", f"remove {operator} and what follows it")
            return False
        if not operator and signature.operators and not signature.is_bare:
            assert signature.value is not None
            self._tell(
                Severity.ERROR,
                at,
                f"{word} is compared with nothing",
                f"write {signature.operators[0]} and {signature.value.value} behind it",
            )
            return False
        given = [(argument, kinds[min(number, len(kinds) - 1)]) for number, argument in enumerate(arguments)]
        if value is not None and signature.value is not None:
            given.append((value, signature.value))
        return not [one for one, kind in given if not self._is_of(word, one, kind)]  # all are looked at, so that all is told

    def _is_of(self, word: str, value: Value, kind: Kind) -> bool:
        if kind.is_number:
            is_right = isinstance(value, Number)
        elif kind is Kind.TEXTS:
            is_right = isinstance(value, Texts)
        elif kind is Kind.TEXT_OR_NUMBER:
            is_right = not isinstance(value, Texts)
        else:
            is_right = isinstance(value, Text)
        if not is_right:
            shown = {Number: "a number", Texts: "a list", Text: "a text"}[type(value)]
            self._tell(Severity.ERROR, value.at, f"{word} is given {shown} where it takes {kind.value}")
            return False
        if isinstance(value, Text):
            return self._names_what_is_there(value, kind)
        return True

    def _names_what_is_there(self, value: Text, kind: Kind) -> bool:
        if kind is Kind.EXPRESSION and not value.value.startswith(_IDENTIFIER):
            fault = fault_of(value.value)
            if fault is not None:
                self._tell(Severity.ERROR, value.place(fault.offset), fault.what, fault.mend)
                return False
        scope = self._scope
        if kind is Kind.DELIVERY_INTERFACE:
            self._tell_of_interface(value)
            return True
        known = {
            Kind.DICTIONARY: scope.dictionaries,
            Kind.LISTENER: scope.listeners,
            Kind.INTERFACE: scope.interfaces,
            Kind.BOUNCE_PROFILE: scope.bounce_profiles,
        }.get(kind)
        if known is not None and value.value not in known and not (kind is Kind.DICTIONARY and scope.is_lenient):
            noun = kind.value.rpartition(" ")[2]
            close = difflib.get_close_matches(value.value, list(known), n=1)
            mend = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(known)) or 'none'}"
            self._tell(Severity.INVALID, value.at, f"there is no {noun} {value.value!r}, so the filter does not run", mend)
            return False
        return True

    def _tell_of_interface(self, value: Text) -> None:
        """One that is not there keeps no filter from running: what it decides else counts, and mail leaves from the usual one."""
        known = self._scope.delivery_interfaces
        if known is None or value.value in known or "$" in value.value:
            return
        close = difflib.get_close_matches(value.value, list(known), n=1)
        mend = f"did you mean {close[0]!r}?" if close else "name it in a table [[delivery_interface]]"
        what = f"there is no delivery interface {value.value!r}, so the message is sent from the usual one"
        self._tell(Severity.WARNING, value.at, what, mend)


def _is_too_deep(statement: If) -> bool:
    """Whether statements or conditions are nested deeper than MOST_NESTED; a chain of one operator is one deep."""
    waiting: list[tuple[If | Condition, int]] = [(statement, 1)]
    while waiting:
        one, depth = waiting.pop()
        if depth > MOST_NESTED:
            return True
        match one:
            case If():
                blocks = (one.then, one.otherwise) if one.otherwise is not None else (one.then,)
                waiting += [(item, depth + 1) for block in blocks for item in block.items if isinstance(item, If)]
                waiting.append((one.condition, 1))
            case Not(inner):
                waiting.append((inner, depth + 1))
            case And() | Or():
                waiting += [(side, depth + 1) for side in flat(one)]
            case _:
                pass
    return False


def _every(tests: tuple[Callable[[View], bool | None], ...]) -> Callable[[View], bool | None]:
    """False if one is false, else unscanned if one is unscanned."""

    def evaluate(view: View) -> bool | None:
        answer: bool | None = True
        for test in tests:
            found = test(view)
            if not found:
                if found is not None:
                    return False
                answer = None
        return answer

    return evaluate


def _any(tests: tuple[Callable[[View], bool | None], ...]) -> Callable[[View], bool | None]:
    """True if one is true, else unscanned if one is unscanned."""

    def evaluate(view: View) -> bool | None:
        answer: bool | None = False
        for test in tests:
            found = test(view)
            if found:
                return True
            if found is None:
                answer = None
        return answer

    return evaluate


def _count(number: int) -> str:
    return "no arguments" if not number else f"{number} argument{'s' if number > 1 else ''}"


def _takes(kinds: Sequence[Kind], signature: Signature) -> str:
    if not kinds:
        return "none"
    shown = [kind.value if number < signature.least else f"[{kind.value}]" for number, kind in enumerate(kinds)]
    return ", ".join(shown) + (" …" if signature.repeats else "")
