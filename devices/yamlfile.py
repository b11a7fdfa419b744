"""YAML that remembers where each key stood, so that an error can name file, line, key and the accepted form."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.cyaml import CParser  # type: ignore[attr-defined]  # not declared; CSafeLoader is made of it
from yaml.resolver import Resolver

BYTES_MAX = 4 << 20  # of one file; a thousand rules are a quarter of it
DEPTH_MAX = 32  # a rule has four levels
TOO_DEEP = f"nested too deeply; at most {DEPTH_MAX} levels are read"
SHOWN = 60  # characters of a wrong value in an error; more would spill a wrong file, and the secrets in it


class _Strict(Composer):
    """YAML 1.2's booleans: only true and false, so that ``on`` and ``off`` are words, and keys of rules.

    Aliases are refused: a few of them, each naming the one before twice, are a file of any size.
    """

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401 - as the base has it
        """Refuse an alias and what is nested too deeply, compose anything else."""
        if self.check_event(yaml.AliasEvent):  # type: ignore[attr-defined]  # the parser's, beside this class
            event = self.peek_event()  # type: ignore[attr-defined]  # as well
            raise yaml.composer.ComposerError(None, None, "aliases are not read; write it out", event.start_mark)
        if self.depth == DEPTH_MAX:
            event = self.peek_event()  # type: ignore[attr-defined]  # as well
            raise yaml.composer.ComposerError(None, None, TOO_DEEP, event.start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Loader(_Strict, yaml.SafeLoader):
    """Reads in Python: slow, and clear about what is wrong."""

    def fetch_flow_collection_start(self, token: type[yaml.Token]) -> None:
        """Refuse brackets within brackets before they are looked through, which takes the square of their number."""
        if self.flow_level == DEPTH_MAX:
            raise yaml.scanner.ScannerError(None, None, TOO_DEEP, self.get_mark())
        super().fetch_flow_collection_start(token)


class _QuickLoader(_Strict, CParser, SafeConstructor, Resolver):
    """Reads with libyaml, nine times as fast: a start waits for it."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)


for _loader in (_Loader, _QuickLoader):
    _loader.yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in rules if tag != "tag:yaml.org,2002:bool"]
        for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _loader.add_implicit_resolver(
        "tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")
    )


class ConfigError(ValueError):
    """Something a person wrote is wrong; the message names the place and the accepted form.

    Attributes:
        problems: one sentence a problem, each beginning ``file:line: key: ``.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Node:
    """A value read from YAML with the file, the line and the path of keys that lead to it."""

    __slots__ = ("file", "line", "path", "value")

    def __init__(self, value: Any, file: str, line: int, path: str) -> None:  # noqa: ANN401 - YAML holds anything
        self.value = value
        self.file = file
        self.line = line
        self.path = path

    def problem(self, text: str) -> str:
        """Return ``text`` behind this node's place."""
        return f"{self.file}:{self.line}: {self.path or 'document'}: {text}"

    def error(self, text: str) -> ConfigError:
        """Return an error about this node, ready to raise."""
        return ConfigError([self.problem(text)])

    def items(self) -> Iterator[tuple[str, Node]]:
        """Yield the keys and nodes of a mapping; ConfigError when this node is something else."""
        if not isinstance(self.value, dict):
            raise self.error(f"expected a mapping of keys to values, found {_shown(self.value)}")
        yield from self.value.items()

    def elements(self) -> list[Node]:
        """Return the nodes of a list; ConfigError when this node is something else."""
        if not isinstance(self.value, list):
            raise self.error(f"expected a list, found {_shown(self.value)}")
        return self.value

    def get(self, key: str) -> Node | None:
        """Return the node under ``key`` of a mapping, or None."""
        if not isinstance(self.value, dict):
            raise self.error(f"expected a mapping of keys to values, found {_shown(self.value)}")
        found: Node | None = self.value.get(key)
        return found

    def need(self, key: str) -> Node:
        """Return the node under ``key``; ConfigError when it is missing."""
        node = self.get(key)
        if node is None:
            raise self.error(f"the key '{key}' is missing")
        return node

    def text(self, *, one_of: tuple[str, ...] = ()) -> str:
        """Return this node as a non-empty string, one of ``one_of`` where that is given."""
        if not isinstance(self.value, str) or not self.value.strip():
            raise self.error(f"expected text, found {_shown(self.value)}")
        if one_of and self.value not in one_of:
            raise self.error(f"expected one of {', '.join(one_of)}; found '{self.value}'")
        return self.value

    def number(self, *, low: float | None = None, high: float | None = None) -> float:
        """Return this node as a number within ``low`` to ``high``."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.error(f"expected a number, found {_shown(self.value)}")
        try:
            finite = math.isfinite(self.value)
        except OverflowError:  # a whole number of more than 308 digits
            finite = False
        if not finite:
            raise self.error(f"expected a finite number, found {_shown(self.value)}")
        if (low is not None and self.value < low) or (high is not None and self.value > high):
            raise self.error(f"expected a number from {low} to {high}, found {self.value}")
        return float(self.value)

    def only(self, *keys: str) -> None:
        """Refuse keys of a mapping that are not among ``keys``."""
        known = ", ".join(keys)
        unknown = [node.problem(f"unknown key; known here: {known}") for key, node in self.items() if key not in keys]
        if unknown:
            raise ConfigError(unknown)

    def plain(self) -> Any:  # noqa: ANN401 - YAML holds anything
        """Return the value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def read_yaml(path: Path) -> Node:
    """Read one YAML file. Raises ConfigError for a file that is absent, unreadable or not YAML."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise ConfigError([f"{path}: cannot be read: at most {BYTES_MAX >> 20} MB are read"])
        text = path.read_text(encoding="utf-8")
    except OSError as trouble:
        raise ConfigError([f"{path}: cannot be read: {trouble.strerror}"]) from trouble
    except UnicodeDecodeError as trouble:
        raise ConfigError([f"{path}: cannot be read: expected text in UTF-8"]) from trouble
    return parse_yaml(text, str(path))


def parse_yaml(text: str, file: str = "text") -> Node:
    """Read YAML text; ``file`` is the name that errors give. Raises ConfigError."""
    with suppress(yaml.YAMLError, UnicodeError):  # read again below, by the one that can say what is wrong
        return _parsed(_QuickLoader(text), file)
    try:
        return _parsed(_Loader(text), file)
    except yaml.MarkedYAMLError as trouble:
        line = trouble.problem_mark.line + 1 if trouble.problem_mark else 1
        raise ConfigError([f"{file}:{line}: not YAML: {trouble.problem}"]) from trouble
    except yaml.reader.ReaderError as trouble:
        line = text.count("\n", 0, trouble.position) + 1
        raise ConfigError([f"{file}:{line}: not YAML: {trouble.reason}: U+{trouble.character:04X}"]) from trouble
    except yaml.YAMLError as trouble:
        raise ConfigError([f"{file}:1: not YAML: {trouble}"]) from trouble


def _parsed(loader: _Loader | _QuickLoader, file: str) -> Node:
    try:
        root = loader.get_single_node()
        return Node(None, file, 1, "") if root is None else _convert(loader, root, file, "")
    finally:
        loader.dispose()


def _convert(loader: _Loader | _QuickLoader, node: yaml.Node, file: str, path: str) -> Node:
    line = node.start_mark.line + 1
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)
        table: dict[str, Node] = {}
        for key_node, value_node in node.value:
            line_of_key = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise ConfigError([f"{file}:{line_of_key}: {path or 'document'}: expected a plain word as a key"])
            key = str(key_node.value)
            where = f"{path}.{key}" if path else key
            if key in table:
                raise ConfigError([f"{file}:{line_of_key}: {where}: the key stands twice"])
            child = _convert(loader, value_node, file, where)
            child.line = line_of_key
            table[key] = child
        return Node(table, file, line, path)
    if isinstance(node, yaml.SequenceNode):
        rows = [_convert(loader, child, file, f"{path}[{index}]") for index, child in enumerate(node.value)]
        return Node(rows, file, line, path)
    try:
        return Node(loader.construct_object(node), file, line, path)
    except (ValueError, AttributeError, LookupError, OverflowError) as trouble:  # what PyYAML's own readers let through
        words = f"{_shown(str(node.value))} cannot be read as {node.tag.rpartition(':')[2]}"
        raise ConfigError([f"{file}:{line}: {path or 'document'}: {words}"]) from trouble


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if value is None:
        return "nothing"
    text = str(value)
    return f"'{text}'" if len(text) <= SHOWN else f"'{text[:SHOWN]}…'"
