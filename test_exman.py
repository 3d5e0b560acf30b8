"""Tests of exman, in the order of its sections: `python3 test_exman.py` needs the standard library alone.

Tests that need pandas, PyYAML, ruamel.yaml, hypothesis or strace skip where it is missing; EXMAN_NO_SKIP=1 makes a skip a failure.
"""
from __future__ import annotations

import argparse
import collections
import concurrent.futures
import contextlib
import copy
import datetime
import decimal
import enum
import errno
import fractions
import functools
import io
import json
import multiprocessing
import os
import pathlib
import pickle
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
import uuid
import warnings
from unittest import mock

try:
    import hypothesis
    import hypothesis.strategies as st
except ImportError:
    hypothesis = None
try:
    import yaml as pyyaml
except ImportError:
    pyyaml = None
try:
    import ruamel.yaml as ruamel
except ImportError:
    ruamel = None
try:
    import pandas
except ImportError:
    pandas = None

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import exman  # noqa: E402


class Case(unittest.TestCase):
    """A test in a fresh folder: self.folder is the working directory, self.root an exman root that does not exist yet."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name).resolve()
        self.root = self.folder / "exman"
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(str(self.folder))

    def parser(self, **kwargs):
        kwargs.setdefault("root", self.root)
        kwargs.setdefault("prog", "main.py")
        return exman.ExParser(**kwargs)

    def parse(self, parser, *argv, method="parse_args"):
        """Parse argv; what exman says on stderr is kept in self.stderr."""
        stderr = io.StringIO()
        try:
            with contextlib.redirect_stderr(stderr):
                return getattr(parser, method)(list(argv))
        finally:
            self.stderr = stderr.getvalue()

    def refuse(self, parser, *argv):
        """The last line of the usage error (exit status 2) that argv ends in."""
        with self.assertRaises(SystemExit) as caught:
            self.parse(parser, *argv)
        self.assertEqual(caught.exception.code, 2)
        return self.stderr.splitlines()[-1]

    def params(self, args):
        return exman.load_yaml((args.root / "params.yaml").read_text(encoding="utf-8"))

    def runs(self, part="runs"):
        folder = self.root / part
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []

    def script(self, body, name="main.py"):
        """Write a script into the folder; it finds exman beside this file."""
        path = self.folder / name
        path.write_text(textwrap.dedent(body), encoding="utf-8")
        return path

    def python(self, *argv, status=0, **kwargs):
        """Run python with argv in a process of its own; return the finished process, its output as text."""
        env = dict(os.environ, PYTHONPATH=str(HERE), **kwargs.pop("env", {}))
        done = subprocess.run([sys.executable, *map(str, argv)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, timeout=120, **kwargs)
        self.assertEqual(done.returncode, status, done.stderr)
        return done


# ---------------------------------------------------------------------------------------------------------------------
# The run and the namespace
# ---------------------------------------------------------------------------------------------------------------------

class TestRun(Case):
    """args.exman: what a script learns of its run, and the block that guards the experiment."""

    def run_in_block(self, args, act=lambda: None):
        """act() inside the block, with stdout and stderr kept: (what stdout got, the exception that left the block)."""
        stdout, stderr = io.StringIO(), io.StringIO()
        raised = None
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            try:
                with args.safe_experiment:
                    act()
            except BaseException as error:
                raised = error
        self.stderr = stderr.getvalue()
        return stdout.getvalue(), raised

    def raise_(self, error):
        def act():
            raise error
        return act

    def files(self, folder):
        return sorted(path.name for path in folder.iterdir())

    def read(self, path):
        return path.read_text(encoding="utf-8")

    def test_args_and_its_run_tell_the_same(self):
        args = self.parse(self.parser(), "--name", "first")
        self.assertIs(args.exman, args.safe_experiment)
        self.assertEqual(args.root, args.exman.root)
        self.assertEqual(args.root, self.root / "runs" / args.exman.name)
        self.assertEqual((args.exman.id, args.exman.tmp), (1, False))
        self.assertEqual(args.exman.time.strftime("000001-%Y-%m-%d-%H-%M-%S-first"), args.exman.name)
        self.assertIn(str(args.root), repr(args.exman))

    def test_a_copy_of_args_has_the_same_run(self):
        import copy
        args = self.parse(self.parser())
        self.assertIs(copy.deepcopy(args).exman, args.exman)
        self.assertIs(copy.copy(args).exman, args.exman)

    def test_a_success_leaves_a_log_and_the_run_where_it_is(self):
        args = self.parse(self.parser())
        printed, raised = self.run_in_block(args, lambda: print("epoch", 1))
        self.assertEqual((printed, raised, self.stderr), ("epoch 1\n", None, ""))
        self.assertEqual(self.files(args.root), ["log.txt", "params.yaml"])
        self.assertEqual(self.read(args.root / "log.txt"), "epoch 1\n")

    def test_an_exception_moves_the_run_to_fails_and_goes_on_upwards(self):
        args = self.parse(self.parser(automark=("all", "lr")), "--name", "x")
        name, error = args.root.name, ValueError("caf\u00e9 \udce9")
        exman.main(["--root", str(self.root), "mark", "best/of", "1"])
        old = self.root / "marked" / "old"              # exman 0.1.x marked with links to folders
        old.mkdir()
        with contextlib.suppress(OSError, NotImplementedError):
            (old / name).symlink_to(pathlib.Path("..", "..", "runs", name), target_is_directory=True)
        _, raised = self.run_in_block(args, self.raise_(error))
        self.assertIs(raised, error)
        self.assertEqual(args.root, self.root / "fails" / name)
        self.assertEqual(self.files(args.root), ["log.txt", "params.yaml", "traceback.txt"])
        self.assertIn("ValueError: caf\u00e9 \\udce9", self.read(args.root / "traceback.txt"))
        self.assertIn("Traceback (most recent call last)", self.read(args.root / "traceback.txt"))
        self.assertEqual(self.runs(), [])
        self.assertEqual(self.runs("index"), [])
        links = [path for path in (self.root / "marked").rglob("*") if not path.is_dir() or path.is_symlink()]
        self.assertEqual(links, [])
        self.assertIn(str(args.root / "traceback.txt"), self.stderr)
        self.assertEqual(len(self.stderr.splitlines()), 1)

    def test_how_a_block_may_end(self):
        for end, part in ((SystemExit(), "runs"), (SystemExit(0), "runs"), (SystemExit(None), "runs"), (SystemExit(3), "fails"),
                          (SystemExit("no data"), "fails"), (GeneratorExit(), "runs"), (MemoryError(), "fails"),
                          (RecursionError(), "fails")):
            with self.subTest(repr(end)):
                args = self.parse(self.parser())
                _, raised = self.run_in_block(args, self.raise_(end))
                self.assertIs(raised, end)
                self.assertEqual(args.root.parent.name, part)
                self.assertEqual((args.root / "traceback.txt").exists(), part == "fails")

    def test_ctrl_c_ends_the_block_and_leaves_the_run_where_it_is(self):
        args = self.parse(self.parser())
        _, raised = self.run_in_block(args, self.raise_(KeyboardInterrupt()))
        self.assertIsNone(raised)
        self.assertEqual(args.root.parent.name, "runs")
        self.assertIn("KeyboardInterrupt", self.read(args.root / "traceback.txt"))
        self.assertEqual(len(self.runs("index")), 1)
        self.assertIn("run 1 was interrupted", self.stderr)

    def test_ctrl_c_in_a_coroutine_leaves_the_run_where_it_is(self):
        import asyncio
        args = self.parse(self.parser())
        _, raised = self.run_in_block(args, self.raise_(asyncio.CancelledError()))
        self.assertIsInstance(raised, asyncio.CancelledError)       # asyncio itself makes a KeyboardInterrupt of it
        self.assertEqual(args.root.parent.name, "runs")

    def test_a_generator_that_is_closed_early_has_not_failed(self):
        args = self.parse(self.parser())

        def batches():
            with args.exman:
                yield 1
                yield 2
        stdout = sys.stdout
        generator = batches()
        next(generator)
        generator.close()
        self.assertIs(sys.stdout, stdout)
        self.assertEqual(args.root.parent.name, "runs")

    def test_the_outermost_of_nested_blocks_decides(self):
        args = self.parse(self.parser())

        def caught_inside():
            try:
                with args.exman:
                    print("inner")
                    raise ValueError
            except ValueError:
                print("caught")
        printed, raised = self.run_in_block(args, caught_inside)
        self.assertIsNone(raised)
        self.assertEqual(self.files(args.root), ["log.txt", "params.yaml"])
        self.assertEqual(self.read(args.root / "log.txt"), printed)

        def through_both():
            with args.exman:
                raise ValueError
        _, raised = self.run_in_block(args, through_both)
        self.assertIsInstance(raised, ValueError)
        self.assertEqual(args.root.parent.name, "fails")

    def test_a_block_entered_twice_goes_on_with_the_log(self):
        args = self.parse(self.parser())
        self.run_in_block(args, lambda: print("one"))
        self.run_in_block(args, self.raise_(ValueError("first")))
        self.run_in_block(args, lambda: print("two"))
        self.run_in_block(args, self.raise_(ValueError("second")))
        self.assertEqual(args.root.parent.name, "fails")
        self.assertEqual(self.read(args.root / "log.txt"), "one\ntwo\n")
        self.assertIn("ValueError: second", self.read(args.root / "traceback.txt"))

    def test_two_runs_may_end_in_the_order_of_their_beginnings(self):
        one, two = self.parse(self.parser()), self.parse(self.parser())
        stdout = io.StringIO()
        with contextlib.redirect_stdout(stdout):
            one.exman.__enter__()
            print("1")
            two.exman.__enter__()
            print("2")
            one.exman.__exit__(None, None, None)
            print("3")
            two.exman.__exit__(None, None, None)
            self.assertIs(sys.stdout, stdout)
        self.assertEqual(stdout.getvalue(), "1\n2\n3\n")
        self.assertEqual(self.read(one.root / "log.txt"), "1\n2\n")
        self.assertEqual(self.read(two.root / "log.txt"), "2\n3\n")

    def test_a_tmp_run_that_fails_goes_to_fails(self):
        args = self.parse(self.parser(), "--tmp")
        self.assertEqual(args.root.parent.name, "tmp")
        self.run_in_block(args, self.raise_(ValueError()))
        self.assertEqual(args.root, self.root / "fails" / args.exman.name)
        self.assertEqual(self.runs("tmp"), [])

    def test_a_run_deleted_meanwhile_costs_a_line_not_the_exception(self):
        for act in (lambda: None, self.raise_(ValueError("mine"))):
            args = self.parse(self.parser())

            def delete_and(act=act, args=args):
                import shutil
                shutil.rmtree(str(args.root))
                print("still here")
                act()
            printed, raised = self.run_in_block(args, delete_and)
            self.assertEqual(printed, "still here\n")
            self.assertEqual(str(raised or ""), "mine" if raised else "")
            self.assertEqual(self.runs("fails"), [])
        self.assertIn("run 2", self.stderr)
        self.assertNotIn("Traceback", self.stderr)

    def test_a_run_deleted_before_the_block_runs_without_a_log(self):
        args = self.parse(self.parser())
        exman.main(["--root", str(self.root), "delete", "--all", "--yes", "1"])
        printed, raised = self.run_in_block(args, lambda: print("on"))
        self.assertEqual((printed, raised), ("on\n", None))
        self.assertIn("no log", self.stderr)

    def test_the_end_of_a_run_made_by_another_process_moves_nothing(self):
        import pickle
        args = self.parse(self.parser(shared=True))
        copy = pickle.loads(pickle.dumps(args))
        self.assertEqual(copy, args)
        self.run_in_block(copy, self.raise_(ValueError()))
        self.assertEqual(copy.root, args.root)
        self.assertEqual(self.files(args.root), [f"log.{os.getpid()}.txt", "params.yaml", f"traceback.{os.getpid()}.txt"])
        if os.name == "posix":
            mode = (args.root / f"log.{os.getpid()}.txt").stat().st_mode
            self.assertEqual(mode & 0o060, 0o060)

    def test_a_worker_signs_its_files_and_moves_nothing(self):
        self.script("""
            import multiprocessing, sys
            import exman

            def work(args):
                with args.exman:
                    print("from the worker")
                    raise ValueError("of the worker")

            if __name__ == "__main__":
                parser = exman.ExParser(root="exman")
                parser.add_argument("--method")
                args = parser.parse_args()
                worker = multiprocessing.get_context(args.method).Process(target=work, args=(args,), name="feeder")
                with args.exman:
                    print("from the maker", flush=True)
                    worker.start()
                    worker.join()
                print(args.root.parent.name, worker.exitcode)
        """)
        import multiprocessing
        for method in multiprocessing.get_all_start_methods():
            with self.subTest(method):
                done = self.python("main.py", "--method", method)
                self.assertEqual(done.stdout.splitlines()[-1], "runs 1")
                root = self.root / "runs" / self.runs()[-1]
                self.assertEqual(self.files(root), ["log.feeder.txt", "log.txt", "params.yaml", "traceback.feeder.txt"])
                self.assertEqual(self.read(root / "log.feeder.txt"), "from the worker\n")
                self.assertIn("ValueError: of the worker", self.read(root / "traceback.feeder.txt"))
        self.assertEqual(self.runs("fails"), [])

    def test_a_script_that_fails_ends_as_without_the_block(self):
        self.script("""
            import sys
            import exman
            args = exman.ExParser(root="exman").parse_args()
            print("started")
            with args.safe_experiment:
                print("inside")
                exec(sys.stdin.read())
            print("after")
        """)
        for code, status, part, last in (("1/0", 1, "fails", "ZeroDivisionError: division by zero"),
                                         ("sys.exit(3)", 3, "fails", "traceback.txt"), ("sys.exit('no data')", 1, "fails", "no data"),
                                         ("sys.exit(0)", 0, "runs", "run "), ("raise KeyboardInterrupt", 0, "runs", "traceback.txt")):
            with self.subTest(code):
                done = self.python("main.py", input=code, status=status)
                self.assertIn(last, done.stderr.splitlines()[-1])
                self.assertEqual(done.stdout, "started\ninside\n" + ("after\n" if "Keyboard" in code else ""))
                self.assertEqual(self.read(self.root / part / self.runs(part)[-1] / "log.txt"), "inside\n")


class TestLog(Case):
    """log.txt inside the block, and the stdout that stands in front of it."""

    def setUp(self):
        super().setUp()
        self.args = self.parse(self.parser())
        self.log = self.args.root / "log.txt"

    def read(self):
        with open(str(self.log), encoding="utf-8", newline="") as file:
            return file.read().replace("\r\n", "\n")

    def test_it_gets_all_that_is_written_to_stdout(self):
        stdout = io.StringIO()
        with contextlib.redirect_stdout(stdout), self.args.exman:
            print("print", 1, sep="-")
            self.assertEqual(sys.stdout.write("write\n"), 6)
            sys.stdout.writelines(["a", "b\n"])
            print("caf\u00e9 \U0001f600")
            print("100 %", end="\r")
            print("no end of line", end="")
        self.assertEqual(self.read(), stdout.getvalue())
        self.assertEqual(stdout.getvalue(), "print-1\nwrite\nab\ncaf\u00e9 \U0001f600\n100 %\rno end of line")

    def test_each_line_is_in_the_file_at_once(self):
        with contextlib.redirect_stdout(io.StringIO()), self.args.exman:
            for text in ("epoch 1\n", "10 %\r", "20 %\r"):
                before = self.read()
                sys.stdout.write(text)
                self.assertEqual(self.read(), before + text)
            sys.stdout.write("a part")
            sys.stdout.flush()
            self.assertTrue(self.read().endswith("a part"))

    def test_it_is_opened_once(self):
        opened = []

        def counting(path, *args, **kwargs):
            opened.append(path)
            return open(path, *args, **kwargs)
        exman.open = counting                           # a global of the module goes before the builtin
        self.addCleanup(delattr, exman, "open")
        with contextlib.redirect_stdout(io.StringIO()), self.args.exman:
            for number in range(100):
                print(number)
        self.assertEqual(opened, [str(self.log)])

    def test_logging_to_stdout_is_in_it_from_handlers_made_before_and_inside(self):
        import logging
        import logging.handlers
        stdout = io.StringIO()
        logger = logging.getLogger("exman-test")
        logger.propagate = False
        with contextlib.redirect_stdout(stdout):
            before = logging.StreamHandler(sys.stdout)
            behind = logging.handlers.MemoryHandler(1, target=logging.StreamHandler(sys.stdout))
            elsewhere = logging.StreamHandler(io.StringIO())
            logger.handlers = [before, behind, elsewhere]
            self.addCleanup(logger.handlers.clear)
            logger.warning("before")
            with self.args.exman:
                inside = logging.StreamHandler(sys.stdout)
                logger.addHandler(inside)
                logger.warning("inside")
            self.assertIs(before.stream, stdout)
            self.assertIs(behind.target.stream, stdout)
            self.assertIs(inside.stream, stdout)
            logger.warning("after")
        self.assertEqual(self.read(), "inside\n" * 3)
        self.assertEqual(stdout.getvalue(), "before\n" * 2 + "inside\n" * 3 + "after\n" * 3)
        self.assertEqual(elsewhere.stream.getvalue(), "before\ninside\nafter\n")

    def test_stdout_is_otherwise_the_stream_underneath(self):
        raw = io.BytesIO()
        under = io.TextIOWrapper(raw, encoding="latin-1", errors="replace", line_buffering=True)
        under.isatty = lambda: True
        under.fileno = lambda: 17
        with contextlib.redirect_stdout(under), self.args.exman:
            self.assertTrue(sys.stdout.isatty())
            self.assertEqual((sys.stdout.encoding, sys.stdout.errors, sys.stdout.fileno()), ("latin-1", "replace", 17))
            self.assertIs(sys.stdout.buffer, under.buffer)
            self.assertTrue(sys.stdout.writable())
            sys.stdout.reconfigure(encoding="utf-8")
            self.assertEqual(sys.stdout.encoding, "utf-8")
            with self.assertRaisesRegex(AttributeError, "nonsense"):
                sys.stdout.nonsense

    def test_text_that_utf8_cannot_hold_is_escaped_in_it(self):
        with contextlib.redirect_stdout(io.StringIO()), self.args.exman:
            print("caf\udce9")
        self.assertEqual(self.read(), "caf\\udce9\n")

    def test_stdout_replaced_inside_the_block_stays_replaced(self):
        before, mine = sys.stdout, io.StringIO()
        try:
            with self.args.exman:
                sys.stdout = mine
                print("mine")
            self.assertIs(sys.stdout, mine)
        finally:
            sys.stdout = before
        self.assertEqual(self.read(), "")

    def test_a_stream_kept_beyond_the_block_still_writes(self):
        stdout = io.StringIO()
        with contextlib.redirect_stdout(stdout):
            with self.args.exman:
                kept = sys.stdout
            print("after", file=kept)
        self.assertEqual((stdout.getvalue(), self.read()), ("after\n", ""))

    def test_a_stdout_closed_inside_is_closed_as_without_exman(self):
        for close in (lambda: sys.stdout.close(), lambda: sys.stdout.__enter__().__exit__(None, None, None)):
            stdout = io.StringIO()
            with contextlib.redirect_stdout(stdout):
                with self.args.exman:
                    close()
                    with self.assertRaises(ValueError):
                        print("no")
                self.assertIs(sys.stdout, stdout)
            self.assertTrue(stdout.closed)

    @unittest.skipUnless(os.name == "posix", "closes file descriptors")
    def test_without_a_stdout_the_log_is_still_written(self):
        self.script("""
            import exman
            args = exman.ExParser(root="exman").parse_args()
            with args.exman:
                print("heard", flush=True)
            print("unheard")
        """)
        subprocess.run(["sh", "-c", '"$0" main.py >&- 2>&-', sys.executable], check=True,
                       env=dict(os.environ, PYTHONPATH=str(HERE)))
        self.log = self.root / "runs" / self.runs()[-1] / "log.txt"
        self.assertEqual(self.read(), "heard\n")

    @unittest.skipUnless(os.path.exists("/dev/full"), "needs /dev/full")
    def test_a_full_disk_ends_the_log_not_the_experiment(self):
        self.log.symlink_to("/dev/full")
        stdout, stderr = io.StringIO(), io.StringIO()
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), self.args.exman:
                print("one")
                print("two")
        self.assertEqual(stdout.getvalue(), "one\ntwo\n")
        self.assertEqual(stderr.getvalue(), "exman: the log ends here: No space left on device: free some space there\n")

    @unittest.skipUnless(os.name == "posix", "needs modes")
    def test_shared_makes_it_and_the_traceback_writable_by_the_group(self):
        umask = os.umask(0o077)
        try:
            args = self.parse(self.parser(shared=True))
            with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(ValueError), args.exman:
                raise ValueError
        finally:
            self.assertEqual(os.umask(umask), 0o077)
        for name in ("log.txt", "traceback.txt", "params.yaml"):
            self.assertEqual((args.root / name).stat().st_mode & 0o777, 0o660, name)
        self.assertEqual((self.root / "fails").stat().st_mode & 0o777, 0o770)
        self.log = args.root / "log.txt"

    @unittest.skipUnless(os.name == "posix", "kills")
    def test_a_killed_run_keeps_its_place_and_its_lines(self):
        self.script("""
            import os, signal
            import exman
            args = exman.ExParser(root="exman").parse_args()
            with args.exman:
                print("epoch 1")
                os.kill(os.getpid(), signal.SIGKILL)
        """)
        self.python("main.py", status=-9)
        self.log = self.root / "runs" / self.runs()[-1] / "log.txt"
        self.assertEqual(self.read(), "epoch 1\n")
        self.assertEqual(len(self.runs("index")), 2)


# ---------------------------------------------------------------------------------------------------------------------
# The parser, the config, the record
# ---------------------------------------------------------------------------------------------------------------------

class Color(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Joined(argparse.Action):
    """An action of a script's own: key=value words become one dict."""

    def __call__(self, parser, namespace, values, option_string=None):
        pairs = dict(getattr(namespace, self.dest) or {})
        pairs.update(word.split("=") for word in values)
        setattr(namespace, self.dest, pairs)


# What a shell can pass, and YAML could take for something else.
STRINGS = ["", " ", "1", "null", "yes", "no", "1e3", "2018-07-01", "it's", '"q"', "a\nb", "# c", "a: b", "\U0001f600", "caf\udcff",
           "[1, 2]", "{a: 1}", "~", "-", "&a", "*a", "!t", "|", "<<", "\x85", "\u2028", "\ufeff", "\r\n", "\t", "a,b", "1:30", ".inf"]

# name: (type, texts)
TYPES = {
    "int": (int, ["1", "-1", "007", "99999999999999999999"]),
    "float": (float, ["1", "1e3", "-0.0", "inf", "-inf", "nan", "1e-400"]),
    "bool": (bool, ["yes", "False", "0"]),
    "path": (pathlib.Path, ["a/b", "./a//b", ".", "caf\udcff"]),
    "enum": (Color, ["red", "blue"]),
    "enum by name": (lambda text: Color[text], ["RED"]),
    "date": (lambda text: datetime.datetime.strptime(text, "%Y-%m-%d").date(), ["2018-07-01"]),
    "decimal": (decimal.Decimal, ["0.10", "1E+3"]),
    "fraction": (fractions.Fraction, ["1/3", "2"]),
    "complex": (complex, ["1+2j", "3"]),
    "uuid": (uuid.UUID, ["{12345678-1234-5678-1234-567812345678}"]),
    "pattern": (re.compile, ["a.*b", "[x]", ""]),
    "json": (json.loads, ["1", "[1, 2]", '{"a": [1, "x"]}', "null", '"s"', "1.50", '"1"']),
    "comma list": (lambda text: [int(part) for part in text.split(",")], ["1,2", "3"]),
    "comma tuple": (lambda text: tuple(text.split(",")), ["a,b", ""]),
    "not idempotent number": (lambda text: float(text) * 1e-3, ["1", "2.5"]),
    "not idempotent text": (lambda text: text + "!", STRINGS),
    "lower case": (str.lower, ["ABC", "Null"]),
    "partial": (functools.partial(int, base=16), ["ff", "10"]),
    "optional": (exman.optional(int), ["none", "NULL", "3"]),
    "bytes": (str.encode, ["a", ""]),
    "none of a text": (lambda text: None if text == "x" else text, ["x", "null"]),
    "str": (str, STRINGS),
    "none": (None, STRINGS),
}


def typed(value):
    """The value with the types of its parts, for an exact comparison; a nan equals itself."""
    if isinstance(value, (list, tuple)):
        return type(value), [typed(item) for item in value]
    if isinstance(value, dict):
        return type(value), [(key, typed(item)) for key, item in value.items()]
    return type(value), repr(value) if isinstance(value, (float, complex)) else value


class NamespaceTest(Case):
    def args(self):
        parser = self.parser()
        parser.add_argument("--lr", type=float, default=0.1)
        return self.parse(parser)

    def test_vars_holds_parameters_alone(self):
        self.assertEqual(vars(self.args()), {"lr": 0.1})

    def test_equals_the_plain_namespace(self):
        self.assertEqual(self.args(), argparse.Namespace(lr=0.1))

    def test_repr_is_that_of_argparse(self):
        self.assertEqual(repr(self.args()), "Namespace(lr=0.1)")

    def test_root_is_the_runs_folder(self):
        args = self.args()
        self.assertEqual(args.root, self.root / "runs" / args.exman.name)

    def test_pickles_with_its_run_by_every_protocol(self):
        args = self.args()
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with self.subTest(protocol=protocol):
                again = pickle.loads(pickle.dumps(args, protocol))
                self.assertEqual((again, again.root), (args, args.root))

    def test_a_copy_has_parameters_of_its_own_and_the_same_run(self):
        args = self.args()
        for how in (copy.copy, copy.deepcopy):
            with self.subTest(how.__name__):
                again = how(args)
                again.lr = 1.0
                self.assertEqual((args.lr, again.root), (0.1, args.root))

    def test_attributes_can_be_added(self):
        args = self.args()
        args.device = "cuda"
        self.assertEqual(vars(args), {"lr": 0.1, "device": "cuda"})

    def test_a_missing_attribute_is_an_attribute_error(self):
        with self.assertRaisesRegex(AttributeError, "no attribute 'nothing'"):
            self.args().nothing

    def test_names_of_exman_belong_to_the_script_where_it_uses_them(self):
        parser = self.parser()
        for name in ("root", "time", "id"):
            parser.add_argument(f"--{name}", default=name)
        args = self.parse(parser)
        self.assertEqual(vars(args), {"root": "root", "time": "time", "id": "id"})
        self.assertEqual(exman.load_yaml((args.exman.root / "params.yaml").read_text())["root_"], "root")
        self.assertEqual(args.exman.root.name, args.exman.name)

    def test_the_callers_own_namespace_object_is_filled(self):
        class Mine:
            pass
        mine = Mine()
        parser = self.parser()
        parser.add_argument("--lr", type=float, default=0.1)
        with contextlib.redirect_stderr(io.StringIO()):
            self.assertIs(parser.parse_args([], namespace=mine), mine)
        self.assertEqual((vars(mine), len(self.runs())), ({"lr": 0.1}, 1))


class ParserTest(Case):
    def test_each_method_makes_one_run(self):
        for count, method in enumerate(("parse_args", "parse_known_args", "parse_intermixed_args", "parse_known_intermixed_args"), 1):
            with self.subTest(method):
                self.parse(self.parser(), method=method)
                self.assertEqual(len(self.runs()), count)

    def test_a_subcommand_makes_one_run(self):
        parser = self.parser()
        parser.add_subparsers(dest="command").add_parser("train").add_argument("--lr", type=float)
        self.assertEqual(self.params(self.parse(parser, "train", "--lr", "1"))["lr"], 1.0)
        self.assertEqual(len(self.runs()), 1)

    def test_a_refused_line_and_help_make_nothing(self):
        parser = self.parser()
        self.refuse(parser, "--nothing")
        with self.assertRaises(SystemExit), contextlib.redirect_stdout(io.StringIO()):
            self.parse(parser, "--help")
        self.assertFalse(self.root.exists())

    def test_errors_are_those_of_argparse(self):
        cases = {"unknown": ["--nothing"], "type": ["--lr", "x"], "missing": ["--lr"], "choice": ["--kind", "c"], "ambiguous": ["--k", "1"],
                 "conflict": ["--a", "--b"]}
        for name, argv in cases.items():
            with self.subTest(name):
                lines = []
                for kind in (exman.ExParser, argparse.ArgumentParser):
                    parser = kind(prog="main.py")
                    parser.add_argument("--lr", type=float)
                    parser.add_argument("--kind", choices=["a", "b"])
                    parser.add_argument("--kin2")
                    group = parser.add_mutually_exclusive_group()
                    group.add_argument("--a", action="store_true")
                    group.add_argument("--b", action="store_true")
                    lines.append(self.refuse(parser, *argv))
                self.assertEqual(lines[0], lines[1])

    def test_help_lists_exmans_options_in_a_group(self):
        self.assertIn("\nexman:\n  --config RUN", self.parser().format_help())

    def test_a_script_keeps_options_named_like_exmans(self):
        parser = self.parser()
        for name in ("config", "tmp", "name"):
            parser.add_argument(f"--{name}")
        args = self.parse(parser, "--config", "c", "--tmp", "t", "--name", "n", "--exman-name", "mine")
        self.assertEqual(vars(args), {"config": "c", "tmp": "t", "name": "n"})
        self.assertTrue(args.exman.name.endswith("-mine"))

    def test_an_abbreviation_of_the_scripts_beats_exmans_option(self):
        parser = self.parser()
        parser.add_argument("--config-file")
        self.assertEqual(self.parse(parser, "--config", "a.cfg").config_file, "a.cfg")

    def test_exmans_options_are_not_abbreviated(self):
        self.assertIn("unrecognized arguments: --conf", self.refuse(self.parser(), "--conf", "x"))

    def test_a_remainder_keeps_words_that_look_like_exmans(self):
        parser = self.parser()
        parser.add_argument("script")
        parser.add_argument("rest", nargs=argparse.REMAINDER)
        args = self.parse(parser, "child.py", "--tmp", "--name", "x")
        self.assertEqual((args.rest, args.exman.tmp), (["--tmp", "--name", "x"], False))

    def test_other_prefix_characters(self):
        parser = self.parser(prefix_chars="+")
        parser.add_argument("++lr", type=float)
        args = self.parse(parser, "++lr", "1", "++tmp")
        self.assertEqual((args.lr, args.exman.tmp), (1.0, True))
        self.assertEqual(self.parse(parser, "++config", args.exman.name), args)

    def test_words_from_a_file(self):
        pathlib.Path("words").write_text("--lr\n0.5\n")
        parser = self.parser(fromfile_prefix_chars="@")
        parser.add_argument("--lr", type=float)
        self.assertEqual(self.parse(parser, "@words").lr, 0.5)

    def test_bool_reads_words(self):
        parser = self.parser()
        parser.add_argument("--flag", type=bool)
        for word, value in {"true": True, "T": True, "yes": True, "On": True, "1": True, "False": False, "n": False, "OFF": False, "0": False}.items():
            with self.subTest(word):
                self.assertIs(self.parse(parser, "--flag", word).flag, value)
        self.assertIn("invalid", self.refuse(parser, "--flag", "maybe"))

    def test_setters_come_before_validators_and_are_recorded(self):
        parser = self.parser()
        parser.add_argument("--n", type=int, default=1)
        parser.register_setter(lambda args: setattr(args, "n", args.n + 1))
        parser.register_validator(lambda args: args.n < 5, "{n} is too much")
        args = self.parse(parser)
        self.assertEqual(self.params(args)["n"], 2)
        self.assertEqual(self.parse(parser, "--config", "1"), args)
        self.assertEqual(self.refuse(parser, "--n", "4"), "main.py: error: 5 is too much")

    def test_a_validators_own_words(self):
        def check(args):
            raise exman.ArgumentError(None, "never on a Friday")
        parser = self.parser()
        parser.register_validator(check)
        self.assertEqual(self.refuse(parser), "main.py: error: never on a Friday")

    @unittest.skipIf(sys.version_info < (3, 9), "exit_on_error is of CPython 3.9")
    def test_exit_on_error_false_raises(self):
        with self.assertRaisesRegex(exman.ArgumentError, "no run of this number"):
            self.parse(self.parser(exit_on_error=False), "--config", "7")

    def test_parsing_twice_leaks_nothing(self):
        parser = self.parser()
        parser.add_argument("--sizes", type=int, nargs="+", default=[1])
        parser.add_argument("--v", action="count", default=0)
        first = self.parse(parser, "--sizes", "3", "4", "--v")
        self.parse(parser, "--config", "1")
        self.assertEqual(vars(self.parse(parser)), {"sizes": [1], "v": 0})
        self.assertEqual(vars(first), {"sizes": [3, 4], "v": 1})

    def test_threads_parse_with_one_parser_at_once(self):
        parser = self.parser()
        parser.add_argument("--n", type=int)
        found = {}

        def work(number):
            found[number] = parser.parse_args(["--n", str(number)])
        with contextlib.redirect_stderr(io.StringIO()):
            threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual({number: self.params(args)["n"] for number, args in found.items()}, {number: number for number in range(16)})

    def test_mark_is_the_scripts_word_where_it_takes_it(self):
        parser = self.parser()
        parser.add_argument("action", choices=["train", "mark"])
        self.assertEqual(self.parse(parser, "mark").action, "mark")


class ConfigTest(Case):
    def again(self, make, *argv):
        """Parse argv, then its run by --config; both namespaces and the first one's parameters."""
        first = self.parse(make(), *argv)
        self.assertNotIn("cannot be restored", self.stderr)
        return first, self.parse(make(), "--config", str(first.root))

    def assert_runs_again(self, make, *argv):
        first, second = self.again(make, *argv)
        self.assertEqual({key: typed(value) for key, value in vars(first).items()}, {key: typed(value) for key, value in vars(second).items()})

    def test_runs_again_with_every_type(self):
        for name, (kind, texts) in TYPES.items():
            for text in texts:
                def make(kind=kind):
                    parser = self.parser()
                    parser.add_argument("--x", type=kind)
                    return parser
                with self.subTest(name, text=text):
                    self.assert_runs_again(make, f"--x={text}")

    def test_runs_again_with_lists_of_every_type(self):
        forms = {"nargs": {"nargs": "+"}, "append": {"action": "append"}, "extend": {"action": "extend", "nargs": 1},
                 "append lists": {"action": "append", "nargs": "*"}}
        for name, (kind, texts) in TYPES.items():
            for form, kwargs in forms.items():
                def make(kind=kind, kwargs=kwargs):
                    parser = self.parser()
                    parser.add_argument("--x", type=kind, **kwargs)
                    return parser
                with self.subTest(name, form=form):
                    self.assert_runs_again(make, *(f"--x={text}" for text in texts[:6]))

    def test_runs_again_with_every_default(self):
        defaults = {"text through the type": (pathlib.Path, "a//b"), "converted once more": (lambda text: text + "!", "x"),
                    "path": (pathlib.Path, pathlib.Path("a")), "enum": (Color, Color.RED), "tuple": (float, (0.9, 0.99)), "list": (int, [1, 2]),
                    "function": (None, len), "inf": (float, float("inf")), "text of a number": (int, "0"), "None": (int, None)}
        for name, (kind, default) in defaults.items():
            def make(kind=kind, default=default):
                parser = self.parser()
                parser.add_argument("--x", type=kind, default=default)
                return parser
            with self.subTest(name):
                self.assert_runs_again(make)

    def test_runs_again_with_every_action(self):
        thing = object()
        cases = {
            "store_const": ([dict(action="store_const", const=5)], ["--x0"]),
            "a const that is not plain": ([dict(action="store_const", const=thing)], ["--x0"]),
            "consts of one dest": ([dict(action="store_const", const=len, dest="f"), dict(action="store_const", const=max, dest="f")], ["--x1"]),
            "string const, default kept": ([dict(action="store_const", const="c", default="z")], []),
            "store_true": ([dict(action="store_true")], ["--x0"]),
            "store_false": ([dict(action="store_false")], ["--x0"]),
            "count": ([dict(action="count", default=1)], ["--x0", "--x0"]),
            "count without default": ([dict(action="count", default=argparse.SUPPRESS)], ["--x0"]),
            "append_const": ([dict(action="append_const", const=1, dest="f"), dict(action="append_const", const=thing, dest="f")],
                             ["--x0", "--x1", "--x0"]),
            "append to a default": ([dict(action="append", type=float, default=[0.5])], ["--x0=1"]),
            "append to a default that is not plain": ([dict(action="append", type=Color, default=[Color.RED])], ["--x0=blue"]),
            "extend by two": ([dict(action="extend", nargs=2)], ["--x0", "a", "b", "--x0", "c", "d"]),
            "optional const": ([dict(nargs="?", const=thing)], ["--x0"]),
            "optional value": ([dict(nargs="?", const=1, type=int)], ["--x0", "3"]),
            "no value of many": ([dict(nargs="*")], ["--x0"]),
            "own action": ([dict(action=Joined, nargs="+")], ["--x0", "a=1", "--x0", "b=2", "c=3"]),
            "typed like the default, own action": ([dict(action=Joined, nargs="+", default=None)], ["--x0", "a=1"]),
        }
        if sys.version_info >= (3, 9):
            cases["negated"] = ([dict(action=argparse.BooleanOptionalAction, default=True)], ["--no-x0"])
        for name, (options, argv) in cases.items():
            def make(options=options):
                parser = self.parser()
                for number, kwargs in enumerate(options):
                    parser.add_argument(f"--x{number}", **kwargs)
                return parser
            with self.subTest(name):
                self.assert_runs_again(make, *argv)

    def test_runs_again_with_every_positional(self):
        cases = {"one": (None, ["a"]), "two": (2, ["a", "b"]), "optional": ("?", ["a"]), "optional left out": ("?", []), "many": ("*", ["a", "b"]),
                 "none of many": ("*", []), "some": ("+", ["a"]), "rest": ("...", ["a", "--b", "--", "c"])}
        for name, (nargs, argv) in cases.items():
            def make(nargs=nargs):
                parser = self.parser()
                parser.add_argument("x", nargs=nargs, type=pathlib.Path)
                return parser
            with self.subTest(name):
                self.assert_runs_again(make, *argv)

    def test_a_default_of_many_positionals_is_not_converted(self):
        def make():
            parser = self.parser()
            parser.add_argument("x", nargs="*", type=int, default="1")
            return parser
        self.assert_runs_again(make)

    def subcommands(self):
        parser = self.parser()
        parser.add_argument("--seed", type=int, default=0)
        commands = parser.add_subparsers(dest="command")
        commands.required = True
        train = commands.add_parser("train")
        train.add_argument("--lr", type=float, required=True)
        train.set_defaults(func=len)
        commands.add_parser("test").add_argument("--split", default="val")
        return parser

    def test_runs_a_subcommand_again(self):
        self.assert_runs_again(self.subcommands, "--seed", "3", "train", "--lr", "0.5")

    def test_another_subcommand_drops_the_files_parameters(self):
        self.parse(self.subcommands(), "--seed", "3", "train", "--lr", "0.5")
        self.assertEqual(vars(self.parse(self.subcommands(), "--config", "1", "test")), {"seed": 3, "command": "test", "split": "val"})

    def test_the_same_subcommand_keeps_them(self):
        self.parse(self.subcommands(), "train", "--lr", "0.5")
        self.assertEqual(self.parse(self.subcommands(), "--config", "1", "--seed", "4", "train").lr, 0.5)

    def test_a_subcommands_option_hides_the_parsers_own_of_that_name(self):
        def make():
            parser = self.parser()
            parser.add_argument("--out", type=pathlib.Path, nargs=2)
            parser.add_subparsers(dest="command").add_parser("train").add_argument("--out", action="count")
            return parser
        self.assert_runs_again(make, "--out", "a", "b", "train", "--out")

    def overriding(self):
        parser = self.parser()
        parser.add_argument("data")
        parser.add_argument("--sizes", type=int, nargs="+")
        parser.add_argument("--tag", action="append")
        parser.add_argument("--v", action="count", default=0)
        group = parser.add_mutually_exclusive_group(required=True)
        group.add_argument("--fast", action="store_true")
        group.add_argument("--steps", type=int)
        parser.add_argument("--seed", type=int, volatile=True)
        return parser

    def test_the_command_line_acts_as_if_the_file_had_not_named_it(self):
        self.parse(self.overriding(), "d", "--sizes", "1", "2", "--tag", "a", "--v", "--v", "--steps", "5", "--seed", "9")
        kept = {"data": "d", "sizes": [1, 2], "tag": ["a"], "v": 2, "fast": False, "steps": 5, "seed": None}
        cases = {"nothing": ([], {}), "list": (["--sizes", "3"], {"sizes": [3]}), "append": (["--tag", "b"], {"tag": ["b"]}), "count": (["--v"], {"v": 1}),
                 "positional": (["e"], {"data": "e"}), "exclusive group": (["--fast"], {"fast": True, "steps": None})}
        for name, (argv, changed) in cases.items():
            with self.subTest(name):
                self.assertEqual(vars(self.parse(self.overriding(), "--config", "1", *argv)), {**kept, **changed})

    def test_a_value_stays_when_the_scripts_default_changes(self):
        def make(default):
            parser = self.parser()
            parser.add_argument("--lr", type=float, default=default)
            return parser
        self.parse(make(0.1))
        self.assertEqual(self.parse(make(0.2), "--config", "1").lr, 0.1)

    def test_a_file_written_by_hand(self):
        cases = {"number as text": ("lr: 1e-3", {"lr": 0.001}), "word as text": ("country: no", {"country": "no"}), "flag": ("fast: yes", {"fast": True}),
                 "list": ("sizes: [3, 4]", {"sizes": [3, 4]}), "block list": ("sizes:\n- 3\n", {"sizes": [3]}), "null": ("lr: null", {"lr": None}),
                 "name with -": ("batch-size: 3", {"batch_size": 3}), "name with _": ("batch_size: 3", {"batch_size": 3}),
                 "negative flag": ("no-cuda: true", {"cuda": False}), "infinity": ("lr: .inf", {"lr": float("inf")})}
        for name, (text, changed) in cases.items():
            with self.subTest(name):
                parser = self.parser()
                parser.add_argument("--lr", type=float, default=0.1)
                parser.add_argument("--country")
                parser.add_argument("--fast", action="store_true")
                parser.add_argument("--sizes", type=int, nargs="+")
                parser.add_argument("--batch-size", type=int)
                parser.add_argument("--no-cuda", dest="cuda", action="store_false")
                pathlib.Path("mine.yaml").write_text(text + "\n")
                plain = {"lr": 0.1, "country": None, "fast": False, "sizes": None, "batch_size": None, "cuda": True}
                self.assertEqual(vars(self.parse(parser, "--config", "mine.yaml")), {**plain, **changed})

    def test_what_is_wrong_with_a_file_is_a_usage_error(self):
        cases = {"unknown key": ("lr: 1\nstepz: 2\n", "mine.yaml, line 2: unknown key 'stepz': did you mean 'steps'?"),
                 "type": ("lr: fast\n", "mine.yaml, line 1: argument --lr: invalid float value: 'fast'"),
                 "no yaml": ("lr: [1\n", "mine.yaml: line "), "list for one": ("lr: [1, 2]\n", "mine.yaml, line 1: argument --lr: expected one argument")}
        for name, (text, message) in cases.items():
            with self.subTest(name):
                parser = self.parser()
                parser.add_argument("--lr", type=float)
                parser.add_argument("--steps", type=int)
                pathlib.Path("mine.yaml").write_text(text)
                self.assertIn(f"main.py: error: {message}", self.refuse(parser, "--config", "mine.yaml"))

    def test_a_config_that_is_not_there_is_a_usage_error(self):
        pathlib.Path("empty").mkdir()
        for word, message in {"nowhere.yaml": "nowhere.yaml", "empty": "folder without params.yaml", "7": "no run of this number"}.items():
            with self.subTest(word):
                self.assertIn(message, self.refuse(self.parser(), "--config", word))

    def test_the_order_of_files(self):
        pathlib.Path("default.yaml").write_text("a: 1\nb: 1\nc: 1\n")
        pathlib.Path("mine.yaml").write_text("b: 2\nc: 2\n")
        parser = self.parser(default_config_files=["default.yaml", "missing.yaml"])
        for name in "abcd":
            parser.add_argument(f"--{name}", type=int, default=0)
        args = self.parse(parser, "--config", "mine.yaml", "--c", "3")
        self.assertEqual(vars(args), {"a": 1, "b": 2, "c": 3, "d": 0})

    def exclusive(self, **kwargs):
        parser = self.parser(**kwargs)
        group = parser.add_mutually_exclusive_group(required=True)
        group.add_argument("--a", type=float, default=0.5)
        group.add_argument("--b", type=int, default=0)
        return parser

    def test_a_default_file_steps_back_for_the_configs_member_of_a_group(self):
        pathlib.Path("default.yaml").write_text("a: 1\n")
        pathlib.Path("mine.yaml").write_text("b: 2\n")
        parser = self.exclusive(default_config_files=["default.yaml"])
        self.assertEqual(vars(self.parse(parser, "--config", "mine.yaml")), {"a": 0.5, "b": 2})

    def test_a_file_satisfies_a_required_group_also_by_a_default_value(self):
        self.parse(self.exclusive(), "--a", "0.5")
        self.assertEqual(vars(self.parse(self.exclusive(), "--config", "1")), {"a": 0.5, "b": 0})

    def test_two_members_of_a_group_in_a_file_written_by_hand_are_refused(self):
        pathlib.Path("mine.yaml").write_text("a: 1\nb: 2\n")
        self.assertIn("line 2: 'b' is not allowed with 'a'", self.refuse(self.exclusive(), "--config", "mine.yaml"))

    def test_an_appended_list_stays_when_the_scripts_default_changes(self):
        def make(default):
            parser = self.parser()
            parser.add_argument("--x", action="append", type=int, default=default)
            return parser
        self.parse(make([1]), "--x", "2")
        self.assertEqual(self.parse(make([9]), "--config", "1").x, [1, 2])

    def test_volatile_in_groups_and_subcommands_is_recorded_and_not_restored(self):
        def make():
            parser = self.parser()
            parser.add_argument_group("g").add_argument("--a", volatile=True)
            parser.add_mutually_exclusive_group().add_argument("--b", volatile=True)
            parser.add_subparsers(dest="command").add_parser("run").add_argument("--c", volatile=True)
            return parser
        first = self.parse(make(), "--a", "1", "--b", "2", "run", "--c", "3")
        self.assertEqual({key: self.params(first)[key] for key in "abc"}, {"a": "1", "b": "2", "c": "3"})
        self.assertEqual(vars(self.parse(make(), "--config", "1")), {"a": None, "b": None, "command": "run", "c": None})


    def test_an_option_that_shares_the_dest_of_a_subcommand(self):
        def make(first):
            parser = self.parser()
            if first == "option":
                parser.add_argument("--cmd", default="train")
            commands = parser.add_subparsers(dest="cmd")
            if first == "command":
                parser.add_argument("--cmd", choices={"x": 1, "train": 2}, default="x")
            commands.add_parser("train").add_argument("--data", type=pathlib.Path)
            return parser
        for number, first in enumerate(("option", "command"), 1):
            run = self.parse(make(first), "train", "--data", "/x")
            self.assertEqual(self.params(run)["data"], "/x")
            self.assertEqual(self.parse(make(first), "--config", str(2 * number - 1)).data, pathlib.Path("/x"))
        self.assertEqual(self.parse(make("command"), "--cmd", "x", "train").cmd, "train")


class RecordTest(Case):
    def test_holds_the_value_where_it_reads_back_and_else_the_text(self):
        cases = {"float": (float, "1e-3", 0.001), "json": (json.loads, "[1, 2]", [1, 2]), "path": (pathlib.Path, "a//b", "a//b"),
                 "not idempotent": (lambda text: float(text) * 1e-3, "1", "1"), "lower": (str.lower, "ABC", "abc"), "infinity": (float, "inf", float("inf"))}
        for name, (kind, text, held) in cases.items():
            with self.subTest(name):
                parser = self.parser()
                parser.add_argument("--x", type=kind)
                self.assertEqual(typed(self.params(self.parse(parser, "--x", text))["x"]), typed(held))

    def test_a_default_that_no_text_makes_is_a_comment(self):
        parser = self.parser()
        parser.add_argument("--betas", type=float, nargs=2, default=(0.9, 0.99))
        args = self.parse(parser)
        self.assertNotIn("betas", self.params(args))
        self.assertIn("# betas: (0.9, 0.99)\n", (args.root / "params.yaml").read_text())

    def test_parameters_stand_in_the_order_of_the_options(self):
        parser = self.parser()
        for name in "zab":
            parser.add_argument(f"--{name}")
        self.assertEqual(list(self.params(self.parse(parser, "--a", "1"))), ["z", "a", "b", "root", "time", "id"])

    def test_what_cannot_be_restored_is_said(self):
        parser = self.parser()
        parser.add_argument("--x")
        parser.register_setter(lambda args: setattr(args, "x", object()))
        self.parse(parser)
        self.assertIn("--x cannot be restored by --config", self.stderr)

    def test_a_file_type_is_called_once(self):
        calls = []

        class Opener(argparse.FileType):
            def __call__(self, text):
                calls.append(text)
                return text
        parser = self.parser()
        parser.add_argument("--x", type=Opener("w"))
        self.parse(parser, "--x", "out.txt")
        self.assertEqual(calls, ["out.txt"])

    def words(self, args):
        """The words that the file says the run was launched by."""
        line = next(line for line in (args.root / "params.yaml").read_text(encoding="utf-8").split("\n") if line.startswith("# argv: "))
        words = [exman._text(word) for word in exman.load_yaml("argv: " + line[8:] + "\n")["argv"]]
        return words[len(exman._script()):]

    def test_the_words_of_a_run_made_from_a_file_make_an_equal_run(self):
        cases = {"options": ["--lr", "1e-3", "d"], "lists": ["d", "--sizes", "1", "-2"], "appended": ["--tag=-x", "--tag=b", "d"], "count": ["-vv", "d"],
                 "dashed positional": ["--", "-d"], "sub": ["d", "--null", "none"], "undecodable": ["caf\udcff"]}
        for name, argv in cases.items():
            def make():
                parser = self.parser()
                parser.add_argument("data")
                parser.add_argument("--lr", type=float, default=0.1)
                parser.add_argument("--sizes", type=int, nargs="+")
                parser.add_argument("--tag", action="append", default=["z"])
                parser.add_argument("-v", action="count", default=0)
                parser.add_argument("--null", type=exman.optional(int), default=3)
                return parser
            with self.subTest(name):
                first = self.parse(make(), *argv)
                self.assertEqual(self.words(first), argv)
                again = self.parse(make(), "--config", str(first.root))
                self.assertEqual(self.parse(make(), *self.words(again)), first)


class ScriptsTest(Case):
    """Definitions as research scripts have them: as with argparse, one run each, and again from its file."""

    def assert_drop_in(self, define, *argv, **kwargs):
        plain = argparse.ArgumentParser(prog="main.py", **kwargs)
        define(plain)
        make = lambda: (lambda parser: define(parser) or parser)(self.parser(**kwargs))     # noqa: E731
        expected = vars(plain.parse_args(list(argv)))
        before = len(self.runs())
        args = self.parse(make(), *argv)
        self.assertEqual(vars(args), expected)
        self.assertEqual(list(vars(args)), list(expected))
        self.assertEqual(len(self.runs()), before + 1)
        self.assertEqual(self.parse(make(), "--exman-config", str(args.exman.root)), args)

    def test_imagenet(self):
        def define(parser):
            parser.add_argument("data", metavar="DIR", nargs="?", default="imagenet")
            parser.add_argument("-a", "--arch", default="resnet18", choices=["resnet18", "vgg16"])
            parser.add_argument("-j", "--workers", default=4, type=int)
            parser.add_argument("--lr", "--learning-rate", default=0.1, type=float, dest="lr")
            parser.add_argument("--wd", "--weight-decay", default=1e-4, type=float, dest="weight_decay")
            parser.add_argument("-e", "--evaluate", dest="evaluate", action="store_true")
            parser.add_argument("--gpu", default=None, type=int)
        self.assert_drop_in(define, "-a", "vgg16", "--learning-rate", "1e-3", "-e", "/data")

    def test_detr(self):
        def get_args_parser():
            parser = argparse.ArgumentParser("Set transformer detector", add_help=False)
            parser.add_argument("--lr_backbone", default=1e-5, type=float)
            parser.add_argument("--frozen_weights", type=str, default=None)
            parser.add_argument("--no_aux_loss", dest="aux_loss", action="store_false")
            return parser
        self.assert_drop_in(lambda parser: None, "--lr_backbone", "1e-6", "--no_aux_loss", parents=[get_args_parser()])

    def test_yolo(self):
        def define(parser):
            parser.add_argument("--imgsz", "--img", "--img-size", type=int, default=640)
            parser.add_argument("--resume", nargs="?", const=True, default=False)
            parser.add_argument("--freeze", nargs="+", type=int, default=[0])
            parser.add_argument("--evolve", type=int, nargs="?", const=300)
            parser.add_argument("--name", default="exp")
        self.assert_drop_in(define, "--img", "320", "--resume", "--freeze", "1", "2", "--name", "mine", "--evolve")

    def test_cleanrl(self):
        def define(parser):
            parser.add_argument("--torch-deterministic", type=lambda x: x.lower() in ("true", "1"), default=True, nargs="?", const=True)
            parser.add_argument("--learning-rate", type=float, default=2.5e-4)
            parser.add_argument("--target-kl", type=float, default=None)
        self.assert_drop_in(define, "--torch-deterministic", "False", "--target-kl", "0.1")

    def test_timm_in_two_stages(self):
        pathlib.Path("timm.yaml").write_text("lr: 0.5\n")
        first = argparse.ArgumentParser(add_help=False)
        first.add_argument("-c", "--config", default="")
        parser = self.parser()
        parser.add_argument("--lr", type=float, default=0.1)
        known, rest = first.parse_known_args(["--config", "timm.yaml", "--lr", "0.7"])
        parser.set_defaults(**exman.load_yaml(pathlib.Path(known.config).read_text()))
        self.assertEqual((self.parse(parser, *rest).lr, self.parse(parser).lr, len(self.runs())), (0.7, 0.5, 2))

    def test_pix2pix_parses_known_words_again_and_again(self):
        parser = self.parser()
        parser.add_argument("--model", default="cycle")
        _, rest = self.parse(parser, "--model", "pix", "--gan", "l1", method="parse_known_args")
        self.assertEqual(rest, ["--gan", "l1"])
        parser.add_argument("--gan")
        parser.set_defaults(model="other")
        self.assertEqual(vars(self.parse(parser, *rest)), {"model": "other", "gan": "l1"})
        self.assertEqual(len(self.runs()), 2)

    def test_a_tool_with_functions_for_subcommands(self):
        def define(parser):
            commands = parser.add_subparsers(dest="command")
            for name, function in (("train", len), ("test", max)):
                sub = commands.add_parser(name)
                sub.add_argument("--n", type=int, default=1)
                sub.set_defaults(func=function)
        self.assert_drop_in(define, "test", "--n", "2")

    def test_options_without_defaults(self):
        def define(parser):
            parser.add_argument("--lr", type=float)
            parser.add_argument("--steps", type=int)
        self.assert_drop_in(define, "--steps", "3", argument_default=argparse.SUPPRESS)


class FilesAndSettersTest(Case):
    """What a file says by the name of an option, and what setters and validators change."""

    def config(self, text):
        path = self.folder / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    def switches(self):
        parser = self.parser()
        parser.add_argument("--pin-mem", action="store_true", default=True)
        parser.add_argument("--no-cuda", dest="cuda", action="store_false")
        parser.add_argument("--adam", dest="opt", action="store_const", const="adam")
        return parser

    def test_a_flag_in_a_file_by_the_name_of_its_option(self):
        for text, value in (("pin-mem: false", (False, True, None)), ("pin_mem: no", (False, True, None)),
                            ("no-cuda: true", (True, False, None)), ("no-cuda: off", (True, True, None)),
                            ("cuda: false", (True, False, None)), ("adam: true", (True, True, "adam")),
                            ("adam: false", (True, True, None)), ("opt: adam", (True, True, "adam"))):
            with self.subTest(text):
                args = self.parse(self.switches(), "--config", self.config(text))
                self.assertEqual((args.pin_mem, args.cuda, args.opt), value)

    def test_a_flag_in_a_file_that_is_no_bool(self):
        self.assertIn("mine.yaml, line 1: argument --no-cuda: invalid bool value: 'maybe'",
                      self.refuse(self.switches(), "--config", self.config("no-cuda: maybe")))

    @unittest.skipIf(sys.version_info < (3, 9), "3.8 has no BooleanOptionalAction, and nothing to test")
    def test_a_switch_in_a_file_by_either_of_its_names(self):
        for text, value in (("use-amp: false", False), ("no-use-amp: true", False), ("use_amp: false", False), ("no-use-amp: no", True)):
            with self.subTest(text):
                parser = self.parser()
                parser.add_argument("--use-amp", action=argparse.BooleanOptionalAction, default=True)
                self.assertIs(self.parse(parser, "--config", self.config(text)).use_amp, value)

    def test_two_names_of_one_option_in_a_file(self):
        message = self.refuse(self.switches(), "--config", self.config("pin-mem: true\npin_mem: false"))
        self.assertIn("line 2: 'pin_mem' is 'pin_mem', which stands above", message)

    def test_a_file_of_comments_sets_nothing(self):
        for text in ("", "# later\n\n"):
            self.assertIs(self.parse(self.switches(), "--config", self.config(text)).pin_mem, True)

    def test_subparsers_of_the_scripts_own_class_run_again(self):
        class Own(argparse.ArgumentParser):
            pass

        def build():
            parser = self.parser()
            sub = parser.add_subparsers(dest="command", parser_class=Own).add_parser("train")
            sub.add_argument("--path", type=pathlib.Path, required=True)
            return parser, sub
        parser, sub = build()
        self.assertIsInstance(sub, Own)
        args = self.parse(parser, "train", "--path", "data")
        self.assertEqual(vars(self.parse(build()[0], "--config", str(args.root))), {"command": "train", "path": pathlib.Path("data")})

    def test_a_subcommand_deep_below_that_sets_a_dest_of_the_parser(self):
        def build():
            parser = self.parser()
            parser.add_argument("--x", type=float)
            one = parser.add_subparsers(dest="one").add_parser("a")
            two = one.add_subparsers(dest="two").add_parser("b")
            two.add_argument("--x", type=exman.optional(bool), default=True)
            return parser
        args = self.parse(build(), "--x", "2.5", "a", "b")
        self.assertIs(args.x, True)
        self.assertEqual(vars(self.parse(build(), "--config", str(args.root))), vars(args))

    def test_a_setter_on_what_is_not_plain_acts_once(self):
        def build():
            parser = self.parser()
            parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("o"))
            parser.register_setter(lambda args: setattr(args, "out", args.out / "sub"))
            return parser
        for argv in ([], ["--out", "p"]):
            args = self.parse(build(), *argv)
            self.assertEqual(self.parse(build(), "--config", str(args.root)), args)

    def test_a_setter_that_makes_a_list_longer_is_recorded(self):
        def build():
            parser = self.parser()
            parser.add_argument("--sizes", nargs="*", type=int)
            parser.register_setter(lambda args: setattr(args, "sizes", args.sizes * 2))
            return parser
        args = self.parse(build(), "--sizes", "3")
        self.assertEqual(self.params(args)["sizes"], [3, 3])
        self.assertEqual(self.parse(build(), "--config", str(args.root)).sizes, [3, 3])

    def test_a_dest_named_root_that_was_not_given_is_not_there(self):
        parser = self.parser(argument_default=argparse.SUPPRESS)
        parser.add_argument("--root")
        args = self.parse(parser)
        self.assertFalse(hasattr(args, "root") or hasattr(pickle.loads(pickle.dumps(args)), "root"))
        self.assertTrue(args.exman.root.is_dir())

    def test_a_validators_message_with_braces_of_its_own(self):
        parser = self.parser()
        parser.add_argument("--lr", type=float, default=1.0)
        parser.register_validator(lambda args: False, "lr {lr}: see {manual}")
        self.assertEqual(self.refuse(parser), "main.py: error: lr {lr}: see {manual}")

    def test_a_false_of_another_library_is_false(self):
        kind = type("bool_", (), {"__bool__": lambda self: False})
        parser = self.parser()
        parser.register_validator(lambda args: kind(), "no")
        self.assertEqual(self.refuse(parser), "main.py: error: no")

    def test_an_unrestored_option_is_named_as_it_was_typed(self):
        parser = self.parser()
        parser.add_argument("-a", dest="x", type=int)
        parser.add_argument("-b", dest="x")
        self.parse(parser, "-b", "1")
        self.assertIn("exman: -b cannot be restored by --config: '1'\n", self.stderr)

    def test_a_wait_that_is_no_number_is_the_default(self):
        self.script("import exman; exman.ExParser(root='exman').parse_args()")
        for wait in ("nan", "soon", "-1"):
            self.python("main.py", env={"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_NAMESPACE": wait, "EXMAN_WAIT": wait})
            done = self.python("main.py", env={"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "PMIX_NAMESPACE": wait, "EXMAN_WAIT": wait})
            self.assertEqual(done.stderr, "")
        self.assertEqual(len(self.runs()), 3)


# ---------------------------------------------------------------------------------------------------------------------
# The root folder
# ---------------------------------------------------------------------------------------------------------------------

class RootCase(Case):
    """A case that looks at a whole root."""

    def table(self, root=None, mark=None):
        """The rows of info() as dicts, and what it warns of."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            info = exman.Index(root or self.root).info(mark)
        rows = info if isinstance(info, list) else info.to_dict("records")
        return rows, [str(warning.message) for warning in caught if "left out" in str(warning.message)]

    def ids(self, root=None):
        """Every number in sight, over runs, tmp and fails."""
        root = root or self.root
        return sorted(int(p.name.partition("-")[0]) for part in ("runs", "tmp", "fails") if (root / part).is_dir()
                      for p in (root / part).iterdir() if p.name[0].isdigit())

    def make(self, *argv, root=None, **kwargs):
        """Make a run with the parameter lr."""
        parser = self.parser(root=root or self.root, **kwargs)
        parser.add_argument("--lr", type=float, default=0.1)
        return self.parse(parser, *argv)

    def shell(self, *argv, root=None):
        """Exit status and the two outputs of the command line."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = exman.main(["--root", str(root or self.root), *map(str, argv)])
            except SystemExit as error:
                status = error.code
        return status, out.getvalue(), err.getvalue()

    def old_run(self, number, text="lr: 0.5", part="runs", root=None):
        """A run as exman 0.1.9 left it."""
        name = f"{number:06d}-2019-01-02-03-04-05"
        folder = (root or self.root) / part / name
        folder.mkdir(parents=True)
        (folder / "params.yaml").write_text(f"{text}\nroot: {part}/{name}\ntime: '2019-01-02T03:04:05'\nid: {number}\n", encoding="utf-8")
        if part == "runs":
            link = (root or self.root) / "index" / f"{name}.yaml"
            link.parent.mkdir(exist_ok=True)
            link.symlink_to(os.path.join("..", "runs", name, "params.yaml"))
        return name

    def check_root(self, root, dangles=False):
        """Every run in sight is whole, every row of the table is a run, and the next run is made without repair."""
        for part in ("runs", "tmp", "fails"):
            for name in self.runs_of(root, part):
                text = (root / part / name / "params.yaml").read_text(encoding="utf-8")
                self.assertTrue(text.endswith(f"\nid: {int(name.partition('-')[0])}\n"), (part, name, text))
        rows, problems = self.table(root)
        self.assertEqual([line for line in problems if not (dangles and "its link dangles" in line)], [])
        self.assertLessEqual({row["root"].name for row in rows}, set(self.runs_of(root, "runs")))
        before = self.ids(root)
        args = self.make("--lr", "7", root=root)
        self.assertNotIn(args.exman.id, before)
        self.assertGreater(args.exman.id, max(before, default=0))
        self.assertEqual([row["id"] for row in self.table(root)[0]], [*(row["id"] for row in rows), args.exman.id])

    def runs_of(self, root, part):
        folder = root / part
        return sorted(p.name for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


class TestNumbers(RootCase):

    CROWD = """
        import os, sys, time
        import exman
        root, count, ready = sys.argv[1:4]
        parser = exman.ExParser(root=root)
        parser.add_argument("--n", type=int)
        open(os.path.join(ready, str(os.getpid())), "w").close()
        while not os.path.exists(os.path.join(ready, "go")):
            time.sleep(0.002)
        for n in range(int(count)):
            args = parser.parse_args(["--n", str(n), *(["--tmp"] if os.getpid() % 2 else [])])
            print(args.exman.id)
    """

    def crowd(self, processes, count):
        """The numbers that so many processes got, all started at one instant."""
        script, ready = self.script(self.CROWD), self.folder / "ready"
        ready.mkdir()
        env = dict(os.environ, PYTHONPATH=str(HERE))
        crowd = [subprocess.Popen([sys.executable, str(script), str(self.root), str(count), str(ready)], env=env, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, universal_newlines=True) for _ in range(processes)]
        while len(list(ready.iterdir())) < processes:
            time.sleep(0.01)
        (ready / "go").touch()
        outputs = [process.communicate(timeout=600)[0] for process in crowd]
        return sorted(int(line) for output in outputs for line in output.split())

    def test_a_crowd_on_a_root_that_does_not_exist_yet_counts_without_gaps(self):
        processes, count = (64, 20) if os.environ.get("EXMAN_FULL") else (16, 6)
        numbers = self.crowd(processes, count)
        self.assertEqual(numbers, list(range(1, processes * count + 1)))
        self.assertEqual(self.ids(), numbers)
        rows, problems = self.table()
        self.assertEqual(([row["id"] for row in rows], problems), ([int(name[:6]) for name in self.runs()], []))

    def test_the_number_of_a_deleted_run_is_not_given_again(self):
        self.make()
        name = self.make().exman.name
        self.assertEqual(self.shell("delete", "--all", "2")[0], 0)
        self.assertFalse((self.root / "runs" / name).exists())
        self.assertEqual(self.make().exman.id, 3)
        shutil.rmtree(str(self.make().root))
        self.assertEqual(self.make().exman.id, 5)

    def test_a_root_without_claims_goes_on_from_its_highest_number(self):
        for part, number in (("runs", 3), ("runs", 12), ("tmp", 15), ("fails", 14)):
            self.old_run(number, part=part)
        self.assertEqual([self.make().exman.id, self.make("--tmp").exman.id], [16, 17])

    def test_a_root_copied_without_hidden_files_goes_on(self):
        self.make()
        self.make("--tmp")
        copy = self.folder / "copy"
        shutil.copytree(str(self.root), str(copy), symlinks=True, ignore=shutil.ignore_patterns(".*"))
        self.assertEqual(self.make(root=copy).exman.id, 3)

    def test_a_root_with_claims_of_an_older_copy_goes_on(self):
        self.make()
        copy = self.folder / "copy"
        shutil.copytree(str(self.root), str(copy), symlinks=True)
        for number in (2, 3, 1500):                     # what was made elsewhere and copied without hidden files
            self.old_run(number, root=copy)
        self.assertEqual([self.make(root=copy).exman.id for _ in range(2)], [1501, 1502])

    def test_a_view_that_shows_a_new_block_empty_gives_no_number_twice(self):
        self.old_run(5200)
        self.assertEqual(self.make().exman.id, 5201)
        listed, block = exman._listed, os.path.join(".ids", "5")
        with mock.patch.object(exman, "_listed", lambda folder: [] if folder.endswith(block) else listed(folder)):
            self.assertEqual(self.make().exman.id, 5202)

    def test_claims_fill_blocks_of_a_thousand(self):
        self.old_run(998)
        self.assertEqual([self.make("--tmp").exman.id for _ in range(3)], [999, 1000, 1001])
        self.assertEqual(sorted(p.name for p in (self.root / ".ids" / "1").iterdir()), ["1000", "1001"])

    def test_later_runs_do_not_list_the_runs(self):
        self.make()
        with mock.patch.object(exman, "_run_names", side_effect=AssertionError("listed")):
            self.assertEqual(self.make().exman.id, 2)

    def test_names_that_are_no_runs_do_not_count(self):
        for name in ("9" * 200 + "-2019-01-02-03-04-05", "notes", "000009", "77-backup", "-2019-01-02-03-04-05", "000008-2019-01-02"):
            (self.root / "runs" / name).mkdir(parents=True)
        (self.root / "runs" / "file").write_text("")
        self.assertEqual(self.make().exman.id, 1)

    def test_numbers_beyond_six_digits(self):
        self.old_run(1234567)
        self.assertEqual(self.make().exman.name.partition("-")[0], "1234568")
        self.assertEqual([row["id"] for row in self.table()[0]], [1234567, 1234568])

    @unittest.skipUnless(hasattr(signal, "SIGSTOP"), "no SIGSTOP")
    def test_a_stopped_process_and_a_killed_one_block_nobody(self):
        script = self.script("""
            import os, signal, sys
            import exman
            rename = os.rename
            def stop(*args):
                os.kill(os.getpid(), signal.SIGSTOP)
                rename(*args)
            os.rename = stop
            exman.ExParser(root=sys.argv[1]).parse_args([])
        """)
        env = dict(os.environ, PYTHONPATH=str(HERE))
        stopped, killed = [subprocess.Popen([sys.executable, str(script), str(self.root)], env=env, stderr=subprocess.DEVNULL) for _ in range(2)]
        for process in (stopped, killed):
            self.assertTrue(os.WIFSTOPPED(os.waitpid(process.pid, os.WUNTRACED)[1]))
        killed.kill()
        killed.wait()
        self.assertEqual(self.make().exman.id, 3)
        self.assertEqual(self.ids(), [3])
        stopped.send_signal(signal.SIGCONT)
        self.assertEqual(stopped.wait(timeout=60), 0)
        self.assertEqual(len(self.ids()), 2)
        self.assertEqual(self.make().exman.id, 4)

    def test_a_clock_that_jumps_back_does_not_disturb_the_order(self):
        self.make()
        with mock.patch.object(time, "localtime", lambda *args: time.struct_time((1999, 12, 31, 23, 59, 59, 4, 365, 0))):
            args = self.make()
        self.assertEqual(args.exman.name, "000002-1999-12-31-23-59-59")
        self.assertEqual([row["id"] for row in self.table()[0]], [1, 2])
        self.assertEqual(self.make().exman.id, 3)

    def test_threads_that_parse_at_once_make_runs_of_their_own(self):
        barrier, found = threading.Barrier(8), []

        def parse(n):
            parser = self.parser()
            parser.add_argument("--n", type=int)
            barrier.wait()
            for _ in range(5):
                args = parser.parse_args(["--n", str(n)])
                found.append((args.exman.id, n, self.params(args)["n"]))
        with contextlib.redirect_stderr(io.StringIO()):
            threads = [threading.Thread(target=parse, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(sorted(number for number, _, _ in found), list(range(1, 41)))
        self.assertTrue(all(given == read for _, given, read in found))

    def test_two_roots_in_one_process_count_for_themselves(self):
        other = self.folder / "other"
        runs = [self.make(root=root).exman for root in (self.root, other, self.root, other)]
        self.assertEqual([(run.id, run.root.parent.parent) for run in runs], [(1, self.root), (1, other), (2, self.root), (2, other)])


# What every scenario below runs: a launch that may fail, or a verb of the shell.
MAIN = """
    import os, sys
    import exman
    def no_symlink(*args, **kwargs):
        raise NotImplementedError("symlink: no such thing here")
    if os.environ.get("COPIES"):
        os.symlink = no_symlink
    if sys.argv[2] == "exman":
        sys.exit(exman.main(["--root", sys.argv[1], *sys.argv[3:]]))
    parser = exman.ExParser(root=sys.argv[1], automark=("lr",), shared=bool(os.environ.get("SHARED")))
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--fail", action="store_true")
    args = parser.parse_args(sys.argv[2:])
    with args.safe_experiment:
        if args.fail:
            raise RuntimeError("diverged")
"""

# name: the root before ("" for none), the words, the environment
SCENARIOS = {
    "first run": ("", ["--lr=1"], {}),
    "next run": ("runs", ["--lr=1", "--name=x"], {}),
    "tmp run": ("runs", ["--lr=1", "--tmp"], {}),
    "shared run": ("", ["--lr=1"], {"SHARED": "1"}),
    "failing run": ("runs", ["--lr=1", "--fail"], {}),
    "mark": ("runs", ["mark", "good/deep", "1", "2"], {}),
    "unmark": ("runs", ["exman", "unmark", "best", "1", "2"], {}),
    "delete": ("runs", ["exman", "delete", "1", "2"], {}),
    "delete all": ("runs", ["exman", "delete", "--all", "1", "2"], {}),
    "fix": ("broken", ["exman", "fix"], {}),
    "run with copies": ("copies", ["--lr=1", "--name=x"], {"COPIES": "1"}),
    "failing run with copies": ("copies", ["--lr=1", "--fail"], {"COPIES": "1"}),
    "mark with copies": ("copies", ["mark", "good/deep", "1", "2"], {"COPIES": "1"}),
    "delete all with copies": ("copies", ["exman", "delete", "--all", "1", "2"], {"COPIES": "1"}),
    "fix with copies": ("no index", ["exman", "fix"], {"COPIES": "1"}),
}
CHANGES = ("mkdir mkdirat write fsync rename renameat renameat2 symlink symlinkat unlink unlinkat rmdir chmod fchmod fchmodat").split()
LOOKS = "open openat close stat lstat newfstatat fstat statx getdents64 readlink readlinkat access faccessat faccessat2".split()
FULL = bool(os.environ.get("EXMAN_FULL"))               # every call and every error, in minutes

_Call = collections.namedtuple("_Call", "name number line")


def _strace():
    """Whether strace may trace here."""
    try:
        return subprocess.run(["strace", "-o", os.devnull, "true"], stderr=subprocess.DEVNULL).returncode == 0
    except OSError:
        return False


@unittest.skipUnless(_strace(), "no strace")
class TracedCase(RootCase):
    """Each call of a launch that concerns the root, and the launch again with something done to that call."""

    def setUp(self):
        super().setUp()
        (self.folder / "code").mkdir()                  # its listing stays as it is, and so does the count of calls
        self.main = self.script(MAIN, "code/main.py")

    def template(self, kind):
        """A root of three runs, two of them marked."""
        root = self.folder / f"template of {kind}"
        if root.exists():
            return root
        no_symlink = mock.patch.object(os, "symlink", side_effect=OSError(errno.EPERM, "no symlinks"))
        with no_symlink if kind in ("copies", "no index") else contextlib.nullcontext():
            for _ in range(3):
                self.make(root=root)
            self.assertEqual(self.shell("mark", "best", 1, 2, root=root)[0], 0)
        if kind == "broken":
            shutil.rmtree(str(next(root.glob("runs/000003-*"))))
            next(root.glob("index/000001-*")).unlink()
        if kind == "no index":
            shutil.rmtree(str(root / "index"))
        return root

    def traced(self, scenario, root, *options):
        _, words, env = SCENARIOS[scenario]
        env = dict(os.environ, PYTHONPATH=str(HERE), PYTHONHASHSEED="0", **env)
        argv = ["strace", "-qq", "-y", *options, sys.executable, str(self.main), str(root), *words]
        return subprocess.run(argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, timeout=60)

    def calls(self, scenario, root, names):
        """The calls of a scenario that concern the root, each as the n-th of its name."""
        log, counts, found = self.folder / "log", collections.Counter(), []
        for _ in range(2):                              # the first one writes what python caches
            target = self.fresh(scenario, root)
            self.traced(scenario, target, "-o", str(log), "-e", "trace=" + ",".join(f"?{name}" for name in names))
        for line in log.read_text(errors="replace").splitlines():
            call = re.match(r"(\w+)\(", line)
            if call:
                counts[call.group(1)] += 1
                if str(target) in line:
                    found.append(_Call(call.group(1), counts[call.group(1)], line))
        return found

    def fresh(self, scenario, template):
        self.roots = getattr(self, "roots", 0) + 1
        root = self.folder / f"root{self.roots}"
        if template is not None:
            shutil.copytree(str(template), str(root), symlinks=True)
        return root

    def each(self, scenarios, names, treatments):
        """(scenario, call, treatment, root before, root, finished process) of every call, two at a time."""
        tasks = []
        for scenario in scenarios:
            kind = SCENARIOS[scenario][0]
            template = self.template(kind) if kind else None
            calls = self.calls(scenario, template, names)
            self.assertTrue(calls, scenario)
            for place, call in enumerate(calls):
                for treatment in treatments if FULL else [treatments[place % len(treatments)]]:
                    tasks.append((scenario, call, treatment, template, self.fresh(scenario, template)))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as workers:
            def run(task):
                scenario, call, treatment, _, root = task
                return self.traced(scenario, root, "-o", os.devnull, "-e", f"trace={call.name}",
                                   "-e", f"inject={call.name}:{treatment}:when={call.number}")
            for task, done in zip(tasks, workers.map(run, tasks)):
                yield (*task, done)


class TestKilled(TracedCase):

    def test_a_kill_at_any_call_leaves_a_root_that_every_reader_stands(self):
        count = 0
        for scenario, call, _, _, root, done in self.each(SCENARIOS, CHANGES + LOOKS if FULL else CHANGES, ["signal=KILL"]):
            count += 1
            with self.subTest(scenario, call=call.line[:150]):
                self.assertIn(done.returncode, (-signal.SIGKILL, 128 + signal.SIGKILL), done.stderr)
                self.check_root(root, dangles=scenario == "fix")
        if FULL:
            print(f"{count} kills", file=sys.stderr)


class TestFaults(TracedCase):

    ERRORS = ("ENOSPC", "EDQUOT", "EACCES", "EROFS", "EIO", "EMFILE", "ENAMETOOLONG")

    def test_a_fault_at_any_call_is_one_line_and_leaves_nothing_half_made(self):
        count = made = 0
        names = CHANGES + LOOKS if FULL else [*CHANGES, "openat", "open", "close"]
        scenarios = SCENARIOS if FULL else ["first run", "next run", "failing run", "run with copies", "delete all with copies"]
        for scenario, call, treatment, before, root, done in self.each(scenarios, names, [f"error={name}" for name in self.ERRORS]):
            count += 1
            with self.subTest(scenario, call=call.line[:150], treatment=treatment):
                lines = done.stderr.splitlines()
                if "failing run" in scenario and "RuntimeError: diverged" in lines:
                    self.assertEqual(done.stderr.count("Traceback"), 1)
                else:
                    self.assertNotIn("Traceback", done.stderr)
                    self.assertLessEqual(sum(line.startswith("exman: no run") for line in lines), 1)
                    self.assertEqual(done.returncode in (0, 1), True, done)
                    if done.returncode and "failing" not in scenario:
                        self.assertRegex(lines[-1], r"\Aexman: (.*/.*: [A-Z]|no mark |there is no root )")
                if done.stderr.startswith("exman: no run was made"):
                    self.assertEqual((len(lines), done.returncode), (1, 1), lines)
                    self.assertIn(str(root), done.stderr)
                    for part in ("runs", "tmp", "fails", "index", "marked"):
                        entries = [p.relative_to(str(root)) for p in sorted(root.glob(f"{part}/**/0*"))]
                        self.assertEqual(entries, [p.relative_to(str(before)) for p in sorted(before.glob(f"{part}/**/0*"))]
                                         if before else [])
                else:
                    made += 1
                self.check_root(root, dangles=scenario == "fix")
        if FULL:
            print(f"{count} faults, {made} of them survived", file=sys.stderr)


class TestRootThatCannotBe(RootCase):
    """A root where no run can be made: one line that says where, why and what to do."""

    def refused(self, root, **kwargs):
        """The line of the OSError that a parse raises; nothing else may be said."""
        with self.assertRaises(OSError) as caught:
            self.make(root=root, **kwargs)
        self.assertEqual(self.stderr, "")
        self.assertNotIn("\n", str(caught.exception))
        self.assertTrue(str(caught.exception).startswith("no run was made: "), str(caught.exception))
        return str(caught.exception)

    def test_a_root_that_is_a_file(self):
        self.root.write_text("mine")
        self.assertEqual(self.refused(self.root), f"no run was made: {self.root / '.ids'}: {os.strerror(errno.ENOTDIR)}: "
                         "a part of this path is a file: choose another root=")
        self.assertEqual(self.root.read_text(), "mine")

    def test_a_root_with_a_file_where_a_folder_belongs(self):
        for part in ("runs", ".ids", "index", "marked"):
            with self.subTest(part):
                root = self.folder / f"root with {part}"
                root.mkdir()
                (root / part).write_text("mine")
                path, reason, advice = root / part, errno.EEXIST, "a file stands where a folder must"
                if part == "marked":
                    path, reason, advice = path / "best", errno.ENOTDIR, "a part of this path is a file"
                self.assertIn(f"{path}: {os.strerror(reason)}: {advice}", self.refused(root, automark=["best"]))
                self.assertEqual(((root / part).read_text(), self.ids(root)), ("mine", []))
                (root / part).unlink()
                (root / part).symlink_to("nowhere")
                self.assertIn(f"{root / part}: ", self.refused(root, automark=["best"]))
                self.assertEqual(self.ids(root), [])

    def test_a_root_behind_a_dangling_link(self):
        self.root.symlink_to("nowhere/at/all")
        self.assertIn(str(self.root), self.refused(self.root))

    @unittest.skipUnless(os.path.isdir("/proc/self"), "no /proc")
    def test_a_root_in_proc_where_mkdir_says_that_the_folder_is_missing(self):
        self.assertIn("/proc/exman", self.refused("/proc/exman"))

    def test_a_root_with_a_name_too_long_or_with_nul(self):
        self.assertIn("choose a shorter root=", self.refused(self.folder / ("x" * 300)))
        self.assertIn("embedded null", self.refused("nul\0here"))

    def test_a_working_directory_that_is_gone(self):
        if os.name == "nt":
            self.skipTest("Windows keeps it")
        script = self.script("""
            import os, sys
            import exman
            os.mkdir("gone")
            os.chdir("gone")
            os.rmdir(os.path.join(sys.argv[1], "gone"))
            print(exman.ExParser(root=os.path.join(sys.argv[1], "exman")).parse_args([]).exman.id)
            exman.ExParser(root="exman").parse_args([])
        """)
        done = self.python(script, self.folder, status=1)
        self.assertEqual(done.stdout, "1\n")
        self.assertEqual([line.partition(":")[0] for line in done.stderr.splitlines()], ["exman", "exman"])
        self.assertIn("no run was made", done.stderr.splitlines()[1])

    def test_a_script_that_does_not_catch_it_ends_with_one_line_and_status_1(self):
        self.root.write_text("")
        done = self.python(self.script(MAIN), self.root, "--lr=1", status=1)
        self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
        self.assertTrue(done.stderr.startswith(f"exman: no run was made: {self.root}"))

    def test_a_hook_of_the_scripts_own_stays_for_other_exceptions(self):
        script = self.script("""
            import functools, sys
            import exman
            sys.excepthook = functools.partial(lambda word, *error: print(word, error[1]), "hooked:")
            for _ in range(2):
                try:
                    exman.ExParser(root=sys.argv[1]).parse_args([])
                except OSError:
                    pass
            if len(sys.argv) > 2:
                raise ValueError("mine")
            exman.ExParser(root=sys.argv[1]).parse_args([])
        """)
        self.root.write_text("")
        self.assertEqual(self.python(script, self.root, "mine", status=1).stdout, "hooked: mine\n")
        done = self.python(script, self.root, status=1)
        self.assertEqual((done.stdout, done.stderr.count("\n")), ("", 1))

    @unittest.skipUnless(hasattr(os, "getuid"), "no user ids")
    def test_a_parent_that_may_not_be_written(self):
        script = self.script("""
            import os, sys
            import exman
            exman.ExParser(root="other").parse_args([])     # another user may not even read the standard library
            os.chmod(".", 0o555)
            if os.getuid() == 0:
                os.setuid(65534)
            exman.ExParser(root=sys.argv[1]).parse_args([])
        """)
        self.addCleanup(self.folder.chmod, 0o700)
        done = self.python(script, self.root, status=1)
        self.assertEqual(done.stderr.splitlines()[1:], [f"exman: no run was made: {self.root}: {os.strerror(errno.EACCES)}: "
                                                        "choose another root=, or mend its permissions"])
        self.assertFalse(self.root.exists())

    def mounted(self, *words):
        """A mounted folder, or the test is skipped."""
        place = self.folder / "disk"
        place.mkdir()
        try:
            done = subprocess.run(["mount", *words, str(place)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except OSError:
            done = None
        if done is None or done.returncode:
            self.skipTest("mounting is not possible here")
        self.addCleanup(subprocess.run, ["umount", str(place)], check=True)
        return place

    def test_a_full_disk_makes_no_run_and_moves_a_failing_one(self):
        disk = self.mounted("-t", "tmpfs", "-o", "size=64k", "tmpfs")
        root, filler = disk / "exman", disk / "filler"
        run = self.make(root=root).exman
        before = sorted(root.glob("[!.]*/**/*"))

        def fill():
            with contextlib.suppress(OSError), open(str(filler), "ab", buffering=0) as file:
                while True:
                    file.write(b"x" * 512)
        fill()
        line = self.refused(root, automark=["best"])
        self.assertIn("params.yaml", line)
        self.assertTrue(line.endswith("free some space there"), line)
        self.assertEqual([path for path in sorted(root.glob("[!.]*/**/*")) if "." != path.name[0]], before)
        with self.assertRaises(RuntimeError), contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
            with run:
                print("x" * 100000)
                fill()
                raise RuntimeError
        self.assertEqual([path.parent.name for path in root.glob("*/000001-*")], ["fails"], said.getvalue())
        self.assertIn("no traceback", said.getvalue())
        filler.unlink()
        self.assertGreater(self.make(root=root).exman.id, 1)

    def test_a_disk_without_symlinks(self):
        image = self.folder / "image"
        with open(str(image), "wb") as file:
            file.truncate(4 << 20)
        if not shutil.which("mkfs.vfat") or subprocess.run(["mkfs.vfat", str(image)], stdout=subprocess.DEVNULL).returncode:
            self.skipTest("no mkfs.vfat to make a file system to mount")
        root = self.mounted("-o", "loop", str(image)) / "exman"
        self.assertEqual([self.make(root=root, shared=True, automark=["best"]).exman.id for _ in range(2)], [1, 2])
        self.assertEqual([row["id"] for row in self.table(root, "best")[0]], [1, 2])


class TestWithoutSymlinks(RootCase):

    ERRORS = (NotImplementedError("no symlinks"), OSError(22, "a required privilege is not held", "x", 1314), OSError(errno.EPERM, "no"),
              OSError(errno.ENOSYS, "no"), OSError(errno.EOPNOTSUPP, "no"), OSError(errno.EACCES, "no"))

    def test_everything_works_on_copies(self):
        for error in self.ERRORS:
            root = self.folder / f"root{len(list(self.folder.iterdir()))}"
            with self.subTest(error=repr(error)), mock.patch.object(os, "symlink", side_effect=error):
                first = self.make("--lr", "1", root=root, automark=["auto", "lr"])
                second = self.make("--lr", "2", root=root, automark=["auto", "lr"])
                entry = root / "index" / f"{second.exman.name}.yaml"
                self.assertEqual(entry.read_bytes(), (second.root / "params.yaml").read_bytes())
                self.assertEqual(self.make("--config", str(entry), root=root, automark=["auto", "lr"]).lr, 2)
                self.assertEqual(self.shell("mark", "best/lr", 1, 2, root=root), (0, "", ""))
                self.assertEqual([(row["id"], row["root"]) for row in self.table(root, "best")[0]], [(1, first.root), (2, second.root)])
                self.assertEqual([row["id"] for row in self.table(root, "auto/lr/2.0")[0]], [2, 3])
                self.assertEqual(self.shell("unmark", "best", 1, root=root), (0, "", ""))
                self.assertEqual([row["id"] for row in self.table(root, "best")[0]], [2])
                self.assertEqual(self.shell("delete", "--all", 2, root=root)[0], 0)
                self.assertEqual(list(root.glob(f"*/**/{second.exman.name}*")), [])
                next(root.glob("index/000003-*")).unlink()
                shutil.rmtree(str(first.root))
                self.assertEqual(self.shell("fix", root=root)[0], 0)
                self.assertEqual([row["id"] for row in self.table(root)[0]], [3])
                run = self.make(root=root).exman
                with self.assertRaises(RuntimeError), contextlib.redirect_stderr(io.StringIO()), run:
                    raise RuntimeError
                self.assertEqual([path.parent.name for path in root.glob(f"**/{run.name}*")], ["fails"])
                self.assertFalse(any(path.is_symlink() for path in root.glob("**/*")))
                self.assertEqual(list(root.glob("*/.*")), [root / ".ids" / f".{os.stat(str(root / '.ids')).st_ino}"])

    def test_a_folder_that_takes_no_link_and_no_copy_makes_no_run(self):
        (self.root / "index").mkdir(parents=True)
        with mock.patch.object(os, "symlink", side_effect=OSError(errno.EPERM, "no")), \
                mock.patch.object(os, "replace", side_effect=OSError(errno.ENOSPC, "full", "there")):
            with self.assertRaisesRegex(OSError, "no run was made: there: full: free some space"):
                self.make()
        self.assertEqual([path.name for path in self.root.glob("[!.]*/*")], [])

    def test_a_run_fails_over_to_another_disk_whole(self):
        run, rename = self.make(automark=["best"]).exman, os.rename

        def other_disk(source, target):
            if os.path.dirname(source) != os.path.dirname(target):
                raise OSError(errno.EXDEV, "another disk", source)
            rename(source, target)
        (run.root / "deep").mkdir()
        (run.root / "deep" / "weights").write_text("w")
        with mock.patch.object(os, "rename", other_disk), contextlib.redirect_stderr(io.StringIO()):
            with self.assertRaises(RuntimeError), run:
                raise RuntimeError
        self.assertEqual(run.root, self.root / "fails" / run.name)
        self.assertEqual(sorted(path.name for path in run.root.rglob("*")), ["deep", "log.txt", "params.yaml", "traceback.txt", "weights"])
        self.assertEqual(sorted(self.root.glob("[!f.]*/**/*0*")), [])

    def test_a_run_that_cannot_be_moved_stays_listed_and_marked(self):
        run = self.make(automark=["best"]).exman
        for place in ("rename", "copytree"):
            with self.subTest(place), contextlib.redirect_stderr(io.StringIO()) as said, mock.patch.object(
                    os, "rename", side_effect=OSError(errno.EXDEV if place == "copytree" else errno.EACCES, "no", str(run.root))), \
                    mock.patch.object(shutil, "copytree", side_effect=shutil.Error([("a", "b", "full")])):
                with self.assertRaises(RuntimeError), run:
                    raise RuntimeError
                self.assertRegex(said.getvalue(), r"\Aexman: run 1 failed, and is not in fails/: .*/.*\n\Z")
                self.assertEqual(run.root.parent.name, "runs")
                self.assertEqual(([row["id"] for row in self.table()[0]], [row["id"] for row in self.table(mark="best")[0]]), ([1], [1]))


class TestMarksAndNames(RootCase):

    def everything(self):
        """All that lies below the folder, outside of the root."""
        return sorted(str(path) for path in self.folder.rglob("*") if self.root not in path.parents)

    def test_a_mark_that_leaves_the_root_or_is_no_name_is_refused(self):
        self.make()
        before, inside = self.everything(), sorted(self.root.rglob("*"))
        for key in ("..", "../x", "a/../../../x", "/etc/x", "/", "", ".", "a/./b", "12", "a\0b", "a\nb", "x" * 5000, "a/" * 2500 + "b",
                    ".hidden", "a/.b", "\udcff", " a", "a ", "a\\b", "a:b", "000001-2026-01-01-00-00-00"):
            with self.subTest(key=key[:20]):
                status, out, err = self.shell("mark", key, 1)
                self.assertEqual((status, out), (2, ""))
                self.assertNotIn("Traceback", err)
                self.assertLess(len(err.splitlines()[-1]), 300)
                self.assertEqual(self.shell("unmark", key, 1)[0], 2)
        self.assertEqual((self.everything(), sorted(self.root.rglob("*"))), (before, inside))

    def test_a_planted_link_in_marked_is_not_followed(self):
        outside = self.folder / "outside"
        (outside / "deep").mkdir(parents=True)
        name = self.make().exman.name
        (outside / f"{name}.yaml").write_text("mine")
        (outside / "deep" / f"{name}.yaml").write_text("mine")
        before = self.everything()
        for planted, keys in (("marked/best", ["best", "best/deep", "best/new"]), ("marked/a/b", ["a/b", "a/b/deep"]),
                              ("marked", ["best", "deep", "new/key"])):
            link = self.root / planted
            if link.exists():
                shutil.rmtree(str(link))
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(outside)
            for key in keys:
                with self.subTest(planted=planted, key=key):
                    for verb in ("mark", "unmark"):
                        status, _, err = self.shell(verb, key, 1)
                        self.assertEqual((status, err.count("\n")), (1, 1), err)
                    with self.assertRaisesRegex(OSError, "may lead out of the root"):
                        self.make(automark=[*key.split("/")])
                    self.assertEqual(self.everything(), before)
            self.assertEqual(self.shell("delete", 1)[0], 0)
            self.assertEqual(self.shell("fix")[0], 0)
            run = self.make().exman
            with self.assertRaises(RuntimeError), contextlib.redirect_stderr(io.StringIO()), run:
                raise RuntimeError
            self.assertEqual(run.root.parent.name, "fails")
            self.assertEqual(self.everything(), before)
            self.assertEqual((outside / f"{name}.yaml").read_text(), "mine")
            if planted != "marked":
                link.unlink()

    def test_a_name_that_cannot_stand_in_a_file_name_is_refused_before_anything_is_made(self):
        for name in ("..", "../x", "/x", "a/b", "a\0b", "a\nb", "", " ", "a.", "x" * 5000, "\xe9" * 100, "\udcff", "a:b", "\x85"):
            with self.subTest(name=name[:20]):
                self.assertIn("--name", self.refuse(self.parser(), "--name", name))
                self.assertLess(len(self.stderr.splitlines()[-1]), 300)
                self.assertFalse(self.root.exists())

    def test_a_long_name_is_made_and_marked_where_there_are_no_symlinks_too(self):
        with mock.patch.object(os, "symlink", side_effect=OSError(errno.EPERM, "no")):
            name = self.make("--name", "n" * 180).exman.name
        self.assertTrue((self.root / "index" / f"{name}.yaml").is_file())

    def test_a_mark_made_of_values_stays_in_the_root_whatever_they_are(self):
        for value in ("..", "../..", "/etc", "a/b", "", ".", "x\0y", "x\ny", "\u65e5" * 300, "x" * 5000, "\udcff", " ", "~"):
            with self.subTest(value=value[:10]):
                parser = self.parser(automark=["user", "fixed"])
                parser.add_argument("--user", default=value)
                self.parse(parser)
                self.assertEqual([p.name for p in self.folder.iterdir()], ["exman"])
        self.assertEqual(len(self.table(mark="user")[0]), 13)


class TestConfigFilesThatMeanHarm(RootCase):

    def parser(self, **kwargs):
        parser = super().parser(**kwargs)
        parser.add_argument("--lr", default=0.1)
        return parser

    def test_what_is_no_small_text_file_is_a_usage_error_that_says_what_it_is(self):
        folder = self.folder
        (folder / "binary").write_bytes(bytes(range(256)))
        (folder / "nul").write_bytes(b"lr: \0")
        (folder / "folder").mkdir()
        (folder / "odd" / "params.yaml").mkdir(parents=True)
        with open(str(folder / "sparse"), "wb") as file:
            file.truncate(1 << 30)
        (folder / "bomb").write_text("a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)) + "lr: *a11\n")
        (folder / "deep").write_text("lr: " + "[" * 100000 + "\n")
        (folder / "tag").write_text("lr: !!python/object/apply:os.system ['touch pwned']\n")
        cases = {"binary": "no text in UTF-8", "nul": "line 1", "folder": "without params.yaml", "odd": "no regular file",
                 "sparse": "larger than 16 MiB", "bomb": "bomb", "deep": "line 1", "tag": "tag", "missing": os.strerror(errno.ENOENT),
                 "nul\0in it": "null", "12": "no run of this number", "9" * 5000: "", "x" * 5000: os.strerror(errno.ENAMETOOLONG)}
        if hasattr(os, "mkfifo"):
            os.mkfifo(str(folder / "fifo"))
            (folder / "loop").symlink_to("loop")
            (folder / "secret").write_text("lr: 1\n")
            cases.update({"fifo": "no regular file", "loop": os.strerror(errno.ELOOP), "/dev/zero": "no regular file"})
        for name, reason in cases.items():
            with self.subTest(name=name[:20]):
                start = time.monotonic()
                line = self.refuse(self.parser(), "--config", name)
                self.assertIn(reason, line)
                self.assertLess(len(line), 6000)
                self.assertLess(time.monotonic() - start, 5)
                self.assertFalse(self.root.exists())
        self.assertFalse((folder / "pwned").exists())

    @unittest.skipUnless(os.path.isfile("/proc/self/mem"), "no /proc")
    def test_a_file_whose_reading_fails_is_named(self):
        self.assertIn("/proc/self/mem: ", self.refuse(self.parser(), "--config", "/proc/self/mem"))


class TestForeignThings(RootCase):

    def test_each_costs_its_row_and_one_warning_that_names_it(self):
        good = [self.make("--lr", str(n)).exman for n in range(1, 12)]
        self.shell("mark", "best", *range(1, 12))

        def params(number):
            return self.root / "runs" / good[number - 1].name / "params.yaml"

        def entry(number):
            return self.root / "index" / f"{good[number - 1].name}.yaml"
        shutil.rmtree(str(params(1).parent))            # deleted by hand
        params(2).write_bytes(b"\xff\xfe")
        params(3).write_text("lr: [1\n")
        params(4).write_text("")
        params(5).unlink()
        params(5).mkdir()
        entry(6).unlink()
        entry(6).symlink_to("nowhere")
        text = params(7).read_text()
        entry(7).unlink()
        entry(7).write_text(text)                       # copied instead of linked
        entry(8).unlink()
        entry(8).symlink_to(entry(8).name)              # to itself
        params(9).write_text("a: &a [*a]\n")
        with open(str(params(10)), "wb") as file:
            file.truncate(1 << 30)
        bad = [1, 2, 3, 4, 5, 6, 8, 9, 10]
        for foreign in ("notes.txt", "runs/notes.txt", "index/notes.yaml", "index/.hidden.yaml", "marked/notes", "marked/best/notes.yaml"):
            (self.root / foreign).write_text("not: [exman's")
        for foreign in ("runs/notes", "index/000099-2026-01-01-00-00-00", "fails/x", "tmp/x"):
            (self.root / foreign).mkdir(parents=True)
        rows, problems = self.table()
        self.assertEqual([(row["id"], float(row["lr"])) for row in rows], [(7, 7.0), (11, 11.0)])
        self.assertEqual(len(problems), len(bad), problems)
        for number, line in zip(bad, problems):
            self.assertIn(good[number - 1].name, line)
            self.assertNotIn("\n", line)
        self.assertEqual([row["id"] for row in self.table(mark="best")[0]], [6, 7, 8, 11])
        self.assertEqual(self.make().exman.id, 12)
        status, _, _ = self.shell("fix")
        self.assertEqual(status, 0)
        status, out, err = self.shell("ls")
        self.assertEqual((status, "Traceback" in err), (0, False))

    def test_a_run_of_another_exman_with_a_name_of_any_length_is_listed(self):
        self.old_run(1)
        (self.root / "runs" / "000002-2019-01-02-03-04-05-\xe9 \U0001f389\nx").mkdir()
        self.assertEqual(self.make().exman.id, 3)
        self.assertEqual(self.shell("fix")[0], 0)


class TestSurroundings(RootCase):

    def environment(self, **env):
        return {"LC_ALL": "C", "LANG": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", **env}

    @unittest.skipIf(os.name == "nt", "a locale of POSIX")
    def test_a_locale_without_letters_and_bytes_that_are_no_text(self):
        root = os.path.join(str(self.folder), "r\xe9sultats \u65e5\n x")
        script = self.script("""
            import os, sys
            import exman
            parser = exman.ExParser(root=os.fsdecode(os.fsencode(sys.argv[1])), automark=("word", "plain"))
            parser.add_argument("root_")
            parser.add_argument("--word", default="\\u65e5")
            parser.add_argument("--plain", default="caf\\xe9")
            args = parser.parse_args()
            with args.safe_experiment:
                print(ascii(args.word))
                print(args.exman.id, len(exman.Index(sys.argv[1]).info()))
        """)
        for number, word in enumerate([[], ["--word", b"\xff\xfe"], ["--word", "\xe9".encode()], ["--word", "x"]], 1):
            with self.subTest(word=word):
                done = subprocess.run([sys.executable, str(script), root.encode(), *word], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      env=dict(os.environ, PYTHONPATH=str(HERE), **self.environment()), timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.stdout.decode().splitlines()[-1], f"{number} {number}")
                self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
        rows, problems = self.table(pathlib.Path(root))
        self.assertEqual(([row["id"] for row in rows], problems), ([1, 2, 3, 4], []))

    def test_a_relative_root_is_the_one_where_the_parse_happened(self):
        args = self.make(root="some where")
        os.chdir("/")
        self.assertEqual(args.root.parent.parent, self.folder / "some where")
        self.assertTrue((args.root / "params.yaml").is_file())

    @unittest.skipIf(os.name == "nt", "modes of POSIX")
    def test_a_shared_root_is_writable_by_the_group_and_another_one_is_as_the_umask_says(self):
        script = self.script("""
            import os, sys
            import exman
            def no_symlink(*args):
                raise NotImplementedError
            if sys.argv[3] == "copies":
                os.symlink = no_symlink
            os.umask(0o077)
            parser = exman.ExParser(root=sys.argv[1], shared=sys.argv[2] == "shared", automark=("a", "b"))
            for argv in ([], ["--tmp"]):
                with parser.parse_args(argv).safe_experiment:
                    print("text")
            try:
                with parser.parse_args([]).safe_experiment:
                    raise RuntimeError
            except RuntimeError:
                pass
            exman.main(["--root", sys.argv[1], "mark", "best", "1"])
            assert os.umask(0o022) == 0o077
        """)
        for links in ("links", "copies"):
            for shared in ("shared", "private"):
                root = self.folder / links / shared
                self.python(script, root, shared, links)
                made = [path for path in [root, *root.rglob("*")] if not path.is_symlink()]
                self.assertEqual({path.name for path in made} & {"log.txt", "traceback.txt", "params.yaml"},
                                 {"log.txt", "traceback.txt", "params.yaml"})
                self.assertEqual(any(path.is_symlink() for path in root.rglob("*")), links == "links")
                for path in made:
                    if "best" in path.parts:            # the shell knows no shared=
                        continue
                    mode = stat.S_IMODE(path.stat().st_mode)
                    with self.subTest(links=links, shared=shared, path=str(path.relative_to(root))):
                        self.assertEqual(mode & 0o077, (0o070 if path.is_dir() else 0o060) if shared == "shared" else 0)

    @unittest.skipIf(os.name == "nt", "descriptors of POSIX")
    def test_closed_and_broken_streams_stop_nothing(self):
        script = self.script("""
            import os, sys
            import exman
            how, root = sys.argv[1:3]
            if how == "closed in Python":
                sys.stderr.close()
            if how == "ascii":
                import io
                sys.stderr = io.TextIOWrapper(io.BytesIO(), "ascii", "strict")
                root += "\\xe9"
            args = exman.ExParser(root=root).parse_args([])
            with args.safe_experiment:
                print("text")
                sys.stdout and sys.stdout.flush()
            open(sys.argv[3], "w").write(str(args.exman.id))
        """)
        for how, redirect in (("closed", "2>&-"), ("both closed", ">&- 2>&-"), ("stdout closed", ">&-"), ("all closed", "<&- >&- 2>&-"),
                              ("closed in Python", ""), ("full", "2>/dev/full"), ("ascii", "")):
            if "/dev/full" in redirect and not os.path.exists("/dev/full"):
                continue
            with self.subTest(how):
                done = self.folder / f"done {how}"
                argv = ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, str(script), how, str(self.folder / how), str(done)]
                status = subprocess.run(argv, env=dict(os.environ, PYTHONPATH=str(HERE)), stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, timeout=60).returncode
                self.assertTrue(done.exists(), status)
                self.assertEqual(done.read_text(), "1")


# What exman 0.1.9 wrote with PyYAML, and the values that its parser had given it.
OLD_RUNS = {
    1: (r"""big: 10000000000000000000000000
config_file: null
date: '2019-01-01'
empty: {}
emptylist: []
flag: false
git_dirty: false
inf: .inf
ints: &id001
- 1
- 2
ints2: *id001
lines: "first\nsecond\n\n  third\n"
long: a text that is so long that PyYAML has broken it at the eightieth column, and that
  goes on here until it is broken again because it is so very long that no line holds
  it
lr: 0.1
name: null
nested:
  a:
  - 1
  - b: null
  c:
    d: e
quote: 'it''s "so": #not a comment'
root: runs/{name}
small: 1.0e-05
tmp: false
uni: "na\xEFve \u2014 \u65E5\u672C \U0001F389 \L \N \t end"
words:
- a b
- 'yes'
- '~'
- 1e5
- 08
- ''
- 'x: y'
zip: 01923
""", {"big": 10 ** 25, "date": "2019-01-01", "empty": {}, "emptylist": [], "flag": False, "inf": float("inf"), "ints": [1, 2], "ints2": [1, 2],
      "lines": "first\nsecond\n\n  third\n", "lr": 0.1, "nested": {"a": [1, {"b": None}], "c": {"d": "e"}},
      "long": "a text that is so long that PyYAML has broken it at the eightieth column, and that goes on here until it is broken again "
              "because it is so very long that no line holds it",
      "quote": "it's \"so\": #not a comment", "small": 1e-5, "uni": "na\xefve \u2014 \u65e5\u672c \U0001f389 \u2028 \x85 \t end",
      "words": ["a b", "yes", "~", "1e5", "08", "", "x: y"]}),
    2: ("lr: 5.0\nname: second\nroot: runs/{name}\ntmp: false\nwords:\n- one\n- two\nzip: 1E5\n", {"lr": 5.0, "words": ["one", "two"], "zip": "1E5"}),
    7: ("pair: !!python/tuple\n- 1\n- 2\nroot: runs/{name}\ntmp: false\n", None),
}


class TestOldRoots(RootCase):

    def setUp(self):
        super().setUp()
        self.names = {}
        for number, (text, _) in OLD_RUNS.items():
            self.names[number] = name = f"{number:06d}-2019-01-02-03-04-05" + ("-second" if number == 2 else "")
            folder = self.root / "runs" / name
            folder.mkdir(parents=True)
            (folder / "params.yaml").write_text(f"{text.replace('{name}', name)}time: '2019-01-02T03:04:05'\nid: {number}\n", encoding="utf-8")
            for where, link, target in (("index", f"{name}.yaml", f"../runs/{name}/params.yaml"),
                                        ("marked/user/ann", name, f"../../../runs/{name}")):
                (self.root / where).mkdir(parents=True, exist_ok=True)
                (self.root / where / link).symlink_to(target, target_is_directory=where != "index")
        for part, number in (("tmp", 8), ("fails", 9)):
            self.old_run(number, part=part)
        (self.root / "lock").write_text("")

    def test_it_reads_with_the_values_that_were_parsed(self):
        rows, problems = self.table()
        self.assertEqual([row["id"] for row in rows], [1, 2])
        for row in rows:
            self.assertEqual(row["root"], self.root / "runs" / self.names[row["id"]])
            for key, value in OLD_RUNS[row["id"]][1].items():
                with self.subTest(key):
                    self.assertEqual((row[key], type(row[key])), (value, type(value)))
        self.assertEqual(len(problems), 1)
        self.assertRegex(problems[0], f"{self.names[7]}.*tag")

    def test_it_goes_on_counting_and_takes_marks(self):
        self.assertEqual(self.make().exman.id, 10)
        self.assertEqual([row["id"] for row in self.table(mark="user")[0]], [1, 2])
        self.assertEqual(self.shell("mark", "user/ann", 10), (0, "", ""))
        self.assertEqual(self.shell("mark", "new", 1, 10), (0, "", ""))
        self.assertEqual([row["id"] for row in self.table(mark="user")[0]], [1, 2, 10])
        self.assertEqual([row["id"] for row in self.table(mark="new")[0]], [1, 10])
        self.assertEqual(self.shell("unmark", "user", 1), (0, "", ""))
        self.assertEqual([row["id"] for row in self.table(mark="user")[0]], [2, 10])
        self.assertEqual(self.shell("delete", "--all", 2)[0], 0)
        self.assertEqual([path.name for path in self.root.glob("*/**/*-second*")], [])
        self.assertEqual((self.root / "lock").read_text(), "")

    def test_it_runs_again(self):
        parser = self.parser()
        parser.add_argument("--lr", type=float, default=9.0)
        parser.add_argument("--ints", type=int, nargs="+")
        parser.add_argument("--ints2", type=int, nargs="+")
        parser.add_argument("--words", nargs="*")
        parser.add_argument("--nested", type=lambda text: __import__("json").loads(text))
        parser.add_argument("--lines")
        parser.add_argument("--long")
        parser.add_argument("--uni")
        parser.add_argument("--zip")
        parser.add_argument("--small", type=float)
        parser.add_argument("--inf", type=float)
        parser.add_argument("--flag", type=bool, default=True)
        parser.add_argument("--empty", type=lambda text: __import__("json").loads(text))
        args = self.parse(parser, "--config", "1")
        for key, value in vars(args).items():
            with self.subTest(key):
                self.assertEqual(value, {**OLD_RUNS[1][1], "zip": "01923"}[key])
        self.assertEqual(self.parse(parser, "--config", str(self.root / "index" / f"{self.names[2]}.yaml")).zip, "1E5")
        self.assertIn("tag", self.refuse(parser, "--config", "7"))

    def test_the_shell_compares_old_runs_as_the_table_does(self):
        self.assertIn("zip: '01923' -> '1E5'\n", self.shell("diff", 1, 2)[1])
        self.assertEqual(self.shell("diff", 1, 7)[0], 1)


# ---------------------------------------------------------------------------------------------------------------------
# The launch
# ---------------------------------------------------------------------------------------------------------------------

class LaunchCase(Case):
    """Processes that a launcher would have started: each has its variables, and prints the run it is in."""

    BODY = """
        import argparse, os, sys, time
        import exman
        parser = exman.ExParser(root="exman")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--device", volatile=True)
        parser.add_argument("--local-rank", "--local_rank", type=int, default=0)
        parser.add_argument("--fail", default="", volatile=True)
        begin = time.time()
        args = parser.parse_args()
        os.write(1, f"{args.root.name} {time.time() - begin:.1f}\\n".encode())
        if args.fail:
            with args.exman:
                print("before")
                if os.environ.get("RANK", "0") == args.fail:
                    raise RuntimeError("on purpose")
        """

    def setUp(self):
        super().setUp()
        self.script(self.BODY)
        names = r"(RANK|WORLD_SIZE|LOCAL_|NODE_RANK|MASTER_|TORCHELASTIC|SLURM|OMPI|PMI|MV2|PALS|FLUX|JSM|PBS|LSB|MPI_|EXMAN)"
        self.environ = {key: value for key, value in os.environ.items() if not re.match(names, key)}
        self.environ.update(PYTHONPATH=str(HERE), EXMAN_WAIT="15")

    def start(self, env, *argv, script="main.py"):
        return subprocess.Popen([sys.executable, script, *map(str, argv)], env=dict(self.environ, **env), universal_newlines=True,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, processes):
        """The run that each process names; what they said on stderr is kept in self.said, how long they waited in self.waited."""
        done = [process.communicate(timeout=60) for process in processes]
        self.said = "".join(err for _, err in done)
        for process in processes:
            self.assertIn(process.returncode, (0, 1), self.said)
        words = [out.split() for out, _ in done]
        self.waited = max((float(word[1]) for word in words if word), default=0)
        return [word[0] if word else "" for word in words]

    def ranks(self, names, size, argv=(), **env):
        """Start the ranks of a launch, the last first; names holds the variables of rank, size, local rank and local size."""
        def variables(rank):
            values = [rank, size, rank, size]
            return {name: str(value) for name, value in zip(names, values) if name}
        argvs = [argv(rank) if callable(argv) else argv for rank in range(size)]
        started = [self.start(dict(variables(rank), **env), *argvs[rank]) for rank in reversed(range(size))]
        return self.end(started)[::-1]

    TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")

    def torchrun(self, size=3, argv=(), **env):
        return self.ranks(self.TORCHRUN, size, argv, TORCHELASTIC_RUN_ID="none", MASTER_ADDR="localhost", MASTER_PORT="29500", **env)

    def srun(self, size=3, argv=(), job="7", step="0", **env):
        return self.ranks(self.SRUN, size, argv, SLURM_JOB_ID=job, SLURM_STEP_ID=step, **env)


class LaunchTest(LaunchCase):

    def test_ranks_of_every_launcher_share_one_run(self):
        launchers = {
            "torchrun": (self.TORCHRUN, {"TORCHELASTIC_RUN_ID": "none", "MASTER_PORT": "29500"}),
            "torchrun on two nodes": (("RANK", "WORLD_SIZE", "LOCAL_RANK"), {"LOCAL_WORLD_SIZE": "1", "MASTER_PORT": "29500"}),
            "mpirun": (("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), {"PMIX_NAMESPACE": "1"}),
            "mvapich": (("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "", "MV2_COMM_WORLD_LOCAL_SIZE"), {}),
            "pals": (("PALS_RANKID", "PALS_SIZE"), {"PALS_APID": "a"}),
            "flux": (("FLUX_TASK_RANK", "FLUX_JOB_SIZE"), {"FLUX_JOB_ID": "f"}),
            "jsrun": (("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE"), {"JSM_NAMESPACE_ID": "1", "LSB_JOBID": "8"}),
            "hydra": (("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"), {}),
            "hydra's ranks below one proxy of srun": (("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
                                                      {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0"}),
            "srun": (self.SRUN, {"SLURM_JOB_ID": "9", "SLURM_STEP_ID": "0"}),
            "pmix": (("PMIX_RANK",), {"PMIX_NAMESPACE": "n"}),
        }
        for number, (name, (names, env)) in enumerate(launchers.items(), 1):
            with self.subTest(name):
                runs = self.ranks(names, 2, ["--seed", number], **env)
                self.assertEqual(len(set(runs)), 1, self.said)
                self.assertEqual(self.said.count("exman: run"), 1)
                self.assertEqual(len(self.runs()), number)
                self.assertLess(self.waited, 10)

    def test_second_launch_with_the_same_variables_is_a_second_run(self):
        for launch in (self.torchrun, self.srun):
            with self.subTest(launch.__name__):
                first, second = launch(), launch()
                self.assertEqual((len(set(first)), len(set(second))), (1, 1), self.said)
                self.assertNotEqual(first[0], second[0])

    def test_rank_that_starts_first_never_believes_what_an_earlier_launch_published(self):
        first = self.srun(2)
        late = self.start({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"})
        time.sleep(1)
        second = self.end([late, self.start({"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"})])
        self.assertEqual(len(set(second)), 1)
        self.assertNotEqual(first[0], second[0])

    def test_publication_of_long_ago_is_not_believed_by_a_rank_that_never_saw_it(self):
        self.srun(1, SLURM_STEP_NUM_TASKS="2")
        [publication] = self.root.glob(".launches/*/run")
        os.utime(str(publication), (1e9, 1e9))
        process = self.start({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "EXMAN_WAIT": "1"})
        self.end([process])
        self.assertEqual(len(self.runs()), 2)

    @unittest.skipUnless(os.path.exists("/proc/self/environ"), "needs /proc")
    def test_shell_between_torchrun_and_its_ranks_does_not_part_them(self):
        env = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        started = [subprocess.Popen(["sh", "-c", '"$0" main.py; true', sys.executable], env=dict(self.environ, RANK=rank, **env), universal_newlines=True,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE) for rank in "10"]
        self.assertEqual(len(set(self.end(started))), 1, self.said)

    def test_restart_by_torchrun_is_a_run_of_its_own(self):
        first = self.torchrun(2, TORCHELASTIC_RESTART_COUNT="0")
        second = self.torchrun(2, TORCHELASTIC_RESTART_COUNT="1")
        self.assertEqual([len(set(first)), len(set(second)), len(self.runs())], [1, 1, 2])

    def test_other_arguments_make_other_runs_without_waiting(self):
        self.assertEqual(len(set(self.srun(4, lambda rank: ["--seed", rank // 2]))), 2)
        self.assertLess(self.waited, 10)
        self.assertEqual(len(self.runs()), 2)
        self.assertEqual(self.said.count("exman: run"), 2)

    def test_volatile_and_local_rank_do_not_part_ranks(self):
        self.assertEqual(len(set(self.torchrun(2, lambda rank: ["--device", f"cuda:{rank}", "--local-rank", rank]))), 1)

    def test_other_job_step_or_array_task_is_another_run(self):
        runs = [self.srun(2)[0], self.srun(2, step="1")[0], self.srun(2, job="8")[0]]
        self.assertEqual(len(set(runs)), 3)
        ranks = [exman._job({"PMI_RANK": "0", "PMI_SIZE": "2", "LSB_JOBID": "5", "LSB_JOBINDEX": index}) for index in "12"]
        self.assertNotEqual(*ranks)

    def test_variables_that_make_no_rank(self):
        alone = ({"SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}, {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "1"}, {"RANK": "1"},
                 {"RANK": "", "WORLD_SIZE": "4"}, {"RANK": "first", "WORLD_SIZE": "4"}, {"RANK": "0", "WORLD_SIZE": "1"})
        self.assertEqual(len(set(self.end([self.start(env) for env in alone]))), len(alone))
        self.assertFalse((self.root / ".launches").exists())

    def test_nth_parse_of_a_rank_is_the_nth_of_all(self):
        self.script(self.BODY.replace("args = parser.parse_args()", "args = parser.parse_args(); args = parser.parse_args()"))
        self.assertEqual(len(set(self.torchrun(2))), 1)
        self.assertEqual(len(self.runs()), 2)

    def test_rank_without_a_rank_0_makes_its_own_run_and_says_so(self):
        self.end([self.start({"RANK": "3", "WORLD_SIZE": "4", "EXMAN_WAIT": "0.3"})])
        self.assertIn("rank 3 found no run of its job within 0.3 s (EXMAN_WAIT): it makes its own", self.said)
        self.assertEqual(len(self.runs()), 1)

    def test_rank_0_that_dies_before_its_run_holds_nobody_up_for_ever(self):
        env = {"RANK": "0", "WORLD_SIZE": "3", "EXMAN_WAIT": "0.5"}
        dead = self.start(env, "--seed")                # a usage error: status 2
        dead.communicate(timeout=60)
        self.assertEqual(len(set(self.end([self.start(dict(env, RANK=rank)) for rank in "12"]))), 2)

    @unittest.skipIf(not hasattr(os, "geteuid") or os.geteuid() == 0, "root may write anywhere")
    def test_root_that_cannot_be_written_ends_every_rank_at_once(self):
        self.root.mkdir(mode=0o500)
        self.torchrun(2)
        self.assertEqual(self.said.count("no run was made"), 2)

    def test_root_that_is_a_file_ends_every_rank_at_once(self):
        self.root.write_text("")
        start = time.time()
        self.torchrun(2)
        self.assertEqual(self.said.count("no run was made"), 2, self.said)
        self.assertLess(time.time() - start, 10)

    def test_what_is_no_publication_is_not_believed(self):
        env = {"SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}
        self.end([self.start(env)])
        [publication] = self.root.glob(".launches/*/run")
        digest = publication.read_bytes().split()[0]
        for text in (b"", b"\xff", digest, digest + b" runs/../../x", digest + b" runs/000001-2026-01-01-00-00-00/..", digest + b" bin/000001-2026-01-01-00-00-00"):
            publication.write_bytes(text)
            self.end([self.start(dict(env, SLURM_PROCID="1", EXMAN_WAIT="0.1"))])
            self.assertIn("makes its own", self.said, text)

    def test_what_old_launches_left_is_swept(self):
        for name in ("old", "new"):
            (self.root / ".launches" / name).mkdir(parents=True)
        os.utime(str(self.root / ".launches" / "old"), (1e9, 1e9))
        self.torchrun(2)
        names = [path.name for path in (self.root / ".launches").iterdir()]
        self.assertNotIn("old", names)
        self.assertIn("new", names)

    def test_maker_that_fails_moves_the_run_and_the_joined_rank_follows(self):
        self.torchrun(2, ["--fail", "0"])
        [name] = self.runs("fails")
        self.assertEqual(self.runs(), [])
        files = sorted(path.name for path in (self.root / "fails" / name).iterdir())
        self.assertEqual(files, ["log.1.txt", "log.txt", "params.yaml", "traceback.txt"])

    def test_joined_rank_that_fails_leaves_its_traceback_and_moves_nothing(self):
        self.torchrun(2, ["--fail", "1"])
        [name] = self.runs()
        files = sorted(path.name for path in (self.root / "runs" / name).iterdir())
        self.assertEqual(files, ["log.1.txt", "log.txt", "params.yaml", "traceback.1.txt"])
        self.assertIn("on purpose", (self.root / "runs" / name / "traceback.1.txt").read_text())


class WorkersTest(LaunchCase):

    BODY = """
        import multiprocessing, os, subprocess, sys
        import exman
        parser = exman.ExParser()
        parser.add_argument("--method", default="spawn")
        args = parser.parse_args()
        def work(_):
            with args.exman:
                sys.stdout.write("")
            return args.exman.id
        if __name__ == "__main__":
            context = multiprocessing.get_context(args.method)
            with context.Pool(2) as pool:
                ids = pool.map(work, range(4))
            os.write(1, f"{args.root.name} 0 {sorted(set(ids))}".encode())
        """

    def test_workers_that_import_the_script_again_join_its_run(self):
        for number, method in enumerate(multiprocessing.get_all_start_methods(), 1):
            with self.subTest(method), tempfile.TemporaryDirectory() as elsewhere:
                done = self.python(self.folder / "main.py", "--method", method, cwd=elsewhere)
                self.assertIn(f"[{number}]", done.stdout)
                self.assertEqual(done.stderr.count("exman:"), 1, done.stderr)
                self.assertEqual(len(self.runs()), number)
                names = {path.name for path in (self.root / "runs" / self.runs()[-1]).iterdir()}
                self.assertNotIn("log.txt", names)
                self.assertTrue(any("PoolWorker" in name for name in names), names)

    def test_workers_of_a_module(self):
        done = self.python("-m", "main", cwd=str(self.folder))
        self.assertIn("[1]", done.stdout)
        self.assertEqual(len(self.runs()), 1)

    def test_workers_of_ranks_join_the_run_of_their_rank(self):
        self.assertEqual(len(set(self.torchrun(2))), 1, self.said)
        self.assertEqual(self.said.count("exman:"), 1, self.said)
        self.assertEqual(len(self.runs()), 1)

    def test_other_script_or_the_same_one_by_subprocess_is_a_second_run(self):
        body = """
            import subprocess, sys
            import exman
            exman.ExParser(root="exman").parse_args([])
            if len(sys.argv) > 1:
                subprocess.run([sys.executable, sys.argv[1]], check=True)
            """
        self.script(body)
        self.script(body, "other.py")
        for number, name in ((2, "main.py"), (4, "other.py")):
            with self.subTest(name):
                self.python("main.py", name)
                self.assertEqual(len(self.runs()), number)

    def test_children_of_lightning_join_the_run_of_their_parent(self):
        self.script("""
            import os, subprocess, sys
            import exman
            parser = exman.ExParser(root="exman")
            parser.add_argument("--seed", default=0)
            args = parser.parse_args()
            if "LOCAL_RANK" not in os.environ:
                os.environ.update(LOCAL_RANK="0", NODE_RANK="0", WORLD_SIZE="3", MASTER_PORT="1234")
                children = [subprocess.Popen([sys.executable, *sys.argv], env=dict(os.environ, LOCAL_RANK=str(rank))) for rank in (1, 2)]
                assert [child.wait() for child in children] == [0, 0]
            with args.exman:
                print(args.root.name)
            """)
        done = self.python("main.py", "--seed", "3")
        self.assertEqual(done.stderr.count("exman:"), 1, done.stderr)
        [name] = self.runs()
        self.assertEqual(done.stdout.replace("\n", ""), name * 3)       # the three may write between each other's words
        self.assertEqual({path.name for path in (self.root / "runs" / name).iterdir()}, {"log.txt", "log.1.txt", "log.2.txt", "params.yaml"})

    def test_what_a_process_leaves_for_its_workers_is_bounded(self):
        self.script("""
            import os, exman
            parser = exman.ExParser(root="exman")
            parser.add_argument("--seed", default="x" * 9999)
            for _ in range(100):
                parser.parse_args([])
            print(len(os.environ["EXMAN_RUNS"]))
            """)
        self.assertLess(int(self.python("main.py").stdout), 2500)

    def test_bequest_that_is_no_list_of_runs_costs_nothing(self):
        self.script("import exman; exman.ExParser(root='exman').parse_args()")
        for number, text in enumerate(("", "[", "[]"), 1):
            self.python("main.py", env={"EXMAN_RUNS": text, "LOCAL_RANK": "1"})
            self.assertEqual(len(self.runs()), number)


# ---------------------------------------------------------------------------------------------------------------------
# YAML out, YAML in
# ---------------------------------------------------------------------------------------------------------------------

# ---- YAML out ---------------------------------------------------------------------------------------------------------



def exact(value):
    """A value as text that tells 1 from True and 1.0, 0.0 from -0.0, and holds nan equal to nan: for comparing."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{exact(key)}: {exact(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(exact, value)) + "]"
    return f"{type(value).__name__} {value!r}"


def yaml_1_1(text):
    """What PyYAML reads in the text."""
    return pyyaml.safe_load(text)


def yaml_1_2(text):
    """What ruamel.yaml reads in the text."""
    return ruamel.YAML(typ="safe", pure=True).load(text)


# Strings that some reader of YAML takes for something else, or that need care on one line.
ODD_STRINGS = (
    "", " ", "a ", " a", "a b", "a  b", "yes", "No", "ON", "off", "y", "N", "true", "FALSE", "null", "Null", "~", "1", "-1",
    "+1", "012", "0o7",
    "0x1f", "0b1", "1_000", "1:30", "1:30.5", "190:20:30", "1e5", "1e-05", "1.5", ".5", "5.", "1.e+3", ".inf", "-.INF",
    ".nan", "inf",
    "nan", "2026-11-23", "2026-11-23T13:27:00", "2026-11-23 13:27:00", "=", "<<", "-", "- a", "--", "---", "...", "?",
    "? a", "?a", ":",
    ": a", ":a", "a:", "a: b", "a:b", "#", "# a", "a #b", "a#b", "[", "[]", "{}", "]", "{a: 1}", "a, b", "a]b", ",", "&a",
    "*a", "!a",
    "!!int 1", "|", ">", "'", '"', "it's", 'a"b', "''", "%a", "@a", "`a`", "\\", "\\n", "C:\\data", "a\nb", "\n", "a\r\nb",
    "\t", "a\tb",
    "\0", "\x07", "\x1b[0m", "\x7f", "\x85", "\x9f", "\xa0", "\xad", "\u200b", "\u2028", "\u2029", "\ufeff", "a\ufeff",
    "\ufffe", "\uffff",
    "Zoë", "数据", "é", "\u0301", "\U0001f600", "𝔸", "\U0010ffff", "/data/x", "a/b.c", "~/x", "./x", "x=1", "a%b", "key",
    "x" * 3000)


class DumpYaml(unittest.TestCase):
    """What dump_yaml writes, to the character."""

    def test_one_parameter_a_line(self):
        self.assertEqual(exman.dump_yaml({"lr": 0.1, "name": "adam", "sizes": [1, [2.5, None]], "opt": {"a": True, "b": {}},
            "e": []}),
                         "lr: 0.1\nname: adam\nsizes: [1, [2.5, null]]\nopt: {a: true, b: {}}\ne: []\n")

    def test_no_parameters(self):
        self.assertEqual(exman.dump_yaml({}), "{}\n")

    def test_scalars(self):
        for value, text in (
                (None, "null"), (True, "true"), (False, "false"), (0, "0"), (-12, "-12"), (10**30, "1" + "0" * 30),
                (0.1, "0.1"), (-0.0, "-0.0"), (1.0, "1.0"), (1e-05, "1.0e-05"), (1.5e-07, "1.5e-07"), (1e16, "1.0e+16"),
                (-1e300, "-1.0e+300"),
                (float("inf"), ".inf"), (float("-inf"), "-.inf"), (float("nan"), ".nan"),
                ("adam", "adam"), ("two words", "two words"), ("/data/x-1.txt", "/data/x-1.txt"), ("Zoë", "Zoë"),
                ("数据", "数据"),
                ("", "''"), ("no", "'no'"), ("Y", "'Y'"), ("NULL", "'NULL'"), ("~", "'~'"), ("1e5", "'1e5'"),
                ("012", "'012'"),
                ("1:30", "'1:30'"), ("0o7", "'0o7'"), ("=", "'='"), ("<<", "'<<'"), ("2026-11-23", "'2026-11-23'"),
                ("a: b", "'a: b'"),
                ("a #b", "'a #b'"), ("it's", "'it''s'"), (" a", "' a'"), ("a ", "'a '"), ("a, b", "'a, b'"),
                ("[x]", "'[x]'"),
                ("a\nb", r'"a\nb"'), ("\t\"\\\r", r'"\t\"\\\r"'), ("\0", r'"\x00"'), ("\x85", r'"\x85"'),
                ("\u2028\u2029", r'"\u2028\u2029"'),
                ("\ufeff", r'"\ufeff"'), ("\uffff", r'"\uffff"'), ("a😀", r'"a\U0001f600"'), ("𝔸", r'"\U0001d538"')):
            with self.subTest(value=value):
                self.assertEqual(exman.dump_yaml({"k": value}), f"k: {text}\n")
                self.assertEqual(exman._flow(value), text)

    def test_keys(self):
        self.assertEqual(exman.dump_yaml({"a b": 1, "no": 2, "": 3, None: 4, True: 5, 2: 6, 0.5: 7,
            "2": {"x: y": 8, 3: 9}}),
                         "a b: 1\n'no': 2\n'': 3\nnull: 4\ntrue: 5\n2: 6\n0.5: 7\n'2': {'x: y': 8, 3: 9}\n")

    def test_longest_key(self):
        for name, key in (("plain", "k" * 1024), ("quoted", "k" * 1021 + " "), ("nested", {"k" * 1024: 1})):
            with self.subTest(name):
                self.assertIsInstance(exman.dump_yaml({"o": key} if isinstance(key, dict) else {key: 1}), str)
        for name, value in (("plain", {"k" * 1025: 1}), ("quoted", {"k" * 1022 + " ": 1}),
            ("nested", {"o": {"k" * 1025: 1}})):
            with self.subTest(name), self.assertRaisesRegex(exman.YAMLError, "longer than 1024"):
                exman.dump_yaml(value)

    def test_refuses_what_is_not_plain_and_names_the_parameter(self):
        class Text(str):
            pass

        class Number(float):
            pass

        class Count(int):
            pass

        loop = []
        loop.append(loop)
        for name, value, reason in (
                ("tuple", (1, 2), "tuple"), ("set", {1}, "set"), ("bytes", b"a", "bytes"),
                ("path", pathlib.Path("a"), "Path"),
                ("object", object(), "object"), ("str subclass", Text("a"), "Text"),
                ("float subclass", Number(1), "Number"),
                ("int subclass", Count(1), "Count"), ("in a list", [1, (2,)], "tuple"),
                ("in a dict", {"a": [Text("b")]}, "Text"),
                ("tuple as key", {(1, 2): 1}, "the key"), ("nan as key", {float("nan"): 1}, "the key"),
                ("bytes as key", {b"a": 1}, "the key"),
                ("str subclass as key", {Text("a"): 1}, "the key"), ("surrogate", "a\udc80", "surrogate"),
                ("surrogate key", {"\ud800": 1}, "surrogate"),
                ("list in itself", loop, "more than 64"), ("long integer", 1 << 20_000, "4300 digits"),
                ("long negative", -(1 << 20_000), "4300 digits")):
            with self.subTest(name):
                with self.assertRaises(exman.YAMLError) as caught:
                    exman.dump_yaml({"first": 1, "culprit": value})
                self.assertIn("parameter 'culprit'", str(caught.exception))
                self.assertIn(reason, str(caught.exception))
                self.assertLess(len(str(caught.exception)), 250)
                self.assertIsNone(caught.exception.line)
        for name, value in (("tuple", (1, 2)), ("list", [1]), ("none", None)):
            with self.subTest(name), self.assertRaises(exman.YAMLError):
                exman.dump_yaml(value)
        for name, key in (("tuple", (1,)), ("nan", float("nan")), ("long", "k" * 100_000), ("huge", 1 << 99_999)):
            with self.subTest(name), self.assertRaises(exman.YAMLError) as caught:
                exman.dump_yaml({key: 1})
            self.assertLess(len(str(caught.exception)), 250)

    def test_64_lists_within_each_other_and_no_more(self):
        value = 1
        for _ in range(64):
            value = [value]
        self.assertEqual(exman.load_yaml(exman.dump_yaml({"a": value})), {"a": value})
        with self.assertRaisesRegex(exman.YAMLError, "parameter 'a': more than 64"):
            exman.dump_yaml({"a": [value]})
        with self.assertRaisesRegex(exman.YAMLError, "parameter 'a': more than 64"):
            exman.dump_yaml({"a": {"b": value}})

    def test_every_value_stays_on_one_line(self):
        for text in ODD_STRINGS:
            with self.subTest(text=text[:20]):
                self.assertEqual(len(exman.dump_yaml({text[:1000]: text, "b": [text, {"c": text}]}).splitlines()), 2)

    def test_odd_strings_come_back(self):
        for text in ODD_STRINGS:
            with self.subTest(text=text[:20]):
                value = {text[:900]: text, "list": [text, text], "dict": {text[:900]: text}}
                self.assertEqual(exact(exman.load_yaml(exman.dump_yaml(value))), exact(value))

    def test_numbers_come_back_exactly(self):
        value = {"list": [0, -1, 10**20, 10**4299, 0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e22, 1e-5,
            float("inf"),
                          float("-inf"), float("nan"), True, False, None]}
        value.update({f"k{n}": item for n, item in enumerate(value["list"])})
        self.assertEqual(exact(exman.load_yaml(exman.dump_yaml(value))), exact(value))


@unittest.skipUnless(pyyaml and ruamel, "PyYAML and ruamel.yaml read YAML 1.1 and YAML 1.2")
class DumpReadByOthers(unittest.TestCase):
    """Readers of YAML 1.1 and of YAML 1.2 take what dump_yaml writes for the value that was dumped."""

    def test_odd_strings(self):
        for read in (yaml_1_1, yaml_1_2):
            for text in ODD_STRINGS:
                with self.subTest(read=read.__name__, text=text[:20]):
                    value = {"k": text, "list": [text, text], "dict": {text[:900]: text}, text[:900]: 1}
                    self.assertEqual(exact(read(exman.dump_yaml(value))), exact(value))

    def test_words_in_every_case(self):
        words = "y n yes no on off true false null none nan inf e1 x o b".split()
        words = [form for word in words for form in {word, word.upper(), word.title(), word.swapcase(),
            word[:1].upper() + word[1:]}]
        value = {"list": words, **{word: word for word in words}}
        for read in (yaml_1_1, yaml_1_2):
            with self.subTest(read=read.__name__):
                self.assertEqual(exact(read(exman.dump_yaml(value))), exact(value))

    def test_numbers(self):
        value = {"list": [0, -1, 10**20, 0.0, -0.0, 5e-324, 1e22, 1e-5, 1.5e-7, -1e300, float("inf"), float("-inf"), True,
            None]}
        for read in (yaml_1_1, yaml_1_2):
            with self.subTest(read=read.__name__):
                self.assertEqual(exact(read(exman.dump_yaml(value))), exact(value))


# ---- YAML in ----------------------------------------------------------------------------------------------------------

class LoadYaml(unittest.TestCase):
    """What load_yaml reads."""

    def check(self, rows):
        """Rows of name, text, value."""
        for name, text, value in rows:
            with self.subTest(name):
                self.assertEqual(exact(exman.load_yaml(text)), exact(value))

    def test_plain_scalars_by_the_core_schema(self):
        for text, value in (
                ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None), ("nULL", "nULL"),
                ("true", True), ("True", True), ("TRUE", True), ("false", False), ("tRUE", "tRUE"), ("yes", "yes"),
                ("no", "no"), ("on", "on"),
                ("0", 0), ("-0", 0), ("+12", 12), ("-12", -12), ("012", 12), ("0o14", 12), ("0x1F", 31), ("-0x1F", "-0x1F"),
                ("0o8", "0o8"),
                ("0b1", "0b1"), ("1_000", "1_000"), ("1:30", "1:30"), ("１", "１"), ("1\xa0", "1\xa0"),
                ("9" * 4300, 10**4300 - 1),
                ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("-.5e-3", -0.0005), ("1e3", 1000.0), ("1E+3", 1000.0),
                ("+1.0e-05", 1e-05),
                (".", "."), ("-", "-"), ("+", "+"), ("e3", "e3"), (".e3", ".e3"), ("1e", "1e"), ("1e+", "1e+"),
                ("1.5.2", "1.5.2"), ("1_0.5", "1_0.5"),
                (".inf", float("inf")), ("-.Inf", float("-inf")), ("+.INF", float("inf")), (".nan", float("nan")),
                (".NaN", float("nan")),
                ("-.nan", "-.nan"), ("inf", "inf"), ("nan", "nan"), ("infinity", "infinity"), (".iNF", ".iNF"),
                ("2026-11-23", "2026-11-23"),
                ("=", "="), ("<<", "<<")):
            with self.subTest(text=text[:20]):
                self.assertEqual(exact(exman._resolve(text)), exact(value))
                if text != "-":
                    self.assertEqual(exact(exman.load_yaml(f"a: {text}\n")), exact({"a": value}))
                    self.assertEqual(exact(exman.load_yaml(f"a: {text} # and a comment")), exact({"a": value}))

    def test_plain_scalars_in_blocks(self):
        self.check((
            ("inner punctuation", "a: b:c#d, [e] {f} 'g' \"h\" &i *j !k\n", {"a": "b:c#d, [e] {f} 'g' \"h\" &i *j !k"}),
            ("-x ?x :x", "a: -x\nb: ?x\nc: :x\n-d: 1\n?e: 2\n:f: 3\n",
             {"a": "-x", "b": "?x", "c": ":x", "-d": 1, "?e": 2, ":f": 3}),
            ("comment", "a: b #c\nd: e# f\ng: #h\n#i\n  # j\nk: 1\t# l\n", {"a": "b", "d": "e# f", "g": None, "k": 1}),
            ("tabs and blanks around", "a:\t \tb \t\nc :  d\n", {"a": "b", "c": "d"}),
            ("further lines", "a: b\n  c\n\n\n   d - e\nf: g\n", {"a": "b c\n\nd - e", "f": "g"}),
            ("on the next line", "a:\n  b\n c\n", {"a": "b c"}),
            ("a tab behind the indentation", "a: b\n \tc\n", {"a": "b c"}),
            ("no-break space is a letter", "a: \xa0b\xa0\n", {"a": "\xa0b\xa0"}),
            ("ideographic space is a letter", "a: \u3000 # c\n", {"a": "\u3000"})))

    def test_quoted_scalars(self):
        self.check((
            ("single", "a: 'b: c # d ''e'' \\n \"'\nf: ''\ng: ''''\n", {"a": "b: c # d 'e' \\n \"", "f": "", "g": "'"}),
            ("double", r'a: "b: c # d \"e\" \\ '"'"'"', {"a": "b: c # d \"e\" \\ '"}),
            ("escapes", r'a: "\0\a\b\t\n\v\f\r\e\ \/\N\_\L\P\x41\u00e9\U0001F600"',
             {"a": "\0\a\b\t\n\v\f\r\x1b /\x85\xa0\u2028\u2029A\xe9\U0001f600"}),
            ("escaped tab", 'a: "\\\tb"', {"a": "\tb"}),
            ("tabs inside", "a: '\tb\t'\nc: \"\td\"\n", {"a": "\tb\t", "c": "\td"}),
            ("single, folded", "a: 'b  \n   c\n\n  d '\n", {"a": "b c\nd "}),
            ("double, folded", 'a: "b  \n \tc\n  \n\n  d\n "\n', {"a": "b c\n\nd "}),
            ("joined", 'a: "b\\\n   c \\\n   d"\n', {"a": "bc d"}),
            ("joined over an empty line", 'a: "b\\\n\n   c"\n', {"a": "b\nc"}),
            ("as PyYAML wraps", 'a: "x y\\\n  \\ z\\n\\\n  w"\n', {"a": "x y z\nw"}),
            ("an escaped tab stays before a fold", 'a: "b\\t\n  c"\n', {"a": "b\t c"}),
            ("blanks before a fold go", 'a: " \n  b"\n', {"a": " b"}),
            ("stay strings", "a: '1'\nb: \"true\"\nc: ''\n", {"a": "1", "b": "true", "c": ""}),
            ("on the next line", "a:\n  'b'\nc:\n  \"d\n  e\"\n", {"a": "b", "c": "d e"})))

    def test_block_collections(self):
        self.check((
            ("list", "a:\n  - 1\n  - b\nc: 2\n", {"a": [1, "b"], "c": 2}),
            ("list below its key", "a:\n- 1\n-\n- b\nc: 2\n", {"a": [1, None, "b"], "c": 2}),
            ("lists within lists", "a:\n- - 1\n  - 2\n- - - 3\n", {"a": [[1, 2], [[3]]]}),
            ("list on the next line", "a:\n-\n  - 1\n  - 2\n", {"a": [[1, 2]]}),
            ("mappings within lists", "a:\n- b: 1\n  c: 2\n- d:\n  - 3\n  e: 4\n",
             {"a": [{"b": 1, "c": 2}, {"d": [3], "e": 4}]}),
            ("mappings", "a:\n  b:\n    c: 1\n  d:\ne: 2\n", {"a": {"b": {"c": 1}, "d": None}, "e": 2}),
            ("an indented top", "  a: 1\n  b: 2\n", {"a": 1, "b": 2}),
            ("a nested value may be missing", "a:\n  b:\nd: 1\n", {"a": {"b": None}, "d": 1}),
            ("comments between", "a:\n# b\n  - 1\n    # c\n\n\t\n  - 2\n#d", {"a": [1, 2]}),
            ("wrapped item", "a:\n- b\n  c\n- d\n", {"a": ["b c", "d"]})))

    def test_flow_collections(self):
        self.check((
            ("empty", "a: []\nb: {}\nc: [ ]\nd: { }\n", {"a": [], "b": {}, "c": [], "d": {}}),
            ("list", "a: [1, b c, 'd, e', \"f]\", null, [2,3], {x: y}]\n",
             {"a": [1, "b c", "d, e", "f]", None, [2, 3], {"x": "y"}]}),
            ("last comma", "a: [1, 2,]\nb: {c: d,}\n", {"a": [1, 2], "b": {"c": "d"}}),
            ("mapping", "a: {b: 1, 'c': 2, \"d\":3, e: {f: [g]}, h: , i : j}\n",
             {"a": {"b": 1, "c": 2, "d": 3, "e": {"f": ["g"]}, "h": None, "i": "j"}}),
            ("JSON", '{"a":1,"b":[true,null,"c"],"d":{"e":"f"}}', {"a": 1, "b": [True, None, "c"], "d": {"e": "f"}}),
            ("lines", "a: [1,\n  b\n  c, # d\n\n  {e: f,\n g: 'h\n i'}\n ]\nj: 1\n",
             {"a": [1, "b c", {"e": "f", "g": "h i"}], "j": 1}),
            ("a mapping as the whole text", "{a: 1,\nb: 2\n}\n", {"a": 1, "b": 2}),
            ("colons inside words", "a: [b:c, http://d/e]\n", {"a": ["b:c", "http://d/e"]}),
            ("on the next line", "a:\n  [1]\nb:\n- [2]\n", {"a": [1], "b": [[2]]})))

    def test_keys(self):
        self.check((
            ("types", "2: a\n1.5: b\ntrue: c\nnull: d\nno: e\n'2': f\n0x10: g\n",
             {2: "a", 1.5: "b", True: "c", None: "d", "no": "e", "2": "f", 16: "g"}),
            ("words", "a b-c.d: 1\n'e: f': 2\n\"g\\n\" : 3\nh[0]: 4\n", {"a b-c.d": 1, "e: f": 2, "g\n": 3, "h[0]": 4}),
            ("the longest", "k" * 1024 + ": 1\n", {"k" * 1024: 1})))

    def test_documents_and_line_ends(self):
        self.check((
            ("markers", "# a\n\n---  # b\nc: 1\n... # d\n# e\n", {"c": 1}),
            ("no break at the end", "a: 1\nb: 2", {"a": 1, "b": 2}),
            ("CRLF", "a: 1\r\nb: 'c\r\n  d'\r\n", {"a": 1, "b": "c d"}),
            ("CR", "a: 1\rb: c\r  d\r", {"a": 1, "b": "c d"}),
            ("a byte order mark", "\ufeffa: 1\n", {"a": 1}),
            ("markers need the first column", "a: b\n  ---\n  ...\n", {"a": "b --- ..."}),
            ("markers need a blank behind", "---a: 1\n...b: 2\n", {"---a": 1, "...b": 2})))

    def test_aliases_share_and_do_not_copy(self):
        text = ("a: &x [1, &y 2]\nb: *x\nc: &z\n- 3\nd: *z\ne: {f: *y, g: *z}\nh: &x q\ni: *x\nj: &e\nk: *e\n"
                "l: &m\n  n: 1\no: *m\np:\n- &q r\n- *q\n")
        value = exman.load_yaml(text)
        self.assertEqual(value,
            {"a": [1, 2], "b": [1, 2], "c": [3], "d": [3], "e": {"f": 2, "g": [3]}, "h": "q", "i": "q", "j": None,
                                 "k": None, "l": {"n": 1}, "o": {"n": 1}, "p": ["r", "r"]})
        self.assertIs(value["a"], value["b"])
        self.assertIs(value["c"], value["d"])
        self.assertIs(value["c"], value["e"]["g"])
        self.assertIs(value["l"], value["o"])

    def test_what_exman_0_1_wrote(self):
        self.check((("a record", (
            "batch: &id001\n- 1\n- 2\nlong: aaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccc\n  dddddd\n"
            "lines: 'first\n\n  second'\nmixed: \"\\xE9t\\xE9 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa "
            "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\\\n  \\ cc\\tdd\"\n"
            "nested:\n- - 1\n  - 2\n- []\nnone: null\nopt:\n  a: 1\nother: *id001\nid: 3\ntime: '2020-01-01T10:11:12'\n"),
            {"batch": [1, 2], "long": "aaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccc dddddd",
            "lines": "first\nsecond",
             "mixed": "été aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cc\tdd", "nested": [[1, 2], []],
             "none": None,
             "opt": {"a": 1}, "other": [1, 2], "id": 3, "time": "2020-01-01T10:11:12"}),))


class LoadYamlRefuses(unittest.TestCase):
    """What load_yaml does not read is a YAMLError with its line and its reason."""

    def check(self, rows):
        """Rows of name, text, line, a word of the reason."""
        for name, text, line, reason in rows:
            with self.subTest(name):
                with self.assertRaises(exman.YAMLError) as caught:
                    exman.load_yaml(text)
                self.assertEqual(caught.exception.line, line)
                self.assertTrue(str(caught.exception).startswith(f"line {line}: "), caught.exception)
                self.assertIn(reason, str(caught.exception))
                self.assertLess(len(str(caught.exception)), 200)

    def test_parts_of_yaml_that_are_left_out(self):
        self.check((
            ("tag", "a: 1\nb: !!int 2\n", 2, "tag"),
            ("tag that runs", "a: !!python/object/apply:os.system [ls]\n", 1, "tag"),
            ("tag in a list", "a:\n- !x 1\n", 2, "tag"), ("tag in brackets", "a: [!x 1]\n", 1, "tag"),
            ("literal block", "a: 1\nb: |\n  c\n", 2, "literal"), ("folded block", "a: >-\n  c\n", 1, "folded"),
            ("complex key", "? a\n: b\n", 1, "'? '"), ("merge key", "a: &x {b: 1}\nc:\n  <<: *x\n", 3, "'<<'"),
            ("merge in brackets", "a: {<<: b}\n", 1, "'<<'"),
            ("directive", "%YAML 1.2\n---\na: 1\n", 2, "second document"),
            ("directive alone", "%YAML 1.2\na: 1\n", 1, "directive"),
            ("two documents", "a: 1\n---\nb: 2\n", 2, "document"),
            ("a document behind the end", "a: 1\n...\nb: 2\n", 2, "document"),
            ("two ends", "a: 1\n...\n...\n", 2, "document"), ("three dashes twice", "---\n---\na: 1\n", 2, "document"),
            ("text behind the end", "a: 1\n... b\n", 2, "'b'"),
            ("@", "a: @b\n", 1, "'@'"), ("backquote", "a: `b`\n", 1, "'`'"), ("%", "a: %b\n", 1, "directive"),
            ("nan as a key", ".nan: 1\n", 1, "'.nan'"), ("?a in brackets", "a: [?b]\n", 1, "'? '"),
            (":a in brackets", "a: [:b]\n", 1, "':'")))

    def test_tops_that_are_no_mapping(self):
        self.check((
            ("empty", "", 1, "mapping"), ("blank lines", "\n \n\t\n", 1, "mapping"), ("comment", "# a\n", 1, "mapping"),
            ("three dashes", "---\n", 2, "mapping"),
            ("three dots", "...\n", 1, "mapping"), ("word", "a\n", 1, "mapping"), ("list", "- a\n", 1, "mapping"),
            ("flow list", "[a]\n", 1, "mapping"), ("byte order mark", "\ufeff", 1, "mapping")))

    def test_duplicate_keys_also_those_equal_only_in_python(self):
        self.check((
            ("fast", "a: 1\nb: 2\na: 3\n", 3, "twice"), ("quoted", "a: 1\n'a': 2\n", 2, "twice"),
            ("1 and true", "1: a\ntrue: b\n", 2, "twice"),
            ("1 and 1.0", "1: a\n1.0: b\n", 2, "twice"), ("0x1 and 1", "0x1: a\n1: b\n", 2, "twice"),
            ("null and ~", "null: a\n~: b\n", 2, "twice"),
            ("in brackets", "a: {b: 1,\n c: 2, b: 3}\n", 2, "twice"), ("nested", "a:\n- b: 1\n  b: 2\n", 3, "twice")))

    def test_block_structure(self):
        self.check((
            ("key in a value", "a: b: c\n", 1, "key within a value"),
            ("key in further lines", "a: b\n  c: d\n", 2, "key within a value"),
            ("list behind a key", "a: - b\n", 1, "list"), ("list behind a key, alone", "a: -\n", 1, "list"),
            ("too deep", "a: 1\n  b: 2\n", 2, "key within"),
            ("too deep behind quotes", "a: 'b'\n  c: 2\n", 2, "indented more"),
            ("between two levels", "a:\n    b: 1\n  c: 2\n", 3, "indented more"),
            ("left of the top", "  a: 1\nb: 2\n", 2, "less than"),
            ("list deeper", "a:\n- b\n  - c: 1\n", 3, "key within"), ("no key", "a: 1\nb\n", 2, "no 'key: value'"),
            ("no colon blank", "a:1\n", 1, "mapping"),
            ("list in a mapping", "a: 1\n- b\n", 2, "'- b'"), ("mapping in a list", "a:\n- 1\nb\n", 3, "'b'"),
            ("empty key", ": a\n", 1, "':' without"),
            ("text behind quotes", "a: 'b' c\n", 1, "'c'"), ("text behind brackets", "a: [b] c\n", 1, "'c'"),
            ("comment without a blank", "a: 'b'#c\n", 1, "'#c'"),
            ("a comment ends a value", "a: b # c\n  d\n", 2, "indented more"),
            ("long key", "k" * 1025 + ": 1\n", 1, "longer than 1024"),
            ("quoted key over lines", "a:\n  'b\n  c': 1\n", 3, "key within"),
            ("quoted key without a blank", "'a':1\n", 1, "key within")))

    def test_tabs_as_indentation(self):
        self.check((
            ("key", "\ta: 1\n", 1, "tab"), ("nested key", "a:\n\tb: 1\n", 2, "tab"), ("list", "a:\n\t- 1\n", 2, "tab"),
            ("behind a dash", "a:\n-\t- 1\n", 2, "tab"),
            ("mapping behind a dash", "a:\n-\tb: 1\n", 2, "tab"), ("further line", "a: b\n\tc\n", 2, "tab"),
            ("quoted", "a: 'b\n\tc'\n", 1, "indented"), ("brackets", "a: [\n\tb]\n", 2, "tab")))

    def test_quotes(self):
        self.check((
            ("single, open", "a: 1\nb: 'c\n", 2, "not closed"), ("double, open", 'a: "c\n', 1, "not closed"),
            ("line not indented", "a: 'b\nc'\n", 1, "indented"),
            ("nested, not indented", "a:\n  b: \"c\n  d\"\n", 2, "indented"),
            ("a marker inside", "a: 'b\n---\n c'\n", 2, "document"),
            ("unknown escape", 'a: "\\q"\n', 1, "escape"), ("short \\x", 'a: "\\x4"\n', 1, "escape"),
            ("no hex", 'a: "\\u00_1"\n', 1, "escape"), ("hex beyond ASCII", 'a: "\\x１１"\n', 1, "escape"),
            ("surrogate", 'a: "\\ud800"\n', 1, "escape"), ("surrogate pair", 'a: "\\ud83d\\ude00"\n', 1, "escape"),
            ("beyond Unicode", 'a: "\\U00110000"\n', 1, "escape"),
            ("cut escape", 'a: "\\u12', 1, "escape")))

    def test_brackets(self):
        self.check((
            ("open list", "a: 1\nb: [1,\n  2\n", 2, "not closed"), ("open mapping", "a: {b: 1\n", 1, "not closed"),
            ("closed by the other", "a: [1}\n", 1, "']'"),
            ("bracket in the first column", "a: [\n  1\n]\n", 3, "the closing bracket too"),
            ("item in the first column", "a: [1,\n2]\n", 2, "indent by 1"),
            ("no comma", "a: ['b' 'c']\n", 1, "','"), ("empty item", "a: [1,,2]\n", 1, "unexpected ',2]'"),
            ("only a comma", "a: [,]\n", 1, "unexpected ',]'"), ("single pair", "a: [b: 1]\n", 1, "','"),
            ("key alone", "a: {b}\n", 1, "no 'key: value'"),
            ("key alone in quotes", "a: {'b', c: 1}\n", 1, "no 'key: value'"), ("a:1", "a: {b:1}\n", 1, "no 'key: value'"),
            ("a:[1]", "a: {b:[1]}\n", 1, "no 'key: value'"),
            ("colon at the end", "a: {b:}\n", 1, "no 'key: value'"),
            ("list as a key", "a: {[b]: 1}\n", 1, "no 'key: value'"), ("list as a block key", "[a]: 1\n", 1, "key within"),
            ("comment without a blank", "a: [1,#b\n 2]\n", 1, "'#'"),
            ("dash alone", "a: [-]\n", 1, "list"), ("dash", "a: [- b]\n", 1, "list"),
            ("key over two lines", "a: {b\n c: 1}\n", 1, "no 'key: value'")))

    def test_characters(self):
        for char in "\0\x01\x08\x0b\x0c\x1c\x1f\x7f\x80\x85\x9f\u2028\u2029\ud800\udfff\ufeff\ufffe\uffff":
            self.check((
                (f"plain {ascii(char)}", f"a: 1\nb: c{char}\n", 2, "character"),
                (f"quoted {ascii(char)}", f"a: '{char}'\n", 1, "character"),
                (f"comment {ascii(char)}", f"a: 1 # {char}\n", 1, "character"),
                (f"key {ascii(char)}", f"a: 1\nb{char}: 1\n", 2, "character")))

    def test_anchors(self):
        self.check((
            ("unknown", "a: *x\n", 1, "'*x'"), ("below", "a: *x\nb: &x 1\n", 1, "'*x'"),
            ("in itself", "a: &x [1, *x]\n", 1, "'*x'"),
            ("in itself, named before", "a: &x 1\nb: &x [*x]\n", 2, "'*x'"),
            ("named again within itself", "a: &x [&x 1, *x]\n", 1, "'&x'"), ("before a key", "&x a: 1\n", 1, "key within"),
            ("before a nested key", "a:\n  &x b: 1\n", 2, "key within"),
            ("before an item's key", "a:\n- &x b: 1\n", 2, "key within"),
            ("alias as a key", "a: &x b\n*x : 1\n", 2, "'*x : 1'"),
            ("alias as a flow key", "a: &x b\nc: {*x : 1}\n", 2, "'*x : 1}'"), ("twice", "a: &x &y 1\n", 1, "once"),
            ("before an alias", "a: &x 1\nb: &y *x\n", 2, "alias"),
            ("in brackets before an alias", "a: [&x 1, &y *x]\n", 1, "alias"), ("no name", "a: & 1\n", 1, "name"),
            ("list behind it", "a: &x - 1\n", 1, "list"),
            ("no value in brackets", "a: [&x , 1]\n", 1, "unexpected ', 1]'")))

    def test_integers_beyond_4300_digits(self):
        self.check((
            ("decimal", "a: " + "1" * 4301 + "\n", 1, "4300 digits"),
            ("negative", "a: -" + "1" * 4301 + "\n", 1, "4300 digits"),
            ("hex", "a: 0x" + "f" * 4000 + "\n", 1, "4300 digits"),
            ("octal", "a: 0o" + "7" * 5000 + "\n", 1, "4300 digits"),
            ("in a list", "a: 1\nb: [" + "1" * 4301 + "]\n", 2, "4300 digits"),
            ("a key", "1" * 1024 + "1" * 4000 + ": 1\n", 1, "4300 digits")))
        exman.dump_yaml(exman.load_yaml("a: " + "9" * 4300 + "\nb: 0x" + "f" * 3500 + "\n"))

    def test_nesting_beyond_64(self):
        blocks = "".join(" " * depth + f"k{depth}:\n" for depth in range(80))
        self.check((
            ("brackets", "a: " + "[" * 65 + "]" * 65 + "\n", 1, "more than 64"),
            ("a million brackets", "a: " + "[" * 1_000_000, 1, "more than 64"),
            ("braces", "a: " + "{b: " * 65 + "}" * 65 + "\n", 1, "more than 64"),
            ("dashes", "a:\n" + "- " * 65 + "1\n", 2, "more than 64"),
            ("a million dashes", "a:\n" + "- " * 500_000 + "1\n", 2, "more than 64"),
            ("keys", blocks, 66, "more than 64"), ("through aliases",
             "a: &x " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 25 + "*x" + "]" * 25 + "\n", 2, "more than 64"),
            ("past an anchor within", "a: &x [" + "[" * 40 + "]" * 40 + ", &y 1]\nb: " + "[" * 25 + "*x" + "]" * 25 + "\n",
             2, "more than 64"),
            ("through chained aliases", "a: &x0 [1]\n" + "".join(f"k{n}: &x{n} [*x{n - 1}]\n" for n in range(1, 99)), 65,
             "more than 64")))
        deepest = exman.load_yaml("a: &x " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 24 + "*x" + "]" * 24 +
                                  "\nc: [" + "{d: " * 63 + "}" * 63 + "]\n")
        self.assertEqual(exman.load_yaml(exman.dump_yaml(deepest)), deepest)

    def test_yaml_bomb(self):
        bomb = "a0: &a0 [lol, lol]\n" + "".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 4}]\n" for n in range(1, 40))
        with self.assertRaisesRegex(exman.YAMLError, r"line 1[0-9]: a yaml bomb"):
            exman.load_yaml(bomb)
        with self.assertRaisesRegex(exman.YAMLError, "a yaml bomb"):
            exman.load_yaml("a: &x " + "x" * 1_000_000 + "\nb: [" + "*x, " * 11 + "]\n")
        self.assertEqual(len(exman.load_yaml("a: &x " + "x" * 1_000_000 + "\nb: [" + "*x, " * 9 + "]\n")["b"]), 9)

    def test_the_error_pickles(self):
        import pickle
        with self.assertRaises(exman.YAMLError) as caught:
            exman.load_yaml("a: 1\nb: !x\n")
        copy = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual((str(copy), copy.line), (str(caught.exception), 2))


class LoadYamlDoors(unittest.TestCase):
    """The doors beside load_yaml: a config file's scalars as text, and the value of one line."""

    def test_plain_values_are_given_as_they_stand(self):
        text = ("# c\nlr: 1e-3\nno: no\n1: '1'\nsizes: [1, \"2\", {3: 4}]\nempty:\nlist:\n- 05\n-\nfolded: a\n  b\n"
                "x: &a 1_0\ny: *a\n")
        params, lines = exman._parse_yaml(text, lambda scalar: ("text", scalar))
        self.assertEqual(params, {
            "lr": ("text", "1e-3"), "no": ("text", "no"), 1: "1", "sizes": [("text", "1"), "2", {3: ("text", "4")}],
            "empty": ("text", ""),
            "list": [("text", "05"), ("text", "")], "folded": ("text", "a b"), "x": ("text", "1_0"), "y": ("text", "1_0")})
        self.assertEqual(lines, {"lr": 2, "no": 3, 1: 4, "sizes": 5, "empty": 6, "list": 7, "folded": 10, "x": 12, "y": 13})

    def test_lines_of_the_outermost_keys_alone(self):
        for name, text, lines in (
                ("nested", "a:\n  b: 1\n  c: 2\nd: 3\n", {"a": 1, "d": 4}),
                ("document", "\r\n---\r\n# x\r\na: 1\r\n", {"a": 4}),
                ("braces", "{a: 1,\n b: {c: 1}, d: 2}\n", {"a": 1, "b": 2, "d": 2}),
                ("quoted", "'a': 'b\n\n  c'\n\"d\": 1\n", {"a": 1, "d": 4})):
            with self.subTest(name):
                self.assertEqual(exman._parse_yaml(text, exman._resolve)[1], lines)

    def test_an_error_of_plain_passes_with_its_line(self):
        def refuse(text):
            raise exman.YAMLError("no such value")
        with self.assertRaises(exman.YAMLError) as caught:
            exman._parse_yaml("'a': 'b'\nc: d\n", refuse)
        self.assertEqual(str(caught.exception), "line 2: no such value")

    def test_the_value_of_one_line(self):
        for text, value in (("1", 1), ("", None), ("'a: b'", "a: b"), ("[1, {a: b}] # c", [1, {"a": "b"}]), ("# c", None),
            ("a b", "a b"), ("1.0e-05", 1e-05),
                            ('"\\n"', "\n"), (" \tx ", "x")):
            with self.subTest(text=text):
                self.assertEqual(exact(exman._scalar_line_value(text)), exact(value))
        for text in ("a: b", "- a", "[1", "'a", "*x", "!x", "1\nb: 2", "1\rb: 2", "a\n  b", "\ufeff", "|"):
            with self.subTest(text=text), self.assertRaises(exman.YAMLError):
                exman._scalar_line_value(text)

    def test_the_fast_lines_agree_with_the_full_parser(self):
        values = ["1", "-1", "01", "-0", "1.5", "1.", ".5", "1e5", "1.0e-05", "1.0e5", "1.0e-5000", "9" * 19, "--1", "-",
            "- ", "-a", "a", "a ", "a b", "a  b", "a:b", "a: b", "a:", "a#b",
                  "a #b", "a\"b'c", "null", "NULL", "~", "~a", "true", "tRUE", "/", "/x y", ".inf", "-.inf", ".nan",
                  "-.nan", "+.inf", "''", "'a'", "'a' ", "'a''b'", "'''", "'a: b # c'",
                  '"a"', "[]", "[ ]", "[1]", "[1, 2.5, a]", "[1,2]", "[1, 2", "[1, 2,]", "[a b]", "[-]", "[-1, -a]",
                  "[--1]", "[., .5, +1]", "[null, true, .nan]", "{}", "*a", "&a 1", "!a", "|", "%a",
                  "", " 1", "\t1", "1\t", "é", "'é'", "'\t'", "a\tb", "=", "<<", "0x1f", "0o7", "1_0"]
        for value in values:
            for key in ("k", "a-b", "_", "null", "True", "nullx", "1", "a b", "'k'", "<<"):
                for text in (f"{key}: {value}\n", f"first: 1\n{key}: {value}\nlast: x\n", f"{key}: {value}",
                    f"k: 1\n{key}: {value}\n"):
                    with self.subTest(text=text):
                        self.assertEqual(*agreement(text))


def agreement(text):
    """What load_yaml makes of a text, and what the full parser makes of it: the value, or the words of the error."""
    ends = []
    for read in (exman.load_yaml, lambda text: exman._parse_yaml(text, exman._resolve)[0]):
        try:
            ends.append(exact(read(text)))
        except exman.YAMLError as error:
            ends.append(str(error))
    return ends


class LoadYamlIsLinear(unittest.TestCase):
    """Texts that would take a careless parser minutes, megabytes of stack or gigabytes: each a value or a YAMLError at once."""

    def test_hostile_texts_end(self):
        n = 200_000
        for name, text in (
                ("blanks", "a: b" + " " * n + "c\n"), ("blanks at the end", "a: b" + " " * n),
                ("blanks as indentation", "a:\n" + " " * n + "b: 1\n"), ("words", "a: b" + " c" * n + ":\n"),
                ("double quotes", "a: " + '"' * n), ("single quotes", "a: " + "'" * n), ("escapes", 'a: "' + '\\"' * n),
                ("escapes in a key", '"' + '\\"' * n), ("quotes in a key", "'" + "''" * n),
                ("brackets", "a: " + "[" * n), ("open list", "a: [" + "b, " * n), ("keys in a line", "a: " * n),
                ("dashes", "- " * n), ("blank lines", "a:" + "\n" * n + "b: 1\n"),
                ("blank lines in a value", "a: b" + "\n" * n + " c\n"),
                ("tab lines", "a: b\n" + "\t\n" * n), ("comments", "a: 1\n" + "#\n" * n), ("hashes", "a: b" + " #" * n),
                ("colons", "a: b" + ":" * n), ("lines in quotes", "a: '" + "x\n " * n),
                ("joined lines", 'a: "' + "\\\n " * n),
                ("digits", "a: " + "1" * n), ("float", "a: 1." + "1" * n), ("exponent", "a: 1e" + "1" * n),
                ("returns", "a: 1" + "\r" * n), ("anchors", "a: " + "&a [" * n), ("ampersands", "a: " + "&" * n),
                ("ends", "...\n" * n), ("one word", "a" * n)):
            with self.subTest(name):
                agreement(text)


if hypothesis:
    SETTINGS = hypothesis.settings(max_examples=3000, deadline=None, derandomize=True, database=None,
                                   suppress_health_check=list(hypothesis.HealthCheck))
    TEXT = st.one_of(st.text(), st.sampled_from(ODD_STRINGS),
    st.text("yesno~:#-?[]{},&*!|>'\"%@`=<.0123456789eExXob_+ \t\n\\é\x85", max_size=8))
    KEY = st.one_of(TEXT.map(lambda text: text[:90]), st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False))
    SCALAR = st.one_of(TEXT, st.none(), st.booleans(), st.integers(), st.floats())
    VALUE = st.recursive(SCALAR,
        lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEY, inner, max_size=4)), max_leaves=8)
    PARAMS = st.dictionaries(KEY, VALUE, max_size=5)
    # A text near to YAML: a valid one in which pieces are put in, taken out and replaced.
    VALID = st.sampled_from((
        "a: 1\nb: 2\n", "a:\n- 1\n- 2\nb: x\n", "a:\n  b: 1\n  c: [1, 2]\nd: {e: f, g: 'h'}\n",
        "a: 'x\n  y'\nb: \"p\\\n  q\\tz\"\n", "a: x y\n  z\n\n  w\nb: -1.5\n",
        "a: &A [1, 2]\nb: *A\nc: {x: *A, y: &B q}\nd: *B\n", "---\n# c\na: 1 # d\n...\n",
        "a:\n- - 1\n  - 2\n- b: 1\n  c: 2\n", "'a b': \"c\"\n\"d\": 'e''f'\n",
        "a: [x,\n  y, {z: 1,\n  w: 2}]\nb: true\n", "a:\n  b:\n  - c: d\n    e: null\n  - ~\nf: true\n",
        "{a: 1, 'b': [x, \"y\"], c: {d: e}}\n"))
    # What is left out of the mutations are ruamel.yaml's own errors, checked against YAML 1.2: a tab behind a value or before a
    # comment, `.5e3` (a float), `-0x1` and `1_0` (strings), '=' and '<<' as values (strings), dates (strings).
    PIECE = st.sampled_from((
        "\n", " ", "  ", "\n  ", "\n\n", "- ", "-", ": ", ":", "#", " #", "'", '"', "[", "]", "{", "}", ",", ", ", "&A ",
        "*A", "\\", "?", "? ", "!", "|", ">", "%", "@", "`", "~",
        "...", "---", "\n---\n", "\n...\n", "a", "x: ", "1", "0o7", " 0x1F", "1e3", "true", "null", "\r", "\r\n", "\u00e9",
        "\x85", "\u2028", "\\n", "\\x41", "\\ ", "''", "\ufeff"))


@unittest.skipUnless(hypothesis, "hypothesis makes the examples")
class YamlProperties(unittest.TestCase):
    """Promises over thousands of made-up values and texts."""

    if hypothesis:
        @SETTINGS
        @hypothesis.given(PARAMS)
        def test_what_is_dumped_is_loaded(self, params):
            self.assertEqual(*self.dumped(params, exman.load_yaml))

        @SETTINGS
        @hypothesis.given(PARAMS)
        @unittest.skipUnless(pyyaml, "PyYAML reads YAML 1.1")
        def test_what_is_dumped_is_read_by_yaml_1_1(self, params):
            self.assertEqual(*self.dumped(params, yaml_1_1))

        @SETTINGS
        @hypothesis.given(PARAMS)
        @unittest.skipUnless(ruamel, "ruamel.yaml reads YAML 1.2")
        def test_what_is_dumped_is_read_by_yaml_1_2(self, params):
            self.assertEqual(*self.dumped(params, yaml_1_2))

        @SETTINGS
        @hypothesis.given(VALID,
        st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.one_of(st.just(""), PIECE)), min_size=1, max_size=4))
        @unittest.skipUnless(ruamel, "ruamel.yaml reads YAML 1.2")
        def test_a_mutated_text_is_read_as_yaml_1_2_reads_it_or_refused(self, text, changes):
            for pos, gone, piece in changes:
                text = text[:pos] + piece + text[pos + gone:]
            if re.search(r"[-+]0[xo]|(?<![0-9])\.[0-9]+[eE]", text):
                return
            try:
                value = exman.load_yaml(text)
            except exman.YAMLError:
                return
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # ruamel.yaml warns of an anchor that is named twice
                self.assertEqual(exact(value), exact(yaml_1_2(text)))

        @SETTINGS
        @hypothesis.given(st.one_of(st.text(), st.lists(st.one_of(PIECE, VALID), max_size=12).map("".join)))
        def test_any_text_is_a_value_or_an_error_and_both_ways_agree(self, text):
            self.assertEqual(*agreement(text))

        @SETTINGS
        @hypothesis.given(st.lists(st.tuples(st.sampled_from(("a", "b", "null", "True", "x-y", "'q'", "1")), st.one_of(
            st.text(" abz'\"[],.:#-+~/0159eEn\t", max_size=8),
            st.from_regex(r"\A(-?[0-9]{1,3}(\.[0-9]{1,2}(e-?[0-9])?)?|\[[a-z0-9., -]{0,8}\]|'[ -~]{0,6}'|[a-z ]{0,8})\Z"))),
            max_size=4))
        def test_any_lines_of_key_and_value_agree(self, rows):
            self.assertEqual(*agreement("".join(f"{key}: {value}\n" for key, value in rows)))

    else:
        def test_properties(self):
            """Skipped: it stands for all of them."""

    def dumped(self, params, read):
        """The value that a reader makes of dump_yaml's text, and the value; a lone surrogate is refused instead."""
        try:
            text = exman.dump_yaml(params)
        except exman.YAMLError:
            self.assertRegex(exact(params), r"\\ud[89a-f]")
            return "", ""
        return exact(read(text)), exact(params)


# ---------------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------------

SYMLINKS = hasattr(os, "symlink") and os.name == "posix"


class TableCase(Case):
    """A root written by hand: run(3, lr="0.1") makes run 3 and its link in the index."""

    def setUp(self):
        super().setUp()
        self.index = exman.Index(self.root)

    def name(self, number):
        return f"{number:06d}-2026-11-23-13-{number % 60:02d}-00"

    def run_(self, number, text=None, name=None, part="runs", index=True, comments="", **params):
        """Write a run as exman 1.x does: values are YAML texts. text: the whole file instead."""
        name = name or self.name(number)
        if text is None:
            text = "".join(f"{key}: {value}\n" for key, value in params.items()) + comments
            text += f"root: {part}/{name}\ntime: '2026-11-23T13:{number % 60:02d}:00'\nid: {number}\n"
        folder = self.root / part / name
        folder.mkdir(parents=True)
        (folder / "params.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        if index:
            self.link(self.root / "index" / f"{name}.yaml", f"../{part}/{name}/params.yaml")
        return folder

    def link(self, path, target):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def clear(self):
        import shutil
        shutil.rmtree(str(self.root))

    def mark(self, mark, number):
        up = "../" * (mark.count("/") + 2)
        self.link(self.root / "marked" / mark / f"{self.name(number)}.yaml", f"{up}runs/{self.name(number)}/params.yaml")

    def rows(self, mark=None, root=None):
        """The rows as dicts; what is said about other runs is kept in self.problems."""
        _, rows, self.problems = exman._rows(root or self.root, mark)
        return rows

    def ids(self, mark=None):
        return [row["id"] for row in self.rows(mark)]

    def info_without_pandas(self, mark=None):
        from unittest import mock
        with mock.patch.dict(sys.modules, pandas=None):
            return self.index.info(mark)

    def one_problem(self, *parts):
        self.assertEqual(len(self.problems), 1, self.problems)
        for part in parts:
            self.assertIn(part, self.problems[0])


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTable(TableCase):
    def test_row_has_id_time_root_then_parameters_in_file_order(self):
        folder = self.run_(3, lr="0.1", epochs="5", amp="true", tag="'a b'", resume="null", sizes="[1, 2]")
        import datetime
        self.assertEqual(list(self.rows()[0].items()), [
            ("id", 3), ("time", datetime.datetime(2026, 11, 23, 13, 3)), ("root", folder), ("lr", 0.1), ("epochs", 5), ("amp", True),
            ("tag", "a b"), ("resume", None), ("sizes", [1, 2])])

    def test_rows_are_sorted_by_number_beyond_six_digits(self):
        for number in (1000000, 999999, 2):
            self.run_(number)
        self.assertEqual(self.ids(), [2, 999999, 1000000])

    def test_runs_of_one_number_are_sorted_by_name(self):
        for name in ("000001-2026-11-23-13-01-00-b", "000001-2026-11-23-13-01-00-a"):
            self.run_(1, name=name)
        self.assertEqual([row["root"].name[-1] for row in self.rows()], ["a", "b"])

    def test_columns_come_in_the_order_they_first_appear(self):
        self.run_(1, b="1", a="2")
        self.run_(2, c="3", a="4")
        self.assertEqual(exman._rows(self.root)[0], ["id", "time", "root", "b", "a", "c"])

    def test_parameter_that_a_run_lacks_is_none(self):
        self.run_(1, a="1")
        self.run_(2, b="2")
        self.run_(3, b="3", a="4")
        self.assertEqual([(row["a"], row["b"]) for row in self.rows()], [(1, None), (None, 2), (4, 3)])

    def test_parameters_named_root_time_id_are_ordinary_columns(self):
        self.run_(1, root_="/data", time_="3", id_="x")
        row = self.rows()[0]
        self.assertEqual((row["root_"], row["time_"], row["id_"]), ("/data", 3, "x"))

    def test_id_time_and_root_come_from_the_name(self):
        folder = self.run_(7, text="lr: 1\nroot: runs/elsewhere\ntime: yesterday\nid: 99\n")
        row = self.rows()[0]
        self.assertEqual((row["id"], str(row["time"]), row["root"]), (7, "2026-11-23 13:07:00", folder))
        self.assertEqual(list(row), ["id", "time", "root", "lr"])

    def test_root_of_a_tmp_run_is_in_tmp(self):
        folder = self.run_(4, part="tmp", lr="1")
        self.assertEqual(self.rows()[0]["root"], folder)

    def test_root_of_a_tmp_run_among_others_is_in_tmp(self):
        folders = [self.run_(1, lr="1"), self.run_(2, part="tmp", lr="1"), self.run_(3, lr="1")]
        self.assertEqual([row["root"] for row in self.rows()], folders)

    def test_relative_root_gives_absolute_paths_and_stays_where_it_was(self):
        folder = self.run_(1)
        index = exman.Index("exman")
        os.chdir("/")
        self.assertEqual(self.rows(root=index)[0]["root"], folder)

    def test_name_after_the_time_may_hold_anything(self):
        for suffix in ("", "-", "-a.yaml", "-ü b: c"):
            with self.subTest(suffix):
                folder = self.run_(5, name="000005-2026-11-23-13-05-00" + suffix, lr="1")
                self.assertEqual(self.rows()[-1]["root"], folder)
                os.unlink(str(self.root / "index" / (folder.name + ".yaml")))

    def test_foreign_names_are_ignored(self):
        self.run_(1)
        for foreign in (".000002-2026-11-23-13-02-00.yaml", "notes.yaml", "000003-2026-11-23.yaml", "000004-2026-11-23-13-04-00",
                        "٣-2026-11-23-13-03-00.yaml", "000005-2026-11-23-13-05-00x.yaml", "-2026-11-23-13-05-00.yaml",
                        "000006-2026-11-23-13-06-00.yaml\n"):
            (self.root / "index" / foreign).write_text("lr: 1\n")
        self.assertEqual(self.ids(), [1])
        self.assertEqual(self.problems, [])

    def test_copies_instead_of_links_are_read(self):
        folder = self.run_(2, index=False, lr="3")
        (self.root / "index").mkdir()
        (self.root / "index" / (folder.name + ".yaml")).write_bytes((folder / "params.yaml").read_bytes())
        self.assertEqual((self.rows()[0]["lr"], self.rows()[0]["root"]), (3, folder))

    def test_block_style_of_exman_0_1(self):
        name = self.name(1)
        self.run_(1, text=f"lr: 0.1\nroot: runs/{name}\nsizes:\n- 1\n- 2\ntext: a\n  b\ntime: '2026-11-23T13:01:00'\nid: 1\n")
        row = self.rows()[0]
        self.assertEqual((list(row)[3:], row["sizes"], row["text"]), (["lr", "sizes", "text"], [1, 2], "a b"))

    def test_table_writes_nothing(self):
        self.run_(1)
        before = sorted(self.folder.rglob("*"))
        self.rows()
        self.assertEqual(sorted(self.folder.rglob("*")), before)

    def test_root_without_an_index_is_an_empty_table(self):
        self.root.mkdir()
        self.assertEqual((self.rows(), self.problems), ([], []))

    def test_root_that_does_not_exist_is_an_empty_table_and_a_warning(self):
        self.assertEqual(self.rows(), [])
        self.one_problem(repr(str(self.root)), "No such file")
        self.assertFalse(self.root.exists())

    def test_root_that_is_a_file_is_an_empty_table_and_a_warning(self):
        self.root.write_text("")
        self.assertEqual(self.rows(), [])
        self.one_problem(repr(str(self.root)), "Not a directory")

    def test_mutating_a_cell_changes_no_other_row_and_no_later_table(self):
        for number in (1, 2):
            self.run_(number, sizes="[[1], 2]")
        first = self.rows(root=self.index)
        first[0]["sizes"][0].append(9)
        first[0]["sizes"].append(9)
        self.assertEqual(first[1]["sizes"], [[1], 2])
        self.assertEqual([row["sizes"] for row in self.rows(root=self.index)], [[[1], 2], [[1], 2]])


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTableLines(TableCase):
    """The fast way through exman's own files says what load_yaml says."""

    def same_as_load_yaml(self, body, number=1):
        name = self.name(number)
        text = f"{body}root: runs/{name}\ntime: '2026-11-23T13:{number:02d}:00'\nid: {number}\n"
        self.run_(number, text=text)
        rows = [row for row in self.rows() if row["id"] == number]
        try:
            values = exman.load_yaml(text)
        except exman.YAMLError:
            self.assertEqual(rows, [])
            self.one_problem(name)
            return
        for key in ("root", "time", "id"):
            del values[key]
        if any(type(key) is not str for key in values):
            self.assertEqual(rows, [])
            return
        row = {key: value for key, value in rows[0].items() if key not in ("root", "time", "id")}
        self.assertEqual(repr(row), repr(values))

    def test_agrees_with_load_yaml(self):
        for name, body in [
            ("comment before the end", "a: 1\n# b: 2\n# c\n"), ("comment between", "a: 1\n# x\nb: 2\n"), ("comment first", "# x\na: 1\n"),
            ("carriage return", "a: 1\r\nb: 2\r\n"), ("carriage return in a comment", "a: 1\n# x\rb: 2\n"),
            ("continued plain", "a: x\n  y: z\nb: 1\n"), ("continued quoted", "a: 'x\n\n  y'\nb: 1\n"), ("open bracket", "a: [1,\n  2]\n"),
            ("list below", "a: \n- 1\n- 2\n"), ("list below, no blank", "a:\n- b: 1\n"), ("empty", "a: \nb:\nc: 1\n"),
            ("anchor", "a: &x [1]\nb: *x\n"), ("null as a key", "null: 1\n"), ("number as a key", "1: 2\n"), ("quoted key", "'8': 1\n"),
            ("flow", "{a: 1}\n"), ("document start", "--- \na: 1\n"), ("document in the middle", "a: 1\n--- b: 2\n"),
            ("document end", "a: 1\n...\n"), ("byte order mark", "\ufeffa: 1\n"), ("duplicate", "a: 1\na: 2\n"), ("own duplicate", "id: 1\n"),
            ("indented", " a: 1\n"), ("blank line", "a: 1\n\nb: 2\n"), ("comment behind", "a: 1 # b\n"), ("colon in a value", "a: b: c\n"),
            ("colon in quotes", "a: 'b: c'\n"), ("blank in a key", "a b: 1\n"), ("blank behind a key", "a : 1\n"), ("unicode", "ключ: ☃\n"),
            ("tag", "a: !!int 1\n"), ("literal", "a: |\n  x\n"), ("no colon", "a\n"), ("nothing", ""), ("next line", "a: x\x85b: 2\n"),
            ("a NUL first", "\0a: 1\n"), ("a NUL in a value", "a: x\0y\n"), ("a NUL in a comment", "a: 1\n# \0\n"),
            ("an escaped NUL", 'a: "\\0"\n'),
        ]:
            with self.subTest(name):
                self.same_as_load_yaml(body)
            self.clear()

    def test_files_of_one_length_whose_keys_differ(self):
        self.run_(1, a="1", b="2")
        self.run_(2, b="1", a="2")
        self.run_(3, a="3", c="4")
        self.assertEqual([(row["a"], row["b"], row["c"]) for row in self.rows()], [(1, 2, None), (2, 1, None), (3, None, 4)])

    def test_a_longer_file_does_not_shift_the_next(self):
        for number in range(1, 9):
            self.run_(number, **{f"p{i}": str(10 * number + i) for i in range(1 + number % 3)})
        self.assertEqual([row["p0"] for row in self.rows()], [10 * number for number in range(1, 9)])

    def test_a_line_that_one_file_lacks_and_the_next_has_twice_is_not_lent(self):
        for number, text in ((1, "a: 1\nb: 1\n"), (2, "a: 2\n"), (3, "b: 3\na: 3\nc: 3\n"), (4, "a: 4\nb: 4\n")):
            self.run_(number, text=f"{text}root: runs/{self.name(number)}\ntime: '2026-11-23T13:0{number}:00'\nid: {number}\n")
        self.assertEqual([(row["a"], row["b"], row["c"]) for row in self.rows()], [(1, 1, None), (2, None, None), (3, 3, 3), (4, 4, None)])

    def test_a_line_appended_to_one_of_many_files_costs_its_row_alone(self):
        for number in range(1, 151):
            self.run_(number, a=str(number), b="1")
        for number in (64, 100, 128):
            with (self.root / "runs" / self.name(number) / "params.yaml").open("a") as file:
                file.write("a: 999\n")
        self.assertEqual([(row["id"], row["a"], row["b"]) for row in self.rows()],
                         [(number, number, 1) for number in range(1, 151) if number not in (64, 100, 128)])
        self.assertEqual(len(self.problems), 3)

    def test_a_file_cut_within_its_id_takes_nothing_from_the_next(self):
        self.run_(12, a="12")
        self.run_(13, a="13")
        path = self.root / "runs" / self.name(12) / "params.yaml"
        path.write_bytes(path.read_bytes()[:-2])
        path = self.root / "runs" / self.name(13) / "params.yaml"
        path.write_bytes(b"2\n" + path.read_bytes())
        self.assertEqual([(row["id"], row["a"]) for row in self.rows()], [(12, 12)])
        self.one_problem(self.name(13))

    def test_lines_that_stand_in_the_next_file_are_not_lent_back(self):
        for number in range(1, 5):
            self.run_(number, a=str(number))
        one, two = (self.root / "runs" / self.name(number) / "params.yaml" for number in (2, 3))
        text, next_text = one.read_bytes(), two.read_bytes()
        for moved in (b"root", b"id", b"2\n"):
            with self.subTest(moved):
                cut = text.rindex(moved)
                one.write_bytes(text[:cut])
                two.write_bytes(text[cut:] + next_text)
                self.assertEqual([(row["id"], row["a"]) for row in self.rows()], [(1, 1), (2, 2), (4, 4)])
                self.one_problem(self.name(3))

    def test_a_value_that_one_of_many_runs_changes(self):
        for number in range(1, 301):
            self.run_(number, a="8" if number == 200 else "7", b="x", **({} if number == 130 else {"c": "[1]"}))
        rows = self.rows()
        self.assertEqual([row["a"] for row in rows], [7] * 199 + [8] + [7] * 100)
        self.assertEqual([row["b"] for row in rows], ["x"] * 300)
        self.assertEqual([row["c"] for row in rows], [[1]] * 129 + [None] + [[1]] * 170)

    def test_a_value_that_is_the_same_in_the_first_and_the_last_run_alone(self):
        for number, value in ((1, "x"), (2, "y"), (3, "x")):
            self.run_(number, a=value)
        self.assertEqual([row["a"] for row in self.rows()], ["x", "y", "x"])

    def test_files_that_do_not_end_as_exman_ends_them(self):
        own = f"root: runs/{self.name(2)}\ntime: '2026-11-23T13:02:00'\n"
        for text, expected in ((f"{own}id: 2\na: 1\n", 1), (f"{own}id: 2\na: 1", 1), (f"{own}a: 1\n", 1), (f"a: 2\n{own}id: 2\nb: 1", 2),
                               (f"a: 3\n{own}id: 7\n", 3), (f"a: 4\nb: 1\n{own}", 4), (f"a: 6\n{own}b: 1\n", 6),
                               (f"a: 7\nroot: runs/{self.name(2)}\nb: 1\nid: 2\n", 7)):
            with self.subTest(text):
                for number in (1, 3):
                    self.run_(number, a="5")
                self.run_(2, text=text)
                self.assertEqual([row["a"] for row in self.rows()], [5, expected, 5])
                self.assertEqual([row.get("b") for row in self.rows()][1], 1 if "b: 1" in text else None)
            self.clear()

    def test_numbers_without_zeros_in_front_are_sorted_as_numbers(self):
        for number in (9, 10, 11):
            self.run_(number, name=self.name(number).lstrip("0"), a=str(number))
        self.assertEqual([(row["id"], row["a"], row["root"].name[:2]) for row in self.rows()], [(9, 9, "9-"), (10, 10, "10"), (11, 11, "11")])

    def test_file_without_a_last_line_break(self):
        for number in (1, 2):
            folder = self.run_(number, a=str(number))
            (folder / "params.yaml").write_bytes((folder / "params.yaml").read_bytes()[:-1])
        self.assertEqual([row["a"] for row in self.rows()], [1, 2])

    def test_more_distinct_values_than_are_kept(self):
        kept, exman._TEXTS_KEPT = exman._TEXTS_KEPT, 7
        self.addCleanup(setattr, exman, "_TEXTS_KEPT", kept)
        for number in range(1, 133):
            self.run_(number, a=str(number), b="[x]")
        self.assertEqual([(row["a"], row["b"]) for row in self.rows()], [(number, ["x"]) for number in range(1, 133)])


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTableFaults(TableCase):
    """Whatever stands in a root costs its own row and one warning that names it."""

    def setUp(self):
        super().setUp()
        self.run_(1, lr="0.1")
        self.run_(3, lr="0.3")
        self.entry = self.root / "index" / f"{self.name(2)}.yaml"

    def only_its_row(self, *parts):
        self.assertEqual([(row["id"], row["lr"]) for row in self.rows()], [(1, 0.1), (3, 0.3)])
        self.one_problem(repr(str(self.entry)), *parts)

    def test_dangling_link(self):
        self.link(self.entry, "../runs/gone/params.yaml")
        self.only_its_row("exman fix")

    def test_link_to_itself(self):
        self.link(self.entry, self.entry.name)
        self.only_its_row("symbolic links")

    def test_entry_that_vanishes_while_it_is_read_is_no_problem(self):
        self.run_(2, lr="0.2")
        from unittest import mock

        def open_late(path, *args, real=os.open, **kwargs):
            if path == str(self.entry):
                self.entry.unlink()
            return real(path, *args, **kwargs)
        with mock.patch("os.open", open_late):
            self.assertEqual((self.ids(), self.problems), ([1, 3], []))

    def test_broken_yaml(self):
        self.run_(2, text="lr: [1\n")
        self.only_its_row(f"exman delete {self.name(2)}")

    def test_bytes_that_are_not_utf_8(self):
        self.run_(2, text=b"lr: \xff\n")
        self.only_its_row("byte 4 is not UTF-8")

    def test_key_that_is_no_string(self):
        self.run_(2, text="1: 2\n")
        self.only_its_row("key 1 ")

    def test_impossible_time(self):
        for stamp in ("2026-13-01-00-00-00", "2026-02-30-00-00-00", "2026-01-01-24-00-00", "9999-01-01-00-00-00", "0000-01-01-00-00-00"):
            with self.subTest(stamp):
                self.entry = self.root / "index" / f"000002-{stamp}.yaml"
                moment = f"{stamp[:10]}T{stamp[11:].replace('-', ':')}"
                for own in ("", f"root: runs/000002-{stamp}\ntime: '{moment}'\nid: 2\n"):
                    self.entry.write_text(f"lr: 1\n{own}")
                    self.only_its_row(f"exman delete 000002-{stamp}")
                    self.entry.unlink()

    def test_folder(self):
        self.entry.mkdir()
        self.only_its_row(os.strerror(errno.EISDIR))

    @unittest.skipUnless(hasattr(os, "mkfifo"), "no FIFOs")
    def test_fifo_does_not_block(self):
        os.mkfifo(str(self.entry))
        self.only_its_row("no regular file")

    @unittest.skipUnless(os.path.exists("/dev/zero"), "no /dev/zero")
    def test_endless_device(self):
        self.link(self.entry, "/dev/zero")
        self.only_its_row("no regular file")

    def test_huge_sparse_file(self):
        with self.entry.open("wb") as file:
            file.truncate(1 << 30)
        self.only_its_row("16 MiB")

    @unittest.skipIf(os.name != "posix" or os.geteuid() == 0, "root reads everything")
    def test_unreadable_file(self):
        self.entry.write_text("lr: 1\n")
        self.entry.chmod(0)
        self.only_its_row("Permission denied")

    def test_every_error_of_open(self):
        self.entry.write_text("lr: 1\n")
        import errno
        from unittest import mock
        for code in (errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE):
            def fail(path, *args, code=code, real=os.open, **kwargs):
                if path == str(self.entry):
                    raise OSError(code, os.strerror(code))
                return real(path, *args, **kwargs)
            with self.subTest(os.strerror(code)), mock.patch("os.open", fail):
                self.only_its_row(os.strerror(code), f"`exman delete {self.name(2)}`")

    def test_warning_points_at_the_caller(self):
        self.link(self.entry, "nowhere")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.index.info()
        ours = [warning for warning in caught if repr(str(self.entry)) in str(warning.message)]
        self.assertEqual([warning.filename for warning in ours], [__file__])

    def test_many_aliases_of_one_list_stay_small(self):
        lines = "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 15))
        self.run_(2, text="lr: 0.2\na0: &a0 [1, 1]\n" + lines)
        self.assertEqual(self.rows()[1]["a1"], [[1, 1], [1, 1]])


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTableAgain(TableCase):
    """A second info() of one Index."""

    def opened(self, mark=None):
        """The runs whose files the next table opens, and that table's ids."""
        from unittest import mock
        with mock.patch("os.open", wraps=os.open) as opened:
            ids = [row["id"] for row in self.rows(mark, root=self.index)]
        return [int(pathlib.Path(call[0][0]).name[:6]) for call in opened.call_args_list], ids

    def setUp(self):
        super().setUp()
        for number in (1, 2):
            self.run_(number, lr="0.1")
        self.opened()

    def test_reads_only_what_is_new(self):
        self.run_(3)
        self.assertEqual(self.opened(), ([3], [1, 2, 3]))

    def test_reads_again_what_has_changed(self):
        self.run_(3, lr="0.3")
        self.opened()
        path = self.root / "runs" / self.name(2) / "params.yaml"
        path.write_text("lr: 0.25\n")
        self.assertEqual(self.opened(), ([2], [1, 2, 3]))
        self.assertEqual([row["lr"] for row in self.rows(root=self.index)], [0.1, 0.25, 0.3])

    def test_same_size_and_inode_with_another_mtime_has_changed(self):
        path = self.root / "runs" / self.name(2) / "params.yaml"
        info = path.stat()
        with path.open("r+b") as file:
            file.write(b"lr: 0.7")
        os.utime(str(path), ns=(info.st_atime_ns, info.st_mtime_ns + 1000))
        self.opened()
        self.assertEqual(self.rows(root=self.index)[1]["lr"], 0.7)

    def test_run_that_vanished_leaves(self):
        (self.root / "index" / f"{self.name(1)}.yaml").unlink()
        self.assertEqual(self.opened(), ([], [2]))

    def test_broken_file_is_named_each_time_and_parsed_once(self):
        self.run_(3, text="lr: [1\n")
        self.opened()
        self.assertEqual(self.opened(), ([], [1, 2]))
        self.one_problem(self.name(3))

    def test_mark_reads_nothing_that_the_whole_table_has_read(self):
        self.mark("best", 2)
        self.assertEqual(self.opened("best"), ([], [2]))
        self.assertEqual(self.opened(), ([], [1, 2]))


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTableMarks(TableCase):
    def setUp(self):
        super().setUp()
        for number in (1, 2, 3, 4):
            self.run_(number, lr=f"0.{number}")

    def test_runs_of_a_mark(self):
        self.mark("best", 3)
        self.mark("best", 1)
        self.assertEqual(self.ids("best"), [1, 3])

    def test_nested_marks_are_taken_and_each_run_once(self):
        for mark, number in (("a", 1), ("a/b", 1), ("a/b/c", 2), ("ab", 3)):
            self.mark(mark, number)
        self.assertEqual([self.ids(mark) for mark in ("a", "a/b", "a/b/", pathlib.Path("a") / "b")], [[1, 2]] * 4)

    def test_unknown_mark_is_a_key_error_that_lists_the_marks(self):
        self.mark("best/lr", 1)
        self.mark("good", 1)
        with self.assertRaises(KeyError) as caught:
            self.index.info("bset")
        self.assertEqual(caught.exception.args[0], "no mark 'bset': there are 'best', 'best/lr', 'good'")

    def test_unknown_mark_where_there_are_none(self):
        with self.assertRaises(KeyError) as caught:
            self.index.info("best")
        self.assertEqual(caught.exception.args[0], f"no mark 'best': {str(self.root)!r} has none")

    def test_mark_that_leaves_the_marks_is_unknown(self):
        self.mark("best", 1)
        for mark in (str(self.root / "marked" / "best"), "/best", "../index", "best/..", "../marked/best", "..", ".", "", "/", "a\0b", "x" * 5000):
            with self.subTest(mark[:40]), self.assertRaises(KeyError):
                self.index.info(mark)

    def test_marks_are_sorted_and_empty_ones_left_out(self):
        self.mark("b/c", 1)
        self.mark("a", 2)
        (self.root / "marked" / "empty" / "deep").mkdir(parents=True)
        (self.root / "marked" / ".hidden").mkdir()
        (self.root / "marked" / "notes.txt").write_text("")
        self.assertEqual(exman._marks(str(self.root)), ["a", "b", "b/c"])

    def test_linked_folder_is_no_mark(self):
        outside = self.folder / "outside"
        outside.mkdir()
        (outside / f"{self.name(1)}.yaml").write_text("lr: 1\n")
        self.mark("best", 2)
        self.link(self.root / "marked" / "planted", str(outside))
        self.link(self.root / "marked" / "best" / "deeper", str(outside))
        self.assertEqual((exman._marks(str(self.root)), self.ids("best")), (["best"], [2]))

    def test_folder_links_of_exman_0_1(self):
        name = self.name(2)
        self.link(self.root / "marked" / "user" / "ann" / name, f"../../../runs/{name}")
        self.assertEqual([(row["id"], row["lr"], row["root"]) for row in self.rows("user")], [(2, 0.2, self.root / "runs" / name)])

    def test_folder_link_that_leaves_the_root_is_not_read(self):
        outside = self.folder / "exman-outside"
        outside.mkdir()
        (outside / "params.yaml").write_text("lr: 666\n")
        self.mark("best", 1)
        self.link(self.root / "marked" / "best" / self.name(2), str(outside))
        self.assertEqual(self.ids("best"), [1])
        self.one_problem(f"`exman delete {self.name(2)}`")

    def test_folder_link_that_dangles_costs_its_row_and_a_warning(self):
        self.mark("best", 1)
        self.link(self.root / "marked" / "best" / self.name(9), f"../../runs/{self.name(9)}")
        self.assertEqual(self.ids("best"), [1])
        self.one_problem(self.name(9), "exman fix")

    def test_folder_link_to_a_run_that_cannot_be_read_is_named(self):
        self.mark("best", 1)
        (self.root / "runs" / self.name(9) / "params.yaml").mkdir(parents=True)
        self.link(self.root / "marked" / "best" / self.name(9), f"../../runs/{self.name(9)}")
        self.assertEqual(self.ids("best"), [1])
        self.one_problem(f"`exman delete {self.name(9)}`")

    def test_root_reached_through_a_link(self):
        name = self.name(2)
        self.link(self.root / "marked" / "best" / name, f"../../runs/{name}")
        self.link(self.folder / "other", str(self.root))
        self.assertEqual(self.rows("best", self.folder / "other")[0]["root"], self.folder / "other" / "runs" / name)

    def test_copies_of_the_yaml_count_as_entries(self):
        folder = self.root / "marked" / "best"
        folder.mkdir(parents=True)
        (folder / f"{self.name(3)}.yaml").write_bytes((self.root / "runs" / self.name(3) / "params.yaml").read_bytes())
        self.assertEqual(self.ids("best"), [3])


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTableReaders(TableCase):
    def test_slow_files_are_read_by_many_at_once_and_come_in_order(self):
        import threading
        import time
        from unittest import mock
        readers = set()

        def slow(path, *args, real=os.open, **kwargs):
            time.sleep(0.002)
            readers.add(threading.get_ident())
            return real(path, *args, **kwargs)
        for number in range(1, 100):
            self.run_(number, lr=str(number))
        with mock.patch("os.open", slow):
            rows = self.rows()
        self.assertEqual([row["lr"] for row in rows], list(range(1, 100)))
        self.assertGreater(len(readers), 4)

    def test_quick_files_are_read_by_no_thread(self):
        import concurrent.futures  # noqa: F401, it is patched
        from unittest import mock
        for number in range(1, 100):
            self.run_(number)
        with mock.patch.object(exman, "_SLOW_READ", 60), mock.patch("concurrent.futures.ThreadPoolExecutor", side_effect=AssertionError):
            self.assertEqual(len(self.rows()), 99)

    def progress(self, seconds, terminal=True):
        """What is written on stderr where each of three files takes so long."""
        from unittest import mock
        stderr = io.StringIO()
        stderr.isatty = lambda: terminal
        clock = iter(seconds * tick for tick in range(100))
        for number in (1, 2, 3):
            self.run_(number)
        with mock.patch("time.monotonic", lambda: next(clock)), contextlib.redirect_stderr(stderr):
            self.rows()
        return stderr.getvalue()

    def test_long_table_is_counted_on_a_terminal_and_cleared(self):
        text = self.progress(3)
        self.assertTrue(text.startswith("\rexman: 0 of 3 runs\rexman: "), repr(text))
        self.assertTrue(text.endswith("\r" + " " * len("exman: 0 of 3 runs") + "\r"), repr(text))
        self.assertNotIn("\n", text)

    def test_short_table_is_silent(self):
        self.assertEqual(self.progress(0.1), "")

    def test_no_progress_where_stderr_is_no_terminal(self):
        self.assertEqual(self.progress(3, terminal=False), "")


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTableWithoutPandas(TableCase):
    def test_list_of_dicts_with_the_same_keys(self):
        import datetime
        one, two = self.run_(1, a="1"), self.run_(2, b="[2]")
        self.assertEqual(self.info_without_pandas(), [
            {"id": 1, "time": datetime.datetime(2026, 11, 23, 13, 1), "root": one, "a": 1, "b": None},
            {"id": 2, "time": datetime.datetime(2026, 11, 23, 13, 2), "root": two, "a": None, "b": [2]}])

    def test_empty_list_for_an_empty_root(self):
        self.root.mkdir()
        self.assertEqual(self.info_without_pandas(), [])


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
@unittest.skipIf(pandas is None, "no pandas")
class TestTableWithPandas(TableCase):
    def column(self, *values):
        """dtype and cells of a column whose cells have these YAML texts; None is a run without it."""
        for number, value in enumerate(values, 1):
            self.run_(number, **({} if value is None else {"x": value}))
        column = self.index.info()["x"]
        return str(column.dtype), list(column)

    def test_columns_are_typed_by_their_values(self):
        nan = float("nan")
        for name, texts, dtype, cells in [
            ("ints", ["1", "2"], "int64", [1, 2]),
            ("floats", ["1.5", "2.0"], "float64", [1.5, 2.0]),
            ("bools", ["true", "false"], "bool", [True, False]),
            ("ints and floats", ["1", "2.5"], "float64", [1.0, 2.5]),
            ("strings", ["a", "b"], "object", ["a", "b"]),
            ("lists of one length", ["[1, 2]", "[3, 4]"], "object", [[1, 2], [3, 4]]),
            ("dicts", ["{a: 1}", "{}"], "object", [{"a": 1}, {}]),
            ("none among ints", ["1", "null"], "float64", [1.0, nan]),
            ("a float that is missing", ["1.5", None], "float64", [1.5, nan]),
            ("a string that is missing", ["a", None], "object", ["a", None]),
            ("a bool that is missing", ["true", None], "object", [True, None]),
            ("a list that is missing", ["[1]", None], "object", [[1], None]),
            ("only none", ["null", "null"], "object", [None, None]),
            ("one int in all", ["3", "3", "3"], "int64", [3, 3, 3]),
            ("one float in all", ["1.5", "1.5"], "float64", [1.5, 1.5]),
            ("nan in all", [".nan", ".nan"], "float64", [nan, nan]),
            ("one bool in all", ["true", "true"], "bool", [True, True]),
            ("one string in all", ["a", "a"], "object", ["a", "a"]),
            ("one list in all", ["[1, 2]", "[1, 2]"], "object", [[1, 2], [1, 2]]),
            ("one int beyond int64 in all", ["9223372036854775808"] * 2, "object", [2 ** 63, 2 ** 63]),
            ("one value in two ways", ["1.0", "1"], "float64", [1.0, 1.0]),
            ("bool and int", ["true", "1"], "object", [True, 1]),
            ("number and string", ["1", "a"], "object", [1, "a"]),
            ("largest int64", ["9223372036854775807", "-9223372036854775808"], "int64", [2 ** 63 - 1, -2 ** 63]),
            ("beyond int64", ["9223372036854775808", "1"], "object", [2 ** 63, 1]),
            ("an int that no float holds", ["9007199254740993", "0.5"], "object", [2 ** 53 + 1, 0.5]),
            ("an int that no float holds, and none", ["9007199254740993", None], "object", [2 ** 53 + 1, None]),
            ("an int too large for any float", ["1" + "0" * 400, "0.5"], "object", [10 ** 400, 0.5]),
            ("a large int that a float holds", ["1152921504606846976", "0.5"], "float64", [2.0 ** 60, 0.5]),
            ("dates are strings", ["'2026-01-01'", "'2026-01-02'"], "object", ["2026-01-01", "2026-01-02"]),
        ]:
            with self.subTest(name):
                self.assertEqual(repr(self.column(*texts)), repr((dtype, cells)))
            self.clear()

    def test_id_time_and_root(self):
        folder = self.run_(5, lr="1")
        info = self.index.info()
        self.assertEqual([str(info[key].dtype) for key in ("id", "time", "root")], ["int64", "datetime64[ns]", "object"])
        self.assertEqual((info.id[0], info.time[0], info.root[0]), (5, pandas.Timestamp("2026-11-23 13:05:00"), folder))
        self.assertIsInstance(info.root[0], pathlib.Path)

    def test_empty_table_has_typed_columns(self):
        self.root.mkdir()
        info = self.index.info()
        self.assertEqual([(key, str(dtype)) for key, dtype in info.dtypes.items()],
                         [("id", "int64"), ("time", "datetime64[ns]"), ("root", "object")])
        self.assertEqual(len(info), 0)

    def test_rows_as_in_the_readme(self):
        folder = self.run_(1, lr="0.5", n="3")
        self.assertEqual([(i, ex.lr, ex.root / "plot.png") for i, ex in self.index.info().iterrows()], [(0, 0.5, folder / "plot.png")])

    def test_same_values_with_and_without_pandas(self):
        self.run_(1, a="1", b="x", c="[1, {a: null}]", d="0.5")
        self.run_(2, a="2", b="y", c="[]", d="1.5")
        self.assertEqual(self.index.info().to_dict("records"), self.info_without_pandas())

    def test_mutating_a_cell_changes_no_other_and_no_later_table(self):
        for number in (1, 2):
            self.run_(number, a="[1]", b="1")
        info = self.index.info()
        info.a[0].append(2)
        info.loc[0, "b"] = 2
        self.assertEqual((list(info.a), list(info.b)), ([[1, 2], [1]], [2, 1]))
        self.assertEqual((list(self.index.info().a), list(self.index.info().b)), ([[1], [1]], [1, 1]))

    def test_a_number_that_one_of_many_runs_changes(self):
        for number in range(1, 301):
            self.run_(number, a="8" if number == 200 else "7", b="0.5")
        info = self.index.info()
        self.assertEqual((str(info.a.dtype), list(info.a)), ("int64", [7] * 199 + [8] + [7] * 100))
        self.assertEqual((str(info.b.dtype), list(info.b)), ("float64", [0.5] * 300))

    def test_id_of_fourteen_digits(self):
        self.run_(1, name="99999999999999-2026-11-23-13-01-00")
        self.assertEqual(list(self.index.info().id), [99999999999999])

    def test_garbage_collection_stays_as_it_was(self):
        import gc
        self.run_(1)
        for enabled in (False, True):
            (gc.enable if enabled else gc.disable)()
            try:
                self.index.info()
                self.assertEqual(gc.isenabled(), enabled)
            finally:
                gc.enable()


# ---------------------------------------------------------------------------------------------------------------------
# Git, marks by parameters, and the command line
# ---------------------------------------------------------------------------------------------------------------------

HAS_GIT = subprocess.run("git --version", shell=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


@unittest.skipUnless(HAS_GIT, "needs the git program")
class TestGit(Case):
    """git=: commit and dirty in params.yaml, changes.diff in the run, and no repository is no reason to stop."""

    def setUp(self):
        super().setUp()
        self.repo = self.folder / "my code"
        self.repo.mkdir()
        kept = {key: os.environ.pop(key) for key in list(os.environ) if key.startswith("GIT_")}
        self.addCleanup(os.environ.update, kept)
        os.environ.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b.c",
                          GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@b.c")
        for key in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_NOSYSTEM", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL"):
            self.addCleanup(os.environ.pop, key)

    def git(self, *words, folder=None):
        done = subprocess.run(["git", *map(str, words)], cwd=str(folder or self.repo), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 0, done.stdout)
        return done.stdout.decode().strip()

    def commit(self, **files):
        if not (self.repo / ".git").exists():
            self.git("init", "-q")
        self.write(**files)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "more")
        return self.git("rev-parse", "HEAD")

    def write(self, **files):
        for name, content in files.items():
            (self.repo / name).write_bytes(content)

    def state(self, *argv, **kwargs):
        """(commit, dirty) of a run made with git=, and the lines on stderr beside the one about the run."""
        self.args = self.parse(self.parser(git=kwargs.pop("git", self.repo), **kwargs), *argv)
        params = self.params(self.args)
        lines = self.stderr.splitlines()
        self.assertIn("exman: run ", lines[-1])
        return params["commit"], params["dirty"], lines[:-1]

    def replay_diff(self):
        """The files of a clean checkout of the recorded commit once changes.diff is applied."""
        clean = self.folder / f"clean-{self.args.exman.id}"
        self.git("clone", "-q", self.repo, clean, folder=self.folder)
        commit = self.params(self.args)["commit"]
        if commit:
            self.git("checkout", "-q", commit, folder=clean)
        self.git("apply", "--index", self.args.root / "changes.diff", folder=clean)
        return {path.relative_to(clean).as_posix(): path.read_bytes() for path in clean.rglob("*")
                if path.is_file() and ".git" not in path.relative_to(clean).parts}

    def test_a_clean_repository(self):
        commit = self.commit(a=b"1\n")
        self.write(untracked=b"no part of it")
        self.assertEqual(self.state(), (commit, False, []))
        self.assertEqual([path.name for path in self.args.root.iterdir()], ["params.yaml"])

    def test_changes_apply_on_a_clean_checkout(self):
        os.makedirs(str(self.repo / "sub"))
        commit = self.commit(staged=b"1\n", unstaged=b"1\n" * 20, binary=bytes(range(256)), gone=b"1\n", renamed=b"much the same\n" * 9,
                             **{"caf\u00e9 name": b"1\n", "sub/in": b"1\n"})
        self.write(staged=b"2\n")
        self.git("rm", "-q", "gone")
        self.git("mv", "renamed", "other")
        self.write(added=b"new\n", empty=b"")
        self.git("add", "staged", "added", "empty")
        self.write(unstaged=b"1\n" * 10 + b"2\n" + b"1\n" * 9, binary=bytes(range(255, -1, -1)) * 9, **{"caf\u00e9 name": b"no end", "sub/in": b"\r\n"})
        expected = {path.relative_to(self.repo).as_posix(): path.read_bytes() for path in self.repo.rglob("*")
                    if path.is_file() and ".git" not in path.relative_to(self.repo).parts}
        for case, config in (("plain", ()), ("settings of the user", ("diff.noprefix=true", "diff.mnemonicPrefix=true", "diff.context=0",
                             "diff.relative=true", "color.ui=always", "diff.external=false", "status.showStash=true"))):
            with self.subTest(case):
                for setting in config:
                    self.git("config", *setting.split("="))
                self.assertEqual(self.state(git=self.repo / "sub"), (commit, True, []))
                self.assertEqual(self.replay_diff(), expected)

    def test_a_repository_without_commits(self):
        self.git("init", "-q")
        self.assertEqual(self.state(), (None, False, []))
        self.write(a=b"1\n")
        self.git("add", "a")
        self.assertEqual(self.state(), (None, True, []))
        self.assertEqual(self.replay_diff(), {"a": b"1\n"})
        self.assertIn("has uncommitted changes", self.refuse(self.parser(git=self.repo, git_assert_clean=True)))
        self.git("rm", "-q", "--cached", "a")
        self.assertIn("has no commit", self.refuse(self.parser(git=self.repo, git_assert_clean=True)))

    def test_a_detached_head(self):
        commit = self.commit(a=b"1\n")
        self.commit(a=b"2\n")
        self.git("checkout", "-q", commit)
        self.assertEqual(self.state(), (commit, False, []))

    def test_a_submodule_is_a_repository_and_its_changes_make_the_outer_one_dirty(self):
        inner = self.commit(a=b"1\n")
        outer = self.folder / "outer"
        outer.mkdir()
        self.git("init", "-q", folder=outer)
        self.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", self.repo, "sub", folder=outer)
        self.git("commit", "-q", "-m", "outer", folder=outer)
        self.assertEqual(self.state(git=outer / "sub"), (inner, False, []))
        (outer / "sub" / "a").write_bytes(b"2\n")
        self.assertEqual(self.state(git=outer), (self.git("rev-parse", "HEAD", folder=outer), True, []))
        self.assertFalse((self.args.root / "changes.diff").exists())        # git apply takes no empty diff

    def test_a_merge_that_stopped(self):
        base = self.commit(a=b"1\n")
        self.git("checkout", "-q", "-b", "other")
        self.commit(a=b"2\n")
        self.git("checkout", "-q", "-b", "mine", base)
        commit = self.commit(a=b"3\n")
        subprocess.run(["git", "merge", "-q", "other"], cwd=str(self.repo), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.assertEqual(self.state(), (commit, True, []))
        self.assertEqual(self.replay_diff(), {"a": (self.repo / "a").read_bytes()})

    def test_inside_a_git_hook_it_is_still_the_scripts_repository(self):
        commit = self.commit(a=b"1\n")
        os.environ["GIT_DIR"] = str(self.folder / "another")
        self.addCleanup(os.environ.pop, "GIT_DIR")
        self.assertEqual(self.state(), (commit, False, []))

    def test_what_is_not_known_is_null_with_one_line_why(self):
        cases = [("no repository", self.folder, "not a git repository"), ("no folder", self.folder / "none", "No such file")]
        for name, where, reason in cases:
            with self.subTest(name):
                commit, dirty, lines = self.state(git=where)
                self.assertEqual((commit, dirty, len(lines)), (None, None, 1))
                self.assertIn(reason, lines[0])
                message = self.refuse(self.parser(git=where, git_assert_clean=True))
                self.assertIn(reason, message)
                self.assertIn("--git-dirty", message)
                self.assertEqual(self.state("--git-dirty", git=where, git_assert_clean=True)[:2], (None, None))

    def test_no_git_program(self):
        path = os.environ["PATH"]
        os.environ["PATH"] = str(self.folder)
        try:
            self.assertEqual(self.state(), (None, None, ["exman: the commit is not recorded: there is no git program on the PATH"]))
        finally:
            os.environ["PATH"] = path

    @unittest.skipUnless(os.name == "posix", "a script that stands for git")
    def test_a_slow_git_is_not_waited_for(self):
        import time
        commit = self.commit(a=b"1\n")
        self.write(a=b"2\n")
        fake, path = self.folder / "bin", os.environ["PATH"]
        fake.mkdir()
        self.addCleanup(setattr, exman, "_GIT_SECONDS", exman._GIT_SECONDS)
        exman._GIT_SECONDS = 0.5
        for slow, expected, what in (("*", (None, None), "the commit"), ("*diff*", (commit, True), "changes.diff")):
            (fake / "git").write_text(f'#!/bin/sh\ncase "$*" in {slow}) sleep 20;; esac\nPATH="{path}" exec git "$@"\n')
            (fake / "git").chmod(0o755)
            os.environ["PATH"] = f"{fake}:{path}"
            start = time.monotonic()
            try:
                *state, lines = self.state()
            finally:
                os.environ["PATH"] = path
            self.assertLess(time.monotonic() - start, 10)
            self.assertEqual(tuple(state), expected)
            self.assertEqual(len(lines), 1)
            self.assertIn(f"{what} is not recorded: git took longer than 0.5 seconds", lines[0])

    def test_git_assert_clean_refuses_a_dirty_tree_unless_git_dirty(self):
        commit = self.commit(a=b"1\n")
        self.assertEqual(self.state(git_assert_clean=True)[:2], (commit, False))
        self.write(a=b"2\n")
        self.assertIn("uncommitted changes: commit them, or add --git-dirty", self.refuse(self.parser(git=self.repo, git_assert_clean=True)))
        self.assertEqual(len(self.runs()), 1)
        self.assertEqual(self.state("--git-dirty", git_assert_clean=True)[:2], (commit, True))

    def test_git_true_is_the_repository_of_the_script_whatever_the_working_directory(self):
        (self.repo / "main.py").write_text("import exman\nprint(exman.ExParser(git=True).parse_args().root)\n")
        commit = self.commit()
        (self.repo / ".gitignore").write_text("")
        done = self.python(self.repo / "main.py", cwd=str(self.folder))
        self.assertEqual(exman.load_yaml(pathlib.Path(done.stdout.strip(), "params.yaml").read_text())["commit"], commit)

    def test_a_file_stands_for_its_folder(self):
        commit = self.commit(a=b"1\n")
        self.assertEqual(self.state(git=str(self.repo / "a"))[0], commit)

    def test_a_clean_tree_costs_one_call(self):
        self.commit(a=b"1\n")
        calls = []
        self.addCleanup(setattr, exman, "_git", exman._git)
        exman._git = lambda *words, git=exman._git: calls.append(words) or git(*words)
        self.state()
        self.assertEqual(len(calls), 1)
        self.write(a=b"2\n")
        self.state()
        self.assertEqual(len(calls), 3)


class TestAutomark(Case):
    """automark=: each run is also linked under the mark that its parameters make."""

    def marks(self):
        folder = self.root / "marked"
        return sorted(path.parent.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))

    def test_a_dest_stands_for_itself_and_its_value_another_word_for_itself(self):
        parser = self.parser(automark=("user", "lr", "all"))
        parser.add_argument("--user")
        parser.add_argument("--lr", type=float)
        self.parse(parser, "--user", "ann", "--lr", "0.1")
        self.assertEqual(self.marks(), ["user/ann/lr/0.1/all"])

    def test_one_word_may_be_given_as_text(self):
        self.parse(self.parser(automark="all"))
        self.assertEqual(self.marks(), ["all"])

    def test_any_value_makes_a_mark_that_the_verbs_take(self):
        parser = self.parser(automark=("v",))
        parser.add_argument("--v", nargs="?")
        for number, (text, part) in enumerate((("a/b", "a-b"), ("..", "-."), (".", "-"), (".hidden", "-hidden"), ("", "-"), ("/etc/passwd", "-etc-passwd"),
                                               ("a\\b", "a-b"), (" x ", "x"), ("\n", "-"), ("caf\u00e9 \U0001f600", "caf\u00e9 \U0001f600"),
                                               ("caf\udce9", "caf-"), ("x" * 999, "x" * 180), ("\u00e9" * 999, "\u00e9" * 90)), 1):
            with self.subTest(text):
                args = self.parse(parser, f"--v={text}")
                self.assertEqual(self.marks(), [f"v/{part}"])
                with contextlib.redirect_stderr(io.StringIO()) as stderr:
                    status = exman.main(["--root", str(self.root), "unmark", f"v/{part}", str(number)])
                self.assertEqual((status, stderr.getvalue(), self.marks()), (0, "", []))
                self.assertEqual(args.root.parent, self.root / "runs")
        self.parse(parser)
        self.assertEqual(self.marks(), ["v/None"])

    def test_no_mark_for_a_tmp_run(self):
        self.parse(self.parser(automark=("all",)), "--tmp")
        self.assertFalse((self.root / "marked").exists())


class TestNames(Case):
    """--name, zfill and exman.optional."""

    def test_name_ends_the_folders_name(self):
        args = self.parse(self.parser(), "--name", "caf\u00e9 v1.2-b")
        self.assertTrue(args.root.name.endswith("-caf\u00e9 v1.2-b"))
        self.assertEqual(self.runs("index"), [args.root.name + ".yaml"])
        self.assertEqual(args.exman.time.year, int(args.root.name.split("-")[1]))

    def test_a_name_that_cannot_stand_in_a_file_name_is_refused(self):
        for name in ("a/b", "..", ".", "", " a", "a ", "a.", "a:b", "a\\b", "a\nb", "a\0b", "x" * 181, "\u00e9" * 91, "\udce9"):
            with self.subTest(name):
                self.assertIn("--name", self.refuse(self.parser(), f"--name={name}"))
        self.assertFalse(self.root.exists())

    def test_zfill_is_the_least_number_of_digits(self):
        for zfill, name in ((1, "1-"), (6, "000002-"), (3, "003-"), (0, "4-")):
            self.assertTrue(self.parse(self.parser(zfill=zfill)).root.name.startswith(name))
        with contextlib.redirect_stdout(io.StringIO()) as stdout:
            exman.main(["ls", "--csv", "--root", str(self.root)])
        self.assertEqual([line.split(",")[0] for line in stdout.getvalue().splitlines()], ["id", "1", "2", "3", "4"])

    def test_optional_also_takes_none(self):
        parser = self.parser()
        parser.add_argument("--n", type=exman.optional(int), default=3)
        parser.add_argument("--flag", type=exman.optional(bool))
        for text, value in (("5", 5), ("none", None), ("NULL", None)):
            args = self.parse(parser, "--n", text, "--flag", "no")
            self.assertEqual((args.n, args.flag), (value, False))
            self.assertEqual(self.params(args)["n"], value)
            self.assertEqual(self.parse(parser, "--config", str(args.root)), args)
        self.assertIn("invalid optional int value: 'x'", self.refuse(parser, "--n", "x"))


class TestShell(Case):
    """exman, the program: what each verb prints, and the status that it ends with."""

    def setUp(self):
        super().setUp()
        self.parser = super().parser()
        self.parser.add_argument("--lr", type=float, default=0.1)
        self.parser.add_argument("--model", default="resnet18")
        self.parser.add_argument("--sizes", type=int, nargs="*", default=[64])
        self.parser.add_argument("--cuda", type=bool, default=True)
        self.parser.add_argument("--seed", type=int, default=None)

    def run_(self, *argv):
        return self.parse(self.parser, *argv)

    def shell(self, *argv, status=0, root=True):
        """The lines that the verb prints on stdout; those on stderr are kept in self.said."""
        stdout, stderr = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            try:
                done = exman.main([*(["--root", str(self.root)] if root else []), *argv])
            except SystemExit as end:
                done = end.code
        self.said = stderr.getvalue().splitlines()
        self.assertEqual(done, status, stderr.getvalue())
        return stdout.getvalue().splitlines()

    def ids(self, *argv, **kwargs):
        import json
        return [row["id"] for row in json.loads("".join(self.shell("ls", "--json", *argv, **kwargs)))]

    def test_ls_is_aligned_the_newest_last_and_shows_what_differs(self):
        self.run_("--lr", "0.1")
        self.run_("--lr", "1e-5", "--sizes", "3", "4")
        self.run_("--lr", "10", "--sizes", "--name", "good", "--seed", "7")
        lines = self.shell("ls")
        stamp = "....-..-.. ..:..:.."
        for line, form in zip(lines, ("id  time                 name       lr  sizes   seed", f" 1  {stamp}            0.1  \\[64\\]",
                                      f" 2  {stamp}        1.0e-05  \\[3, 4\\]", f" 3  {stamp}  good     10.0  \\[\\]         7")):
            self.assertRegex(line, "^" + form + "$")
        self.assertEqual(len(lines), 4)
        self.assertEqual(self.shell("ls", "--all")[0].split(), ["id", "time", "name", "lr", "model", "sizes", "cuda", "seed"])

    def test_ls_filters_by_mark_and_values(self):
        self.run_("--lr", "0.1", "--model", "a")
        self.run_("--lr", "0.10", "--model", "b", "--cuda", "no", "--name", "x")
        self.run_("--lr", "1e-3", "--model", "null", "--seed", "3", "--sizes", "1", "2")
        self.shell("mark", "best/of", "1", "2")
        self.shell("mark", "k=v/1", "3")
        for words, ids in ((["lr=0.1"], [1, 2]), (["lr=1e-1"], [1, 2]), (["lr=.001"], [3]), (["model=b"], [2]), (["best"], [1, 2]),
                           (["best", "model=b", "lr=0.1"], [2]), (["best/of", "id=1"], [1]), (["cuda=no"], []), (["cuda=false"], [2]),
                           (["cuda=True"], [1, 3]), (["seed=null"], [1, 2]), (["seed=3"], [3]), (["seed="], [1, 2]), (["sizes=[1, 2]"], [3]),
                           (["sizes=[1,2]"], [3]), (["model=null"], [3]), (["name=x"], [2]), (["k=v/1"], [3]), (["lr=7"], [])):
            with self.subTest(words):
                self.assertEqual(self.ids(*words), ids)
        self.assertEqual(self.shell("ls", "best", "--all", "lr=0.1", "model=b")[1].split()[0], "2")

    def test_csv_and_json_are_exact(self):
        import csv
        import json
        texts = ['a,b "c"\nd', "caf\u00e9 \U0001f600", "1.0", "", "#", "\\"]
        for text in texts:
            self.run_("--model", text, "--lr", "0.30000000000000004", "--sizes", "1", "--seed", str(2**70))
        self.run_("--lr", "nan")
        self.run_("--lr=-inf")
        table = list(csv.DictReader(io.StringIO("\n".join(self.shell("ls", "--csv")))))
        self.assertEqual([row["model"] for row in table[:-2]], texts)
        self.assertEqual(list(table[0].values())[3:4] + list(table[0].values())[5:], ["0.30000000000000004", "[1]", "True", str(2**70)])
        self.assertEqual([table[-1]["lr"], table[-2]["lr"], table[-1]["seed"]], ["-inf", "nan", ""])

        def refuse(constant):
            raise AssertionError(f"{constant} is no JSON")
        rows = json.loads("\n".join(self.shell("ls", "--json")), parse_constant=refuse)
        self.assertEqual([row["model"] for row in rows[:-2]], texts)
        self.assertEqual([rows[0]["lr"], rows[0]["seed"], rows[0]["sizes"], rows[0]["cuda"]], [0.30000000000000004, 2**70, [1], True])
        self.assertEqual([rows[-1]["lr"], rows[-2]["lr"], rows[-1]["seed"]], ["-inf", "nan", None])
        self.assertEqual(rows[0]["root"], str(self.root / "runs" / self.runs()[0]))

    def test_a_root_without_runs(self):
        self.assertEqual(self.shell("ls", status=1), [])
        self.assertIn("there is no root at", self.said[0])
        self.root.mkdir()
        self.assertEqual(self.shell("ls"), [])
        self.assertEqual(self.said, ["exman: no runs"])
        self.assertEqual(self.shell("ls", "--csv"), ["id,time,root"])
        self.assertEqual(self.shell("ls", "--json"), ["[]"])
        self.assertEqual(self.shell("marks"), [])

    def test_diff_prints_a_line_for_each_parameter_that_differs(self):
        one = self.run_("--lr", "0.1")
        self.run_("--lr", "0.01", "--sizes", "1", "2", "--model", "a b", "--seed", "3")
        self.assertEqual(self.shell("diff", "1", "2"), ["lr: 0.1 -> 0.01", "model: resnet18 -> a b", "sizes: [64] -> [1, 2]", "seed: null -> 3"])
        self.parser.add_argument("--new", default=1)
        self.run_()
        self.assertEqual(self.shell("diff", one.root.name, "3"), ["new: (none) -> 1"])
        self.assertEqual(self.shell("diff", "1", "1"), [])
        self.assertEqual(self.said, ["exman: no parameter differs"])

    def test_marks_are_made_listed_and_taken_away(self):
        for _ in range(3):
            self.run_()
        self.shell("mark", "best/lr", "1", self.runs()[1])
        self.shell("mark", "best", "000003")
        self.shell("mark", "caf\u00e9", "3", "3")
        self.assertEqual(self.shell("marks"), ["best     3", "best/lr  2", "caf\u00e9     1"])
        self.shell("unmark", "best", "2", "3")
        self.assertEqual(self.shell("marks"), ["best     1", "best/lr  1", "caf\u00e9     1"])
        self.shell("unmark", "best", "2", "1", status=1)
        self.assertEqual(self.said, ["exman: run '2' is not marked 'best': the nearest are 1"])
        self.assertEqual(self.ids("caf\u00e9"), [3])

    def test_a_run_that_is_not_there_costs_its_line_and_status_1(self):
        for argv in ([], [], ["--tmp"]):
            self.run_(*argv)
        failed = self.run_()
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(ValueError), failed.exman:
            raise ValueError
        name = self.runs()[0]
        for argv, said in ((["mark", "best", "1", "9", "2"], ["no run '9': the nearest are 1, 2: not marked"]),
                           (["mark", "best", "3", "4"], ["run 3 is in tmp/: a --tmp run: not marked", "run 4 is in fails/: it failed: not marked"]),
                           (["diff", "1", "9"], ["no run '9': the nearest are 2, 3, 4"]),
                           (["cmd", name[:-1]], [f"no run {name[:-1]!r}: did you mean {name}?"]),
                           (["delete", "9"], ["no run '9': the nearest are 2, 3, 4: not deleted"]),
                           (["ls", "bets"], ["no mark 'bets': did you mean best?"]), (["unmark", "bets", "1"], ["no mark 'bets': did you mean best?"]),
                           (["ls", "zzz"], ["no mark 'zzz': there are best"]), (["ls", "2"], ["no mark '2': id=2 is the run of that number"]),
                           (["ls", "../runs"], ["no mark '../runs': there are best"]),
                           (["ls", "modle=a"], ["no parameter 'modle': did you mean model?"]),
                           (["ls", "q=a"], ["no parameter 'q': there are id, time, root, lr, model, sizes, cuda, seed"])):
            with self.subTest(argv):
                self.assertEqual(self.shell(*argv, status=1), [])
                self.assertEqual(self.said, [f"exman: {line}" for line in said])
        self.assertEqual(self.ids("best"), [1, 2])

    def test_wrong_usage_is_status_2(self):
        self.run_()
        for argv in ([], ["nope"], ["ls", "a", "b"], ["ls", "--csv", "--json"], ["ls", "--alll"], ["diff", "1"], ["diff", "1", "1", "1"], ["cmd"],
                     ["cmd", "1", "2"], ["marks", "1"], ["mark", "best"], ["mark", "3", "1"], ["mark", "../x", "1"], ["mark", "/x", "1"],
                     ["mark", "best", "1", "--lr"], ["unmark", "best"], ["delete"]):
            with self.subTest(argv):
                self.assertEqual(self.shell(*argv, status=2), [])
                self.assertIn("usage: exman", self.said[0])

    def test_each_verb_has_help_with_an_example(self):
        for verb in ("ls", "diff", "cmd", "mark", "unmark", "marks", "delete", "fix"):
            lines = self.shell(verb, "--help")
            self.assertRegex(lines[-1], f"^example: exman {verb}")
            self.assertIn(f"    {verb} ", "\n".join(self.shell("--help")))
        self.assertFalse(self.root.exists())

    def test_root_stands_before_or_after_the_verb_and_is_found_without(self):
        self.run_()
        self.assertEqual(len(self.shell("ls")), 2)
        self.assertEqual(len(self.shell("ls", "--root", str(self.root), root=False)), 2)
        (self.folder / "runs").mkdir()                  # of another program
        self.assertEqual(len(self.shell("ls", root=False)), 2)
        os.chdir(str(self.root))
        self.assertEqual(len(self.shell("ls", root=False)), 2)
        os.chdir(str(self.root / "runs"))
        self.shell("ls", root=False, status=1)

    def test_delete_leaves_the_files_and_with_all_takes_them_too(self):
        for argv in ([], [], [], ["--tmp"]):
            self.run_(*argv)
        self.shell("mark", "best", "1", "2")
        self.shell("delete", "1", "1")
        self.assertEqual((self.ids(), len(self.runs()), self.shell("marks")), ([2, 3], 3, ["best  1"]))
        self.shell("delete", "--all", "2", "4", "1", "2")
        self.assertEqual((self.ids(), len(self.runs()), self.runs("tmp"), self.shell("marks")), ([3], 1, [], []))
        self.assertEqual(self.run_().exman.id, 5)

    def test_delete_all_asks_on_a_terminal_unless_yes(self):
        class Terminal(io.StringIO):
            def isatty(self):
                return True
        stdin = sys.stdin
        self.addCleanup(setattr, sys, "stdin", stdin)
        for typed, argv, status, left in (("n\n", [], 1, 1), ("", [], 1, 1), ("yes please\n", [], 1, 1), ("y\n", [], 0, 0), ("", ["--yes"], 0, 0)):
            with self.subTest(typed=typed, argv=argv):
                name = self.run_().root.name
                sys.stdin = Terminal(typed)
                self.shell("delete", "--all", *argv, name, status=status)
                self.assertEqual(self.runs().count(name), left)
                self.assertEqual(bool(self.said and self.said[0].startswith(f"delete {name} with all files? [y/N]")), not argv)

    def test_fix_makes_missing_links_takes_dangling_ones_away_and_says_each(self):
        import shutil
        names = [self.run_().root.name for _ in range(4)]
        self.shell("mark", "a/b", "1", "2")
        self.shell("mark", "c", "1")
        self.shell("mark", "d", "3")
        shutil.rmtree(str(self.root / "runs" / names[0]))
        (self.root / "index" / f"{names[1]}.yaml").unlink()
        link = self.root / "index" / f"{names[2]}.yaml"
        link.unlink()
        with contextlib.suppress(OSError, NotImplementedError):
            link.symlink_to(self.folder / "elsewhere" / "params.yaml")
        (self.root / "index" / "notes.yaml").write_text("the user's")
        lines = self.shell("fix")
        self.assertEqual(lines[0], f"took away index/{names[0]}.yaml: it led nowhere")
        self.assertIn(f"made index/{names[1]}.yaml", lines)
        self.assertIn(f"made index/{names[2]}.yaml", lines)
        for mark in ("a/b", "c"):
            self.assertIn("took away " + os.path.join("marked", *mark.split("/"), f"{names[0]}.yaml") + ": its run is gone", lines)
        self.assertEqual(self.shell("fix"), [])
        self.assertEqual((self.ids(), self.shell("marks")), ([2, 3, 4], ["a    1", "a/b  1", "d    1"]))
        self.assertTrue((self.root / "index" / "notes.yaml").exists())

    @unittest.skipUnless(os.name == "posix", "needs modes")
    def test_in_a_root_of_the_group_the_marks_are_the_groups_too(self):
        umask = os.umask(0o077)
        try:
            for shared, bits in ((True, 0o070), (False, 0)):
                self.parser._exman.root = self.root = self.folder / str(shared)
                self.parser._exman.shared = shared
                self.run_()
                self.shell("mark", "best", "1")
                self.assertEqual((self.root / "marked" / "best").stat().st_mode & 0o070, bits)
        finally:
            os.umask(umask)

    def test_the_scripts_own_mark_verb_marks_its_root(self):
        self.run_()
        self.run_()
        for argv, status, said in ((["mark", "best", "2", "9", "1"], 1, "no run '9': the nearest are 1, 2: not marked"),
                                   (["mark", "best", "1"], 0, ""), (["mark", "3", "1"], 2, "the key comes first"), (["mark"], 2, "KEY, RUN"),
                                   (["mark", "--help"], 0, "")):
            with self.subTest(argv), contextlib.redirect_stdout(io.StringIO()):
                with self.assertRaises(SystemExit) as caught:
                    self.run_(*argv)
                self.assertEqual(caught.exception.code, status)
                self.assertIn(said, self.stderr)
        self.assertEqual(self.ids("best"), [1, 2])
        self.assertEqual(len(self.runs()), 2)

    def test_a_script_that_takes_the_word_mark_keeps_it(self):
        self.parser.add_argument("word")
        self.assertEqual(self.run_("mark").word, "mark")
        parser = super().parser()
        parser.add_subparsers(dest="verb").add_parser("mark").add_argument("key")
        args = self.parse(parser, "mark", "best")
        self.assertEqual((args.verb, args.key), ("mark", "best"))


class TestCommand(Case):
    """`exman cmd RUN`: pasted into a shell, the line makes an equal run."""

    def setUp(self):
        super().setUp()
        self.script("""
            import json, exman
            parser = exman.ExParser(root="exman")
            parser.add_argument("file", nargs="?", default="d")
            parser.add_argument("--text", default="")
            parser.add_argument("-v", action="count", default=0)
            parser.add_argument("--sizes", type=int, nargs="*", default=[1, 2])
            parser.add_argument("--add", action="append")
            parser.add_argument("--on", action="store_true")
            parser.add_argument("--opt", nargs="?", const="c")
            parser.add_argument("--js", type=json.loads, default={})
            parser.parse_args()
        """, "my main.py")

    def params_of(self, name):
        return {key: value for key, value in exman.load_yaml((self.root / "runs" / name / "params.yaml").read_text(encoding="utf-8")).items()
                if key not in ("id", "time", "root")}

    def again(self, name):
        path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
        line = subprocess.check_output([sys.executable, str(HERE / "exman.py"), "cmd", name], env=dict(os.environ, PATH=path))
        done = subprocess.run(line, shell=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=str(HERE), PATH=path))
        self.assertEqual(done.returncode, 0, (line, done.stderr))
        self.assertEqual(self.params_of(self.runs()[-1]), self.params_of(name), line)
        self.assertNotEqual(self.runs()[-1], name)
        self.assertEqual(self.runs()[-1].split("-")[7:], name.split("-")[7:])

    @unittest.skipUnless(os.name == "posix", "quotes for sh")
    def test_the_line_makes_an_equal_run(self):
        for argv in (["--text", "a b 'c' \"d\" $HOME `x` \\ ! * ~ ; &"], ["--text", "new\nline\ttab"], ["--text=", "\U0001f600 caf\u00e9"],
                     ["-vv", "--on", "--add", "a b", "--add=-c", "--opt", "--", "-f"], ["--js", '{"a": [1, null]}', "fi le", "--sizes"],
                     ["--text=\udce9", "--name", "my run"]):
            with self.subTest(argv):
                self.python("my main.py", *argv)
                name = self.runs()[-1]
                self.again(name)
                self.python("my main.py", "--config", f"exman/runs/{name}", "-v")
                self.again(self.runs()[-1])
        (self.folder / "by hand.yaml").write_text("sizes: [7, 8]\non: true\nv: 2\nadd: [x, 'y z']\nopt: c\njs: {a: 1}\ntext: '#'\n")
        self.python("my main.py", "--config", "by hand.yaml")
        self.again(self.runs()[-1])

    def test_a_run_of_exman_0_1_is_refused_with_what_to_do(self):
        self.python("my main.py")
        path = self.root / "runs" / self.runs()[0] / "params.yaml"
        path.write_text("file: d\nid: 1\n")
        done = self.python(HERE / "exman.py", "cmd", "1", status=1)
        self.assertIn("run it with --config", done.stderr)
        self.assertEqual(done.stdout, "")


class TestTerminal(Case):
    """The program in a terminal, in a pipe, and while a shell completes its words."""

    def many(self, count=30, note=0):
        parser = self.parser()
        parser.add_argument("--learning-rate", type=float, default=0.1)
        parser.add_argument("--model", default="resnet18")
        parser.add_argument("--dataset", default="cifar10")
        parser.add_argument("--note", default="")
        parser.add_argument("--optimizer", default="sgd")
        parser.add_argument("--seed", type=int, default=0)
        for number in range(count):
            self.parse(parser, "--learning-rate", f"{0.00012345 * (number + 1):.17g}" if number == 9 else f"{0.00012345 * (number + 1):.5g}", "--model", f"resnet{number}", "--seed", str(number),
                       "--note", "\u6f22\u5b57 and some words about what was tried " * (number % 3) + "x" * note, "--optimizer", "adamw" if number % 2 else "sgd",
                       *(["--name", "good"] if number == 7 else []))

    def in_terminal(self, columns, *argv):
        """What the program writes on a terminal so wide: stdout and stderr in their order."""
        import pty
        pid, terminal = pty.fork()
        if pid == 0:
            try:
                import fcntl
                import struct
                import termios
                fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                env = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
                env["PYTHONIOENCODING"] = "utf-8"
                os.execve(sys.executable, [sys.executable, str(HERE / "exman.py"), *argv], env)
            finally:
                os._exit(1)
        output = b""
        with contextlib.suppress(OSError):              # Linux ends with EIO
            while True:
                part = os.read(terminal, 65536)
                if not part:
                    break
                output += part
        os.close(terminal)
        self.assertEqual(os.waitpid(pid, 0)[1], 0, output)
        return output.decode("utf-8").replace("\r\n", "\n").splitlines()

    @unittest.skipUnless(sys.platform.startswith("linux"), "needs a pseudo-terminal")
    def test_ls_fits_the_terminal(self):
        self.many()

        def cells(text):
            return sum(2 if "\u4e00" <= char <= "\u9fff" else 1 for char in text)
        wide = self.in_terminal(300, "ls")
        self.assertEqual(wide[0].split(), ["id", "time", "name", "learning_rate", "model", "note", "optimizer", "seed"])
        self.assertEqual(len(wide), 31)
        lines = self.in_terminal(80, "ls")
        self.assertLessEqual(max(map(cells, lines)), 80)
        self.assertEqual(lines[0].split(), ["id", "time", "name", "learning_ra~", "model", "note", "optimizer", "seed"])
        self.assertRegex(lines[2], r"^ 2  ..-.. ..:.. {11,}0\.0002469  resnet1   \u6f22\u5b57 and .*~  adamw +1$")
        self.assertEqual([int(line.split()[0]) for line in lines[1:]], list(range(1, 31)))
        starts = {cells(re.split("adamw|sgd|optimizer", line)[0]) for line in lines}
        self.assertEqual(len(starts), 1)                # Chinese takes two cells a character
        lines = self.in_terminal(50, "ls")
        self.assertLessEqual(max(map(cells, lines[:-1])), 50)
        self.assertIn("0.00012345", lines[1])            # a number is never cut, but rounded
        self.assertIn("0.0012345", lines[10])
        self.assertRegex(lines[-1], "^exman: not shown for lack of room .*: .*optimizer, seed$")
        self.assertGreater(max(map(cells, self.in_terminal(80, "ls", "--all"))), 80)

    def test_in_a_pipe_nothing_is_cut(self):
        self.many(4)
        done = self.python(HERE / "exman.py", "ls", env={"COLUMNS": "40", "PYTHONIOENCODING": "utf-8"})
        self.assertIn("words about what was tried", done.stdout)
        self.assertEqual(done.stderr, "")

    @unittest.skipUnless(os.name == "posix", "closes the pipe of a process")
    def test_a_reader_that_has_seen_enough_is_no_error(self):
        self.many(6, note=20000)               # more than a pipe holds
        for verb in ("ls", "ls --csv", "ls --json"):
            with self.subTest(verb):
                process = subprocess.Popen([sys.executable, str(HERE / "exman.py"), *verb.split()], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                process.stdout.readline()
                process.stdout.close()
                self.assertEqual(process.stderr.read(), b"")
                process.stderr.close()
                self.assertEqual(process.wait(), 0)

    @unittest.skipUnless(os.path.exists("/dev/full"), "needs /dev/full")
    def test_a_stdout_that_is_closed_or_full(self):
        self.many(2)
        exman.main(["mark", "best", "1"])
        for verb in ("ls", "ls --csv", "ls --json", "marks", "diff 1 2", "cmd 1", "fix"):
            done = subprocess.run(f'"{sys.executable}" "{HERE / "exman.py"}" {verb} >&-', shell=True, stderr=subprocess.PIPE)
            self.assertEqual((done.returncode, done.stderr), (0, b""), verb)
            done = subprocess.run(f'"{sys.executable}" "{HERE / "exman.py"}" {verb} >/dev/full', shell=True, stderr=subprocess.PIPE)
            if verb != "fix":
                self.assertNotIn(b"Traceback", done.stderr, verb)
                self.assertEqual(done.returncode, 1, verb)

    def test_what_the_encoding_of_stdout_lacks_is_escaped(self):
        self.many(2)
        done = self.python(HERE / "exman.py", "ls", env={"PYTHONIOENCODING": "ascii"})
        self.assertIn("\\u6f22", done.stdout)

    def test_the_copied_file_and_the_module_are_one_program(self):
        self.many(2)
        lines = self.python(HERE / "exman.py", "ls").stdout
        self.assertEqual(self.python("-m", "exman", "ls").stdout, lines)
        self.assertEqual(self.python("-c", "import sys, exman; sys.exit(exman.main(['ls']))").stdout, lines)
        self.python("-m", "exman", "diff", "1", "9", status=1)
        self.python("-m", "exman", "diff", "1", status=2)
        modules = self.python("-X", "importtime", HERE / "exman.py", "ls").stderr
        self.assertNotIn("pandas", modules)

    def test_completing_a_line_makes_no_run(self):
        (self.folder / "argcomplete.py").write_text(
            "def autocomplete(parser):\n    parser.parse_known_args(['--config', '7', '--lr', '0.5'])\n"
            "    print([action.option_strings[-1] for action in parser._actions])\n")
        self.script("""
            import argcomplete, exman
            parser = exman.ExParser(root="exman", git=True, git_assert_clean=True)
            parser.add_argument("--lr", type=float, required=True)
            parser.register_validator(print)
            argcomplete.autocomplete(parser)
        """)
        done = self.python("main.py", env={"_ARGCOMPLETE": "1"})
        self.assertEqual((done.stdout, done.stderr), ("['--help', '--lr', '--config', '--tmp', '--name', '--git-dirty']\n", ""))
        self.assertFalse(self.root.exists())
        (self.folder / "argcomplete.py").write_text("raise ImportError\n")
        done = self.python("-m", "exman", "marks", env={"_ARGCOMPLETE": "1"}, status=1)
        self.assertEqual(done.stderr, "")


class NoSkips(unittest.TextTestResult):
    """For CI: a test that skips has failed, but for mounts that no container has, and for what root is never refused."""

    def addSkip(self, test, reason):
        if "mount" in reason or reason.startswith("root "):
            super().addSkip(test, reason)
        else:
            self.addFailure(test, (AssertionError, AssertionError(f"skipped: {reason}"), None))


if __name__ == "__main__":
    runner = unittest.TextTestRunner(resultclass=NoSkips) if os.environ.get("EXMAN_NO_SKIP") else None
    unittest.main(testRunner=runner)
