"""PostgreSQL text into DuckDB text: one SELECT over the relation `streams`, checked node by node.

What is not on a list here is refused, so nothing DuckDB can do besides reading `streams` is ever reached: no other
relation, no table function, no CTE, no set operation, no function that is not named below. Two invariants:

 1. The generated text holds no identifier that is not quoted and no function name that is not a value of FUNCTIONS
    or written by this module.
 2. A row never carries more than GROWTH_LIMIT bytes of freshly made text. DuckDB's memory limit does not count the
    strings of the vectors in flight (measured with 2.0: a limit of 256 MB, 3.8 GB resident), so the bound is
    worked out from the longest values in the table before anything runs.

Differences between the two dialects that are translated: `->`, `?` and `skeys` on hstore, the backslash as the
default escape of LIKE, SIMILAR TO, labels of unnamed columns, folding of identifiers, order of nulls, varchar(n).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, NamedTuple

from lamina.errors import InvalidArgument
from lamina.tables.growth import ROW_MAKERS, Growth, Widths
from lamina.tables.labels import TYPES, label, name_of

TEXT_LIMIT = 64 << 10
"""Bytes of a statement, and of all its parameters together (architecture section 15)."""

GROWTH_LIMIT = 256 << 10
"""Bytes of text made per row: 2048 rows of a DuckDB vector are then at most 512 MiB, in practice far less."""


class SqlError(InvalidArgument):
    """The statement cannot be run. The message is the engine's, without SQL, paths or anything of the machine."""


class Statement(NamedTuple):
    """What DuckDB gets."""

    sql: str
    params: dict[str, str]


FUNCTIONS: dict[str, tuple[str, int, int]] = {  # PostgreSQL name -> (DuckDB name, fewest, most arguments)
    "count": ("count", 1, 1),
    "sum": ("sum", 1, 1),
    "avg": ("avg", 1, 1),
    "min": ("min", 1, 1),
    "max": ("max", 1, 1),
    "bool_and": ("bool_and", 1, 1),
    "bool_or": ("bool_or", 1, 1),
    "every": ("bool_and", 1, 1),
    "string_agg": ("string_agg", 2, 2),
    "array_agg": ("array_agg", 1, 1),
    "lower": ("lower", 1, 1),
    "upper": ("upper", 1, 1),
    "length": ("length", 1, 1),
    "char_length": ("length", 1, 1),
    "character_length": ("length", 1, 1),
    "octet_length": ("strlen", 1, 1),
    "concat": ("concat", 1, 1000),
    "concat_ws": ("concat_ws", 2, 1000),
    "coalesce": ("coalesce", 1, 1000),
    "nullif": ("nullif", 2, 2),
    "greatest": ("greatest", 1, 1000),
    "least": ("least", 1, 1000),
    "left": ("left", 2, 2),
    "right": ("right", 2, 2),
    "reverse": ("reverse", 1, 1),
    "replace": ("replace", 3, 3),
    "substr": ("substr", 2, 3),
    "ltrim": ("ltrim", 1, 2),
    "rtrim": ("rtrim", 1, 2),
    "btrim": ("trim", 1, 2),
    "strpos": ("strpos", 2, 2),
    "split_part": ("split_part", 3, 3),
    "starts_with": ("starts_with", 2, 2),
    "abs": ("abs", 1, 1),
    "round": ("round", 1, 2),
    "floor": ("floor", 1, 1),
    "ceil": ("ceil", 1, 1),
    "ceiling": ("ceil", 1, 1),
    "mod": ("mod", 2, 2),
    # hstore
    "akeys": ("map_keys", 1, 1),
    "avals": ("map_values", 1, 1),
    "exist": ("map_contains", 2, 2),
    "defined": ("map_contains", 2, 2),  # annotations hold no nulls
    "skeys": ("map_keys", 1, 1),
    "svals": ("map_values", 1, 1),
    "->": ("map_extract", 2, 2),
}

_COLLECTORS = frozenset(("string_agg", "array_agg"))  # of unbounded length: a whole column of the result only

_NODES = """
    Select From Where Group Having Order Ordered Limit Offset Distinct Subquery Table TableAlias Join Identifier
    Column Alias Star Paren Tuple And Or Not EQ NEQ GT GTE LT LTE Is In Between Like ILike SimilarTo Escape
    RegexpLike RegexpILike NullSafeEQ NullSafeNEQ Add Sub Mul Div Mod Neg DPipe Concat Case If Any Exists Null
    Boolean Literal Parameter Array Cast DataType DataTypeParam JSONBContainsTopKey JSONBContainsAnyTopKeys
    JSONBContainsAllTopKeys Filter Anonymous Substring Trim StrPosition
"""


def translate(text: str, params: Sequence[str], widths: Widths) -> Statement:
    """The DuckDB statement for a PostgreSQL one, with `params` (for $1, $2, ...) and what was derived from them.

    Raises SqlError for anything but one SELECT over `streams` made of the constructs named in this module.
    """
    for what, parts in (("statement", [text]), ("parameters", params)):
        try:
            size = sum(len(part.encode()) for part in parts)
        except UnicodeEncodeError:
            raise SqlError(f"{what}: the text is not valid Unicode") from None
        if size > TEXT_LIMIT:
            raise SqlError(f"{what}: {size} bytes, at most {TEXT_LIMIT} are allowed")
        if any("\0" in part for part in parts):
            raise SqlError(f"{what}: a NUL character is not allowed")
    try:
        return _Translation(params, widths).run(_parse(text))
    except RecursionError:
        raise SqlError("the statement is nested too deeply") from None


def similar_to_regex(pattern: str, escape: str = "\\") -> str:
    """The RE2 pattern, to be matched in full with `.` matching newlines, of an SQL SIMILAR TO pattern.

    Follows PostgreSQL's similar_escape(): `%` and `_` are wildcards, `| * + ? { } ( ) [ ]` keep their regex meaning,
    everything else is literal. Raises SqlError for an escape that the two regex engines read differently.
    """
    out: list[str] = []
    escaped = bracket = False
    for char in pattern:
        if escaped:
            if char.isalnum() and char not in "dDwWsS":
                raise SqlError(f"SIMILAR TO: the escape {escape + char!r} is not supported")
            out.append(char if ord(char) > 127 else "\\" + char)
            escaped = False
        elif char == escape:
            escaped = True
        elif bracket:
            out.append("\\\\" if char == "\\" else char)
            bracket = char != "]"
        else:
            out.append(_SIMILAR.get(char, char))
            bracket = char == "["
    if escaped:
        raise SqlError("SIMILAR TO: the pattern must not end with the escape character")
    return "".join(out)


_SIMILAR = {"%": ".*", "_": ".", "(": "(?:", "\\": "\\\\", ".": "\\.", "^": "\\^", "$": "\\$"}


@functools.cache
def _dialect() -> Any:
    """sqlglot's PostgreSQL, cut down: functions stay as they are written, `->` is hstore's, `$1,$2` is no heredoc."""
    from sqlglot import exp
    from sqlglot.dialects.postgres import Postgres
    from sqlglot.tokens import TokenType

    class LaminaStreams(Postgres):  # type: ignore[misc]
        class Tokenizer(Postgres.Tokenizer):  # type: ignore[misc]
            HEREDOC_STRINGS: ClassVar[list[str]] = []
            SINGLE_TOKENS: ClassVar[dict[str, Any]] = {**Postgres.Tokenizer.SINGLE_TOKENS, "$": TokenType.PARAMETER}

        class Parser(Postgres.Parser):  # type: ignore[misc]
            FUNCTIONS: ClassVar[dict[str, Any]] = {}
            NO_PAREN_FUNCTIONS: ClassVar[dict[Any, Any]] = {}
            LAMBDAS: ClassVar[dict[Any, Any]] = {}  # or `->` in an argument would begin a function
            FUNCTION_PARSERS: ClassVar[dict[str, Any]] = {
                name: parser
                for name, parser in Postgres.Parser.FUNCTION_PARSERS.items()
                if name in ("CAST", "SUBSTRING", "TRIM", "POSITION")  # the ones with a syntax of their own
            }
            COLUMN_OPERATORS: ClassVar[dict[Any, Any]] = {
                **Postgres.Parser.COLUMN_OPERATORS,
                TokenType.ARROW: lambda self, this, key: exp.Anonymous(this="->", expressions=[this, key]),
            }

    return LaminaStreams


def _parse(text: str) -> Any:
    from sqlglot import exp
    from sqlglot.errors import SqlglotError
    from sqlglot.tokens import TokenType

    dialect = _dialect()()
    try:
        tokens = dialect.tokenize(text)
        while tokens and tokens[-1].token_type == TokenType.SEMICOLON:
            tokens.pop()
        if any(token.token_type == TokenType.SEMICOLON for token in tokens):
            raise SqlError("one statement at a time")
        words = (token for token in tokens if token.token_type != TokenType.L_PAREN)
        if getattr(next(words, None), "token_type", None) != TokenType.SELECT:
            raise SqlError("only SELECT over the relation streams is allowed")
        [tree] = dialect.parser().parse(tokens, text)
    except SqlglotError as error:
        details = getattr(error, "errors", None) or [{}]
        reason = details[0].get("description") or "the text cannot be read as tokens"
        raise SqlError(f"syntax error: {reason.partition(' but got')[0].rstrip('.')}") from None
    while isinstance(tree, exp.Subquery) and not any(value for name, value in tree.args.items() if name != "this"):
        tree = tree.this  # (select ...)
    if type(tree) is not exp.Select:
        raise SqlError(f"{_spoken(tree)} is not allowed: only one SELECT over the relation streams is")
    return tree


def _spoken(node: object) -> str:
    name = type(node).__name__
    spoken = {"Lock": "FOR UPDATE", "Into": "SELECT INTO", "Window": "OVER", "ByteString": "E'...'"}
    return spoken.get(name, name.upper())


@functools.cache
def _allowed() -> frozenset[type]:
    from sqlglot import exp

    return frozenset(getattr(exp, name) for name in _NODES.split())


class _Translation:
    """One statement on its way: check, bound, rewrite, print."""

    def __init__(self, params: Sequence[str], widths: Widths) -> None:
        self.params = params
        self.widths = widths
        self.bound = {str(n): value for n, value in enumerate(params, 1)}
        self.used: set[str] = set()

    def run(self, tree: Any) -> Statement:
        from sqlglot import exp
        from sqlglot.errors import SqlglotError

        nodes = list(tree.walk())
        for node in nodes:
            self._check(node)
        highest = max(map(int, self.used), default=0)
        if highest != len(self.params):
            raise SqlError(f"the statement takes {highest} parameters, {len(self.params)} were given")
        made = Growth(self.bound, self.widths).of(tree)
        if made > GROWTH_LIMIT:
            raise SqlError(f"the expressions may make {made} bytes of text per row, at most {GROWTH_LIMIT} are allowed")
        for node in nodes:
            _fold(node)
        for node in nodes:
            _label_columns(node)
        for node in nodes:
            _spread_rows(node)
        for node in reversed(nodes):  # children first: what replaces a parent takes up the replaced children
            self._rewrite(node)
        try:
            sql = tree.sql("duckdb", identify=True, comments=False)
        except SqlglotError:
            raise SqlError("the statement cannot be translated") from None
        left = {parameter.name for parameter in tree.find_all(exp.Parameter)}  # a pattern's own is gone
        return Statement(sql, {name: self.bound[name] for name in left})

    def _check(self, node: Any) -> None:
        from sqlglot import exp

        kind = type(node)
        if kind not in _allowed():
            raise SqlError(f"{_spoken(node)} is not allowed")
        if kind is exp.Table:
            name, schema = node.this, node.args.get("db")
            known = isinstance(name, exp.Identifier) and name.name.lower() == "streams"
            if not known or node.args.get("catalog") or (schema and schema.name.lower() != "public"):
                raise SqlError(f"relation {node.sql('postgres', comments=False)} does not exist: only streams does")
        elif kind is exp.Anonymous:
            self._check_call(node)
        elif kind is exp.Parameter:
            number = node.name
            if number not in self.bound:
                raise SqlError(f"there is no parameter ${number}: {len(self.params)} were given")
            self.used.add(number)
        elif kind is exp.DataType:
            if node.this.name not in TYPES:
                raise SqlError(f"type {node.sql('postgres').lower()} is not allowed")
        elif kind is exp.Cast:
            if isinstance(node.this, exp.Column) and node.this.name.lower() == "annotations":
                raise SqlError("annotations cannot be cast: select them, or a value with ->")
        elif kind is exp.Any:
            if not isinstance(node.parent, exp.EQ | exp.NEQ | exp.LT | exp.LTE | exp.GT | exp.GTE):
                raise SqlError("ANY is allowed behind a comparison only")
        elif kind is exp.Escape and not (
            isinstance(node.expression, exp.Literal) and node.expression.is_string and len(node.expression.name) < 2
        ):
            raise SqlError("ESCAPE takes a text of at most one character")

    def _check_call(self, node: Any) -> None:
        from sqlglot import exp

        name = name_of(node)
        if name not in FUNCTIONS:
            raise SqlError(f"function {name} is not allowed")
        _, fewest, most = FUNCTIONS[name]
        if not fewest <= len(node.expressions) <= most:
            raise SqlError(f"function {name} takes {fewest} to {most} arguments, not {len(node.expressions)}")
        if name in _COLLECTORS:
            column = node
            while isinstance(column.parent, exp.Filter | exp.Alias):
                column = column.parent
            if not isinstance(column.parent, exp.Select) or column.find_ancestor(exp.Subquery, exp.Exists, exp.In):
                raise SqlError(f"{name} is allowed as a whole column of the outermost SELECT only")

    def _rewrite(self, node: Any) -> None:
        from sqlglot import exp

        kind = type(node)
        if kind is exp.Anonymous and name_of(node) in FUNCTIONS:
            name = name_of(node)
            node.set("this", FUNCTIONS[name][0])
            if name == "->":
                _replace(node, lambda: _call("list_extract", node, exp.Literal.number(1)))
            elif name == "substr":
                text, *bounds = node.expressions
                node.set("expressions", [text, *_clip(*bounds)])
        elif kind is exp.Substring:
            bounds = [node.args.get("start") or exp.Literal.number(1), node.args.get("length")]
            _replace(node, lambda: _call("substr", node.this, *_clip(*filter(None, bounds))))
        elif kind in (exp.Like, exp.ILike) and not isinstance(node.parent, exp.Escape):
            backslash = exp.Literal.string("\\")  # PostgreSQL's default; DuckDB has none
            _replace(node, lambda: exp.Escape(this=node, expression=backslash))
        elif kind is exp.SimilarTo:
            self._rewrite_similar_to(node)
        elif kind in (exp.RegexpLike, exp.RegexpILike):
            flags = exp.Literal.string("s" if kind is exp.RegexpLike else "is")
            _replace(node, lambda: _call("regexp_matches", node.this, node.expression, flags))
        elif kind is exp.JSONBContainsTopKey:
            _replace(node, lambda: _call("map_contains", node.this, node.expression))
        elif kind is exp.JSONBContainsAnyTopKeys:
            _replace(node, lambda: _call("list_has_any", _call("map_keys", node.this), node.expression))
        elif kind is exp.JSONBContainsAllTopKeys:
            _replace(node, lambda: _call("list_has_all", _call("map_keys", node.this), node.expression))
        elif kind is exp.Cast:
            _rewrite_cast(node)

    def _rewrite_similar_to(self, node: Any) -> None:
        """Bind the regex of a constant pattern as one more parameter."""
        from sqlglot import exp

        whole, escape = node, "\\"
        if isinstance(node.parent, exp.Escape):
            whole = node.parent
            escape = whole.expression.name
        pattern = node.expression
        while isinstance(pattern, exp.Paren | exp.Cast):
            pattern = pattern.this
        if isinstance(pattern, exp.Parameter):
            text = self.bound[pattern.name]
        elif isinstance(pattern, exp.Literal) and pattern.is_string:
            text = pattern.name
        else:
            raise SqlError("SIMILAR TO: the pattern must be a text or a parameter")
        name = str(len(self.bound) + 1)
        self.bound[name] = similar_to_regex(text, escape)
        parameter = exp.Parameter(this=exp.Literal.number(name))
        match = _call("regexp_full_match", node.this, parameter, exp.Literal.string("s"))
        _replace(whole, lambda: exp.Not(this=match) if node.args.get("negate") else match)


def _rewrite_cast(node: Any) -> None:
    from sqlglot import exp

    kind, parameters = node.to.this.name, node.to.expressions
    if kind == "VARCHAR" and parameters:
        length = exp.Literal.number(parameters[0].name)
        node.set("to", exp.DataType.build("text"))
        _replace(node, lambda: _call("left", node, length))
    elif kind == "DECIMAL" and not parameters:
        node.set("to", exp.DataType.build("double"))  # DuckDB's DECIMAL would keep three decimals


def _clip(start: Any, length: Any = None) -> list[Any]:
    """Bounds of substring with PostgreSQL's meaning: positions below 1 exist and are empty, none counts from the end.

    Exact for constants and for a computed start without length; a computed start with a length is taken as >= 0.
    """
    from sqlglot import exp

    first, size = _constant(start), None if length is None else _constant(length)
    if size is not None and size < 0:
        raise SqlError("negative substring length not allowed")
    if first is not None and first >= 1:
        return [start] if length is None else [start, length]
    if length is None:
        return [_call("greatest", start, exp.Literal.number(1))]
    if first is not None and size is not None:
        return [exp.Literal.number(1), exp.Literal.number(max(size + first - 1, 0))]
    return [_call("greatest", start, exp.Literal.number(0)), length]


def _constant(node: Any) -> int | None:
    try:
        return int(node.sql("postgres"))
    except ValueError:
        return None


def _fold(node: Any) -> None:
    """Unquoted identifiers to lower case; `public.` away."""
    from sqlglot import exp

    if type(node) is exp.Identifier and not node.args.get("quoted"):
        node.set("this", node.name.lower())
    elif type(node) is exp.Table:
        node.set("db", None)


def _label_columns(node: Any) -> None:
    """Every unnamed column gets the label PostgreSQL gives it."""
    from sqlglot import exp

    if type(node) is not exp.Select:
        return
    columns = []
    for column in node.expressions:
        if not column.is_star and type(column) not in (exp.Alias, exp.Column):
            column = exp.Alias(this=column, alias=exp.to_identifier(label(column)[0], quoted=True))
        columns.append(column)
    node.set("expressions", columns)


def _spread_rows(select: Any) -> None:
    """skeys and svals make a row of each element: they become a relation joined to the SELECT they stand in."""
    from sqlglot import exp

    if type(select) is not exp.Select:
        return
    columns: dict[str, Any] = {}
    for call in list(select.find_all(exp.Anonymous)):
        if name_of(call) not in ROW_MAKERS or call.parent_select is not select:
            continue
        if call.find_ancestor(exp.Where, exp.Join, exp.Select) is not select:
            raise SqlError(f"{name_of(call)} is allowed in the list of columns only")
        name = f"?{call.sql('duckdb')}"
        call.replace(exp.column(exp.to_identifier(name, quoted=True)))
        columns.setdefault(name, call)
    if not columns:
        return
    names = {name: exp.to_identifier(name, quoted=True) for name in columns}
    made = exp.Select(
        expressions=[exp.Alias(this=_call("unnest", columns[name]), alias=names[name]) for name in columns]
    )
    relation = exp.Subquery(this=made, alias=exp.TableAlias(this=exp.to_identifier("?rows", quoted=True)))
    select.append("joins", exp.Join(this=relation, kind="CROSS"))
    for column in select.expressions:
        if type(column) is exp.Star:
            column.set("except_", [name.copy() for name in names.values()])


def _call(name: str, *arguments: Any) -> Any:
    from sqlglot import exp

    return exp.Anonymous(this=name, expressions=list(arguments))


def _replace(node: Any, make: Callable[[], Any]) -> None:
    """Put make() in the place of a node, which may become part of what is made; one without a place is left alone."""
    parent, key, index = node.parent, node.arg_key, node.index
    made = make()
    if parent is not None:
        parent.set(key, made, index)
