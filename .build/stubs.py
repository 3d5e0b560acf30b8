"""Makes the stub of a module (PEP 561): its public names with their types, for mypy, pyright and editors.

A module that is one file has no folder for the py.typed that would make its own annotations count.
"""
from __future__ import annotations

import ast
import re
import textwrap

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
IMPORTS = (ast.Import, ast.ImportFrom)
ALIASES = (ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.Call)


def stub(source):
    """The text of the .pyi: what is in __all__, __version__, and all that their types mention."""
    module = _Module(source)
    statements = list(_statements(ast.parse(source).body))
    public = {"__all__", "__version__"}
    for statement in statements:
        if "__all__" in _names(statement):
            public.update(ast.literal_eval(statement.value))
    declared = {}                               # number of a statement -> its declaration
    wanted = set(public)
    known = {"Any"}
    while wanted:
        name = wanted.pop()
        known.add(name)
        for number, statement in enumerate(statements):
            if name in _names(statement) and number not in declared:
                declared[number] = module.declaration(statement)
                wanted |= _mentioned(declared[number]) - known
    defined = {name for number in declared for name in _names(statements[number])}
    dynamic = [f"{name}: Any" for name in sorted(public - defined)]
    static = [declared[number] for number in sorted(declared)]
    return "\n".join(["from typing import Any", *static, *dynamic, ""])


def _statements(body):
    """The statements of a module or class, those for type checkers among them."""
    for statement in body:
        if isinstance(statement, ast.If) and getattr(statement.test, "id", "") == "TYPE_CHECKING":
            yield from statement.body
        else:
            yield statement


def _names(statement):
    """The names that a statement gives something to."""
    if isinstance(statement, IMPORTS):
        return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
    if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
        return [statement.name]
    return [target.id for target in _targets(statement) if isinstance(target, ast.Name)]


def _targets(statement):
    """What an assignment assigns to, the parts of a tuple one by one."""
    if isinstance(statement, ast.AnnAssign):
        return [statement.target]
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    return [part for target in targets for part in getattr(target, "elts", [target])]


def _mentioned(text):
    """The names in a declaration, those of types that are quoted among them."""
    nodes = list(ast.walk(ast.parse(text)))
    names = {node.id for node in nodes if isinstance(node, ast.Name)}
    quoted = [node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return names.union(*(re.findall(r"\w+", value) for value in quoted))


def _is_public(name):
    return not name.startswith("_") or name.endswith("__")


class _Module:
    """Declares the statements of one source text."""

    def __init__(self, source):
        self._lines = source.encode().splitlines(keepends=True)

    def text(self, node):
        """The source of a node; its columns count bytes. (Python 3.8 has no ast.unparse.)"""
        lines = self._lines[node.lineno - 1:node.end_lineno]
        lines[-1] = lines[-1][:node.end_col_offset]
        lines[0] = lines[0][node.col_offset:]
        return b"".join(lines).decode()

    def declaration(self, statement):
        if isinstance(statement, FUNCTIONS):
            return self.function(statement)
        if isinstance(statement, ast.ClassDef):
            return self.class_(statement)
        is_alias = isinstance(statement, ast.Assign) and isinstance(statement.value, ALIASES)
        if is_alias or isinstance(statement, IMPORTS) or _names(statement) == ["__all__"]:
            return self.text(statement)
        return "\n".join(f"{name}: {self.kind(statement)}" for name in _names(statement))

    def kind(self, statement):
        """The type of an assignment, in so far as its statement says it."""
        if isinstance(statement, ast.AnnAssign):
            return self.text(statement.annotation)
        is_known = isinstance(statement.value, ast.Constant) and statement.value.value is not None
        return type(statement.value.value).__name__ if is_known else "Any"

    def function(self, node):
        decorators = [f"@{self.text(decorator)}" for decorator in node.decorator_list]
        word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        returns = f" -> {self.text(node.returns)}" if node.returns else ""
        return "\n".join([*decorators, f"{word} {node.name}({self.parameters(node.args)}){returns}: ..."])

    def parameters(self, given):
        positional = [*given.posonlyargs, *given.args]
        required = len(positional) - len(given.defaults)
        texts = [self.parameter(each, number >= required) for number, each in enumerate(positional)]
        if given.posonlyargs:
            texts.insert(len(given.posonlyargs), "/")
        if given.vararg:
            texts.append("*" + self.parameter(given.vararg))
        elif given.kwonlyargs:
            texts.append("*")
        texts += [self.parameter(*each) for each in zip(given.kwonlyargs, given.kw_defaults)]
        if given.kwarg:
            texts.append("**" + self.parameter(given.kwarg))
        return ", ".join(texts)

    def parameter(self, node, default=None):
        kind = f": {self.text(node.annotation)}" if node.annotation else ""
        return f"{node.arg}{kind} = ..." if default else f"{node.arg}{kind}"

    def class_(self, node):
        # Of a base that is made on the spot, such as namedtuple(...), nothing is known.
        bases = [self.text(base) if isinstance(base, (ast.Name, ast.Attribute, ast.Subscript)) else "Any"
                 for base in node.bases]
        bases += [f"{keyword.arg}={self.text(keyword.value)}" for keyword in node.keywords]
        decorators = [f"@{self.text(decorator)}" for decorator in node.decorator_list]
        head = f"class {node.name}({', '.join(bases)}):" if bases else f"class {node.name}:"
        members = self.members(node) or ["..."]
        return "\n".join([*decorators, head, *(textwrap.indent(member, "    ") for member in members)])

    def members(self, node):
        """Declarations of what is public in a class, the attributes that its methods give to `self` too."""
        methods, attributes = [], {}
        for statement in _statements(node.body):
            if isinstance(statement, (*FUNCTIONS, ast.ClassDef)):
                if _is_public(statement.name):
                    methods.append(self.declaration(statement))
            else:
                attributes.update((name, self.kind(statement)) for name in _names(statement))
        taken = {statement.name for statement in node.body if isinstance(statement, FUNCTIONS)}
        for statement in ast.walk(node):
            for target in _targets(statement):
                is_own = isinstance(target, ast.Attribute) and getattr(target.value, "id", "") == "self"
                if is_own and target.attr not in taken:
                    attributes.setdefault(target.attr, self.kind(statement))
        shown = [f"{name}: {kind}" for name, kind in attributes.items() if not name.startswith("_")]
        return [*shown, *methods]
