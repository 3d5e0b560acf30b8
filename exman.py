"""exman records experiment runs: swap argparse.ArgumentParser for exman.ExParser and change nothing else.

    import exman
    parser = exman.ExParser()                           # its root: the folder `exman` beside this script
    parser.add_argument("--lr", type=float, default=0.1)
    args = parser.parse_args()                          # recorded: args.root is the run's folder
    (args.root / "score.txt").write_text(str(args.lr))

Each launch leaves its parameters, defaults included, in a numbered folder:

    root/runs/000012-2026-11-23-13-27-00[-NAME]/params.yaml   + whatever the experiment writes
    root/index/000012-2026-11-23-13-27-00[-NAME].yaml         link -> ../runs/<run>/params.yaml
    root/marked/<mark>/000012-....yaml                        link -> ../../runs/<run>/params.yaml
    root/tmp/000013-.../params.yaml                           runs made with --tmp: recorded, not indexed
    root/fails/000014-.../params.yaml                         runs that raised inside `with args.exman:`

`python main.py --config root/index/<run>.yaml` runs one again, `exman.Index(root).info()` is the table of
all, and `python main.py mark best 12` keeps the good ones at hand. It needs nothing but CPython 3.8 or later.
"""
from __future__ import annotations

import argparse
import atexit
import errno
import functools
import itertools
import os
import re
import stat
import sys
import time
from _thread import RLock, _local, get_ident
from argparse import SUPPRESS, Action, ArgumentError, ArgumentParser
from io import FileIO

# Imported where used, for each costs about as much as this module: pathlib, datetime, json, subprocess.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    import pathlib
    from typing import Any, Callable, Iterable, NoReturn, Sequence, Union
    _Path = Union[str, os.PathLike[str]]
    _Known = tuple["Namespace", list[str]]
    _Results = Union[_Path, Callable[[pathlib.Path], Any], None]

__all__ = ["ArgumentError", "ExParser", "Index", "Namespace", "Run", "YAMLError", "dump_yaml", "load_yaml",
           "main", "optional", "simpleroot"]
__version__ = "1.1.0"


# ------------------------------------------------------------------------------------------------------------
# The run and the namespace: what a script gets back from parse_args.
# ------------------------------------------------------------------------------------------------------------

class Run:
    """One recorded run, and the block that guards its experiment.

    root: its folder, an absolute pathlib.Path (in fails/ once it has failed); name: that folder's name;
    id: its number; time: datetime.datetime of the launch, in seconds; tmp: whether it was made with --tmp.

        with args.exman:            # or args.safe_experiment, the same object
            train(args)

    Inside the block stdout also goes to log.txt. An exception writes traceback.txt, moves the run to fails/
    and goes on upwards; so does Ctrl-C, but for the move; sys.exit(0) is a success. A process that did not
    make the run (a rank, a worker) moves nothing, and signs its files: log.1.txt.
    """

    time: datetime.datetime = property(lambda self: _time(self.name))  # type: ignore[assignment]

    def __init__(self, base: Any, part: str, name: str, rank: str = "", maker: int = 0) -> None:
        self.name, self.id, self.tmp = name, _number(name), part == "tmp"
        self._base, self._part, self._rank = base, part, rank   # where it was made; which rank has joined it
        self._maker = maker                             # the process that made it: no copy ends or moves it
        self._begun, self._inside = time.monotonic(), []        # the process, for each block that it is in

    @property
    def root(self) -> pathlib.Path:
        from pathlib import Path
        return Path(self._folder())

    def __repr__(self) -> str:
        return f"<exman.Run {self.id}: {self._folder()}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Run, (self._base, self._part, self.name, self._rank)

    def __deepcopy__(self, memo: object) -> Run:
        return self                                     # a copy of args is of the same run

    def __enter__(self) -> Run:
        with _LOCKS.setdefault(os.getpid(), RLock()):
            if os.getpid() not in self._inside:         # the process that has forked this one may be there
                self._status = "done"                   # the worst that becomes of a task in the block
                self._log = self._logging()
                _attempt("no log", next, self._log)
            self._inside.append(os.getpid())
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        with _LOCKS.setdefault(os.getpid(), RLock()):
            self._inside.pop()
            status = _status(error)
            if status != "done":
                _attempt("no traceback", self._write_traceback, kind, error, trace)
            if status == "failed" or self._status == "done":
                self._status = status
            if os.getpid() in self._inside:
                return                                  # another block, of a thread or a task, is still open
            _attempt("the log may lack its end", next, self._log, None)
        self._end(self._status)
        if self._status == "failed" and self._maker == os.getpid():
            _attempt("the run is not in fails/", self._base.move_to_fails, self._part, self.name)
        if self._status != "done":
            _say(f"run {self.id} {self._status}: {self._folder()}")

    def _folder(self):
        """Where it lies; its maker, perhaps another process, may have moved it to fails/."""
        failed = f"{self._base}/fails/{self.name}"
        return failed if os.path.isdir(failed) else f"{self._base}/{self._part}/{self.name}"

    def _opened(self, stem):
        """log.txt or traceback.txt, at its end, without a buffer: a kill loses nothing."""
        if self._maker != os.getpid():                  # signed with a rank, with the name of a worker
            stem += "." + (f"{self._rank}-{_worker()[0]}".strip("-") or str(os.getpid()))
        file = _Log(f"{self._folder()}/{stem}.txt", "ab")
        self._base.share(file.name)
        return file

    def _logging(self):
        """From one next() to the other, copy what is written to stdout into the log."""
        if self._maker == os.getpid():                  # how it ended is for this block to say now
            _OPEN.pop((self._base, self.name), None)
            _unlink(f"{self._folder()}/end.yaml")
        stream: Any = sys.stdout                        # which may be none, or take no attribute
        log = self._opened("log")
        if getattr(stream.write, "func", None) is not _write:
            stream.write = functools.partial(_write, stream.write, set())
        write = stream.write
        _, logs = write.args
        logs.add(log)
        yield
        logs.discard(log)
        if not logs and stream.write is write:
            del stream.write
            if stream.write != write.args[0]:           # there was one of the script's own, not of its class
                stream.write = write.args[0]

    def _write_traceback(self, kind, error, trace):
        import traceback
        try:
            text = "".join(traceback.format_exception(kind, error, trace))
        except Exception:                               # of its own class, or a SyntaxError of odd parts
            text = f"{kind.__name__}\n{''.join(traceback.format_tb(trace))}"
        with self._opened("traceback") as file:
            file.write(text.encode("utf-8", "backslashreplace"))

    def _end(self, status):
        """Leave end.yaml in the run's folder."""
        end = {"status": status, "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
               "seconds": round(time.monotonic() - self._begun, 3)}
        if self._maker == os.getpid():
            _attempt(f"how run {self.id} ended is not recorded", self._base.write_whole,
                     f"{self._folder()}/end.yaml", dump_yaml(end).encode())


class _Log(FileIO):
    # Closed once no thread writes to it: the system gives its number to the file that is opened next.
    def __del__(self):
        _attempt("the log may lack its end", self.close)


def _attempt(what, step, *args):
    """Take a step of the block; what fails costs a line, never the experiment or its own exception."""
    try:
        step(*args)
    except Exception as problem:                        # a full disk; a stdout that takes no attribute
        if not isinstance(problem, FileNotFoundError):  # the run was deleted, or is in fails/ already
            _say(f"{what}: {_reason(problem)}")


def _write(write, logs, text):
    """A stream's `write` while blocks are open: their logs, too, get the text; the stream stays the same."""
    written = write(text)
    for log in [*logs]:
        try:
            log.write(text.encode("utf-8", "backslashreplace"))
        except (OSError, ValueError) as problem:        # a full disk ends the log, not the experiment
            if log in logs:                             # else another thread has said so, or left its block
                logs.discard(log)
                _say(f"the log ends here: {problem}")
    return written


def _status(error):
    """How a block or a script ended, by the exception that left it; a script's sys.exit() leaves none."""
    cancelled = getattr(sys.modules.get("asyncio"), "CancelledError", ())    # Ctrl-C, in a coroutine
    if isinstance(error, (KeyboardInterrupt, cancelled)):
        return "interrupted"
    is_success = isinstance(error, (type(None), GeneratorExit))      # a generator that its caller closed
    return "done" if is_success or isinstance(error, SystemExit) and error.code in (None, 0) else "failed"


# The run of the last parse, until a block has it, by root and name; beside it sys.last_value as it was then:
# only an exception printed later has ended this run, not that of an earlier cell of a notebook.
_OPEN: dict[Any, Any] = {}
_ENDING: set[int] = set()                               # the processes that will end it when they exit


def _end_open(then=None):
    """End the run that is open; then: the one that is from now on, with the interpreter at the latest."""
    # Up to CPython 3.12 a worker's exception is still under way when its end comes.
    error = not then and sys.exc_info()[1] or getattr(sys, "last_value", None)
    _OPEN.pop(then and (then._base, then.name), None)   # a further stage of one script
    for run, earlier in filter(None, [_OPEN.pop(key, None) for key in [*_OPEN]]):   # threads may do the same
        run._end(_status(error if error is not earlier else None))
    if then:
        _OPEN[then._base, then.name] = then, error
        if os.getpid() not in _ENDING:                  # a fork may have forgotten what was registered
            _ENDING.add(os.getpid())
            atexit.register(_end_open)
            if _worker()[0]:                            # it may leave without the interpreter's end
                sys.modules["multiprocessing.util"].Finalize(None, _end_open, exitpriority=0)


class Namespace(argparse.Namespace):
    """What parse_args returns: vars(args) is what argparse would have put there; the run stands beside it."""

    # On a class made for each parse and not on the object, so that vars(), == and json see parameters alone.
    # A parameter of the script with one of these names hides exman's: args.exman.root is always the run.
    exman: Run
    safe_experiment: Run                                # the same object
    root: pathlib.Path                                  # the run's folder
    _beside: Any = ()                                   # the run, and the dests of the script
    # pickle refuses an object whose __reduce_ex__ names another class than this; it is set as ever.
    __class__: Any = property(lambda self: argparse.Namespace, vars(object)["__class__"].__set__)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # The run goes along with a copy, and to another process of this job.
        frame: Any = sys._getframe(1)
        while frame and frame.f_globals.get("__name__") not in ("copy", "multiprocessing.reduction"):
            frame = frame.f_back
        if frame and type(self)._beside:
            return _with_run, (argparse.Namespace(), *type(self)._beside), self.__dict__
        plain = argparse.Namespace()                    # a checkpoint loads where there is no exman
        plain.__dict__ = self.__dict__                  # the same dict: a checkpoint may have vars(args) too
        return plain.__reduce_ex__(protocol)


def _with_run(namespace, run, dests):
    """The namespace with the run beside its parameters, under names that are no dests of the script."""
    beside = {"exman": run, "safe_experiment": run, "root": _ROOT_OF_RUN}
    members = {name: beside[name] for name in beside.keys() - dests}
    namespace.__class__ = type("Namespace", (Namespace,), {**members, "_beside": (run, dests)})
    return namespace


# No property: that would go before an attribute of the script's.
_ROOT_OF_RUN = type("_RootOfRun", (), {"__get__": lambda self, args, kind: kind._beside[0].root})()


def _say(line):
    """One printable line on stderr; stdout belongs to the script."""
    try:
        sys.stderr.write(f"exman: {_shown(line)}\n")
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):       # none, closed, a full disk: the script goes on
        pass


# ------------------------------------------------------------------------------------------------------------
# The parser: argv becomes args, and each outermost parse that succeeds becomes one run.
# ------------------------------------------------------------------------------------------------------------

def optional(type: Callable[[str], Any]) -> Callable[[str | None], Any]:
    """Make a type= that also takes none and null, in any case: optional(int)("none") is None."""
    convert = _bool if type is bool else type

    def optional_type(text):
        return None if str(text).lower() in ("none", "null") else convert(text)
    optional_type.__name__ = f"optional {getattr(type, '__name__', type)}"
    return optional_type


def _bool(text):
    """type=bool as people mean it; argparse's own bool('False') is True."""
    return str(text).lower() not in _FALSE


class ExParser(ArgumentParser):
    """An argparse.ArgumentParser that records each parse as a run.

    Beside argparse's parameters it takes root: the folder of all runs (default: `exman` beside the script);
    zfill: the least digits of numbers in names; shared: whether the group may write what exman makes;
    automark: words that name a mark of each run, a dest for itself and its value; default_config_files:
    yaml files that set defaults, where they exist; git: True (the script's) or the path of a repository, to
    record commit, dirty and changes.diff; git_assert_clean: refuse a dirty one without --git-dirty.
    add_argument takes volatile=True (recorded, never restored by --config) and secret=True (in no file of the
    run). Where no run can be made it exits with status 1, or raises OSError with exit_on_error=False.
    """

    exit_on_error = True                                # CPython 3.8 has no such parameter
    _exman: Any                                         # what it takes beyond argparse

    def __init__(self, *args: Any, root: _Path | None = None, zfill: int = 6, shared: bool = False,
                 automark: Iterable[str] = (), default_config_files: Iterable[_Path] = (),
                 git: bool | _Path | None = None, git_assert_clean: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        marks, files = [[words] if isinstance(words, (str, os.PathLike)) else [*words]
                        for words in (automark, default_config_files)]      # one is no list of letters
        _set_up(self, argparse.Namespace(
            root=root, zfill=zfill, shared=shared, automark=marks, files=files, git=git or git_assert_clean,
            git_assert_clean=git_assert_clean, setters=[], validators=[], staged={}))

    def register_validator(self, function: Callable[..., object], message: str = "validation error") -> None:
        """Check args before each run: register_validator(lambda args: args.lr > 0, "{lr} is not above 0").

        False or an exception is a usage error: message.format(**vars(args)), or an ArgumentError's own words.
        """
        self._exman.validators.append((function, message))

    def register_setter(self, function: Callable[..., object]) -> None:
        """Change args before they are validated: register_setter(lambda args: setattr(args, "steps", 9))."""
        self._exman.setters.append(function)

    def parse_args(self, *args: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]
        """Parse as argparse does, record the run, and return the namespace with the run beside it."""
        return self._exman_parse("parse_args", *args, **kwargs)

    def parse_known_args(self, *args: Any, **kwargs: Any) -> _Known:  # type: ignore[override]
        """Parse as argparse does, record the run, and return the namespace and the words that are left."""
        return self._exman_parse("parse_known_args", *args, **kwargs)

    def parse_intermixed_args(self, *args: Any, **kwargs: Any) -> Namespace:  # type: ignore[override]
        """parse_args, with options and positionals in any order."""
        return self._exman_parse("parse_intermixed_args", *args, **kwargs)

    def parse_known_intermixed_args(self, *args: Any, **kwargs: Any) -> _Known:  # type: ignore[override]
        """parse_known_args, with options and positionals in any order."""
        return self._exman_parse("parse_known_intermixed_args", *args, **kwargs)

    def _exman_parse(self, name, args=None, namespace=None, **kwargs):
        """Call argparse's method of this name; the outermost call makes a run."""
        method, outer = getattr(super(), name), _THREAD.parse
        is_inner = outer is not None and (self in outer.levels or self in _family(outer.parser))
        if is_inner and self not in outer.levels:       # a subparser, or an action that parses more words
            outer.levels.append(self)
        if is_inner or "_ARGCOMPLETE" in os.environ:    # the shell completes a line: nothing is launched
            return method(args, namespace, **kwargs)
        parse = _Parse(self, args, whole="known" not in name)
        if parse.whole and parse.words[:1] == ["mark"]:
            # It is a verb, unless a positional takes it. By iter(): an Enum takes no text, an array no bool.
            first = self._get_positional_actions()[:1]
            if not any(action.choices is None or "mark" in iter(action.choices) for action in first):
                self.exit(_shell(self.prog, parse.words, _root_of(self._exman)))
        if isinstance(namespace, Namespace):            # of an earlier parse, whose run is another
            namespace.__class__ = argparse.Namespace
        _THREAD.parse = parse
        try:
            for path in filter(os.path.exists, map(os.path.expanduser, self._exman.files)):
                self._exman_refusing(parse.load, path, False)
            done = method([*parse.words], namespace, **kwargs)
            namespace = done if parse.whole else done[0]
            self._exman_refusing(parse.fill_in, namespace)
            for parser in parse.levels:
                for setter in parser._exman.setters:
                    setter(namespace)
            parse.finish(namespace)
            record = self._exman_refusing(parse.checked, namespace)
        finally:
            parse.put_back()
            _THREAD.parse = outer
        if outer is None:                               # one inside an action of another parser makes no run
            self._exman_make_run(parse, record, namespace)
        return done

    def _exman_refusing(self, function, *args):
        """Call a function of exman's; what it refuses is a usage error in argparse's own form."""
        try:
            return function(*args)
        except (ArgumentError, OSError, ValueError) as error:
            if not self.exit_on_error:
                raise ArgumentError(None, str(error)) from None
            self.error(str(error))

    def _exman_make_run(self, parse, record, namespace):
        stage = get_ident(), *parse.words               # parsed again, it is a further stage of one run
        try:
            run = _launch(_root_of(self._exman), record, self._exman.staged.get(stage))
        except (OSError, ValueError) as error:          # of a path with NUL, or beyond the locale's letters
            if not self.exit_on_error:
                raise
            self.exit(1, f"exman: no run was made: {_reason(error)}\n")
        self._exman.staged = {stage: run}
        _end_open(run)
        if type(namespace) is argparse.Namespace:       # an object of the caller's own class is left as it is
            _with_run(namespace, run, {action.dest for level in parse.levels for action in level._actions})

    def error(self, message: str) -> NoReturn:
        parse = _THREAD.parse
        if parse is not None:
            parse.put_back()                            # the usage is the script's
            if "ipykernel" in sys.modules and parse.words == sys.argv[1:]:
                message += "\nin a notebook, call parse_args([])"
            for _, _, name in parse.left_out():
                message += f"\nname the subcommand of the file first: {name}, then its options"
        super().error(message)

    def format_help(self, *args: Any, **kwargs: Any) -> str:
        import copy
        if _THREAD.parse is not None:
            _THREAD.parse.put_back()
        shown = copy.copy(self)                         # with the group of exman's options
        shown._action_groups = self._action_groups + _own_parser(self)._action_groups[-1:]
        return super(ExParser, shown).format_help(*args, **kwargs)

    # -- The hooks of argparse that are not public, each called alike in CPython 3.8 to 3.15 -----------------

    def _get_values(self, action, arg_strings):
        # The one place that is handed every option's strings: they are kept, for the record.
        values = super()._get_values(action, arg_strings)
        if _THREAD.parse is not None and (action.option_strings or arg_strings):
            _THREAD.parse.typed.append((action, [*arg_strings]))
        return values

    def _get_value(self, action, arg_string):
        # The one place where a type reads a text: so it is known of which text a value was made.
        value = super()._get_value(action, arg_string)
        if _THREAD.parse is not None and type(arg_string) is str:   # a default may be of a class of its own
            _THREAD.parse.read[action, id(value)] = arg_string, value
        return value

    def _parse_optional(self, arg_string):
        # The one place that says which option a word is. exman's own options live in a parser of their own,
        # so they are in no list, usage, abbreviation or conflict of this one. The answer differs by version.
        name = arg_string.partition("=")[0]
        if _THREAD.parse is not None and name.endswith(tuple(_OWN_OPTIONS)):
            own = _own_parser(self)
            if name in own._option_string_actions:
                return own._parse_optional(arg_string)
        return super()._parse_optional(arg_string)


def _set_up(parser, settings):
    """Make a parser one that records; staged: by thread and words, the run of its last parse."""
    parser._exman = settings
    parser.register("type", bool, _bool)
    parser._registries["action"] = _Actions(parser._registries["action"])


class _Actions(dict):  # type: ignore[type-arg]
    # argparse's registry of actions, which all groups share: so add_argument takes volatile= and secret=.
    def get(self, name, default=None):
        make = super().get(name, default)

        def made(*args, volatile=False, secret=False, **kwargs):
            if "parser_class" in kwargs:                # add_subparsers asks here too
                kwargs["parser_class"] = functools.partial(_recording, kwargs["parser_class"])
            action = make(*args, **kwargs)
            action.volatile, action.secret = bool(volatile), bool(secret)
            return action
        return made if callable(make) else make


def _recording(make, **kwargs):
    """A subparser of the script's own kind, which records too."""
    parser = make(**kwargs)
    if not isinstance(parser, ExParser):
        parser.__class__ = type(type(parser).__name__, (ExParser, type(parser)), {})
        _set_up(parser, ExParser()._exman)
    return parser


def _family(parser):
    """The parser and all parsers below it."""
    below = [each for action in parser._actions if isinstance(action, argparse._SubParsersAction)
             for each in action.choices.values()]
    return [parser, *itertools.chain(*map(_family, below))]


def _own_parser(parser):
    """exman's options, each as --tmp or --exman-tmp, where the script has none that this abbreviates."""
    dash = "-" if "-" in parser.prefix_chars else parser.prefix_chars[0]
    own = ArgumentParser(add_help=False, prefix_chars=dash, argument_default=SUPPRESS)
    group = own.add_argument_group("exman")
    for name, more in _OWN_OPTIONS.items():
        free = [option for option in (2 * dash + name, f"{2 * dash}exman-{name}")
                if option not in parser._option_string_actions and not parser._get_option_tuples(option)]
        if free and (name != "git-dirty" or parser._exman.git):
            action = group.add_argument(free[0], dest=name, type=str, action=_OwnAction, **more)
            own._option_string_actions.update(dict.fromkeys(free, action))
    return own


class _OwnAction(Action):
    # An option of exman's: its value belongs to the parse, not to the script's namespace.
    def __call__(self, parser, namespace, values, option_string=None):
        if self.dest == "config":
            _THREAD.parse.configs.add(option_string)
            parser._exman_refusing(_THREAD.parse.load, values)
        else:
            _THREAD.parse.own[self.dest] = values


_OWN_OPTIONS: dict[str, Any] = {
    "config": {"metavar": "RUN", "help": "run again: a run's yaml, folder or number, or a yaml of your own"},
    "tmp": {"nargs": 0, "help": "keep this run apart, in tmp/"},
    "name": {"help": "end the name of the run's folder with this"},
    "git-dirty": {"nargs": 0, "help": "run with uncommitted changes"}}


# The _Parse under way: a parse inside it, a subparser's or an action's, belongs to it.
_THREAD: Any = type("_Thread", (_local,), {"parse": None})()
_LOCKS: dict[int, Any] = {}                             # by process: a fork may come while a thread holds one
_FALSE = ("", "false", "f", "no", "n", "off", "0")
_TRUE = ("true", "t", "yes", "y", "on", "1")


# ------------------------------------------------------------------------------------------------------------
# The config: what a file says of the parameters that the command line has left alone.
# ------------------------------------------------------------------------------------------------------------
# The line of a recorded run is the value, item by item, put back as it is; a text may stand for what the
# option's type makes of it. The comment `# exman: {...}`, a Python literal, has what lines alone cannot say:
#   exact    by key, the shape of the value, see _form(): which lists are tuples, which texts are for the type
#   words    by key, of a value that no text brings back: its line, and the words by which options make it
#   more     the attributes that are no options'; argv: the words of the launch; git: whether that was on
# A key's part is believed only while its line still says the same, so a copy that was edited by hand counts.

_OWN_KEYS = ("root", "time", "id")                      # what exman writes beside the parameters
_GIT_KEYS = ("commit", "dirty")
_OLD_KEYS = ("config", "config_file", "tmp", "name", "git_dirty")       # up to 0.1.9


class _File:
    """A yaml file of parameters; ValueError and OSError name it."""

    def __init__(self, path, explicit=True):
        self.path, self.explicit = path, explicit       # of --config, or else of default_config_files
        self.unknown, self.is_overridden = [], False    # keys of no option; whether anything beats it
        text = _read_text(path)
        text = text if re.search(r"(?m)^[ \t\r]*[^# \t\r\n]", text) else "{}"   # comments set nothing
        try:
            self.values, self.text = _parse_yaml(text)  # by key
            # The text of each scalar, as one types it: .inf and .nan as float() reads them.
            self.texts, _ = _parse_yaml(text, functools.partial(re.sub, r"(?i)\.(?=(inf|nan)\Z)", ""))
        except YAMLError as error:
            raise ValueError(f"{path}: {error}") from None
        self.recorded = {*self.values} >= {*_OWN_KEYS} and str(self.values["root"]).split("/")[0] in _PARTS
        found = re.search("(?m)^# (exman|argv): (.*)$", text)
        kind, said = found.groups() if found else ("", "")
        self.is_old = kind != "exman"                   # written by another exman, or by hand
        try:
            if self.is_old:                             # 1.0.0 has a flow list of yaml
                meta = load_yaml(f"argv: {said}\n")
            else:
                import ast
                meta = dict(ast.literal_eval(said))
        except (TypeError, ValueError, SyntaxError, MemoryError, RecursionError):   # edited: the lines count
            meta = {}
        self.meta: dict[str, Any] = {"argv": [], "git": False, "exact": {}, "words": {}, "more": []}
        self.meta.update({name: meta[name] for name in meta if type(meta[name]) is type(self.meta.get(name))})
        git = self.meta["git"] or self.is_old and self.values.keys() >= {*_GIT_KEYS}
        self.own = (_OWN_KEYS + _GIT_KEYS * git) * self.recorded        # the keys that are exman's

    def says_of(self, dests):
        """By which key it has something to say of a dest, and the dest."""
        for dest in dests:
            keys = [key for key in dest.keys(self.own) if key in self.values]
            if len(keys) > 1 and not self.recorded:
                raise self.error(keys[1], f"{keys[1]!r} is {keys[0]!r}, which is there too")
            if keys and not (dest.volatile and self.explicit or dest.secret and self.recorded):
                yield keys[0], dest

    def note_unknown(self, dests, whole):
        """Keep the keys that no option knows; an error where somebody wrote one."""
        known = {*self.own, *_OLD_KEYS * self.recorded}.union(*[dest.keys(self.own) for dest in dests])
        self.unknown = [key for key in self.values if key not in known and (whole or self.recorded)]
        if self.unknown and not self.recorded:
            names = {dest.name: dest for dest in dests}
            raise self.error(self.unknown[0], _unknown("option", str(self.unknown[0]), names))

    def error(self, key, reason):
        return ValueError(f"{self.path}, line {self.text.line(self.text.keys.get(key, 0))}: {reason}")


class _Dest:
    """One dest of a parser, and the options that set it, in the order they were added."""

    # Made when asked for; groups: the mutually exclusive ones; depth: of the lists that its options make.
    options = property(lambda self: {option: action for action in self.actions
                                     for option in action.option_strings or [""]})
    groups = property(lambda self: [group for group in self.parser._mutually_exclusive_groups
                                    if {*self.actions} & {*group._group_actions}])
    takes_many = property(lambda self: self.reader.nargs not in (None, argparse.OPTIONAL, 0))
    depth = property(lambda self: self.takes_many + (
        type(self.reader) in (argparse._AppendAction, argparse._AppendConstAction)))

    def __init__(self, name, parser, actions):
        self.name, self.parser, self.actions = name, parser, actions
        # Who reads its text: the first that takes an argument, if one does.
        self.reader = [*[action for action in actions if action.nargs != 0], *actions][0]
        self.volatile = True in [getattr(action, "volatile", False) for action in actions]
        self.secret = True in [getattr(action, "secret", False) for action in actions]

    def keys(self, own):
        """The keys by which a file may speak of it, and the option of each; '': its own name."""
        keys, others = {_column(self.name, own): ""}, {action.dest for action in self.parser._actions}
        for option in self.options:
            bare = option.lstrip(self.parser.prefix_chars)
            for name in {bare, bare.replace("-", "_")} - others:
                keys[_column(name, own)] = option
        return keys

    def read(self, text):
        """What its type makes of a text; of an option's name, as exman 1.0.0 wrote a flag, its const."""
        const = getattr(self.options.get(text), "const", None)
        value = text if const is None else const
        return self.parser._get_value(self.reader, value) if type(value) is str else value

    def text_of(self, reads, value):
        """The text of which read() makes a value: Path("data"), Color.RED, nn.ReLU; None where none does."""
        typed, _ = reads.get((self.reader, id(value)), (None, None))
        is_text = type(value) is str                    # perhaps not what its type makes of it (str.lower)
        if is_text and typed in (None, value) or typed is not None and not is_text:
            return typed
        for name in ("", "name", "value", "__name__", "pattern"):
            try:
                text = getattr(value, name) if name else str(value)
                if type(text) is str and not hasattr(value, "close") and _same(self.read(text), value):
                    return text                         # a file, which has close, is not opened again
            except (Exception, SystemExit):             # a type, or a property, may raise anything
                continue
        return typed

    def calls(self, text):
        """The option and its words, for each call that gives it the value of a file, as if typed."""
        is_one = type(self.reader) is argparse._StoreAction and not self.takes_many
        texts = text if type(text) is list and not is_one else [text]
        are_lists = self.depth == 2 and all(type(item) is list for item in texts)
        calls = texts if are_lists else [texts] if self.takes_many else [[item] for item in texts]
        if any(type(word) in (list, dict) for words in calls for word in words):
            raise ArgumentError(self.reader, "expected one argument: text, in quotes as one types it")
        return [["".join(self.reader.option_strings[:1]), *map(str, words)] for words in calls]


def _dests(parser):
    dests = {}
    for each in parser._actions:
        if each.dest != SUPPRESS and not isinstance(each, (argparse._HelpAction, argparse._VersionAction)):
            dests.setdefault(each.dest, []).append(each)
    return [_Dest(name, parser, actions) for name, actions in dests.items()]


def _column(dest, own):
    """The key of a dest in params.yaml and the table: with a _ where it, but for its own _, is exman's."""
    return dest + "_" if dest.rstrip("_") in own else dest


class _Parse:
    """One outermost parse while it lasts: what was typed, what exman's own options and the files say."""

    def __init__(self, parser, args, whole):
        self.parser, self.levels = parser, [parser]     # levels: and the subparsers that are chosen below
        self.words = [*(sys.argv[1:] if args is None else args)]
        self.whole = whole                              # whether words, and keys of files, must all be known
        self.typed = []                                 # (action, strings) of the line; then of files
        self.read = {}                                  # by option and id of a value: its text, the value
        self.own = {}                                   # exman's options: tmp, name, git-dirty
        self.configs = set()                            # the names that --config was given by
        self.files = []                                 # the one that wins first
        self.spared = set()                             # whose default is not read, for a file gives another
        self.undo = []                                  # how to put back what was eased, the last one first

    def load(self, word, explicit=True):
        """Read a file; while the parse lasts nothing that it gives is required, no default of it is read."""
        file = _File(_config_path(os.path.expanduser(word), _root_of(self.parser._exman)), explicit)
        dests = [dest for parser in _family(self.parser) for dest in _dests(parser)]
        file.note_unknown(dests, self.whole)
        self.files.insert(0, file)
        # In place, as argparse's intermixed parse does it; a type may open a default, or refuse it.
        lock = _LOCKS.setdefault(os.getpid(), RLock())
        self.undo.append(lock.acquire() and lock.release)
        for _, dest in file.says_of(dests):
            for each in [*dest.actions, *dest.groups]:
                self.undo.append(functools.partial(setattr, each, "required", each.required))
                each.required = False
            for action in dest.actions:
                if isinstance(action.default, str) and action.default is not SUPPRESS and action.type:
                    self.undo.append(functools.partial(setattr, action, "default", action.default))
                    action.default = None
                    self.spared.add(action)

    def fill_in(self, namespace):
        self.namespace = namespace
        self.restored, self.told = {}, {}               # values that setters left; lines that bring none back
        for parser, action, name in self.left_out():    # as argparse would call it
            self.typed.append((action, [name]))
            action(parser, namespace, [name], None)
        self.put_back()
        self.spoken = {*dict(self.typed)}               # options that were given, and dests that a file has
        self.owners = {}                                # a subcommand's dest goes before the parser's above
        for dest in [dest for parser in self.levels for dest in _dests(parser)]:
            if dest.name not in self.owners or any(
                    action in self.spoken or action.default is not SUPPRESS for action in dest.actions):
                self.owners[dest.name] = dest
        for file in self.files:
            self.take(file, self.recorded_value if file.recorded else self.written_value)
        for name, dest in self.owners.items():
            # A default that was spared for a file which then stepped back is read, as by argparse.
            if dest.reader in self.spared and self.is_open(dest, getattr(namespace, name, None)):
                setattr(namespace, name, dest.read(dest.reader.default))

    def left_out(self):
        """The subcommands that files name and the line has not: the parser, the action, the name."""
        for parser in self.levels:                      # it grows while it is walked
            for action, file in itertools.product(parser._actions, self.files):
                name = file.values.get(_column(action.dest, file.own))
                if name and isinstance(action, argparse._SubParsersAction) and action not in dict(self.typed):
                    yield parser, action, str(name)

    def put_back(self):
        while self.undo:
            self.undo.pop()()

    def take(self, file, value_of):
        taken = set()
        for key, dest in file.says_of(self.owners.values()):
            default = getattr(self.namespace, dest.name, None)
            rivals = {rival for group in dest.groups for rival in group._group_actions}
            if not self.is_open(dest, default) or not self.spoken.isdisjoint(rivals):
                file.is_overridden |= not _same(default, file.values[key])
                continue
            try:
                value = value_of(file, key, dest, default)
            except Exception as error:                  # a script's type or action may raise anything
                reason = "is not accepted" if dest.secret else str(error) or type(error).__name__
                raise file.error(key, reason) from None
            self.spoken.add(dest.name)
            setattr(self.namespace, dest.name, value)
            if not _same(value, default):
                for rival in taken & rivals if not file.recorded else ():
                    raise file.error(key, f"{key!r} is not allowed with {rival.dest!r}")
                taken.update(dest.actions)
        self.spoken |= taken                            # to the files behind this one they are typed

    def is_open(self, dest, value):
        """Whether neither the command line nor a file before has said anything of a dest."""
        # An action of the line may have set it: `--preset big` sets lr. None: spared; "": of a positional.
        defaults = [None, *[action.default for action in dest.actions],
                    *[parser._defaults.get(dest.name) for parser in self.levels]]
        is_default = "" in dest.options or any(value is default for default in defaults)
        return is_default and self.spoken.isdisjoint([dest.name, *dest.actions])

    def recorded_value(self, file, key, dest, default):
        """A recorded value is put back as it is, text by way of the option's type; no choices are asked."""
        line = file.values[key]
        said, words = file.meta["words"].get(key, ("", []))
        if said == _flow(line):                         # setters come behind it again
            if not any(strings for _, *strings in words):
                self.told[dest.name] = line             # what the script has of its own is all there is
                words = [word for word in words if word[0] in dest.options]
            return self.call(dest, words, default)
        # Words are for an action of the script's own; exman 1.0.0 wrote nothing else for those.
        is_own = type(dest.reader).__module__ != "argparse" and line != dest.reader.default
        if is_own and (said or file.is_old) and type(line) in (str, list):
            return self.call(dest, dest.calls(line), default)
        self.restored[dest.name] = value = _rebuilt(file.meta["exact"].get(key), line, dest.read, dest.depth)
        return value

    def written_value(self, file, key, dest, default):
        """What somebody wrote is words of the option, with all its checks, as if typed."""
        value, text, option = file.values[key], file.texts[key], dest.keys(file.own)[key]
        if value is None:
            return None
        if dest.reader.nargs != 0:
            return self.call(dest, dest.calls(text), [] if value == [] else None)
        for action in [] if option else dest.actions:   # a count, a list, or what one of its flags stores
            kind = {argparse._CountAction: int, argparse._AppendConstAction: list}.get(type(action))
            if type(value) is kind or kind is None and _same(action.const, value):
                return value
        made = self.call(dest, [[option or next(iter(dest.options))]], default)
        word, is_bool = str(text).lower(), type(made) is bool
        if word not in _TRUE + _FALSE or not (option or is_bool):
            raise ArgumentError(dest.reader, f"invalid value: {value!r:.99}")
        is_on = word in _TRUE                           # `no-cuda: true` is an option, `cuda: false` a value
        if is_bool:
            return is_on == made if option else is_on
        return made if is_on else default

    def call(self, dest, calls, start):
        """What options make of words by their own actions; of the namespace, a copy, only the dest counts."""
        import copy
        scratch = copy.copy(self.namespace)
        setattr(scratch, dest.name, start)
        for option, *strings in calls:
            action = dest.options.get(option, dest.reader)
            if dest.parser._match_argument(action, "A" * len(strings)) != len(strings):
                raise ArgumentError(action, f"expected {action.nargs} arguments, not {len(strings)}")
            action(dest.parser, scratch, dest.parser._get_values(action, strings), option or None)
        return getattr(scratch, dest.name)

    def finish(self, namespace):
        """After the setters: what a recorded run holds is what they left, so it has the last word."""
        values = getattr(namespace, "__dict__", {})
        for file in self.files:
            lost, more = [], {_column(str(name), file.own): name for name in file.meta["more"]}
            for key in file.unknown:
                name = more.get(key, str(key))
                if name not in values and key not in more:
                    lost.append(name)
                elif name not in values or not file.is_overridden:  # else a setter made it of what overrides
                    shape, line = file.meta["exact"].get(key), file.values[key]
                    self.restored.setdefault(name, _rebuilt(shape, line, str))
            if lost and self.whole:
                by = "".join(f"recorded by {script}, " for script in file.meta["argv"][:1])
                _say(f"{file.path}: {by}{', '.join(lost):.200}: not in this script, and left out")
        for dest, value in self.restored.items():
            setattr(namespace, dest, value)
        for dest, line in self.told.items():
            now = _description(getattr(namespace, dest, None))
            if _flow(now) != _flow(line):
                _say(f"{dest} cannot be restored: it was {line!s:.200}, and is {now!s:.200}")

    def checked(self, namespace):
        """What is to be recorded, once validators, git and --name have been looked at."""
        settings = self.parser._exman
        for function, message in [each for parser in self.levels for each in parser._exman.validators]:
            why = ""
            try:
                if str(function(namespace)) != "False":     # numpy has a False of its own
                    continue
            except ArgumentError:
                raise
            except Exception as error:
                why = f" ({type(error).__name__}: {error})"
            try:
                message = message.format(**vars(namespace))
            except Exception as error:                  # {lr:.3f} of None, or braces that are no parameter's
                why = f" ({type(error).__name__}: {error})"
            raise ArgumentError(None, f"{message}{why}")
        must_be_clean = settings.git_assert_clean and "git-dirty" not in self.own
        state = _git_state(settings.git, must_be_clean) if settings.git else None
        if "name" in self.own:
            _check_key(self.own["name"], "--name")
        return _record(self, namespace, state)


def _same(one, other):
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:                                   # __eq__ may raise anything; arrays have no truth
        return False


def _rebuilt(shape, form, read, depth=0):
    """The value of which _form() made form and shape; where the form was edited since, that counts."""
    # depth: how many lists the option itself makes; a text below those is a part of what its type has made.
    if type(form) is dict:
        shape = shape if type(shape) is dict else {}
        return {key: _rebuilt(shape.get(_flow(key)), item, read, -1) for key, item in form.items()}
    if type(form) is list:
        shape = shape if type(shape) in (list, tuple) else []
        shapes = [*shape, *(shape[-1:] or [None]) * len(form)]      # the last is meant for all that follow
        return type(shape)([_rebuilt(part, item, read, depth - 1) for part, item in zip(shapes, form)])
    if type(form) is str and _form(shape)[0] == form:
        return shape
    return read(form) if type(form) is str and (shape is True or depth >= 0) else form


# ------------------------------------------------------------------------------------------------------------
# The record: args become lines of params.yaml, each of which brings its value back.
# ------------------------------------------------------------------------------------------------------------

def _record(parse, namespace, state):
    """Make the record of a parse, what a run writes and says; ValueError says what cannot be written."""
    attributes = getattr(namespace, "__dict__", {})     # a namespace= object may have properties or slots
    meta = {"argv": _launch_words(parse), "git": state is not None,
            "more": [name for name in attributes if name not in parse.owners]}
    values, lines, shared = {}, [], []                  # shared: what is the same in all ranks of a job
    for name in {**parse.owners, **attributes}:
        if not hasattr(namespace, name):
            continue
        dest, key = parse.owners.get(name), _column(name, _OWN_KEYS + _GIT_KEYS if state else _OWN_KEYS)
        values[name] = None if dest and dest.secret else getattr(namespace, name)
        text, part, what = _held(parse, dest, values[name])
        if text is not None:
            lines.append(f"{_key_text(key)}: {text}\n")
            if what is not None:
                meta.setdefault(part, {})[key] = what
            if key != "local_rank" and not (dest and dest.volatile):
                shared.append(lines[-1])
    said = f"commit: {_flow(state.commit)}\ndirty: {_flow(state.dirty)}\n" if state else ""
    notes = [f"git is not recorded whole: {state.problem}"] if state and state.problem else []
    where = os.path.normpath(_script_path() or os.getcwd())     # as multiprocessing names it to a worker
    # Of automark=, a dest stands for itself and its value, another word for itself.
    marks = [_file_name(str(part)) for word in parse.parser._exman.automark
             for part in ([word, values[word]] if word in values else [word])]
    return argparse.Namespace(
        body="".join([*lines, said, f"# exman: {ascii(meta)}\n"]), diff=state.diff if state else None,
        identity="".join([*shared, repr((parse.own, where))]), notes=notes,
        name=parse.own.get("name"), tmp="tmp" in parse.own, marks=["/".join(marks)] if marks else [])


def _held(parse, dest, value):
    """The text of a value's line; the part of the comment that brings the value back; what that says."""
    is_typed = dest and dest.reader.type not in (None, str)
    try:
        form, shape = _form(value, functools.partial(dest.text_of, parse.read) if is_typed else None)
        return _flow(form), "exact", None if shape is True else shape
    except Exception:                                   # no literal, too deep, or a repr that raises
        if dest is None:                                # of an action, set_defaults, a setter, the caller
            return None, None, None
    words = [["".join(action.option_strings[:1]), *strings]
             for action, strings in parse.typed if action in dest.actions]
    known = parse.read.get((dest.reader, id(value)))
    if known and not words:                             # a default that was a text
        return _flow(_form(known[0])[0]), "exact", None
    shown = [string for option, *strings in words for string in strings or [option]]
    form = shown[0] if len(shown) == 1 else shown
    text = _flow(_form(form)[0] if any(strings for _, *strings in words) else _description(value))
    return text, "words", (text, words)


def _form(value, text_of=None):
    """A value as yaml has it, and its shape: (0.9, [Path("a")]) -> ([0.9, ["a"]], (None, [True]))."""
    # None: it is the value; True: it is a text for the option's type; what is else a literal (a set, text
    # that is not for the type): itself. Of a dict they stand by the texts of its keys, for inf is no literal.
    kind = type(value)
    if kind in (list, tuple, dict):
        pairs = [_form(item, text_of) for item in (value.values() if kind is dict else value)]
        forms, shapes = [form for form, _ in pairs], [shape for _, shape in pairs]
        shape = dict(zip(map(_flow, value), shapes)) if kind is dict else kind(shapes)
        is_odd = kind is tuple or any(part is not None for part in shapes)
        return dict(zip(value, forms)) if kind is dict else forms, shape if is_odd else None
    text = text_of(value) if text_of and (kind is str or kind not in _EMITTERS) else None
    if text is not None:
        return text, True
    if kind is str:
        text = value.encode("utf-8", "backslashreplace").decode()
        return text, None if text == value and not text_of else value
    if kind in (bytes, complex, set):
        import ast
        text = _repr(value)
        return (text, value) if _same(ast.literal_eval(text), value) else (value, None)
    return value, None


def _description(value):
    """The line of a value that nothing brings back: a number, a text, or its repr without addresses."""
    for show in (
            lambda: [*map(_description, value)] if type(value) in (list, tuple) else value,
            lambda: value.item() if value.shape == () else value,       # of numpy, torch: a number
            lambda: os.fspath(value),
            lambda: type(value).__members__ and value.name,             # of an Enum
            lambda: re.sub(r" at 0x[0-9a-fA-F]+|(?<=\b__)mp_(?=main__\.)", "", _repr(value))[:1000]):
        try:
            form, _ = _form(show())
            _flow(form)
            return form
        except Exception:                               # a property, or a repr, may raise anything
            continue
    return f"<{type(value).__name__}>"


def _repr(value):
    """Its repr; of a set in an order of its own: so equal runs, and the ranks of a job, have equal lines."""
    if type(value) not in (set, frozenset) or not value:
        return repr(value)
    text = "{" + ", ".join(sorted(map(repr, value))) + "}"
    return text if type(value) is set else f"frozenset({text})"


def _launch_words(parse):
    """The words of the launch, the script first; --config and its file as a tuple; [] without a script."""
    words = _script_words()
    typed = parse.words if words else []
    for action, strings in parse.typed:
        is_secret = any(getattr(each, "secret", False) for each in (action, parse.owners.get(action.dest)))
        for secret in filter(None, strings) if is_secret else ():
            spoken = rf"\A(|[^=]*=|\W.\w*){re.escape(secret)}\Z"       # --token abc, --token=abc, -tabc
            typed = [re.sub(spoken, r"\1***", word) for word in typed]
    rest = iter(typed)
    for word in rest:
        option, equals, path = word.partition("=")
        words.append((option, path if equals else next(rest, "")) if option in parse.configs else word)
    return words


def _git_state(where, must_be_clean):
    """What the git program tells of a repository, and why not all; ValueError where it must be clean."""
    folder = (os.path.dirname(_script_path()) or _STARTED_IN) if where is True else os.path.expanduser(where)
    script = _script_path() and os.path.realpath(_script_path())
    commit = dirty = diff = problem = None
    try:
        status = _git(folder, "status", "--porcelain=v2", "--branch", "--untracked-files=no")
        found = re.search(b"(?m)^# branch.oid ([0-9a-f]+)$", status)
        commit = found[1].decode() if found else None
        changed = dirty = bool(re.search(b"(?m)^[^#]", status))
        if script.startswith(os.path.join(os.path.realpath(folder), "")):   # it may be in no commit
            dirty |= bool(_git(os.path.dirname(script), "ls-files", "--others", "--", *_code_of(script)))
        if changed:     # diff-index takes no settings of the user; a submodule's own changes have no diff
            diff = _git(folder, "diff-index", "-p", "--binary", "--ignore-submodules=dirty",
                        commit or "4b825dc642cb6eb9a060e54bf8d69288fbee4904")       # the empty tree
    except ValueError as error:
        problem = str(error)
    if must_be_clean and not (commit and dirty is False):
        changes = f"the git repository {_shown(folder)} has uncommitted changes: commit them"
        raise ValueError(f"{problem or changes}, or add --git-dirty")
    return argparse.Namespace(commit=commit, dirty=dirty, diff=diff, problem=problem)


def _git(folder, *words, seconds=30.0):                 # a launch does not wait longer
    """What git prints, also inside a hook; ValueError says in one line why it does not."""
    from subprocess import DEVNULL, PIPE, SubprocessError, check_output
    env = {name: os.environ[name] for name in os.environ if not re.match("GIT_(?!CEIL|CONF|DISC)", name)}
    try:
        return check_output(["git", "-C", folder, *words], stdin=DEVNULL, stderr=PIPE, timeout=seconds,
                            env={**env, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"})
    except (OSError, SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error).encode()).decode("utf-8", "replace")
        raise ValueError(f"git in {_shown(folder)}: {' '.join(said.split())[-200:]}") from None


# ------------------------------------------------------------------------------------------------------------
# The root folder: every name, path, link, id and atomic write; the file system is the database.
# ------------------------------------------------------------------------------------------------------------
# A run is made in an order in which a kill between any two calls leaves a root that every reader stands:
#   claim .ids/0/12             exclusive, for ever: a kill here costs the number, and nobody waits for a lock
#   mkdir runs/.000012-...      hidden, so no reader sees it; nobody else touches it, for its maker may live
#   write, fsync params.yaml    network file systems report a full disk only at fsync
#   rename to runs/000012-...   the run is there, whole
#   link index/000012-....yaml  the run is in the table; until then it is a folder that no table lists
# A run that fails goes the other way, its links first. Who links looks afterwards whether the run is there,
# and who takes a run away looks afterwards for links: the later of the two sees what the other has done.

_RUN_NAME = "0*[0-9]{1,15}-[0-9]{4}" + "-[0-9]{2}" * 5 + "(?s:-.*)?"
_PARTS = ("runs", "tmp", "fails")
# A FIFO must not hold a reader up, Windows must not translate line ends; each flag where the system has it.
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NEW_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)


def simpleroot(__file__: str) -> pathlib.Path:
    """Return the folder `exman` beside the given file, as an absolute path: exman.simpleroot(__file__)."""
    from pathlib import Path
    return Path(os.path.abspath(__file__)).with_name("exman")


def _root_of(settings):
    """The folder of all runs: as given, else `exman` beside the script, or where Python started."""
    folder = settings.root or os.path.join(os.path.dirname(_script_path()) or _STARTED_IN, "exman")
    root = _Root(os.path.abspath(os.path.expanduser(folder)))
    root.shared, root.digits = settings.shared, settings.zfill
    return root


def _script_path():
    """The user's main script; '' where there is none, or the main module is somebody's tool."""
    main = sys.modules.get("__mp_main__") or sys.modules.get("__main__")    # the first: of a pool's workers
    path = os.path.join(_STARTED_IN, getattr(main, "__file__", None) or "")
    # Tools lie in the standard library (cProfile), site-packages (pytest), bin (no .py), a zip or a bundle.
    *folders, name = path.replace(os.sep, "/").split("/")
    is_program = folders[-1:] in (["bin"], ["Scripts"]) and not name.endswith(".py")
    is_tool = (is_program or hasattr(sys, "frozen") or path.startswith(os.path.dirname(os.__file__) + os.sep)
               or not {"site-packages", "dist-packages"}.isdisjoint(folders))
    return path if os.path.isfile(path) and not is_tool else ""


def _script_words():
    """What stands after `python` to start the script again; [] where there is none (a notebook, -c, -)."""
    main = sys.modules.get("__main__")
    if getattr(main, "__file__", None) in (None, "<stdin>"):
        return []
    name = getattr(getattr(main, "__spec__", None), "name", "__main__")
    is_module = name != "__main__" and _script_path()
    return ["-m", name.partition(".__main__")[0]] if is_module else sys.argv[:1]


def _code_of(script):
    """The script, and the modules that it has imported from beside it."""
    files = {os.path.realpath(getattr(module, "__file__", None) or "") for module in [*sys.modules.values()]}
    beside = re.escape(os.path.join(os.path.dirname(script), ""))
    return [script, *filter(re.compile(rf"(?s){beside}(?!.*site-packages).*\.py").fullmatch, files)]


class _Root(str):
    """The path of a root, and all that is made, linked, moved and taken away in it."""

    shared = False                                      # whether the group may write what is made
    digits = 6                                          # of a run's number, at least

    def make_run(self, record):
        """Make the run's folder and its links; nothing is left but the number where that fails."""
        part = "tmp" if record.tmp else "runs"
        name = f"{self.claim():0{self.digits}d}-" + time.strftime("%Y-%m-%d-%H-%M-%S")
        name += f"-{record.name}" if record.name else ""
        run, stage = Run(self, part, name, maker=os.getpid()), f"{self}/{part}/.{name}"
        try:
            self.make_folder(f"{self}/{part}")
            os.mkdir(stage)                             # new, for what has this name may be a planted link
            self.share(stage)
            self.create(f"{stage}/params.yaml", _params(run, record), synced=True)
            if record.diff:
                self.create(f"{stage}/changes.diff", record.diff)
            _rename(stage, f"{self}/{part}/{name}")
            self.enlist(run, record)
        except BaseException:                           # the first error is the one to tell
            import shutil
            if os.path.isdir(stage):
                _try(shutil.rmtree, stage)
            else:                                       # it has its name in sight already
                _try(self.delete, part, name)
            raise
        return run

    def take_over(self, run, record):
        """Let a later parse of the same words have the run; False where anything else lies in its folder."""
        if {*_listed(run._folder())} - {"changes.diff"} != {"params.yaml"} or run.tmp != record.tmp:
            return False                                # a later stage may have a --tmp of its own
        self.write_whole(f"{run._folder()}/params.yaml", _params(run, record), synced=True)
        for key in record.marks:
            self.unlist(run.name, key.partition("/")[0] + "/")      # a word; what is behind it may differ now
        self.enlist(run, record)                        # where there are no symlinks, copies of the new file
        return True

    def move_to_fails(self, part, name):
        """Move a run to fails/, its links first; they come back where it has to stay."""
        import shutil
        source, target, copied = f"{self}/{part}/{name}", f"{self}/fails/{name}", f"{self}/fails/.{name}"
        self.make_folder(f"{self}/fails")
        entries = self.unlist(name)
        try:
            if _try(_rename, source, target, only=(errno.EXDEV,)) is False:    # another disk: hidden at first
                shutil.copytree(source, copied, symlinks=True)
                os.rename(copied, target)
                self.delete(part, name)
        except BaseException:
            _try(shutil.rmtree, copied)
            for entry in entries:                       # a 0.1.x mark comes back as one of today's
                self.link(os.path.dirname(entry), name)
            raise
        self.unlist(name)                               # marked at this very moment

    def delete(self, part, name):
        """Delete a run, its links and its name first: a kill leaves no run in sight without its files."""
        import shutil
        self.unlist(name)
        hidden = f"{self}/{part}/.{name}.deleted"
        os.rename(f"{self}/{part}/{name}", hidden)
        self.unlist(name)                               # marked at this very moment
        (os.unlink if os.path.islink(hidden) else shutil.rmtree)(hidden)

    def fixed(self):
        """Mend index, marks and counting, also while runs are made; yield a line for each thing done."""
        # Entries are listed before runs, and each run is asked for again: one that is not there then is gone.
        problems = []
        marked = {path: name for runs in _marks(self, []).values() for name, path in runs.items()}
        index = {f"{self}/index/{name}.yaml": name
                 for part in ("index", "runs") for name in _run_names(self, part)}
        for entry, name in sorted({**index, **marked}.items()):
            try:
                run = _try(os.stat, f"{self}/runs/{name}/params.yaml", only=(errno.ENOENT, errno.ENOTDIR))
                # A clone may have its link as text. A mark that is gone by now is not made again.
                is_text = os.path.isfile(entry) and not os.path.islink(entry) and _bytes(entry)[:2] == b".."
                if not run and _unlink(entry):
                    yield f"took away {entry[len(self) + 1:]}: its run is gone"
                elif run and (is_text or not os.path.exists(entry)) and (_unlink(entry) or entry in index):
                    self.link(os.path.dirname(entry), name)
                    yield f"made {entry[len(self) + 1:]}"
            except OSError as error:                    # another user's run, a folder in a link's place
                if not isinstance(error, FileNotFoundError):        # the run has gone meanwhile
                    problems.append(_reason(error))
        found = {}
        for _, name in _runs(self):
            other = found.setdefault(_number(name), name)
            if name != other:
                _say(f"one number, two runs: {other} and {name}")
        if found and os.path.isdir(f"{self}/.ids") and self.hold(max(found), is_mine=False):
            yield f"took the number {max(found)}: its run has come from elsewhere"
        if problems:
            raise ValueError(*problems[:99])

    def enlist(self, run, record):
        for folder in () if run.tmp else [f"{self}/index", *map(self.mark_folder, record.marks)]:
            self.link(folder, run.name)

    def mark_folder(self, key):
        """The folder of a mark, spelled as it is there: Windows and macOS do not tell `Best` from `best`."""
        folder = str(self)
        for part in ("marked", *key.split("/")):
            names = {name.casefold(): name for name in sorted(_listed(folder), key=part.__eq__)}
            folder = f"{folder}/{names.get(part.casefold(), part)}"
            if os.path.islink(folder):
                raise ValueError(f"{_shown(folder)}: is a link, and may lead out of the root: remove it")
        return folder

    def link(self, folder, name):
        """Link a run's params.yaml into a folder; a copy where the file system has no symlinks."""
        params, entry = f"{self}/runs/{name}/params.yaml", f"{folder}/{name}.yaml"
        self.make_folder(folder)
        try:
            os.symlink(os.path.relpath(params, folder), entry)
        except (OSError, NotImplementedError):          # which one differs: a copy works or tells the reason
            if not os.path.islink(entry):
                self.write_whole(entry, _bytes(params))
        if _try(os.stat, params, only=(errno.ENOENT,)) is False:    # it has failed, or was deleted, meanwhile
            _unlink(entry)
            raise FileNotFoundError(errno.ENOENT, "the run is gone", params)

    def unlist(self, name, marks=""):
        """Take a run out of index and marks, or out of those that start so; return its entries there."""
        entries = {"": {name: f"{self}/index/{name}.yaml"}, **_marks(self, [])}
        return [runs[name] for mark, runs in entries.items()
                if name in runs and f"{mark}/".startswith(marks) and sum(       # the second: of exman 0.1.x
                    _unlink(f"{os.path.dirname(runs[name])}/{entry}") for entry in (f"{name}.yaml", name))]

    def claim(self):
        """Take the next number, for ever: a file that exclusive create makes once, on any file system."""
        # Claims count where a marker names the inode of their folder: a root of 0.1.x, or a copy, is listed.
        ids = f"{self}/.ids"
        self.make_folder(ids)
        names, marker = os.listdir(ids), f".{os.stat(ids).st_ino}"      # a stale listing costs a few probes
        block = max(map(int, filter(str.isdecimal, names)), default=0)
        taken = [block * 1000, *map(int, filter(str.isdecimal, _listed(f"{ids}/{block}")))]
        if marker not in names or len(taken) == 1:      # a stale view of a new block shows it empty
            taken += [_number(name) for _, name in _runs(self)]
        number = next(filter(self.hold, itertools.count(max(taken) + 1)))
        if marker not in names:
            self.create(f"{ids}/{marker}")
        return number

    def hold(self, number, is_mine=True):
        """Claim a number, by a file that says which process holds it; False where it is taken."""
        self.make_folder(os.path.dirname(_claim_path(self, number)))
        return self.create(_claim_path(self, number), _holder(os.getpid()) if is_mine else b"")

    def make_folder(self, path):
        if os.path.isdir(path) or path == os.path.dirname(path):
            return
        self.make_folder(os.path.dirname(path))
        try:
            os.mkdir(path)
            self.share(path)
        except OSError:                                 # FileExistsError, or first that the disk is read-only
            if not os.path.isdir(path):                 # another process was faster
                raise

    def write_whole(self, path, data, synced=False):
        """Write a file whole or not at all: first under a hidden name that nobody can foresee."""
        folder, name = os.path.split(path)
        hidden = f"{folder}/.{name}.{os.urandom(8).hex()}"
        try:
            self.create(hidden, data, synced)
            os.replace(hidden, path)
        except BaseException:
            _try(os.unlink, hidden)
            raise

    def create(self, path, data=b"", synced=False):
        """Write a new file, never through a planted link; False where it is there (EPERM in sshfs)."""
        try:
            file = os.open(path, _NEW_FLAGS, 0o666)
            try:
                while data:                             # a full disk may take a part, and then says so
                    data = data[os.write(file, data):]
                if synced:                              # the rest is the system's; some have no fsync
                    _try(os.fsync, file, only=(errno.EINVAL, errno.ENOSYS, errno.ENOTSUP))
            finally:
                os.close(file)
        except OSError as error:
            if error.filename and not synced and os.path.lexists(path):
                return False                            # from open, which names it; a run's file must be new
            error.filename = path
            raise
        self.share(path)
        return True

    def share(self, path):
        """Let the group do what the owner may; by chmod, for the umask belongs to all of the script."""
        if self.shared:
            mode = os.stat(path).st_mode
            _try(os.chmod, path, mode | (mode & 0o700) >> 3)    # FAT and some mounts have no modes


def _params(run, record):
    moment = "{}-{}-{}T{}:{}:{}".format(*run.name.split("-")[1:7])
    return f"{record.body}root: {_flow(f'{run._part}/{run.name}')}\ntime: '{moment}'\nid: {run.id}\n".encode()


def _rename(source, target):
    """Rename a fresh folder; on Windows a virus scanner may hold its file for a moment."""
    for _ in range(50):
        try:
            return os.rename(source, target)
        except PermissionError:
            time.sleep(0.02)
    os.rename(source, target)


def _try(function, *args, only=()):
    """What a call returns; False where it fails, without a word, for one of these reasons or for any."""
    try:
        return function(*args)
    except OSError as error:
        if only and error.errno not in only:
            raise
        return False


def _listed(folder):
    return _try(os.listdir, folder, only=(errno.ENOENT, errno.ENOTDIR)) or []


def _unlink(path):
    return _try(os.unlink, path, only=(errno.ENOENT, errno.ENOTDIR)) is not False


def _claim_path(root, number):
    return f"{root}/.ids/{number // 1000}/{number}"


_STARTED_IN = _try(os.getcwd) or ""                     # where that is gone, making a run there will say so
# What not all systems have in names, or breaks a line; and no names: nothing, a run's, a device of Windows.
_NOT_IN_NAMES = r"[\x00-\x1f\x7f-\x9f/\\:*?\"<>|\u2028\u2029\ud800-\udfff]"
_NO_NAME = rf"(?s)|{_RUN_NAME}|(?i:con|prn|aux|nul|(?:com|lpt)[0-9\xb9\xb2\xb3])\s*(?:\..*)?"


def _file_name(text):
    """The name nearest to any text: `a/b` -> `a-b`, `.x.` -> `x`, nothing -> `-`, `con` -> `-con`."""
    encoding, room = sys.getfilesystemencoding(), 181   # of 255 bytes: number, time and ends take the rest
    name = text.encode(encoding, "replace")[:room].decode(encoding, "ignore")
    name = _pattern(_NOT_IN_NAMES).sub("-", name).strip(". ")
    return f"-{name}" if _pattern(_NO_NAME).fullmatch(name) else name


def _check_key(key, option=""):
    """A mark's key, or what --name gives, as it is; ValueError where no folder can be called so."""
    parts = [key and f"-{key}"] if option else key.split("/")
    if len(parts) > 16 or [*map(_file_name, parts)] != parts or key.isdigit() and not option:
        good = "1 to 180 bytes that every system has in names, no dots or blanks around, no run"
        what = "give" if option else "it comes first, such as best/lr, not a number alone; its parts:"
        raise ValueError(f"{option or 'mark'} {key!r:.99}: {what} {good}")
    return key


def _config_path(word, root):
    """The file of a run that a path, a run's folder, number or name names."""
    if word.isdigit() or not os.path.lexists(word):
        word = os.path.join(root, *_finder(_runs(root), f" in {_shown(root)}, and no such file")(word))
    return os.path.join(word, "params.yaml") if os.path.isdir(word) else word


def _finder(runs, where=": exman ls lists them"):
    """A function of a number or a name: the part and the name of its run; ValueError for none, or for two."""
    named = {}                                          # by number and by name, each without zeros before it
    for part, name in runs:
        for key in (str(_number(name)), name.lstrip("0")):
            named.setdefault(key, []).append((part, name))

    def find(word):
        hits = named.get(word.lstrip("0"), [])
        if len(hits) == 1:
            return hits[0]
        several = f"{word} is ambiguous: it names {_shown(', '.join(map('/'.join, hits)))}"
        raise ValueError(several if hits else f"no run {_shown(word):.99}{where}")
    return find


def _runs(root, *parts):
    """The part and the name of each run in these folders, by default in all that hold runs."""
    return [(part, name) for part in parts or _PARTS for name in _run_names(root, part)]


def _run_names(root, part):
    """The names of the runs in runs/, tmp/, fails/ or index/; what else lies there is not exman's."""
    names = _listed(f"{root}/{part}")
    if part == "index":
        names = [entry[:-5] for entry in names if entry.endswith(".yaml")]
    return sorted(filter(_pattern(_RUN_NAME).fullmatch, names))


def _number(name):
    return int(name.partition("-")[0])


def _read_text(path):
    """Read a small regular file of UTF-8; ValueError says what it is instead."""
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, _READ_FLAGS)) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode) or found.st_size > 16 << 20:
                raise ValueError("this is no regular file of at most 16 MiB")
            return file.read().decode()
    except (OSError, ValueError) as error:              # also of a path with NUL, and of what is no UTF-8
        raise ValueError(f"{_shown(path):.999}: {getattr(error, 'strerror', None) or error}") from None


def _reason(error):
    """An error in one line: the path, what the system says, and what to do about what people meet."""
    said = [_shown(getattr(error, "filename", None) or ""), getattr(error, "strerror", None) or str(error)]
    code = errno.errorcode.get(getattr(error, "errno", 0), "unknown")
    for codes, advice in (("ENOSPC EDQUOT", "free some space there"),
                          ("EACCES EPERM EROFS", "choose another root=, or mend its permissions"),
                          ("EEXIST ENOTDIR", "a file stands where a folder must: choose another root=")):
        said += [advice] * (code in codes)
    return ": ".join(filter(None, said))


def _shown(path):
    return str(path) if str(path).isprintable() else ascii(str(path))


# ------------------------------------------------------------------------------------------------------------
# The launch: the processes of one job share one run.
# ------------------------------------------------------------------------------------------------------------
# What is published is an empty file a run, made exclusively and never replaced:
#   .launches/<launch>/<digest>.runs.<run>   rank 0 has made it, with parameters of this digest
#   .launches/<launch>/3.<run>               rank 3 has seen it: it does not believe it twice
#   .launches/<job>/<digest>.runs.<run>      a job of Slurm made it: requeued, it goes on in it
#   .launches/<job>/2.<run>                  restart 2 of the job has made it, or has gone on in it

_LAUNCH_VARS = "SLURM_CLUSTER_NAME SLURM_JOB_ID SLURM_RESTART_COUNT PBS_JOBID LSB_JOBID LSB_JOBINDEX".split()
_JOB_VARS = "SLURM_JOB_ID SLURM_CLUSTER_NAME SLURM_ARRAY_TASK_ID SLURM_STEP_ID".split()
# What each launcher sets: the variables of a process's rank, of the number of ranks (-: none is set), and of
# that on its node (-: not needed); then those that tell one launch from another. The inner first: torchrun
# runs in the tasks of the others, and hydra's proxies, which start ranks, in those of srun.
_LAUNCHERS = [*map(str.split, """\
RANK                  WORLD_SIZE            LOCAL_WORLD_SIZE TORCHELASTIC_RUN_ID MASTER_ADDR MASTER_PORT
HOROVOD_RANK          HOROVOD_SIZE          - HOROVOD_GLOO_RENDEZVOUS_ADDR HOROVOD_GLOO_RENDEZVOUS_PORT
OMPI_COMM_WORLD_RANK  OMPI_COMM_WORLD_SIZE  - PMIX_NAMESPACE OMPI_MCA_orte_precondition_transports
MV2_COMM_WORLD_RANK   MV2_COMM_WORLD_SIZE   MV2_COMM_WORLD_LOCAL_SIZE SLURM_STEP_ID
PALS_RANKID           PALS_SIZE             - PALS_APID
FLUX_TASK_RANK        FLUX_JOB_SIZE         - FLUX_JOB_ID
JSM_NAMESPACE_RANK    JSM_NAMESPACE_SIZE    - JSM_NAMESPACE_ID PMIX_NAMESPACE
PMI_RANK              PMI_SIZE              MPI_LOCALNRANKS SLURM_STEP_ID
SLURM_PROCID          SLURM_STEP_NUM_TASKS  - SLURM_STEP_ID
PMIX_RANK             -                     - PMIX_NAMESPACE
""".splitlines())]

_env: Any = functools.partial(os.environ.get, default="")
_HOST = os.uname().nodename if hasattr(os, "uname") else _env("COMPUTERNAME")
_PARSES = itertools.count()                     # the n-th run of one rank is the n-th run of every rank
_LEFT = [*filter(None, _env("EXMAN_RUNS").split("\n"))]         # what the parent left for its workers
_BEQUEST = []                                   # what this one leaves for its own: the first 15 and the last


def _launch(root, record, earlier):
    """The run of a parse: the parent's, rank 0's, an earlier start's, an earlier stage's, or a new one."""
    nth, digest = next(_PARSES), _digest(record.identity)
    (rank, launch), job = _rank_and_launch(), _env("SLURM_JOB_ID") and [*map(_env, _JOB_VARS)]
    of_launch = rank >= 0 and f"{root}/.launches/" + _digest(f"{launch} {nth}")
    of_job = job and f"{root}/.launches/" + _digest(f"{job} {digest} {nth} {max(rank, 0)} {not _worker()[0]}")
    start = _count("SLURM_RESTART_COUNT") if job else 0
    is_mine = earlier and earlier._maker == os.getpid()
    run, news = _inherited(root, digest), ""
    if not run and rank > 0 and not is_mine:
        try:
            seconds = float(_env("EXMAN_WAIT") or 60)
        except ValueError:
            raise ValueError(f"EXMAN_WAIT={_env('EXMAN_WAIT')!r:.99}: give a number of seconds") from None
        otherwise = f"found no run of its job within {seconds:g} s (EXMAN_WAIT): it makes its own"
        run = _found(root, of_launch, digest, rank, f"rank {rank} {otherwise}", seconds, _age() + seconds)
    if not run and start > 0:
        run = _requeued(root, of_job, digest, start, record)
        news = " goes on" if run else ""
    is_stage = not run and is_mine and earlier._base.take_over(earlier, record)
    run = earlier if is_stage else run or root.make_run(record)
    if run._maker == os.getpid():
        if rank == 0:
            _publish(run, of_launch, digest, rank)
        if job:
            _publish(run, of_job, digest, start)
        if not is_mine or earlier.name != run.name:
            for line in [*record.notes, f"run {run.id}{news}: {run._folder()}"]:
                _say(line)
    _BEQUEST[15:] = [f"{digest} {run._base}/{run._part}/{run.name}/{run._rank}"]
    os.environ["EXMAN_RUNS"] = "\n".join(_BEQUEST)
    return run


def _digest(text):
    """Tell texts apart; hashlib takes too long to import, and crc32 has too few bits."""
    return f"{int.from_bytes(text.encode('utf-8', 'replace'), 'big') % (10**18 - 11):x}"      # a prime


def _inherited(root, digest):
    """The run of the process that this is a worker of, if it has the same parameters."""
    # Of multiprocessing while it imports the main script again; of Lightning: LOCAL_RANK from 1 on, no RANK.
    local_rank = 0 if not _LEFT or "RANK" in os.environ else max(0, _count("LOCAL_RANK"))
    for line in _LEFT if local_rank or _worker()[1] else ():
        told, *words = line.rsplit("/", 3)
        if told == f"{digest} {root}":
            _LEFT.remove(line)                  # the next parse joins the next run
            part, name, rank = words
            return Run(root, part, name, rank=rank or str(local_rank or ""))


def _worker():
    """The name of this worker of multiprocessing, '' in other processes; whether it imports the script."""
    process = sys.modules.get("multiprocessing.process")
    worker: Any = process and process.current_process()
    imports = hasattr(worker, "_inheriting")    # and has no parent yet
    is_worker = imports or process and process.parent_process()
    return re.sub(r"[^\w.-]", "-", worker.name) if is_worker else "", imports


def _found(root, folder, digest, who, otherwise, seconds=0, age=float("inf")):
    """The run published here, new to this rank or start; None for other parameters, or when time is up."""
    root.make_folder(folder)
    deadline = time.monotonic() + seconds
    while True:
        os.utime(folder)                        # else a network mount may go on saying that nothing is there
        since = os.stat(folder).st_mtime - age  # by the clock that dates what is published
        named = map(_pattern(rf"([\w-]+)\.(runs|tmp)\.({_RUN_NAME})").fullmatch, os.listdir(folder))
        found = [(words[1] == digest, words[3], words[2], words[0]) for words in named if words]
        for is_ours, name, part, entry in sorted(found, reverse=True):      # its own first, and the newest
            if os.stat(f"{folder}/{entry}").st_mtime >= since and root.create(f"{folder}/{who}.{name}"):
                return Run(root, part, name, rank=str(who)) if is_ours else None
        if time.monotonic() > deadline:
            _say(otherwise)
            return None
        time.sleep(0.1)


def _requeued(root, folder, digest, start, record):
    """The run in which this start of a job of Slurm goes on; out of fails/ where it had failed."""
    otherwise = "this job was requeued, and no run of its earlier starts has these parameters: a new one"
    run = _found(root, folder, digest, start, otherwise)
    if run and os.path.isdir(run._folder()):
        run._maker, run._rank = os.getpid(), ""
        _try(os.rename, f"{root}/fails/{run.name}", f"{root}/{run._part}/{run.name}")
        _try(root.enlist, run, record)
        _try(os.unlink, f"{run._folder()}/end.yaml")
        root.write_whole(_claim_path(root, run.id), _holder(os.getpid()))       # so it counts as running
        return run


def _publish(run, folder, digest, who):
    """Leave word of a run for the other processes of its job; once in a while, remove what old jobs left."""
    try:
        run._base.make_folder(folder)
        run._base.create(f"{folder}/{who}.{run.name}")
        run._base.create(f"{folder}/{digest}.{run._part}.{run.name}")
        for old in os.scandir(os.path.dirname(folder)) if run.id % 100 == 1 else ():
            if old.stat().st_mtime < time.time() - 60 * 86400:      # a requeue may come weeks later
                import shutil
                shutil.rmtree(old.path, ignore_errors=True)
    except OSError as error:
        _say(f"the other processes of this job may not find run {run.id}: {_reason(error)}")


def _rank_and_launch(launchers=_LAUNCHERS):
    """The rank that the inmost launcher gave this process, and a name of its launch; -1 where it is alone."""
    launchers = [launcher for launcher in launchers if launcher[0] in os.environ]       # nearly always none
    if not launchers or _worker()[0]:
        return -1, ""
    (rank_name, size_name, local_name, *names), *outer = launchers
    rank, size, local = _count(rank_name), _env(size_name), _env(local_name)
    # SLURM_PROCID alone is a batch script's, RANK alone a script's own; a rank of a size of 1 is no job.
    is_rank = rank >= 0 and (size_name == "-" or _count(size_name) > max(rank, 1))
    starter = _starter(local_name if local else rank_name) if is_rank else -1
    if starter < 0:
        return _rank_and_launch(outer)
    # A script may have set RANK itself, perhaps in the tasks of another launcher.
    around = _rank_and_launch(outer)[1] if rank_name == "RANK" and not local else ""
    is_local = "MASTER_ADDR" in names and _env("MASTER_ADDR").startswith(("127.", "localhost", "::1"))
    launch = [rank_name, size, around, _HOST if is_local else "", *map(_env, _LAUNCH_VARS + names)]
    if (local and local == size) or (is_local and not local and not around):
        # On one node torchrun's names may be `none` and port 29500 each time: its process tells, by /proc.
        launch += [_holder(starter) if _stat(starter)[1] else "", _env("TORCHELASTIC_RESTART_COUNT")]
    # On several, hydra's proxies, which start the ranks, name the port of their mpiexec.
    words = _proc(starter, "cmdline") + _proc(_stat(starter)[0], "cmdline")
    launch += re.findall(r"--(?:control|upstream)-(?:host|port)\0[^\0]+", words)
    return rank, _digest(repr(launch))


def _count(name):
    text = _env(name)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1    # no rank, no size


def _starter(variable):
    """The process that started the ranks: the nearest above that was started without this variable; or -1."""
    pid, program = os.getppid(), os.path.realpath("/proc/self/exe")
    while f"\0{variable}=" in "\0" + _proc(pid, "environ"):
        if os.path.realpath(f"/proc/{pid}/exe") == program:
            return -1                           # what a rank, or ray or an agent below one, starts is no rank
        pid = _stat(pid)[0]
    return pid


def _age():
    """How many seconds this process is there; 0 where that cannot be known."""
    # Not by /proc/uptime: that may be the container's, and starts count from the boot of the host.
    ticks = _stat(os.getpid())[1]
    return max(0, time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")) if ticks else 0


@functools.lru_cache(maxsize=None)
def _holder(pid):
    """What names a process that is there, as claims have it; kept, for /proc is slow to read."""
    return f"{_HOST} {pid} {_stat(pid)[1]} \n".encode("utf-8", "replace")


def _stat(pid):
    """The parent of a process, and its start in clock ticks after the boot; 0 where it, or /proc, is not."""
    fields = _proc(pid, "stat").rpartition(")")[2].split() or ["0"] * 20
    return int(fields[1]), -1 if fields[0] == "Z" else int(fields[19])     # a zombie is gone


def _proc(pid, name):
    """A file of /proc; nothing where it cannot be read: another user's process, another system."""
    try:
        with open(f"/proc/{pid}/{name}", encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


# ------------------------------------------------------------------------------------------------------------
# YAML out: a flat dict becomes text, one parameter a line, with the same values for YAML 1.1 and YAML 1.2.
# ------------------------------------------------------------------------------------------------------------

_NESTING = 64       # lists and dicts within one value, for both doors: far from the RecursionError of either
_KEY_LENGTH = 1024  # what YAML allows a key that stands on one line with its value
_HUGE = 10 ** 4300  # CPython prints and reads no longer integer


class YAMLError(ValueError):
    """A text that load_yaml does not read, its `line` from 1; or a value that dump_yaml does not write."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.line = line


def dump_yaml(params: dict[Any, Any]) -> str:
    r"""Write a dict of None, bool, int, float, str, list and dict as YAML; YAMLError names any other value.

    >>> dump_yaml({"lr": 1e-05, "sizes": [64, 32], "country": "no"})
    "lr: 1.0e-05\nsizes: [64, 32]\ncountry: 'no'\n"
    """
    if type(params) is not dict:
        raise YAMLError(f"a {type(params).__name__[:60]} is no dict: give vars(args) or dict(...)")
    lines = []
    try:
        for key, value in params.items():
            lines.append(f"{_key_text(key)}: {_flow(value)}\n")
    except ValueError as error:  # also of a lone surrogate, or an integer beyond sys.set_int_max_str_digits
        raise YAMLError(f"parameter {key!a:.60}: {error}") from None
    return "".join(lines) or "{}\n"


def _key_text(key):
    text = _flow(key)
    if len(text) > _KEY_LENGTH or key != key:  # a nan is equal to nothing, itself included
        raise YAMLError(f"the key {key!a:.60} is longer than {_KEY_LENGTH} characters, or a nan")
    return text


def _flow(value, depth=0):
    """value -> its text on one line: ["a", 2.5] -> '[a, 2.5]'; depth counts the lists and dicts around it."""
    kind = type(value)
    if kind is int and abs(value) >= _HUGE:
        raise YAMLError("an integer of more than 4300 digits")
    if kind in _EMITTERS:
        return _EMITTERS[kind](value)
    if depth == _NESTING:
        raise YAMLError(f"more than {_NESTING} lists and dicts within each other")
    if kind is list:
        return "[" + ", ".join([_flow(item, depth + 1) for item in value]) + "]"
    if kind is dict:
        pairs = [f"{_key_text(key)}: {_flow(item, depth + 1)}" for key, item in value.items()]
        return "{" + ", ".join(pairs) + "}"
    raise YAMLError(f"a {kind.__name__[:60]} is not plain: give None, bool, int, float, str, list, dict")


def _float_text(value):
    """0.1 -> '0.1', 1e-05 -> '1.0e-05': without the dot it is a string in YAML 1.1."""
    text = repr(value).replace("inf", ".inf").replace("nan", ".nan")
    return text if "." in text else text.replace("e", ".0e")


@functools.lru_cache(maxsize=1000)  # run after run has the same keys and words
def _str_text(text):
    """The plainest text that every reader takes for this string: adam, 'no', "two\\nlines"."""
    if not text.isprintable() or max(text, default="") > "\uffff":
        text.encode()  # an error for a lone surrogate, which is no character
        return '"' + text.encode("unicode_escape").decode().replace('"', '\\"') + '"'
    is_plain = text.lower() not in _WORDS and _pattern(_PLAIN_WORDS).fullmatch(text)
    return text if is_plain else "'" + text.replace("'", "''") + "'"


# Exact types only: the repr of a numpy float or of a `class E(str, Enum)` is no YAML.
_EMITTERS: dict[type, Any] = {
    str: _str_text, bool: lambda value: "true" if value else "false", int: repr, float: _float_text,
    type(None): lambda value: "null"}
# A letter first: what starts with a digit, a sign or a dot may be a number, a time or a date to some reader.
_PLAIN_WORDS = r"(?:/|[^\W\d])[\w./\\+@%=*()~-]*(?: [\w./\\+@%=*()~-]+)*"
_WORDS = "y n yes no on off true false null".split()    # to YAML 1.1 or YAML 1.2 bools and null
_pattern: Any = functools.lru_cache(maxsize=None)(re.compile)    # when first used: an import costs nothing


# ------------------------------------------------------------------------------------------------------------
# YAML in: a strict reader: the value that YAML 1.2 gives a text, or what of it is not read, and its line.
# ------------------------------------------------------------------------------------------------------------

def load_yaml(text: str) -> dict[Any, Any]:
    r"""Read a YAML mapping, types included; what is beyond exman's part of YAML is a YAMLError with its line.

    A run's file of exman 0.1.x is read as it was written, by YAML 1.1; all else by YAML 1.2.
    >>> load_yaml("lr: 1e-3\nsizes:\n- 64\n- 32\ncountry: no\n")
    {'lr': 0.001, 'sizes': [64, 32], 'country': 'no'}
    """
    body = _pattern(r"\n# [ -~]*(?=\n)").sub("", f"\n{text}")     # without comments that exman writes
    params = {key: [*map(_resolve, words.split(", "))] if words else quoted or plain and _resolve(plain)
              for key, words, quoted, plain in _pattern(_OWN_LINE).findall(body)}
    # Fewer where a line is none that exman writes, or where a key comes twice.
    is_whole = params and len(params) == body.count("\n") - body.endswith("\n")
    is_old = "\n# exman: " not in text and _pattern(_OLD_END).search(text)
    return params if is_whole and not is_old else _parse_yaml(text)[0]


# A rule takes the text and a position and returns the value and the position behind it; its docstring is its
# grammar. The text starts and ends with a line break, so that each line has one on both sides. A scalar or a
# bracket in a block is read in a window, which ends where a line is not indented enough: no rule asks that of
# each line, and one that meets this end says so.
def _parse_yaml(text, plain=None):
    """text = { comment } [ '---' ] mapping [ '...' { comment } ]   ->   the mapping, and the text as read"""
    lines = _pattern(r"\r\n?").sub("\n", text.lstrip("\ufeff"))
    doc: Any = _Text(_pattern(rf"\n\.\.\.(?=[ \t\n]){_NEXT}\Z").sub("\n", f"\n{lines}\n"))
    # A run's file of exman 0.1.x is YAML 1.1: there text that is now a number has no quotes.
    is_old = _pattern(_OLD_END).search(text)
    doc.key = lambda words: words if is_old and _pattern(_TEXT_IN_1_1).fullmatch(words) else _resolve(words)
    doc.plain = plain or doc.key            # for a scalar that is no key, and '' where one is missing
    doc.keys, doc.anchors = {}, {}          # where those of the outermost mapping stand; by name, the value
    try:
        start = _skip(_START, doc, 0)
        odd = _pattern(_ODD).search(doc, start)
        if odd:
            doc.at = odd.start()
            raise YAMLError(_REFUSED.get(odd[0], f"the character {odd[0]!a} needs escaping in double quotes"))
        params, end = _value(doc, start, ":", 0, 0)
        if type(params) is not dict:
            doc.at = start + 1
            raise YAMLError("no mapping: 'key: value' lines are expected")
        if end < len(doc):
            raise doc.unexpected(end, "a line that is not indented as those above it")
    except ValueError as error:  # also of an integer beyond sys.set_int_max_str_digits
        raise YAMLError(str(error), doc.line(doc.at)) from None
    return params, doc


class _Text(str):
    """One text, and what is known of it while it is read."""

    at = 0                   # where a rule was tried last: there an error is
    alias = 0                # where the last alias stands
    begun = 0                # where the value begins that is being read,
    window = sys.maxsize     # and where the lines end that may be part of it

    def line(self, pos):
        return self.count("\n", 1, pos) + 1

    def column(self, pos):   # -1 behind the text, left of everything
        return pos - self.rfind("\n", 0, pos) - 1 if pos < len(self) else -1

    def unexpected(self, pos, reason=""):
        """The error for the words at pos; with a better reason where their first character tells one."""
        char = self[pos]
        self.at = self.begun if char == "\n" else pos  # a rule has met the end of the window
        words = self[self.at:self.at + 40].partition("\n")[0]
        return YAMLError(f"{_REFUSED.get(char, reason)}: {words!a}")


def _value(text, pos, kind, least, depth):
    """value = collection | scalar | nothing   in a block, indented by `least` and with all of its line"""
    here = _skip(_NEXT, text, pos)
    char, block = text[here:here + 1], kind in "-:"
    closer = {"[": "]", "{": "}"}.get(char)
    if kind == "}" and char in ",}":
        return text.plain(""), here
    if block:
        column, own_line = text.column(here), "\n" in text[pos:here]
        dash = _skip(_DASH, text, here) > here
        # The list of a key may stand at the key's own column.
        if own_line and column < least - (dash and kind == ":"):
            return text.plain(""), here
        # A collection begins a line, or stands behind a dash. At the top whatever is no key begins one, for
        # _key says what is wrong with it.
        if own_line or text[pos - 1:here].rstrip(" ") == "-":
            if dash or depth == 0 and not closer or _skip(_KEY[False], text, here) > here:
                return _collection(text, here, "-" if dash else ":", column, depth)
        no_line = "#" if closer else ""                 # within brackets, a comment may stand anywhere
        outside: Any = re.compile(rf"\n(?! {{{least}}})[ \t]*[^ \t\n{no_line}]|\n\Z").search(text, here)
        text.begun, text.window = here, outside.start()
    value, end = _collection(text, here, closer, least, depth) if closer else _scalar(text, here, not block)
    if block:
        text.window = sys.maxsize
    rest = _skip(_NEXT, text, end)
    if block and "\n" not in text[end:rest]:
        raise text.unexpected(rest, "unexpected behind a value")
    return value, rest


def _collection(text, pos, kind, column, depth):
    """collection = '-' entry { newline '-' entry }                          kind '-', each at one column
                  | key entry { newline key entry }                          kind ':', each at one column
                  | '[' [ entry { ',' entry } [ ',' ] ] ']'                  kind ']'
                  | '{' [ key entry { ',' key entry } [ ',' ] ] '}'          kind '}'
    entry = [ '&' name ] value"""
    if depth > _NESTING:
        raise YAMLError(f"more than {_NESTING} lists and mappings within each other")
    values, flow = {}, kind in "]}"  # of a list too, by 0, 1, 2, ...
    pos = _skip(_NEXT, text, pos + 1) if flow else pos
    while not flow or text[pos] != kind:
        key, pos = _key(text, pos, flow) if kind in ":}" else (len(values), pos + (kind == "-"))
        if key in values:
            raise YAMLError(f"the key {key!a:.60} stands here twice")
        if depth == 0:
            text.keys[key] = text.at
        start = _skip(_ANCHOR, text, pos)
        name = text[pos:start].partition("&")[2]
        text.anchors.pop(name, None)
        values[key], pos = _value(text, start, kind, column + 1, depth + 1)
        if name:
            if text.alias >= start:
                raise text.unexpected(text.alias)  # it would multiply what it stands for
            text.anchors.setdefault(name, values[key])  # but for one of the same name within the value
        if flow and text[pos] == ",":
            pos = _skip(_NEXT, text, pos + 1)
        elif flow and text[pos] != kind:
            raise text.unexpected(pos, f"no ',' or {kind!r} behind a value")
        elif not flow and (text.column(pos) != column or kind == "-" and _skip(_DASH, text, pos) == pos):
            break
    return [*values.values()] if kind in "-]" else values, pos + flow


def _key(text, pos, flow):
    """key = scalar { blank } ':'   on one line, a blank behind it but for '{"a":1}'"""
    end = _skip(_KEY[flow], text, pos, "no 'key: value' on one line with a blank behind the ':'")
    name = text[pos:end - 1].rstrip(" \t")
    key = _scalar(text, pos, flow)[0] if name[0] in _QUOTED else text.key(name)
    if name == "<<" or key != key or len(name) > _KEY_LENGTH:
        raise YAMLError(f"the key {name!a:.60} merges, or is a nan, or longer than {_KEY_LENGTH} characters")
    return key, end


def _scalar(text, pos, flow):
    r"""scalar = "'" { character | "''" | newline } "'" | '"' { character | '\' escape | newline } '"'
              | word { gap word }   a word ends before ': ' and ' #', within brackets before ',[]{}' too
              | '*' name            the value of that anchor"""
    quote = text[pos]
    if quote in _QUOTED:
        end = _skip(_QUOTED[quote], text, pos)
        if text[end] != quote:
            text.begun = pos
            raise text.unexpected(end)
        return _pattern(_PIECES[quote]).sub(_said, text[pos + 1:end]), end + 1
    end = _skip(r"\*[^ \t\n,\[\]{}]+", text, pos)
    name = text[pos + 1:end]
    if name in text.anchors:
        text.alias = pos
        return text.anchors[name], end
    end = _skip(_PLAIN[flow], text, pos, "no value starts like this: quote what is text")
    return text.plain(_pattern(_GAPS).sub(_said, text[pos:end])), end


def _said(match):
    """What a piece of a scalar says: an escape, a doubled quote, blanks, a line break and those around it."""
    piece = match.group()
    if "\n" in piece:
        return "\n" * (piece.count("\n") - 1) or ("" if piece[0] == "\\" else " ")
    if piece[0] in " \t":
        return piece
    return chr(int(piece[2:], 16)) if piece[2:] else _ESCAPES[piece[1]]


def _skip(pattern, text, pos, reason=""):
    """Where the match of a pattern at pos ends; if there is none pos, or an error for this reason."""
    text.at = pos
    match = _pattern(pattern).match(text, pos, text.window)
    if reason and not match:
        raise text.unexpected(pos, reason)
    return match.end() if match else pos


@functools.lru_cache(maxsize=10_000)  # run after run has the same values
def _resolve(text):
    """A plain scalar by the core schema of YAML 1.2: '0x1f' -> 31, '1e3' -> 1000.0, 'no' -> 'no'."""
    kind = _pattern(_CORE).fullmatch(text).lastgroup
    if kind == "long":
        raise YAMLError("an integer of more than 4300 digits")
    return _KINDS[kind](text)


_KINDS: dict[str, Any] = {
    "text": str, "null": lambda text: None, "bool": lambda text: text[0] in "tT", "int": int,
    "based": lambda text: int(text, 0), "float": lambda text: float(_pattern(r"\.(?=[iInN])").sub("", text))}
# What exman writes: keys (a str: not null or true) with a list of words or one scalar.
_OWN_WORD = "-?[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,499}"
_OWN_LINE = (r"\n(?![nNtTfF](?:ull|ULL|rue|RUE|alse|ALSE):)([A-Za-z_][A-Za-z0-9_-]{0,999}): (?:"
             rf"\[({_OWN_WORD}(?:, {_OWN_WORD})*)\]"
             r"|'([ -&(-~]*)'|(-?[A-Za-z0-9_./+~][ -\"$-9;-~]{0,499}(?<! )))(?=\n|\Z)")
_OLD_END = (r"\n(?:root: '[a-z]+/[0-9-]+'|(?!root: ).*)\n"
            r"time: '[0-9-]{10}T[0-9:]{8}'\r?\nid: [0-9]+\r?\n\Z")
# Numbers to YAML 1.2 and text to YAML 1.1: 08, 1e5, 1.5e3, -.5, 0o17.
_TEXT_IN_1_1 = (r"[-+]?0[0-9]+|0o[0-7]+|[-+]?[0-9]+[eE][-+]?[0-9]+"
                r"|[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)[eE][0-9]+|[-+]\.[0-9]+(?:[eE][-+]?[0-9]+)?")
# With NEL, LS and PS: lines break there in YAML 1.1, and not in YAML 1.2.
_UNPRINTABLE = "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff"
_ODD = rf"[{_UNPRINTABLE}]|(?<=\n)(?:%|(?:---|\.\.\.)(?=[ \t\n]))"
_NEXT = r"[ \t]*(?:(?<=[ \t])#[^\n]*)?(?:\n(?:[ \t]*(?:#[^\n]*)?\n)* *(?:#[^\n]*)?)?"
_START = rf"(?:\n[ \t]*(?:#[^\n{_UNPRINTABLE}]*)?)*\n---(?:[ \t]+|(?=\n))"
_DASH = r"-(?=[ \t\n])"
# No name ends in a dash, which would look like that of a list.
_ANCHOR = r"[ \t]*&[^ \t\n,\[\]{}&]+(?<!-)(?=[ \t\n])"
_GAPS = r"[ \t\n]+"
# In a block, and within brackets, where YAML readers differ on '?a' and ':a'.
_WORD = [rf"(?:[^ \t\n:#{ends}]|:(?=[^ \t\n{ends}]))[^ \t\n:{ends}]*(?::(?=[^ \t\n{ends}])[^ \t\n:{ends}]*)*"
         for ends in ("", r",\[\]{}")]
_FIRST = [rf"(?=[^ \t\n?:,\[\]{{}}#&*!|>'\"%@`-]|{mark})" for mark in (r"[?:-][^ \t\n]", r"-[^ \t\n,\[\]{}]")]
_PLAIN = [rf"{first}{word}(?:[ \t\n]+{word})*" for first, word in zip(_FIRST, _WORD)]
_QUOTED_KEY = r"""(?:"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*"|'[^'\n]*(?:''[^'\n]*)*')[ \t]*:"""
_PLAIN_KEY = [rf"{first}{word}(?:[ \t]+{word})*[ \t]*:" for first, word in zip(_FIRST, _WORD)]
_KEY = (rf"(?:{_QUOTED_KEY}|{_PLAIN_KEY[0]})(?=[ \t\n])", rf"{_QUOTED_KEY}|{_PLAIN_KEY[1]}(?=[ \t\n])")
# A surrogate is no character, nor is what lies beyond U+10FFFF. The last line: as in _ESCAPES.
_ESCAPE = (r"\\(?:x[0-9a-fA-F]{2}|u(?![dD][89a-fA-F])[0-9a-fA-F]{4}"
           r"|U(?!0000[dD][89a-fA-F])00(?:0[0-9a-fA-F]|10)[0-9a-fA-F]{4}|\n[ \t\n]*(?!(?<=\n)#)"
           r'|[0abt\tnvfre "/\\N_LP])')
_ESCAPES = dict(zip("'" '0abt\tnvfre "/\\N_LP', "'" '\0\a\b\t\t\n\v\f\r\x1b "/\\\x85\xa0\u2028\u2029'))
# All but the last quote. Within brackets what looks like a comment at the left is one.
_QUOTED = {"'": r"'[^'\n]*(?:(?:''|\n(?!#))[^'\n]*)*",
           '"': rf'"[^"\\\n]*(?:(?:{_ESCAPE}|\n(?!#))[^"\\\n]*)*'}
_PIECES = {"'": rf"''|{_GAPS}", '"': rf"{_ESCAPE}|{_GAPS}"}
_CORE = (r"(?P<null>(?:~|null|Null|NULL)?)|(?P<bool>true|True|TRUE|false|False|FALSE)"
         r"|(?P<int>[-+]?[0-9]{1,4300})|(?P<based>0o[0-7]{1,4761}|0x[0-9a-fA-F]{1,3571})"
         r"|(?P<long>[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)"
         r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
         r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))|(?P<text>(?s:.*))")
_REFUSED = {
    "!": "a tag is not read: it would run or guess something",
    "|": "a literal block is not read: write it in double quotes",
    ">": "a folded block is not read: write it in double quotes",
    "?": "a '? ' key is not read: write 'key: value'",
    "&": "an anchor stands behind the '-', ':', '[' or ',' of its value",
    "*": "an alias stands for a value above it: it is no key, and not within the value of an anchor",
    "#": "a comment needs a blank before its '#'",
    "-": "a '-' within a mapping or a value: a list has lines of its own",
    ":": "a ':' without a key, or a key within a value: quote the value, or put the key on a line of its own",
    "\t": "a tab in the indentation: indent by spaces",
    "\\": "an escape that is no character: write '\\\\' for a backslash, or use single quotes",
    "\n": "a quote or bracket is not closed, or its lines, the last bracket's too, are not indented enough",
    "%": "a directive is not read: take the line away; quote what is text",
    **dict.fromkeys(["---", "..."], "a second document: a text holds one")}


# ------------------------------------------------------------------------------------------------------------
# The table: all runs of a root as rows and columns. It writes nothing.
# ------------------------------------------------------------------------------------------------------------

_HEAD = 1 << 16                                         # bytes: all that nearly every file has
_FIRST_READS, _AT_ONCE, _READERS, _SLOW_READ = 32, 512, 16, 0.0005      # seconds for one file
_OWN_KEY = r"\A(?!(?:root|time|id|(?i:null|true|false)):)(([A-Za-z_][A-Za-z0-9_]*):) "
_OWN_END = r".*\nroot: [a-z]+/[!-9;-~]+\ntime: '[0-9T:-]+'\nid: [0-9]{1,15}\n"


class Index:
    """Read the runs of a root as one table.

        info = exman.Index("exman").info()              # every run; .info("best"): the runs marked best
        for i, ex in info.iterrows():
            print(ex.id, ex.lr, ex.root / "plot.png")
    """

    def __init__(self, root: _Path) -> None:
        from pathlib import Path
        self.root = Path(os.path.abspath(os.path.expanduser(os.fsdecode(root))))

    def __repr__(self) -> str:
        root = os.fspath(self.root)
        runs, failed = [len(_run_names(root, part)) for part in ("index", "fails")]
        return f"<Index {root!r}: {runs} runs, {failed} failed, {len(_marks(root, []))} marks>"

    def info(self, mark: _Path | None = None, *, results: _Results = None, ended: bool = False) -> Any:
        """Return a DataFrame with a row a run, sorted by id; without pandas, a list of dicts.

        Columns: id, time, root (a Path), then the parameters; with `ended` status and seconds; with
        `results` what that file (.json, .yaml) of each run says, or what a function makes of each root: a
        dict or a value. An unknown mark is a KeyError; what cannot be read is left out, with a warning.
        """
        import warnings
        columns, problems = _table(os.fspath(self.root), mark, results, ended)
        for problem in problems:
            warnings.warn(problem, stacklevel=2)
        try:
            import pandas
        except ImportError:
            return _dicts(columns)
        # As Series, for the constructor of a frame would guess: str from objects, seconds from times.
        series = {key: pandas.Series(cells, dtype=_dtype(key, cells)) for key, cells in columns.items()}
        return pandas.DataFrame(series, copy=False)


def _dicts(columns):
    return [dict(zip(columns, cells)) for cells in zip(*columns.values())]


def _dtype(key, cells):
    """The pandas dtype that holds every cell unchanged, None among numbers aside."""
    kinds = {*map(type, cells)}
    if key == "time":
        return "datetime64[ns]"
    if key == "id" or kinds == {int} and max(map(abs, cells)) < 1 << 63:
        return "int64"
    largest = max([abs(cell) for cell in cells if type(cell) is int]) if int in kinds else 0
    if kinds & {int, float} and kinds <= {int, float, type(None)} and largest <= 1 << 53:
        return "float64"
    return "bool" if kinds == {bool} else "object"


def _table(root, mark=None, results=None, ended=False, fails=False, *, missing=None):
    """The cells of each column, and what could not be read; missing: the cell of a run that has none."""
    from pathlib import Path
    if not (results is None or callable(results) or os.fspath(results).endswith((".json", ".yaml", ".yml"))):
        raise ValueError(f"results={results!r:.99}: give a .json or .yaml file of each run, or a function")
    problems = [] if os.path.isdir(root) else [f"no runs in {_shown(root)}: this is no folder"]
    parts = {"runs": _run_names(root, "index") if mark is None else _marked(root, Path(mark), problems),
             "fails": _run_names(root, "fails") if fails and mark is None else ()}
    runs = sorted((_number(name), name, part) for part, names in parts.items() for name in names)
    blocks = [*_blocks(root, problems, runs)]
    runs = [run for alike, _ in blocks for run in alike]
    paths = {part: Path(root, part) for part in _PARTS}
    folders = [paths[part] / name for _, name, part in runs]
    columns = {"id": [run[0] for run in runs], "time": [_time(name) for _, name, _ in runs], "root": folders}
    for key in dict.fromkeys(itertools.chain(*[block for _, block in blocks])):
        cells = [block.get(key) or [missing] * len(alike) for alike, block in blocks]
        columns[key] = [*itertools.chain(*cells)]
    if ended:
        ends = _read_each(functools.partial(_end, root), folders)
        _add(columns, "_end", ends, missing, "status", "seconds")
    if results is not None:
        read = functools.partial(_result, results, problems)
        # A function may know nothing of threads.
        found = [map(read, folders)] if callable(results) else _read_each(read, folders)
        _add(columns, "_result", found, missing)
    return columns, problems


def _add(columns, suffix, windows, missing, *keys):
    """Add what windows of rows have as columns, these in any case; a key that is there gets the suffix."""
    rows = [row for window in windows for row in window]
    for key in dict.fromkeys(itertools.chain(keys, *rows)):
        column = key
        while column in columns:
            column += suffix
        columns[column] = [row.get(key, missing) for row in rows]


def _blocks(root, problems, runs):
    """Runs that can be read, those in a row at once that have the same keys, and their cells by key."""
    for window in _read_each(functools.partial(_own_lines, root), runs):
        for _, group in itertools.groupby(window, lambda pair: len(pair[1])):
            alike, lines = zip(*group)
            try:
                block = dict(map(_key_and_cells, zip(*lines)))
                if len(block) < len(lines[0]):          # a key comes twice
                    raise ValueError
                yield alike, block
            except ValueError:                          # the full reader takes them, or says why not
                for run in alike:
                    yield from _record_of(root, problems, run)


def _read_each(read, items):
    """Windows of read(item) of each; by many threads where that is slow."""
    each: Any = map
    count = _FIRST_READS
    while items:
        start = time.perf_counter()
        yield [*each(read, items[:count])]
        if each is map and time.perf_counter() - start > _SLOW_READ * count:
            from concurrent.futures import ThreadPoolExecutor
            each = ThreadPoolExecutor(_READERS).map
        items, count = items[count:], _AT_ONCE


def _own_lines(root, run):
    """A run and the lines of its parameters, if exman wrote them."""
    _, name, part = run
    try:
        text = _bytes(f"{root}/{part}/{name}/params.yaml").decode()
    except (OSError, ValueError):
        text = ""
    body, _, end = text.rpartition("\n# exman: ")
    return run, body.split("\n") if "\r" not in end and _pattern(_OWN_END).fullmatch(end) else [""]


def _key_and_cells(lines):
    """The key that the lines of some files share, and their cells; ValueError where they do not."""
    # As to the full reader: a line is `key: text`, the key a plain string at column 0, the text whole by
    # itself. What may be part of something larger (indented, `- `, an open quote, an alias) is none of these.
    [(start, key)] = _pattern(_OWN_KEY).findall(lines[0])
    cells = {}
    for line in lines[:1] if lines.count(lines[0]) == len(lines) else {*lines}:     # mostly all are alike
        word, _, text = line.partition(" ")
        if word != start:
            raise ValueError
        if text.replace(".", "", 1).isdigit() and text.isascii() and len(text) < 99:
            cells[line] = float(text) if "." in text else int(text)
        else:
            [cells[line]] = _cells(load_yaml(line)).values()
    if "{" in "".join(cells):                           # dicts: each run gets one of its own
        return key, [_cell(load_yaml(line)[key]) for line in lines]
    return key, [*cells.values()] * len(lines) if len(cells) == 1 else [*map(cells.get, lines)]


def _record_of(root, problems, run):
    """The run, and its cells by key, of any file that can be read."""
    _, name, part = run
    path = f"{root}/{part}/{name}/params.yaml"
    try:
        if not os.path.lexists(path):
            if part == "runs" and any(os.path.isdir(f"{root}/{other}/{name}") for other in _PARTS[1:]):
                return                                  # it was moved this moment, or by hand
            path = os.path.realpath(f"{root}/index/{name}.yaml")
            if not path.startswith(os.path.join(os.path.realpath(root), "")):
                raise ValueError(f"{_shown(path)} is not in the root")
        cells = _cells(load_yaml(_read_text(path)))
        yield [run], {key: [cells[key]] for key in cells if key not in _OWN_KEYS}
    except ValueError as error:
        problems.append(f"{_shown(name)} is left out of the table: {error}: mend it, or take it out by "
                        f"`exman delete {_shown(name)}`, or by `exman fix` where the run is gone")


def _cells(record):
    return {str(key): _cell(value) for key, value in record.items()}


def _cell(value):
    """A value as it stands in the table: lists as tuples, which groupby, unique and pivot_table take."""
    if isinstance(value, (list, tuple)):
        return tuple(map(_cell, value))
    return value.item() if getattr(value, "ndim", None) == 0 else value     # numpy's numbers, and torch's


def _bytes(path):
    """What a small file holds; the first bytes are all that nearly every one has."""
    try:
        file = os.open(path, _READ_FLAGS)
        try:
            head = os.read(file, _HEAD)
        finally:
            os.close(file)
    except OSError as error:
        error.filename = path                           # read and close know a descriptor alone
        raise
    return head if len(head) < _HEAD else _read_text(path).encode()


def _time(name):
    """When a run was launched, by its name; None where datetime64[ns] has no such time."""
    import datetime
    stamp = name.partition("-")[2]
    try:
        moment = datetime.datetime.fromisoformat(stamp[:10] + stamp[10:19].replace("-", ":"))   # ':' as T
    except ValueError:
        return None
    return moment if 1678 <= moment.year < 2262 else None


def _result(results, problems, folder):
    """What the file or the function says of a run; nothing where there is none, or where that fails."""
    try:
        found = results(folder) if callable(results) else _loaded(folder, os.fspath(results))
        return _cells(found if isinstance(found, dict) else {"result": found})
    except FileNotFoundError:
        pass
    except Exception as why:                            # a function of the user's may raise anything
        problems.append(f"{_shown(folder)} has no results: " + _shown(f"{type(why).__name__}: {why}")[:500])
    return {}


def _loaded(folder, name):
    """What a file in a run's folder says."""
    import json
    load, end = (json.loads, b"}") if name.endswith(".json") else (load_yaml, b"\n")
    data = _bytes(f"{folder}/{name}")
    try:
        found = {**load(data.decode())}
    except ValueError as error:                         # while it is not whole, there is none
        raise error if data.endswith((end, end + b"\n")) else FileNotFoundError from None
    hash(_cell([*found.values()]))                      # a dict has none, and is no plain value
    return found


def _end(root, folder):
    """How a run ended, and how many seconds it took; nan where nothing says so."""
    try:
        end = load_yaml(_bytes(f"{folder}/end.yaml").decode())
    except (OSError, ValueError):                       # there is none, or it is not exman's
        end = {}
    status, seconds = end.get("status"), end.get("seconds")
    if status not in ("done", "failed", "interrupted"):
        status = "failed" if folder.parent.name == "fails" else _unended(root, folder.name)
    return {"status": status, "seconds": seconds if type(seconds) is float else float("nan")}


def _unended(root, name):
    """What has become of a run that has no end.yaml."""
    try:
        # The blank at the end tells a claim that was written to its end.
        host, pid, start, _ = _read_text(_claim_path(root, _number(name))).split(" ")
        if host != _HOST or os.name != "posix":         # os.kill would end it there
            return "unknown"
        now, then = _stat(int(pid))[1], int(start)
        if not now:                                     # gone, or there is no /proc
            os.kill(int(pid), 0)
        return "died" if now and then and now != then else "running"       # its number is used again
    except (ValueError, OverflowError):
        return "unknown"
    except OSError as error:                            # not allowed: it is another user's
        return "running" if isinstance(error, PermissionError) else "died"


def _marked(root, mark, problems):
    """Run name -> path of its entry, for a mark and those below it; KeyError for an unknown mark."""
    marks, wanted = _marks(root, problems), os.fspath(mark).replace(os.sep, "/")
    # Looked up among the marks found, a key that is absolute or climbs opens nothing.
    if wanted not in marks:
        raise KeyError(_unknown("mark", wanted, sorted(marks)))
    return marks[wanted]


def _unknown(what, word, names):
    """What is said of a word that is not among the names, with a hint."""
    import difflib
    near = [f"did you mean {name}? " for name in difflib.get_close_matches(word.lower(), names, 1)]
    return f"no {what} {word!r:.99}: {''.join(near)}there are {', '.join(names) or 'none':.400}"


def _marks(root, problems):
    """Mark -> run name -> path of its entry; a mark has what those below it have, its own entries first."""
    marks, top = {}, f"{root}/marked"
    unread = "{0.filename} is left out of the marks: {0.strerror}".format
    walk = os.walk(top, onerror=lambda error: problems.append(_shown(unread(error))))
    # A `marked` that is a link is not exman's, nor are entries without a mark.
    for folder, folders, files in walk if os.path.isdir(top) and not os.path.islink(top) else ():
        parts = folder[len(top):].split(os.sep)[1:]
        for entry in sorted(folders + files):
            name = re.sub(r"\.yaml\Z", "", entry)       # exman 0.1.x linked the run's folder
            if _pattern(_RUN_NAME).fullmatch(name):
                for mark in itertools.accumulate(parts, "{}/{}".format):
                    marks.setdefault(mark, {}).setdefault(name, os.path.join(folder, entry))
    return marks


# ------------------------------------------------------------------------------------------------------------
# The command line: `exman`, `python -m exman` and `python exman.py` are one program.
# ------------------------------------------------------------------------------------------------------------

# The words and options of a verb are the parameters of its function, which yields the lines to print.
_USAGE = """%(prog)s [--root DIR] VERB ...     (by default the root here, or that in ./exman)

ls [MARK] [KEY=VALUE ...]   list runs, the newest last: of a mark and those in it; where a parameter,
    id, time, name or status is =, !=, <, <=, > or >= a value (quote 'lr>0.1': a bare > names a file)
    --sort KEY         sort by this column, upwards; -KEY: downwards
    -n N               the last N runs; with --sort the first N
    --results FILE     add what this file in each run's folder says, JSON or YAML
    --fails            also the runs that failed
    --all              all columns, also those that do not differ, and nothing cut to fit the terminal
    --csv, --json      for other programs: comma-separated values, a list of objects
diff RUN RUN           show the parameters that differ; a run is its number, or its folder's name
cmd RUN                print the shell line that makes a run again
mark MARK RUN ...      mark runs, or ranges of numbers: exman mark best/lr 2-5 9
unmark MARK RUN ...    take a mark away from runs, which stay
marks                  list the marks and how many runs each has
delete RUN ...         take runs out of index and marks; --all: delete their files too; --yes: do not ask
fix                    make index links that are missing, take away those that lead nowhere
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a line such as ["mark", "best", "12"]; return 0, or 1 for not done; SystemExit(2) for wrong use."""
    is_here = os.path.isdir(".ids") or all(map(os.path.isdir, ("runs", "index")))
    return _shell("exman", sys.argv[1:] if argv is None else argv, "." if is_here else "exman")


def _shell(prog, words, folder):
    """Carry out a verb; what it does not find, or cannot do, is a line on stderr and status 1."""
    verb, lines, root = _command(prog, words, folder)
    sys.stdout = sys.stdout or open(os.devnull, "w")    # `exman fix >&-`
    if hasattr(sys.stdout, "reconfigure"):              # cmd: undecodable words as they were typed
        sys.stdout.reconfigure(errors="surrogateescape" if verb == "cmd" else "backslashreplace")
    try:
        if not os.path.isdir(root):
            raise ValueError(f"there is no root at {root}: give --root DIR, or change to its folder")
        root.shared = os.path.isdir(f"{root}/runs") and os.stat(f"{root}/runs").st_mode & stat.S_IWGRP > 0
        for line in lines:
            print(line)
        sys.stdout.flush()
        return 0
    except KeyboardInterrupt:
        return 130                                      # as shells tell it
    except OSError as error:
        if error.filename is None:
            sys.stdout = None                           # else the interpreter flushes it once more
        if isinstance(error, BrokenPipeError):          # `exman ls | head`: the reader has seen enough
            return 0
        _say(_reason(error))
    except (KeyError, ValueError, EOFError) as error:
        for line in error.args:
            _say(f"{line!s:.500}")
    return 1


def _command(prog, words, folder):
    """The verb of a line, the generator that will carry it out, and its root."""
    parser = argparse.ArgumentParser(prog, _USAGE, allow_abbrev=False, argument_default=SUPPRESS)
    parser.format_help = parser.format_usage  # type: ignore[method-assign]
    parser.add_argument("--version", action="version", version=f"exman {__version__}")
    parser.add_argument("words", nargs="+", metavar="VERB")
    for option, kind in {"-n": int, "--root": str, "--sort": str, "--results": str}.items():
        parser.add_argument(option, type=kind)
    for flag in ("--fails", "--all", "--csv", "--json", "--yes"):
        parser.add_argument(flag, action="store_true")
    if "--sort" in words[:-1] and words[-1] != "--":    # to argparse the -acc of `--sort -acc` is an option
        at = words.index("--sort")
        words = [*words[:at], f"--sort={words[at + 1]}", *words[at + 2:]]
    options = vars(parser.parse_intermixed_args(words))
    verb, *words = options.pop("words")
    root = os.path.expanduser(options.pop("root", folder))
    root = _Root(_try(os.path.abspath, root) or root)   # the folder that it is relative to may be gone
    try:
        return verb, globals()[f"_verb_{verb}"](root, *words, **options), root
    except (KeyError, TypeError):                       # of the call alone: nothing of the verb has run yet
        parser.error(f"{verb!r:.99}: there is no such verb, or it takes other words and options")


def _verb_ls(root, *words, sort="", n=0, results=None, fails=False, all=False, csv=False, json=False):
    marks = [word for word in words if not re.search("[<>=]", word) or word in _marks(root, [])]
    filters = [re.split("([<>]=?|!?==?)", word, maxsplit=1) for word in words if word not in marks]

    def read(mark=None):                                # `...`: the cell of a run that has no such parameter
        columns, problems = _table(root, mark, results, True, fails, missing=...)
        # What --name gave stands at the end of a folder's name; a parameter of the script's goes before it.
        ends = [re.sub(r"\A(?:[0-9]+-?){7}", "", path.name) for path in columns["root"]]
        both = zip(columns.get("name", ends), ends)
        return {**columns, "name": [end or own if own in (None, ...) else own for own, end in both]}, problems
    columns, problems = read(" ".join(marks) or None)
    for problem in problems:
        _say(problem)
    for key in ("time", "root"):
        columns[key] = [str(cell or "") for cell in columns[key]]
    rows, order = _dicts(columns), sort.lstrip("-") or "id"
    is_down = sort.startswith("-")
    try:
        for key, sign, text in filters:
            rows = [row for row in rows if _holds(key, row[key], sign, text)]
        # Runs that have no such value come last, upwards and downwards.
        rows.sort(key=lambda row: _rank(row[order], -1 if is_down else 2), reverse=is_down)
    except KeyError as error:
        raise ValueError(_unknown("parameter", error.args[0], [*columns])) from None
    rows = rows[:n or None] if sort else rows[-n:]
    if csv or json:                                     # nan as text, for JSON has no such number
        from csv import writer
        from json import dumps, loads
        rows = loads(dumps(rows, default=lambda missing: None), parse_constant=str)
        if json:
            yield dumps(rows, indent=1)
        else:
            writer(sys.stdout, lineterminator="\n").writerows([columns, *map(dict.values, rows)])
    else:
        others = rows if len(rows) > 1 else _dicts(read()[0])       # a lone run is shown as among the others
        yield from _aligned([*columns], rows, others, order, all)


def _holds(key, cell, sign, text):
    """Whether a cell is what was typed (lr=1e-1, seed=null, time=2026-11), or is below or above it."""
    if key == "time":                                   # that of a day, an hour
        cell, text = cell[:len(text)], text.replace("T", " ")
    one, other = _rank(cell), _rank(text if isinstance(cell, str) else _resolve(text))
    if one[0] != other[0]:
        return sign == "!="                             # seed>3 where there is no seed
    order = "=" if one == other else "<" if one < other else ">"
    return order in sign.replace("!=", "<>")


def _rank(cell, nothing=2):
    """What cells are compared by: numbers, then texts; and the place of those that say nothing."""
    if cell in (None, ...) or cell != cell:
        return nothing, 0
    return (0, cell) if isinstance(cell, (int, float)) else (1, _printable(cell, 10**9).replace(", ", ","))


def _aligned(keys, rows, others, sort, whole):
    """Aligned columns: all, or those that differ among others; a parameter that is missing does not."""
    import shutil
    # On a terminal a line is cut where that ends, and a cell at a third of it.
    room = shutil.get_terminal_size().columns if sys.stdout.isatty() and not whole else 10**9
    first, table = ["id", "time", sort], []
    hidden = ["root", "seconds_end" if "seconds_end" in keys else "seconds"]
    told = keys[keys.index("status_end" if "status_end" in keys else "status"):]    # its end and results
    for key in dict.fromkeys([*first, "name", *told, *keys]):
        texts = {repr(row.get(key)) for row in others if key in told or row.get(key, ...) is not ...}
        if key in first or whole or len(texts) > 1 and key not in hidden:
            values = [row[key] for row in rows]
            cells = [_printable(value, room // 3) for value in (key, *values)]
            side = ">" if any(isinstance(value, (int, float)) for value in values) else "<"
            table.append([f"{cell:{side}{max(map(len, cells))}}" for cell in cells])
    for line in zip(*table):
        yield _printable("  ".join(line).rstrip(), room)


def _printable(value, most):
    """A cell or a line as printable text, a commit by its start, cut where it is longer than most."""
    if value in (None, ...):
        return ""
    text = value if isinstance(value, str) else _flow(_form(value)[0])
    text = re.sub("^([0-9a-f]{8})[0-9a-f]{32}$", r"\1", _shown(text))
    return text if len(text) <= most else text[:most - 1] + "~"


def _verb_diff(root, run, other):
    one, two = [_File(_config_path(word, root)).values for word in (run, other)]
    for key in {**one, **two}:
        before, after = [_flow(params[key]) if key in params else "(none)" for params in (one, two)]
        if before != after and key not in _OWN_KEYS:
            yield _shown(f"{key}: {before} -> {after}")


def _verb_cmd(root, run):
    import shlex
    path = _config_path(run, root)
    argv = _File(path).meta["argv"]
    if not argv:
        raise ValueError(f"{path} tells of no script (a notebook? `python -c`?): run it with --config")
    words = ["python" if os.name == "nt" else "python3"]
    for word in argv:
        if not isinstance(word, tuple):
            words.append(str(word))
        elif path not in words:                         # it has all that the files gave
            words += [*map(str, word[:1]), path]
    yield shlex.join(words)


def _verb_mark(root, mark, run, *more):
    folder = root.mark_folder(_check_key(mark))
    did = "marked " + folder[len(f"{root}/marked/"):]   # as it is spelled there
    yield from _each(did, lambda part, name: root.link(folder, name), _runs(root, "runs"), [run, *more])


def _verb_unmark(root, mark, run, *more):
    runs = [("runs", name) for name in _marked(root, _check_key(mark), [])]
    yield from _each(f"unmarked {mark}", lambda part, name: root.unlist(name, f"{mark}/"), runs, [run, *more])


def _verb_marks(root):
    for mark, runs in sorted(_marks(root, []).items()):
        yield f"{len(runs):6}  {_shown(mark)}"


def _verb_delete(root, run, *more, all=False, yes=False):
    if all and not yes:
        question = f"delete {' '.join([run, *more])} with all files? [y/N] "
        if not (sys.stdin and sys.stdin.isatty() and input(question).lower() in ("y", "yes")):
            raise ValueError("nothing was deleted: --all asks on a terminal, and elsewhere takes --yes")
    do = root.delete if all else lambda part, name: root.unlist(name)
    yield from _each("deleted" if all else "taken out of index and marks", do, _runs(root), [run, *more])


def _each(did, do, runs, words):
    """Do something to each run that words name; say in one line to which, by a ValueError to which not."""
    find, done, problems = _finder(runs), {}, []
    for word in words:
        ends = re.fullmatch("([0-9]+)-([0-9]+)", word)
        numbers = range(int(ends[1]), int(ends[2]) + 1)[:99999] if ends else ()
        for key in [*map(str, numbers)] or [word]:
            try:
                part, name = find(key)
                if name not in done:
                    do(part, name)
                    done[name] = str(_number(name))
            except ValueError as error:
                problems.append(str(error))
            except OSError as error:
                problems.append(f"{part}/{name}: {_reason(error)}")
    if done:
        yield f"{did}: {', '.join(done.values())}"
    if problems:
        raise ValueError(*problems[:99])


def _verb_fix(root):
    yield from map(_shown, root.fixed())


if __name__ == "__main__":
    sys.exit(main())
