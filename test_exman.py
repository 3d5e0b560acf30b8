"""Tests of exman, in the order of its sections: `python3 test_exman.py` needs the standard library alone.

Tests that need pandas, PyYAML, ruamel.yaml, hypothesis or strace skip where it is missing; EXMAN_NO_SKIP=1 makes a skip a failure.
EXMAN_FULL=1 runs what takes long too: every kill point, every fault.
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
import select
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

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:   # in a job that a shell has put into the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

full = unittest.skipUnless(os.environ.get("EXMAN_FULL"), "EXMAN_FULL=1 runs it")


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
        self.assertIs(copy.deepcopy(args.exman), args.exman)

    def test_a_success_leaves_a_log_and_the_run_where_it_is(self):
        args = self.parse(self.parser())
        printed, raised = self.run_in_block(args, lambda: print("epoch", 1))
        self.assertEqual((printed, raised, self.stderr), ("epoch 1\n", None, ""))
        self.assertEqual(self.files(args.root), ["end.yaml", "log.txt", "params.yaml"])
        self.assertEqual(self.read(args.root / "log.txt"), "epoch 1\n")

    def test_a_run_that_is_entered_after_the_next_parse_has_not_ended(self):
        args = self.parse(self.parser())
        self.parse(self.parser())
        self.assertEqual(self.files(args.root), ["end.yaml", "params.yaml"])
        for _ in range(2):
            self.run_in_block(args, lambda: self.assertEqual(self.files(args.root), ["log.txt", "params.yaml"]))
            self.assertEqual(self.files(args.root), ["end.yaml", "log.txt", "params.yaml"])

    def test_an_exception_moves_the_run_to_fails_and_goes_on_upwards(self):
        args = self.parse(self.parser(automark=("all", "lr")), "--name", "x")
        name, error = args.root.name, ValueError("caf\u00e9 \udce9")
        with contextlib.redirect_stdout(io.StringIO()):
            exman.main(["--root", str(self.root), "mark", "best/of", "1"])
        old = self.root / "marked" / "old"              # exman 0.1.x marked with links to folders
        old.mkdir()
        with contextlib.suppress(OSError, NotImplementedError):
            (old / name).symlink_to(pathlib.Path("..", "..", "runs", name), target_is_directory=True)
        _, raised = self.run_in_block(args, self.raise_(error))
        self.assertIs(raised, error)
        self.assertEqual(args.root, self.root / "fails" / name)
        self.assertEqual(self.files(args.root), ["end.yaml", "log.txt", "params.yaml", "traceback.txt"])
        self.assertIn("ValueError: caf\u00e9 \\udce9", self.read(args.root / "traceback.txt"))
        self.assertIn("Traceback (most recent call last)", self.read(args.root / "traceback.txt"))
        self.assertEqual(self.runs(), [])
        self.assertEqual(self.runs("index"), [])
        links = [path for path in (self.root / "marked").rglob("*") if not path.is_dir() or path.is_symlink()]
        self.assertEqual(links, [])
        self.assertEqual(self.stderr, f"exman: run 1 failed: {args.root}\n")

    def test_how_a_block_may_end(self):
        for end, part in ((SystemExit(), "runs"), (SystemExit(0), "runs"), (SystemExit(None), "runs"), (SystemExit(3), "fails"),
                          (SystemExit("no data"), "fails"), (SystemExit(""), "fails"), (SyntaxError("x", ("f", 1, "no", "text")), "fails"), (GeneratorExit(), "runs"), (MemoryError(), "fails"),
                          (RecursionError(), "fails")):
            with self.subTest(repr(end)):
                args = self.parse(self.parser())
                _, raised = self.run_in_block(args, self.raise_(end))
                self.assertIs(raised, end)
                self.assertEqual(args.root.parent.name, part)
                self.assertEqual((args.root / "traceback.txt").exists(), part == "fails")

    def test_ctrl_c_goes_on_upwards_and_leaves_the_run_where_it_is(self):
        args, ctrl_c = self.parse(self.parser()), KeyboardInterrupt()
        _, raised = self.run_in_block(args, self.raise_(ctrl_c))
        self.assertIs(raised, ctrl_c)
        self.assertEqual(args.root.parent.name, "runs")
        self.assertIn("KeyboardInterrupt", self.read(args.root / "traceback.txt"))
        self.assertEqual(len(self.runs("index")), 1)
        self.assertIn("run 1 interrupted", self.stderr)

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

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_a_fork_in_a_block_leaves_its_own_block_and_that_of_its_parent(self):
        self.script("""
            import os, exman
            args = exman.ExParser(root="exman").parse_args([])
            with args.exman:
                pid = os.fork()
                if pid == 0:
                    with args.exman:
                        print("in the fork", flush=True)
            if pid:
                print("status", os.waitpid(pid, 0)[1])
            """)
        self.assertEqual(self.python("main.py").stdout, "in the fork\nstatus 0\n")
        [name] = self.runs()
        self.assertEqual(exman.load_yaml((self.root / "runs" / name / "end.yaml").read_text())["status"], "done")

    def test_a_run_ends_with_the_outermost_of_nested_blocks_and_has_failed_where_one_of_them_has(self):
        args = self.parse(self.parser())

        def caught_inside():
            try:
                with args.exman:
                    print("inner")
                    raise ValueError
            except ValueError:
                print("caught", args.root.parent.name)
        printed, raised = self.run_in_block(args, caught_inside)
        self.assertIsNone(raised)
        self.assertEqual(printed, "inner\ncaught runs\n")
        self.assertEqual(self.files(args.root), ["end.yaml", "log.txt", "params.yaml", "traceback.txt"])
        self.assertEqual(self.read(args.root / "log.txt"), printed)
        self.assertEqual(args.root.parent.name, "fails")

        def through_both():
            with args.exman:
                raise ValueError
        args = self.parse(self.parser())
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

    def test_a_block_that_was_interrupted_and_entered_again_ends_as_the_last(self):
        args = self.parse(self.parser())
        self.run_in_block(args, self.raise_(KeyboardInterrupt()))
        self.assertEqual(self.end(args.root)["status"], "interrupted")
        self.run_in_block(args)
        self.assertEqual(self.end(args.root)["status"], "done")

    def test_a_copy_of_the_run_in_another_process_follows_the_move_to_fails(self):
        args = self.parse(self.parser())
        theirs = pickle.loads(pickle.dumps(args.exman))
        self.run_in_block(args, self.raise_(ValueError()))
        self.assertEqual((theirs.root, theirs.root.parent.name), (args.root, "fails"))

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
        with contextlib.redirect_stdout(io.StringIO()):
            exman.main(["--root", str(self.root), "delete", "--all", "--yes", "1"])
        printed, raised = self.run_in_block(args, lambda: print("on"))
        self.assertEqual((printed, raised), ("on\n", None))

    def test_the_end_of_a_run_made_by_another_process_moves_nothing(self):
        import pickle
        args = self.parse(self.parser(shared=True))
        copy = pickle.loads(pickle.dumps(args.exman))
        self.run_in_block(argparse.Namespace(safe_experiment=copy), self.raise_(ValueError()))
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
                self.assertEqual(self.files(root), ["end.yaml", "log.feeder.txt", "log.txt", "params.yaml", "traceback.feeder.txt"])
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
                                         ("sys.exit(3)", 3, "fails", "failed: "), ("sys.exit('no data')", 1, "fails", "no data"),
                                         ("sys.exit(0)", 0, "runs", "run ")):
            with self.subTest(code):
                done = self.python("main.py", input=code, status=status)
                self.assertIn(last, done.stderr.splitlines()[-1])
                self.assertEqual(done.stdout, "started\ninside\n")
                self.assertEqual(self.read(self.root / part / self.runs(part)[-1] / "log.txt"), "inside\n")

    @unittest.skipUnless(os.name == "posix", "signals")
    def test_a_loop_in_the_shell_ends_at_ctrl_c(self):
        self.script("""
            import os, signal
            import exman
            with exman.ExParser(root="exman").parse_args().exman:
                os.killpg(0, signal.SIGINT)             # as the terminal does
        """)
        shell = "for i in 1 2 3; do \"$0\" main.py; done; echo not reached"
        done = subprocess.run(["bash", "-c", shell, sys.executable], env=dict(os.environ, PYTHONPATH=str(HERE)), start_new_session=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
        self.assertEqual((done.stdout, len(self.runs())), ("", 1), done.stderr)

    def test_of_two_tasks_in_the_block_one_that_fails_is_not_lost(self):
        failed = threading.Event()

        def fail(args):
            with contextlib.suppress(ValueError), args.exman:
                raise ValueError("of the thread")
            failed.set()
        args = self.parse(self.parser())

        def act():
            thread = threading.Thread(target=fail, args=(args,))
            thread.start()
            failed.wait(10)
            thread.join()
            self.assertEqual(args.root.parent.name, "runs")
        _, raised = self.run_in_block(args, act)
        self.assertIsNone(raised)
        self.assertEqual(args.root.parent.name, "fails")
        self.assertIn("of the thread", self.read(args.root / "traceback.txt"))

    def test_threads_that_enter_and_leave_the_block_together_have_one_log_and_one_end(self):
        for _ in range(5):
            args, barrier = self.parse(self.parser()), threading.Barrier(8)

            def work(number, args=args, barrier=barrier):
                with contextlib.suppress(ValueError), args.exman:
                    sys.stdout.write(f"line {number}\n")
                    barrier.wait()
                    if number % 2:
                        raise ValueError(number)
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
                threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            self.assertEqual(said.getvalue(), f"exman: run {args.exman.id} failed: {args.root}\n")
            self.assertEqual(sorted(self.read(args.root / "log.txt").split("\n")[:8]), [f"line {number}" for number in range(8)])
            self.assertEqual(self.read(args.root / "traceback.txt").count("Traceback"), 4)

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_a_process_that_is_forked_while_a_thread_enters_the_block_enters_it_too(self):
        self.script("""
            import os, signal, threading, warnings
            import exman
            warnings.simplefilter("ignore")             # of a fork among threads
            args, over = exman.ExParser(root="exman").parse_args(), threading.Event()
            def enter():
                while not over.is_set():
                    with args.exman:
                        pass
            thread = threading.Thread(target=enter)
            thread.start()
            for _ in range(30):
                child = os.fork()
                if not child:
                    signal.alarm(20)
                    with args.exman:
                        pass
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
            over.set()
            thread.join()
            """)
        self.python("main.py")

    def test_two_coroutines_in_the_block(self):
        import asyncio
        args = self.parse(self.parser())

        async def task(seconds, error=None):
            with args.exman:
                await asyncio.sleep(seconds)
                if error:
                    raise error

        async def both():
            return await asyncio.gather(task(0.01, ValueError("first")), task(0.05), return_exceptions=True)
        with contextlib.redirect_stderr(io.StringIO()):
            asyncio.run(both())
        self.assertEqual((args.root.parent.name, self.end(args.root)["status"]), ("fails", "failed"))

    def test_an_exception_whose_text_raises_goes_on_upwards(self):
        class Odd(Exception):
            def __str__(self):
                raise RuntimeError
        args, odd = self.parse(self.parser()), Odd()
        _, raised = self.run_in_block(args, self.raise_(odd))
        self.assertIs(raised, odd)
        self.assertIn("Odd", self.read(args.root / "traceback.txt"))

    def end(self, root):
        return exman.load_yaml(self.read(root / "end.yaml"))

    def test_end_yaml_tells_how_and_when_a_run_ended(self):
        args = self.parse(self.parser())
        self.run_in_block(args, lambda: time.sleep(0.01))
        end = self.end(args.root)
        self.assertEqual(list(end), ["status", "time", "seconds"])
        self.assertEqual(end["status"], "done")
        self.assertRegex(end["time"], r"\A\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\Z")
        self.assertGreaterEqual(end["seconds"], 0.01)
        self.assertEqual([name for name in self.files(args.root) if name.startswith(".")], [])

    # What a script does after the parse: its exit status, how its run ended (None: nobody was left to say).
    ENDS = {"pass": (0, "done"), "1/0": (1, "failed"), "sys.exit(0)": (0, "done"), "raise KeyboardInterrupt": (-2, "interrupted"),
            "os._exit(0)": (0, None), "os.kill(os.getpid(), 9)": (-9, None), "os.kill(os.getpid(), 15)": (-15, None),
            "signal.signal(15, lambda *_: sys.exit(0)); os.kill(os.getpid(), 15); time.sleep(9)": (0, "done"),
            "if os.fork(): os._exit(0)": (0, None), "if not os.fork(): sys.exit(3)": (0, "done"),
            "with args.exman: 1/0": (1, "failed"), "with args.exman: sys.exit(3)": (3, "failed"), "with args.exman: sys.exit(0)": (0, "done"),
            "with args.exman: raise KeyboardInterrupt": (-2, "interrupted"), "with args.exman: os._exit(0)": (0, None)}

    @unittest.skipUnless(os.name == "posix", "signals and forks")
    def test_how_a_script_ended(self):
        self.script("""
            import os, shutil, signal, sys, time
            import exman
            parser = exman.ExParser(root="exman")
            parser.add_argument("code")
            args = parser.parse_args()
            exec(args.code)
        """)
        for code, (status, end) in self.ENDS.items():
            with self.subTest(code):
                done = self.python("main.py", code, status=status)
                self.assertNotIn("exman.py", done.stderr)
                root = max((path for part in ("runs", "fails") for path in (self.root / part).glob("*")), key=lambda path: path.name, default=None)
                found = self.end(root)["status"] if root and (root / "end.yaml").exists() else None
                self.assertEqual(found, end)
        self.assertNotIn("Traceback", self.python("main.py", "shutil.rmtree(args.root)").stderr)

    def test_each_run_of_a_loop_ends_where_the_next_begins(self):
        self.script("""
            import exman
            parser = exman.ExParser(root="exman")
            parser.add_argument("--i", type=int)
            for i in range(3):
                roots = [path.name for path in parser.parse_args(["--i", str(i)]).root.parent.iterdir() if (path / "end.yaml").exists()]
                print(len(roots))
        """)
        self.assertEqual(self.python("main.py").stdout.split(), ["0", "1", "2"])
        self.assertEqual([self.end(self.root / "runs" / name)["status"] for name in self.runs()], ["done"] * 3)

    def test_how_a_script_ended_is_told_before_what_it_had_to_do_at_its_exit_and_where_that_was_forgotten(self):
        self.script("""
            import atexit, os, sys
            import exman
            exec(sys.argv.pop())
            exman.ExParser(root="exman").parse_args()
        """)
        # Since CPython 3.13 multiprocessing forgets in a fork what its parent had to do.
        for before in ("atexit.register(os._exit, 0)", "atexit._clear()"):
            with self.subTest(before):
                self.python("main.py", before)
                self.assertEqual(self.end(self.root / "runs" / self.runs()[-1])["status"], "done")

    def test_how_a_worker_of_multiprocessing_ended_that_parsed_a_run_of_its_own(self):
        self.script("""
            import multiprocessing, sys
            import exman

            def work(code):
                parser = exman.ExParser(root="exman")
                parser.add_argument("code")
                for stage in (1, 2):
                    args = parser.parse_args([code * stage])
                exec(code)

            if __name__ == "__main__":
                for code in ("pass;", "1/0;", "sys.exit(0);", "sys.exit(3);", "raise KeyboardInterrupt;"):
                    worker = multiprocessing.get_context(sys.argv[1]).Process(target=work, args=(code,))
                    worker.start()
                    worker.join()
        """)
        for method in multiprocessing.get_all_start_methods():
            with self.subTest(method):
                self.python("main.py", method)
                ended = [self.end(self.root / "runs" / name)["status"] for name in self.runs()[-10:]]
                self.assertEqual(ended[::2], ["done"] * 5)
                # Since CPython 3.13 an exception is over when the worker ends.
                seen = ["done", "failed", "done", "failed", "interrupted"] if sys.version_info < (3, 13) else ["done"] * 5
                self.assertEqual(ended[1::2], seen)

    @unittest.skipUnless(os.path.exists("/dev/full"), "needs /dev/full")
    def test_a_full_disk_at_the_exit_costs_a_line(self):
        self.script("""
            import os
            import exman
            args = exman.ExParser(root="exman").parse_args()
            os.rename(args.root, str(args.root) + "-gone")
            args.root.symlink_to("/dev/full")
        """)
        done = self.python("main.py")
        self.assertIn("how run 1 ended is not recorded", done.stderr)
        self.assertNotIn("Traceback", done.stderr)


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
        self.assertNotIn(str(self.log), opened[1:])

    def test_logging_to_stdout_is_in_it_from_handlers_made_before_and_inside(self):
        import logging
        import logging.handlers
        stdout = io.StringIO()
        logger = logging.getLogger("exman-test")
        logger.propagate = False
        with contextlib.redirect_stdout(stdout):
            behind = logging.handlers.MemoryHandler(1, target=logging.StreamHandler(sys.stdout))
            logger.handlers = [logging.StreamHandler(sys.stdout), behind, logging.StreamHandler(io.StringIO())]
            self.addCleanup(logger.handlers.clear)
            logger.warning("before")
            with self.args.exman:
                logger.addHandler(logging.StreamHandler(sys.stdout))
                logger.warning("inside")
            logger.warning("after")
        self.assertEqual(self.read(), "inside\n" * 3)
        self.assertEqual(stdout.getvalue(), "before\n" * 2 + "inside\n" * 3 + "after\n" * 3)

    def test_the_stream_is_the_same_object_and_comes_back_as_it_was(self):
        stdout = io.StringIO()
        with contextlib.redirect_stdout(stdout):
            before = vars(stdout).copy()
            with self.args.exman:
                self.assertIs(sys.stdout, stdout)
                taken = sys.stdout.write                # as a thread holds it that prints while the block ends
            taken("late\n")
        self.assertEqual(vars(stdout), before)
        self.assertEqual((stdout.getvalue(), self.read()), ("late\n", ""))

    @unittest.skipUnless(hasattr(os, "mkfifo"), "no FIFO")
    def test_no_file_gets_the_descriptor_of_a_log_that_a_thread_still_writes_to(self):
        path = self.args.root / "log.txt"
        os.mkfifo(str(path))
        reader = os.open(str(path), os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        with contextlib.redirect_stdout(io.StringIO()):
            number = os.dup(0)
            os.close(number)                            # the next file is the log
            with self.args.exman:
                thread = threading.Thread(target=sys.stdout.write, args=("x" * 300_000,))
                thread.start()
                select.select([reader], [], [], 10)     # the thread is in the write, for a pipe does not take all
            other = os.dup(0)
            os.close(other)
            self.assertNotEqual(other, number)
            os.set_blocking(reader, True)
            read = 0
            while read < 300_000:
                read += len(os.read(reader, 1 << 20))
            thread.join()
        other = os.dup(0)
        os.close(other)
        self.assertEqual(other, number)                 # it is closed by now

    def test_a_write_that_a_script_has_put_on_the_stream_stays_there(self):
        stdout, seen = io.StringIO(), []
        stdout.write = lambda text: seen.append(text)   # as trackers do it that copy the console
        own = stdout.write
        with contextlib.redirect_stdout(stdout):
            with self.args.exman:
                print("inside")
            print("after")
        self.assertIs(stdout.write, own)
        self.assertEqual(("".join(seen), self.read()), ("inside\nafter\n", "inside\n"))

    def test_a_stdout_that_takes_no_attribute_has_no_log_and_says_so(self):
        class Slotted:
            __slots__ = ("texts",)

            def write(self, text):
                self.texts = getattr(self, "texts", "") + text

            def flush(self):
                pass
        stdout, stderr = Slotted(), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr), self.args.exman:
            print("on")
        self.assertEqual(stdout.texts, "on\n")
        self.assertIn("exman: no log: ", stderr.getvalue())

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

    def test_a_write_that_somebody_has_set_inside_the_block_stays(self):
        stdout = io.StringIO()
        with contextlib.redirect_stdout(stdout):
            with self.args.exman:
                write = stdout.write
                stdout.write = lambda text: write(text.upper())
                print("inside")
            print("after")
        self.assertEqual((stdout.getvalue(), self.read()), ("INSIDE\nAFTER\n", "INSIDE\n"))

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
    def test_without_a_stdout_the_block_runs(self):
        self.script("""
            import exman
            args = exman.ExParser(root="exman").parse_args()
            with args.exman:
                print("unheard")
                (args.root / "done").touch()
        """)
        subprocess.run(["sh", "-c", '"$0" main.py >&- 2>&-', sys.executable], check=True,
                       env=dict(os.environ, PYTHONPATH=str(HERE)))
        self.assertTrue((self.root / "runs" / self.runs()[-1] / "done").exists())

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
        self.assertRegex(stderr.getvalue(), r"\Aexman: the log ends here: .*No space left on device\n\Z")

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

    def test_a_pickle_is_argparses_to_the_byte(self):
        args = self.args()
        plain = argparse.Namespace(**vars(args))
        for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
            with self.subTest(protocol=protocol):
                self.assertEqual(pickle.dumps(args, protocol), pickle.dumps(plain, protocol))
                self.assertEqual(pickle.dumps([args, args], protocol), pickle.dumps([plain, plain], protocol))
                self.assertEqual(pickle.dumps([args, vars(args)], protocol), pickle.dumps([plain, vars(plain)], protocol))

    def test_a_pickle_loads_where_there_is_no_exman(self):
        pathlib.Path("args.pkl").write_bytes(pickle.dumps(self.args()))
        code = "import pickle, sys; print(pickle.load(open('args.pkl', 'rb')), 'exman' in sys.modules)"
        done = subprocess.run([sys.executable, "-I", "-c", code], stdout=subprocess.PIPE, universal_newlines=True)
        self.assertEqual(done.stdout, "Namespace(lr=0.1) False\n")

    def test_the_run_goes_along_to_workers(self):
        self.script("""
            import multiprocessing, sys
            import exman

            def work(args, queue=None):
                queue.put(args) if queue else None
                return [args.root.name, args.exman.id, args.lr]

            if __name__ == "__main__":
                parser = exman.ExParser(root="exman")
                parser.add_argument("--lr", type=float, default=0.5)
                parser.add_argument("--method")
                args = parser.parse_args()
                context = multiprocessing.get_context(args.method)
                mine = [args.root.name, args.exman.id, args.lr]
                with context.Pool(1) as pool:
                    assert pool.apply(work, (args,)) == mine
                queue = context.Queue()
                worker = context.Process(target=work, args=(args, queue))
                worker.start()
                assert work(queue.get()) == mine
                worker.join()
                assert worker.exitcode == 0
        """)
        for method in multiprocessing.get_all_start_methods():
            with self.subTest(method):
                self.python("main.py", "--method", method)

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

    def test_a_property_of_the_callers_own_namespace_object_is_left_alone_by_a_file(self):
        class Mine:
            steps = property(lambda self: 9)
        parser = self.parser()
        parser.add_argument("--steps", default=3)
        self.parse(parser)
        mine = Mine()
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            self.parser().parse_args(["--config", "1"], namespace=mine)
        self.assertIn("steps: not in this script, and left out", stderr.getvalue())
        self.assertEqual((vars(mine), mine.steps), ({}, 9))


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

    def test_bool_reads_words_for_false_and_every_other_text_is_true(self):
        parser = self.parser()
        parser.add_argument("--flag", type=bool)
        for word in ("true", "T", "yes", "On", "1", "maybe", " "):
            with self.subTest(word):
                self.assertIs(self.parse(parser, "--flag", word).flag, True)
        for word in ("False", "f", "no", "N", "OFF", "0", ""):
            with self.subTest(word):
                self.assertIs(self.parse(parser, "--flag", word).flag, False)

    def test_setters_come_before_validators_and_are_recorded(self):
        parser = self.parser()
        parser.add_argument("--n", type=int, default=1)
        parser.register_setter(lambda args: setattr(args, "n", args.n + 1))
        parser.register_validator(lambda args: args.n < 5, "{n} is too much")
        args = self.parse(parser)
        self.assertEqual(self.params(args)["n"], 2)
        self.assertEqual(self.parse(parser, "--config", "1"), args)
        self.assertEqual(self.refuse(parser, "--n", "4"), "main.py: error: 5 is too much")

    def test_a_setter_may_register_another(self):
        parser = self.parser()
        parser.register_setter(lambda args: parser.register_setter(lambda args: setattr(args, "late", 1)))
        self.assertEqual(vars(self.parse(parser)), {"late": 1})

    def test_a_subclass_may_give_its_methods_any_name_that_argparse_leaves_it(self):
        own = vars(exman.ExParser).keys() - {*dir(argparse.ArgumentParser), "register_validator", "register_setter"}
        self.assertEqual([name for name in own if not name.startswith(("__", "_exman", "exit_on_error"))], [])

    def test_a_validators_own_words(self):
        def check(args):
            raise exman.ArgumentError(None, "never on a Friday")
        parser = self.parser()
        parser.register_validator(check)
        self.assertEqual(self.refuse(parser), "main.py: error: never on a Friday")

    @unittest.skipIf(sys.version_info < (3, 9), "exit_on_error is of CPython 3.9")
    def test_exit_on_error_false_raises(self):
        with self.assertRaisesRegex(exman.ArgumentError, "no run 7 in "):
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

    def test_lists_in_a_file_written_by_hand(self):
        cases = {"of a type that reads json": ("spec: '[1, \"x\"]'", [1, "x"], dict(type=json.loads)),
                 "in the place of the default": ("spec: [a, 1e3]", ["a", "1e3"], dict(action="append", default=["d"])),
                 "a list for each time": ("spec: [[1, 2], [3, 4]]", [[1, 2], [3, 4]], dict(action="append", nargs=2, type=int)),
                 "empty": ("spec: []", [], dict(action="append", default=["d"]))}
        for name, (text, value, kwargs) in cases.items():
            with self.subTest(name):
                parser = self.parser()
                parser.add_argument("--spec", **kwargs)
                pathlib.Path("mine.yaml").write_text(text + "\n")
                args = self.parse(parser, "--config", "mine.yaml")
                self.assertEqual(args.spec, value)
                self.assertEqual(self.parse(parser, "--config", str(args.root)), args)

    def test_what_is_wrong_with_a_file_is_a_usage_error(self):
        cases = {"unknown key": ("lr: 1\nstepz: 2\n", "mine.yaml, line 2: no option 'stepz': did you mean steps? there are lr, steps"),
                 "capitals": ("LR: 1\n", "mine.yaml, line 1: no option 'LR': did you mean lr? there are lr, steps"),
                 "help": ("help: true\n", "mine.yaml, line 1: no option 'help': there are lr, steps"),
                 "type": ("lr: fast\n", "mine.yaml, line 1: argument --lr: invalid float value: 'fast'"),
                 "no yaml": ("lr: [1\n", "mine.yaml: line "), "list for one": ("lr: [1, 2]\n", "mine.yaml, line 1: argument --lr: expected one argument"),
                 "mapping": ("lr: {a: 1}\n", "mine.yaml, line 1: argument --lr: expected one argument")}
        for name, (text, message) in cases.items():
            with self.subTest(name):
                parser = self.parser()
                parser.add_argument("--lr", type=float)
                parser.add_argument("--steps", type=int)
                pathlib.Path("mine.yaml").write_text(text)
                self.assertIn(f"main.py: error: {message}", self.refuse(parser, "--config", "mine.yaml"))

    def test_a_config_that_is_not_there_is_a_usage_error(self):
        pathlib.Path("empty").mkdir()
        for word, message in {"nowhere.yaml": "nowhere.yaml", "empty": "empty/params.yaml: No such file", "7": "no run 7 in "}.items():
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
    def test_the_line_is_the_value_or_a_text_of_which_the_type_makes_it(self):
        split = lambda text: [int(part) for part in text.split(",")]        # noqa: E731
        cases = {"float": (dict(type=float), "1e-3", 0.001), "json": (dict(type=json.loads), "[1, 2]", [1, 2]),
                 "path": (dict(type=pathlib.Path), "a//b", "a//b"), "not idempotent": (dict(type=lambda text: float(text) * 1e-3), "1", 0.001),
                 "lower": (dict(type=str.lower), "ABC", "abc"), "text of another": (dict(type=lambda text: text + "!"), "a", "a"),
                 "infinity": (dict(type=float), "inf", float("inf")), "bool of words": (dict(type={"True": True, "False": False}.get), "False", False),
                 "splitting": (dict(type=split), "1,2", [1, 2]), "own action": (dict(action=Joined, nargs="+"), "a=1", {"a": "1"})}
        for name, (kwargs, text, line) in cases.items():
            with self.subTest(name):
                parser = self.parser()
                parser.add_argument("--x", **kwargs)
                self.assertEqual(typed(self.params(self.parse(parser, "--x", text))["x"]), typed(line))

    def test_parameters_stand_in_the_order_of_the_options(self):
        parser = self.parser()
        for name in "zab":
            parser.add_argument(f"--{name}")
        self.assertEqual(list(self.params(self.parse(parser, "--a", "1"))), ["z", "a", "b", "root", "time", "id"])

    def test_what_nothing_brings_back_is_told_where_it_now_differs(self):
        def make(default):
            parser = self.parser()
            parser.add_argument("--x", default=default)
            return parser
        args = self.parse(make(len))
        self.assertNotIn("cannot", self.stderr)
        self.assertEqual(self.params(args)["x"], "<built-in function len>")
        self.assertIs(self.parse(make(len), "--config", "1").x, len)
        self.assertNotIn("cannot", self.stderr)
        self.assertIs(self.parse(make(max), "--config", "1").x, max)
        self.assertIn("exman: x cannot be restored: it was <built-in function len>, and is <built-in function max>\n", self.stderr)

    def test_a_type_is_called_no_more_often_than_by_argparse_but_for_a_text_that_it_may_change(self):
        calls = []

        def kind(text):
            calls.append(text)
            return pathlib.Path(text) if text[0] == "p" else text.lower() if text[0] == "T" else len(text)
        for argv, expected in (([], ["1"]), (["--x", "p1"], ["p1"]), (["--x", "123"], ["123"]), (["--x", "Text"], ["Text", "text"])):
            with self.subTest(argv):
                parser = self.parser()
                parser.add_argument("--x", type=kind, default="1")
                del calls[:]
                self.parse(parser, *argv)
                self.assertEqual(calls, expected)

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
        import ast
        text = (args.root / "params.yaml").read_text(encoding="utf-8")
        return ast.literal_eval(re.search("(?m)^# exman: (.*)$", text).group(1))["argv"][1:]

    def test_the_words_of_the_launch_are_kept_and_those_of_a_config_are_marked(self):
        def make():
            parser = self.parser()
            parser.add_argument("data", nargs="?")
            parser.add_argument("--lr", type=float, default=0.1)
            return parser
        first = self.parse(make(), "caf\udcff", "--lr", "1e-3")
        self.assertEqual(self.words(first), ["caf\udcff", "--lr", "1e-3"])
        for argv in (["--config", "1", "--lr", "2"], ["--lr=2", f"--config={first.root}"]):
            words = self.words(self.parse(make(), *argv))
            self.assertEqual([word for word in words if type(word) is tuple], [("--config", argv[1].partition("=")[2] or "1")])

    def test_a_secret_is_in_no_file_and_in_no_word(self):
        def make():
            parser = self.parser(automark=("token",))
            parser.add_argument("--token", secret=True, default="from-env")
            parser.add_argument("--lr", type=float)
            return parser
        for number, argv in enumerate((["--token", "s3cr3t", "--lr", "1"], ["--tok=s3cr3t", "--lr", "1"]), 1):
            args = self.parse(make(), *argv)
            self.assertEqual(args.token, "s3cr3t")
            self.assertNotIn("s3cr3t", self.stderr)
            self.assertIsNone(self.params(args)["token"])
            again = self.parse(make(), "--config", str(args.root))
            self.assertEqual((again.token, again.lr), ("from-env", 1.0))
        for path in self.root.rglob("*"):
            self.assertNotIn("s3cr3t", str(path))
            self.assertNotIn("s3cr3t", path.read_text() if path.is_file() else "")
        (self.folder / "mine.yaml").write_text("token: s3cr3t\n")
        self.assertEqual(self.parse(make(), "--config", "mine.yaml").token, "s3cr3t")

    def test_a_secret_of_a_subcommand_is_in_no_mark_and_short_secrets_cut_no_other_word(self):
        parser = self.parser(automark=("token",))
        sub = parser.add_subparsers(dest="task").add_parser("a")
        sub.add_argument("-t", "--token", secret=True)
        sub.add_argument("--password", dest="token")
        sub.add_argument("--lr", type=float)
        for words in (["--token", "1"], ["--token=1"], ["-t1"], ["--password", "1"]):
            args = self.parse(parser, "a", *words, "--lr", "0.1")
            self.assertEqual(self.words(args), ["a", *[word[:-1] + "***" if word.endswith("1") else word for word in words], "--lr", "0.1"])
        self.assertEqual([path.name for path in (self.root / "marked" / "token").iterdir()], ["None"])

    def test_a_dest_named_as_git_says_it_comes_back_whether_git_is_on_or_off(self):
        def make(git):
            parser = self.parser(git=git)
            parser.add_argument("--dirty", default="clean")
            parser.add_subparsers(dest="task").add_parser("a").add_argument("--commit")
            return parser
        for number, (first, later) in enumerate(((True, True), (True, False), (False, True), (False, False))):
            args = self.parse(make(first), "a", "--commit", f"c{number}")
            self.assertEqual(self.parse(make(later), "--config", str(args.root)), args)

    def test_a_comment_that_somebody_broke_costs_no_traceback(self):
        parser = self.parser()
        parser.add_argument("--x", type=float, nargs=2, default=(1.0, 2.0))
        text = (self.parse(parser).root / "params.yaml").read_text()
        for comment in ("", "# exman: {", "# exman: []", "# exman: {'more': 3, 'exact': [], 'argv': 1}", "# exman: {'more': [3]}", "# argv: []"):
            with self.subTest(comment):
                (self.folder / "copy.yaml").write_text("gone: 1\n" + re.sub("(?m)^# exman: .*", comment, text))
                self.assertEqual(self.parse(parser, "--config", "copy.yaml").x, [1.0, 2.0])
                self.assertIn("gone: not in this script", self.stderr)

    def test_setters_and_validators_of_the_chosen_subcommand_count(self):
        parser = self.parser()
        commands = parser.add_subparsers(dest="task")
        for name in "ab":
            sub = commands.add_parser(name)
            sub.register_setter(lambda args, name=name: setattr(args, "seen", name))
            sub.register_validator(lambda args: args.task != "b", "never {task}")
        self.assertEqual(self.parse(parser, "a").seen, "a")
        self.assertIn("never b", self.refuse(parser, "b"))

    def test_attributes_of_a_value_that_raise_end_no_launch(self):
        class Odd:
            @property
            def name(self):
                raise RuntimeError
            shape = item = name
        parser = self.parser()
        parser.add_argument("--x", type=int, default=Odd())
        self.assertRegex(self.params(self.parse(parser))["x"], "Odd object")

    def test_a_default_that_is_an_open_file_is_not_opened_again(self):
        parser = self.parser()
        with open("out.csv", "w") as file:
            file.write("kept")
            file.flush()
            parser.add_argument("--x", type=lambda text: open(text, "w"), default=file)
            self.parse(parser)
        self.assertEqual((pathlib.Path("out.csv").read_text(), os.listdir(".")), ("kept", os.listdir(".")))
        self.assertEqual(sorted(os.listdir(".")), ["exman", "out.csv"])


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
        self.assertEqual(len(self.runs()), 2)           # of other words than the first call's

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
        self.assertIn("mine.yaml, line 1: argument --no-cuda: invalid value: 'maybe'",
                      self.refuse(self.switches(), "--config", self.config("no-cuda: maybe")))

    def test_counts_and_lists_of_consts_in_a_file(self):
        for text, value in (("v: 3", 3), ("v: x", None), ("v: true", None), ("tags: [a, 2]", ["a", 2]), ("tags: a", None), ("one: 1", 1), ("one: '1'", None), ("one: 0", None)):
            with self.subTest(text):
                parser = self.parser()
                parser.add_argument("--v", action="count")
                parser.add_argument("--one", action="store_const", const=1)
                parser.add_argument("--a", dest="tags", action="append_const", const="a")
                parser.add_argument("--b", dest="tags", action="append_const", const=2)
                if value is None:
                    self.assertIn("mine.yaml, line 1: argument --", self.refuse(parser, "--config", self.config(text)))
                else:
                    self.assertIn(value, vars(self.parse(parser, "--config", self.config(text))).values())

    @unittest.skipIf(sys.version_info < (3, 9), "3.8 has no BooleanOptionalAction, and nothing to test")
    def test_a_switch_in_a_file_by_either_of_its_names(self):
        for text, value in (("use-amp: false", False), ("no-use-amp: true", False), ("use_amp: false", False), ("no-use-amp: no", True)):
            with self.subTest(text):
                parser = self.parser()
                parser.add_argument("--use-amp", action=argparse.BooleanOptionalAction, default=True)
                self.assertIs(self.parse(parser, "--config", self.config(text)).use_amp, value)

    def test_two_names_of_one_option_in_a_file(self):
        message = self.refuse(self.switches(), "--config", self.config("pin-mem: true\npin_mem: false"))
        self.assertIn("line 1: 'pin-mem' is 'pin_mem', which is there too", message)

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
        self.assertFalse(hasattr(args, "root") or hasattr(copy.copy(args), "root"))
        self.assertTrue(args.exman.root.is_dir())

    def test_a_dest_of_any_name_leaves_the_run_beside_it(self):
        parser = self.parser()
        parser.add_argument("--_beside", default=1)
        args = self.parse(parser)
        self.assertEqual((args._beside, copy.copy(args)._beside, vars(args)), (1, 1, {"_beside": 1}))
        self.assertEqual(args.root, copy.copy(args).exman.root)

    def test_a_validators_message_that_cannot_be_filled_in_says_why(self):
        for message, check, shown in (("lr {lr}: see {manual}", lambda args: False, "lr {lr}: see {manual} (KeyError: 'manual')"),
                                      ("{lr:.3f}", lambda args: False, "{lr:.3f} (TypeError: unsupported format string"),
                                      ("bad", lambda args: args.steps > 0, "bad (AttributeError: 'Namespace' object has no attribute 'steps'")):
            parser = self.parser()
            parser.add_argument("--lr")
            parser.register_validator(check, message)
            self.assertIn(f"main.py: error: {shown}", self.refuse(parser))

    def test_a_false_of_another_library_is_false(self):
        kind = type("bool_", (), {"__bool__": lambda self: False, "__str__": lambda self: "False"})
        parser = self.parser()
        parser.register_validator(lambda args: kind(), "no")
        self.assertEqual(self.refuse(parser), "main.py: error: no")


Pair = collections.namedtuple("Pair", "x y")


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Word(str, enum.Enum):
    A = "a"
    B = "b"


class Scalar:
    """What numpy's scalars are to exman."""

    shape = ()

    def __init__(self, number):
        self.number = number

    def item(self):
        return self.number

    def __eq__(self, other):
        return isinstance(other, Scalar) and self.number == other.number


class Array:
    def __eq__(self, other):
        return Array()

    def __bool__(self):
        raise ValueError("the truth value of an array is ambiguous")


class Unshowable:
    def __repr__(self):
        raise RuntimeError


def _split(text):
    return [int(part) for part in text.split(",")]


def _paths(text):
    return [pathlib.Path(part) for part in text.split(",")]


class RerunTest(Case):
    """The file has the last word: whatever the script's default, type, choices and nargs have become since."""

    # name: (how the option is added, its default, another default)
    EXACT = {
        "tuple": (dict(type=float, nargs=2), (0.9, 0.999), (0.5, 0.5)), "nested tuple": ({}, ((1, 2), (3, (4,))), None), "empty tuple": ({}, (), (1,)),
        "dict of tuples": ({}, {"a": (1, 2), "b": [3]}, {}), "infinite key": ({}, {float("inf"): (1, 2), 1: (3,)}, {}), "list of tuples": ({}, [(1, 2), (3, 4)], []), "odd floats": ({}, (float("inf"), float("nan"), -0.0), ()),
        "set": ({}, {1, 2}, {3}), "set of text": ({}, {"b", "a"}, set()), "bytes": ({}, b"a\xff", b"b"), "complex": ({}, 1 + 2j, 3j),
        "enum by value": (dict(type=Color), Color.RED, Color.BLUE), "enum by name": (dict(type=lambda text: Color[text]), Color.RED, Color.BLUE),
        "enums": (dict(type=Color, nargs="+"), [Color.RED], [Color.BLUE]), "path": (dict(type=pathlib.Path), pathlib.Path("a"), pathlib.Path("b")),
        "path of a text": (dict(type=pathlib.Path), "a//b", "c"), "paths": (dict(type=pathlib.Path, nargs="*"), [pathlib.Path("a")], []), "paths in a tuple": (dict(type=pathlib.Path, nargs=2), (pathlib.Path("a"),) * 2, None),
        "float for an int": (dict(type=int), 1e3, 5), "not a choice": (dict(choices=["a", "b"]), "z", "a"), "int that is no choice": (dict(type=int, choices=[1, 2]), 7, 1),
        "list of a splitting type": (dict(type=_split), [1, 2], [3]), "text of a splitting type": (dict(type=_split), "1,2", [3]), "paths of one text": (dict(type=_paths), "a,b", None),
        "False for a str": (dict(type=str), False, True), "int for a str": (dict(type=str), 5, "x"), "list of a str": (dict(type=str), ["a", 1], "x"), "dict": ({}, {"a": "x"}, None),
        "json of a text": (dict(type=json.loads), '{"a": "x"}', "1"), "json": (dict(type=json.loads), {"a": "x"}, None), "lower": (dict(type=str.lower), "ABC", "x"),
        "not idempotent": (dict(type=lambda text: text + "!"), "x", "y"), "milliseconds": (dict(type=lambda text: float(text) * 1e-3), "5", "6"),
        "milliseconds as they are": (dict(type=lambda text: float(text) * 1e-3), 0.25, "6"), "decimal": (dict(type=decimal.Decimal), decimal.Decimal("0.10"), None),
        "fraction": (dict(type=fractions.Fraction), fractions.Fraction(1, 3), None), "uuid": (dict(type=uuid.UUID), uuid.UUID(int=5), None), "word of an Enum": (dict(type=Word), Word.A, Word.B),
        "pattern": (dict(type=re.compile), re.compile("a.*"), None), "append": (dict(action="append", type=int), [1], [2]),
        "append paths": (dict(action="append", type=pathlib.Path), [pathlib.Path("x")], []), "append tuples": (dict(action="append", type=float, nargs=2), [(1.0, 2.0)], None),
        "store_true": (dict(action="store_true"), 1, 0), "count": (dict(action="count"), None, 3), "nan": (dict(type=float), float("nan"), 1.0), "big": (dict(type=int), 10**50, 1),
        "undecodable": ({}, "caf\udcff", "x"), "undecodable in a list": ({}, ["caf\udcff", (1,)], "x"), "control characters": ({}, "a\nb\0c", "x"),
        "keys of every type": ({}, {1: (2,), "1": 3, None: 4}, None), "bool": (dict(type=bool), True, False), "bool of a text": (dict(type=bool), "False", True), "null": (dict(type=int), None, 3),
    }
    TOLD = {
        "frozenset": ({}, frozenset([1]), [1]), "frozen text": ({}, frozenset("ab"), frozenset("c")), "range": ({}, range(3), None), "function": ({}, len, None), "class": ({}, dict, None), "date": ({}, datetime.date(2020, 1, 2), None),
        "date and time": ({}, datetime.datetime(2020, 1, 2, 3), None), "namedtuple": ({}, Pair(1, 2), None), "IntEnum": ({}, Level.LOW, Level.HIGH), "str, Enum": ({}, Word.A, Word.B),
        "enum": ({}, Color.RED, Color.BLUE), "path without a type": ({}, pathlib.Path("a"), pathlib.Path("b")),
        "scalar": ({}, Scalar(0.5), Scalar(1.5)), "array": (dict(type=float, nargs=2), Array(), None), "no repr": ({}, Unshowable(), None), "OrderedDict": ({}, collections.OrderedDict(a=1), {}),
        "subclass of float": ({}, type("Float", (float,), {})(1.5), 2.5), "tuples as keys": ({}, {(1, 2): 3}, None), "too deep": ({}, functools.reduce(lambda inner, _: [inner], range(100), 1), None),
        "too many digits": (dict(type=int), 10**5000, 1), "module": ({}, os, sys), "object": ({}, Array, Unshowable),
    }

    def make(self, **kwargs):
        parser = self.parser()
        parser.add_argument("--x", **kwargs)
        parser.add_argument("--other", type=int)
        return parser

    def reruns(self, kwargs, first, other):
        """(the value at the rerun, or at the rerun of the rerun; what was said) for what may have become of the option."""
        changes = [dict(default=first), dict(default=other)]
        if "action" not in kwargs:
            changes += [dict(default=other, choices=["q"])] + [dict(default=other, nargs=3)] * ("nargs" in kwargs)
        args = self.parse(self.make(**{**kwargs, "default": first}))
        self.assertIn("x", exman.load_yaml((args.root / "params.yaml").read_text()))
        for change in changes:
            again = self.parse(self.make(**{**kwargs, **change}), "--config", str(args.root))
            yield 1, change, args.x, again.x, self.stderr
            twice = self.parse(self.make(**{**kwargs, **change}), "--config", str(again.root))
            yield 2, change, again.x, twice.x, self.stderr

    def test_a_default_that_nobody_typed_comes_back_exactly(self):
        for name, (kwargs, first, other) in self.EXACT.items():
            for again, change, before, after, said in self.reruns(kwargs, first, other):
                with self.subTest(name, change=change, again=again):
                    self.assertEqual(typed(after), typed(before))
                    self.assertNotIn("cannot be restored", said)

    def test_what_nothing_brings_back_has_a_line_and_is_told_where_it_differs(self):
        for name, (kwargs, first, other) in self.TOLD.items():
            for again, change, before, after, said in self.reruns(kwargs, first, other):
                if again == 1:                           # at the second time the first rerun's value is what was recorded
                    with self.subTest(name, change=change):
                        self.assertIs(after, change["default"])
                        self.assertEqual("exman: x cannot be restored" in said, after is not before, said)

    def test_equal_runs_have_equal_lines(self):
        lines = [self.params(self.parse(self.make(default=value)))["x"] for value in (lambda: 1, lambda: 2)]
        self.assertEqual(lines[0], lines[1])
        self.assertNotIn("0x", lines[0])
        # 0 and 8 share a place in a small hash table, so the order of their coming is that of the repr.
        for kind in (frozenset, lambda items: {len, *items}):
            lines = [self.params(self.parse(self.make(default=kind(items))))["x"] for items in ([0, 8], [8, 0])]
            self.assertEqual(lines[0], lines[1])

    def test_two_options_of_one_dest_come_back(self):
        def lists(parser):
            parser.add_argument("--x", dest="f", action="append", type=pathlib.Path)
            parser.add_argument("--all", dest="f", action="append_const", const=len)

        def texts(parser):
            parser.add_argument("--lr", type=float)
            parser.add_argument("--lr-text", dest="lr", type=decimal.Decimal)
        for define, argv in ((lists, ["--x", "a", "--all", "--x", "b"]), (texts, ["--lr", "1"]), (texts, ["--lr", "1", "--lr-text", "0.10"])):
            with self.subTest(argv):
                make = lambda: (lambda parser: define(parser) or parser)(self.parser())       # noqa: E731
                args = self.parse(make(), *argv)
                self.assertEqual({key: typed(value) for key, value in vars(self.parse(make(), "--config", str(args.root))).items()},
                                 {key: typed(value) for key, value in vars(args).items()})

    def test_an_edited_copy_counts(self):
        parser = self.parser()
        parser.add_argument("--betas", default=(0.9, 0.99))
        parser.add_argument("--data", type=pathlib.Path, nargs="+")
        parser.add_argument("--kind", type=str.lower)
        parser.add_argument("--act", default=int)
        args = self.parse(parser, "--data", "a", "b", "--kind", "SGD")
        text = (args.root / "params.yaml").read_text()
        text = text.replace("[0.9, 0.99]", "[0.5, 1]").replace("[a, b]", "[c]").replace("sgd", "ADAM")
        (self.folder / "copy.yaml").write_text(re.sub("(?m)^act: .*", "act: relu", text))
        args = self.parse(parser, "--config", "copy.yaml")
        self.assertEqual(vars(args), {"betas": (0.5, 1), "data": [pathlib.Path("c")], "kind": "adam", "act": "relu"})

    def test_of_an_edited_copy_the_type_reads_its_own_texts_and_not_the_parts_of_what_it_makes(self):
        path, pairs = pathlib.PurePosixPath, lambda text: tuple(text.split("="))
        for how, words, line, expected in (
                (dict(type=_split), ["1,2"], "[1, 3]", [1, 3]),
                (dict(type=lambda text: text.split(",")), ["a,b"], "[a, c, d]", ["a", "c", "d"]),
                (dict(type=pairs, action="append"), ["a=b"], "[[a, c], [d]]", [("a", "c"), ("d",)]),
                (dict(type=json.loads), ['{"opt": "adam", "lr": 1}'], "{opt: sgd, lr: 1}", {"opt": "sgd", "lr": 1}),
                (dict(type=json.loads, nargs="+"), ['{"opt": "adam"}'], "[{opt: sgd}]", [{"opt": "sgd"}]),
                (dict(type=path, nargs="*", default=()), None, "[a, b]", (path("a"), path("b"))),
                (dict(type=path, nargs=2, default=(None, None)), None, "[a, b]", (path("a"), path("b"))),
                (dict(type=path, nargs="+", default=[path("x"), None]), None, "[a, b, c]", [path("a"), path("b"), path("c")]),
                (dict(type=path, nargs="+", action="append"), ["a", "b"], "[[a, c], [d]]", [[path("a"), path("c")], [path("d")]])):
            with self.subTest(line=line, **how):
                parser = self.parser()
                parser.add_argument("--x", **how)
                args = self.parse(parser, *(["--x", *words] if words else []))
                text = (args.root / "params.yaml").read_text()
                (self.folder / "copy.yaml").write_text(re.sub("(?m)^x: .*$", f"x: {line}", text))
                self.assertEqual(typed(self.parse(parser, "--config", "copy.yaml").x), typed(expected))

    def test_a_list_stands_as_its_values_not_as_the_words_that_made_it(self):
        base, path = [pathlib.Path("base")], pathlib.Path
        cases = [(dict(nargs="+"), ["--x", "b"], "[b]", [path("b")]), (dict(action="append"), ["--x", "b"], "[base, b]", [*base, path("b")]),
                 (dict(action="extend", nargs="+"), ["--x", "b", "--x", "c", "d"], "[base, b, c, d]", [*base, path("b"), path("c"), path("d")]),
                 (dict(action="append", nargs=2), ["--x", "b", "c"], "[base, [b, c]]", [*base, [path("b"), path("c")]]), (dict(nargs=1), ["--x", "b"], "[b]", [path("b")])]
        for kwargs, argv, line, value in cases:
            args = self.parse(self.make(type=path, default=base, **kwargs), *argv)
            for default in (base, None, [path("other")], 0):
                with self.subTest(kwargs, default=default):
                    self.assertEqual(args.x, value)
                    self.assertIn(f"x: {line}\n", (args.root / "params.yaml").read_text())
                    again = self.parse(self.make(type=path, default=default, **kwargs), "--config", str(args.root))
                    self.assertEqual(again.x, value)
                    self.assertIn(f"x: {line}\n", (again.root / "params.yaml").read_text())

    def test_numbers_and_null_in_an_edited_copy_are_no_text_for_the_type(self):
        parser = self.make(type=pathlib.Path, nargs="+")
        args = self.parse(parser, "--x", "a", "b")
        for line, value in (("null", None), ("[1, null, c]", [1, None, pathlib.Path("c")]), ("c", pathlib.Path("c"))):
            (self.folder / "copy.yaml").write_text((args.root / "params.yaml").read_text().replace("[a, b]", line))
            self.assertEqual(self.parse(parser, "--config", "copy.yaml").x, value)

    def test_a_const_that_nothing_writes_is_the_scripts_own_where_that_is_still_the_same(self):
        def parser(*consts):
            parser = self.parser()
            for number, const in enumerate(consts):
                parser.add_argument(f"--one-{number}", dest="one", action="store_const", const=const)
                parser.add_argument(f"--all-{number}", dest="all", action="append_const", const=const)
            return parser
        args = self.parse(parser(Color.RED, Color.BLUE), "--one-1", "--all-1", "--all-0")
        self.assertEqual([self.params(args)["one"], self.params(args)["all"]], ["BLUE", ["BLUE", "RED"]])
        again = self.parse(parser(Color.RED, Color.BLUE), "--config", str(args.root))
        self.assertEqual([again.one, again.all], [Color.BLUE, [Color.BLUE, Color.RED]])
        self.assertNotIn("cannot be restored", self.stderr)
        again = self.parse(parser(Color.RED), "--config", str(args.root))
        self.assertEqual([again.one, again.all], [None, [Color.RED]])
        self.assertIn("exman: one cannot be restored: it was BLUE, and is None\n", self.stderr)
        self.assertIn("exman: all cannot be restored: it was ['BLUE', 'RED'], and is ['RED']\n", self.stderr)

    def test_a_default_of_a_class_below_str_is_a_value_and_a_default(self):
        word = type("MyStr", (str,), {})
        for kwargs, argv in ((dict(type=word), ["--x", "r"]), (dict(type=str), ["--x", "r"]), (dict(type=Word, nargs="*"), []), (dict(type=word, nargs=2), [])):
            with self.subTest(kwargs):
                make = lambda: self.make(default=Word.A if kwargs["type"] is Word else word("q"), **kwargs)       # noqa: E731
                args = self.parse(make(), *argv)
                self.assertEqual(typed(self.parse(make(), "--config", str(args.root)).x), typed(args.x))

    def test_what_a_setter_makes_of_an_override_stays(self):
        def steps(each):
            parser = self.parser()
            parser.add_argument("--epochs", type=int, default=3)
            parser.register_setter(lambda args: setattr(args, "steps", args.epochs * each))
            return parser
        run, parser = str(self.parse(steps(100)).root), steps(1000)
        self.assertEqual(vars(self.parse(parser, "--config", run)), {"epochs": 3, "steps": 300})
        self.assertEqual(vars(self.parse(parser, "--config", run, "--epochs", "5")), {"epochs": 5, "steps": 5000})
        (self.folder / "more.yaml").write_text("epochs: 7\n")
        self.assertEqual(vars(self.parse(parser, "--config", run, "--config", "more.yaml")), {"epochs": 7, "steps": 7000})

    def test_attributes_of_setters_and_options_that_are_gone(self):
        def parser(steps, *options):
            parser = self.parser()
            for option in options:
                parser.add_argument(option, default=1)
            parser.add_subparsers(dest="cmd").add_parser("train")
            parser.register_setter(lambda args: setattr(args, "steps", steps))
            return parser
        self.parse(parser(3, "--lr", "--gone"), "train")
        self.assertEqual(vars(self.parse(parser(9, "--lr"), "--config", "1")), {"lr": 1, "cmd": "train", "steps": 3})
        self.assertIn("gone: not in this script, and left out", self.stderr)

    def test_an_action_of_the_scripts_without_words_is_called_again(self):
        class Now(argparse.Action):
            def __init__(self, option_strings, dest, **kwargs):
                super().__init__(option_strings, dest, nargs=0, **kwargs)

            def __call__(self, parser, namespace, values, option_string=None):
                setattr(namespace, self.dest, Color.RED)
        parser = self.make(action=Now)
        args = self.parse(parser, "--x")
        self.assertEqual(self.parse(parser, "--config", str(args.root)).x, Color.RED)
        self.assertNotIn("cannot be restored", self.stderr)

    def test_infinity_that_nothing_brings_back_costs_no_other_value(self):
        parser = self.make(default=Scalar(float("inf")))
        parser.add_argument("--pair", default=(1, 2))
        args = self.parse(parser)
        self.assertEqual(self.parse(parser, "--config", str(args.root)).pair, (1, 2))
        self.assertNotIn("cannot be restored", self.stderr)

    def test_actions_that_do_more_than_store(self):
        class Preset(argparse.Action):
            def __call__(self, parser, namespace, values, option_string=None):
                setattr(namespace, self.dest, values)
                namespace.lr = {"big": 10.0, "small": 1.0}[values]

        class Seen(argparse.Action):
            def __call__(self, parser, namespace, values, option_string=None):
                setattr(namespace, self.dest, values)
                namespace.given = getattr(namespace, "given", set()) | {self.dest}

        class FromFile(argparse.Action):
            def __call__(self, parser, namespace, values, option_string=None):
                parser.parse_args(["--n", "7"], namespace)
                setattr(namespace, self.dest, values)

        def make():
            parser = self.parser()
            parser.add_argument("--preset", action=Preset)
            parser.add_argument("--lr", type=float, default=0.1)
            parser.add_argument("--seen", action=Seen)
            parser.add_argument("--load", action=FromFile, type=pathlib.Path)
            parser.add_argument("--n", type=int, default=0)
            return parser
        for argv in (["--preset", "big", "--lr", "5"], ["--seen", "a", "--n", "3"], ["--load", "f"], ["--load", "f", "--n", "9"]):
            with self.subTest(argv):
                args = self.parse(make(), *argv)
                again = self.parse(make(), "--config", str(args.root))
                self.assertEqual((again, list(vars(again))), (args, list(vars(args))))
        self.parse(make(), "--lr", "5")
        self.assertEqual(self.parse(make(), "--config", self.runs()[-1], "--preset", "small").lr, 1.0)

    def test_setters_have_the_last_word_in_the_record(self):
        def make():
            parser = self.parser()
            parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
            parser.add_argument("--resume", nargs="?", const="latest", choices=["a", "latest"])
            parser.add_argument("--sizes", type=int, nargs="*", default=[1])
            parser.register_setter(lambda args: vars(args).update(device="cuda:0", sizes=[*args.sizes, 9]))
            return parser
        args = self.parse(make(), "--resume")
        self.assertEqual(vars(args), {"device": "cuda:0", "resume": "latest", "sizes": [1, 9]})
        self.assertEqual(vars(self.parse(make(), "--config", "1")), vars(args))

    def test_any_exception_of_a_scripts_type_on_a_files_value_is_a_usage_error(self):
        def broken(text):
            raise ZeroDivisionError("never")
        (self.folder / "mine.yaml").write_text("x: 1\n")
        self.assertIn("mine.yaml, line 1: never", self.refuse(self.make(type=broken), "--config", "mine.yaml"))

    def test_an_option_whose_dest_is_another_by_now_is_found_by_its_name(self):
        parser = self.parser()
        parser.add_argument("-f", dest="f", type=int)
        self.parse(parser, "-f", "3")
        parser = self.parser()
        parser.add_argument("-f", "--foo", type=int)
        self.assertEqual(self.parse(parser, "--config", "1").foo, 3)

    def test_of_several_configs_the_later_wins_key_by_key(self):
        parser = self.parser()
        for name in "abc":
            parser.add_argument(f"--{name}", type=int, default=0)
        self.parse(parser, "--a", "1", "--b", "1")
        (self.folder / "mine.yaml").write_text("b: 2\n")
        self.assertEqual(vars(self.parse(parser, "--config", "1", "--config", "mine.yaml", "--c", "3")), {"a": 1, "b": 2, "c": 3})
        self.assertEqual(vars(self.parse(parser, "--config", "mine.yaml", "--config", "1")), {"a": 1, "b": 1, "c": 0})

    def test_a_run_of_another_script_is_told_in_one_line(self):
        self.script("""
            import exman
            parser = exman.ExParser(root="exman")
            for name in ("one", "two", "lr"):
                parser.add_argument(f"--{name}", default=1)
            parser.parse_args()
        """, name="train.py")
        self.python("train.py")
        parser = self.parser()
        parser.add_argument("--lr")
        self.assertEqual(self.parse(parser, "--config", "1").lr, 1)
        lines = [line for line in self.stderr.splitlines() if "left out" in line]
        self.assertEqual(len(lines), 1)
        self.assertIn("recorded by train.py, one, two: not in this script", lines[0])

    def test_only_the_subcommands_of_the_line_or_the_file_are_named_in_hints(self):
        parser = self.parser()
        commands = parser.add_subparsers(dest="task")
        commands.add_parser("train").add_argument("--lr", type=float)
        self.parse(parser, "train", "--lr", ".5")
        self.assertIn("name the subcommand of ", self.refuse(parser, "--config", "1", "--lr", ".9"))

    def test_another_subcommand_takes_what_the_file_says_of_its_options(self):
        def make():
            parser = self.parser()
            commands = parser.add_subparsers(dest="task")
            for name in ("train", "eval"):
                commands.add_parser(name).add_argument("--width", type=int, required=True)
            return parser
        self.parse(make(), "train", "--width", "3")
        self.assertEqual(vars(self.parse(make(), "--config", "1", "eval")), {"task": "eval", "width": 3})

    def test_subparsers_made_by_any_callable_run_again(self):
        def make():
            parser = self.parser()
            kind = functools.partial(argparse.ArgumentParser, add_help=False)
            sub = parser.add_subparsers(dest="task", parser_class=kind).add_parser("train")
            sub.add_argument("--path", type=pathlib.Path)
            sub.add_argument("--seed", type=int, volatile=True)
            sub.add_argument("--cuda", type=bool, default=True)
            return parser
        args = self.parse(make(), "train", "--path", "p", "--seed", "3", "--cuda", "no")
        self.assertIs(args.cuda, False)
        self.assertEqual(vars(self.parse(make(), "--config", "1")), {**vars(args), "seed": None})

    def test_a_default_that_a_file_replaces_is_not_read(self):
        parser = self.parser()
        parser.add_argument("--file", type=argparse.FileType("r"), default="missing.txt")
        (self.folder / "there.txt").write_text("")
        (self.folder / "mine.yaml").write_text("file: there.txt\n")
        for kwargs, argv in (({}, ["--config", "mine.yaml"]), (dict(default_config_files="mine.yaml"), [])):
            parser = self.parser(**kwargs)
            parser.add_argument("--file", type=argparse.FileType("r"), default="missing.txt")
            with self.parse(parser, *argv).file as file:
                self.assertEqual(file.name, "there.txt")

    def test_a_default_whose_file_steps_back_is_read_as_ever(self):
        parser = self.parser()
        group = parser.add_mutually_exclusive_group()
        group.add_argument("--steps", type=int, default="5")
        group.add_argument("--epochs", type=int)
        (self.folder / "mine.yaml").write_text("steps: 7\n")
        self.assertEqual(vars(self.parse(parser, "--config", "mine.yaml", "--epochs", "2")), {"steps": 5, "epochs": 2})
        self.assertEqual(vars(self.parse(parser)), {"steps": 5, "epochs": None})

    def test_runs_of_exman_1_0_0_are_read(self):
        name = "000001-2026-01-02-03-04-05"
        folder = self.root / "runs" / name
        folder.mkdir(parents=True)
        (folder / "params.yaml").write_text("lr: 0.5\npaths: [a, b]\nfn: --max\ntags: [x, y]\nms: '5'\ntext: 'null'\nspec: [1, x]\nmode: --mode\n# argv: [main.py, --lr, '0.5']\n"
                                            f"root: runs/{name}\ntime: '2026-01-02T03:04:05'\nid: 1\n")
        parser = self.parser()
        parser.add_argument("--lr", type=float)
        parser.add_argument("--paths", type=pathlib.Path, nargs="+")
        parser.add_argument("--max", dest="fn", action="store_const", const=max)
        parser.add_argument("--tags", action="append", default=["d"])
        parser.add_argument("--ms", type=lambda text: float(text) * 1e-3)
        parser.add_argument("--text")
        parser.add_argument("--spec", type=json.loads)
        parser.add_argument("--mode", type=Color, nargs="?", const="red")
        self.assertEqual(vars(self.parse(parser, "--config", "1")), {"lr": 0.5, "spec": [1, "x"], "mode": Color.RED, "paths": [pathlib.Path("a"), pathlib.Path("b")], "fn": max,
                                                                     "tags": ["x", "y"], "ms": 0.005, "text": "null"})


class StagesTest(Case):
    """A script that parses the same words in stages is one run."""

    def stages(self, *argv, between=lambda args: None, words=None):
        parser = self.parser()
        parser.add_argument("--model", default="cycle")
        first, _ = self.parse(parser, *argv, method="parse_known_args")
        between(first)
        parser.add_argument("--gan", default="l1")
        return first, self.parse(parser, *(argv if words is None else words))

    def test_the_later_stage_takes_the_run_over_and_the_file_is_replaced_whole(self):
        first, last = self.stages("--model", "pix", "--gan", "l2")
        self.assertEqual((last.root, self.runs(), len(self.runs("index"))), (first.root, [first.root.name], 1))
        self.assertEqual(list(self.params(last))[:2], ["model", "gan"])
        self.assertEqual((self.params(last)["gan"], self.params(last)["id"]), ("l2", 1))
        self.assertEqual([path.name for path in last.root.iterdir()], ["params.yaml"])
        self.assertNotIn("exman: run", self.stderr)

    def test_not_where_something_lies_in_the_run_or_the_words_differ_or_another_parser_parses(self):
        self.assertNotEqual(*(args.root for args in self.stages("--gan", "x", between=lambda args: (args.root / "model.pt").touch())))
        self.assertNotEqual(*(args.root for args in self.stages("--gan", "x", words=["--gan", "y"])))
        self.assertNotEqual(self.parse(self.parser()).root, self.parse(self.parser()).root)

    def test_a_config_at_every_stage(self):
        self.stages("--model", "pix", "--gan", "l2")
        _, last = self.stages("--config", "1")
        self.assertEqual((vars(last), len(self.runs())), ({"model": "pix", "gan": "l2"}, 2))
        self.assertNotIn("left out", self.stderr)


class DropInTest(Case):
    """What scripts, and libraries around argparse, do with a parser."""

    def test_groups_and_registered_actions_keep_argparses_classes(self):
        parser = self.parser()
        group = parser.add_argument_group("g")
        exclusive = group.add_mutually_exclusive_group()
        self.assertIs(type(group), argparse._ArgumentGroup)
        self.assertIs(type(exclusive), argparse._MutuallyExclusiveGroup)
        self.assertTrue(exclusive.add_argument("--a", volatile=True).volatile)
        self.assertIs(type(group.add_argument("--b")), argparse._StoreAction)
        with self.assertRaisesRegex(ValueError, "unknown action"):
            parser.add_argument("--c", action="nonsense")

    def test_help_with_a_formatter_that_asks_for_types(self):
        parser = self.parser(formatter_class=argparse.MetavarTypeHelpFormatter)
        parser.add_argument("--lr", type=float)
        self.assertIn("--config RUN", parser.format_help())

    def test_help_and_errors_behind_a_config_show_the_whole_usage(self):
        parser = self.parser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
        parser.add_argument("data")
        parser.add_argument("--lr", type=float, default="0.1", required=True, help="rate")
        usage = parser.format_usage()
        parser.add_argument("--decay", type=float, default="0.5", help="less")
        self.parse(parser, "d", "--lr", "1")
        usage = parser.format_usage()
        with contextlib.redirect_stdout(io.StringIO()) as stdout, self.assertRaises(SystemExit):
            self.parse(parser, "--config", "1", "--help")
        self.assertIn(usage, stdout.getvalue())
        self.assertIn("less (default: 0.5)", stdout.getvalue())
        self.assertNotIn("None", stdout.getvalue())
        with self.assertRaises(SystemExit):
            self.parse(parser, "--config", "1", "--lr", "x")
        self.assertIn(usage, self.stderr)
        self.assertTrue(all(action.required for action in parser._actions if action.dest == "data"))

    def test_what_error_and_actions_keep_on_the_parser_is_kept(self):
        class Mine(exman.ExParser):
            def error(self, message):
                self.seen = message
                super().error(message)
        parser = Mine(root=self.root)
        parser.add_argument("--lr", type=float)
        self.parse(parser)
        self.refuse(parser, "--config", "1", "--nonsense")
        self.assertIn("--nonsense", parser.seen)

    def test_a_parser_of_another_library_inside_a_type(self):
        def kind(text):
            inner = exman.ExParser(root=self.folder / "inner")
            inner.add_argument("--depth", type=int)
            return inner.parse_args(text.split()).depth
        parser = self.parser()
        parser.add_argument("--net", type=kind)
        args = self.parse(parser, "--net", "--depth 3 --tmp --name x", "--name", "mine")
        self.assertEqual((args.net, args.exman.tmp, args.exman.name.endswith("-mine")), (3, False, True))
        self.assertFalse((self.folder / "inner").exists())

    def test_a_class_of_two_parsers_hands_their_keywords_on(self):
        class Other(argparse.ArgumentParser):
            def __init__(self, *args, fancy=None, **kwargs):
                super().__init__(*args, **kwargs)
                self.fancy = fancy

            def parse_args(self, args=None, namespace=None, contents=None):
                return self.parse_known_args(args, namespace, contents=contents)[0]

            def parse_known_args(self, args=None, namespace=None, contents=None):
                self.contents = contents
                return super().parse_known_args(args, namespace)

        class Both(exman.ExParser, Other):
            pass
        parser = Both(root=self.root, fancy=1)
        with contextlib.redirect_stderr(io.StringIO()):
            parser.parse_args([], contents="c")
        self.assertEqual((parser.fancy, parser.contents, len(self.runs())), (1, "c", 1))

    @unittest.skipUnless(os.path.exists("/dev/fd"), "needs /dev/fd")
    def test_words_from_a_pipe_are_read_once(self):
        reader, writer = os.pipe()
        self.addCleanup(os.close, reader)
        os.write(writer, b"--lr=5\n")
        os.close(writer)
        parser = self.parser(fromfile_prefix_chars="@")
        parser.add_argument("--lr", type=float, default=0.1)
        self.assertEqual(self.parse(parser, f"@/dev/fd/{reader}").lr, 5.0)

    def test_a_notebook_gets_a_hint(self):
        sys.modules["ipykernel"] = sys
        self.addCleanup(sys.modules.pop, "ipykernel")
        with mock.patch.object(sys, "argv", ["launcher", "-f", "k.json"]), contextlib.redirect_stderr(io.StringIO()) as stderr:
            with self.assertRaises(SystemExit):
                self.parser().parse_args()
        self.assertEqual(stderr.getvalue().splitlines()[-2:], ["main.py: error: unrecognized arguments: -f k.json", "in a notebook, call parse_args([])"])

    def test_only_dests_of_the_chosen_subcommand_hide_the_run(self):
        parser = self.parser()
        commands = parser.add_subparsers(dest="task")
        commands.add_parser("a")
        commands.add_parser("b").add_argument("--root")
        self.assertTrue(self.parse(parser, "a").root.is_dir())
        self.assertIsNone(self.parse(parser, "b").root)

    def test_home_in_a_root_and_a_run_that_cannot_be_made(self):
        with mock.patch.dict(os.environ, HOME=str(self.folder), USERPROFILE=str(self.folder)):
            self.assertEqual(self.parse(self.parser(root="~/here")).root.parent.parent, self.folder / "here")
        (self.folder / "file").write_text("")
        with self.assertRaises(SystemExit) as caught:
            self.parse(self.parser(root=self.folder / "file"))
        self.assertEqual(caught.exception.code, 1)
        self.assertRegex(self.stderr, r"\Aexman: no run was made: .*file.*\n\Z")
        if sys.version_info >= (3, 9):
            with self.assertRaises(OSError):
                self.parse(self.parser(root=self.folder / "file", exit_on_error=False))

    def test_the_default_root_is_beside_the_users_script_and_not_beside_a_tool(self):
        body = "import exman\nprint(exman.ExParser().parse_args([]).root.parent.parent)\n"
        code, work = self.folder / "code", self.folder / "work"
        for folder in ("code", "work", "venv/bin", "lib/site-packages/tool"):
            (self.folder / folder).mkdir(parents=True)
        self.script(body, "code/main.py")
        self.script("import runpy, sys; sys.path.insert(0, sys.argv[1]); import main\n", "venv/bin/launch")
        self.script("import sys; sys.path.insert(0, sys.argv[1]); import main\n", "lib/site-packages/tool/__main__.py")
        shutil.make_archive(str(self.folder / "app"), "zip", str(self.folder / "lib/site-packages/tool"))
        cases = {"a script": ([code / "main.py"], code), "cProfile": (["-m", "cProfile", "-o", "out", code / "main.py"], None),
                 "an entry point": ([self.folder / "venv/bin/launch", code], work), "a tool": ([self.folder / "lib/site-packages/tool", code], work),
                 "a zip": ([self.folder / "app.zip", code], work), "-c": (["-c", body], work)}
        for name, (argv, where) in cases.items():
            with self.subTest(name):
                found = pathlib.Path(self.python(*argv, cwd=str(work)).stdout.strip())
                self.assertIn(found, [where / "exman"] if where else [code / "exman", work / "exman"])

    @unittest.skipIf(sys.version_info < (3, 9), "3.8 has no BooleanOptionalAction, and nothing to test")
    def test_switches_of_one_dash_in_a_file_by_either_name(self):
        parser = self.parser()
        action = parser.add_argument("-foo", action=argparse.BooleanOptionalAction, default=True)
        for option in action.option_strings:
            with self.subTest(option):
                (self.folder / "mine.yaml").write_text(f"{option.lstrip('-')}: true\n")
                expected = parser.parse_known_args([option])[0].foo if option != "-foo" else True
                self.assertIs(self.parse(parser, "--config", "mine.yaml").foo, expected)


# ---------------------------------------------------------------------------------------------------------------------
# The root folder
# ---------------------------------------------------------------------------------------------------------------------

NO_SYMLINKS = OSError(errno.EPERM, "no symlinks")


class RootCase(Case):
    """A case that looks at a whole root."""

    def table(self, root=None, mark=None):
        """The rows of info() as dicts, and what it warns of."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            info = exman.Index(root or self.root).info(mark)
        rows = info if isinstance(info, list) else info.to_dict("records")
        return rows, [str(warning.message) for warning in caught if issubclass(warning.category, UserWarning)]

    def listed(self, root=None, mark=None):
        return [row["id"] for row in self.table(root, mark)[0]]

    def ids(self, root=None):
        """Every number in sight, over runs, tmp and fails."""
        return sorted(int(name.partition("-")[0]) for part in ("runs", "tmp", "fails") for name in self.names(root, part) if name[0].isdigit())

    def names(self, root=None, part="runs"):
        folder = (root or self.root) / part
        return sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.is_dir() else []

    def make(self, *argv, root=None, **kwargs):
        """Make a run with the parameter lr."""
        parser = self.parser(root=root or self.root, **kwargs)
        parser.add_argument("--lr", type=float, default=0.1)
        return self.parse(parser, *argv)

    def end_badly(self, run):
        """End a run by an exception in its block; what was said."""
        with contextlib.redirect_stderr(io.StringIO()) as said, contextlib.redirect_stdout(io.StringIO()):
            with self.assertRaises(RuntimeError), run:
                raise RuntimeError
        return said.getvalue()

    def shell(self, *argv, root=None):
        """Exit status and the two outputs of the command line."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = exman.main(["--root", str(root or self.root), *map(str, argv)])
            except SystemExit as error:
                status = error.code
        return status, out.getvalue(), err.getvalue()

    def fixed(self, root=None):
        status, out, err = self.shell("fix", root=root)
        self.assertEqual(status, 0, err)
        return out.splitlines()

    def links(self, root=None):
        """Index and marks: what each entry is called, and whether it leads anywhere."""
        root = root or self.root
        return {path.relative_to(root).as_posix(): path.exists() for folder in ("index", "marked") for path in (root / folder).rglob("*.yaml")}

    def old_run(self, number, text="lr: 0.5", part="runs", root=None, ending=""):
        """A run as exman 0.1.9 left it."""
        root, name = root or self.root, f"{number:06d}-2019-01-02-03-04-05{ending}"
        folder = root / part / name
        folder.mkdir(parents=True)
        (folder / "params.yaml").write_text(f"{text}\nroot: {part}/{name}\ntime: '2019-01-02T03:04:05'\nid: {number}\n", encoding="utf-8")
        if part == "runs":
            (root / "index").mkdir(exist_ok=True)
            (root / "index" / f"{name}.yaml").symlink_to(os.path.join("..", "runs", name, "params.yaml"))
        return name

    def check_root(self, root, gone="none"):
        """Every run in sight is whole, every row of the table is a run, and the next run is made without repair."""
        for part in ("runs", "tmp", "fails"):
            for name in self.names(root, part):
                text = (root / part / name / "params.yaml").read_text(encoding="utf-8")
                self.assertTrue(text.endswith(f"\nid: {int(name.partition('-')[0])}\n"), (part, name, text))
        rows, problems = self.table(root)
        self.assertEqual([line for line in problems if gone not in line and not line.startswith("no runs in ")], [])
        self.assertLessEqual({row["root"].name for row in rows}, set(self.names(root)))
        before = self.ids(root)
        number = self.make("--lr", "7", root=root).exman.id
        self.assertGreater(number, max(before, default=0))
        self.assertEqual(self.listed(root), [*(row["id"] for row in rows), number])


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

    def check_crowd(self, processes, count):
        numbers = self.crowd(processes, count)
        self.assertEqual(numbers, list(range(1, processes * count + 1)))
        self.assertEqual(self.ids(), numbers)
        rows, problems = self.table()
        self.assertEqual(([row["id"] for row in rows], problems), ([int(name[:6]) for name in self.names()], []))

    def test_a_crowd_on_a_root_that_does_not_exist_yet_counts_without_gaps(self):
        self.check_crowd(12, 6)

    @full
    def test_a_crowd_of_64_counts_without_gaps(self):
        self.check_crowd(64, 20)

    def test_a_run_whose_folder_is_a_link_is_deleted_and_its_files_elsewhere_stay(self):
        args = self.make()
        elsewhere = self.folder / "elsewhere"
        args.root.rename(elsewhere)
        args.root.symlink_to(elsewhere)
        self.assertEqual(self.shell("delete", "--all", "--yes", "1"), (0, "deleted: 1\n", ""))
        self.assertEqual((os.listdir(str(self.root / "runs")), os.listdir(str(elsewhere))), ([], ["params.yaml"]))

    def test_a_file_of_a_run_that_is_there_and_was_not_opened_is_no_run(self):
        really_open = os.open

        def denied(path, *args, **kwargs):              # as sshfs may: the file is made, and the answer is an error
            file = really_open(path, *args, **kwargs)
            if path.endswith("params.yaml"):
                os.close(file)
                raise PermissionError(errno.EPERM, "denied", path)
            return file
        with mock.patch.object(os, "open", denied):
            self.assertRaises(SystemExit, self.make)
        self.assertEqual(os.listdir(str(self.root / "runs")), [])

    def test_the_number_of_a_deleted_run_is_not_given_again(self):
        self.make()
        name = self.make().exman.name
        self.assertEqual(self.shell("delete", "--all", "--yes", "2")[0], 0)
        self.assertFalse((self.root / "runs" / name).exists())
        self.assertEqual(self.make().exman.id, 3)
        shutil.rmtree(str(self.make().root))
        self.assertEqual(self.make().exman.id, 5)

    def test_a_root_without_claims_or_with_those_of_an_older_copy_goes_on_from_its_highest_number(self):
        for part, number in (("runs", 3), ("runs", 12), ("tmp", 15), ("fails", 14)):
            self.old_run(number, part=part)
        self.assertEqual([self.make().exman.id, self.make("--tmp").exman.id], [16, 17])
        bare, older = self.folder / "bare", self.folder / "older"
        shutil.copytree(str(self.root), str(bare), symlinks=True, ignore=shutil.ignore_patterns(".*"))
        self.assertEqual(self.make(root=bare).exman.id, 18)
        shutil.copytree(str(self.root), str(older), symlinks=True)
        for number in (18, 19, 1500):                   # made elsewhere and copied without hidden files
            self.old_run(number, root=older)
        self.assertEqual([self.make(root=older).exman.id for _ in range(2)], [1501, 1502])

    def test_a_view_that_shows_a_new_block_empty_gives_no_number_twice(self):
        self.old_run(5200)
        self.assertEqual(self.make().exman.id, 5201)
        listdir, block = os.listdir, os.path.join(".ids", "5")
        with mock.patch.object(os, "listdir", lambda folder: [] if str(folder).endswith(block) else listdir(folder)):
            self.assertEqual(self.make().exman.id, 5202)

    def test_claims_fill_blocks_of_a_thousand_and_later_runs_list_no_runs(self):
        self.old_run(998)
        self.make()
        listdir = os.listdir

        def listed(folder):
            self.assertNotIn(os.path.basename(str(folder)), ("runs", "tmp", "fails"))
            return listdir(folder)
        with mock.patch.object(os, "listdir", listed):
            self.assertEqual([self.make("--tmp").exman.id for _ in range(2)], [1000, 1001])
        self.assertEqual(sorted(p.name for p in (self.root / ".ids" / "1").iterdir()), ["1000", "1001"])

    def test_names_that_are_no_runs_do_not_count_and_long_numbers_do(self):
        for name in ("9" * 200 + "-2019-01-02-03-04-05", "notes", "000009", "77-backup", "-2019-01-02-03-04-05", "000008-2019-01-02"):
            (self.root / "runs" / name).mkdir(parents=True)
        (self.root / "runs" / "file").write_text("")
        self.assertEqual(self.make().exman.id, 1)
        other = self.folder / "other"
        self.old_run(1234567, root=other)
        self.assertEqual(self.make(root=other).exman.name.partition("-")[0], "1234568")
        self.assertEqual(self.listed(other), [1234567, 1234568])

    def test_a_run_that_another_exman_has_made_under_the_same_name_is_left_alone(self):
        name = self.old_run(1)                          # 0.1.x knows of no claims
        with mock.patch.object(time, "strftime", lambda *args: name[7:]), mock.patch.object(exman._Root, "claim", lambda root: 1):
            self.assertRaises(SystemExit, self.make)
        self.assertIn("no run was made", self.stderr)
        self.assertEqual((os.listdir(str(self.root / "runs")), self.listed()), ([name], [1]))

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
        with mock.patch.object(time, "strftime", lambda *args: "1999-12-31-23-59-59"):
            args = self.make()
        self.assertEqual(args.exman.name, "000002-1999-12-31-23-59-59")
        self.assertEqual((self.listed(), self.make().exman.id), ([1, 2], 3))

    def test_threads_that_parse_at_once_make_runs_of_their_own(self):
        barrier, found = threading.Barrier(8), []

        def parse(first):
            parser = self.parser()
            parser.add_argument("--n", type=int)
            barrier.wait()
            for n in range(first, first + 5):
                args = parser.parse_args(["--n", str(n)])
                found.append((args.exman.id, n, self.params(args)["n"]))
        with contextlib.redirect_stderr(io.StringIO()):
            threads = [threading.Thread(target=parse, args=(10 * n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        self.assertEqual(sorted(number for number, _, _ in found), list(range(1, 41)))
        self.assertTrue(all(given == read for _, given, read in found))

    def test_runs_of_threads_all_end(self):
        self.script("""
            import threading
            import exman
            parser = exman.ExParser(root="exman")
            parser.add_argument("--n", type=int)
            def parse(first):
                for n in range(first, first + 5):
                    parser.parse_args(["--n", str(n)])
            threads = [threading.Thread(target=parse, args=(10 * n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            """)
        self.python("main.py")
        ends = [path.read_text().split("\n")[0] for path in (self.root / "runs").glob("*/end.yaml")]
        self.assertEqual(collections.Counter(ends), {"status: done": 40})

    def test_a_folder_that_another_process_makes_at_the_same_moment_is_taken_as_it_is(self):
        mkdir = os.mkdir

        def late(path, *args):
            mkdir(path, *args)
            if os.path.basename(path)[:2] != ".0":      # a run's own, which nobody else makes
                raise FileExistsError(errno.EEXIST, "another was faster", path)
        with mock.patch.object(os, "mkdir", late):
            self.assertEqual(self.make(automark=["best"]).exman.id, 1)

    def test_two_roots_in_one_process_count_for_themselves(self):
        other = self.folder / "other"
        runs = [self.make(root=root).exman for root in (self.root, other, self.root, other)]
        self.assertEqual([(run.id, run.root.parent.parent) for run in runs], [(1, self.root), (1, other), (2, self.root), (2, other)])

    def test_a_claim_says_which_process_holds_it_and_nothing_where_it_was_not_written_whole(self):
        self.make()
        claim = self.root / ".ids" / "0" / "1"
        name = self.names()[0]
        self.assertEqual(claim.read_text(), f"{exman._HOST} {os.getpid()} {exman._stat(os.getpid())[1]} \n")
        self.assertEqual(exman._unended(str(self.root), name), "running")
        whole = claim.read_text()
        for text in ("", whole[:3], whole[:-4], "a b c", b"\xff"):
            claim.write_bytes(text if isinstance(text, bytes) else text.encode())
            self.assertEqual(exman._unended(str(self.root), name), "unknown", text)
        self.assertEqual(exman._unended(str(self.root), "2-" + name[7:]), "unknown")
        self.assertEqual(self.make().exman.id, 2)


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
    if os.environ.get("STAGES"):
        parser.parse_known_args(sys.argv[2:])
        parser.set_defaults(lr=0.2)
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
    "run in stages": ("runs", ["--name=x"], {"STAGES": "1"}),
    "failing run": ("runs", ["--lr=1", "--fail"], {}),
    "mark": ("runs", ["mark", "good/deep", "1", "2"], {}),
    "unmark": ("runs", ["exman", "unmark", "best", "1", "2"], {}),
    "delete": ("runs", ["exman", "delete", "1", "2"], {}),
    "delete all": ("runs", ["exman", "delete", "--all", "--yes", "1", "2"], {}),
    "fix": ("broken", ["exman", "fix"], {}),
    "run with copies": ("copies", ["--lr=1", "--name=x"], {"COPIES": "1"}),
    "run in stages with copies": ("copies", ["--name=x"], {"STAGES": "1", "COPIES": "1"}),
    "failing run with copies": ("copies", ["--lr=1", "--fail"], {"COPIES": "1"}),
    "mark with copies": ("copies", ["mark", "good/deep", "1", "2"], {"COPIES": "1"}),
    "delete all with copies": ("copies", ["exman", "delete", "--all", "--yes", "1", "2"], {"COPIES": "1"}),
    "fix with copies": ("no index", ["exman", "fix"], {"COPIES": "1"}),
}
CHANGES = ("mkdir mkdirat write fsync rename renameat renameat2 symlink symlinkat unlink unlinkat rmdir chmod fchmod fchmodat").split()
LOOKS = "open openat close stat lstat newfstatat fstat statx getdents64 readlink readlinkat access faccessat faccessat2".split()

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
        self.counter = iter(range(1, 1 << 30))

    def template(self, kind):
        """A root of three runs, two of them marked; None where there is none."""
        root = self.folder / f"template of {kind}"
        if root.exists() or not kind:
            return root if kind else None
        no_symlink = mock.patch.object(os, "symlink", side_effect=NO_SYMLINKS)
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
        return subprocess.run(argv, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              universal_newlines=True, timeout=60)

    def calls(self, scenario, names):
        """The calls of a scenario that concern the root, each as the n-th of its name."""
        log, counts, found, target = self.folder / "log", collections.Counter(), [], self.fresh(scenario)
        self.traced(scenario, target, "-o", str(log), "-e", "trace=" + ",".join(f"?{name}" for name in names))
        for line in log.read_text(errors="replace").splitlines():
            call = re.match(r"(\w+)\(", line)
            if call:
                counts[call.group(1)] += 1
                if str(target) in line:
                    found.append(_Call(call.group(1), counts[call.group(1)], line))
        return found

    def fresh(self, scenario):
        template = self.template(SCENARIOS[scenario][0])
        root = self.folder / f"root{next(self.counter)}"
        if template is not None:
            shutil.copytree(str(template), str(root), symlinks=True)
        return root

    def each(self, scenarios, names, treatments, step):
        """(scenario, call, treatment, root, finished process) of every step-th call, two at a time."""
        self.traced("first run", self.fresh("first run"), "-o", os.devnull)     # the first one writes what python caches
        tasks = []
        for scenario in scenarios:
            calls = self.calls(scenario, names)
            self.assertTrue(calls, scenario)
            for place, call in enumerate(calls):
                for treatment in treatments if step == 1 else [treatments[place % len(treatments)]]:
                    tasks.append((scenario, call, treatment))

        def run(task):
            scenario, call, treatment = task
            root = self.fresh(scenario)
            return (*task, root, self.traced(scenario, root, "-o", os.devnull, "-e", f"trace={call.name}",
                                             "-e", f"inject={call.name}:{treatment}:when={call.number}"))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 2) as workers:
            for done in workers.map(run, tasks[::step]):
                yield done
                shutil.rmtree(str(done[3]))


class TestKilled(TracedCase):

    def check(self, *args):
        for scenario, call, _, root, done in self.each(*args):
            with self.subTest(scenario, call=call.line[:150]):
                self.assertIn(done.returncode, (-signal.SIGKILL, 128 + signal.SIGKILL), done.stderr)
                self.check_root(root, gone="000003-" if scenario == "fix" else "none")

    def test_a_kill_at_a_call_leaves_a_root_that_every_reader_stands(self):
        self.check(["first run", "run in stages", "failing run with copies", "delete all"], CHANGES, ["signal=KILL"], 5)

    @full
    def test_a_kill_at_any_call_of_any_scenario_leaves_a_root_that_every_reader_stands(self):
        self.check(SCENARIOS, CHANGES + LOOKS, ["signal=KILL"], 1)


class TestFaults(TracedCase):

    ERRORS = [f"error={name}" for name in ("ENOSPC", "EDQUOT", "EACCES", "EROFS", "EIO", "EMFILE", "ENAMETOOLONG")]

    def check(self, *args):
        for scenario, call, treatment, root, done in self.each(*args):
            with self.subTest(scenario, call=call.line[:150], treatment=treatment):
                lines = done.stderr.splitlines()
                if "failing run" in scenario and "RuntimeError: diverged" in lines:
                    self.assertEqual(done.stderr.count("Traceback"), 1)
                else:
                    self.assertNotIn("Traceback", done.stderr)
                    self.assertIn(done.returncode, (0, 1), done)
                    if done.returncode and "failing" not in scenario:
                        self.assertRegex(lines[-1], r"\Aexman: (.*/.*: [A-Z]|no mark |there is no root )")
                if "exman: no run was made" in done.stderr:
                    made = lines[:-1] if "stages" in scenario else []       # the first stage may have made one
                    self.assertEqual((lines, done.returncode), (made + lines[-1:], 1))
                    self.assertIn(str(root), lines[-1])
                    if not made:
                        self.assertEqual(self.entries(root), self.entries(self.template(SCENARIOS[scenario][0])))
                self.check_root(root, gone="000003-" if scenario == "fix" else "none")

    def entries(self, root):
        """What lies in sight in a root, but for the numbers that were given."""
        return root and sorted(str(path.relative_to(str(root))) for part in ("runs", "tmp", "fails", "index", "marked")
                               for path in root.glob(f"{part}/**/000*")) or []

    def test_a_fault_at_a_call_is_one_line_and_leaves_nothing_half_made(self):
        self.check(["first run", "failing run", "run with copies"], [*CHANGES, "openat", "open", "close"], self.ERRORS, 7)

    @full
    def test_a_fault_in_any_scenario_is_one_line_and_leaves_nothing_half_made(self):
        self.check(SCENARIOS, CHANGES + LOOKS, self.ERRORS, 3)


class TestRootThatCannotBe(RootCase):
    """A root where no run can be made: one line that says where, why and what to do."""

    def refused(self, root, **kwargs):
        """The line and the status 1 that a parse ends with; nothing else may be said."""
        with self.assertRaises(SystemExit) as caught:
            self.make(root=root, **kwargs)
        self.assertEqual(caught.exception.code, 1)
        self.assertRegex(self.stderr, r"\Aexman: no run was made: .+\n\Z")
        if self.root.parent in pathlib.Path(root).parents and len(str(root)) < 255:
            self.assertEqual(self.ids(pathlib.Path(root)), [])
        return self.stderr[len("exman: no run was made: "):-1]

    def test_a_file_or_a_dangling_link_where_a_folder_belongs_is_named(self):
        advice = f"{os.strerror(errno.EEXIST)}: a file stands where a folder must: choose another root="
        for place in ("", "runs", ".ids", "index", "marked"):
            for dangles in (False, True):
                with self.subTest(place, dangles=dangles):
                    root = self.folder / f"root with {place} {dangles}"
                    path = root / place
                    path.parent.mkdir(exist_ok=True)
                    path.symlink_to("nowhere") if dangles else path.write_text("mine")
                    line = self.refused(root, automark=["best"])
                    if dangles and place == "marked":
                        self.assertIn(f"{path}: is a link", line.replace(": " + os.strerror(errno.ELOOP), ""))
                    else:
                        self.assertEqual(line, f"{path}: {advice}")
                    self.assertTrue(path.is_symlink() if dangles else path.read_text() == "mine")

    def test_a_name_too_long_or_with_nul_or_in_proc_is_one_line_with_the_path(self):
        self.assertIn(os.strerror(errno.ENAMETOOLONG), self.refused(self.folder / ("x" * 300)))
        self.assertRegex(self.refused("nul\0here"), "embedded null")
        if os.path.isdir("/proc/self"):                 # where mkdir says that the folder is missing
            self.assertIn("/proc/exman", self.refused("/proc/exman"))

    @unittest.skipUnless(sys.version_info >= (3, 9), "no exit_on_error before 3.9")
    def test_with_exit_on_error_off_it_is_an_os_error_that_names_the_path(self):
        self.root.write_text("")
        with self.assertRaises(OSError) as caught:
            self.make(exit_on_error=False)
        self.assertEqual((caught.exception.filename, self.stderr), (str(self.root), ""))

    @unittest.skipIf(os.name == "nt", "Windows keeps the folder")
    def test_a_working_directory_that_is_gone_and_a_parent_that_may_not_be_written(self):
        script = self.script("""
            import os, sys
            import exman
            os.mkdir("gone")
            os.chdir("gone")
            os.rmdir(os.path.join(sys.argv[1], "gone"))
            print(exman.ExParser(root=os.path.join(sys.argv[1], "other")).parse_args([]).exman.id)
            try:                                        # another user may not even read the standard library
                exman.ExParser(root="exman").parse_args([])
            except SystemExit as error:
                print(error.code)
            os.chmod(sys.argv[1], 0o555)
            if os.getuid() == 0:
                os.setuid(65534)
            exman.ExParser(root=os.path.join(sys.argv[1], "exman")).parse_args([])
        """)
        self.addCleanup(self.folder.chmod, 0o700)
        done = self.python(script, self.folder, status=1)
        said, gone, denied, *ended = done.stderr.splitlines()
        self.assertTrue(all("how run 1 ended is not recorded" in line for line in ended), ended)
        self.assertEqual(done.stdout, "1\n1\n")
        self.assertIn("no run was made: ", gone)
        self.assertEqual(denied, f"exman: no run was made: {self.root}: {os.strerror(errno.EACCES)}: "
                                 "choose another root=, or mend its permissions")
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
        with contextlib.suppress(OSError), open(str(filler), "ab", buffering=0) as file:
            while True:
                file.write(b"x" * 512)
        with self.assertRaises(SystemExit):
            self.make(root=root, automark=["best"])
        self.assertRegex(self.stderr, r"\Aexman: no run was made: /.*: free some space there\n\Z")
        self.assertEqual([path for path in sorted(root.glob("[!.]*/**/*")) if "." != path.name[0]], before)
        said = self.end_badly(run)
        self.assertEqual([path.parent.name for path in root.glob("*/000001-*")], ["fails"], said)
        filler.unlink()
        self.assertGreater(self.make(root=root).exman.id, 1)

    def test_a_disk_without_symlinks_and_modes(self):
        image = self.folder / "image"
        with open(str(image), "wb") as file:
            file.truncate(4 << 20)
        if not shutil.which("mkfs.vfat") or subprocess.run(["mkfs.vfat", str(image)], stdout=subprocess.DEVNULL).returncode:
            self.skipTest("no mkfs.vfat to make a file system to mount")
        root = self.mounted("-o", "loop", str(image)) / "exman"
        self.assertEqual([self.make(root=root, shared=True, automark=["best"]).exman.id for _ in range(2)], [1, 2])
        self.assertEqual(self.listed(root, "best"), [1, 2])


class TestWithoutSymlinks(RootCase):

    ERRORS = (NotImplementedError("no symlinks"), OSError(22, "a required privilege is not held", "x", 1314), OSError(errno.EPERM, "no"),
              OSError(errno.ENOSYS, "no"), OSError(errno.EOPNOTSUPP, "no"), OSError(errno.EACCES, "no"))

    def test_everything_works_on_copies(self):
        for number, error in enumerate(self.ERRORS):
            root = self.folder / f"root{number}"
            with self.subTest(error=repr(error)), mock.patch.object(os, "symlink", side_effect=error):
                first = self.make("--lr", "1", root=root, automark=["auto", "lr"])
                second = self.make("--lr", "2", root=root, automark=["auto", "lr"])
                entry = root / "index" / f"{second.exman.name}.yaml"
                self.assertEqual(entry.read_bytes(), (second.root / "params.yaml").read_bytes())
                self.assertEqual(self.make("--config", str(entry), root=root, automark=["auto", "lr"]).lr, 2)
                self.assertEqual(self.shell("mark", "best/lr", 1, 2, root=root)[0], 0)
                self.assertEqual([(row["id"], row["root"]) for row in self.table(root, "best")[0]], [(1, first.root), (2, second.root)])
                self.assertEqual(self.listed(root, "auto/lr/2.0"), [2, 3])
                self.assertEqual(self.shell("unmark", "best", 1, root=root)[0], 0)
                self.assertEqual(self.listed(root, "best"), [2])
                self.assertEqual(self.shell("delete", "--all", "--yes", 2, root=root)[0], 0)
                self.assertEqual(list(root.glob(f"*/**/{second.exman.name}*")), [])
                next(root.glob("index/000003-*")).unlink()
                shutil.rmtree(str(first.root))
                self.assertEqual(len(self.fixed(root)), 3)      # an entry and a mark without a run, a run without an entry
                self.assertEqual((self.fixed(root), self.listed(root)), ([], [3]))
                run = self.make(root=root).exman
                self.end_badly(run)
                self.assertEqual([path.parent.name for path in root.glob(f"**/{run.name}*")], ["fails"])
                self.assertFalse(any(path.is_symlink() for path in root.glob("**/*")))
                self.assertEqual(list(root.glob("*/.*")), [root / ".ids" / f".{os.stat(str(root / '.ids')).st_ino}"])

    def test_a_folder_that_takes_no_link_and_no_copy_makes_no_run(self):
        with mock.patch.object(os, "symlink", side_effect=NO_SYMLINKS), \
                mock.patch.object(os, "replace", side_effect=OSError(errno.ENOSPC, "full", "there")):
            with self.assertRaises(SystemExit):
                self.make()
        self.assertEqual(self.stderr, "exman: no run was made: there: full: free some space there\n")
        self.assertEqual([path for path in self.root.glob("[!.]*/*")], [])

    def test_a_copy_is_never_in_sight_half_written(self):
        replace, names = os.replace, []

        def seen(source, target):
            names.append(os.path.basename(source)[0])
            self.assertFalse(os.path.lexists(target))
            replace(source, target)
        with mock.patch.object(os, "symlink", side_effect=NO_SYMLINKS), mock.patch.object(os, "replace", seen):
            self.make(automark=["best"])
        self.assertEqual(names, [".", "."])

    def test_a_run_fails_over_to_another_disk_whole(self):
        run, rename = self.make(automark=["best"]).exman, os.rename

        def other_disk(source, target):
            if os.path.dirname(source) != os.path.dirname(target):
                raise OSError(errno.EXDEV, "another disk", source)
            self.assertEqual(self.names(part="fails"), [] if "fails" in target else [run.name])
            rename(source, target)
        (run.root / "deep").mkdir()
        (run.root / "deep" / "weights").write_text("w")
        with mock.patch.object(os, "rename", other_disk):
            self.end_badly(run)
        self.assertEqual(run.root, self.root / "fails" / run.name)
        self.assertLessEqual({"deep", "log.txt", "params.yaml", "traceback.txt", "weights"}, {path.name for path in run.root.rglob("*")})
        self.assertEqual(sorted(self.root.glob("[!f.]*/**/*0*")) + sorted(self.root.glob("*/.0*")), [])

    def test_a_run_that_cannot_be_moved_stays_listed_and_marked(self):
        run = self.make(automark=["best"]).exman
        for error in (OSError(errno.EXDEV, "no", str(run.root)), OSError(errno.EROFS, "no", str(run.root))):
            with self.subTest(error=error), mock.patch.object(os, "rename", side_effect=error), \
                    mock.patch.object(shutil, "copytree", side_effect=shutil.Error([("/a", "/b", "full")])):
                self.assertRegex(self.end_badly(run), r"exman: the run is not in fails/: .*/.*\nexman: run 1 failed: .*\n\Z")
                self.assertEqual(run.root.parent.name, "runs")
                self.assertEqual((self.listed(), self.listed(mark="best")), ([1], [1]))

    def test_a_rename_that_a_virus_scanner_refuses_is_tried_again(self):
        rename, left = os.rename, [3]

        def held(source, target):
            left[0] -= 1
            if left[0] > 0:
                raise PermissionError(errno.EACCES, "held", source)
            rename(source, target)
        with mock.patch.object(os, "rename", held):
            self.assertEqual(self.make().exman.id, 1)
        self.assertEqual((left, self.listed()), ([0], [1]))


    def test_a_file_that_the_system_takes_in_parts_is_whole_or_makes_no_run(self):
        write, begun = os.write, []

        def a_part(file, data):
            if begun and not room:
                raise OSError(errno.ENOSPC, "full")
            begun[:] = data[50:]
            return write(file, data[:50])
        for room in (True, False):
            with self.subTest(room=room), mock.patch.object(os, "write", a_part), contextlib.ExitStack() as stack:
                if not room:
                    stack.enter_context(self.assertRaises(SystemExit))
                args = self.make()
                self.assertEqual((self.params(args)["lr"], self.params(args)["id"]), (0.1, 1))
            self.assertEqual((self.listed(), len(self.names())), ([1], 1))
        self.assertIn("full: free some space there", self.stderr)

    def test_a_rename_that_is_refused_leaves_nothing_but_the_number(self):
        for code in (errno.EROFS, errno.EXDEV, errno.ENOSPC):
            with self.subTest(errno.errorcode[code]), self.assertRaises(SystemExit), \
                    mock.patch.object(os, "rename", side_effect=OSError(code, os.strerror(code))):
                self.make()
            self.assertEqual(os.listdir(str(self.root / "runs")), [])

    def test_a_file_system_without_modes_takes_a_shared_root(self):
        with mock.patch.object(os, "chmod", side_effect=PermissionError(errno.EPERM, "no modes")):
            self.assertEqual([self.make(shared=True).exman.id for _ in range(2)], [1, 2])


class TestTakenOver(RootCase):
    """A later parse of the same words has the run of the first one: the same folder with its own file."""

    def staged(self, between=lambda args: None, first="ann", then="bob", **kwargs):
        parser = self.parser(automark=["user", "who"], **kwargs)
        parser.add_argument("--who", default=first)
        args = self.parse(parser, method="parse_known_args")[0]
        between(args)
        self.before = sorted(self.links())
        parser.set_defaults(who=then)
        parser.add_argument("--more", default="more")
        return args, self.parse(parser)

    def test_the_file_is_replaced_whole_and_the_marks_follow(self):
        for copies in (False, True):
            with self.subTest(copies=copies), mock.patch.object(os, "symlink", **{"side_effect": NO_SYMLINKS} if copies else {"wraps": os.symlink}):
                self.root = self.folder / f"root {copies}"
                first, then = self.staged(lambda args: self.shell("mark", "best", args.exman.id))
                name = first.exman.name
                self.assertEqual(then.exman.name, name)
                self.assertEqual(self.names(), [name])
                params = self.params(then)
                self.assertEqual((params["who"], params["more"], params["id"], params["root"]), ("bob", "more", 1, f"runs/{name}"))
                self.assertEqual([path.name for path in then.root.iterdir()], ["params.yaml"])
                entries = [f"index/{name}.yaml", f"marked/best/{name}.yaml", f"marked/user/who/bob/{name}.yaml"]
                self.assertEqual(sorted(self.links()), entries)
                for entry in entries[::2]:
                    self.assertEqual((self.root / entry).read_bytes(), (then.root / "params.yaml").read_bytes())
                    self.assertEqual((self.root / entry).is_symlink(), not copies)

    def test_a_working_directory_that_changes_in_between_makes_no_second_run(self):
        parser = self.parser(root="exman")
        first = self.parse(parser, method="parse_known_args")[0]
        (self.folder / "elsewhere").mkdir()
        os.chdir(str(self.folder / "elsewhere"))
        self.assertEqual(self.parse(parser).root, first.root)
        self.assertEqual(list(pathlib.Path().iterdir()), [])

    def test_a_run_with_anything_else_in_its_folder_or_without_one_stays_as_it_is(self):
        def touch(name):
            return lambda args: (args.root / name).touch()
        for case, between in (("log", touch("log.txt")), ("end", touch("end.yaml")), ("weights", touch("weights")),
                              ("deleted", lambda args: shutil.rmtree(str(args.root)))):
            with self.subTest(case):
                first, then = self.staged(between)
                self.assertEqual(then.exman.id, first.exman.id + 1)
                self.assertEqual(first.root.exists(), case != "deleted")
                self.assertLessEqual(set(self.before), set(self.links()))
                if case != "deleted":
                    self.assertEqual(self.params(first)["who"], "ann")

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_only_the_process_that_made_a_run_takes_it_over(self):
        script = self.script("""
            import os, sys
            import exman
            parser = exman.ExParser(root=sys.argv[1])
            parser.parse_known_args([])
            if os.fork() == 0:
                parser.add_argument("--lr", default=5)
                parser.parse_args([])
                os._exit(0)
            os.wait()
        """)
        self.python(script, self.root)
        texts = [(self.root / "runs" / name / "params.yaml").read_text() for name in self.names()]
        self.assertEqual(["lr: 5" in text for text in texts], [False, True])

    def test_a_tmp_run_stays_in_no_index_and_has_no_marks(self):
        args = self.make("--tmp")
        record = argparse.Namespace(body="lr: 5\n", name=None, tmp=True, marks=["no"], diff=None)
        self.assertTrue(exman._Root(self.root).take_over(args.exman, record))
        self.assertEqual((args.root / "params.yaml").read_bytes().splitlines()[0], b"lr: 5")
        self.assertEqual(self.links(), {})


class TestFix(RootCase):
    """exman fix: what it makes, mends and takes away."""

    def test_missing_links_are_made_and_those_without_a_run_are_taken_away(self):
        one, two, three, four = [self.make(automark=["all"]).exman.name for _ in range(4)]
        (self.root / "index" / f"{one}.yaml").unlink()
        shutil.rmtree(str(self.root / "runs" / two))
        (self.root / "index" / f"{three}.yaml").unlink()
        (self.root / "index" / f"{three}.yaml").symlink_to("nowhere")
        (self.root / "marked" / "all" / "notes.txt").write_text("mine")
        self.assertEqual(sorted(self.fixed()), [f"made index/{one}.yaml", f"made index/{three}.yaml",
                                                f"took away index/{two}.yaml: its run is gone", f"took away marked/all/{two}.yaml: its run is gone"])
        self.assertEqual(self.links(), {f"{folder}/{name}.yaml": True for folder in ("index", "marked/all") for name in (one, three, four)})
        self.assertEqual((self.fixed(), self.listed()), ([], [1, 3, 4]))
        self.assertTrue((self.root / "marked" / "all" / "notes.txt").exists())

    def test_links_that_have_become_texts_are_links_again_and_copies_stay(self):
        name, other = self.make(automark=["a", "b"]).exman.name, self.make().exman.name
        old = self.root / "marked" / "old" / name       # exman 0.1.x linked folders
        old.parent.mkdir()
        texts = {f"index/{name}.yaml": f"../runs/{name}/params.yaml", f"marked/a/b/{name}.yaml": f"..\\..\\..\\runs\\{name}\\params.yaml",
                 f"marked/old/{name}": f"../../runs/{name}"}
        for entry, text in texts.items():
            with contextlib.suppress(FileNotFoundError):
                (self.root / entry).unlink()
            (self.root / entry).write_text(text)
        copy = self.root / "index" / f"{other}.yaml"
        copy.unlink()
        shutil.copy(str(self.root / "runs" / other / "params.yaml"), str(copy))
        self.assertEqual(len(self.fixed()), 3)
        mended = [f"index/{name}.yaml", f"marked/a/b/{name}.yaml", f"marked/old/{name}.yaml"]
        for entry in mended:
            self.assertEqual((self.root / entry).resolve(), self.root / "runs" / name / "params.yaml")
        self.assertEqual(sorted(self.links()), sorted([*mended, f"index/{other}.yaml"]))
        self.assertEqual((copy.is_symlink(), old.exists(), self.fixed()), (False, False, []))

    def test_copied_runs_are_told_of_and_their_numbers_are_not_given_again(self):
        name = self.make().exman.name
        self.old_run(1), self.old_run(3)
        status, out, err = self.shell("fix")
        self.assertEqual((status, err.count("\n")), (0, 1))
        self.assertIn(name, err)
        self.assertIn("000001-2019", err)
        self.assertEqual(len(out.splitlines()), 1, out)
        self.assertEqual(self.fixed(), [])
        self.assertEqual([self.make().exman.id for _ in range(2)], [4, 5])
        self.assertEqual(self.fixed(), [])

    def test_what_is_in_the_way_is_named_and_the_others_are_mended(self):
        gone, one, two = [self.make().exman.name for _ in range(3)]
        shutil.rmtree(str(self.root / "runs" / gone))
        (self.root / "index" / f"{gone}.yaml").unlink()
        (self.root / "index" / f"{gone}.yaml").mkdir()
        (self.root / "index" / f"{two}.yaml").unlink()
        (self.root / "runs" / f"{one}.tar.gz").write_text("")
        (self.root / "runs" / f"{one}-mine").mkdir()
        status, out, err = self.shell("fix")
        self.assertEqual((status, out), (1, f"made index/{two}.yaml\n"))
        self.assertRegex(err, rf"exman: {re.escape(str(self.root))}/index/{gone}.yaml: .+\n\Z")

    @unittest.skipIf(hasattr(os, "getuid") and os.getuid() == 0, "root reads everything")
    def test_a_run_of_somebody_else_that_cannot_be_looked_at_stays_as_it_is(self):
        one, two = [self.make().exman.name for _ in range(2)]
        for name in (one, two):
            (self.root / "index" / f"{name}.yaml").unlink()
        (self.root / "runs" / one).chmod(0)
        self.addCleanup((self.root / "runs" / one).chmod, 0o700)
        status, out, err = self.shell("fix")
        self.assertEqual((status, out), (1, f"made index/{two}.yaml\n"))
        self.assertIn(f"{one}/params.yaml: Permission denied", err)

    def test_an_old_root_gets_no_claims_and_a_root_without_runs_is_left_alone(self):
        self.old_run(1)
        self.assertEqual(self.fixed(), [])
        self.assertFalse((self.root / ".ids").exists())
        empty = self.folder / "empty"
        empty.mkdir()
        self.assertEqual((self.fixed(empty), list(empty.iterdir())), ([], []))

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_no_good_link_or_mark_is_lost_while_runs_are_made_and_fail(self):
        script = self.script("""
            import sys
            import exman
            parser = exman.ExParser(root=sys.argv[1], automark=("all",))
            parser.add_argument("--n", type=int)
            for n in range(int(sys.argv[2])):
                args = parser.parse_args(["--n", str(n)])
                try:
                    with args.exman:
                        if n % 3 == 0:
                            raise RuntimeError
                except RuntimeError:
                    pass
        """)
        count = 399 if os.environ.get("EXMAN_FULL") else 60
        env = dict(os.environ, PYTHONPATH=str(HERE))
        makers = [subprocess.Popen([sys.executable, str(script), str(self.root), str(count)], env=env, stderr=subprocess.DEVNULL) for _ in range(2)]
        calls = 0
        while any(maker.poll() is None for maker in makers):
            if self.root.exists():
                calls += 1
                root = exman._Root(self.root)
                for _ in root.fixed():
                    pass
                for name in self.names()[-1:]:
                    with contextlib.suppress(OSError):  # it has failed meanwhile
                        root.link(root.mark_folder("best"), name)
        self.assertEqual([maker.returncode for maker in makers], [0, 0])
        runs = {f"{name}.yaml" for name in self.names()}
        for folder in ("index", "marked/all"):
            self.assertEqual({path.name for path in (self.root / folder).iterdir()}, runs)
        self.assertEqual([entry for entry, leads in self.links().items() if not leads], [])
        self.assertEqual((len(runs), len(self.names(part="fails"))), (count * 4 // 3, count * 2 // 3))


class TestMarksAndNames(RootCase):

    def everything(self):
        """All that lies below the folder, outside of the root."""
        return sorted(str(path) for path in self.folder.rglob("*") if self.root not in path.parents)

    def test_a_mark_that_leaves_the_root_or_is_no_name_is_refused(self):
        self.make()
        before, inside = self.everything(), sorted(self.root.rglob("*"))
        for key in ("..", "../x", "a/../../../x", "/etc/x", "/", "", ".", "a/./b", "12", "a\0b", "a\nb", "x" * 5000, "a/" * 2500 + "b",
                    ".hidden", "a/.b", "\udcff", " a", "a ", "a\\b", "a:b", "000001-2026-01-01-00-00-00", "a/000001-2026-01-01-00-00-00-x.yaml",
                    "con", "a/NUL", "com1.txt", "a.", "b/a. ", "a\u2028b"):
            with self.subTest(key=key[:20]):
                for verb in ("mark", "unmark"):
                    status, out, err = self.shell(verb, key, 1)
                    self.assertEqual((status, out), (1, ""))
                    self.assertNotIn("Traceback", err)
                    self.assertLess(len(err.splitlines()[-1]), 300)
        self.assertEqual((self.everything(), sorted(self.root.rglob("*"))), (before, inside))

    def test_a_mark_that_differs_in_case_alone_goes_where_the_other_is_and_so_does_an_automark(self):
        name = self.make(automark=["Best", "Lr"]).exman.name
        for key, there in (("best/LR", "Best/Lr"), ("BEST/lr2", "Best/lr2")):
            self.assertEqual(self.shell("mark", key, 1), (0, f"marked {there}: 1\n", ""))
        other = self.make(automark=["best", "lr"], ).exman.name
        self.assertEqual(sorted(entry for entry in self.links() if "marked" in entry),
                         sorted([f"marked/Best/Lr/{name}.yaml", f"marked/Best/lr2/{name}.yaml", f"marked/Best/Lr/0.1/{other}.yaml"]))

    def test_of_marks_that_differ_in_case_alone_the_one_is_meant_that_is_spelled_so(self):
        name = self.make().exman.name
        for key in ("Best", "best", "BEST"):
            (self.root / "marked" / key).mkdir(parents=True, exist_ok=True)
        if len(os.listdir(str(self.root / "marked"))) < 3:
            self.skipTest("the file system does not tell them apart")
        for key in ("Best", "best", "BEST"):
            self.assertEqual(self.shell("mark", key, 1), (0, f"marked {key}: 1\n", ""))
            self.assertEqual(self.shell("unmark", key, 1), (0, f"unmarked {key}: 1\n", ""))
        self.assertEqual(sorted(self.links()), [f"index/{name}.yaml"])

    def test_a_mark_reaches_only_runs_that_are_there(self):
        good, failed = self.make().exman, self.make().exman
        self.end_badly(failed)
        self.make("--tmp")
        status, _, err = self.shell("mark", "best", 1, 2, 3, 4)
        self.assertEqual((status, len(err.splitlines())), (1, 3), err)
        self.assertEqual(self.listed(mark="best"), [1])
        symlink = os.symlink

        def deleted_meanwhile(*args):
            symlink(*args)
            shutil.move(str(self.root / "runs" / good.name), str(self.folder))
        with mock.patch.object(os, "symlink", deleted_meanwhile):
            status, _, err = self.shell("mark", "late", 1)
        self.assertEqual((status, err.count("\n"), [entry for entry in self.links() if "late" in entry]), (1, 1, []))

    def test_a_mark_of_the_moment_in_which_a_run_fails_is_taken_away(self):
        for verb in ("fail", "delete"):
            run, rename = self.make().exman, os.rename

            def marked_meanwhile(source, target):
                if run.name in source:
                    exman._Root(self.root).link(str(self.root / "marked" / "late"), run.name)
                rename(source, target)
            with self.subTest(verb), mock.patch.object(os, "rename", marked_meanwhile):
                self.end_badly(run) if verb == "fail" else self.shell("delete", "--all", "--yes", run.id)
            self.assertEqual(self.links(), {})

    def test_a_planted_link_in_marked_is_not_followed(self):
        outside = self.folder / "outside"
        (outside / "deep").mkdir(parents=True)
        name = self.make().exman.name
        for folder in (outside, outside / "deep"):
            (folder / f"{name}.yaml").write_text("mine")
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
                    with self.assertRaises(SystemExit):
                        self.make(automark=[*key.split("/")])
                    self.assertIn("may lead out of the root", self.stderr)
                    self.assertEqual(self.everything(), before)
            self.assertEqual(self.shell("delete", 1)[0], 0)
            self.fixed()
            run = self.make().exman
            self.end_badly(run)
            self.assertEqual(run.root.parent.name, "fails")
            self.assertEqual(self.everything(), before)
            self.assertEqual({path.read_text() for path in outside.rglob("*.yaml")}, {"mine"})
            if planted != "marked":
                link.unlink()

    def test_a_hidden_folder_that_was_planted_makes_no_run(self):
        outside = self.folder / "outside"
        outside.mkdir()
        (self.root / "runs").mkdir(parents=True)
        name = "2026-01-02-03-04-05"
        for number, plant in ((1, lambda path: path.symlink_to(str(outside))), (2, pathlib.Path.mkdir)):
            plant(self.root / "runs" / f".{number:06}-{name}")
            with self.subTest(number), mock.patch.object(time, "strftime", return_value=name), self.assertRaises(SystemExit):
                self.make()
            self.assertIn(os.strerror(errno.EEXIST), self.stderr)
        self.assertEqual((os.listdir(str(outside)), self.listed(), list(self.root.glob("runs/0*"))), ([], [], []))

    def test_a_hidden_file_that_was_planted_is_not_written_through(self):
        target = self.folder / "target"
        target.write_text("mine")
        with mock.patch.object(os, "urandom", lambda count: b"a" * count), mock.patch.object(os, "symlink", side_effect=NO_SYMLINKS):
            name = self.make().exman.name
            mark = self.root / "marked" / "best"
            mark.mkdir(parents=True)
        (mark / f".{name}.yaml.{'61' * 8}").symlink_to(target)
        with mock.patch.object(os, "urandom", lambda count: b"a" * count), mock.patch.object(os, "symlink", side_effect=NO_SYMLINKS):
            self.shell("mark", "best", 1)
        self.assertEqual(target.read_text(), "mine")

    def test_a_number_that_several_runs_have_is_refused_naming_them(self):
        names = [self.make().exman.name, self.old_run(1), self.old_run(1, part="fails", ending="-x")]
        line = self.refuse(self.parser(), "--config", "1")
        status, _, err = self.shell("delete", "--all", "--yes", "1")
        for text in (line, err):
            for name in names:
                self.assertIn(name, text)
        self.assertEqual((status, self.names()), (1, sorted(names[:2])))
        self.assertEqual(self.shell("delete", "--all", "--yes", names[0])[0], 0)
        self.assertEqual(self.names(), [names[1]])

    def test_a_config_is_a_number_a_name_a_folder_or_a_file(self):
        run = self.make("--lr", "5").exman
        for word in ("1", "001", run.name, str(run.root), str(run.root / "params.yaml"), os.path.join("exman", "index", f"{run.name}.yaml")):
            with self.subTest(word):
                self.assertEqual(self.make("--config", word).lr, 5)
        self.assertIn("no run 99 in ", self.refuse(self.parser(), "--config", "99"))
        (self.folder / "1").write_text("lr: 6\n")
        self.assertEqual(self.make("--config", "1").lr, 5)      # a run's number is that
        self.assertEqual(self.make("--config", "./1").lr, 6)


class TestNames(RootCase):
    """--name, zfill and exman.optional."""

    def test_name_ends_the_folders_name(self):
        args = self.parse(self.parser(), "--name", "caf\u00e9 v1.2-b")
        self.assertTrue(args.root.name.endswith("-caf\u00e9 v1.2-b"))
        self.assertEqual(self.runs("index"), [args.root.name + ".yaml"])
        self.assertEqual(args.exman.time.year, int(args.root.name.split("-")[1]))
        for name in ("aux", ".x", "n" * 180):           # behind a dash these are names as any other
            with mock.patch.object(os, "symlink", side_effect=NO_SYMLINKS):
                args = self.parse(self.parser(), "--name", name)
            self.assertTrue((self.root / "index" / f"{args.root.name}.yaml").is_file())

    def test_a_name_that_cannot_stand_in_a_file_name_is_refused_before_anything_is_made(self):
        for name in ("a/b", "..", "../x", "/x", ".", "", " ", "a ", "a.", "a:b", "a\\b", "a\nb", "a\0b", "x" * 181, "x" * 5000,
                     "\u00e9" * 91, "\udce9", "\x85"):
            with self.subTest(name[:20]):
                self.assertIn("--name", self.refuse(self.parser(), f"--name={name}"))
                self.assertLess(len(self.stderr.splitlines()[-1]), 300)
        self.assertFalse(self.root.exists())

    def test_zfill_is_the_least_number_of_digits(self):
        for zfill, name in ((1, "1-"), (6, "000002-"), (3, "003-"), (0, "4-")):
            self.assertTrue(self.parse(self.parser(zfill=zfill)).root.name.startswith(name))
        self.assertEqual(self.listed(), [1, 2, 3, 4])
        for word in ("2", "02", "0000002"):
            self.assertEqual(self.shell("mark", "best", word)[0], 0)
        self.assertEqual(self.listed(mark="best"), [2])

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


class TestAutomark(RootCase):
    """automark=: each run is also linked under the mark that its parameters make."""

    def marks(self):
        folder = self.root / "marked"
        return sorted(path.parent.relative_to(folder).as_posix() for path in folder.rglob("*.yaml"))

    def test_a_dest_stands_for_itself_and_its_value_another_word_for_itself(self):
        parser = self.parser(automark=("user", "lr", "all"))
        parser.add_argument("--user")
        parser.add_argument("--lr", type=float)
        self.parse(parser, "--tmp")                     # a --tmp run gets none
        self.parse(parser, "--user", "ann", "--lr", "0.1")
        self.assertEqual(self.marks(), ["user/ann/lr/0.1/all"])
        self.parse(self.parser(automark="word"))
        self.assertEqual(self.marks(), ["user/ann/lr/0.1/all", "word"])

    def test_any_value_makes_a_mark_in_the_root_that_the_verbs_take(self):
        parser = self.parser(automark=("v",))
        parser.add_argument("--v", nargs="?")
        for number, (text, part) in enumerate((
                ("a/b", "a-b"), ("..", "-"), (".", "-"), (".hidden", "hidden"), ("", "-"), ("/etc/passwd", "-etc-passwd"), ("a\\b", "a-b"), (" x ", "x"),
                ("\n", "-"), ("caf\u00e9 \U0001f600", "caf\u00e9 \U0001f600"), ("caf\udce9", "caf-"), ("x" * 999, "x" * 181), ("\u00e9" * 999, "\u00e9" * 90),
                ("con", "-con"), ("Nul.txt", "-Nul.txt"), ("a.", "a"), (" . a . ", "a"), ("../..", "-"), ("~", "~"), ("\u65e5" * 300, "\u65e5" * 60),
                ("000001-2026-01-01-00-00-00", "-000001-2026-01-01-00-00-00"), ("1.5", "1.5")), 1):
            with self.subTest(text[:20]):
                self.parse(parser, f"--v={text}")
                self.assertEqual(self.marks(), [f"v/{part}"])
                status, _, err = self.shell("unmark", f"v/{part}", number)
                self.assertEqual((status, self.marks()), (0, []), err)
                self.assertEqual([path.name for path in self.folder.iterdir()], ["exman"])
        self.parse(parser)
        self.assertEqual(self.marks(), ["v/None"])


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
        (folder / "deep").write_text("lr: " + "[" * 100000 + "\n")
        (folder / "tag").write_text("lr: !!python/object/apply:os.system ['touch pwned']\n")
        cases = {"binary": "utf-8", "nul": "line 1", "folder": os.path.join("folder", "params.yaml"), "odd": os.path.join("odd", "params.yaml"),
                 "sparse": "no regular file of at most 16 MiB", "deep": "line 1", "tag": "tag", "missing": "no run missing in ",
                 "nul\0in it": "no such file", "12": "no run 12 in ", "9" * 5000: "", "x" * 5000: "no such file"}
        if hasattr(os, "mkfifo"):
            os.mkfifo(str(folder / "fifo"))
            (folder / "loop").symlink_to("loop")
            cases.update({"fifo": "no regular file", "loop": os.strerror(errno.ELOOP), "/dev/zero": "no regular file"})
        if os.path.isfile("/proc/self/mem"):            # reading it fails
            cases["/proc/self/mem"] = "/proc/self/mem: "
        for name, reason in cases.items():
            with self.subTest(name=name[:20]):
                line = self.refuse(self.parser(), "--config", name)
                self.assertIn(reason, line)
                self.assertLess(len(line), 6000)
                self.assertFalse(self.root.exists())
        self.assertFalse((folder / "pwned").exists())


class TestForeignThings(RootCase):

    def test_each_costs_its_row_and_one_warning_that_names_it(self):
        good = [self.make("--lr", str(n)).exman for n in range(1, 12)]
        self.shell("mark", "best", *range(1, 12))

        def params(number):
            return self.root / "runs" / good[number - 1].name / "params.yaml"
        shutil.rmtree(str(params(1).parent))            # deleted by hand
        params(2).write_bytes(b"\xff\xfe")
        params(3).write_text("lr: [1\n")
        params(4).write_text("")
        params(5).unlink()
        params(5).mkdir()
        params(9).write_text("a: &a [*a]\n")
        with open(str(params(10)), "wb") as file:
            file.truncate(1 << 30)
        copied = self.root / "index" / f"{good[6].name}.yaml"
        text = copied.read_text()
        copied.unlink()
        copied.write_text(text)
        for foreign in ("notes.txt", "runs/notes.txt", "index/notes.yaml", "index/.hidden.yaml", "marked/notes", "marked/best/notes.yaml"):
            (self.root / foreign).write_text("not: [exman's")
        for foreign in ("runs/notes", "index/000099-2026-01-01-00-00-00", "fails/x", "tmp/x"):
            (self.root / foreign).mkdir(parents=True)
        rows, problems = self.table()
        self.assertEqual([(row["id"], float(row["lr"])) for row in rows], [(n, float(n)) for n in (6, 7, 8, 11)])
        self.assertEqual(len(problems), 7, problems)
        for number, line in zip((1, 2, 3, 4, 5, 9, 10), problems):
            self.assertIn(good[number - 1].name, line)
            self.assertNotIn("\n", line)
        self.assertEqual(self.listed(mark="best"), [6, 7, 8, 11])
        self.assertEqual(self.make().exman.id, 12)
        self.fixed()
        status, _, err = self.shell("ls")
        self.assertEqual((status, "Traceback" in err), (0, False))

    def test_a_run_of_another_exman_with_a_name_of_any_length_is_listed(self):
        self.old_run(1)
        (self.root / "runs" / "000002-2019-01-02-03-04-05-\xe9 \U0001f389\nx").mkdir()
        self.assertEqual(self.make().exman.id, 3)
        self.assertTrue(all(line.isprintable() for line in self.fixed()))


class TestSurroundings(RootCase):

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
        env = dict(os.environ, PYTHONPATH=str(HERE), LC_ALL="C", LANG="C", PYTHONCOERCECLOCALE="0", PYTHONUTF8="0", PYTHONIOENCODING="ascii")
        for number, word in enumerate([[], ["--word", b"\xff\xfe"], ["--word", "\xe9".encode()]], 1):
            with self.subTest(word=word):
                done = subprocess.run([sys.executable, str(script), root.encode(), *word], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                      env=env, timeout=60)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(done.stdout.decode().splitlines()[-1], f"{number} {number}")
                self.assertEqual(done.stderr.count(b"\n"), 1, done.stderr)
        rows, problems = self.table(pathlib.Path(root))
        self.assertEqual(([row["id"] for row in rows], problems), ([1, 2, 3], []))

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
            symlink = os.symlink
            os.umask(0o077)
            for links in ("links", "copies"):
                os.symlink = no_symlink if links == "copies" else symlink
                for shared in ("shared", "private"):
                    root = os.path.join(sys.argv[1], links, shared)
                    parser = exman.ExParser(root=root, shared=shared == "shared", automark=("a", "b"))
                    parser.parse_args([])
                    for argv in ([], ["--tmp"]):
                        with parser.parse_args(argv).safe_experiment:
                            print("text")
                    try:
                        with parser.parse_args([]).safe_experiment:
                            raise RuntimeError
                    except RuntimeError:
                        pass
                    exman.main(["--root", root, "mark", "best", "1"])
            assert os.umask(0o022) == 0o077
        """)
        self.python(script, self.folder)
        for links in ("links", "copies"):
            for shared in ("shared", "private"):
                root = self.folder / links / shared
                made = [path for path in [root, *root.rglob("*")] if not path.is_symlink()]
                self.assertLessEqual({"log.txt", "traceback.txt", "params.yaml", "best", "1"}, {path.name for path in made})
                self.assertEqual(any(path.is_symlink() for path in root.rglob("*")), links == "links")
                for path in made:
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
        for how, redirect in (("closed", "2>&-"), ("stdout closed", ">&-"), ("all closed", "<&- >&- 2>&-"),
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
        self.names_of = {}
        for number, (text, _) in OLD_RUNS.items():
            self.names_of[number] = name = f"{number:06d}-2019-01-02-03-04-05" + ("-second" if number == 2 else "")
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
        self.assertEqual([(row["id"], row["root"].name, row["lr"]) for row in rows], [(1, self.names_of[1], 0.1), (2, self.names_of[2], 5.0)])
        self.assertEqual(len(problems), 1)
        self.assertRegex(problems[0], f"{self.names_of[7]}.*tag")
        for number in (1, 2):
            params = exman.load_yaml((self.root / "runs" / self.names_of[number] / "params.yaml").read_text(encoding="utf-8"))
            for key, value in OLD_RUNS[number][1].items():
                with self.subTest(key):
                    self.assertEqual((params[key], type(params[key])), (value, type(value)))

    def test_a_mark_that_it_has_twice_is_taken_away_whole(self):
        for verb in (["unmark", "user/ann"], ["delete"]):
            self.assertEqual(self.shell("mark", "user/ann", 1)[0], 0)
            self.assertEqual(len([path for path in (self.root / "marked" / "user" / "ann").iterdir() if self.names_of[1] in path.name]), 2)
            self.assertEqual(self.shell(*verb, 1)[0], 0)
            self.assertEqual([path for path in (self.root / "marked").rglob("*") if self.names_of[1] in path.name], [])
            (self.root / "marked" / "user" / "ann" / self.names_of[1]).symlink_to(f"../../../runs/{self.names_of[1]}")

    def test_what_name_gives_is_found_beside_the_names_that_0_1_wrote_down(self):
        self.old_run(10, "lr: 0.5\nname: null")
        self.assertEqual(self.make("--name", "foo").exman.id, 11)
        for words, number in (("name=foo", 11), ("name=second", 2)):
            rows = json.loads(self.shell("ls", "--json", words)[1])
            self.assertEqual([row["id"] for row in rows], [number])

    def test_it_goes_on_counting_and_takes_marks(self):
        self.assertEqual(self.make().exman.id, 10)
        self.assertEqual(self.listed(mark="user"), [1, 2])
        for key, runs in (("user/ann", [10]), ("new", [1, 10])):
            self.assertEqual(self.shell("mark", key, *runs)[0], 0)
        self.assertEqual((self.listed(mark="user"), self.listed(mark="new")), ([1, 2, 10], [1, 10]))
        self.assertEqual(self.shell("unmark", "user", 1)[0], 0)
        self.assertEqual(self.listed(mark="user"), [2, 10])
        self.assertEqual(self.shell("delete", "--all", "--yes", 2)[0], 0)
        self.assertEqual([path.name for path in self.root.glob("*/**/*-second*")], [])
        self.assertEqual((self.root / "lock").read_text(), "")

    def test_a_mark_of_a_run_that_is_gone_is_taken_away_and_one_whose_run_fails_comes_back_as_one_of_todays(self):
        shutil.rmtree(str(self.root / "runs" / self.names_of[2]))
        self.assertEqual(len(self.fixed()), 2)          # its entry in the index, its mark
        self.assertEqual(self.listed(mark="user"), [1])
        run = exman.Run(exman._Root(self.root), "runs", self.names_of[1], maker=os.getpid())
        with mock.patch.object(os, "rename", side_effect=OSError(errno.EROFS, "no", "/there")):
            self.end_badly(run)
        self.assertTrue((self.root / "marked" / "user" / "ann" / f"{self.names_of[1]}.yaml").is_file())
        self.end_badly(run)
        self.assertEqual((run.root.parent.name, os.listdir(str(self.root / "marked" / "user" / "ann"))), ("fails", [self.names_of[7]]))

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
        self.assertEqual(self.parse(parser, "--config", str(self.root / "index" / f"{self.names_of[2]}.yaml")).zip, "1E5")
        self.assertIn("tag", self.refuse(parser, "--config", "7"))



class LaunchCase(Case):
    """Processes that a launcher would have started: each has its variables, and prints the run it is in."""

    BODY = """
        import argparse, os, subprocess, sys, time
        import exman
        time.sleep(float(os.environ.get("BEFORE", "0")))
        if "NOPROC" in os.environ:                      # as on macOS
            exman._proc = lambda pid, name: ""
        parser = exman.ExParser(root="exman")
        parser.add_argument("--seed", type=int, default=0)
        parser.add_argument("--device", volatile=True)
        parser.add_argument("--local-rank", "--local_rank", type=int, default=0)
        parser.add_argument("--fail", default="", volatile=True)
        begin = time.time()
        args = parser.parse_args()
        names = [args.root.name]
        # A run that goes on is not over.
        assert args.exman._maker != os.getpid() or not (args.root / "end.yaml").exists()
        if "STAGES" in os.environ:
            parser.add_argument("--depth", default=len(os.environ["STAGES"]))
            if os.environ["STAGES"] == "dirty" and args.exman._maker == os.getpid():
                (args.root / "checkpoint").write_text("")
            args = parser.parse_args()
            names.append(args.root.name)
        if "AGAIN" in os.environ:
            other = exman.ExParser(root="exman")
            other.add_argument("--fold", type=int, default=int(os.environ["AGAIN"]))
            names.append(other.parse_args([]).root.name)
        os.write(1, f"{','.join(names)} {time.time() - begin:.1f}\\n".encode())
        if "CHILD" in os.environ:
            env = {name: value for name, value in os.environ.items() if name != "CHILD"}
            sys.exit(subprocess.run([sys.executable, *os.environ["CHILD"].split()], env=env).returncode)
        if args.fail:
            with args.exman:
                print("before")
                if os.environ.get("RANK", "0") == args.fail:
                    raise RuntimeError("on purpose")
        """
    TORCHRUN = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    SRUN = ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID")
    STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}

    def setUp(self):
        super().setUp()
        self.script(self.BODY)
        names = ("RANK|WORLD_SIZE|LOCAL_|NODE_RANK|MASTER_|TORCHELASTIC|HOROVOD|OMPI|PMI|MV2|MPI_|PALS|FLUX|JSM|LSB|PBS|"
                 "SLURM|EXMAN")
        self.environ = {key: value for key, value in os.environ.items() if not re.match(names, key)}
        self.environ.update(PYTHONPATH=str(HERE), EXMAN_WAIT="20")

    def start(self, env, *argv, script="main.py"):
        """Start a script; a script with a blank in it is a line for the shell, where $PY is Python."""
        command = ["sh", "-c", script, "sh"] if " " in script else [sys.executable, script]
        return subprocess.Popen([*command, *map(str, argv)], env=dict(self.environ, PY=sys.executable, **env),
                                universal_newlines=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def end(self, processes):
        """The words that each process wrote, its runs and seconds; all they said on stderr is kept in self.said."""
        done = [process.communicate(timeout=60) for process in processes]
        self.said = "".join(err for _, err in done)
        self.assertNotRegex(self.said, r"AssertionError|exman\.py\", line [0-9]+, in _launch")
        words = [out.split() for out, _ in done]
        self.waited = max((float(word) for line in words for word in line if "." in word), default=0)
        return [[word for word in line if "-" in word] for line in words]

    def ranks(self, names, size, argv=(), script="main.py", **env):
        """Start the ranks of a launch, the last first; names: the variables of rank, size, local rank, local size."""
        started = []
        for rank in reversed(range(size)):
            own = {name: str(value) for name, value in zip(names, [rank, size, rank, size]) if name}
            started.append(self.start(dict(own, **env), *(argv(rank) if callable(argv) else argv), script=script))
        return started[::-1]

    def srun(self, size=2, argv=(), **env):
        return self.ranks(self.SRUN, size, argv, **dict(self.STEP, **env))

    def torchrun(self, size=2, argv=(), **env):
        return self.ranks(self.TORCHRUN, size, argv, TORCHELASTIC_RUN_ID="none", MASTER_ADDR="localhost",
                          MASTER_PORT="29500", **env)

    def share(self, processes, runs=1, made=None):
        """The runs of processes, each of which has ended in the same ones, of which there are so many in runs/."""
        ended = self.end(processes)
        self.assertEqual(len(set(map(tuple, ended))), runs, (ended, self.said))
        self.assertLess(self.waited, 10, self.said)
        if made is not None:
            self.assertEqual(len(self.runs()), made, self.said)
            self.assertEqual(self.said.count("exman: run"), runs)
        return ended


class LaunchTest(LaunchCase):

    def job(self, environ):
        environ = {name: value for name, value in environ.items() if name}
        with mock.patch.dict(os.environ, environ, clear=True):
            return exman._rank_and_launch()

    def test_a_wait_that_is_no_number_is_named(self):
        ended = self.end(self.ranks(("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), 2, EXMAN_WAIT="abc"))
        self.assertEqual((sorted(map(len, ended)), len(self.runs())), ([0, 1], 1))
        self.assertIn("no run was made: EXMAN_WAIT='abc': give a number of seconds", self.said)

    def test_a_run_that_others_may_not_find_is_told(self):
        make = exman._Root.make_folder

        def gone(root, path):
            if ".launches" in path:
                raise FileNotFoundError(errno.ENOENT, "gone", path)
            make(root, path)
        with mock.patch.object(exman._Root, "make_folder", gone), mock.patch.dict(os.environ, SLURM_JOB_ID="7"):
            self.parse(self.parser())
        self.assertIn("may not find run 1: ", self.stderr)

    def test_ranks_of_every_launcher_share_one_run(self):
        launchers = {
            "torchrun": (self.TORCHRUN, {"TORCHELASTIC_RUN_ID": "none", "MASTER_PORT": "29500"}),
            "torchrun without /proc": (self.TORCHRUN, {"MASTER_ADDR": "127.0.0.1", "NOPROC": "1"}),
            "torchrun on two nodes": (self.TORCHRUN[:3], {"LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "n1"}),
            "two of torchrun on one node": (self.TORCHRUN[:3], {"LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "localhost"}),
            "deepspeed": (("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE"), {"MASTER_ADDR": "127.0.0.1"}),
            "RANK set by the shell in tasks of srun": (self.SRUN, dict(self.STEP, MASTER_ADDR="localhost")),
            "hydra": (("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"), {}),
            "hydra below one proxy of srun": (("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS"),
                                              dict(self.STEP, SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="2")),
            "srun": (self.SRUN, self.STEP),
        }
        # The parameters tell the launches apart, and a shell stands between each launcher and its ranks.
        started = {}
        for seed, (name, (names, env)) in enumerate(launchers.items()):
            line = 'RANK=$SLURM_PROCID WORLD_SIZE=2 ' if name.startswith("RANK") else ""
            started[name] = self.ranks(names, 2, ["--seed", seed], script=f'{line}"$PY" main.py "$@"; true', **env)
        for name, processes in started.items():
            with self.subTest(name):
                self.share(processes)
                self.assertEqual(self.said.count("exman: run"), 1)
        self.assertEqual(len(self.runs()), len(launchers))

    def test_every_launchers_variables_tell_the_ranks_of_a_launch_and_other_launches(self):
        table = {                                       # the variables of rank and size, and one that tells launches apart
            "torchrun": ("RANK", "WORLD_SIZE", "TORCHELASTIC_RUN_ID"),
            "horovodrun": ("HOROVOD_RANK", "HOROVOD_SIZE", "HOROVOD_GLOO_RENDEZVOUS_PORT"),
            "mpirun": ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMIX_NAMESPACE"),
            "mvapich": ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_ID"),
            "pals": ("PALS_RANKID", "PALS_SIZE", "PALS_APID"),
            "flux": ("FLUX_TASK_RANK", "FLUX_JOB_SIZE", "FLUX_JOB_ID"),
            "jsrun": ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "JSM_NAMESPACE_ID"),
            "hydra": ("PMI_RANK", "PMI_SIZE", "LSB_JOBINDEX"),
            "srun": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID"),
            "another job": ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_JOB_ID"),
            "torchrun that starts again": ("RANK", "WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT"),
            "more ranks": ("RANK", "WORLD_SIZE", "WORLD_SIZE"),
            "pmix": ("PMIX_RANK", "", "PMIX_NAMESPACE"),
        }
        for name, (rank, size, told) in table.items():
            with self.subTest(name):
                launch = {"LOCAL_WORLD_SIZE": "4", size: "4", told: "5"}
                (first, mine), (third, theirs) = self.job(dict(launch, **{rank: "0"})), self.job(dict(launch, **{rank: "3"}))
                self.assertEqual((first, third, mine == theirs), (0, 3, True))
                self.assertNotEqual(self.job(dict(launch, **{rank: "0", told: "6"}))[1], mine)

    def test_a_second_launch_is_a_second_run_whatever_its_variables(self):
        deepspeed = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_SIZE")
        local = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
        launches = {
            "torchrun": lambda _: self.torchrun(),
            "torchrun starts its ranks again": lambda n: self.torchrun(2, ["--seed", 1], TORCHELASTIC_RESTART_COUNT=n),
            "srun": lambda _: self.srun(2, ["--seed", 2]),
            "deepspeed with more ranks": lambda n: self.ranks(deepspeed, 2 + int(n), ["--seed", 3], **local),
        }
        runs = [{name: self.share(processes)[0] for name, processes in
                 [(name, launch(nth)) for name, launch in launches.items()]} for nth in "01"]
        for name in launches:
            with self.subTest(name):
                self.assertNotEqual(runs[0][name], runs[1][name])

    @unittest.skipUnless(os.path.exists("/proc/self/environ"), "needs /proc")
    def test_launches_on_one_node_with_the_same_variables_are_told_apart_by_what_starts_their_ranks(self):
        # What a launcher leaves out where the address is local: no run id, no local size, one port.
        rank = "WORLD_SIZE=2 MASTER_ADDR=127.0.0.1 MASTER_PORT=29500 $PY main.py"
        [[first]] = self.end([self.start({}, script=f"RANK=0 {rank}; true")])       # its rank 1 died early
        [second] = self.end([self.start({}, script=f"RANK=1 {rank} & sleep 0.5; RANK=0 {rank}; wait")])
        self.assertEqual((len(second), len(set(second)), first in second), (2, 1, False), self.said)
        self.assertEqual(len(self.runs()), 2)

    @unittest.skipUnless(os.path.exists("/proc/self/environ"), "needs /proc")
    def test_launches_of_hydra_over_several_nodes_are_told_apart_by_the_port_of_their_mpiexec(self):
        proxy = self.script("import subprocess, sys; sys.exit(subprocess.call(sys.argv[4:]))", "proxy.py")
        started = []
        for port in ("n1:1001", "n1:1002"):
            for rank in "10":
                command = [proxy, "--control-port", port, rank, "env", f"PMI_RANK={rank}", "PMI_SIZE=2",
                           "MPI_LOCALNRANKS=1", "PBS_JOBID=5", sys.executable, "main.py"]
                started.append(self.start({}, *command[1:], script=str(proxy)))
        runs = [line[0] for line in self.end(started)]
        self.assertEqual((runs[0] == runs[1], runs[2] == runs[3], len(set(runs))), (True, True, 2), self.said)

    def test_rank_never_believes_what_an_earlier_launch_published(self):
        [[first], _] = self.share(self.srun(2))
        late = self.start(dict(self.STEP, SLURM_PROCID="1", SLURM_STEP_NUM_TASKS="2"))
        time.sleep(0.3)
        [[second], _] = self.share([late, self.start(dict(self.STEP, SLURM_PROCID="0", SLURM_STEP_NUM_TASKS="2"))])
        self.assertNotEqual(first, second)

    def test_publication_counts_while_it_is_no_older_than_the_rank_and_EXMAN_WAIT(self):
        wait = {"RANK": "1", "WORLD_SIZE": "2", "EXMAN_WAIT": "0.4"}
        if os.path.exists("/proc/self/stat"):           # a rank that took its time to import: joins
            slow = self.start(dict(wait, BEFORE="1"))
            self.share([self.start({"RANK": "0", "WORLD_SIZE": "2"}), slow])
        else:
            self.end([self.start({"RANK": "0", "WORLD_SIZE": "2"})])
        for token in self.root.glob(".launches/*/1.*"):
            token.unlink()
        [publication] = self.root.glob(".launches/*/*.runs.*")
        os.utime(str(publication), (time.time() - 5,) * 2)
        self.end([self.start(wait)])
        self.assertIn("rank 1 found no run of its job within 0.4 s (EXMAN_WAIT): it makes its own", self.said)

    def test_ranks_with_other_parameters_make_runs_of_their_own_without_waiting(self):
        runs = self.share(self.srun(3, lambda rank: ["--seed", rank]), runs=3, made=3)
        self.assertEqual([exman.load_yaml((self.root / "runs" / run / "params.yaml").read_text())["seed"]
                          for run, in runs], [0, 1, 2])
        self.share(self.torchrun(2, lambda rank: ["--device", f"cuda:{rank}", "--local-rank", rank]))

    def test_variables_that_make_no_rank(self):
        no_rank = [{"SLURM_PROCID": "0"}, {"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "1"}, {"RANK": "1"},
                   {"RANK": "", "WORLD_SIZE": "4"}, {"RANK": "first", "WORLD_SIZE": "4"}, {"RANK": "-1", "WORLD_SIZE": "4"},
                   {"RANK": "0", "WORLD_SIZE": "1"}, {"RANK": "1", "WORLD_SIZE": "many"}, {"RANK": "4", "WORLD_SIZE": "4"},
                   {"RANK": "\u0661", "WORLD_SIZE": "4"}]
        for environ in no_rank:
            with self.subTest(environ):
                self.assertEqual(self.job(environ), (-1, ""))
        garbage = [{"RANK": "9" * 5000, "WORLD_SIZE": "9" * 6000, "LOCAL_RANK": "/x", "MASTER_ADDR": "\udcff"},
                   {"LOCAL_RANK": "1", "EXMAN_RUNS": "[\n///", "EXMAN_WAIT": "soon", "SLURM_RESTART_COUNT": "often"}]
        self.share([self.start(environ) for environ in garbage], runs=2, made=2)
        self.assertFalse((self.root / ".launches").exists())

    def test_nth_parse_of_a_rank_is_the_nth_of_all(self):
        for process in self.share(self.torchrun(AGAIN="3")):
            self.assertEqual(process, [",".join(self.runs())])
        self.assertEqual(len(self.runs()), 2)

    def test_parse_in_stages_is_one_run_of_all_ranks(self):
        [words, _] = self.share(self.torchrun(STAGES="x"), made=1)
        self.assertEqual(words, [",".join(self.runs() * 2)])
        params = exman.load_yaml((self.root / "runs" / self.runs()[0] / "params.yaml").read_text())
        self.assertEqual(params["depth"], 1)

    def test_stage_after_something_was_written_is_a_new_run_of_all_ranks(self):
        [words, _] = self.share(self.srun(STAGES="dirty"))
        self.assertEqual(words, [",".join(self.runs())])
        self.assertEqual(len(self.runs()), 2)

    def test_stages_of_ranks_with_other_parameters_are_one_run_each(self):
        self.share(self.srun(2, lambda rank: ["--seed", rank], STAGES="x"), runs=2, made=2)

    def test_two_scripts_of_each_rank_are_two_runs(self):
        line = "$PY main.py --seed 1; $PY main.py --seed 2; true"
        [words, _] = self.share(self.ranks(self.SRUN, 2, script=line, **self.STEP))
        self.assertEqual((words, len(self.runs())), (self.runs(), 2))

    def test_script_that_a_rank_starts_is_no_rank(self):
        self.script(self.BODY, "other.py")
        for names, env in ((self.SRUN, self.STEP), (self.TORCHRUN, {}), (("RANK", "WORLD_SIZE"), {"MASTER_ADDR": "n1"})):
            before = len(self.runs())
            processes = [process for process in self.ranks(names, 2, CHILD="other.py --seed 5", **env)]
            ended = self.end(processes)
            self.assertLess(self.waited, 10, self.said)
            self.assertEqual(len({words[0] for words in ended}), 1)
            self.assertEqual(len({words[1] for words in ended}), 2)
            self.assertEqual(len(self.runs()), before + 3)

    def test_scripts_that_one_task_starts_as_an_agent_of_sweeps_does_are_no_ranks(self):
        self.script("""
            import subprocess, sys
            children = [subprocess.Popen([sys.executable, "main.py", "--seed", "4"]) for _ in range(2)]
            sys.exit(max(child.wait() for child in children))
            """, "agent.py")
        self.share(self.ranks(self.SRUN, 2, script="agent.py", **self.STEP), runs=2)
        self.assertEqual(len(self.runs()), 4)

    def test_driver_that_is_recorded_starts_ranks_of_its_own(self):
        self.script("""
            import os, subprocess, sys
            import exman
            exman.ExParser(root="exman").parse_args([])
            envs = [dict(os.environ, RANK=rank, WORLD_SIZE="2", MASTER_ADDR="127.0.0.1") for rank in "10"]
            children = [subprocess.Popen([sys.executable, "main.py"], env=env) for env in envs]
            sys.exit(max(child.wait() for child in children))
            """, "driver.py")
        [words] = self.end([self.start({}, script="driver.py")])
        self.assertEqual((len(words), len(set(words)), len(self.runs())), (2, 1, 2), self.said)

    def test_rank_0_that_dies_before_its_run_holds_nobody_up_for_ever(self):
        env = {"WORLD_SIZE": "3", "EXMAN_WAIT": "0.5"}
        dead = self.start(dict(env, RANK="0"), "--seed")            # a usage error: status 2
        dead.communicate(timeout=60)
        self.assertEqual(dead.returncode, 2)
        ended = self.end([self.start(dict(env, RANK=rank, STAGES="x")) for rank in "12"])
        self.assertEqual((len(ended[0] + ended[1]), len(self.runs())), (2, 2))
        self.assertEqual(self.said.count("within 0.5 s (EXMAN_WAIT): it makes its own"), 2)

    def test_root_that_cannot_be_written_ends_every_rank_at_once(self):
        self.root.write_text("")
        processes = self.torchrun()
        self.end(processes)
        self.assertEqual([process.returncode for process in processes], [1, 1])
        self.assertEqual(self.said.count("no run was made"), 2, self.said)

    def test_what_is_no_publication_is_not_believed(self):
        self.end([self.start({"RANK": "0", "WORLD_SIZE": "2"})])
        [publication] = self.root.glob(".launches/*/*.runs.*")
        digest, _, name = publication.name.split(".", 2)
        publication.unlink()
        for planted in (digest, f"{digest}.runs", f"{digest}.runs.x", f"{digest}.bin.{name}", f"{digest}..{name}", f"{digest}.runs.9-{name}"):
            (publication.parent / planted).write_text("")
        self.end([self.start({"RANK": "1", "WORLD_SIZE": "2", "EXMAN_WAIT": "0.1"})])
        self.assertIn("makes its own", self.said)

    def test_what_launches_of_long_ago_left_is_swept(self):
        for name, days in (("old", 61), ("new", 59)):
            (self.root / ".launches" / name).mkdir(parents=True)
            os.utime(str(self.root / ".launches" / name), (time.time() - days * 86400,) * 2)
        self.end([self.start({"RANK": "0", "WORLD_SIZE": "2"})])
        names = [path.name for path in (self.root / ".launches").iterdir()]
        self.assertEqual(("old" in names, "new" in names), (False, True))

    def test_only_the_maker_moves_a_failed_run_and_a_joined_rank_signs_its_files(self):
        for number, (failing, part, files) in enumerate([
                ("0", "fails", {"log.1.txt", "log.txt", "params.yaml", "traceback.txt"}),
                ("1", "runs", {"log.1.txt", "log.txt", "params.yaml", "traceback.1.txt"})]):
            with self.subTest(f"rank {failing} fails"):
                self.share(self.torchrun(2, ["--seed", number, "--fail", failing]))
                [name] = self.runs(part)
                found = {path.name for path in (self.root / part / name).iterdir()}
                self.assertEqual(found - {"end.yaml"}, files)

    # A job of Slurm that is started again.

    def test_requeued_job_goes_on_in_its_folder(self):
        job = {"SLURM_JOB_ID": "7"}
        cases = {
            "one task": lambda **env: [self.start({**job, **env}, "--seed", 1)],
            "ranks": lambda **env: self.srun(2, ["--seed", 2], **env),
            "a task of an array": lambda **env: [self.start({**job, "SLURM_ARRAY_TASK_ID": "3", **env}, "--seed", 3)],
            "mpirun": lambda **env: self.ranks(("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), 2, ["--seed", 4],
                                               PMIX_NAMESPACE=str(env), **job, **env),
            "stages": lambda **env: [self.start({**job, "STAGES": "dirty", **env}, "--seed", 5)],
        }
        starts = []
        for env in ({}, {"SLURM_RESTART_COUNT": "1"}, {"SLURM_RESTART_COUNT": "2"}):
            started = [(name, launch(**env)) for name, launch in cases.items()]
            starts.append({name: self.share(processes)[0] for name, processes in started})
            self.assertEqual(" goes on: " in self.said, bool(env))
        for name in cases:
            with self.subTest(name):
                self.assertEqual(starts[0][name], starts[1][name])
                self.assertEqual(starts[0][name], starts[2][name])
        others = [{"SLURM_JOB_ID": "8"}, {"SLURM_ARRAY_TASK_ID": "4"}, {"SLURM_STEP_ID": "5"}]
        runs = self.end([self.start({**job, **other, "SLURM_RESTART_COUNT": "1"}, "--seed", 1) for other in others])
        self.assertTrue(all(run != starts[0]["one task"] for run in runs), runs)

    def test_requeued_job_with_other_parameters_is_a_run_of_its_own_and_says_so(self):
        job = {"SLURM_JOB_ID": "7"}
        [[first]] = self.share([self.start(job)])
        [[second]] = self.share([self.start(dict(job, SLURM_RESTART_COUNT="1"), "--seed", 1)])
        self.assertNotEqual(first, second)
        self.assertIn("no run of its earlier starts has these parameters: a new one", self.said)
        [[third]] = self.share([self.start(dict(job, SLURM_RESTART_COUNT="1"), "--seed", 1)])
        self.assertNotIn(third, (first, second))        # the run of this very start is another process's

    def test_requeued_rank_that_did_not_wait_leaves_the_run_to_rank_0(self):
        [[first], _] = self.share(self.srun(2))
        env = dict(self.STEP, SLURM_RESTART_COUNT="1", SLURM_STEP_NUM_TASKS="2")
        [[hasty]] = self.end([self.start(dict(env, SLURM_PROCID="1", EXMAN_WAIT="0"))])
        [[late]] = self.end([self.start(dict(env, SLURM_PROCID="0"))])
        self.assertEqual((late, self.runs()), (first, [first, hasty]))

    def test_each_process_of_a_requeued_job_goes_on_in_its_own_run(self):
        self.script("""
            import multiprocessing, os, exman
            def parse(seed):
                parser = exman.ExParser(root="exman")
                parser.add_argument("--seed", type=int)
                return parser.parse_args(["--seed", str(seed)] if seed else []).root.name
            if __name__ == "__main__":
                own = [parse(0)]
                for seed in [0, 1, 2, 3][int(os.environ["SLURM_RESTART_COUNT"]):]:      # the first ones are done
                    with multiprocessing.get_context("spawn").Pool(1) as pool:
                        own += pool.map(parse, [seed])
                os.write(1, " ".join(own).encode())
            """)
        starts = [self.end([self.start(dict(self.STEP, SLURM_RESTART_COUNT=str(start)))])[0] for start in range(3)]
        runs = self.runs()
        self.assertEqual((starts, len(runs)), ([runs, [runs[0], *runs[2:]], [runs[0], *runs[3:]]], 5))

    def test_requeued_job_that_had_failed_comes_back_from_fails(self):
        job = {"SLURM_JOB_ID": "7"}
        [[name]] = self.share([self.start(job, "--fail", "0")])
        self.assertEqual((self.runs(), self.runs("fails")), ([], [name]))
        (self.root / "fails" / name / "checkpoint").write_text("")
        (self.root / "fails" / name / "end.yaml").write_text("status: failed\n")
        claim = self.root / ".ids" / "0" / "1"
        before = claim.read_text()
        self.share([self.start(dict(job, SLURM_RESTART_COUNT="1"))])
        self.assertEqual((self.runs(), self.runs("fails")), ([name], []))
        self.assertTrue((self.root / "index" / f"{name}.yaml").exists())
        self.assertTrue((self.root / "runs" / name / "checkpoint").exists())
        self.assertEqual([words.split()[0] for words in (before, claim.read_text())], [exman._HOST] * 2)
        self.assertNotEqual(before, claim.read_text())  # it runs while the process of the second start is there

    @unittest.skipUnless(os.path.isdir("/dev/shm"), "needs another disk")
    def test_requeued_job_that_had_failed_over_to_another_disk_goes_on_there_and_says_so(self):
        disk = tempfile.mkdtemp(dir="/dev/shm")
        self.addCleanup(shutil.rmtree, disk)
        self.root.mkdir()
        (self.root / "fails").symlink_to(disk)
        self.share([self.start(self.STEP, "--fail", "0")])
        self.share([self.start(dict(self.STEP, SLURM_RESTART_COUNT="1"))])
        [folder] = re.findall("exman: run 1 goes on: (.*)\n", self.said)
        self.assertTrue(os.path.isfile(f"{folder}/params.yaml"), folder)

    def test_requeued_job_whose_run_was_deleted_makes_a_new_one(self):
        job = {"SLURM_JOB_ID": "7"}
        [[name]] = self.share([self.start(job)])
        shutil.rmtree(str(self.root / "runs" / name))
        [[other]] = self.share([self.start(dict(job, SLURM_RESTART_COUNT="1"))])
        self.assertNotEqual(name, other)


class WorkersTest(LaunchCase):

    BODY = """
        import concurrent.futures, multiprocessing, os, sys
        import exman

        def parse(*argv):
            parser = exman.ExParser(root=os.path.join(os.path.dirname(os.path.abspath(__file__)), "exman"))
            parser.add_argument("--method", default="spawn")
            parser.add_argument("--fold", type=int, default=0)
            return parser.parse_args(*argv)

        def work(run):
            with (run or args.exman) as run:
                sys.stdout.write("")
            return (run.id, again.exman.id) if SHAPE == "top" else run.id

        def fold(number):
            return parse(["--fold", str(number % 2)]).exman.id

        SHAPE = os.environ.get("SHAPE", "top")
        if SHAPE == "top":
            args, again = parse(), parse()

        def main(args):
            context = multiprocessing.get_context(args.method)
            with context.Pool(1) as pool:
                ids = sorted(set(pool.map(work, [None if SHAPE == "top" else args.exman] * 4)))
            folds = []
            if SHAPE == "top":
                parse(["--fold", "1"])                  # of no worker's import
                with context.Pool(1) as pool:
                    folds += pool.map(fold, range(4))
                with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                    folds += pool.map(fold, [0, 0])
            os.write(1, f"{args.root.name} ids {ids} folds {folds}".encode())

        if __name__ == "__main__":
            if SHAPE != "top":
                manager = multiprocessing.Manager()     # starts the fork server before the parse, on 3.14
            if SHAPE == "guarded":
                args = parse()
            main(parse() if SHAPE == "main" else args)
        """

    def test_workers_that_import_the_script_again_join_its_runs_and_later_parses_are_runs_of_their_own(self):
        for method in multiprocessing.get_all_start_methods():
            with self.subTest(method), tempfile.TemporaryDirectory() as elsewhere:
                shutil.rmtree(str(self.root), ignore_errors=True)
                done = self.python(self.folder / "main.py", "--method", method, cwd=elsewhere)
                self.assertEqual(done.stdout.partition(" ids ")[2], "[(1, 2)] folds [4, 5, 6, 7, 8, 9]",
                                 done.stderr)
                self.assertEqual(len(self.runs()), 9)
                names = {path.name for path in (self.root / "runs" / self.runs()[0]).iterdir()}
                self.assertNotIn("log.txt", names)
                self.assertTrue(any("PoolWorker" in name for name in names), names)

    def test_script_that_parses_under_its_guard_or_in_main_is_one_run_also_with_a_manager_above(self):
        methods = multiprocessing.get_all_start_methods() if os.environ.get("EXMAN_FULL") else ["spawn"]
        cases = [(shape, method) for shape in ("guarded", "main") for method in methods]
        started = [self.start({"SHAPE": shape}, "--method", method) for shape, method in cases]
        for (shape, method), process in zip(cases, started):
            with self.subTest(f"{shape}, {method}"):
                out, err = process.communicate(timeout=60)
                self.assertIn(f"ids [{int(out[:6])}]", out, err)
        self.assertEqual(len(self.runs()), len(cases))

    def test_workers_join_however_the_script_was_named_and_whatever_it_defines(self):
        self.script("""
            import multiprocessing, os, exman
            class Net:
                pass
            parser = exman.ExParser(root=os.path.join(os.path.dirname(os.path.abspath(__file__)), "exman"))
            parser.add_argument("--model", default=Net)
            parser.add_argument("--models", default=[Net()])
            args = parser.parse_args()
            def work():
                os.write(1, args.root.name.encode())
            if __name__ == "__main__":
                worker = multiprocessing.get_context("spawn").Process(target=work)
                worker.start()
                worker.join()
            """)
        (self.folder / "sub").mkdir()
        for number, (folder, name) in enumerate([(".", "main.py"), (".", "./main.py"), ("sub", "../main.py")]):
            with self.subTest(name):
                done = self.python(name, cwd=str(self.folder / folder))
                self.assertEqual(self.runs()[number:], [done.stdout], done.stderr)
                params = exman.load_yaml((self.root / "runs" / done.stdout / "params.yaml").read_text())
                self.assertEqual((params["model"], params["models"]),
                                 ("<class '__main__.Net'>", ["<__main__.Net object>"]))

    def test_workers_of_a_module_and_of_ranks_join_the_run_of_their_process(self):
        self.script("""
            import multiprocessing, os, exman
            if "NOPROC" in os.environ:
                exman._proc = lambda pid, name: ""
            args = exman.ExParser(root="exman").parse_args()
            def work(_):
                return [args.root.name, exman.ExParser(root="exman").parse_args().root.name]
            if __name__ == "__main__":
                with multiprocessing.get_context("spawn").Pool(1) as pool:
                    [names] = pool.map(work, [0])
                os.write(1, " ".join([args.root.name, *names]).encode())
            """)
        started = [self.start({}, "main", script="-m"), *self.torchrun(NOPROC="1")]
        ended = self.end(started)
        self.assertTrue(all(main == joined != later for main, joined, later in ended), ended)
        self.assertEqual(ended[1][0], ended[2][0])
        self.assertEqual((len(self.runs()), self.said.count("exman:")), (5, 5), self.said)

    def test_the_same_script_or_another_by_subprocess_is_a_second_run(self):
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
                envs = [dict(os.environ, LOCAL_RANK=str(rank)) for rank in (1, 2)]
                children = [subprocess.Popen([sys.executable, *sys.argv], env=env) for env in envs]
                assert [child.wait() for child in children] == [0, 0]
            with args.exman:
                print(args.root.name)
            """)
        done = self.python("main.py", "--seed", "3")
        self.assertEqual(done.stderr.count("exman:"), 1, done.stderr)
        [name] = self.runs()
        self.assertEqual(done.stdout.replace("\n", ""), name * 3)       # they may write between each other's words
        files = {path.name for path in (self.root / "runs" / name).iterdir()}
        self.assertEqual(files - {"end.yaml"}, {"log.txt", "log.1.txt", "log.2.txt", "params.yaml"})

    def test_what_a_process_leaves_for_its_workers_is_bounded(self):
        self.script("""
            import os, exman
            for seed in range(40):
                parser = exman.ExParser(root="exman")
                parser.add_argument("--seed", default="x" * 9999)
                parser.parse_args(["--seed", str(seed)])
            print(len(os.environ["EXMAN_RUNS"]))
            """)
        self.assertLess(int(self.python("main.py").stdout), 3500)


# ---------------------------------------------------------------------------------------------------------------------
# YAML out, YAML in
# ---------------------------------------------------------------------------------------------------------------------


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
    "", " ", "a ", " a", "a b", "a  b", "yes", "No", "ON", "off", "y", "N", "true", "FALSE", "null", "Null", "~", "1", "-1", "+1", "012",
    "0o7", "0x1f", "0b1", "1_000", "1:30", "1:30.5", "190:20:30", "1e5", "1e-05", "1.5", ".5", "5.", "1.e+3", ".inf", "-.INF", ".nan",
    "inf", "nan", "2026-11-23", "2026-11-23T13:27:00", "2026-11-23 13:27:00", "=", "<<", "-", "- a", "--", "---", "...", "?", "? a", "?a",
    ":", ": a", ":a", "a:", "a: b", "a:b", "#", "# a", "a #b", "a#b", "[", "[]", "{}", "]", "{a: 1}", "a, b", "a]b", ",", "&a", "*a", "!a",
    "!!int 1", "|", ">", "'", '"', "it's", 'a"b', "''", "%a", "@a", "`a`", "\\", "\\n", "C:\\data", "a\nb", "\n", "a\r\nb", "\t", "a\tb",
    "\0", "\x07", "\x1b[0m", "\x7f", "\x85", "\x9f", "\xa0", "\xad", "\u200b", "\u2028", "\u2029", "\ufeff", "a\ufeff", "\ufffe", "\uffff",
    "Zoë", "数据", "é", "\u0301", "\U0001f600", "𝔸", "\U0010ffff", "/data/x", "a/b.c", "~/x", "./x", "x=1", "a%b", "key", "x" * 3000,
    *(form for word in ("y", "on", "off", "true", "none", "nan", "inf", "e1", "x", "o") for form in (word.upper(), word.title(), word.swapcase())))
NUMBERS = (0, -1, 10**20, 10**4299, 0.0, -0.0, 5e-324, 1.7976931348623157e308, 0.1 + 0.2, 1e22, 1e-5, 1.5e-7, -1e300, float("inf"), float("-inf"),
           float("nan"), True, False, None)


class DumpYaml(unittest.TestCase):

    def test_one_parameter_a_line_to_the_character(self):
        for value, text in (
                ({}, "{}\n"),
                ({"lr": 0.1, "name": "adam", "sizes": [1, [2.5, None]], "opt": {"a": True, "b": {}}, "e": []},
                 "lr: 0.1\nname: adam\nsizes: [1, [2.5, null]]\nopt: {a: true, b: {}}\ne: []\n"),
                ({"a b": 1, "no": 2, "": 3, None: 4, True: 5, 2: 6, 0.5: 7, "2": {"x: y": 8, 3: 9}},
                 "a b: 1\n'no': 2\n'': 3\nnull: 4\ntrue: 5\n2: 6\n0.5: 7\n'2': {'x: y': 8, 3: 9}\n")):
            with self.subTest(text=text):
                self.assertEqual(exman.dump_yaml(value), text)

    def test_scalars_have_the_plainest_text_that_every_reader_takes_for_them(self):
        for value, text in (
                (None, "null"), (True, "true"), (False, "false"), (0, "0"), (-12, "-12"), (10**30, "1" + "0" * 30),
                (0.1, "0.1"), (-0.0, "-0.0"), (1.0, "1.0"), (1e-05, "1.0e-05"), (1.5e-07, "1.5e-07"), (1e16, "1.0e+16"), (-1e300, "-1.0e+300"),
                (float("inf"), ".inf"), (float("-inf"), "-.inf"), (float("nan"), ".nan"),
                ("adam", "adam"), ("two words", "two words"), ("/data/x-1.txt", "/data/x-1.txt"), ("Zoë", "Zoë"), ("数据", "数据"),
                ("", "''"), ("no", "'no'"), ("Y", "'Y'"), ("NULL", "'NULL'"), ("~", "'~'"), ("1e5", "'1e5'"), ("012", "'012'"), ("1:30", "'1:30'"),
                ("0o7", "'0o7'"), ("=", "'='"), ("<<", "'<<'"), ("2026-11-23", "'2026-11-23'"), ("a: b", "'a: b'"), ("a #b", "'a #b'"),
                ("it's", "'it''s'"), (" a", "' a'"), ("a ", "'a '"), ("a  b", "'a  b'"), ("a, b", "'a, b'"), ("[x]", "'[x]'"),
                ("a\nb", r'"a\nb"'), ("\t\"\\\r", r'"\t\"\\\r"'), ("\0", r'"\x00"'), ("\x85", r'"\x85"'), ("\u2028\u2029", r'"\u2028\u2029"'),
                ("\ufeff", r'"\ufeff"'), ("\uffff", r'"\uffff"'), ("a😀", r'"a\U0001f600"'), ("𝔸", r'"\U0001d538"')):
            with self.subTest(value=value):
                self.assertEqual(exman.dump_yaml({"k": value}), f"k: {text}\n")

    def test_what_is_no_plain_value_is_refused_and_the_parameter_named(self):
        class Text(str):
            pass

        class Number(float):
            pass

        class Count(int):
            pass

        loop = []
        loop.append(loop)
        for name, value, reason in (
                ("tuple", (1, 2), "tuple"), ("set", {1}, "set"), ("bytes", b"a", "bytes"), ("path", pathlib.Path("a"), "Path"),
                ("str subclass", Text("a"), "Text"), ("float subclass", Number(1), "Number"), ("int subclass", Count(1), "Count"),
                ("in a list", [1, (2,)], "tuple"), ("in a dict", {"a": [Text("b")]}, "Text"), ("tuple as key", {(1, 2): 1}, "tuple"),
                ("nan as key", {float("nan"): 1}, "the key"), ("str subclass as key", {Text("a"): 1}, "Text"),
                ("long key", {"k" * 1025: 1}, "longer than 1024"), ("long quoted key", {"k" * 1022 + " ": 1}, "longer than 1024"),
                ("surrogate", "a\udc80", "surrogate"), ("surrogate in a key", {"\ud800": 1}, "surrogate"), ("list in itself", loop, "more than 64"),
                ("long integer", 10**4300, "4300 digits"), ("long negative", -(10**4300), "4300 digits")):
            with self.subTest(name), self.assertRaises(exman.YAMLError) as caught:
                exman.dump_yaml({"first": 1, "culprit": value})
            self.assertRegex(str(caught.exception), f"^parameter 'culprit': .*{reason}.*")
            self.assertLess(len(str(caught.exception)), 250)
            self.assertIsNone(caught.exception.line)
        if hasattr(sys, "set_int_max_str_digits"):
            self.addCleanup(sys.set_int_max_str_digits, sys.get_int_max_str_digits())
            for limit in (0, 640):
                sys.set_int_max_str_digits(limit)
                with self.assertRaisesRegex(exman.YAMLError, "parameter 'culprit': .*digits"):
                    exman.dump_yaml({"culprit": 10**4300})
                with self.assertRaisesRegex(exman.YAMLError, "line 2: .*digits"):
                    exman.load_yaml("a: 1\nb: [" + "1" * 4301 + "]\n")
            with self.assertRaisesRegex(exman.YAMLError, "line 2: .*digits"):
                exman.load_yaml("a: 1\nb: " + "9" * 777 + "\n")
        for name, value in (("tuple", (1, 2)), ("list", [1]), ("none", None), ("tuple as key", {(1,): 1}), ("nan as key", {float("nan"): 1}),
                            ("long key", {"k" * 100_000: 1})):
            with self.subTest(name), self.assertRaises(exman.YAMLError) as caught:
                exman.dump_yaml(value)
            self.assertLess(len(str(caught.exception)), 250)

    def test_every_value_stays_on_its_line_and_comes_back_exactly(self):
        self.assertEqual(len(exman.dump_yaml({"k" * 1024: 1, "k" * 1021 + " ": 1}).splitlines()), 2)
        for value in (*ODD_STRINGS, *NUMBERS):
            with self.subTest(value=str(value)[:20]):
                key = value if value == value and len(str(value)) < 1000 else "key"
                params = {key: value, "list": [value, value], "dict": {key: value}}
                text = exman.dump_yaml(params)
                self.assertEqual(len(text.splitlines()), 3)
                self.assertEqual(exact(exman.load_yaml(text)), exact(params))

    @unittest.skipUnless(pyyaml and ruamel, "PyYAML and ruamel.yaml read YAML 1.1 and YAML 1.2")
    def test_readers_of_yaml_1_1_and_of_yaml_1_2_take_it_for_the_same(self):
        values = [value for value in (*ODD_STRINGS, *NUMBERS) if value == value and len(str(value)) < 1000]
        params = {"list": values, **{f"key {at}": value for at, value in enumerate(values)}, "dict": {str(value)[:900]: value for value in values}}
        for read in (yaml_1_1, yaml_1_2):
            with self.subTest(read=read.__name__):
                self.assertEqual(exact(read(exman.dump_yaml(params))), exact(params))


class LoadYaml(unittest.TestCase):

    def check(self, *rows):
        """Rows of text, value."""
        for text, value in rows:
            with self.subTest(text=text[:60]):
                self.assertEqual(exact(exman.load_yaml(text)), exact(value))

    def test_plain_scalars_by_the_core_schema_of_yaml_1_2(self):
        inf, nan = float("inf"), float("nan")
        for text, value in (
                ("", None), ("~", None), ("null", None), ("Null", None), ("NULL", None), ("true", True), ("True", True), ("TRUE", True), ("false", False),
                ("0", 0), ("-0", 0), ("+12", 12), ("-12", -12), ("012", 12), ("0o14", 12), ("0x1F", 31), ("9" * 4300, 10**4300 - 1),
                ("1.5", 1.5), ("1.", 1.0), (".5", 0.5), ("-.5e-3", -0.0005), ("1e3", 1000.0), ("1E+3", 1000.0), ("+1.0e-05", 1e-05),
                (".inf", inf), ("-.Inf", -inf), ("+.INF", inf), (".nan", nan), (".NaN", nan), (".NAN", nan),
                *((text, text) for text in "nULL tRUE yes no on -0x1F 0o8 0b1 1_000 1:30 １ 1\xa0 . + e3 .e3 1e 1e+ 1.5.2 1_0.5 -.nan inf nan infinity .iNF "
                                           "2026-11-23 = <<".split(" "))):
            self.check((f"a: {text}\n", {"a": value}), (f"a: {text} # b", {"a": value}), (f"a: {{b: {text}}}\n", {"a": {"b": value}}))

    def test_scalars(self):
        self.check(
            ("a: b:c#d, [e] {f} 'g' \"h\" &i *j !k\n", {"a": "b:c#d, [e] {f} 'g' \"h\" &i *j !k"}),
            ("a: -x\nb: ?x\nc: :x\n-d: 1\n?e: 2\n:f: 3\n", {"a": "-x", "b": "?x", "c": ":x", "-d": 1, "?e": 2, ":f": 3}),
            ("a: b #c\nd: e# f\ng: #h\n#i\n  # j\nk: 1\t# l\n", {"a": "b", "d": "e# f", "g": None, "k": 1}),
            ("a:\t \tb \t\nc :  d\n", {"a": "b", "c": "d"}),
            ("a: \xa0b\xa0\nc: \u3000 # d\n", {"a": "\xa0b\xa0", "c": "\u3000"}),                         # blanks to Python, not to YAML
            ("a: b\n  c\n\n\n   d - e\nf: g\nh:\n  i\n \tj\n", {"a": "b c\n\nd - e", "f": "g", "h": "i j"}),
            ("a: 'b: c # d ''e'' \\n \"'\nf: ''\ng: ''''\n", {"a": "b: c # d 'e' \\n \"", "f": "", "g": "'"}),
            (r'a: "b: c # d \"e\" \\ '"'"'"', {"a": "b: c # d \"e\" \\ '"}),
            (r'a: "\0\a\b\t\n\v\f\r\e\ \/\N\_\L\P\x41\u00e9\U0001F600"', {"a": "\0\a\b\t\n\v\f\r\x1b /\x85\xa0\u2028\u2029A\xe9\U0001f600"}),
            ("a: '\tb\t'\nc: \"\td\\\te\"\n", {"a": "\tb\t", "c": "\td\te"}),
            ("a: 'b  \n   c\n\n  d '\ne: \"b  \n \tc\n  \n\n  d\n \"\n", {"a": "b c\nd ", "e": "b c\n\nd "}),
            ('a: "b\\\n   c \\\n   d"\ne: "b\\\n\n   c"\nf: "x y\\\n  \\ z\\n\\\n  w"\n', {"a": "bc d", "e": "b\nc", "f": "x y z\nw"}),
            ('a: " \n  b"\nc: "d\\t\n  e\\ \n  f"\n', {"a": " b", "c": "d\t e  f"}),                  # blanks before a break go, escaped ones stay
            ("a:\n  'b'\nc:\n  \"1\n  e\"\n", {"a": "b", "c": "1 e"}))

    def test_blocks(self):
        self.check(
            ("a:\n  - 1\n  - b\n    c\nd: 2\n", {"a": [1, "b c"], "d": 2}), ("a:\n- 1\n-\n- b\nc: 2\n", {"a": [1, None, "b"], "c": 2}),
            ("a:\n- - 1\n  - 2\n- - - 3\n-\n  - 4\n", {"a": [[1, 2], [[3]], [4]]}),
            ("a:\n- b: 1\n  c: 2\n- d:\n  - 3\n  e: 4\n", {"a": [{"b": 1, "c": 2}, {"d": [3], "e": 4}]}),
            ("a:\n  b:\n    c: 1\n  d:\ne: 2\n", {"a": {"b": {"c": 1}, "d": None}, "e": 2}), ("  a: 1\n  b: 2\n", {"a": 1, "b": 2}),
            ("a:\n# b\n  - 1\n    # c\n\n\t\n  - 2\n#d", {"a": [1, 2]}))

    def test_brackets(self):
        self.check(
            ("a: []\nb: {}\nc: [ ]\nd: { }\n", {"a": [], "b": {}, "c": [], "d": {}}), ("a: [1, 2,]\nb: {c: d,}\n", {"a": [1, 2], "b": {"c": "d"}}),
            ("a: [1, b c, 'd, e', \"f]\", null, [2,3], {x: y}]\n", {"a": [1, "b c", "d, e", "f]", None, [2, 3], {"x": "y"}]}),
            ("a: {b: 1, 'c': 2, \"d\":3, e: {f: [g]}, h: , i : j}\n", {"a": {"b": 1, "c": 2, "d": 3, "e": {"f": ["g"]}, "h": None, "i": "j"}}),
            ('{"a":1,"b":[true,null,"c"],"d":{"e":"f"}}', {"a": 1, "b": [True, None, "c"], "d": {"e": "f"}}), ("{a: 1,\nb: 2\n}\n", {"a": 1, "b": 2}),
            ("a: [1,\n  b\n  c, # d\n\n  {e: f,\n g: 'h\n i'}\n ]\nj: 1\n", {"a": [1, "b c", {"e": "f", "g": "h i"}], "j": 1}),
            ("a: [b:c, http://d/e]\n", {"a": ["b:c", "http://d/e"]}), ("a:\n  [1]\nb:\n- [2]\n", {"a": [1], "b": [[2]]}))

    def test_keys(self):
        self.check(
            ("2: a\n1.5: b\ntrue: c\nnull: d\nno: e\n'2': f\n0x10: g\n", {2: "a", 1.5: "b", True: "c", None: "d", "no": "e", "2": "f", 16: "g"}),
            ("a b-c.d: 1\n'e: f': 2\n\"g\\n\" : 3\nh[0]: 4\n", {"a b-c.d": 1, "e: f": 2, "g\n": 3, "h[0]": 4}), ("k" * 1024 + ": 1\n", {"k" * 1024: 1}))

    def test_documents_and_line_ends(self):
        self.check(
            ("# a\n\n---  # b\nc: 1\n... # d\n# e\n", {"c": 1}), ("a: 1\nb: 2", {"a": 1, "b": 2}), ("\ufeffa: 1\n", {"a": 1}),
            ("a: 1\r\nb: 'c\r\n  d'\re: f\r  g\r", {"a": 1, "b": "c d", "e": "f g"}),
            ("a: b\n  ---\n  ...\n---c: 1\n...d: 2\n", {"a": "b --- ...", "---c": 1, "...d": 2}))

    def test_aliases_share_and_do_not_copy(self):
        value = exman.load_yaml("a: &x [1, &y 2]\nb: *x\nc: &z\n- 3\nd: *z\ne: {f: *y, g: *z}\nh: &x q\ni: *x\nj: &e\nk: *e\n"
                                "l: &m\n  n: 1\no: *m\np:\n- &q r\n- *q\n")
        self.assertEqual(value, {"a": [1, 2], "b": [1, 2], "c": [3], "d": [3], "e": {"f": 2, "g": [3]}, "h": "q", "i": "q", "j": None, "k": None,
                                 "l": {"n": 1}, "o": {"n": 1}, "p": ["r", "r"]})
        for one, other in ((value["a"], value["b"]), (value["c"], value["d"]), (value["c"], value["e"]["g"]), (value["l"], value["o"])):
            self.assertIs(one, other)
        self.assertEqual(exman.load_yaml("a: &x [&x 1, 2]\nb: *x\n"), {"a": [1, 2], "b": 1})      # the last one that stands above

    def test_64_lists_within_each_other(self):
        value = 1
        for _ in range(64):
            value = [value]
        self.assertEqual(exman.load_yaml(exman.dump_yaml({"a": value})), {"a": value})
        for deeper in ([value], {"b": value}):
            with self.assertRaisesRegex(exman.YAMLError, "parameter 'a': more than 64"):
                exman.dump_yaml({"a": deeper})

    def test_each_load_has_lists_and_dicts_of_its_own(self):
        for text in ("a: [1, 2]\nb: []\n", "a: {b: 1}\n"):
            exman.load_yaml(text)["a"].clear()
            self.assertTrue(exman.load_yaml(text)["a"])


class LoadYamlRefuses(unittest.TestCase):

    def check(self, reason, *rows):
        """A part of the reason that each of the rows is refused for; rows of text, line."""
        for text, line in rows:
            with self.subTest(text=text[:60]):
                with self.assertRaises(exman.YAMLError) as caught:
                    exman.load_yaml(text)
                self.assertEqual((caught.exception.line, str(caught.exception).partition(": ")[0]), (line, f"line {line}"))
                self.assertIn(reason, str(caught.exception))
                self.assertLess(len(str(caught.exception)), 200)

    def test_parts_of_yaml_that_are_left_out(self):
        self.check("a tag", ("a: 1\nb: !!int 2\n", 2), ("a: !!python/object/apply:os.system [ls]\n", 1), ("a:\n- !x 1\n", 2), ("a: [!x 1]\n", 1))
        self.check("a literal block", ("a: 1\nb: |\n  c\n", 2))
        self.check("a folded block", ("a: >-\n  c\n", 1))
        self.check("a '? ' key", ("? a\n: b\n", 1), ("a: [?b]\n", 1))
        self.check("the key '<<'", ("a: &x {b: 1}\nc:\n  <<: *x\n", 3), ("a: {<<: b}\n", 1))
        self.check("the key '.nan'", (".nan: 1\n", 1))
        self.check("a directive is not read", ("%YAML 1.2\n---\na: 1\n", 1), ("%YAML 1.2\na: 1\n", 1), ("a: %b\n", 1))
        self.check("a second document", ("a: 1\n---\nb: 2\n", 2), ("a: 1\n...\nb: 2\n", 2), ("a: 1\n...\n...\n", 2), ("---\n---\na: 1\n", 2),
                   ("a: 1\n... b\n", 2), ("a: 'b\n---\n c'\n", 2))
        self.check("no value starts like this", ("a: @b\n", 1), ("a: `b`\n", 1), ("a: [1,,2]\n", 1), ("a: [,]\n", 1))

    def test_tops_that_are_no_mapping(self):
        self.check("no mapping", ("", 1), ("\n \n\t\n", 1), ("# a\n", 1), ("---\n", 2), ("...\n", 1), ("- a\n", 1), ("[a]\n", 1), ("\ufeff", 1))
        self.check("no 'key: value' on one line with a blank behind the ':'", ("a\n", 1), ("'a'\n", 1))

    def test_keys(self):
        self.check("twice", ("a: 1\nb: 2\na: 3\n", 3), ("a: 1\n'a': 2\n", 2), ("1: a\ntrue: b\n", 2), ("1: a\n1.0: b\n", 2), ("0x1: a\n1: b\n", 2),
                   ("null: a\n~: b\n", 2), ("a: {b: 1,\n c: 2, b: 3}\n", 2), ("a:\n- b: 1\n  b: 2\n", 3))
        self.check("longer than 1024", ("k" * 1025 + ": 1\n", 1), ("a: {" + "k" * 1025 + ": 1}\n", 1))
        self.check("a blank behind the ':': 'lr:0.1", ("lr:0.1\n", 1), ("lr:0.1\nwd: 2\n", 1), ("a: 1\nlr:0.1\n", 2), ("a: {lr:0.1}\n", 1))
        self.check("no 'key: value'", ("a: 1\nb\n", 2), ("'a':1\n", 1), ("a:\n- 1\nb\n", 3), ("a: {b}\n", 1), ("a: {'b', c: 1}\n", 1), ("a: {b:[1]}\n", 1),
                   ("a: {b:}\n", 1), ("a: {[b]: 1}\n", 1), ("a: {b\n c: 1}\n", 1))
        self.check("a ':' without a key, or a key within a value", (": a\n", 1), ("a: b: c\n", 1), ("a: b:\tc\n", 1), ("a: b\n  c: d\n", 2), ("a: 1\n  b: 2\n", 2),
                   ("a:\n- b\n  - c: 1\n", 3), ("a:\n  'b\n  c': 1\n", 3), ("[a]: 1\n", 1),
                   ("a:\n- &x b: 1\n", 2), ("a: [b: 1]\n", 1), ("a: [:b]\n", 1), ("--- a: 1\n", 1))

    def test_indentation(self):
        self.check("not indented as those above", ("a: 'b'\n  c: 2\n", 2), ("a:\n    b: 1\n  c: 2\n", 3), ("  a: 1\nb: 2\n", 2), ("a: b # c\n  d\n", 2))
        self.check("a list has lines of its own", ("a: - b\n", 1), ("a: -\n", 1), ("  ---\na: 1\n", 1), ("a: 1\n- b\n", 2), ("a: [-]\n", 1), ("a: [- b]\n", 1), ("a: &x - 1\n", 1))
        self.check("a tab in the indentation", ("\ta: 1\n", 1), ("a:\n\tb: 1\n", 2), ("a:\n\t- 1\n", 2), ("a: b\n\tc\n", 2), ("a:\n- b\n\t- c\n", 3))
        self.check("", ("a:\n-\t- 1\n", 2), ("a:\n-\tb: 1\n", 2), ("a: [\n\tb]\n", 1), ("a: 'b\n\tc'\n", 1))

    def test_quotes_and_brackets(self):
        self.check("is not closed, or", ("a: 1\nb: 'c\n", 2), ('a: "c\n', 1), ("a: 'b\nc'\n", 1), ("a:\n  b: \"c\n  d\"\n", 2),
                   ("a: 1\nb: [1,\n  2\n", 2), ("a: {b: 1\n", 1), ("a: [\n  1\n]\n", 1), ("a: [1,\n2]\n", 1))
        self.check("is no character", ('a: "\\u12', 1), ('a: "\\q"\n', 1), ('a: 1\nb: "c\n  \\q"\n', 3), ('a: "\\x4"\n', 1), ('a: "\\u00_1"\n', 1), ('a: "\\x１１"\n', 1),
                   ('a: "\\ud800"\n', 1), ('a: "\\ud83d\\ude00"\n', 1), ('a: "\\U0000dfff"\n', 1), ('a: "\\U00110000"\n', 1))
        self.check("behind a value: ", ("a: 'b' c\n", 1), ("a: [b] c\n", 1), ("a: [1}\n", 1), ("a: ['b' 'c']\n", 1))
        self.check("a blank before its '#'", ("a: 'b'#c\n", 1), ("a: [1,#b\n 2]\n", 1))

    def test_raw_control_characters_and_what_is_no_character(self):
        for char in "\0\x01\x08\x0b\x0c\x1c\x1f\x7f\x80\x85\x9f\u2028\u2029\ud800\udfff\ufeff\ufffe\uffff":
            self.check(f"the character {ascii(char)}", (f"a: 1\nb: c{char}\n", 2), (f"a: '{char}'\n", 1), (f"a: 1 # {char}\n", 1), (f"# {char}\na: 1\n", 1),
                       (f"a: 1\nb{char}: 1\n", 2))

    def test_anchors_and_aliases(self):
        self.check("an alias", ("a: *x\n", 1), ("a: *x\nb: &x 1\n", 1), ("a: &x b\n*x : 1\n", 2), ("a: &x b\nc: {*x : 1}\n", 2), ("a: &x 1\nb: &y *x\n", 2),
                   ("a: [&x 1, &y *x]\n", 1), ("a: &x [1, *x]\n", 1), ("a: &x 1\nb: &x [*x]\n", 2), ("a: &x 1\nb: &y\n  c: *x\n", 3))
        self.check("an anchor", ("&x a: 1\n", 1), ("a:\n  &x b: 1\n", 2), ("a:\n  &x 1\n", 2), ("a: &x &y 1\n", 1), ("a: & 1\n", 1), ("a: [&x]\n", 1))
        self.check("", ("a: [&x , 1]\n", 1))

    def test_what_multiplies(self):
        self.check("not within the value of an anchor", ("a0: &a0 [lol]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40)), 2))
        self.check("4300 digits", *((f"a: 1\nb: {text}\n", 2) for text in ("1" * 4301, "-" + "1" * 4301, "0x" + "f" * 4000, "0o" + "7" * 5000,
                                                                       "[" + "1" * 4301 + "]", "[" + "1" * 4301 + ", 1]", "[1, {2: " + "1" * 4301 + "}]")))
        exman.dump_yaml(exman.load_yaml("a: " + "9" * 4300 + "\nb: 0x" + "f" * 3500 + "\n"))
        self.check("more than 64", ("a: " + "[" * 66 + "]" * 66 + "\n", 1), ("a: " + "[" * 1_000_000, 1), ("a: " + "{b: " * 65 + "}" * 65 + "\n", 1),
                   ("a:\n" + "- " * 65 + "1\n", 2), ("a:\n" + "- " * 500_000 + "1\n", 2), ("".join(" " * depth + f"k{depth}:\n" for depth in range(80)), 66))

    def test_the_error_pickles(self):
        with self.assertRaises(exman.YAMLError) as caught:
            exman.load_yaml("a: 1\nb: !x\n")
        self.assertEqual((str(pickle.loads(pickle.dumps(caught.exception))), pickle.loads(pickle.dumps(caught.exception)).line),
                         (str(caught.exception), 2))


def agreement(text):
    """What load_yaml makes of a text, and what its reader of whole texts makes of it: the value, or the words of the error."""
    ends = []
    for read in (exman.load_yaml, lambda text: exman._parse_yaml(text)[0]):
        try:
            ends.append(exact(read(text)))
        except exman.YAMLError as error:
            ends.append(str(error))
    return ends


class LoadYamlDoors(unittest.TestCase):
    """What the rooms that read configs and runs get: scalars as their text, lines of keys, records of exman 0.1.x."""

    def test_plain_scalars_are_given_as_they_stand_with_the_lines_of_the_outermost_keys(self):
        text = ("# c\nlr: 1e-3\nno: no\n1: '1'\nsizes: [1, \"2\", {3: 4}]\nempty:\nlist:\n- 05\n-\nfolded: a\n  b\n"
                "x: &a 1_0\ny: *a\n")
        params, doc = exman._parse_yaml(text, lambda scalar: ("text", scalar))
        self.assertEqual(params, {
            "lr": ("text", "1e-3"), "no": ("text", "no"), 1: "1", "sizes": [("text", "1"), "2", {3: ("text", "4")}], "empty": ("text", ""),
            "list": [("text", "05"), ("text", "")], "folded": ("text", "a b"), "x": ("text", "1_0"), "y": ("text", "1_0")})
        self.assertEqual({key: doc.line(place) for key, place in doc.keys.items()}, {"lr": 2, "no": 3, 1: 4, "sizes": 5, "empty": 6, "list": 7, "folded": 10, "x": 12, "y": 13})
        for text, lines in (("a:\n  b: 1\n  c: 2\nd: 3\n", {"a": 1, "d": 4}), ("\r\n---\r\n# x\r\na: 1\r\n", {"a": 4}),
                            ("{a: 1,\n b: {c: 1}, d: 2}\n", {"a": 1, "b": 2, "d": 2}), ("'a': 'b\n\n  c'\n\"d\": 1\n", {"a": 1, "d": 4})):
            with self.subTest(text=text):
                _, doc = exman._parse_yaml(text)
                self.assertEqual({key: doc.line(place) for key, place in doc.keys.items()}, lines)

    def test_an_error_of_what_makes_the_values_names_its_line(self):
        def refuse(text):
            raise exman.YAMLError("no such value")
        for text, line in (("'a': 'b'\nc: d\n", 2), ("'a': ['b',\n  c]\n", 2)):
            with self.assertRaisesRegex(exman.YAMLError, f"^line {line}: no such value$"):
                exman._parse_yaml(text, refuse)

    def test_only_in_the_files_of_exman_0_1_is_a_number_of_yaml_1_2_text(self):
        values = "zip: 01923\nk:\n- 1e5\n- -.5\n- 08\n- 0o17\n- 1.5e3\nd:\n  08: 1\n  1e5: 2\n  7: 1.0e-05\n"
        old = {"zip": "01923", "k": ["1e5", "-.5", "08", "0o17", "1.5e3"], "d": {"08": 1, "1e5": 2, 7: 1e-05}}
        new = exman.load_yaml(values)
        self.assertEqual(new["zip"], 1923)
        root, end = "root: runs/000002-2019-01-02-03-04-05\n", "time: '2019-01-02T03:04:05'\nid: 2\n"
        for name, text, expected in (
                ("0.1.9", f"{root}tmp: false\n{values}{end}", old),
                ("0.1.9 with CRLF", f"{root}tmp: false\n{values}{end}".replace("\n", "\r\n"), old),
                ("0.1.0", f"{values}root: 'runs/000002-2019-01-02-03-04-05'\n{end}", old),
                ("exman of today", f"{values}{root}{end}", new),
                ("exman of today, an odd name", f"{values}root: 'runs/000002-2019-01-02-03-04-05-a,b'\n{end}", new),
                ("more behind the end", f"{root}tmp: false\n{values}{end}x: 1\n", new),
                ("a time of another form", f"{root}tmp: false\n{values}time: 2019-01-02\nid: 2\n", new),
                ("by hand", values, new)):
            with self.subTest(name):
                record = exman.load_yaml(text)
                self.assertEqual(exact({key: record[key] for key in old}), exact(expected))
                self.assertEqual(bool(exman._pattern(exman._OLD_END).search(text)), expected is old)

    def test_what_exman_0_1_wrote_is_read(self):
        self.assertEqual(exman.load_yaml(
            "batch: &id001\n- 1\n- 2\nlong: aaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccc\n  dddddd\n"
            "lines: 'first\n\n  second'\nmixed: \"\\xE9t\\xE9 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\\\n  \\ cc\\tdd\"\n"
            "nested:\n- - 1\n  - 2\n- []\nnone: null\nopt:\n  a: 1\nother: *id001\ntmp: false\ntime: '2020-01-01T10:11:12'\nid: 3\n"),
            {"batch": [1, 2], "long": "aaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbb cccccccccccccccccccccccc dddddd", "lines": "first\nsecond",
             "mixed": "été aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbb cc\tdd", "nested": [[1, 2], []], "none": None,
             "opt": {"a": 1}, "other": [1, 2], "tmp": False, "time": "2020-01-01T10:11:12", "id": 3})

    def test_line_by_line_is_the_same_as_the_whole_text(self):
        values = ("1 -1 01 -0 1.5 1. .5 1e5 1.0e-05 1.0e5 1.0e-5000 9999999999999999999 --1 - -a a a:b a: a#b null NULL ~ ~a true tRUE / .inf -.inf .nan "
                  "-.nan +.inf '' 'a' 'a''b' ''' \"a\" [] [1] [1,2] [-] [--1] {} *a |  %a é 'é' = << 0x1f 0o7 1_0 [é] ['a']").split(" ")
        values += ["- ", "a ", "a b", "a  b", "a: b", "a #b", "a\"b'c", "/x y", "'a' ", "'a: b # c'", "[ ]", "[1, 2.5, a]", "[1, 2", "[1, 2,]", "[a b]", "[1,  2]",
                   "[-1, -a]", "[., .5, +1]", "[null, true, .nan]", "[a b, c]", "&a 1", "!a", " 1", "\t1", "1\t", "'\t'", "a\tb", "1" * 4301, f"[{'1' * 4301}]",
                   "x" * 9999]
        for value in values:
            for key in ("k", "a-b", "_", "null", "True", "nullx", "1", "a b", "'k'", "<<"):
                for text in (f"{key}: {value}\n", f"# c: {{x}}\n{key}: {value}\n# d\nlast: x\n", f"{key}: {value}", f"k: 1\n{key}: {value}\n", f"a: 1\n#{key}: {value}\n"):
                    self.assertEqual(*agreement(text), text[:60])

    def test_hostile_texts_end(self):
        """Texts that would take a careless reader minutes, a deep stack or gigabytes: each a value or a YAMLError at once."""
        n = 200_000 if os.environ.get("EXMAN_FULL") else 40_000
        for text in ("a: b" + " " * n + "c\n", "a: b" + " " * n, "a:\n" + " " * n + "b: 1\n", "a: b" + " c" * n + ":\n", "a: " + '"' * n, "a: " + "'" * n,
                     'a: "' + '\\"' * n, '"' + '\\"' * n, "'" + "''" * n, "a: " + "[" * n, "a: [" + "b, " * n, "a: " * n, "- " * n, "a:" + "\n" * n + "b: 1\n",
                     "a: b" + "\n" * n + " c\n", "a: b\n" + "\t\n" * n, "a: 1\n" + "#\n" * n, "a: b" + " #" * n, "a: b" + ":" * n, "a: '" + "x\n " * n,
                     'a: "' + "\\\n " * n, "a: " + "1" * n, "a: 1." + "1" * n, "a: 1e" + "1" * n, "a: 1" + "\r" * n, "a: " + "&a [" * n, "a: " + "&" * n, "...\n" * n,
                     "a" * n, "'a'" + " " * n + "b", "a: [b" + "\n" * n + " c]", "a: [" + "b,\n " * 9999 + "]", "a: 'x" + (" " * 50 + "y") * 9999 + "'"):
            with self.subTest(text=text[:10]):
                agreement(text)


if hypothesis:
    SETTINGS = hypothesis.settings(max_examples=3000 if os.environ.get("EXMAN_FULL") else 60, deadline=None, derandomize=True, database=None,
                                   suppress_health_check=list(hypothesis.HealthCheck))
    TEXT = st.one_of(st.text(), st.sampled_from(ODD_STRINGS), st.text("yesno~:#-?[]{},&*!|>'\"%@`=<.0123456789eExXob_+ \t\n\\é\x85", max_size=8))
    KEY = st.one_of(TEXT.map(lambda text: text[:90]), st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False))
    VALUE = st.recursive(st.one_of(TEXT, st.none(), st.booleans(), st.integers(), st.floats()),
                         lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(KEY, inner, max_size=4)), max_leaves=8)
    # A text near to YAML: a valid one in which pieces are put in, taken out and replaced.
    VALID = st.sampled_from((
        "a: 1\nb: 2\n", "a:\n- 1\n- 2\nb: x\n", "a:\n  b: 1\n  c: [1, 2]\nd: {e: f, g: 'h'}\n", "a: 'x\n  y'\nb: \"p\\\n  q\\tz\"\n",
        "a: x y\n  z\n\n  w\nb: -1.5\n", "a: &A [1, 2]\nb: *A\nc: {x: *A, y: &B q}\nd: *B\n", "---\n# c\na: 1 # d\n...\n",
        "a:\n- - 1\n  - 2\n- b: 1\n  c: 2\n", "'a b': \"c\"\n\"d\": 'e''f'\n", "a: [x,\n  y, {z: 1,\n  w: 2}]\nb: true\n",
        "a:\n  b:\n  - c: d\n    e: null\n  - ~\nf: true\n", "{a: 1, 'b': [x, \"y\"], c: {d: e}}\n"))
    # What is left out of the mutations are ruamel.yaml's own errors, checked against YAML 1.2: a tab behind a value or before a
    # comment, `.5e3` (a float), `-0x1` and `1_0` (strings), '=' and '<<' as values (strings), dates (strings).
    PIECE = st.sampled_from((
        "\n", " ", "  ", "\n  ", "\n\n", "- ", "-", ": ", ":", "#", " #", "'", '"', "[", "]", "{", "}", ",", ", ", "&A ", "*A", "\\", "?", "? ", "!", "|", ">", "%", "@",
        "`", "~", "...", "---", "\n---\n", "\n...\n", "a", "x: ", "1", "0o7", " 0x1F", "1e3", "true", "null", "\r", "\r\n", "\u00e9", "\x85", "\u2028", "\\n",
        "\\x41", "\\ ", "''", "\ufeff"))


@unittest.skipUnless(hypothesis, "hypothesis makes the examples")
class YamlProperties(unittest.TestCase):
    """Promises over many made-up values and texts; EXMAN_FULL=1 makes more of them."""

    if hypothesis:
        @SETTINGS
        @hypothesis.given(st.dictionaries(KEY, VALUE, max_size=5))
        def test_what_is_dumped_is_loaded_by_every_reader(self, params):
            try:
                text = exman.dump_yaml(params)
            except exman.YAMLError:
                self.assertRegex(exact(params), r"\\ud[89a-f]")         # a lone surrogate
                return
            for read in (exman.load_yaml, *(yaml_1_1,) * bool(pyyaml), *(yaml_1_2,) * bool(ruamel)):
                self.assertEqual(exact(read(text)), exact(params))

        @SETTINGS
        @hypothesis.given(VALID, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 3), st.one_of(st.just(""), PIECE)), min_size=1, max_size=4))
        def test_a_text_near_to_yaml_is_read_as_yaml_1_2_reads_it_or_refused(self, text, changes):
            for pos, gone, piece in changes:
                text = text[:pos] + piece + text[pos + gone:]
            value, whole = agreement(text)
            self.assertEqual(value, whole)
            if ruamel and not value.startswith("line ") and not re.search(r"[-+]0[xo]|(?<![0-9])\.[0-9]+[eE]", text):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")                     # of an anchor that is named twice
                    self.assertEqual(value, exact(yaml_1_2(text)))

        @SETTINGS
        @hypothesis.given(st.one_of(st.text(), st.lists(st.one_of(PIECE, VALID), max_size=12).map("".join), st.lists(st.tuples(
            st.sampled_from(("a", "b", "null", "True", "x-y", "'q'", "1")), st.one_of(st.text(" abz'\"[],.:#-+~/0159eEn\t", max_size=8), st.from_regex(
                r"\A(-?[0-9]{1,3}(\.[0-9]{1,2}(e-?[0-9])?)?|\[[a-z0-9., -]{0,8}\]|'[ -~]{0,6}'|[a-z ]{0,8})\Z"))), max_size=4).map(
                    lambda rows: "".join(f"{key}: {value}\n" for key, value in rows))))
        def test_any_text_is_a_value_or_an_error_and_both_ways_agree(self, text):
            self.assertEqual(*agreement(text))

    else:
        def test_properties(self):
            """Skipped: it stands for all of them."""


# ---------------------------------------------------------------------------------------------------------------------
# The table
# ---------------------------------------------------------------------------------------------------------------------

SYMLINKS = hasattr(os, "symlink") and os.name == "posix"


class TableCase(Case):
    """A root written by hand: run_(3, lr="0.1") makes run 3 and its link in the index."""

    def name(self, number):
        return f"{number:06d}-2026-11-23-13-{number % 60:02d}-00"

    def own(self, number, name=None):
        """The last lines of a run's file."""
        return f"# exman: {{'argv': ['main.py']}}\nroot: runs/{name or self.name(number)}\ntime: '2026-11-23T13:{number % 60:02d}:00'\nid: {number}\n"

    def run_(self, number, text=None, name=None, part="runs", index=True, **params):
        """Write a run as exman does: values are YAML texts. text: the whole file instead."""
        name = name or self.name(number)
        if text is None:
            text = "".join(f"{key}: {value}\n" for key, value in params.items()) + self.own(number, name)
        folder = self.root / part / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "params.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
        if index:
            self.link(self.root / "index" / f"{name}.yaml", f"../{part}/{name}/params.yaml")
        return folder

    def link(self, path, target):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.path.lexists(str(path)):
            path.symlink_to(target)

    def clear(self):
        shutil.rmtree(str(self.root))

    def mark(self, mark, number):
        up = "../" * (mark.count("/") + 2)
        self.link(self.root / "marked" / mark / f"{self.name(number)}.yaml", f"{up}runs/{self.name(number)}/params.yaml")

    def rows(self, mark=None, **more):
        """The rows as dicts; what is said about other runs is kept in self.problems."""
        columns, self.problems = exman._table(str(self.root), mark, **more)
        return exman._dicts(columns)

    def cells(self, key, **more):
        return [row[key] for row in self.rows(**more)]

    def ids(self, mark=None, **more):
        return [row["id"] for row in self.rows(mark, **more)]

    def info(self, mark=None, with_pandas=True, **more):
        with contextlib.ExitStack() as stack:
            if not with_pandas:
                stack.enter_context(mock.patch.dict(sys.modules, pandas=None))
            return exman.Index(self.root).info(mark, **more)

    def one_problem(self, *parts):
        self.assertEqual(len(self.problems), 1, self.problems)
        for part in parts:
            self.assertIn(part, self.problems[0])


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTable(TableCase):
    def test_row_has_id_time_root_then_parameters_in_file_order(self):
        folder = self.run_(3, lr="0.1", epochs="5", amp="true", tag="'a b'", resume="null", sizes="[1, [2]]")
        self.assertEqual(list(self.rows()[0].items()), [
            ("id", 3), ("time", datetime.datetime(2026, 11, 23, 13, 3)), ("root", folder), ("lr", 0.1), ("epochs", 5),
            ("amp", True), ("tag", "a b"), ("resume", None), ("sizes", (1, (2,)))])

    def test_rows_are_sorted_by_number_then_by_name(self):
        for number in (1000000, 999999, 2):
            self.run_(number)
        for name in ("000001-2026-11-23-13-01-00-b", "000001-2026-11-23-13-01-00-a", "9-2026-11-23-13-01-00"):
            self.run_(1, name=name)
        self.assertEqual([(row["id"], row["root"].name[-1]) for row in self.rows()],
                         [(1, "a"), (1, "b"), (2, "0"), (9, "0"), (999999, "0"), (1000000, "0")])

    def test_columns_come_in_the_order_they_first_appear_and_what_a_run_lacks_is_none(self):
        self.run_(1, b="1", a="2")
        self.run_(2, text="d: [1,\n  2]\nb: 5\n")
        self.run_(3, c="3", a="4")
        self.assertEqual([list(row.items())[3:] for row in self.rows()], [
            [("b", 1), ("a", 2), ("d", None), ("c", None)], [("b", 5), ("a", None), ("d", (1, 2)), ("c", None)],
            [("b", None), ("a", 4), ("d", None), ("c", 3)]])

    def test_the_shell_is_told_what_a_run_lacks(self):
        self.run_(1, a="null", b="1")
        self.run_(2, c="[2]")
        rows = self.rows(results=lambda root: {"r": 1} if root.name < self.name(2) else {}, missing=0)
        self.assertEqual([list(row.items())[3:] for row in rows], [[("a", None), ("b", 1), ("c", 0), ("r", 1)], [("a", 0), ("b", 0), ("c", (2,)), ("r", 0)]])

    def test_id_time_and_root_come_from_the_name(self):
        folder = self.run_(7, text="lr: 1\nroot: runs/elsewhere\ntime: yesterday\nid: 99\n")
        self.run_(8, root_="/data", time_="3", id_="x")
        one, two = self.rows()
        self.assertEqual((one["id"], str(one["time"]), one["root"]), (7, "2026-11-23 13:07:00", folder))
        self.assertEqual((two["root_"], two["time_"], two["id_"]), ("/data", 3, "x"))
        self.assertEqual(list(one), ["id", "time", "root", "lr", "root_", "time_", "id_"])

    def test_a_time_that_is_none_is_missing(self):
        for stamp in ("2026-13-01-00-00-00", "2026-02-30-00-00-00", "9999-01-01-00-00-00", "0000-01-01-00-00-00"):
            self.run_(2, name=f"000002-{stamp}", lr="1")
        self.assertEqual((self.cells("time"), self.cells("lr")), ([None] * 4, [1] * 4))

    def test_name_after_the_time_may_hold_anything(self):
        names = ["000005-2026-11-23-13-05-00" + suffix for suffix in ("", "-", "-a.yaml", "-ü b", "-a: b", "-x\ny", "-\x1b[1m")]
        for name in names:
            self.run_(5, text="lr: 1\n", name=name)
        self.assertEqual((sorted(path.name for path in self.cells("root")), self.problems), (sorted(names), []))

    def test_foreign_names_are_ignored(self):
        self.run_(1)
        for foreign in (".000002-2026-11-23-13-02-00.yaml", "notes.yaml", "000003-2026-11-23.yaml", "000004-2026-11-23-13-04-00",
                        "٣-2026-11-23-13-03-00.yaml", "000005-2026-11-23-13-05-00x.yaml", "-2026-11-23-13-05-00.yaml",
                        "000006-2026-11-23-13-06-00.yaml\n"):
            (self.root / "index" / foreign).write_text("lr: 1\n")
        self.assertEqual((self.ids(), self.problems), ([1], []))

    def test_the_index_names_the_runs_and_each_is_read_at_its_place(self):
        folder = self.run_(1, lr="1")
        for number, text in ((2, f"../runs/{self.name(2)}/params.yaml"), (3, "lr: 9\n"), (4, "\0")):
            self.run_(number, index=False, lr=str(number))      # what git made of a link, an old copy, rubbish
            (self.root / "index" / f"{self.name(number)}.yaml").write_text(text)
        self.link(self.root / "index" / f"{self.name(5)}.yaml", f"../runs/{self.name(1)}/params.yaml")
        self.run_(5, index=False, lr="5")
        self.assertEqual((self.cells("lr"), self.problems), ([1, 2, 3, 4, 5], []))
        self.assertEqual(self.cells("root")[0], folder)

    def test_an_entry_is_read_where_its_run_is_not_there(self):
        for number in (1, 2):
            self.run_(number, lr=str(number))
        (self.root / "copy.yaml").write_text("lr: 3\n")
        os.rename(str(self.root / "runs" / self.name(1) / "params.yaml"), str(self.root / "elsewhere.yaml"))
        (self.root / "index" / f"{self.name(1)}.yaml").unlink()
        self.link(self.root / "index" / f"{self.name(1)}.yaml", "../elsewhere.yaml")
        (self.root / "index" / f"{self.name(3)}.yaml").write_text("lr: 3\n")
        self.assertEqual((self.cells("lr"), self.problems), ([1, 2, 3], []))

    def test_tmp_and_failed_runs_never_appear_unless_the_failed_are_asked_for(self):
        self.run_(1, lr="1")
        for number, part in ((2, "tmp"), (3, "fails"), (4, "tmp"), (5, "fails")):
            self.run_(number, part=part, index=number < 4, lr="2")
        (self.root / "index" / f"{self.name(5)}.yaml").write_text("lr: 2\n")
        self.assertEqual((self.ids(), self.problems), ([1], []))
        self.assertEqual([(row["id"], row["root"].parent.name) for row in self.rows(fails=True)],
                         [(1, "runs"), (3, "fails"), (5, "fails")])
        self.mark("best", 1)
        self.assertEqual(self.ids("best", fails=True), [1])

    def test_block_style_of_exman_0_1(self):
        self.run_(1, text=f"lr: 0.1\nroot: runs/{self.name(1)}\nsizes:\n- 1\n- 2\ntext: a\n  b\nid: 1\n")
        self.assertEqual(list(self.rows()[0].items())[3:], [("lr", 0.1), ("sizes", (1, 2)), ("text", "a b")])

    def test_roots_without_runs_and_nothing_is_written(self):
        for make, said in ((lambda: None, "no runs"), (lambda: self.root.write_text(""), "this is no folder"),
                           (self.root.mkdir, None)):
            with self.subTest(said):
                make()
                before = sorted(self.folder.rglob("*"))
                self.assertEqual(self.info(with_pandas=False) if said is None else self.rows(), [])
                if said:
                    self.one_problem(str(self.root), said)
                self.assertEqual(sorted(self.folder.rglob("*")), before)
                if self.root.is_file():
                    self.root.unlink()

    def test_relative_root_stays_where_it_was(self):
        folder = self.run_(1)
        index = exman.Index("exman")
        os.chdir("/")
        with mock.patch.dict(sys.modules, pandas=None):
            self.assertEqual([row["root"] for row in index.info()], [folder])

    def test_mutating_a_cell_changes_no_other_row_and_no_later_table(self):
        for number in (1, 2):
            self.run_(number, opt="{a: {b: 1}}", sizes="[{c: 1}]")
        self.rows()[0]["opt"]["a"]["b"] = self.rows()[0]["sizes"][0]["c"] = 9
        first = self.rows()
        first[0]["opt"]["a"]["b"] = first[0]["sizes"][0]["c"] = 9
        self.assertEqual([(row["opt"], row["sizes"]) for row in first[1:] + self.rows()], [({"a": {"b": 1}}, ({"c": 1},))] * 3)

    def test_repr_counts_runs_failed_ones_and_marks(self):
        self.assertIn(" 0 runs, 0 failed, 0 marks", repr(exman.Index("exman")))
        for number in (1, 2, 3):
            self.run_(number, text="[")
        self.run_(4, part="fails", index=False)
        self.mark("a/b", 1)
        self.assertIn(" 3 runs, 1 failed, 2 marks", repr(exman.Index("exman")))


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTableLines(TableCase):
    """The pattern that takes exman's own files apart says what the full reader says."""

    def expected(self, text):
        """The parameters by load_yaml, None for a text that it refuses."""
        try:
            values = exman.load_yaml(text)
        except exman.YAMLError:
            return None

        def tupled(value):
            return tuple(map(tupled, value)) if isinstance(value, list) else value
        return {str(key): tupled(value) for key, value in values.items() if key not in ("root", "time", "id")}

    def test_runs_of_exmans_own_do_not_need_the_full_reader(self):
        for number in range(1, 4):
            self.run_(number, lr=str(number / 8), tag="'no'", sizes="[1, 2]", spec="{a: [1]}")
        with mock.patch.object(exman, "_record_of", side_effect=AssertionError):
            rows = self.rows()
        self.assertEqual([(row["lr"], row["tag"], row["sizes"], row["spec"]) for row in rows],
                         [(number / 8, "no", (1, 2), {"a": [1]}) for number in range(1, 4)])
        self.assertIsNot(rows[0]["spec"], rows[1]["spec"])

    def test_agrees_with_load_yaml(self):
        bodies = [
            "a: 1\n# b: 2\n# c\n", "a: 1\n# x\nb: 2\n", "# x\na: 1\n", "a: 1\r\nb: 2\r\n", "a: 1\n# x\rb: 2\n", "a: x\rb: 2\n",
            "a: x\n  y: z\nb: 1\n", "a: 'x\n\n  y'\nb: 1\n", "a: [1,\n  2]\n", "a: \n- 1\n- 2\n", "a:\n- b: 1\n", "a: \nb:\nc: 1\n",
            "a: &x [1]\nb: *x\n", "null: 1\n", "1: 2\n", "'8': 1\n", "{a: 1}\n", "--- \na: 1\n", "a: 1\n--- b: 2\n", "a: 1\n...\n",
            "\ufeffa: 1\n", "a: 1\na: 2\n", "id: 1\n", " a: 1\n", "a: 1\n\nb: 2\n", "a: 1 # b\n", "a: b: c\n", "a: 'b: c'\n", "a b: 1\n",
            "a : 1\n", "ключ: ☃\n", "a: ☃\n", "a: !!int 1\n", "a: |\n  x\n", "a\n", "", "a: x\x85b: 2\n", "\0a: 1\n", "a: x\0y\n",
            "a: 1\n# \0\n", "a: 1\n# ☃ \u2028\n", 'a: "\\0"\n', "a: 0x1F\n", "a: 007\n", "a: 1_0\n", "a: '1'\n", "a: {b: [1, {c: d}]}\n",
            "a: @\n", "a: 'x\nb: y'\n", "true: 1\n", "a: [1\nb: 2]\n", "a: 1\n#b\n", "a: .nan\n", "a: NaN\n", "a: ٣\n"]
        texts = [body + self.own(number) for number, body in enumerate(bodies, 1)]
        texts += [text[:cut] for text in [f"a: 1\nb: [x]\n{self.own(len(texts) + 1)}"] for cut in range(len(text))]
        expected = [*map(self.expected, texts)]
        for alone in (True, False):                     # each the first of its keys; each after one that is whole
            for number, text in enumerate(texts, 1):
                if alone:
                    self.run_(number, text=text)
                    with contextlib.redirect_stderr(None):
                        rows = self.rows()
                    got = [{key: cell for key, cell in row.items() if key not in ("id", "time", "root")} for row in rows]
                    self.assertEqual(repr(got), repr([expected[number - 1]] if expected[number - 1] is not None else []), text)
                    self.clear()
                else:
                    self.run_(2 * number, text=text)
                    self.run_(2 * number - 1, a="1", b="x")
        rows = {row["id"]: row for row in self.rows()}
        for number, values in enumerate(expected, 1):
            self.assertEqual(values is not None, 2 * number in rows, texts[number - 1])
            for key, value in (values or {}).items():
                self.assertEqual(repr(rows[2 * number][key]), repr(value), texts[number - 1])

    def test_what_one_file_has_is_not_lent_to_the_next(self):
        texts = ["a: 1\nb: 1\n", "a: 2\n", "b: 3\na: 3\nc: 3\n", "a: 4\nb: 4\n", "a: 5\nb: x\n"]
        for number, text in enumerate(texts * 20, 1):
            self.run_(number, text=text + self.own(number))
        broken = self.root / "runs" / self.name(64) / "params.yaml"
        broken.write_text(broken.read_text() + "a: 999\n")
        cut = self.root / "runs" / self.name(69) / "params.yaml"
        cut.write_text(cut.read_text()[:-2])
        rows = self.rows()
        self.one_problem(self.name(64))
        want = [(1, 1, None), (2, None, None), (3, 3, 3), (4, 4, None), (5, "x", None)] * 20
        self.assertEqual([(row["a"], row["b"], row["c"]) for row in rows], want[:63] + want[64:])

    def test_values_of_one_key_are_each_their_own_kind(self):
        for name, value in (("ints", "{n}"), ("floats", "{n}.5"), ("texts", "x{n}"), ("numbers", "{n}.0"), ("lists", "[{n}]"),
                            ("dicts", "{{n: {n}}}")):
            with self.subTest(name):
                kinds = [value.format(n=number) for number in range(1, 40)] + ["7", "null", "1.0e-05", "a b"]
                for texts in (kinds[:39], kinds, kinds[39:] * 3, ["0.5"] * 5 + ["1"]):
                    for number, text in enumerate(texts, 1):
                        self.run_(number, a=text)
                    want = [self.expected(f"a: {text}\n")["a"] for text in texts]
                    self.assertEqual(repr(self.cells("a")), repr(want))
                    self.clear()

    def test_runs_of_several_scripts_in_turn(self):
        with mock.patch.object(exman, "_AT_ONCE", 5):
            for number in range(1, 101):
                self.run_(number, **{f"p{number % 7}": str(number), "a": "1", **({"b": "x"} if number % 3 else {})})
            self.assertEqual([(row[f"p{row['id'] % 7}"], row["b"]) for row in self.rows()],
                             [(number, "x" if number % 3 else None) for number in range(1, 101)])

    def test_files_of_exman_0_1_go_to_the_full_reader(self):
        self.run_(1, text=f"a: 1e5\nroot: runs/{self.name(1)}\ntime: '2026-11-23T13:01:00'\nb: 08\nid: 1\n")
        self.run_(2, text=f"a: 1e5\nb: 08\nroot: 'runs/{self.name(2)}'\ntime: '2026-11-23T13:02:00'\nid: 2\n")
        self.run_(3, a="1e5", b="08")
        self.assertEqual([(row["a"], row["b"]) for row in self.rows()], [(1e5, 8), ("1e5", "08"), (1e5, 8)])

    def test_a_file_beyond_the_first_bytes_is_read_whole(self):
        self.run_(1, text=f"a: '{'x' * 70000}'\n{self.own(1)}")
        self.run_(2, text=f"# {'x' * 70000}\na: 1\n{self.own(2)}")
        self.assertEqual([len(str(cell)) for cell in self.cells("a")], [70000, 1])


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTableFaults(TableCase):
    """Whatever stands in a root costs its own row and one warning that names it."""

    def test_each_fault_costs_its_own_row(self):
        path = self.root / "runs" / self.name(2) / "params.yaml"
        entry = self.root / "index" / path.parent.name
        entry = entry.with_name(entry.name + ".yaml")

        def dangling():
            path.unlink()

        def loop():
            dangling()
            entry.unlink()
            self.link(entry, entry.name)

        def outside():
            dangling()
            (self.folder / "outside.yaml").write_text("lr: 666\n")
            entry.unlink()
            self.link(entry, "../../outside.yaml")

        def device():
            path.unlink()
            self.link(path, "/dev/zero")

        def fifo():
            path.unlink()
            os.mkfifo(str(path))

        def folder():
            path.unlink()
            path.mkdir()

        def sparse():
            with path.open("wb") as file:
                file.truncate(1 << 30)

        def unreadable():
            path.chmod(0)

        for fault, parts in ((dangling, ["No such file", "exman fix"]), (loop, ["symbolic links"]), (outside, ["not in the root"]), (folder, []),
                             (fifo, ["no regular file"]), (device, ["no regular file"]), (sparse, ["16 MiB"]),
                             (lambda: path.write_text("lr: [1\n"), ["line 1"]), (lambda: path.write_bytes(b"lr: \xff\n"), ["utf-8"]),
                             (lambda: path.write_bytes(b""), []), (unreadable, ["Permission denied"])):
            if fault is unreadable and os.geteuid() == 0 or fault is device and not os.path.exists("/dev/zero"):
                continue
            with self.subTest(fault.__name__, parts=parts):
                for number in (1, 2, 3):
                    self.run_(number, lr=f"0.{number}")
                fault()
                self.assertEqual([(row["id"], row["lr"]) for row in self.rows()], [(1, 0.1), (3, 0.3)])
                self.one_problem(self.name(2), *parts)
                self.one_problem(f"`exman delete {self.name(2)}`")
                self.clear()

    def test_every_error_of_open(self):
        for number in (1, 2, 3):
            self.run_(number, lr=f"0.{number}")
        path = str(self.root / "runs" / self.name(2) / "params.yaml")
        for code in (errno.EACCES, errno.EIO, errno.EMFILE, errno.ESTALE):
            def fail(file, *args, code=code, real=os.open, **kwargs):
                if os.fspath(file) == path:
                    raise OSError(code, os.strerror(code))
                return real(file, *args, **kwargs)
            with self.subTest(os.strerror(code)), mock.patch("os.open", fail):
                self.assertEqual(self.ids(), [1, 3])
                self.one_problem(os.strerror(code), f"`exman delete {self.name(2)}`")

    def test_a_run_that_vanishes_while_it_is_read_costs_its_own_row(self):
        for number in (1, 2):
            self.run_(number)

        def vanish(file, *args, real=os.open, **kwargs):
            if self.name(2) in os.fspath(file) and os.path.exists(str(file)):
                (self.root / "index" / f"{self.name(2)}.yaml").unlink()
                os.rename(os.path.dirname(str(file)), str(self.folder / "gone"))
            return real(file, *args, **kwargs)
        with mock.patch("os.open", vanish):
            self.assertEqual(self.ids(), [1])
        self.one_problem(self.name(2), "No such file")

    def test_warnings_point_at_the_caller_and_print_no_control_characters(self):
        self.run_(2, text="[", name="000002-2026-11-23-13-02-00-\x1b[31m")
        (self.root / "marked" / "\x1b[1m").mkdir(parents=True)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            exman.Index(self.root).info()
        ours = [warning for warning in caught if "left out" in str(warning.message)]
        self.assertEqual([warning.filename for warning in ours], [__file__])
        self.assertTrue(str(ours[0].message).isprintable())

    def test_a_stderr_of_the_scripts_own_is_not_asked(self):
        self.run_(1)
        for stderr in (object(), None):
            with mock.patch.object(sys, "stderr", stderr):
                self.assertEqual(self.ids(), [1])


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTableMarks(TableCase):
    def setUp(self):
        super().setUp()
        for number in (1, 2, 3, 4):
            self.run_(number, lr=f"0.{number}")

    def test_nested_marks_are_taken_and_each_run_once(self):
        for mark, number in (("a", 3), ("a", 1), ("a/b", 1), ("a/b/c", 2), ("ab", 4)):
            self.mark(mark, number)
        self.assertEqual([self.ids(mark) for mark in ("a", "a/b", "a/b/", "./a//b", pathlib.Path("a") / "b", "ab")],
                         [[1, 2, 3], [1, 2], [1, 2], [1, 2], [1, 2], [4]])
        self.assertEqual(sorted(exman._marks(str(self.root), [])), ["a", "a/b", "a/b/c", "ab"])

    def test_unknown_mark_is_a_key_error_that_lists_the_marks(self):
        with self.assertRaises(KeyError) as caught:
            self.info("best")
        self.assertEqual(caught.exception.args[0], "no mark 'best': there are none")
        (self.root / "marked").write_text("")
        with self.assertRaises(KeyError):
            self.info("best")
        (self.root / "marked").unlink()
        self.mark("best/lr", 1)
        self.mark("\x1b", 1)
        with self.assertRaises(KeyError) as caught:
            self.info("bset")
        self.assertEqual(caught.exception.args[0], "no mark 'bset': did you mean best? there are \x1b, best, best/lr")
        for mark in (str(self.root / "marked" / "best"), "/best", "../index", "best/..", "../marked/best", "..", ".", "", "/", "a\0b",
                     "x" * 5000):
            with self.subTest(mark[:40]), self.assertRaises(KeyError):
                self.info(mark)

    @unittest.skipIf(getattr(os, "geteuid", lambda: 0)() == 0, "root may read all")
    def test_a_mark_that_cannot_be_read_is_named(self):
        self.run_(1)
        self.mark("best/lr", 1)
        os.chmod(self.root / "marked" / "best" / "lr", 0)
        self.addCleanup(os.chmod, self.root / "marked" / "best" / "lr", 0o755)
        self.mark("best", 1)
        self.assertEqual(self.ids("best"), [1])
        self.one_problem("marked/best/lr is left out of the marks: Permission denied")

    def test_what_is_no_mark(self):
        outside = self.folder / "outside"
        outside.mkdir()
        (outside / f"{self.name(1)}.yaml").write_text("lr: 1\n")
        self.mark("best", 2)
        self.link(self.root / "marked" / "planted", str(outside))
        self.link(self.root / "marked" / "best" / "deeper", str(outside))
        (self.root / "marked" / "empty" / "deep").mkdir(parents=True)
        (self.root / "marked" / f"{self.name(3)}.yaml").write_text("lr: 9\n")
        (self.root / "marked" / "notes.txt").write_text("")
        self.assertEqual((sorted(exman._marks(str(self.root), [])), self.ids("best")), (["best"], [2]))

    def test_marks_of_exman_0_1_are_links_to_folders(self):
        self.link(self.root / "marked" / "user" / "ann" / self.name(2), f"../../../runs/{self.name(2)}")
        self.link(self.root / "marked" / "user" / self.name(9), f"../../runs/{self.name(9)}")
        self.assertEqual([(row["id"], row["lr"], row["root"]) for row in self.rows("user")],
                         [(2, 0.2, self.root / "runs" / self.name(2))])
        self.one_problem(self.name(9), "exman fix")

    def test_marks_keep_their_rows_where_runs_or_the_root_is_a_link(self):
        os.rename(str(self.root / "runs"), str(self.folder / "disk"))
        self.link(self.root / "runs", str(self.folder / "disk"))
        self.link(self.root / "marked" / "old" / self.name(2), f"../../runs/{self.name(2)}")
        self.mark("old", 3)
        self.assertEqual((self.ids("old"), self.problems), ([2, 3], []))
        os.rename(str(self.root), str(self.folder / "moved"))
        self.link(self.root, str(self.folder / "moved"))
        self.assertEqual((self.ids("old"), self.cells("root")[1]), ([2, 3], self.root / "runs" / self.name(2)))

    def test_nothing_outside_the_root_is_read_because_of_a_planted_link(self):
        outside = self.folder / "exman-outside"
        outside.mkdir()
        (outside / "params.yaml").write_text("lr: 666\n")
        self.mark("best", 1)
        self.link(self.root / "marked" / "best" / self.name(2), str(outside))
        self.link(self.root / "marked" / "best" / f"{self.name(8)}.yaml", str(outside / "params.yaml"))
        self.link(self.root / "marked" / "best" / self.name(9), str(outside))
        self.assertEqual([row["lr"] for row in self.rows("best")], [0.1, 0.2])
        self.assertEqual(len(self.problems), 2)

    def test_copies_of_the_yaml_count_as_entries(self):
        folder = self.root / "marked" / "best"
        folder.mkdir(parents=True)
        (folder / f"{self.name(3)}.yaml").write_text("lr: 7\n")
        self.assertEqual([(row["id"], row["lr"]) for row in self.rows("best")], [(3, 0.3)])


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTableReaders(TableCase):
    def test_slow_files_are_read_by_many_at_once_and_come_in_order(self):
        readers = set()

        def slow(path, *args, real=os.open, **kwargs):
            time.sleep(0.002)
            readers.add(threading.get_ident())
            return real(path, *args, **kwargs)
        for number in range(1, 100):
            self.run_(number, text=None if number % 2 else "lr: [1,\n 2]\n", lr=str(number))
            (self.root / "runs" / self.name(number) / "score.json").write_text(f'{{"acc": {number}}}')
        with mock.patch("os.open", slow):
            rows = self.rows(results="score.json")
        self.assertEqual([(row["lr"], row["acc"]) for row in rows], [(n if n % 2 else (1, 2), n) for n in range(1, 100)])
        self.assertGreater(len(readers), 4)

    def test_quick_files_are_read_by_no_thread(self):
        for number in range(1, 100):
            self.run_(number)
        with mock.patch.object(exman, "_SLOW_READ", 60), \
                mock.patch("concurrent.futures.ThreadPoolExecutor", side_effect=AssertionError):
            self.assertEqual(len(self.rows(ended=True, results="score.json")), 99)


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestResults(TableCase):
    """info(results=...): what each run's file says, or what a function makes of each folder."""

    def result(self, number, data, name="score.json", **params):
        folder = self.run_(number, **params)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data if isinstance(data, bytes) else data.encode())
        return folder

    def test_a_column_a_key_and_none_where_a_run_has_none(self):
        self.result(1, '{"acc": 0.5, "layers": [1, [2, "x"]], "best": true}', lr="1")
        self.result(2, '{"loss": NaN, "acc": 1}', lr="2")
        self.run_(3, lr="3")
        rows = self.rows(results="score.json")
        self.assertEqual([*rows[0]], ["id", "time", "root", "lr", "acc", "layers", "best", "loss"])
        self.assertEqual([(row["lr"], row["acc"], row["layers"], row["best"]) for row in rows],
                         [(1, 0.5, (1, (2, "x")), True), (2, 1, None, None), (3, None, None, None)])
        self.assertEqual((str(rows[1]["loss"]), self.problems), ("nan", []))
        self.mark("best", 2)
        self.assertEqual([row["acc"] for row in self.rows("best", results="score.json")], [1])

    def test_a_file_of_another_kind_is_refused_in_one_line(self):
        self.run_(1)
        for name in ("score.txt", "score", ""):
            with self.subTest(name), self.assertRaisesRegex(ValueError, "results="):
                self.rows(results=name)

    def test_yaml_by_the_ending_and_files_in_folders_of_the_run(self):
        for name in ("score.yaml", "score.yml", "logs/score.yaml"):
            self.result(1, "acc: 1e-3\nnames: [a, b]\n", name)
            row = self.rows(results=pathlib.Path(name))[0]
            self.assertEqual((row["acc"], row["names"]), (0.001, ("a", "b")))

    def test_a_file_that_is_missing_or_not_whole_yet_is_silent(self):
        text = '{"acc": 0.25, "name": "größe", "n": [1, 2]}'.encode()
        for number in range(len(text) + 1):
            self.result(number + 1, text[:number])
        self.assertEqual((self.cells("acc", results="score.json"), self.problems), ([None] * len(text) + [0.25], []))
        self.clear()
        self.result(1, "acc: 1\nlos", "score.yaml")
        self.result(2, "", "score.yaml")
        self.result(3, "acc: 3\n", "score.yaml")
        self.assertEqual((self.cells("acc", results="score.yaml"), self.problems), ([None, None, 3], []))
        self.result(4, "acc: [\n", "score.yaml")
        self.result(5, f"acc: 5\nlog: '{'x' * 70000}'\n", "score.yaml")
        self.assertEqual(self.cells("acc", results="score.yaml"), [None, None, 3, None, 5])
        self.one_problem(self.name(4))

    def test_what_else_fails_costs_the_cells_and_a_warning_that_names_the_run(self):
        for text in ('{"acc": {"top1": 1}}', '{"acc": [1, {"a": 2}]}', "[1, 2]", "0.5 }", '{"acc": 1,}', b'{"acc": "\xff"}', None):
            with self.subTest(text):
                folder = self.result(1, text or "")
                if text is None:
                    (folder / "score.json").unlink()
                    (folder / "score.json").mkdir()
                self.result(2, '{"acc": 2}')
                self.assertEqual(self.cells("acc", results="score.json"), [None, 2])
                self.one_problem(str(folder))
                self.assertTrue(self.problems[0].isprintable())
                self.clear()

    def test_a_key_that_is_a_column_too_ends_with_result(self):
        self.result(1, '{"lr": 3, "id": 4, "status": "good", "lr_result": 5}', lr="1", seconds="2")
        row = self.rows(results="score.json", ended=True)[0]
        self.assertEqual([row[key] for key in ("lr", "lr_result", "id_result", "status", "status_result", "seconds", "lr_result_result")],
                         [1, 3, 4, "unknown", "good", 2, 5])
        self.assertNotEqual(row["seconds_end"], row["seconds_end"])

    def test_a_function_of_each_root(self):
        class Zero:                                     # as numpy's and torch's are
            ndim = 0

            def item(self):
                return 0.5
        folders = [self.run_(number, lr=str(number)) for number in (1, 2, 3, 4)]
        seen = []

        def read(root):
            seen.append(root)
            if root == folders[1]:
                raise RuntimeError("\x1b[31m no\nline")
            if root == folders[2]:
                return (root / "score.txt").read_text()
            return {"acc": Zero(), "sizes": [1, 2], 3: {"a": [1]}}
        rows = self.rows(results=read)
        self.assertEqual(seen, folders)
        self.assertEqual([(row["acc"], row["sizes"], row["3"]) for row in rows],
                         [(0.5, (1, 2), {"a": [1]})] + [(None, None, None)] * 2 + [(0.5, (1, 2), {"a": [1]})])
        self.one_problem(str(folders[1]), "RuntimeError")
        self.assertTrue(self.problems[0].isprintable())
        self.assertEqual(self.cells("result", results=lambda root: len(root.name)), [26] * 4)
        with self.assertRaises(KeyboardInterrupt):
            self.rows(results=mock.Mock(side_effect=KeyboardInterrupt))


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestEnded(TableCase):
    """info(ended=True): status and seconds."""

    def status(self, claim=None, end=None, part="runs", host="here"):
        """The status and seconds of a run whose number was claimed so, and whose end.yaml says so."""
        folder = self.run_(1, part=part, index=part == "runs")
        if end is not None:
            (folder / "end.yaml").write_text(end)
        if claim is not None:
            (self.root / ".ids" / "0").mkdir(parents=True)
            (self.root / ".ids" / "0" / "1").write_text("{} {} {} \n".format(*claim))
        with mock.patch.object(exman, "_HOST", host):
            row, = self.rows(ended=True, fails=True)
        self.clear()
        return row["status"], row["seconds"] if row["seconds"] == row["seconds"] else None

    def test_what_end_yaml_says(self):
        for status in ("done", "failed", "interrupted"):
            self.assertEqual(self.status(end=f"status: {status}\ntime: '2026-11-23T13:27:00'\nseconds: 12.345\n"), (status, 12.345))
        self.assertEqual(self.status(end="status: done\nseconds: x\n"), ("done", None))
        for end in ("", "status: [done]\n", "status: done", "[", "status: great\n"):
            self.assertIn(self.status(end=end)[0], ("unknown", "done"))
        self.assertEqual(self.status(part="fails"), ("failed", None))

    def test_a_run_without_one_is_running_died_or_unknown(self):
        me, start = os.getpid(), exman._stat(os.getpid())[1]
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        self.addCleanup(child.kill)
        there = exman._stat(child.pid)[1]
        self.assertEqual(self.status(("here", child.pid, there)), ("running", None))
        child.communicate(b"\n")
        for claim, status in ((("here", me, start), "running"), (("here", me, 0), "running"), (("there", me, start), "unknown"),
                              (None, "unknown"), (("here", child.pid, there), "died"), (("here", child.pid, 0), "died")):
            with self.subTest(claim):
                self.assertEqual(self.status(claim), (status, None))
        if start:                                       # the number of a process is used again
            self.assertEqual(self.status(("here", me, start + 1)), ("died", None))
        for error, status in ((PermissionError, "running"), (ProcessLookupError, "died")):
            with mock.patch.object(exman, "_stat", lambda pid: (0, 0)), mock.patch("os.kill", side_effect=error):
                self.assertEqual(self.status(("here", 1, 0)), (status, None))

    @unittest.skipUnless(os.path.exists("/proc/self/stat"), "no /proc")
    def test_a_run_whose_process_was_killed_has_died_also_before_its_parent_asks(self):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        start = exman._stat(child.pid)[1]
        child.kill()
        child.stdout.read()                              # it is at its end; nobody has waited for it
        while exman._stat(child.pid)[1] == start:
            time.sleep(0.01)
        self.assertEqual(self.status(("here", child.pid, start)), ("died", None))
        child.communicate()

    def test_columns_are_there_without_runs(self):
        self.root.mkdir()
        self.assertEqual([*exman._table(str(self.root), ended=True)[0]], ["id", "time", "root", "status", "seconds"])


@unittest.skipUnless(SYMLINKS, "the file system has no symlinks")
class TestTableTypes(TableCase):
    """What info() returns, with and without pandas."""

    def test_without_pandas_a_list_of_dicts_with_the_same_keys(self):
        one, two = self.run_(1, a="1"), self.run_(2, b="[2]")
        self.assertEqual(self.info(with_pandas=False), [
            {"id": 1, "time": datetime.datetime(2026, 11, 23, 13, 1), "root": one, "a": 1, "b": None},
            {"id": 2, "time": datetime.datetime(2026, 11, 23, 13, 2), "root": two, "a": None, "b": (2,)}])

    @unittest.skipIf(pandas is None, "no pandas")
    def test_columns_are_typed_by_their_values(self):
        nan = float("nan")
        cases = [
            ("ints", ["1", "2"], "int64", [1, 2]), ("floats", ["1.5", "2.0"], "float64", [1.5, 2.0]),
            ("bools", ["true", "false"], "bool", [True, False]), ("ints and floats", ["1", "2.5"], "float64", [1.0, 2.5]),
            ("strings", ["a", "b"], "object", ["a", "b"]), ("lists of one length", ["[1, 2]", "[3, 4]"], "object", [(1, 2), (3, 4)]),
            ("dicts", ["{a: [1]}", "{}"], "object", [{"a": [1]}, {}]), ("none among ints", ["1", "null"], "float64", [1.0, nan]),
            ("a float that is missing", ["1.5", None], "float64", [1.5, nan]),
            ("a string that is missing", ["a", None], "object", ["a", None]),
            ("a bool that is missing", ["true", None], "object", [True, None]),
            ("a list that is missing", ["[1]", None], "object", [(1,), None]), ("only none", ["null", "null"], "object", [None, None]),
            ("nan in all", [".nan", ".nan"], "float64", [nan, nan]), ("bool and int", ["true", "1"], "object", [True, 1]),
            ("number and string", ["1", "a"], "object", [1, "a"]),
            ("largest int64", ["9223372036854775807", "-9223372036854775807"], "int64", [2 ** 63 - 1, 1 - 2 ** 63]),
            ("beyond int64", ["9223372036854775808", "1"], "object", [2 ** 63, 1]),
            ("an int that no float holds", ["9007199254740993", "0.5"], "object", [2 ** 53 + 1, 0.5]),
            ("an int that no float holds, and none", ["9007199254740993", None], "object", [2 ** 53 + 1, None]),
            ("an int too large for any float", ["1" + "0" * 400, "0.5"], "object", [10 ** 400, 0.5]),
            ("the largest ints that floats hold", ["9007199254740992", "0.5"], "float64", [2.0 ** 53, 0.5]),
            ("dates are strings", ["'2026-01-01'", "'2026-01-02'"], "object", ["2026-01-01", "2026-01-02"])]
        for number in (1, 2):
            self.run_(number, **{f"c{at}": texts[number - 1] for at, (_, texts, _, _) in enumerate(cases) if texts[number - 1]})
        info = self.info()
        for at, (name, _, dtype, cells) in enumerate(cases):
            with self.subTest(name):
                self.assertEqual(repr((str(info[f"c{at}"].dtype), list(info[f"c{at}"]))), repr((dtype, cells)))

    @unittest.skipIf(pandas is None, "no pandas")
    def test_id_time_and_root(self):
        folder = self.run_(5, lr="1")
        self.run_(1, name="99999999999999-2026-11-23-13-01-00")
        self.run_(1, name="99999999999999-2026-11-41-13-01-00")
        info = self.info()
        self.assertEqual([str(info[key].dtype) for key in ("id", "time", "root")], ["int64", "datetime64[ns]", "object"])
        self.assertEqual((info.id[0], info.time[0], info.root[0]), (5, pandas.Timestamp("2026-11-23 13:05:00"), folder))
        self.assertEqual((info.id[1], info.time[2] is pandas.NaT), (99999999999999, True))
        self.assertEqual([(i, ex.root / "plot.png") for i, ex in info.iterrows()][0], (0, folder / "plot.png"))
        self.clear()
        self.root.mkdir()
        self.assertEqual([(key, str(dtype)) for key, dtype in self.info().dtypes.items()],
                         [("id", "int64"), ("time", "datetime64[ns]"), ("root", "object")])

    @unittest.skipIf(pandas is None, "no pandas")
    def test_same_values_with_and_without_pandas(self):
        for number in range(1, 50):
            folder = self.run_(number, a=str(number), b="x", c="[1, {a: null}]", d=f"{number}.5")
            (folder / "score.json").write_text(f'{{"acc": 0.{number}, "d": [{number}]}}')
        self.assertEqual(self.info(results="score.json").to_dict("records"), self.info(with_pandas=False, results="score.json"))

    @unittest.skipIf(pandas is None, "no pandas")
    def test_an_array_of_a_function_is_a_cell(self):
        self.run_(1)
        self.run_(2)
        array = pandas.Series([1.0, 2.0]).values
        info = self.info(results=lambda root: {"a": array, "x": array[0]} if root.name < self.name(2) else {})
        self.assertEqual((info.a[0] is array, info.a[1], str(info.x.dtype)), (True, None, "float64"))

    @unittest.skipIf(pandas is None, "no pandas")
    def test_lists_are_groups_and_results_are_numbers(self):
        for number in (1, 2, 3, 4):
            folder = self.run_(number, hidden=f"[{number % 2}, 2]", lr="0.1", seed=str(number))
            if number < 4:
                (folder / "score.json").write_text(f'{{"acc": {number}}}')
        info = self.info(results="score.json", ended=True)
        self.assertEqual([str(info[key].dtype) for key in ("acc", "status", "seconds")], ["float64", "object", "float64"])
        self.assertEqual(list(info.groupby(["hidden", "lr"]).acc.sum()), [2.0, 4.0])
        self.assertEqual(list(info.pivot_table(columns="hidden", values="acc").columns), [(0, 2), (1, 2)])
        self.assertEqual((len(info[["hidden", "lr"]].drop_duplicates()), list(info.hidden.unique())), (2, [(1, 2), (0, 2)]))


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
        self.assertIn("uncommitted changes", self.refuse(self.parser(git=self.repo, git_assert_clean=True)))

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
            self.assertEqual(self.state(), (None, None, [f"exman: git is not recorded whole: git in {self.repo}: [Errno 2] No such file or directory: 'git'"]))
        finally:
            os.environ["PATH"] = path

    @unittest.skipUnless(os.name == "posix", "a script that stands for git")
    def test_a_slow_git_is_not_waited_for(self):
        import time
        commit = self.commit(a=b"1\n")
        self.write(a=b"2\n")
        fake, path = self.folder / "bin", os.environ["PATH"]
        fake.mkdir()
        self.addCleanup(setattr, exman, "_git", exman._git)
        exman._git = functools.partial(exman._git, seconds=0.5)
        for slow, expected in (("*", (None, None)), ("*diff*", (commit, True))):
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
            self.assertRegex(lines[0], "git is not recorded whole: git in .* timed out after 0.5 seconds")

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

    def test_a_script_or_a_module_of_its_own_that_no_commit_has_is_dirty(self):
        main = "import exman, helper\nargs = exman.ExParser(git=True, root=__file__ + '-runs').parse_args()\nprint(exman.load_yaml((args.root / 'params.yaml').read_text())['dirty'])\n"
        self.commit(**{"a": b"1\n", "main.py": main.encode(), "helper.py": b""})
        self.git("rm", "-q", "--cached", "main.py")
        self.git("commit", "-q", "-m", "less")
        self.assertEqual(self.python(self.repo / "main.py").stdout, "True\n")
        self.git("add", "main.py")
        self.git("commit", "-q", "-m", "again")
        self.write(**{"unused.py": b"", "data.csv": b""})
        self.assertEqual(self.python(self.repo / "main.py").stdout, "False\n")
        self.git("rm", "-q", "--cached", "helper.py")
        self.git("commit", "-q", "-m", "without helper")
        self.assertEqual(self.python(self.repo / "main.py").stdout, "True\n")
        (self.repo / "main.py").write_text(main.replace("git=True", "git=True, git_assert_clean=True"))
        self.git("commit", "-qam", "clean")
        self.assertIn("uncommitted changes", self.python(self.repo / "main.py", status=2).stderr)
        self.assertEqual(self.python(self.repo / "main.py", "--git-dirty").stdout, "True\n")

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
        """A run that has ended; what lies in its folder keeps the next parse of these words from taking it over."""
        args = self.parse(self.parser, *argv)
        (args.root / "end.yaml").write_text("status: done\ntime: '2026-11-23T13:27:00'\nseconds: 1.5\n")
        return args

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
        return [row["id"] for row in json.loads("".join(self.shell("ls", "--json", *argv, **kwargs)))]

    def columns(self, *argv):
        return self.shell("ls", *argv)[0].split()

    def failed(self, args):
        with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(ZeroDivisionError), args.exman:
            1 / 0

    def test_ls_is_aligned_the_newest_last_and_shows_what_differs(self):
        self.run_("--lr", "0.1")
        self.run_("--lr", "1e-5", "--sizes", "3", "4")
        self.run_("--lr", "10", "--sizes", "--name", "good", "--seed", "7")
        stamp = "....-..-.. ..:..:.."
        for line, form in zip(self.shell("ls"),
                              ("id  time                 name       lr  sizes   seed", f" 1  {stamp}            0.1  \\[64\\]",
                               f" 2  {stamp}        1.0e-05  \\[3, 4\\]", f" 3  {stamp}  good     10.0  \\[\\]         7")):
            self.assertRegex(line, "^" + form + "$")
        self.assertEqual(len(self.shell("ls")), 4)
        self.assertLessEqual({"id", "time", "name", "lr", "model", "sizes", "cuda", "seed", "root"}, set(self.columns("--all")))

    def test_a_lone_run_is_shown_like_the_others(self):
        for argv in (["--lr", "1"], ["--lr", "2"], ["--lr", "2", "--cuda", "no"]):
            self.run_(*argv)
        self.shell("mark", "best", "1")
        for argv in ([], ["id=1"], ["lr=1"], ["best"], ["-n", "1"]):
            self.assertEqual(self.columns(*argv), ["id", "time", "lr", "cuda"], argv)
        self.assertEqual(self.columns("lr=2"), ["id", "time", "cuda"])
        self.failed(self.run_("--lr", "2", "--name", "foo"))
        for argv in (["--fails", "status=failed"], ["--fails", "name=foo"], ["--fails", "-n", "1"]):
            self.assertEqual(self.columns(*argv), ["id", "time", "name", "status", "lr", "cuda"], argv)

    def test_a_result_that_one_run_alone_has_is_shown_and_texts_differ_from_what_they_look_like(self):
        first = self.run_("--lr", "1")
        self.run_("--model", "None", "--lr", "1")
        (first.root / "score.json").write_text('{"score": 0.9}')
        self.assertEqual(self.columns("--results", "score.json"), ["id", "time", "score", "model"])
        self.assertEqual([line.split()[3:4] for line in self.shell("ls", "--results", "score.json")[1:]], [["0.9"], ["None"]])
        self.parser.set_defaults(model=None)
        self.run_("--lr", "1")
        self.assertEqual(self.columns("id>1"), ["id", "time", "model"])

    def test_parameters_that_are_called_name_and_status_are_the_scripts(self):
        for option, words in (("--name", []), ("--name", ["--name", "x", "--status", "on"]), ("--name", ["--exman-name", "foo"]), ("--lr", [])):
            parser = super().parser()
            parser.add_argument(option)
            parser.add_argument("--status")
            (self.parse(parser, *words).root / "end.yaml").write_text("status: done\nseconds: 1.5\n")
        for words, ids in (("name=null", [1, 4]), ("name=x", [2]), ("name=foo", [3]), ("status=on", [2]), ("status_end=done", [1, 2, 3, 4])):
            self.assertEqual(self.ids(words), ids, words)
        self.assertEqual(self.columns(), ["id", "time", "name", "status"])      # lr is of another script

    def test_a_failed_run_without_its_file_is_named(self):
        args = self.run_()
        self.failed(args)
        (args.root / "params.yaml").unlink()
        self.assertEqual(len(self.shell("ls", "--fails")), 1)
        self.assertEqual(len(self.said), 1)
        self.assertIn(f"{args.root.name} is left out of the table", self.said[0])

    def test_a_parameter_that_runs_of_another_script_lack_is_no_difference(self):
        self.run_("--lr", "1")
        self.run_("--lr", "2")
        other = super().parser()
        other.add_argument("--split", default="test")
        (self.parse(other).root / "end.yaml").write_text("status: done\nseconds: 1.5\n")
        self.assertEqual(self.columns(), ["id", "time", "lr"])
        self.run_("--lr", "2", "--seed", "3")                    # a null of the same script is one
        self.assertEqual(self.columns(), ["id", "time", "lr", "seed"])

    def test_ls_shows_a_parameter_that_is_called_seconds(self):
        for seconds in ("1", "2"):
            parser = super().parser()
            parser.add_argument("--seconds", type=int)
            self.parse(parser, "--seconds", seconds)
        self.assertEqual([line.split()[-1] for line in self.shell("ls")], ["seconds", "1", "2"])

    def test_ls_takes_a_mark_and_comparisons(self):
        self.run_("--lr", "0.1", "--model", "a")
        self.run_("--lr", "0.10", "--model", "b/c", "--cuda", "no", "--name", "x")
        self.run_("--lr", "1e-3", "--model", "null", "--seed", "3", "--sizes", "1", "2")
        self.run_("--lr", "nan")
        day, names = time.strftime("%Y-%m-%d"), self.runs()
        self.shell("mark", "best/of", "1", "2")
        self.shell("mark", "k=v/1", "3")
        for words, ids in ((["lr=0.1"], [1, 2]), (["lr=1e-1"], [1, 2]), (["lr==.001"], [3]), (["lr>0.01"], [1, 2]), (["lr>=0.1"], [1, 2]),
                           (["lr<0.1"], [3]), (["lr<=0.1"], [1, 2, 3]), (["lr!=0.1"], [3, 4]), (["lr=.nan"], [4]), (["lr=7"], []),
                           (["lr<x"], []), (["model=b/c"], [2]), (["model=null"], [3]), (["model!=a"], [2, 3, 4]), (["model>n"], [3, 4]),
                           (["cuda=no"], []), (["cuda=false"], [2]), (["cuda=True"], [1, 3, 4]), (["seed=null"], [1, 2, 4]), (["seed="], [1, 2, 4]),
                           (["seed=3"], [3]), (["seed>1"], [3]), (["seed<9"], [3]), (["seed!=3"], [1, 2, 4]), (["sizes=[1, 2]"], [3]),
                           (["sizes=[1,2]"], [3]), (["sizes!=[64]"], [3]), (["id>=2", "id<4"], [2, 3]), (["id=02"], [2]), (["name=x"], [2]),
                           (["time=" + day[:4]], [1, 2, 3, 4]), (["time>=" + day], [1, 2, 3, 4]), (["time>" + day], []), (["time<2020"], []),
                           (["time=x"], []), ([f"time>={day} 00:00"], [1, 2, 3, 4]), ([f"time<{day} 00"], []), ([f"root={self.root / 'runs' / names[1]}"], [2]), (["root=x"], []),
                           (["best"], [1, 2]), (["best/of", "id=1"], [1]), (["best", "model=b/c", "lr=0.1"], [2]), (["k=v/1"], [3])):
            with self.subTest(words):
                self.assertEqual(self.ids(*words), ids)
                self.assertEqual(self.said, [])
        self.assertEqual(self.shell("ls", "best", "--all", "lr=0.1", "model=b/c")[1].split()[0], "2")
        header, row = self.shell("ls", "name=x")        # a lone run has the columns that differ among all
        self.assertEqual((header.split()[2], row.split()[3]), ("name", "x"))

    def test_sort_and_n_give_the_best_of_the_results_and_runs_without_one_come_last(self):
        for lr, score in (("1", {"acc": 0.5, "tag": "b"}), ("2", {"acc": 0.9, "tag": "a"}), ("3", None), ("4", {"acc": 0.7, "tag": "c"}), ("5", {"acc": float("nan")})):
            args = self.run_("--lr", lr)
            if score:
                (args.root / "score.json").write_text(json.dumps(score))
        results = ("--results", "score.json")
        for argv, ids in (((), [1, 2, 3, 4, 5]), (("--sort", "acc"), [1, 4, 2, 3, 5]), (("--sort", "-acc"), [2, 4, 1, 3, 5]),
                          (("--sort=-acc", "-n", "2"), [2, 4]), (("--sort", "-acc", "-n", "2", "lr!=2"), [4, 1]), (("--sort", "acc", "-n2"), [1, 4]),
                          (("-n", "2"), [4, 5]), (("-n", "9"), [1, 2, 3, 4, 5]), (("--sort", "tag"), [2, 1, 4, 3, 5]), (("--sort", "-id"), [5, 4, 3, 2, 1]),
                          (("--sort", "-root", "-n", "1"), [5]), (("acc>0.6",), [2, 4])):
            with self.subTest(argv):
                self.assertEqual(self.ids(*results, *argv), ids)
        self.assertEqual(self.columns(*results, "--sort", "-acc", "-n", "2"), ["id", "time", "acc", "tag", "lr"])
        self.shell("ls", "--sort", "acc", status=1)
        self.assertIn("no parameter 'acc'", self.said[0])

    def test_failed_runs_are_listed_with_fails_and_status_where_it_differs(self):
        self.run_()
        self.failed(self.run_())
        self.assertEqual((self.ids(), self.ids("--fails"), self.ids("--fails", "status=failed")), ([1], [1, 2], [2]))
        self.assertEqual(self.columns("--fails"), ["id", "time", "status"])

    def test_csv_and_json_are_exact(self):
        import csv
        texts = ['a,b "c"\nd', "caf\u00e9 \U0001f600", "1.0", "", "#", "\\"]
        for text in texts:
            self.run_("--model", text, "--lr", "0.30000000000000004", "--sizes", "1", "--seed", str(2**70))
        self.run_("--lr", "nan")
        args = self.run_("--lr=-inf")
        table = list(csv.DictReader(io.StringIO("\n".join(self.shell("ls", "--csv")))))
        self.assertEqual([row["model"] for row in table[:-2]], texts)
        self.assertEqual([table[0][key] for key in ("lr", "sizes", "cuda", "seed")], ["0.30000000000000004", "[1]", "True", str(2**70)])

        def refuse(constant):
            raise AssertionError(f"{constant} is no JSON")
        rows = json.loads("\n".join(self.shell("ls", "--json")), parse_constant=refuse)
        self.assertEqual([row["model"] for row in rows[:-2]], texts)
        self.assertEqual([rows[0][key] for key in ("lr", "sizes", "cuda", "seed")], [0.30000000000000004, [1], True, 2**70])
        for last in (rows[-1], table[-1]):
            self.assertEqual((float(last["lr"]), last["time"], last["root"]), (float("-inf"), str(args.exman.time), str(args.root)))
            self.assertIn(last["seed"], (None, ""))
        self.assertTrue(float(rows[-2]["lr"]) != float(rows[-2]["lr"]))

    def test_a_root_without_runs(self):
        self.assertEqual(self.shell("ls", status=1), [])
        self.assertIn("there is no root at", self.said[0])
        self.root.mkdir()
        self.assertEqual(self.shell("ls"), ["id  time"])
        self.assertRegex(self.shell("ls", "--csv", "--sort", "lr", "lr=1")[0], "^id,time,root")
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

    def test_marks_take_ranges_and_are_made_listed_and_taken_away(self):
        for _ in range(5):
            self.run_()
        self.assertEqual(self.shell("mark", "best/lr", "1", self.runs()[1], "2"), ["marked best/lr: 1, 2"])
        self.assertEqual(self.shell("mark", "best", "2-4", "000005"), ["marked best: 2, 3, 4, 5"])
        self.shell("mark", "caf\u00e9", "3")
        self.assertEqual([line.split() for line in self.shell("marks")], [["5", "best"], ["2", "best/lr"], ["1", "caf\u00e9"]])
        self.assertEqual(self.shell("unmark", "best", "2-4"), ["unmarked best: 2, 3, 4"])
        self.assertEqual((self.ids("best"), self.ids("best/lr"), self.ids("caf\u00e9")), ([1, 5], [1], [3]))
        self.assertEqual(self.shell("unmark", "best", "2", "1", status=1), ["unmarked best: 1"])
        self.assertEqual(self.said, ["exman: no run 2: exman ls lists them"])

    def test_a_run_that_is_not_there_is_named_and_the_others_are_done(self):
        self.run_()
        self.run_()
        self.run_("--tmp")
        args = self.run_()
        self.failed(args)
        name = self.runs()[0]
        for argv, done, said in ((["mark", "best", "1-2", "9"], ["marked best: 1, 2"], ["no run 9"]),
                                 (["mark", "best", "1-3", "4"], ["marked best: 1, 2"], ["no run 3: exman ls lists them", "no run 4"]),
                                 (["mark", "best", "4-6"], [], ["no run 4", "no run 5", "no run 6"]),
                                 (["mark", "best", "7-8", "2-1"], [], ["no run 7", "no run 8", "no run 2-1"]),
                                 (["mark", "best", "9-99999999999"], [], [f"no run {number}" for number in range(9, 108)]),
                                 (["mark", "best", name[:-1]], [], [f"no run {name[:-1]}"]),
                                 (["diff", "1", "9"], [], ["no run 9 in "]), (["cmd", "1-2"], [], ["no run 1-2 in "]),
                                 (["cmd", name[:-1]], [], [f"no run {name[:-1]} in "]),
                                 (["delete", "9", "2-x"], [], ["no run 9", "no run 2-x"]),
                                 (["ls", "bets"], [], ["no mark 'bets': did you mean best?"]), (["unmark", "bets", "1"], [], ["no mark 'bets': did you mean best?"]),
                                 (["ls", "zzz"], [], ["no mark 'zzz': there are best"]), (["ls", "2"], [], ["no mark '2': there are best"]),
                                 (["ls", "../runs"], [], ["no mark '../runs': there are best"]), (["ls", "best", "b"], [], ["no mark 'best b': did you mean best?"]),
                                 (["ls", "modle=a"], [], ["no parameter 'modle': did you mean model?"]), (["ls", "--sort", "-modle"], [], ["no parameter 'modle': did you mean model?"]),
                                 (["ls", "q=a"], [], ["no parameter 'q': there are id, time, root, lr, model, sizes, cuda, seed"])):
            with self.subTest(argv):
                self.assertEqual(self.shell(*argv, status=1), done)
                self.assertEqual(len(self.said), len(said), self.said)
                for line, start in zip(self.said, said):
                    self.assertTrue(line.startswith(f"exman: {start}"), line)
        self.assertEqual(self.ids("best"), [1, 2])

    def test_an_ambiguous_number_is_refused_naming_both(self):
        for _ in range(3):
            self.run_()
        one = self.runs()[1]
        other = one[:-1] + str((int(one[-1]) + 1) % 10)
        shutil.copytree(str(self.root / "runs" / one), str(self.root / "runs" / other))
        for argv in (["delete", "--all", "--yes", "2"], ["mark", "best", "2"], ["cmd", "2"], ["diff", "1", "2"]):
            with self.subTest(argv):
                self.assertEqual(self.shell(*argv, status=1), [])
                self.assertEqual(len(self.said), 1)
                self.assertIn("ambiguous", self.said[0])
                self.assertIn(f"runs/{one}", self.said[0])
                self.assertIn(f"runs/{other}", self.said[0])
        self.assertEqual(self.shell("mark", "best", "1-2", status=1), ["marked best: 1"])
        self.assertEqual(len(self.runs()), 4)
        self.assertEqual(self.shell("delete", "--all", "--yes", other), ["deleted: 2"])

    def test_wrong_usage_is_status_2(self):
        self.run_()
        for argv in ([], ["nope"], ["ls", "--csv", "--alll"], ["ls", "-n", "x"], ["diff", "1"], ["diff", "1", "1", "1"], ["cmd"],
                     ["marks", "1"], ["mark"], ["mark", "best", "1", "--yes"], ["mark", "best", "1", "--csv"],
                     ["mark", "best"], ["unmark", "best"], ["delete"], ["ls", "--sort", "--"], ["ls", "--sort"]):
            with self.subTest(argv):
                self.shell(*argv, status=2)
        self.assertFalse((self.root / "marked").exists())
        self.shell("mark", "best", "1")
        for key in ("best/", "./best", "12", "../best"):
            for verb in ("mark", "unmark"):
                with self.subTest([verb, key]):
                    self.assertEqual(self.shell(verb, key, "1", status=1), [])
        self.assertEqual(self.shell("marks"), ["     1  best"])
        self.assertIn("quote", " ".join(self.shell("ls", "--help")))
        for words in (["--help"], []):                  # each shows all verbs
            lines = self.shell(*words, status=0 if words else 2, root=False) + self.said
            for verb in ("ls", "diff", "cmd", "mark", "unmark", "marks", "delete", "fix"):
                self.assertTrue(any(line.startswith(f"{verb} ") for line in lines), verb)

    def test_root_stands_before_or_after_the_verb_and_is_found_without(self):
        self.run_()
        for argv in (["ls"], ["ls", "--root", str(self.root)], ["--root", str(self.root), "ls"]):
            self.assertEqual(len(self.shell(*argv, root=False)), 2)
        (self.folder / "runs").mkdir()                  # of another program
        self.assertEqual(len(self.shell("ls", root=False)), 2)
        os.chdir(str(self.root))
        self.assertEqual(len(self.shell("ls", root=False)), 2)
        shutil.rmtree("index")
        self.assertEqual(len(self.shell("fix", root=False)), 1)
        os.chdir(str(self.root / "runs"))
        self.shell("ls", root=False, status=1)
        gone = self.folder / "gone"
        gone.mkdir()
        os.chdir(str(gone))
        gone.rmdir()
        self.shell("ls", root=False, status=1)
        self.assertEqual(self.said, ["exman: there is no root at exman: give --root DIR, or change to its folder"])

    def test_delete_leaves_the_files_and_with_all_takes_them_too(self):
        for argv in ([], [], [], ["--tmp"]):
            self.run_(*argv)
        self.shell("mark", "best", "1", "2")
        self.assertEqual(self.shell("delete", "1", "1"), ["taken out of index and marks: 1"])
        self.assertEqual((self.ids(), len(self.runs()), self.ids("best")), ([2, 3], 3, [2]))
        self.assertEqual(self.shell("delete", "--all", "--yes", "2", "4", "1-2"), ["deleted: 2, 4, 1"])
        self.assertEqual((self.ids(), len(self.runs()), self.runs("tmp"), self.shell("marks")), ([3], 1, [], []))
        self.assertEqual(self.run_().exman.id, 5)

    def test_delete_all_asks_on_a_terminal_and_refuses_elsewhere_unless_yes(self):
        class Terminal(io.StringIO):
            isatty = lambda self: True  # noqa: E731
        self.addCleanup(setattr, sys, "stdin", sys.stdin)
        for stdin, argv, status, left in ((Terminal("n\n"), [], 1, 1), (Terminal(""), [], 1, 1), (Terminal("yes please\n"), [], 1, 1), (Terminal("y\n"), [], 0, 0),
                                          (io.StringIO("y\n"), [], 1, 1), (None, [], 1, 1), (Terminal(""), ["--yes"], 0, 0), (None, ["--yes"], 0, 0)):
            with self.subTest(stdin=stdin and stdin.getvalue(), argv=argv):
                name = self.run_().root.name
                sys.stdin = stdin
                asked = f"delete {name} with all files? [y/N] " if isinstance(stdin, Terminal) and not argv else ""
                said = "".join(self.shell("delete", "--all", *argv, name, status=status))
                self.assertEqual(said, asked + ("" if left else f"deleted: {int(name[:6])}"))
                self.assertEqual(self.runs().count(name), left)

    def test_control_characters_never_reach_the_terminal(self):
        args = self.run_("--model", "a\x1b[2Jb")
        self.run_("--model", "\u202e")
        mark = self.root / "marked" / "ev\x1bil" / f"{args.root.name}.yaml"
        mark.parent.mkdir(parents=True)
        shutil.copy(str(args.root / "params.yaml"), str(mark))
        planted = args.root.name.replace("000001", "000007") + "-\x1b[2J\n"
        shutil.copytree(str(args.root), str(self.root / "runs" / planted))
        path = args.root / "params.yaml"
        path.write_text(path.read_text(encoding="utf-8").replace("cuda:", '"k\\e":', 1), encoding="utf-8")
        sys.stdin, stdin = mock.Mock(isatty=lambda: True, readline=lambda: "n", fileno=lambda: -1), sys.stdin
        self.addCleanup(setattr, sys, "stdin", stdin)
        for argv, status in ((["ls"], 0), (["ls", "--all"], 0), (["diff", "1", "2"], 0), (["marks"], 0), (["fix"], 0), (["ls", "nope"], 1), (["ls", "q=1"], 1), (["delete", "--all", "7"], 1),
                             (["cmd", planted[:-1]], 1), (["--root", "no\x1bne", "ls"], 1)):
            with self.subTest(argv):
                text = "".join(self.shell(*argv, status=status) + self.said)
                self.assertTrue(text.isprintable(), ascii(text))
                self.assertTrue(text)

    def test_fix_says_each_thing_done(self):
        names = [self.run_().root.name for _ in range(2)]
        shutil.rmtree(str(self.root / "runs" / names[0]))
        (self.root / "index" / f"{names[1]}.yaml").unlink()
        lines = self.shell("fix")
        self.assertIn(f"made index/{names[1]}.yaml", lines)
        self.assertTrue(any(line.startswith(f"took away index/{names[0]}.yaml") for line in lines), lines)
        self.assertEqual((self.shell("fix"), self.ids()), ([], [2]))

    @unittest.skipUnless(os.name == "posix", "needs modes")
    def test_in_a_root_of_the_group_the_marks_are_the_groups_too(self):
        umask = os.umask(0o077)
        try:
            for shared, bits in ((True, 0o070), (False, 0)):
                self.parser = super().parser(root=self.folder / str(shared), shared=shared)
                self.root = self.folder / str(shared)
                self.run_()
                self.shell("mark", "best", "1")
                self.assertEqual((self.root / "marked" / "best").stat().st_mode & 0o070, bits)
        finally:
            os.umask(umask)

    def test_the_scripts_own_mark_verb_marks_its_root(self):
        self.run_()
        self.run_()
        for argv, status, said in ((["mark", "best", "2", "9", "1"], 1, "no run 9"), (["mark", "best", "1-2"], 0, ""),
                                   (["mark", "3", "1"], 1, "'3': it comes first"), (["mark"], 2, "mark MARK RUN ..."), (["mark", "--help"], 0, "")):
            with self.subTest(argv), contextlib.redirect_stdout(io.StringIO()) as stdout:
                with self.assertRaises(SystemExit) as caught:
                    self.run_(*argv)
                self.assertEqual(caught.exception.code, status)
                self.assertIn(said, self.stderr)
                self.assertIn("usage: main.py " if status == 2 else "", self.stderr)
                self.assertEqual("marked best: " in stdout.getvalue(), argv[1:2] == ["best"])
        self.assertEqual((self.ids("best"), len(self.runs())), ([1, 2], 2))

    def test_a_script_that_takes_the_word_mark_keeps_it(self):
        self.parser.add_argument("word")
        self.assertEqual(self.parse(self.parser, "mark").word, "mark")
        parser = super().parser()
        parser.add_subparsers(dest="verb").add_parser("mark").add_argument("key")
        args = self.parse(parser, "mark", "best")
        self.assertEqual((args.verb, args.key), ("mark", "best"))

    def test_choices_that_take_no_text_are_not_asked_for_the_word_mark(self):
        class Mode(enum.Enum):
            fast = "fast"
        parser = super().parser()
        parser.add_argument("mode", type=Mode, choices=Mode)
        self.assertIs(self.parse(parser, "fast").mode, Mode.fast)
        with mock.patch("sys.stdout", io.StringIO()), self.assertRaises(SystemExit) as ended:
            parser.parse_args(["mark", "best", "1"])
        self.assertEqual(ended.exception.code, 0)
        self.assertEqual(self.shell("marks"), ["     1  best"])


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
            parser.parse_args()
        """, "my main.py")

    def cmd(self, name, status=0):
        stdout, stderr = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.StringIO()
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            self.assertEqual(exman.main(["cmd", name]), status, stderr.getvalue())
        self.said = stderr.getvalue()
        return stdout.buffer.getvalue()

    def params_of(self, name):
        return {key: value for key, value in exman.load_yaml((self.root / "runs" / name / "params.yaml").read_text(encoding="utf-8")).items()
                if key not in ("id", "time", "root")}

    @unittest.skipUnless(os.name == "posix", "quotes for sh")
    def test_the_line_makes_an_equal_run(self):
        path = os.path.dirname(sys.executable) + os.pathsep + os.environ["PATH"]
        for argv in (["--text", "a b 'c' \"d\" $HOME `x` \\ ! * ~ ; &\nnew\ttab"], ["-vv", "--add", "a b", "--add=-c", "fi le", "--sizes"],
                     ["--text=\udce9", "--name", "my run"]):
            with self.subTest(argv):
                self.python("my main.py", *argv)
                name = self.runs()[-1]
                done = subprocess.run(self.cmd(name), shell=True, stderr=subprocess.PIPE, env=dict(os.environ, PYTHONPATH=str(HERE), PATH=path))
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual(self.params_of(self.runs()[-1]), self.params_of(name))
                self.assertNotEqual(self.runs()[-1], name)
                self.assertEqual(self.runs()[-1].split("-")[7:], name.split("-")[7:])

    def argv(self, words):
        """A run whose launch was in these words, as its params.yaml has them."""
        folder = self.root / "runs" / "000007-2026-11-23-13-27-00"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "params.yaml").write_text(f"# exman: {words!r}\nroot: runs/{folder.name}\ntime: '2026-11-23T13:27:00'\nid: 7\n", encoding="utf-8")
        return folder

    def test_files_that_were_named_become_the_runs_own(self):
        self.argv({"argv": ["main.py", (5, "x")]})      # edited
        self.assertIn(b" main.py 5 ", self.cmd("7"))
        folder = self.argv({"argv": ["main.py", ("--config", "3"), "--lr", "a b", ("--config", "x.yaml"), "-v"]})
        with mock.patch("os.name", "posix"):
            self.assertEqual(self.cmd("7").decode(), f"python3 main.py --config {folder / 'params.yaml'} --lr 'a b' -v\n")
        with mock.patch("os.name", "nt"):               # where python3 may be the shop's
            self.assertEqual(self.cmd("7").decode().split()[0], "python")

    def test_a_run_whose_own_lines_were_edited_has_its_words_still(self):
        path = self.argv({"argv": ["main.py", "--lr", "3"]}) / "params.yaml"
        for old, new in (("id: 7\n", ""), ("root: runs/", "root: elsewhere/")):
            path.write_text(path.read_text().replace(old, new))
            with self.subTest(old), mock.patch("os.name", "posix"):
                self.assertEqual(self.cmd("7"), b"python3 main.py --lr 3\n")

    def test_a_run_that_no_script_started_says_so(self):
        for words in ({}, {"argv": []}, {"argv": None}):
            self.argv(words)
            self.assertEqual(self.cmd("7", status=1), b"")
            self.assertRegex(self.said, "^exman: .*notebook.*--config\n$")


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
        parser.add_argument("--commit", default="")
        for number in range(count):
            args = self.parse(parser, "--learning-rate", repr(0.00012345 * (number + 1) / 3), "--model", f"resnet{number}", "--seed", str(number),
                              "--note", "caf\u00e9 and some words about what was tried " * (number % 3) + "x" * note, "--optimizer", "adamw" if number % 2 else "sgd",
                              "--commit", f"{number:040x}"[::-1], *(["--name", "good"] if number == 7 else []))
            (args.root / "end.yaml").write_text("status: done\ntime: '2026-11-23T13:27:00'\nseconds: 1.5\n")

    def in_terminal(self, columns, *argv, status=0, typed=b""):
        """What the program writes on a terminal so wide: stdout and stderr in their order."""
        import pty
        pid, terminal = pty.fork()
        if pid == 0:
            try:
                import fcntl
                import struct
                import termios
                fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
                env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "PYTHONUNBUFFERED")}
                os.execve(sys.executable, [sys.executable, str(HERE / "exman.py"), *argv], dict(env, PYTHONIOENCODING="utf-8"))
            finally:
                os._exit(1)
        os.write(terminal, typed)
        output = b""
        with contextlib.suppress(OSError):              # Linux ends with EIO
            while True:
                part = os.read(terminal, 65536)
                if not part:
                    break
                output += part
        os.close(terminal)
        self.assertEqual(os.waitpid(pid, 0)[1] >> 8, status, output)
        return output.decode("utf-8").replace("\r\n", "\n").splitlines()

    @unittest.skipUnless(sys.platform.startswith("linux"), "needs a pseudo-terminal")
    def test_ls_fits_the_terminal(self):
        self.many()
        wide = self.in_terminal(300, "ls")
        self.assertEqual(wide[0].split(), ["id", "time", "name", "learning_rate", "model", "note", "optimizer", "seed", "commit"])
        self.assertEqual(len(wide), 31)
        self.assertIn(repr(0.00012345 / 3), wide[1])
        self.assertRegex(wide[-1], "  d1000000$")         # the commit, by its first 8 characters
        lines = self.in_terminal(100, "ls")
        self.assertEqual(max(map(len, lines)), 100)
        self.assertRegex(lines[2], r"^ 2  ....-..-.. ..:..:..  .* 8\.23e-05  resnet1 +caf\u00e9 and some words about what w~ ~$")
        self.assertEqual([int(line.split()[0]) for line in lines[1:]], list(range(1, 31)))
        self.assertGreater(max(map(len, self.in_terminal(80, "ls", "--all"))), 80)
        self.assertEqual(self.in_terminal(80, "ls", "--sort", "-seed")[1].split()[0], "30")
        self.assertIn("seed", self.in_terminal(80, "ls", "--sort", "-seed")[0])

    @unittest.skipUnless(sys.platform.startswith("linux"), "needs a pseudo-terminal")
    def test_delete_all_asks_on_the_terminal(self):
        self.many(2)
        for typed, status, left in ((b"n\n", 1, 2), (b"y\n", 0, 1)):
            lines = self.in_terminal(80, "delete", "--all", "1", typed=typed, status=status)
            self.assertIn("delete 1 with all files? [y/N]", "".join(lines))
            self.assertEqual(len(self.runs()), left)

    def test_in_a_pipe_nothing_is_cut_and_what_its_encoding_lacks_is_escaped(self):
        self.many(4, note=2000)
        done = self.python(HERE / "exman.py", "ls", env={"COLUMNS": "40", "PYTHONIOENCODING": "ascii"})
        self.assertIn("x" * 2000, done.stdout)
        self.assertIn("caf\\xe9 and some words about what was tried caf", done.stdout)
        self.assertEqual(done.stderr, "")

    @unittest.skipUnless(os.name == "posix", "closes the pipe of a process")
    def test_a_reader_that_has_seen_enough_is_no_error(self):
        self.many(6, note=20000)                        # more than a pipe holds
        for verb in ("ls", "ls --csv"):
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
        with contextlib.redirect_stdout(io.StringIO()):
            exman.main(["mark", "best", "1"])
        env = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
        for verb in ("ls", "ls --csv", "ls --json", "marks", "diff 1 2", "cmd 1", "mark best 1"):
            closed = subprocess.Popen(f'"{sys.executable}" "{HERE / "exman.py"}" {verb} >&-', shell=True, stderr=subprocess.PIPE, env=env)
            full = subprocess.Popen(f'"{sys.executable}" "{HERE / "exman.py"}" {verb} >/dev/full', shell=True, stderr=subprocess.PIPE, env=env)
            self.assertEqual((closed.communicate()[1], closed.returncode), (b"", 0), verb)
            said = full.communicate()[1].decode().splitlines()
            self.assertEqual((len(said), full.returncode), (1, 1), said)
            self.assertRegex(said[0], "^exman: .*(?i:space)")
        full = subprocess.run(f'"{sys.executable}" "{HERE / "exman.py"}" ls >/dev/full', shell=True, stderr=subprocess.PIPE, env=dict(env, PYTHONUNBUFFERED="1"))
        self.assertEqual((full.returncode, len(full.stderr.splitlines())), (1, 1), full.stderr)

    @unittest.skipUnless(os.name == "posix", "sends a signal")
    def test_ctrl_c_is_status_130(self):
        self.many(1)
        code = "import exman, signal, os, sys; exman._table = lambda *a, **k: os.kill(os.getpid(), signal.SIGINT); sys.exit(exman.main(['ls']))"
        self.assertEqual(self.python("-c", code, status=130).stderr, "")

    def test_the_copied_file_and_the_module_are_one_program(self):
        self.many(2)
        lines = self.python(HERE / "exman.py", "ls").stdout
        self.assertEqual(self.python("-m", "exman", "ls").stdout, lines)
        modules = self.python("-X", "importtime", HERE / "exman.py", "diff", "1", "1").stderr
        for module in ("pandas", "csv", "difflib"):
            self.assertNotRegex(modules, rf"\| +{module}\n")

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
        self.assertEqual((done.stdout, done.stderr), ("['--help', '--lr']\n", ""))
        self.assertFalse(self.root.exists())


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
