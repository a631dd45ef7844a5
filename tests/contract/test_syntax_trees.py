"""Sources are parsed whatever other threads do."""

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cryoloom.contract import syntax_trees
from cryoloom.contract.syntax_trees import syntax_tree

CLASH = "AST constructor recursion depth mismatch (before=51, after=141)"


def test_a_clash_with_the_parsing_of_another_thread_is_tried_again(monkeypatch):
    """What CPython 3.11 raises where a library parses at the same time."""
    parse, n_failed = ast.parse, 0

    def clash(text: str) -> ast.Module:
        nonlocal n_failed
        if n_failed < 3:
            n_failed += 1
            raise SystemError(CLASH)
        return parse(text)

    monkeypatch.setattr(syntax_trees.ast, "parse", clash)
    assert ast.get_docstring(syntax_tree(Path(__file__))) == __doc__
    assert n_failed == 3


def test_a_clash_that_does_not_end_is_an_error(monkeypatch):
    def clash(_: str) -> ast.Module:
        raise SystemError(CLASH)

    monkeypatch.setattr(syntax_trees.ast, "parse", clash)
    monkeypatch.setattr(syntax_trees, "_PAUSE_S", 0.0)
    with pytest.raises(SystemError, match="recursion depth"):
        syntax_tree(Path(__file__))


def test_many_threads_parse_one_file():
    with ThreadPoolExecutor(8) as pool:
        trees = list(pool.map(syntax_tree, [Path(__file__)] * 32))
    assert {ast.dump(tree) for tree in trees} == {ast.dump(trees[0])}
