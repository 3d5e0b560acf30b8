# PYTHON_ARGCOMPLETE_OK
"""exman records experiment runs: swap argparse.ArgumentParser for exman.ExParser and change nothing else.

    import exman
    parser = exman.ExParser(root=exman.simpleroot(__file__))    # the folder `exman` beside this script
    parser.add_argument("--lr", type=float, default=0.1)
    args = parser.parse_args()                                  # recorded: args.root is the run's folder
    (args.root / "score.txt").write_text(str(args.lr))

Each launch leaves its parameters, defaults included, in a numbered folder:

    root
    |-- runs/000012-2026-11-23-13-27-00[-NAME]/params.yaml   + whatever the experiment writes
    |-- index/000012-2026-11-23-13-27-00[-NAME].yaml         link -> ../runs/<run>/params.yaml
    |-- marked/<mark>/000012-....yaml                        link -> ../../runs/<run>/params.yaml
    |-- tmp/000013-.../params.yaml                           runs made with --tmp: recorded, not indexed
    `-- fails/000014-.../params.yaml                         runs that raised inside `with args.safe_experiment:`

`python main.py --config root/index/<run>.yaml` runs one again, `exman.Index(root).info()` is the table of all, and
`python main.py mark best 12` keeps the good ones at hand. One file, the standard library alone, CPython 3.8 and later.
"""
from __future__ import annotations

import argparse
import errno
import functools
import itertools
import os
import re
import stat
import sys
import time
from _thread import get_ident
from argparse import ArgumentError

# Imported where used, for they cost more than this whole module: pathlib, datetime, hashlib, json, shutil, subprocess.
TYPE_CHECKING = False
if TYPE_CHECKING:
    import datetime
    import pathlib
    from types import TracebackType
    from typing import IO, Any, Callable, Iterable, Iterator, NoReturn, Optional, Sequence, Union

    _Calls = dict[argparse.Action, list[list[str]]]     # of each option the strings of each time it is given
    _Words = tuple[argparse.Action, str, list[str]]     # an option, the name it is called by, and its strings

__all__ = ["ArgumentError", "ExParser", "Index", "Namespace", "Run", "YAMLError", "dump_yaml", "load_yaml", "main", "optional",
           "simpleroot"]
__version__ = "1.0.0"


# ---------------------------------------------------------------------------------------------------------------------
# The run and the namespace: what a script gets back from parse_args.
# ---------------------------------------------------------------------------------------------------------------------

class Run:
    """One recorded run, and the block that guards its experiment.

    root: its folder, an absolute pathlib.Path (in fails/ once it has failed); name: that folder's name; id: its number;
    time: datetime.datetime of the launch, in seconds; tmp: whether it was made with --tmp.

        with args.exman:            # or args.safe_experiment, the same object
            train(args)

    Inside the block stdout also goes to log.txt. An exception writes traceback.txt, moves the run to fails/ and goes on
    upwards; Ctrl-C writes traceback.txt and ends the block; sys.exit(0) is a success. A process that did not make the run
    (a rank, a worker) moves nothing, and signs its files: log.1.txt, traceback.SpawnProcess-1.txt.
    """

    def __init__(self, base: str, part: str, name: str, *, rank: str = "", shared: bool = False, maker: int = 0) -> None:
        self.name = name
        self.id = _number(name)
        self.tmp = part == "tmp"
        self._base, self._part = base, part
        self._rank = rank                               # how this process signs its files, when another one made the run
        self._shared = shared
        self._maker = maker                             # the process that made the run; only that one moves it
        self._depth = 0
        self._entered = 0                               # the process that counts the depth: a fork starts anew
        self._log: _Log | None = None

    @property
    def root(self) -> pathlib.Path:
        from pathlib import Path
        return Path(self._folder())

    @property
    def time(self) -> datetime.datetime:
        from datetime import datetime
        return datetime.strptime("-".join(self.name.split("-")[1:7]), _STAMP)

    def __repr__(self) -> str:
        return f"<exman.Run {self.id}: {self._folder()}>"

    def _folder(self) -> str:
        return os.path.join(self._base, self._part, self.name)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy in another process has not made the run: there it logs beside the maker and moves nothing.
        return Run, (self._base, self._part, self.name), {"_rank": self._rank, "_shared": self._shared}

    def __copy__(self) -> Run:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Run:
        return self

    def __enter__(self) -> Run:
        if self._entered != os.getpid():
            self._entered, self._depth = os.getpid(), 0
        self._depth += 1
        if self._depth == 1:
            self._log = _Log(self._file("log"), self._shared)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> bool:
        self._depth -= 1
        if self._depth > 0:
            return False                                # the outermost block of nested ones decides
        if self._log is not None:
            self._log.end()
            self._log = None
        if error is None or isinstance(error, GeneratorExit) or (isinstance(error, SystemExit) and error.code in (None, 0)):
            return False                                # a generator that its caller closed has not failed
        cancelled = getattr(sys.modules.get("asyncio"), "CancelledError", ())   # what Ctrl-C is inside a coroutine
        interrupted = isinstance(error, (KeyboardInterrupt, cancelled))
        self._write_traceback(kind, error, trace)
        self._leave(interrupted)
        return isinstance(error, KeyboardInterrupt)

    def _write_traceback(self, kind: Any, error: BaseException, trace: Any) -> None:
        import traceback
        text = "".join(traceback.format_exception(kind, error, trace))
        try:
            _write_new(self._file("traceback"), text, self._shared)
        except OSError as problem:                      # a full disk must not keep a failed run among the others
            _say(f"no traceback: {_reason(problem)}")

    def _leave(self, interrupted: bool) -> None:
        """Move the run to fails/, if it is this process that may, and say what became of it."""
        try:
            if not interrupted and self._maker == os.getpid() and self._part != "fails":
                _move_to_fails(self._base, self._part, self.name, self._shared)
                self._part = "fails"
        except OSError as problem:                      # never in place of the experiment's own exception
            _say(f"run {self.id} failed, and is not in fails/: {_reason(problem)}")
        else:
            _say(f"run {self.id} {'was interrupted' if interrupted else 'failed'}: {_shown(self._file('traceback'))}")

    def _file(self, stem: str) -> str:
        """The path of log.txt or traceback.txt; a process that joined the run adds its rank or its name."""
        folders = [os.path.join(self._base, part, self.name) for part in (self._part, "fails")]
        folder = next(filter(os.path.isdir, folders), folders[0])       # its maker may have moved it meanwhile
        if self._maker == os.getpid():
            return os.path.join(folder, f"{stem}.txt")
        signed = "-".join(dict.fromkeys(filter(None, [self._rank, _worker_name()])))
        return os.path.join(folder, f"{stem}.{signed or os.getpid()}.txt")


class _Log:
    """Stands in for sys.stdout: what is written also goes to a file, everything else is the stream underneath."""

    _ended = False

    def __init__(self, path: str, shared: bool) -> None:
        self._stream = before = sys.stdout
        self._copy: IO[str] | None = None
        try:
            self._copy = open(path, "a", buffering=1, encoding="utf-8", errors="backslashreplace")
            _share(path, shared)
        except OSError as problem:
            _say(f"no log: {_reason(problem)}")
        sys.stdout = self
        for handler in _log_handlers(before):
            handler.stream = self                       # not setStream(), which flushes and so raises on a closed stream

    def write(self, text: str) -> int:
        written = len(text) if self._stream is None else self._stream.write(text)
        self._keep(lambda copy: copy.write(text))
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        if self._stream is not None:                    # started with stdout closed: print says nothing then
            self._stream.flush()
        self._keep(lambda copy: copy.flush())

    def _keep(self, act: Callable[[IO[str]], object]) -> None:
        try:
            if self._copy is not None:
                act(self._copy)
        except (OSError, ValueError) as problem:        # a full disk ends the log, not the experiment
            copy, self._copy = self._copy, None
            _say(f"the log ends here: {_reason(problem) if isinstance(problem, OSError) else problem}")
            try:
                copy.close()                            # type: ignore[union-attr]
            except (OSError, ValueError):
                pass                                    # closed all the same; what it still held is lost

    def end(self) -> None:
        """Take itself out of the way and close the file; whoever still holds it writes to the stream underneath."""
        below = self._stream
        while isinstance(below, _Log) and below._ended:     # blocks need not end in the order of their beginnings
            below = below._stream
        if sys.stdout is self:                          # what the script has put there since is its own
            sys.stdout = below
        for handler in _log_handlers(self):
            handler.stream = below
        self._keep(lambda copy: copy.close())
        self._copy, self._ended = None, True

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_stream"], name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stream)

    def __enter__(self) -> _Log:
        return self

    def __exit__(self, *error: object) -> None:         # `with sys.stdout as file:` closes it, as without exman
        self._stream.close()


def _log_handlers(stream: Any) -> list[Any]:
    """The handlers of the logging module, if the script uses it, that write to this stream."""
    # The list of all handlers there are: those behind a queue or a buffer are in no logger's own.
    handlers = [ref() for ref in getattr(sys.modules.get("logging"), "_handlerList", ())]
    return [handler for handler in handlers if stream is not None and getattr(handler, "stream", None) is stream]


class Namespace(argparse.Namespace):
    """What parse_args returns: vars(args) is what argparse would have put there, and the run stands beside it.

    args.root: the run's folder (a Path); args.exman and args.safe_experiment: the Run. A parameter of the script with
    one of these names hides exman's: args.exman.root is always the run.
    """

    # Kept on a class made for each parse, and not on the object, so that vars(), == and json see parameters alone.
    _exman_run: Run | None = None
    _exman_names: frozenset[str] = frozenset()          # without those that are dests of the script, also where not given

    def __getattr__(self, name: str) -> Any:
        run = type(self)._exman_run
        if run is not None and name in type(self)._exman_names:
            return run.root if name == "root" else run
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _beside, (type(self)._exman_run, None, type(self)._exman_names), self.__dict__


_BESIDE = frozenset(["exman", "safe_experiment", "root"])


def _beside(run: Run | None, namespace: Any = None, names: frozenset[str] = _BESIDE) -> Any:
    """The namespace with the run beside its parameters; an object of the caller's own class is left as it is."""
    if namespace is None:
        namespace = argparse.Namespace()                # of an unpickled one, whose parameters follow
    if type(namespace) is argparse.Namespace:
        beside = {"__module__": __name__, "_exman_run": run, "_exman_names": names}
        namespace.__class__ = type("Namespace", (Namespace,), beside)
    return namespace


def _say(line: str) -> None:
    """One line on stderr; stdout belongs to the script."""
    try:
        if sys.stderr is not None:
            print(f"exman: {line}", file=sys.stderr)
    except (OSError, ValueError):                       # closed, a broken pipe, a full disk: no reason to stop a script
        pass


# ---------------------------------------------------------------------------------------------------------------------
# The parser: argv becomes args, and each outermost parse that succeeds becomes one run.
# ---------------------------------------------------------------------------------------------------------------------

def simpleroot(__file__: str) -> pathlib.Path:
    """Return the folder `exman` beside the given file, as an absolute path: exman.simpleroot(__file__)."""
    from pathlib import Path
    return Path(os.path.dirname(os.path.abspath(__file__)), "exman")


def optional(type: Callable[[str], Any]) -> Callable[[str | None], Any]:
    """Make a type= that also takes none and null, in any case: optional(int)("none") is None."""
    convert = _bool if type is bool else type

    def optional_type(text: str | None) -> Any:
        return None if text is None or text.lower() in ("none", "null") else convert(text)
    optional_type.__name__ = f"optional {getattr(type, '__name__', type)}"
    return optional_type


def _bool(text: str) -> bool:
    """type=bool as people mean it; argparse's own bool('False') is True."""
    word = str(text).lower()
    if word in ("true", "t", "yes", "y", "on", "1"):
        return True
    if word in ("false", "f", "no", "n", "off", "0"):
        return False
    raise ValueError(text)


class _Settings:
    """What ExParser takes beyond argparse, as given."""

    def __init__(self, root: Any, zfill: int, shared: bool, automark: Iterable[str], default_config_files: Iterable[Any],
                 git: Any, git_assert_clean: bool) -> None:
        self.root = root
        self.zfill = zfill
        self.shared = shared
        self.automark = (automark,) if isinstance(automark, str) else tuple(automark)
        self.default_config_files = tuple(default_config_files)
        self.git = git if git is not None and git is not False else (True if git_assert_clean else None)
        self.git_assert_clean = git_assert_clean
        self.setters: list[Callable[[Any], object]] = []
        self.validators: list[tuple[Callable[[Any], object], str]] = []

    def folder(self) -> str:
        """The root as an absolute path: as given, else `exman` beside the main script or in the working directory."""
        if self.root is not None:
            return _absolute(os.fsdecode(self.root))
        return os.path.join(_script_folder(), "exman")


def _script_folder() -> str:
    script = _script_path()
    return os.path.dirname(script) if script else _absolute(os.curdir)


def _script_path() -> str:
    """The file of the main script, or '' where there is none; workers of multiprocessing import it as __mp_main__."""
    script = getattr(sys.modules.get("__mp_main__") or sys.modules.get("__main__"), "__file__", None)
    return _absolute(script) if script else ""


def _absolute(path: str) -> str:
    try:
        return os.path.abspath(path)
    except FileNotFoundError:                           # the working directory is gone: making the run will say so
        return path


class _Parse:
    """One outermost parse while it lasts: what was typed, what exman's own options said, what a file gives."""

    def __init__(self, argv: list[str], method: str) -> None:
        self.argv = argv
        self.method = method                            # of argparse, by which it was asked for
        self.typed: _Calls = {}
        self.own: dict[str, Any] = {}                   # exman's options: config, tmp, name, git_dirty
        self.replay: _Replay | None = None              # the files' values, where there are files
        self.left: list[str] = []                       # what parse_known_args did not know


# The parse under way, by thread: a parse inside it (a subparser's, an action's) belongs to it.
_UNDER_WAY: dict[int, _Parse] = {}


class _Container:
    """volatile= for parsers and their groups."""

    def add_argument(self, *args: Any, volatile: bool = False, **kwargs: Any) -> Any:
        """Add an argument as argparse does; a volatile one is recorded but never restored by --config.

            parser.add_argument("--workers", type=int, default=4, volatile=True)
        """
        action = super().add_argument(*args, **kwargs)  # type: ignore[misc]
        if volatile:
            action.volatile = True
        return action

    def add_argument_group(self, *args: Any, **kwargs: Any) -> Any:
        return _taking_volatile(super().add_argument_group(*args, **kwargs))  # type: ignore[misc]

    def add_mutually_exclusive_group(self, **kwargs: Any) -> Any:
        return _taking_volatile(super().add_mutually_exclusive_group(**kwargs))  # type: ignore[misc]


class ExParser(_Container, argparse.ArgumentParser):
    """An argparse.ArgumentParser that records each parse as a run.

    Takes every parameter of argparse.ArgumentParser, and by name:
    root: the folder of all runs, a path (default: `exman` beside the main script); zfill: the least digits of a number in
    names; shared: whether the group may write what exman makes, whatever the umask; automark: words, where dests stand for
    themselves and their value, that name a mark of each run; default_config_files: paths of yaml files that set defaults,
    read where they exist; git: True (the repository of the main script) or the path of one, to record commit, dirty and
    changes.diff; git_assert_clean: refuse a dirty one unless --git-dirty.

        parser = exman.ExParser(root=exman.simpleroot(__file__))
        args = parser.parse_args()

    Raises OSError, with one line that says what to do, where a run cannot be made; no run is left half-made.
    """

    def __init__(self, *args: Any, root: str | os.PathLike[str] | None = None, zfill: int = 6, shared: bool = False,
                 automark: Iterable[str] = (), default_config_files: Iterable[str | os.PathLike[str]] = (),
                 git: bool | str | os.PathLike[str] | None = None, git_assert_clean: bool = False, **kwargs: Any) -> None:
        self._exman = _Settings(root, zfill, shared, automark, default_config_files, git, git_assert_clean)
        super().__init__(*args, **kwargs)
        self.register("type", bool, _bool)

    def add_subparsers(self, **kwargs: Any) -> Any:
        """Add subparsers as argparse does; those of a parser_class of the script's own are recorded and restored too."""
        kind = kwargs.get("parser_class")
        if isinstance(kind, type) and issubclass(kind, argparse.ArgumentParser) and not issubclass(kind, ExParser):
            kwargs["parser_class"] = type(kind.__name__, (ExParser, kind), {})
        return super().add_subparsers(**kwargs)

    def register_validator(self, function: Callable[[Any], object], message: str = "validation error") -> None:
        """Check args before each run: False, or an exception, is a usage error with message.format(**vars(args)).

            parser.register_validator(lambda args: args.lr > 0, "--lr is {lr}: give more than 0")

        The function may raise exman.ArgumentError(None, "...") to use its own words.
        """
        if not callable(function):
            raise TypeError(f"validator {function!r} is not callable")
        self._exman.validators.append((function, message))

    def register_setter(self, function: Callable[[Any], object]) -> None:
        """Change args, in place, before validators see them and before they are recorded.

            parser.register_setter(lambda args: setattr(args, "steps", args.epochs * 100))
        """
        if not callable(function):
            raise TypeError(f"setter {function!r} is not callable")
        self._exman.setters.append(function)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, record the run, and return the namespace with the run beside it."""
        return self._parse("parse_args", args, namespace)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, record the run, and return the namespace and the words that are left."""
        return self._parse("parse_known_args", args, namespace)

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse as argparse does, options and positionals in any order, record the run, and return the namespace."""
        return self._parse("parse_intermixed_args", args, namespace)

    def parse_known_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """parse_known_args, with options and positionals in any order."""
        return self._parse("parse_known_intermixed_args", args, namespace)

    def _parse(self, method: str, args: Any, namespace: Any) -> Any:
        parse = _UNDER_WAY.get(get_ident())
        if parse is not None:                           # a subparser's, or an action's, inside another parse
            view, namespace = self._replaying(parse, namespace)
            return getattr(super(ExParser, view), method)(args, namespace)
        parse = _Parse([*(sys.argv[1:] if args is None else args)], method)
        if method in ("parse_args", "parse_intermixed_args") and self._takes_mark(parse.argv):
            self.exit(_mark_verb(parse.argv, self.prog, self._exman.folder()))
        if isinstance(namespace, Namespace):            # of an earlier parse, whose run is another
            namespace.__class__ = argparse.Namespace    # type: ignore[assignment]
        completing = "_ARGCOMPLETE" in os.environ       # the shell is completing a line: nothing is read or launched
        _UNDER_WAY[get_ident()] = parse
        try:
            if completing:                              # argcomplete offers what stands in this list
                self._actions += _own_group(self)._group_actions
            else:
                self._read_files(parse)
            view, namespace = self._replaying(parse, namespace)
            done = getattr(super(ExParser, view), method)([*parse.argv], namespace)
            namespace, parse.left = done if isinstance(done, tuple) else (done, [])
            record = None if completing else self._checked(parse, namespace)
        finally:
            del _UNDER_WAY[get_ident()]
        if record is not None:
            dests = {action.dest for parser in _family(self) for action in parser._actions}
            _beside(_launch(self._exman, record), namespace, _BESIDE - dests)
        return done

    def _checked(self, parse: _Parse, namespace: Any) -> _Record:
        """Setters, validators and the git check, then what is to be recorded."""
        for setter in self._exman.setters:
            setter(namespace)
        if parse.replay is not None:
            parse.replay.finish(namespace, bool(self._exman.setters))
        for function, message in self._exman.validators:
            try:
                accepted = function(namespace)
            except ArgumentError as error:
                self._refuse(str(error))
            except Exception:
                accepted = False
            if type(accepted).__name__ in ("bool", "bool_") and not accepted:       # numpy has a False of its own
                self._refuse(_formatted(message, namespace))
        try:
            state = _git_state(self._exman.git) if self._exman.git else None
            if state and self._exman.git_assert_clean and not parse.own.get("git_dirty"):
                self._check_clean(state)
            name = parse.own.get("name")
            if name is not None:
                _check_name(name)
            return _record(self, parse, namespace, state)
        except ValueError as error:
            self._refuse(str(error))

    def _check_clean(self, state: _GitState) -> None:
        """Refuse what a commit alone does not tell."""
        if state.dirty:
            self._refuse(f"the git repository {_shown(state.folder)} has uncommitted changes: commit them, or add --git-dirty")
        if state.commit is None:
            problem = state.problem or f"the git repository {_shown(state.folder)} has no commit"
            self._refuse(f"{problem}: mend that, or add --git-dirty")

    def _read_files(self, parse: _Parse) -> None:
        """Load --config and the default config files, and learn which options the command line gives itself."""
        configs = [os.path.expanduser(os.fspath(path)) for path in self._exman.default_config_files]
        configs = [path for path in configs if os.path.exists(path)]
        prefixes = self.fromfile_prefix_chars or ""
        long = _long_prefix(self.prefix_chars)
        if not configs and not any(word.startswith((f"{long}config", f"{long}exman-config", *prefixes)) for word in parse.argv):
            return                                      # the usual launch: no second look at argv
        scan = _scan(self, parse.method, parse.argv)
        try:
            files = [_load_config(path) for path in reversed(configs)]
            if "config" in scan.own:
                files.insert(0, _load_config(_config_path(scan.own["config"], self._exman.folder()), explicit=True))
            if files:
                parse.replay = _Replay(self, files, scan)
        except (OSError, ValueError) as error:
            self._refuse(str(error))

    def _replaying(self, parse: _Parse, namespace: Any) -> tuple[ExParser, Any]:
        """This parser, or a view of it that leaves out what a file gives, and the namespace with that filled in."""
        if parse.replay is None:
            return self, namespace
        try:
            return parse.replay.start(self, namespace if namespace is not None else argparse.Namespace())
        except ValueError as error:
            self._refuse(str(error))

    def _refuse(self, message: str) -> NoReturn:
        """A usage error in argparse's own form."""
        if not getattr(self, "exit_on_error", True):
            raise ArgumentError(None, message)
        self.error(message)
        raise AssertionError("error() returned")        # argparse: it must exit or raise

    def _takes_mark(self, argv: Sequence[str]) -> bool:
        """Whether `mark` is exman's verb here: the script's own positional or subcommand of that name keeps it."""
        if argv[:1] != ["mark"]:
            return False
        positionals = [action for action in self._actions if not action.option_strings]
        return not positionals or (positionals[0].choices is not None and "mark" not in positionals[0].choices)

    def format_help(self) -> str:
        view = _twin(self)
        view._action_groups = [*self._action_groups, _own_group(self)]
        text: str = super(ExParser, view).format_help()
        return text

    # -- The hooks of argparse that are not public, each the same in CPython 3.8 to 3.14 -----------------------------

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        # The one place that is handed every option's strings: keep them, for the record.
        values = super()._get_values(action, arg_strings)
        parse = _UNDER_WAY.get(get_ident())
        if parse is not None and action.nargs != argparse.SUPPRESS and (action.option_strings or arg_strings):
            parse.typed.setdefault(action, []).append([*arg_strings])
        return values

    def _parse_optional(self, arg_string: str) -> Any:
        # The one place that says which option a word is. exman's own options live in a parser of their own, so that they
        # are in no list, usage, abbreviation or conflict of this one; the answer's shape differs between versions.
        name = arg_string.partition("=")[0]
        if name.endswith(_OWN_OPTIONS):
            own = _own_parser(self.prefix_chars, bool(self._exman.git))
            if name in own._option_string_actions and _is_free(self, name):
                return own._parse_optional(arg_string)
        return super()._parse_optional(arg_string)


def _formatted(message: str, namespace: Any) -> str:
    """A validator's message with the parameters in it; as it stands where it has other braces."""
    try:
        return message.format(**vars(namespace))
    except (LookupError, ValueError, AttributeError):
        return message


class _OwnAction(argparse.Action):
    """An option of exman's: its value belongs to the parse, not to the script's namespace."""

    _orig_class = None                                  # argcomplete asks for it; it knows only what is in a parser's own list

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        parse = _UNDER_WAY.get(get_ident())
        assert parse is not None
        parse.own[self.dest] = True if self.nargs == 0 else values


_OWN_OPTIONS = ("config", "tmp", "name", "git-dirty")


@functools.lru_cache(maxsize=None)
def _own_parser(prefix_chars: str, git: bool) -> argparse.ArgumentParser:
    """exman's options, each also under a name that starts with exman-, for scripts that have one of the same name."""
    long = _long_prefix(prefix_chars)
    parser = argparse.ArgumentParser(add_help=False, prefix_chars=prefix_chars)

    def add(name: str, **kwargs: Any) -> None:
        parser.add_argument(long + name, f"{long}exman-{name}", action=_OwnAction, dest=name.replace("-", "_"), **kwargs)
    add("config", metavar="RUN", help="run again: a run's yaml, folder or number, or a yaml file written by hand")
    add("tmp", nargs=0, help="keep this run apart, in tmp/")
    add("name", help="end the name of the run's folder with this")
    if git:
        add("git-dirty", nargs=0, help="run with uncommitted changes")
    return parser


def _long_prefix(prefix_chars: str) -> str:
    return "--" if "-" in prefix_chars else prefix_chars[0] * 2


def _is_free(parser: argparse.ArgumentParser, name: str) -> bool:
    """Whether the script has no option of this name, nor one that this name abbreviates."""
    if parser.allow_abbrev:
        return not any(option.startswith(name) for option in parser._option_string_actions)
    return name not in parser._option_string_actions


def _own_group(parser: ExParser) -> Any:
    """The help group `exman`: each option under the shortest name that is free here."""
    group = argparse._ArgumentGroup(argparse.ArgumentParser(add_help=False), title="exman")
    for action in _own_parser(parser.prefix_chars, bool(parser._exman.git))._actions:
        free = [name for name in action.option_strings if _is_free(parser, name)]
        if free:
            action = _twin(action)
            action.option_strings = free[:1]
            group._group_actions.append(action)
    return group


def _twin(thing: Any) -> Any:
    """A shallow copy: of a parser, to leave something out of it for one parse."""
    import copy
    return copy.copy(thing)


class _Group(_Container, argparse._ArgumentGroup):
    pass


class _ExclusiveGroup(_Container, argparse._MutuallyExclusiveGroup):
    pass


def _taking_volatile(group: Any) -> Any:
    kinds = {argparse._ArgumentGroup: _Group, argparse._MutuallyExclusiveGroup: _ExclusiveGroup}
    group.__class__ = kinds.get(type(group), type(group))
    return group


class _Scan:
    """Which options a command line gives, found by a parse that converts nothing and acts on nothing."""

    def __init__(self) -> None:
        self.calls: _Calls = {}                         # of a subcommand its name alone
        self.wrong = False                              # whether argparse refuses the line, or leaves words over
        self.own: dict[str, str] = {}                   # exman's options that take a value


class _ScanOver(Exception):
    """The command line is wrong from here on; the real parse will say so."""


class _Scanner:
    """Mixed in before the class of a parser, so that the script's own overrides of how words are read still count."""

    _scan: _Scan

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        argparse.ArgumentParser._get_values(self, action, arg_strings)  # type: ignore[arg-type]    # takes the `--` out
        if isinstance(action, _OwnAction):
            self._scan.own[action.dest] = arg_strings[0] if arg_strings else ""
        elif action.nargs != argparse.SUPPRESS and (action.option_strings or arg_strings):
            self._scan.calls.setdefault(action, []).append(arg_strings[:1] if action.nargs == argparse.PARSER else [*arg_strings])
        if action.nargs == argparse.PARSER and isinstance(action.choices, dict) and arg_strings[0] in action.choices:
            _scan_into(self._scan, action.choices[arg_strings[0]], "parse_known_args", arg_strings[1:])
        return argparse.SUPPRESS                        # so argparse takes no action

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        return arg_string

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        pass

    def _print_message(self, message: str, file: Any = None) -> None:
        pass

    def error(self, message: str) -> NoReturn:
        raise _ScanOver

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        raise _ScanOver


def _scan(parser: argparse.ArgumentParser, method: str, argv: Sequence[str]) -> _Scan:
    scan = _Scan()
    known = {"parse_args": "parse_known_args", "parse_intermixed_args": "parse_known_intermixed_args"}.get(method, method)
    _scan_into(scan, parser, known, argv)
    return scan


def _scan_into(scan: _Scan, parser: argparse.ArgumentParser, method: str, argv: Sequence[str]) -> None:
    view = _twin(parser)
    view.__class__ = type("Scanner", (_Scanner, type(parser)), {"_scan": scan})
    try:
        _, left = getattr(argparse.ArgumentParser, method)(view, [*argv], argparse.Namespace())
        scan.wrong |= bool(left)
    except (_ScanOver, ArgumentError):
        scan.wrong = True


# ---------------------------------------------------------------------------------------------------------------------
# The config: a file's values become the strings of options, and the script's own actions take them.
# ---------------------------------------------------------------------------------------------------------------------

class _File:
    """A yaml file of parameters."""

    def __init__(self, path: str, values: dict[Any, Any], lines: dict[Any, int], recorded: bool, explicit: bool) -> None:
        self.path = path
        self.values = values                            # key -> value, plain scalars as _Plain
        self.lines = lines                              # key -> its line
        self.recorded = recorded                        # by exman, or else written by hand
        self.explicit = explicit                        # named by --config, or else one of default_config_files


# What exman wrote beside the parameters: the first three in every file, the others with git, or up to 0.1.9.
_OWN_KEYS = ("root", "time", "id")
_GIT_KEYS = ("commit", "dirty")
_OLD_KEYS = ("config", "config_file", "tmp", "name", "git_dirty")

_UNDECODABLE = "undecodable bytes"                      # {undecodable bytes: "caf\xE9"}: text that no yaml can hold


class _Plain(str):
    """A plain scalar as it stands in the file: an option's type gets its text."""


def _load_config(path: str, explicit: bool = False) -> _File:
    """Read a file of parameters; ValueError and OSError name it."""
    text = _read_text(path)
    if all(line.lstrip(" \t\r")[:1] in ("", "#") for line in text.split("\n")):
        return _File(path, {}, {}, False, explicit)     # nothing but comments: sets nothing
    try:
        values, lines = _parse_yaml(text, _Plain)
    except YAMLError as error:
        raise ValueError(f"{path}: {error}") from None
    own = [_values_of(values.get(key)) for key in _OWN_KEYS]
    recorded = (type(own[0]) is str and own[0].partition("/")[0] in ("runs", "tmp", "fails")
                and type(own[1]) is str and type(own[2]) is int)
    if recorded:
        values = _parse_yaml(text, _in_record(_Plain))[0]
    return _File(path, values, lines, recorded, explicit)


def _values_of(value: Any) -> Any:
    """The value with plain scalars resolved, as load_yaml gives it."""
    if type(value) is _Plain:
        return _resolve(str(value))
    if type(value) is list:
        return [_values_of(item) for item in value]
    if type(value) is dict:
        return {key: _values_of(item) for key, item in value.items()}
    return value


def _text(value: Any) -> str:
    """The string that an option's type gets for one value of a file."""
    if isinstance(value, str):
        return str(value)
    if type(value) is dict and list(value) == [_UNDECODABLE]:
        return str(value[_UNDECODABLE]).encode("latin-1", "replace").decode("utf-8", "surrogateescape")
    if type(value) in (list, dict):
        import json  # what json.loads and ast.literal_eval read, and a person typed
        return json.dumps(_values_of(value))
    return _flow(value)


def _same(one: Any, other: Any) -> bool:
    """Whether two plain values are equal, types included; False where one is not plain."""
    try:
        return _flow(one) == _flow(other)
    except YAMLError:
        return False


class _Replay:
    """The files of one parse: what each parser of it, subparsers included, takes from them.

    The command line comes first, then --config, then the default config files. What a file gives is put into the
    namespace before argparse parses, by the script's own actions, and argparse parses with a view of the parser that
    lacks these options: so none of them is missing, has a default, or takes a positional's word.
    """

    def __init__(self, parser: ExParser, files: list[_File], scan: _Scan) -> None:
        self.given = scan.calls                         # what the command line gives
        self.files = {id(parser): files}                # of each parser that the command line or a file chose
        self.views: list[argparse.ArgumentParser] = []
        self.direct: dict[argparse.Action, Any] = {}    # values that no option string makes
        self.wordless = False                           # whether no words of a command line make all of them
        self.restored: dict[str, Any] = {}              # plain values of a recorded run, by dest
        self.unknown: dict[str, Any] = {}               # keys of a recorded run that no option knows
        for file in files:
            self._check_keys(parser, file)

    def start(self, parser: ExParser, namespace: Any) -> tuple[ExParser, Any]:
        """A view of the parser without what its files give, and the namespace with that filled in."""
        files = self.files.get(id(parser))
        if files is None or any(parser is view for view in self.views):
            return parser, namespace
        by_dest, rivals = _by_dest(parser), _rivals(parser)
        _fill_defaults(parser, namespace)
        below = self._set_below(parser, files)
        taken = {action for action in parser._actions if action in self.given}
        settled: dict[str, bool] = {}                   # dest -> whether its value is another than the default
        replayed: list[argparse.Action] = []
        for file in files:
            for key, dest in _keys_of(parser, file).items():
                actions = by_dest.get(dest, [])
                if (dest in settled or any(action in taken or not taken.isdisjoint(rivals.get(action, ())) for action in actions)
                        or (file.explicit and any(getattr(action, "volatile", False) for action in actions))
                        or (actions and actions[0].nargs == argparse.PARSER)):
                    continue
                settled[dest] = False
                if dest in below:                       # the subcommand's value replaces this parser's
                    replayed += [action for action in actions if _is_missed(action)]
                elif not actions:                       # of set_defaults, without an option
                    setattr(namespace, dest, _values_of(file.values[key]))
                    self.wordless |= not _same(getattr(namespace, dest), parser._defaults[dest])
                elif not (file.recorded and self._is_left_alone(parser, actions, file.values[key])):
                    settled[dest] = self._restore(parser, namespace, file, key, actions)
                    replayed += actions
                    others = [action for action in rivals.get(actions[0], ()) if settled.get(action.dest)]
                    if others and settled[dest] and not file.recorded:
                        raise ValueError(f"{file.path}, line {file.lines[key]}: {key!r} is not allowed with {others[0].dest!r}")
            taken.update(action for dest, changed in settled.items() if changed for action in by_dest.get(dest, ()))
        view = _view(parser, replayed, settled)
        self.views.append(view)
        self._choose(parser, view, namespace, files)
        return view, namespace

    def _is_left_alone(self, parser: ExParser, actions: list[argparse.Action], raw: Any) -> bool:
        """Whether a recorded value is the default that argparse sets by itself."""
        action, default = actions[0], _default(parser, actions)
        if default is argparse.SUPPRESS:
            return False
        same = _same(_values_of(raw), _held_default(parser, action, default))
        if not same and type(default) is str and action.nargs != 0 and not isinstance(action.type, argparse.FileType):
            same = _same(_values_of(raw), _held_default(parser, action, _silent(parser, action, default)))
        if same and _same(_values_of(raw), default) and (type(default) is not str or action.type in (None, str)):
            self.restored[action.dest] = _values_of(raw)
        return same and not any(map(_is_missed, actions))

    def _restore(self, parser: ExParser, namespace: Any, file: _File, key: str, actions: list[argparse.Action]) -> bool:
        """Put the file's value of one dest into the namespace; return whether it is another than the default."""
        raw, dest = file.values[key], actions[0].dest
        by_name = key != dest and not file.recorded
        default = _default(parser, actions)
        try:
            raw = _flag_by_name(parser, actions, key, raw) if by_name else raw
            by_name = by_name and raw is file.values[key]
            value = _values_of(raw)
            start = _appended_to(parser, actions[0]) if file.recorded and type(raw) is list else []
            starts = bool(start) and _same(value[:len(start)], start)       # an appended list starts with the default
            rest = raw[len(start):] if starts else raw
            calls = None if value is None else _calls(parser, actions, rest, by_name)
            if calls is None:
                setattr(namespace, dest, value if value is None or file.recorded else _flag_value(actions, value))
                self.direct[actions[0]] = getattr(namespace, dest)
            elif isinstance(actions[0], argparse._AppendAction) and not starts:
                setattr(namespace, dest, [])
                self.wordless |= bool(default) and default is not argparse.SUPPRESS
            elif default is not argparse.SUPPRESS:
                setattr(namespace, dest, default)
            for action, strings in calls or ():
                values = parser._get_values(action, _Strings(strings))
                values = [*values] if type(values) is _Strings else values
                action(parser, namespace, values, action.option_strings[0] if action.option_strings else None)
        except (ArgumentError, argparse.ArgumentTypeError, ValueError) as error:
            raise ValueError(f"{file.path}, line {file.lines[key]}: {error}") from None
        plain = file.recorded and _is_known(actions[0]) and not starts and not _textual(value)
        if plain and not _same(getattr(namespace, dest, None), value):
            setattr(namespace, dest, value)             # a default that its own type does not read back
            self.wordless = True
        if file.recorded and _same(getattr(namespace, dest, None), value):
            self.restored[dest] = value
        return not _same(getattr(namespace, dest, None), default)

    def _named(self, parser: ExParser, action: argparse.Action,
               files: list[_File]) -> tuple[str | None, list[tuple[_File, str]]]:
        """The name of a subparser that the command line, or else a file, names; and what each file names."""
        named = [(file, str(file.values[key])) for file in files for key, dest in _keys_of(parser, file).items()
                 if dest == action.dest and _values_of(file.values[key]) is not None]
        return self.given[action][-1][0] if action in self.given else named[0][1] if named else None, named

    def _set_below(self, parser: ExParser, files: list[_File]) -> list[str]:
        """The dests that the chosen subparsers, however deep, set too."""
        dests = []
        for action in _choosers(parser):
            subparser = action.choices.get(self._named(parser, action, files)[0])
            if subparser is not None:
                dests += [dest for dest, actions in _by_dest(subparser).items() if _sets(actions, self.given)]
                dests += self._set_below(subparser, files)
        return dests

    def _choose(self, parser: ExParser, view: ExParser, namespace: Any, files: list[_File]) -> None:
        """Hand the files on to the subparser that the command line or a file names."""
        for action in _choosers(parser):
            chosen, named = self._named(parser, action, files)
            subparser = action.choices.get(chosen)
            if subparser is None:
                if chosen is not None and action not in self.given:
                    names = ", ".join(action.choices)
                    raise ValueError(f"{named[0][0].path}: {action.dest}: invalid choice: {chosen!r} (choose from {names})")
                continue
            others = [file for file, name in named if action.choices.get(name) is not subparser]
            self.files[id(subparser)] = [file for file in files if file not in others]
            if action not in self.given:
                view._actions.remove(action)
                parse = _UNDER_WAY.get(get_ident())
                assert parse is not None and chosen is not None
                parse.typed[action] = [[chosen]]
                action(view, namespace, [chosen], None)

    def _check_keys(self, parser: ExParser, file: _File) -> None:
        """A key that no option knows: an error where somebody wrote it, remembered where exman recorded it."""
        known: set[Any] = set()
        for each in _family(parser):
            keys = _keys_of(each, file)
            twice = next((key for key in keys if list(keys.values()).index(keys[key]) != list(keys).index(key)), None)
            if twice is not None:
                raise ValueError(f"{file.path}, line {file.lines[twice]}: {twice!r} is {keys[twice]!r}, which stands above")
            known.update(keys)
        if file.recorded:
            known.update(_OWN_KEYS, _OLD_KEYS, _GIT_KEYS)
        for key in file.values:
            if key in known:
                continue
            if file.recorded:
                git = bool(parser._exman.git)
                dest = next((name for name in (str(key)[:-1], key) if _column(name, git) == key), key)
                self.unknown[dest] = (_values_of(file.values[key]), file, key)
                continue
            import difflib
            names = [dest for each in _family(parser) for dest in _by_dest(each)]
            near = difflib.get_close_matches(str(key), names, 1)
            hint = f"did you mean {near[0]!r}?" if near else "the script has no option of this name"
            raise ValueError(f"{file.path}, line {file.lines[key]}: unknown key {key!r:.99}: {hint}")

    def finish(self, namespace: Any, has_setters: bool) -> None:
        """After the setters: the values of a recorded run are what its setters left, so they have the last word."""
        for dest, value in self.restored.items() if has_setters else ():
            setattr(namespace, dest, value)
        for dest, (value, file, key) in self.unknown.items():
            if not hasattr(namespace, dest):
                _say(f"{file.path}, line {file.lines[key]}: {key!r:.99} is no parameter of this script any more: left out")
            elif has_setters:
                setattr(namespace, dest, value)


class _Strings(list):  # type: ignore[type-arg]
    """Strings that argparse has already freed of their '--': a further one is a value."""

    def remove(self, item: str) -> None:
        pass


def _calls(parser: ExParser, actions: list[argparse.Action], raw: Any,
           by_name: bool) -> list[tuple[argparse.Action, list[str]]] | None:
    """How the options of one dest, called in turn with these strings, make a file's value; None: no option does."""
    action = _primary(actions)
    flags = {option: each for each in actions if each.nargs in (0, argparse.OPTIONAL) for option in each.option_strings}
    items = raw if type(raw) is list else [raw]
    if action.nargs == 0:
        if items and all(isinstance(item, str) and str(item) in flags for item in items):
            return [(flags[str(item)], []) for item in items]           # a const that is not plain stands by its option
        if by_name and type(_values_of(raw)) is bool and not isinstance(action, argparse._CountAction):
            return [(action, [])] if _values_of(raw) else []            # `adam: true`, the option and not the dest
        return None
    strings = _call_strings(parser, action, raw)
    for each in strings:
        if len(each) != 1 or each[0] not in flags:
            if parser._match_argument(action, "A" * len(each)) != len(each):
                raise ArgumentError(action, f"expected {action.nargs} arguments, not {len(each)}")
    return [(flags[each[0]], []) if len(each) == 1 and each[0] in flags else (action, each) for each in strings]


def _flag_by_name(parser: ExParser, actions: list[argparse.Action], key: str, raw: Any) -> Any:
    """What a file says of a bool's option, as the value of its dest: `no-cuda: true` is False."""
    name = key.replace("-", "_")
    for action in actions:
        names = [option.lstrip(parser.prefix_chars).replace("-", "_") for option in action.option_strings]
        is_switch = type(action.const) is bool or isinstance(action, getattr(argparse, "BooleanOptionalAction", ()))
        if action.nargs == 0 and name in names and is_switch:
            try:
                given = _bool(_text(raw))
            except ValueError:
                raise ArgumentError(action, f"invalid bool value: {_text(raw)!r:.99}") from None
            return given != (action.const is False or (name.startswith("no_") and name[3:] in names))
    return raw


def _call_strings(parser: ExParser, action: argparse.Action, raw: Any) -> list[list[str]]:
    """The strings of each call of an option that takes some: `_as_typed` the other way round."""
    if type(raw) is not list:
        return [[_option_text(action, raw)]]
    texts = [_option_text(action, item) for item in raw]
    if isinstance(action, argparse._ExtendAction):
        return _chunks(action, texts)
    repeats = isinstance(action, argparse._AppendAction) or not _is_known(action)
    if _takes_many(action):
        if repeats and all(type(item) is list for item in raw):
            return [[_option_text(action, text) for text in item] for item in raw]
        return [texts]
    if repeats:
        return [[text] for text in texts]
    text = _option_text(action, raw)                    # one string for a list: of json.loads and its like, or an error
    if not _same(_silent(parser, action, text), _values_of(raw)):
        raise ArgumentError(action, "expected one argument, not a list")
    return [[text]]


def _chunks(action: argparse.Action, texts: list[str]) -> list[list[str]]:
    """The strings of a list that an extending option makes, in as many calls as it needs."""
    if action.nargs == argparse.ZERO_OR_MORE:
        return [texts]
    size = action.nargs if type(action.nargs) is int else len(texts) if _takes_many(action) else 1
    return [texts[start:start + size] for start in range(0, len(texts), size or 1)]


def _option_text(action: argparse.Action, value: Any) -> str:
    """The string that an option's type gets for one value of a file; yaml's .inf and .nan as float() reads them."""
    text = _text(value)
    if text[-4:].lower() in (".inf", ".nan") and action.type not in (None, str):
        number = _values_of(value)
        return repr(number) if type(number) is float else text
    return text


def _flag_value(actions: list[argparse.Action], value: Any) -> Any:
    """The value of a dest whose options take no argument: a count, a list of consts, or one of the consts."""
    action = actions[0]
    if isinstance(action, argparse._CountAction):
        if type(value) is not int:
            raise ArgumentError(action, f"invalid int value: {value!r:.99}")
        return value
    consts = [each.const for each in actions]
    items = value if type(value) is list else [value]
    if isinstance(action, argparse._AppendConstAction) and all(any(_same(item, const) for const in consts) for item in items):
        return items
    for const in consts:
        if _same(const, value) or (type(const) is str and str(value) == const):
            return const
    if all(const is None or type(const) is bool for const in consts):
        try:
            return _bool(_text(value))
        except ValueError:
            raise ArgumentError(action, f"invalid bool value: {value!r:.99}") from None
    raise ArgumentError(action, f"invalid choice: {value!r:.99} (choose from {', '.join(map(repr, consts)):.999})")


def _textual(value: Any) -> bool:
    """Whether a recorded value may be typed text rather than the value itself: only strings are."""
    if type(value) is list:
        return any(map(_textual, value))
    return isinstance(value, str) or (type(value) is dict and _UNDECODABLE in value)


# -- What the sections here know of argparse's actions; the private names are the same in CPython 3.8 to 3.14 ---------

def _by_dest(parser: argparse.ArgumentParser) -> dict[str, list[argparse.Action]]:
    """The parser's options and positionals by dest, in the order they were added."""
    found: dict[str, list[argparse.Action]] = {}
    for action in parser._actions:
        if action.dest != argparse.SUPPRESS:
            found.setdefault(action.dest, []).append(action)
    for actions in found.values():
        if len(actions) > 1:
            actions.insert(0, actions.pop(actions.index(_primary(actions))))
    return found


def _default(parser: argparse.ArgumentParser, actions: list[argparse.Action]) -> Any:
    """The default of a dest: that of the first action that was added with one."""
    return next((a.default for a in parser._actions if a in actions and a.default is not argparse.SUPPRESS), argparse.SUPPRESS)


def _fill_defaults(parser: argparse.ArgumentParser, namespace: Any) -> None:
    """What argparse does first, so that the parameters keep their order."""
    for action in parser._actions:
        # parse_intermixed_args takes an empty list of a positional for one that it has found.
        if action.option_strings or type(action.default) is not list:
            if argparse.SUPPRESS not in (action.dest, action.default) and not hasattr(namespace, action.dest):
                setattr(namespace, action.dest, action.default)


def _is_missed(action: argparse.Action) -> bool:
    """Whether argparse refuses a command line without it."""
    return action.required and (bool(action.option_strings) or action.nargs not in (argparse.ZERO_OR_MORE, argparse.REMAINDER))


def _primary(actions: list[argparse.Action]) -> argparse.Action:
    """The action that reads a dest's text: the first that takes an argument."""
    return next((action for action in actions if action.nargs != 0), actions[0])


def _family(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser and all parsers below it."""
    yield parser
    for action in _choosers(parser):
        for subparser in action.choices.values():
            yield from _family(subparser)


def _choosers(parser: argparse.ArgumentParser) -> list[Any]:
    """The actions that hand the rest of the line on to a subparser, which `choices` has by name."""
    return [action for action in parser._actions if action.nargs == argparse.PARSER and isinstance(action.choices, dict)]


def _keys_of(parser: argparse.ArgumentParser, file: _File) -> dict[str, str]:
    """key -> dest for what the file says of this parser; by hand also an option's name, with - or _."""
    git = bool(getattr(getattr(parser, "_exman", None), "git", None))
    keys = {}
    if not file.recorded:
        for action in parser._actions:
            if action.dest != argparse.SUPPRESS:
                for option in action.option_strings:
                    name = option.lstrip(parser.prefix_chars)
                    keys.update({name: action.dest, name.replace("-", "_"): action.dest})
    for dest in [*_by_dest(parser), *parser._defaults]:
        keys[_column(dest, git) if file.recorded else dest] = dest
    return {key: keys[key] for key in file.values if key in keys}


def _rivals(parser: argparse.ArgumentParser) -> dict[argparse.Action, list[argparse.Action]]:
    """For each member of mutually exclusive groups, the others."""
    found: dict[argparse.Action, list[argparse.Action]] = {}
    for group in parser._mutually_exclusive_groups:
        for action in group._group_actions:
            found.setdefault(action, []).extend(other for other in group._group_actions if other.dest != action.dest)
    return found


def _view(parser: ExParser, replayed: list[argparse.Action], settled: dict[str, bool]) -> ExParser:
    """A copy of the parser without these actions, and without the groups that they satisfy."""
    view: ExParser = _twin(parser)
    view._actions = [action for action in parser._actions if action not in replayed]
    view._mutually_exclusive_groups = []
    for group in parser._mutually_exclusive_groups:
        named = [settled[action.dest] for action in group._group_actions if action.dest in settled]
        if not any(named):
            group = _twin(group)
            group.required = group.required and not named
            view._mutually_exclusive_groups.append(group)
    return view


def _is_known(action: argparse.Action) -> bool:
    """Whether argparse itself says what the action does; a script's own Action may do anything."""
    return type(action) in (argparse._StoreAction, argparse._AppendAction, argparse._ExtendAction)


def _takes_many(action: argparse.Action) -> bool:
    return action.nargs not in (None, argparse.OPTIONAL)


def _silent(parser: argparse.ArgumentParser, action: argparse.Action, text: str) -> Any:
    """What the option's type makes of a text; a fresh object, equal to nothing, where it refuses."""
    try:
        return parser._get_value(action, text)
    except (Exception, SystemExit):                     # a script's type may raise anything
        return object()


# ---------------------------------------------------------------------------------------------------------------------
# The record: args become parameters, text that each option parses back into the same value.
# ---------------------------------------------------------------------------------------------------------------------

class _Record:
    """What a run writes, and says."""

    def __init__(self, body: str, identity: str, name: str | None, tmp: bool, marks: list[str], diff: bytes | None,
                 notes: list[str]) -> None:
        self.body = body                                # the text of its parameters, without root, time and id
        self.identity = identity                        # the part of it that the ranks of one job share
        self.name, self.tmp = name, tmp                 # --name, --tmp
        self.marks = marks                              # the keys of its automarks
        self.diff = diff                                # its changes.diff
        self.notes = notes                              # for stderr


class _GitState:
    """A repository as git tells it."""

    def __init__(self, folder: str, commit: str | None, dirty: bool | None, diff: bytes | None, problem: str | None) -> None:
        self.folder = folder                            # where git was asked
        self.commit = commit                            # None: there is none, or it is not known
        self.dirty = dirty                              # whether tracked files differ from it; None: not known
        self.diff = diff                                # these changes
        self.problem = problem                          # in one line, why something is not known


_MISSING: Any = object()


def _record(parser: ExParser, parse: _Parse, namespace: Any, state: _GitState | None) -> _Record:
    """Make the record of a parse; ValueError names what cannot be written."""
    values = dict(getattr(namespace, "__dict__", {}))
    lines: dict[str, str] = {}                          # dest -> its line of the file
    comments, notes, aside = [], [], {"local_rank"}     # the launcher's --local-rank differs between the ranks of one job
    git = state is not None
    makers: dict[str, tuple[argparse.ArgumentParser, list[argparse.Action]]] = {}
    for owner, dest, actions in _dests(parser, parse):
        if dest == argparse.SUPPRESS:
            notes.append(f"the subcommand {parse.typed[actions[0]][-1][0]!r} is not recorded: give add_subparsers() a dest")
        elif dest not in makers or _sets(actions, parse.typed):     # a subcommand's value replaces that of the parser above
            makers[dest] = owner, actions
    for dest, (owner, actions) in makers.items():
        value = values.pop(dest, _MISSING)
        if value is _MISSING:
            value = getattr(namespace, dest, _MISSING)  # of a namespace= object with properties or slots
        if value is _MISSING:
            continue
        held = _held(owner, actions, value, parse.typed)
        if held is not _MISSING:
            lines[dest] = _line(_column(dest, git), held)
        else:
            comments.append(_comment(f"{dest}: {value!r:.200}"))
            if any(action in parse.typed for action in actions) or value is not actions[0].default:
                shown = next((action for action in actions if action in parse.typed), actions[0])
                notes.append(f"{'/'.join(shown.option_strings) or dest} cannot be restored by --config: {value!r:.99}")
        if any(getattr(action, "volatile", False) for action in actions):
            aside.add(dest)
    for dest, value in values.items():                  # of set_defaults, setters, or the caller's own namespace
        held = _storable(value)
        if held is not _MISSING and dest not in lines:
            lines[dest] = _line(_column(dest, git), held)
    if state and state.problem:
        notes.append(f"{'changes.diff' if state.commit else 'the commit'} is not recorded: {state.problem}")
    own = [_line("commit", state.commit), _line("dirty", state.dirty)] if state else []
    tmp, name = bool(parse.own.get("tmp")), parse.own.get("name")
    argv = _storable(_command(parser, parse, namespace))
    told = [f"{_ARGV}{_flow(argv)}\n"] if type(argv) is list else []
    identity = [line for dest, line in lines.items() if dest not in aside]
    return _Record("".join([*lines.values(), *own, *comments, *told]),
                   "".join([*identity, repr((tmp, name or "", _script_path() or os.getcwd()))]),
                   name, tmp, _automarks(parser, namespace), state.diff if state else None, notes)


def _sets(actions: list[argparse.Action], given: Iterable[argparse.Action]) -> bool:
    """Whether a parser puts something into the namespace for these options of one dest."""
    return any(action in given or action.default is not argparse.SUPPRESS for action in actions)


def _line(key: str, value: Any) -> str:
    try:
        return f"{_key_text(key)}: {_flow(value)}\n"
    except YAMLError as error:
        raise YAMLError(f"parameter {key!r:.99}: {error}") from None


_ARGV = "# argv: "                                      # the line of params.yaml that `exman cmd` reads


def _comment(text: str) -> str:
    """A comment line; yaml lets no control character stand in one."""
    return "# " + re.sub(r"[^ -~]", "?", text) + "\n"


def _column(dest: str, git: bool) -> str:
    """The key of a dest in params.yaml and the table: exman's own names get a _, as do the names that this makes."""
    return dest + "_" if dest.rstrip("_") in (_OWN_KEYS + _GIT_KEYS if git else _OWN_KEYS) else dest


def _dests(parser: argparse.ArgumentParser,
           parse: _Parse) -> Iterator[tuple[argparse.ArgumentParser, str, list[argparse.Action]]]:
    """Each dest with its parser and its actions, in the order they were added; a chosen subcommand's after its own."""
    for dest, actions in _by_dest(parser).items():
        yield parser, dest, actions
        if any(action.nargs == argparse.PARSER for action in actions):
            yield from _dests_below(parse, [action for action in actions if action.nargs == argparse.PARSER])
    for action in parser._actions:
        if action.nargs == argparse.PARSER and action.dest == argparse.SUPPRESS and action in parse.typed:
            yield parser, argparse.SUPPRESS, [action]
            yield from _dests_below(parse, [action])


def _dests_below(parse: _Parse, actions: list[argparse.Action]) -> Iterator[Any]:
    for action in actions:
        subparser = _chosen(action, parse)
        if subparser is not None:
            yield from _dests(subparser, parse)


def _chosen(action: argparse.Action, parse: _Parse) -> Any:
    """The subparser that a subcommand chose, or None."""
    typed = parse.typed.get(action)
    return action.choices.get(typed[-1][0]) if typed and isinstance(action.choices, dict) else None


def _held(parser: argparse.ArgumentParser, actions: list[argparse.Action], value: Any, typed: _Calls) -> Any:
    """What the file holds for one dest: the value where it is plain and reads back, else the text that makes it."""
    action = actions[0]
    if value is None or action.nargs == argparse.PARSER:
        return _storable(value)
    given = [each for each in actions if each in typed]
    if not given and value is action.default:
        return _held_whole(parser, action, value)
    if action.nargs == 0:
        held = _storable(value)
        return held if held is not _MISSING else _flags(given, value)
    if not given:
        return _held_default(parser, action, value)
    if given != [action]:                               # of several, and in an order that nobody kept
        held = _held_item(parser, action, value, None) if type(value) is not list else _MISSING
        return held if held is not _MISSING else _flags(given, value)
    texts = _as_typed(action, typed[action])
    start = _appended_to(parser, action)
    if not start:
        return _held_typed(parser, action, value, texts)
    size = len(start)
    if type(value) is list and len(value) == size + len(texts) and _equal(value[:size], action.default):
        held = _held_typed(parser, action, value[size:], texts)
        return _MISSING if held is _MISSING or _MISSING in start else start + held
    return _MISSING if _textual(value) else _storable(value)


def _appended_to(parser: argparse.ArgumentParser, action: argparse.Action) -> list[Any]:
    """What the file holds for the default that an option appends to; it is compared, not parsed."""
    if not isinstance(action, argparse._AppendAction) or type(action.default) is not list:
        return []
    return [_held_whole(parser, action, item) for item in action.default]


def _held_typed(parser: argparse.ArgumentParser, action: argparse.Action, value: Any, texts: Any) -> Any:
    """What the file holds for a value made of these strings."""
    if _matches(value, texts):
        held = _storable(_each(value, texts, lambda item, text: _held_item(parser, action, item, text)))
        if held is not _MISSING:
            texts = held
    elif _is_known(action) and type(value) is list:     # a setter has made it longer or shorter
        held = _held_items(parser, action, value)
        texts = texts if held is _MISSING or _storable(value) is _MISSING else held
    if not _is_known(action) and type(texts) is type(action.default) and texts == action.default:
        return _storable([texts])                       # the default itself does not go through the script's action
    if type(texts) is list and texts == action.default and not _same(texts, value):
        return _MISSING                                 # nor does a list go through the type
    return _storable(texts)


def _held_default(parser: argparse.ArgumentParser, action: argparse.Action, value: Any) -> Any:
    """What the file holds for a value that nobody typed."""
    text, kind = action.default, action.type
    if type(text) is str and value is not text and kind not in (None, str):     # argparse has converted it
        held = _held_item(parser, action, value, text)
        if held is not _MISSING:
            return held
        if isinstance(kind, argparse.FileType) or type(_silent(parser, action, text)) is type(value):
            return _storable(text)
    if action.default is not None and value is not action.default and _storable(value) is _MISSING:
        value = action.default                          # a setter has made another of it, and will again
    return _held_whole(parser, action, value)


def _held_whole(parser: argparse.ArgumentParser, action: argparse.Action, value: Any) -> Any:
    """What the file holds for a value of which no text is known: itself where it is plain, else its items or a text."""
    held = _storable(value)
    if held is not _MISSING:
        return held
    return _held_items(parser, action, value) if type(value) is list else _text_of(parser, action, value)


def _held_items(parser: argparse.ArgumentParser, action: argparse.Action, value: list[Any]) -> Any:
    """What the file holds for a list that nobody typed: each item as the option reads it."""
    nested = _takes_many(action) and isinstance(action, argparse._AppendAction) and not isinstance(action, argparse._ExtendAction)
    return _unless_missing([_held_items(parser, action, item) if nested and type(item) is list
                            else _held_item(parser, action, item, None) for item in value])


def _text_of(parser: argparse.ArgumentParser, action: argparse.Action, value: Any) -> Any:
    """A text that the option's type makes a default of that is not plain: Path("data"), Color.RED, torch.nn.ReLU."""
    if action.type is None or isinstance(action.type, argparse.FileType):
        return _MISSING
    for name in (str(value), *(getattr(value, key, None) for key in ("value", "name", "__name__", "pattern"))):
        if type(name) is str and _equal(_silent(parser, action, name), value):
            return _storable(name)
    return _MISSING


def _as_typed(action: argparse.Action, calls: list[list[str]]) -> Any:
    """The strings of an option's calls, in as many lists as its value has; for a call without any, the option."""
    if isinstance(action, argparse._ExtendAction):
        return [string for call in calls for string in call]
    items = [call if _takes_many(action) else call[0] if call else action.option_strings[0] for call in calls]
    if isinstance(action, argparse._AppendAction):
        return items
    return items[-1] if _is_known(action) or (len(items) == 1 and items[0] != []) else items


def _matches(value: Any, shape: Any) -> bool:
    """Whether the value has the lists of the shape, each as long."""
    if type(shape) is list:
        return type(value) is list and len(value) == len(shape) and all(map(_matches, value, shape))
    return True


def _each(value: Any, texts: Any, hold: Callable[[Any, str | None], Any]) -> Any:
    """hold(item, its text or None) for each item of the value, in the lists of the texts (of the value itself without)."""
    if type(texts) is list:
        return _unless_missing([_each(item, text, hold) for item, text in zip(value, texts)])
    return hold(value, texts)


def _held_item(parser: argparse.ArgumentParser, action: argparse.Action, item: Any, typed: str | None) -> Any:
    """What the file holds for one item: itself if plain and the option makes it of its text, or a text that it does."""
    held = _storable(item)
    if held is not _MISSING:
        return held if _reads_back(parser, action, item, typed) else _MISSING
    return _text_of(parser, action, item) if typed is None else _MISSING


def _equal(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one == other)
    except Exception:                                   # a script's __eq__ may raise anything; arrays have no truth
        return False


def _reads_back(parser: argparse.ArgumentParser, action: argparse.Action, item: Any, typed: str | None) -> bool:
    """Whether the option makes the plain item of its text in the file; asks the type only where nothing else tells."""
    kind, known = action.type, _is_known(action)
    if kind is None or kind is str:
        return type(item) is str and (known or typed in (None, item))
    if kind in (int, float, bool) and type(item) is kind and known:
        return True
    if isinstance(kind, argparse.FileType) or (not known and type(item) in (list, dict)):
        return False
    text = _option_text(action, item)
    return text == typed or _same(_silent(parser, action, text if known or typed is None else typed), item) and known


def _flags(given: list[argparse.Action], value: Any) -> Any:
    """A const that is not plain stands by the option that gives it."""
    if given and isinstance(given[-1], argparse._AppendConstAction) and type(value) is list:
        return _unless_missing([next((a.option_strings[0] for a in given if a.option_strings and a.const is item), _MISSING)
                                for item in value])
    if given and given[-1].option_strings and given[-1].nargs in (0, argparse.OPTIONAL) and value is given[-1].const:
        return given[-1].option_strings[0]
    return _MISSING


def _storable(value: Any) -> Any:
    """The value as yaml can hold it, undecodable text in a mapping of its own; _MISSING where it cannot."""
    if type(value) is list:
        return _unless_missing([_storable(item) for item in value])
    try:
        if type(value) is str:
            if not value.isprintable():
                value.encode()
        elif type(value) not in (bool, float, type(None)):
            _flow(value)
        return value
    except UnicodeEncodeError:
        try:
            return {_UNDECODABLE: value.encode("utf-8", "surrogateescape").decode("latin-1")}
        except UnicodeEncodeError:
            return _MISSING
    except YAMLError:
        return _MISSING


def _unless_missing(items: list[Any]) -> Any:
    return _MISSING if any(item is _MISSING for item in items) else items


def _command(parser: ExParser, parse: _Parse, namespace: Any) -> list[str] | None:
    """The words that make an equal run without its yaml: those typed, or with files those of every option; None: no words do."""
    files = tuple(parser.fromfile_prefix_chars or ())
    if parse.replay is None and not (files and any(word.startswith(files) for word in parse.argv)):
        return [*_script(), *parse.argv]
    if parse.left or (parse.replay is not None and parse.replay.wordless):
        return None
    long = _long_prefix(parser.prefix_chars)
    own = [f"{long}exman-{key.replace('_', '-')}{'' if value is True else f'={value}'}"
           for key, value in parse.own.items() if key != "config"]
    wanted: _Calls = {}
    for words in _layouts(parser, parse, namespace, wanted):
        scan = _scan(parser, parse.method, [*own, *words])
        if not scan.wrong and scan.calls == wanted:     # else a word would go to another option, or positional
            return [*_script(), *own, *words]
    return None


def _layouts(parser: argparse.ArgumentParser, parse: _Parse, namespace: Any, wanted: _Calls) -> Iterator[list[str]]:
    """Command lines of one parser and those below it that may make its values; `wanted` gets what each is to give."""
    several: list[str] = []                             # options with several strings, which may take the words behind them too
    single: list[str] = []
    positional: list[str] = []
    below: Iterable[list[str]] = [[]]
    for action in parser._actions:
        if action.nargs == argparse.PARSER:
            subparser = _chosen(action, parse)
            if subparser is not None:
                name = parse.typed[action][-1][:1]
                wanted[action] = [name]
                below = [[*name, *words] for words in _layouts(subparser, parse, namespace, wanted)]
            continue
        calls = _calls_for_words(parser, parse, action, namespace)
        if calls is None:
            return
        for by, option, call in calls:
            wanted.setdefault(by, []).append(call)
            if not by.option_strings:
                positional += call
            elif any(len(each) > 1 for _, _, each in calls):
                several += [option, *call]
            else:
                single += [f"{option}={call[0]}"] if call else [option]
    if len({action.dest for action in wanted if action in parser._actions}) < sum(action in wanted for action in parser._actions):
        return                                          # several options of one dest: nobody kept their order
    for words in below:
        yield [*several, *single, *positional, *words]
        yield [*several, *single, "--", *positional, *words]
        yield [*single, *positional, *several, *words]


def _calls_for_words(parser: argparse.ArgumentParser, parse: _Parse, action: argparse.Action,
                     namespace: Any) -> list[_Words] | None:
    """Each time that an option is to be called on the command line; None: words do not make its value."""
    name = action.option_strings[-1] if action.option_strings else ""
    replay, calls = parse.replay, parse.typed.get(action, [])
    if replay is not None and action in replay.direct:
        return _flag_calls(parser, action, replay.direct[action])
    if action.nargs == 0 and calls and not isinstance(action, _CONST_ACTIONS) and len(action.option_strings) > 1:
        return _flag_calls(parser, action, getattr(namespace, action.dest, None))       # its names differ in what they do
    return [(action, name, call) for call in calls]


def _flag_calls(parser: argparse.ArgumentParser, action: argparse.Action, value: Any) -> list[_Words] | None:
    """The calls that set a dest to a value that no string made: of options with a const, or null."""
    rivals, default = _by_dest(parser)[action.dest], action.default
    if value is None and action.nargs != 0:
        if default is None:
            return []
        nulls = [text for text in ("none", "null", "None") if _silent(parser, action, text) is None]
        return [(action, action.option_strings[-1], nulls[:1])] if nulls and action.option_strings else None
    if isinstance(action, argparse._CountAction):
        times = value - (default if type(default) is int else 0) if type(value) is int else -1
        return [(action, action.option_strings[-1], [])] * times if times >= 0 else None
    if _same(value, default):
        return []
    items = [value]
    if isinstance(action, argparse._AppendConstAction) and type(value) is list:
        size = len(default) if type(default) is list else 0
        if not _same(value[:size], default if size else []):
            return None
        items = value[size:]
    found: list[_Words] = []
    for item in items:
        for by, option in ((each, option) for each in rivals for option in each.option_strings if each.nargs == 0):
            negated = option.startswith("--no-")        # of a BooleanOptionalAction
            if _same(by.const, item) if isinstance(by, _CONST_ACTIONS) else item is not negated and type(item) is bool:
                found.append((by, option, []))
                break
        else:
            return None
    return found


_CONST_ACTIONS = (argparse._StoreConstAction, argparse._AppendConstAction, argparse._CountAction)


def _script() -> list[str]:
    """What stands after `python` to start the script again."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None and spec.name != "__main__":
        return ["-m", spec.name[:-9] if spec.name.endswith(".__main__") else spec.name]
    return [sys.argv[0] if sys.argv else ""]


def _automarks(parser: ExParser, namespace: Any) -> list[str]:
    """The mark that automark= names: a dest stands for itself and its value, another word for itself."""
    parts: list[str] = []
    for word in parser._exman.automark:
        parts.append(_mark_part(word))
        if hasattr(namespace, word) and word in getattr(namespace, "__dict__", {}):
            parts.append(_mark_part(str(getattr(namespace, word))))
    return ["/".join(parts)] if parts else []


def _mark_part(text: str) -> str:
    """One folder's name of a mark, whatever a parameter's value is: `a/b` -> `a-b`, `..` -> `-.`, nothing -> `-`."""
    encoding = sys.getfilesystemencoding()              # a name's bound is in bytes
    name = _pattern(_NOT_IN_NAMES).sub("-", text).strip()
    name = name.encode(encoding, "replace")[:_MAX_NAME].decode(encoding, "ignore").strip()
    return f"-{name[1:]}" if name[:1] in ("", ".") else name


_GIT_SECONDS = 30.0                                     # for all calls together: no launch waits longer for git
# What a user's settings would make of the diff that `git apply` does not take; settings that an old git ignores.
_PLAIN_DIFF = ("-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false", "-c", "diff.context=3",
               "-c", "diff.relative=false", "diff", "--binary", "--no-color", "--no-ext-diff", "--no-textconv",
               "--submodule=short", "--ignore-submodules=dirty")
_OF_ANOTHER_REPOSITORY = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_DIFF_OPTS")     # inside a git hook


def _git_state(where: Any) -> _GitState:
    """The state of a repository, by the git program in one call, or two where it is dirty; what is not known is None."""
    folder = _script_folder() if where is True else os.path.abspath(os.fspath(where))
    if os.path.isfile(folder):
        folder = os.path.dirname(folder)                # git=__file__
    deadline = time.monotonic() + _GIT_SECONDS
    commit = dirty = diff = None
    try:
        lines = _git(folder, deadline, "status", "--porcelain=v2", "--branch", "--untracked-files=no").splitlines()
        dirty = not all(line.startswith(b"#") for line in lines)
        found = [line.split()[-1].decode() for line in lines if line.startswith(b"# branch.oid ")]
        commit = found[0] if found and found[0] != "(initial)" else None
        if dirty:                                       # no commit yet: against the empty tree
            base = commit or _git(folder, deadline, "hash-object", "-t", "tree", "--stdin").decode().strip()
            diff = _git(folder, deadline, *_PLAIN_DIFF, base) or None       # a submodule's own changes have no diff
    except ValueError as error:
        return _GitState(folder, commit, dirty, None, str(error))
    return _GitState(folder, commit, dirty, diff, None)


def _git(folder: str, deadline: float, *words: str) -> bytes:
    """What git prints; ValueError says in one line why it does not."""
    import subprocess
    env = {name: value for name, value in os.environ.items() if name not in _OF_ANOTHER_REPOSITORY}
    env.update(GIT_OPTIONAL_LOCKS="0", LC_ALL="C")
    try:
        done = subprocess.run(["git", "-C", folder, *words], stdin=subprocess.DEVNULL, capture_output=True, env=env,
                              timeout=max(deadline - time.monotonic(), 0.1))
    except subprocess.TimeoutExpired:
        raise ValueError(f"git took longer than {_GIT_SECONDS:g} seconds in {_shown(folder)}") from None
    except FileNotFoundError:
        raise ValueError("there is no git program on the PATH") from None
    except OSError as error:
        raise ValueError(f"the git program cannot be run: {error.strerror}") from None
    if done.returncode:
        lines = done.stderr.decode("utf-8", "replace").splitlines()
        reason = next((line for line in lines if line.startswith("fatal: ")), (lines or ["it failed"])[-1])
        raise ValueError(f"git in {_shown(folder)}: {reason:.200}")
    return done.stdout


# ---------------------------------------------------------------------------------------------------------------------
# The root folder: every name, path, link, id and atomic write; the file system is the database.
# ---------------------------------------------------------------------------------------------------------------------
#
# A run is made in an order in which a kill between any two calls leaves a root that every reader stands:
#   claim .ids/0/12           O_EXCL, never taken back: a kill here costs the number, and nobody waits for a lock
#   mkdir runs/.000012-...    hidden, so no reader sees it; another process never touches it, for its maker may live
#   write, fsync params.yaml  network file systems report a full disk only at fsync
#   rename to runs/000012-... the run is there, whole
#   link index/000012-....yaml the run is in the table; until then it is a folder that no table lists
# A folder of the root is made where what belongs there finds it missing, with the same claim, stage or link tried again.
# A run that fails goes the other way: first the links, then the move; so no link ever leads to a run half there.

_STAMP = "%Y-%m-%d-%H-%M-%S"
_RUN_NAME = "(?s)0*[0-9]{1,15}-[0-9]{4}" + "-[0-9]{2}" * 5 + "(?:-.*)?"
_ENTRY_NAME = _RUN_NAME + r"\.yaml"                     # of exman's link to a run, in index/ or a mark
_PARTS = ("runs", "tmp", "fails")
_MAX_YAML = 16 << 20                                    # bytes; a config is small, /dev/zero is not
# A FIFO must not hold a reader up, Windows must not translate line ends; each flag where the system has it.
_READ_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class RootError(OSError):
    """A run could not be made; str() is one line with the path, the reason and what to do."""

    def __str__(self) -> str:
        return f"no run was made: {_reason(self)}"


_ADVICE = {
    errno.ENOSPC: "free some space there", errno.EDQUOT: "your quota there is used up: free some space",
    errno.EACCES: "choose another root=, or mend its permissions", errno.EPERM: "choose another root=, or mend its permissions",
    errno.EROFS: "choose another root=", errno.ENOTDIR: "a part of this path is a file: choose another root=",
    errno.EEXIST: "a file stands where a folder must: choose another root=",
    errno.EIO: "the disk or its network mount is failing",
    errno.EMFILE: "close some files, or raise `ulimit -n`", errno.ENFILE: "the machine has too many open files",
    errno.ENAMETOOLONG: "choose a shorter root= or --name", errno.ENOENT: "a folder of this path is gone: choose another root=",
    errno.ESTALE: "the network mount is stale: mount it again",
}


def _reason(error: OSError) -> str:
    """One line: the path, what the system says, what to do."""
    path = error.filename if error.filename is not None else ""
    advice = _ADVICE.get(error.errno or 0)
    return ": ".join(str(part) for part in (_shown(path), error.strerror or error.args[0] if error.args else "", advice) if part)


def _shown(path: Any) -> str:
    """A path as one printable line."""
    text = os.fsdecode(path) if isinstance(path, (str, bytes, os.PathLike)) else str(path)
    return text if text.isprintable() else ascii(text)


def _make_run(root: str, settings: _Settings, record: _Record) -> Run:
    """Make the run's folder and its links; RootError, and nothing left behind but its number, where that fails."""
    part, shared = ("tmp" if record.tmp else "runs"), settings.shared
    undo: list[Callable[[], object]] = []
    try:
        number = _in_folder(os.path.join(root, ".ids"), shared, lambda: _claim(root, shared))
        now = time.localtime()
        name = f"{number:0{settings.zfill}d}-{time.strftime(_STAMP, now)}{'-' + record.name if record.name else ''}"
        own = f"root: {_flow(f'{part}/{name}')}\ntime: '{time.strftime('%Y-%m-%dT%H:%M:%S', now)}'\nid: {number}\n"
        stage, final = os.path.join(root, part, f".{name}"), os.path.join(root, part, name)
        undo.append(lambda: _remove_tree(stage))
        _in_folder(os.path.join(root, part), shared, lambda: os.mkdir(stage))
        _share(stage, shared)
        _write_synced(os.path.join(stage, "params.yaml"), (record.body + own).encode("utf-8"), shared)
        if record.diff is not None:
            _write_synced(os.path.join(stage, "changes.diff"), record.diff, shared)
        undo.append(lambda: os.rename(final, stage))
        os.rename(stage, final)
        if not record.tmp:
            undo.append(lambda: _unlist(root, name))
            _link(root, os.path.join("index", f"{name}.yaml"), name, shared)
            for key in record.marks:
                _mark(root, key, name, shared)
    except BaseException as error:
        for step in reversed(undo):
            try:
                step()
            except OSError:
                pass                                    # the first error is the one to tell
        if not isinstance(error, (OSError, ValueError)):    # ValueError: a path with NUL, or beyond the locale's letters
            raise
        raise _root_error(root, error) from None
    return Run(root, part, name, shared=shared, maker=os.getpid())


def _root_error(root: str, error: Exception) -> RootError:
    """The error as one line of exman's; uncaught, it ends the script without a traceback."""
    if getattr(sys.excepthook, "func", None) is not _quietly:
        sys.excepthook = functools.partial(_quietly, sys.excepthook)
    if isinstance(error, OSError):
        return RootError(error.errno or errno.EIO, error.strerror or str(error), error.filename or root)
    return RootError(errno.EINVAL, str(error), root)


def _quietly(before: Any, kind: Any, error: BaseException, trace: Any) -> None:
    """The excepthook once a run could not be made: a script that does not catch that ends in one line, status 1."""
    if isinstance(error, RootError):
        _say(str(error))
    else:
        before(kind, error, trace)


def _claim(root: str, shared: bool) -> int:
    """Take the next number, for ever.

    A claim is an empty file that exclusive create makes once, on any file system. Claims are listed to know where to
    start, a thousand at most; a listing that is stale on another node costs probes and never a number twice. A root
    without claims (written by exman 0.1.x, or copied without hidden files) is listed once: claims alone are trusted
    where a marker names the inode of their folder, which a copy does not have.
    """
    ids = os.path.join(root, ".ids")
    names = os.listdir(ids)
    marker = f".{os.stat(ids).st_ino}"
    block = max(map(int, filter(str.isdecimal, names)), default=0)
    claims = [*map(int, filter(str.isdecimal, _listed(os.path.join(ids, str(block)))))]
    number = max(claims, default=block * 1000 - 1)
    if marker not in names or not claims:               # a stale view of a new block shows it empty
        number = max(number, max((_number(name) for part in _PARTS for name in _run_names(root, part)), default=0))
    number = max(number, 0) + 1
    while not _create(os.path.join(ids, str(number // 1000), str(number)), shared):
        number += 1
    if marker not in names:
        _create(os.path.join(ids, marker), shared)
    return number


def _create(path: str, shared: bool) -> bool:
    """Create an empty file; False where it is there already."""
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        os.close(_in_folder(os.path.dirname(path), shared, lambda: os.open(path, flags, 0o666)))
    except OSError:
        if os.path.lexists(path):                       # FileExistsError, and EPERM where sshfs means that
            return False
        raise
    _share(path, shared)
    return True


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()


def _number(name: str) -> int:
    """The number of a run's name."""
    return int(name.partition("-")[0])


def _listed(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except FileNotFoundError:
        return []


def _run_names(root: str, part: str) -> list[str]:
    """The names of the runs in runs/, tmp/ or fails/, by number; what else lies there is not exman's."""
    try:
        names = [name for name in _listed(os.path.join(root, part)) if _pattern(_RUN_NAME).fullmatch(name)]
    except NotADirectoryError:
        return []
    return sorted(names, key=lambda name: (_number(name), name))


def _in_folder(folder: str, shared: bool, make: Callable[[], Any]) -> Any:
    """Call what makes an entry of this folder; where that is missing, it is made first."""
    try:
        return make()
    except (FileNotFoundError, NotADirectoryError):     # a file in its place: making the folder says so
        _make_folder(folder, shared)
        return make()


def _make_folder(path: str, shared: bool) -> None:
    """Make a folder and those above it; one that is there stays as it is."""
    for again in (True, False):
        try:
            os.mkdir(path)
        except FileNotFoundError:
            if not again or os.path.dirname(path) == path:
                raise
            _make_folder(os.path.dirname(path), shared)
        except OSError:                                 # not FileExistsError alone: a read-only disk may say so first
            if not os.path.isdir(path):
                raise
            return
        else:
            return _share(path, shared)


def _share(path: str, shared: bool) -> None:
    """Let the group write what exman made; chmod, for the umask belongs to the script and to all its threads."""
    if not shared:
        return
    mode = os.stat(path).st_mode
    try:
        os.chmod(path, stat.S_IMODE(mode) | (0o770 if stat.S_ISDIR(mode) else 0o660))
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOSYS, errno.ENOTSUP):       # FAT and some mounts have no modes
            raise


def _write_synced(path: str, data: bytes, shared: bool) -> None:
    with _naming(path), open(path, "xb", buffering=0) as file:
        while data:
            data = data[file.write(data):]
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):      # a file system without fsync
                raise
    _share(path, shared)


def _write_new(path: str, text: str, shared: bool) -> None:
    with _naming(path), open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    _share(path, shared)


class _naming:
    """Errors inside name the path: a full disk shows at write, fsync or close, which know a descriptor alone."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError) and not (isinstance(error.filename, str) and os.path.isabs(error.filename)):
            error.filename = self._path


def _replace(path: str, data: bytes, shared: bool) -> None:
    """Write a file whole or not at all: under a hidden name first."""
    hidden = os.path.join(os.path.dirname(path), f".{os.path.basename(path)}.{os.getpid()}")
    try:
        with _naming(hidden), open(hidden, "wb") as file:
            file.write(data)
        _share(hidden, shared)
        os.replace(hidden, path)
    except OSError:
        if os.path.lexists(hidden):
            os.unlink(hidden)
        raise


def _link(root: str, link: str, name: str, shared: bool) -> None:
    """Link a path below the root to a run's params.yaml; a copy of that where the file system has no symlinks."""
    path = os.path.join(root, link)
    target = os.path.join(*[".."] * link.count(os.sep), "runs", name, "params.yaml")

    def symlink() -> None:
        try:
            os.symlink(target, path)
        except FileExistsError:
            pass
    try:
        _in_folder(os.path.dirname(path), shared, symlink)
    except (OSError, NotImplementedError):              # which error it is differs: a copy works or tells the reason
        source = os.path.join(root, "runs", name, "params.yaml")
        with _naming(source), open(source, "rb") as file:
            data = file.read()
        _in_folder(os.path.dirname(path), shared, lambda: _replace(path, data, shared))


def _unlist(root: str, name: str) -> list[str]:
    """Take a run out of the index and of all marks; return its entries there."""
    entries = [os.path.join(root, "index", f"{name}.yaml")]
    if not os.path.islink(os.path.join(root, "marked")):
        entries += _entries_below(root, "", name)
    return [entry for entry in entries if _unlink(entry)]


def _entries_below(root: str, key: str, name: str) -> Iterator[str]:
    """The entries of a run under a mark and those below it."""
    for folder, folders, files in os.walk(_mark_folder(root, key)):
        for entry in {name, f"{name}.yaml"}.intersection(folders + files):
            if entry != name or os.path.islink(os.path.join(folder, entry)):    # 0.1.x marked with links to folders
                yield os.path.join(folder, entry)


def _unlink(path: str) -> bool:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return False
    return True


def _move_to_fails(root: str, part: str, name: str, shared: bool) -> None:
    source, target = os.path.join(root, part, name), os.path.join(root, "fails", name)
    _make_folder(os.path.dirname(target), shared)
    entries = _unlist(root, name)
    try:
        try:
            os.rename(source, target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _copy_to_fails(source, target)
    except OSError:
        for entry in entries:                           # a 0.1.x mark comes back as one of today's
            _link(root, os.path.join(os.path.relpath(os.path.dirname(entry), root), f"{name}.yaml"), name, shared)
        raise


def _copy_to_fails(source: str, target: str) -> None:
    """Move a folder to another disk: the copy, like the original, is never in sight unless whole."""
    import shutil
    copied, old = (os.path.join(os.path.dirname(path), f".{os.path.basename(path)}") for path in (target, source))
    try:
        shutil.copytree(source, copied, symlinks=True)
        os.rename(copied, target)
    except OSError as error:
        _remove_tree(copied)
        if isinstance(error, shutil.Error):             # it holds one (from, to, reason) a file
            raise OSError(errno.EIO, str(error.args[0][0][2]), target) from None
        raise
    os.rename(source, old)
    _remove_tree(old)


def _remove_tree(path: str) -> None:
    import shutil
    shutil.rmtree(path, ignore_errors=True)


# What stands in no file name on Linux, macOS or Windows, or breaks a line of a listing.
_NOT_IN_NAMES = r"[\x00-\x1f\x7f-\x9f/\\:*?\"<>|\u2028\u2029\ud800-\udfff]"
_MAX_NAME = 180                                         # bytes: 255 less the number, the time, .yaml and a hidden name's end


def _check_name(name: str) -> None:
    """Refuse, by ValueError, a --name that cannot end a folder's name."""
    wrong = _pattern(_NOT_IN_NAMES).search(name)
    if wrong:
        raise ValueError(f"--name {name!r:.99}: {wrong.group()!r} cannot stand in a file name")
    if not name or name != name.strip() or name.endswith(".") or len(name.encode()) > _MAX_NAME:
        raise ValueError(f"--name {name!r:.99} cannot end a file name: give 1 to {_MAX_NAME} bytes, "
                         "without blanks around or a dot at the end")


def _check_mark(key: str) -> str:
    """A mark's key as parts joined by /; ValueError says what is wrong with it."""
    shown = f"mark {key!r:.99}"
    parts = [part for part in key.replace(os.sep, "/").split("/") if part]
    if key.startswith("/") or os.path.isabs(key) or not parts or any(part in (".", "..") for part in parts):
        raise ValueError(f"{shown} leaves the root: give a relative name such as best/lr")
    if len(parts) == 1 and (parts[0].isdigit() or _pattern(_RUN_NAME).fullmatch(parts[0])):
        raise ValueError(f"{shown} names a run: the key comes first, then the runs, as in `mark best {parts[0]:.99}`")
    for part in parts:
        wrong = _pattern(_NOT_IN_NAMES).search(part)
        if wrong or part.startswith(".") or part != part.strip() or len(part.encode()) > _MAX_NAME or len(parts) > 16:
            raise ValueError(f"{shown} cannot be a folder's name{f': it has {wrong.group()!r}' if wrong else ''}")
    return "/".join(parts)


def _mark(root: str, key: str, name: str, shared: bool) -> None:
    """Link a run under marked/<key>/; a link planted there is not followed."""
    _link(root, os.path.relpath(os.path.join(_mark_folder(root, key), f"{name}.yaml"), root), name, shared)


def _mark_folder(root: str, key: str) -> str:
    """The folder of a mark; OSError where a link on the way may lead out of the root."""
    folder = root
    for part in ("marked", *filter(None, key.split("/"))):
        folder = os.path.join(folder, part)
        if os.path.islink(folder):
            raise OSError(errno.ELOOP, "is a link, and may lead out of the root: remove it", folder)
    return folder


def _config_path(word: str, root: str) -> str:
    """The file that --config names: a path, a run's folder, number or name."""
    found = None if os.path.lexists(word) and not _is_number(word) else _find_run(root, word)
    if found is not None:
        return os.path.join(root, *found, "params.yaml")
    if _is_number(word) and not os.path.lexists(word):
        raise ValueError(f"--config {word:.99}: there is no run of this number in {_shown(root)}")
    if os.path.isdir(word):
        inside = os.path.join(word, "params.yaml")
        if not os.path.exists(inside):
            raise ValueError(f"--config {_shown(word)} is a folder without params.yaml: give a run's folder, or a yaml file")
        return inside
    return word


def _find_run(root: str, word: str) -> tuple[str, str] | None:
    """The part and the name of the run that a number or a folder's name names, or None."""
    return next(((part, name) for part in _PARTS for name in _run_names(root, part) if _is_named(name, word)), None)


def _is_named(name: str, word: str) -> bool:
    """Whether a word is a run's number or its folder's name."""
    return word == name or (_is_number(word) and word.lstrip("0") == str(_number(name)))


def _read_text(path: str) -> str:
    """Read a small regular file of UTF-8; ValueError says what it is instead."""
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except OSError as error:
        raise ValueError(f"{_shown(path)}: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{_shown(path):.99}: {error}") from None
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise ValueError(f"{_shown(path)} is no regular file")
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(_MAX_YAML + 1) if info.st_size <= _MAX_YAML else b""
    except OSError as error:
        raise ValueError(f"{_shown(path)}: {error.strerror}") from None
    finally:
        os.close(descriptor)
    if max(len(data), info.st_size) > _MAX_YAML:
        raise ValueError(f"{_shown(path)} is larger than {_MAX_YAML >> 20} MiB: no file of parameters")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{_shown(path)} is no text in UTF-8: byte {error.start}") from None


# ---------------------------------------------------------------------------------------------------------------------
# The launch: the processes of one job share one run.
# ---------------------------------------------------------------------------------------------------------------------

_JOB = ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "PBS_JOBID", "LSB_JOBID", "LSB_JOBINDEX")
# What each launcher sets: the variables of a process's rank and of the number of ranks, in all and on its node ('' where the
# launcher tells launches apart by itself); the variables that tell one launch from the next.
# The inner first: torchrun runs in the tasks of the others, and hydra's proxies, which start ranks, in those of srun.
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "", ("PMIX_NAMESPACE", "OMPI_MCA_orte_precondition_transports")),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE", ("SLURM_STEP_ID",)),
    ("PALS_RANKID", "PALS_SIZE", "", ("PALS_APID",)),
    ("FLUX_TASK_RANK", "FLUX_JOB_SIZE", "", ("FLUX_JOB_ID",)),
    ("JSM_NAMESPACE_RANK", "JSM_NAMESPACE_SIZE", "", ("JSM_NAMESPACE_ID", "PMIX_NAMESPACE")),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALNRANKS", ("SLURM_STEP_ID",)),
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "", ("SLURM_STEP_ID",)),
    ("PMIX_RANK", "", "", ("PMIX_NAMESPACE",)),
)

_PARSES = itertools.count()                             # the n-th run of one rank is the n-th run of every rank
_BEQUEST: list[list[Any]] = []                          # the runs of this process, for its workers
_JOINED: list[str] = []                                 # the runs of its parent that this worker has joined


def _launch(settings: _Settings, record: _Record) -> Run:
    """Make the run of one parse, or join the one that this job has made."""
    root, count = settings.folder(), next(_PARSES)
    run, job = _inherited(root, record), _job(os.environ)
    if run is None:
        run = _shared_run(root, settings, record, *job, count) if job else _make_run(root, settings, record)
    if run._maker == os.getpid():
        for note in record.notes:
            _say(note)
        path, here = run._folder(), os.path.join(_absolute(os.curdir), "")
        _say(f"run {run.id}: {_shown(path[len(here):] if path.startswith(here) else path)}")
    _bequeath(run, record)
    return run


def _job(environ: Any) -> tuple[str, list[str]] | None:
    """The rank of this process and what names its launch, or None where it stands alone."""
    for rank_name, size_name, local_size_name, names in _LAUNCHERS:
        rank = environ.get(rank_name)
        if rank is None:
            continue
        size = environ.get(size_name, "")
        # SLURM_PROCID alone is a batch script's, RANK alone a script's own; one rank of a size of 1 is not a job.
        if not _is_number(rank) or size in ("0", "1") or (not size and size_name):
            continue
        told = [environ.get(name, "") for name in (*_JOB, *names)]
        if local_size_name and size == environ.get(local_size_name):
            # torchrun's names may be `none` and port 29500 each time; on one node the process that starts the ranks tells.
            told += [environ.get("TORCHELASTIC_RESTART_COUNT", ""), _starter(local_size_name)]
        return rank, [rank_name, *told]
    return None


def _starter(variable: str) -> str:
    """Name the nearest process above that was started without this variable: host, pid and, from /proc, start time."""
    pid = os.getppid()
    try:
        while f"\0{variable}=".encode() in b"\0" + _proc(f"{pid}/environ"):    # a shell script between it and the rank
            pid = int(_stat(pid)[1])
    except OSError:
        pass                                            # no /proc, or a process of another user, which no rank is
    host = os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", "")
    return f"{host} {pid} {int(_stat(pid)[19])}"


def _proc(name: str) -> bytes:
    with open(f"/proc/{name}", "rb") as file:
        return file.read()


def _stat(pid: object) -> list[bytes]:
    """The fields of /proc/<pid>/stat behind the program's name; where there is no /proc, zeros."""
    try:
        return _proc(f"{pid}/stat").rpartition(b")")[2].split()
    except OSError:
        return [b"0"] * 50


def _shared_run(root: str, settings: _Settings, record: _Record, rank: str, launch: list[str], count: int) -> Run:
    """The run of a job: rank 0 makes and publishes it, the ranks with the same parameters join it.

    .launches/<launch>/run            what rank 0 made: a digest of its parameters, and the run
    .launches/<launch>/12.3           rank 3 has seen run 12: it believes each once, so a second launch waits for its own
    .launches/<launch>/12-<digest>    the run of the ranks with other parameters, by the one that created 12-<digest>.claim
    """
    import hashlib
    mine, launched = [hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:24]
                      for text in (record.identity, repr([*launch, root, count]))]      # a path may be undecodable
    folder = os.path.join(root, ".launches", launched)
    joined, turn = "", "run"
    try:
        _make_folder(folder, settings.shared)
        if rank.strip("0"):
            joined, turn = _awaited(folder, mine, rank, settings.shared)
    except OSError:
        turn = ""                                       # where nothing can be written, making a run tells the reason
    if joined:
        return Run(root, *joined.split("/", 1), rank=rank, shared=settings.shared)
    run = _make_run(root, settings, record)
    try:
        if turn:
            _replace(os.path.join(folder, turn), f"{mine} {run._part}/{run.name}".encode(), settings.shared)
        if turn == "run":
            _sweep(os.path.dirname(folder))
    except OSError as error:
        _say(f"the other ranks will not find run {run.id}: {_reason(error)}")
    return run


def _awaited(folder: str, mine: str, rank: str, shared: bool) -> tuple[str, str]:
    """The run to join, or '' and the name under which to publish one; neither once the time is up."""
    seconds = _wait_seconds()
    deadline, since = time.monotonic() + seconds, time.time() - _age() - seconds
    awaited, passed, pause = "run", "", 0.01
    while True:
        digest, run = _published(os.path.join(folder, awaited), since)
        if run and awaited != "run":
            return run, ""
        if run and run != passed:
            passed, number = run, _number(run.partition("/")[2])
            if _create(os.path.join(folder, f"{number}.{rank}"), shared):
                if digest == mine:
                    return run, ""
                awaited, since = f"{number}-{mine}", 0.0
                if _create(os.path.join(folder, f"{awaited}.claim"), shared):
                    return "", awaited
                continue
        if time.monotonic() > deadline:
            _say(f"rank {rank} found no run of its job within {seconds:g} s (EXMAN_WAIT): it makes its own")
            return "", ""
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)
        os.utime(folder)                                # else a network mount may go on answering that nothing is there


def _age() -> float:
    """The seconds since this process was started, or 0 where there is no /proc."""
    try:
        return float(_proc("uptime").split()[0]) - int(_stat("self")[19]) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0.0


def _wait_seconds() -> float:
    try:
        seconds = float(os.environ.get("EXMAN_WAIT", "60"))
    except ValueError:
        seconds = -1.0
    return seconds if seconds >= 0 else 60.0            # so nan, too, is no time to wait


def _published(path: str, since: float) -> tuple[str, str]:
    """The digest and the run, as <part>/<name>, of what was published after a time; two empty words while there is none."""
    try:
        with open(path, encoding="utf-8") as file:
            fresh = os.fstat(file.fileno()).st_mtime >= since
            digest, _, run = file.read(999).partition(" ")
    except (OSError, UnicodeDecodeError):
        return "", ""
    part, _, name = run.partition("/")
    return (digest, run) if fresh and part in _PARTS and _pattern(_RUN_NAME).fullmatch(name) and "/" not in name else ("", "")


def _sweep(folder: str) -> None:
    """Remove what launches of past days left."""
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        try:
            if os.stat(path).st_mtime < time.time() - 2 * 86400:
                _remove_tree(path)
        except OSError:
            pass                                        # another rank 0 was first


def _bequeath(run: Run, record: _Record) -> None:
    """Leave word of the run for the workers of this process, which may run its script's top level again."""
    entry = [run._base, run._part, run.name, run._rank, _checksum(record)]
    if len(_BEQUEST) < 16 and _storable(entry) == entry:    # a top level parses a few times; the environment has its bounds
        _BEQUEST.append(entry)
        os.environ["EXMAN_RUNS"] = _flow(_BEQUEST)


def _inherited(root: str, record: _Record) -> Run | None:
    """The run of the process that this one is a worker of, if it has the same parameters.

    Workers are those of multiprocessing, and the ranks that Lightning starts by itself: LOCAL_RANK from 1 on, no RANK.
    """
    local_rank = "" if "RANK" in os.environ else os.environ.get("LOCAL_RANK", "").strip("0")
    if not _worker_name() and not local_rank:
        return None
    try:
        entries = load_yaml(f"runs: {os.environ.get('EXMAN_RUNS') or '[]'}")["runs"]
        bequest = [(base, part, name, rank, checksum) for base, part, name, rank, checksum in entries]
    except (TypeError, ValueError):                     # YAMLError is one; of another version, or not exman's at all
        return None
    for base, part, name, rank, checksum in bequest:
        if base == root and checksum == _checksum(record) and name not in _JOINED:
            _JOINED.append(name)
            return Run(root, part, name, rank=rank or local_rank)
    return None


def _checksum(record: _Record) -> int:
    """Tells the few runs of one process apart by their parameters; hashlib, and crc32 too, cost more than a launch."""
    return int.from_bytes(record.identity.encode("utf-8", "replace"), "big") % 999_999_999_999_999_989      # a prime


def _worker_name() -> str:
    """The name of this multiprocessing worker, such as SpawnProcess-1, or '' where it is none."""
    process = sys.modules.get("multiprocessing.process")
    if process is None:
        return ""
    worker = process.current_process()
    if process.parent_process() is None and not hasattr(worker, "_inheriting"):     # so while the main script is imported
        return ""
    return re.sub(r"[^\w.-]", "-", worker.name)


# ---------------------------------------------------------------------------------------------------------------------
# YAML out: a flat dict becomes text, one parameter a line, that readers of YAML 1.1 and of YAML 1.2 take for the same values.
# ---------------------------------------------------------------------------------------------------------------------

_NESTING = 64       # lists and dicts within one value, for both doors: far from the RecursionError of either
_KEY_LENGTH = 1024  # what YAML allows a key that stands on one line with its value
_DIGITS = 4300      # CPython prints and reads no longer integer


class YAMLError(ValueError):
    """A text that load_yaml does not read, or a value that dump_yaml does not write; `line` is the text's, from 1, or None."""

    def __init__(self, reason: str, line: int | None = None) -> None:
        super().__init__(reason if line is None else f"line {line}: {reason}")
        self.line = line


def dump_yaml(params: dict[Any, Any]) -> str:
    r"""Write a dict of plain values (None, bool, int, float, str, lists and dicts of these) as YAML, one key a line.

    >>> dump_yaml({"lr": 1e-05, "sizes": [64, 32], "country": "no"})
    "lr: 1.0e-05\nsizes: [64, 32]\ncountry: 'no'\n"

    Raises YAMLError, which names the parameter, for any other value.
    """
    if type(params) is not dict:
        raise YAMLError(f"a {type(params).__name__[:60]} is no dict: give vars(args) or dict(...)")
    lines = []
    try:
        for key, value in params.items():
            name = _str_key(key) if type(key) is str else _key_text(key)
            lines.append(f"{name}: {_EMITTERS.get(type(value), _flow)(value)}\n")
    except YAMLError as error:
        raise YAMLError(f"parameter {_short(key)}: {error}") from None
    return "".join(lines) or "{}\n"


def _flow(value: Any, depth: int = 0) -> str:
    """value -> its text on one line: [1, 2.5, a] -> '[1, 2.5, a]'; depth counts the lists and dicts around it."""
    kind = type(value)
    emit = _EMITTERS.get(kind)
    if emit is not None:
        return emit(value)
    if kind is not list and kind is not dict:
        raise YAMLError(f"a {kind.__name__[:60]} is not plain: give None, a bool, int, float, str, or a list or dict of these")
    if depth == _NESTING:
        raise YAMLError(f"more than {_NESTING} lists and dicts within each other")
    if kind is list:
        return "[" + ", ".join([
            emit(item) if (emit := _EMITTERS.get(type(item))) else _flow(item, depth + 1) for item in value]) + "]"
    return "{" + ", ".join([f"{_key_text(key)}: {_flow(item, depth + 1)}" for key, item in value.items()]) + "}"


def _key_text(key: Any) -> str:
    if type(key) is str:
        return _str_key(key)
    text = _EMITTERS.get(type(key), _no_key)(key)
    if text == ".nan":  # equal to nothing, itself included
        _no_key(key)
    return _short_enough(text, key)


@functools.lru_cache(maxsize=1000)  # run after run has the same keys
def _str_key(key: str) -> str:
    return _short_enough(_str_text(key), key)


def _short_enough(text: str, key: Any) -> str:
    if len(text) > _KEY_LENGTH:
        raise YAMLError(f"the key {_short(key)} is longer than {_KEY_LENGTH} characters")
    return text


def _no_key(key: Any) -> str:
    raise YAMLError(f"the key {_short(key)} is not plain: give a str, None, a bool, an int or a float that is no nan")


def _int_text(value: int) -> str:
    try:
        text = repr(value)
    except ValueError:  # beyond sys.set_int_max_str_digits
        text = ""
    if not text or len(text) > _DIGITS and len(text.lstrip("-")) > _DIGITS:
        raise YAMLError(f"an integer of more than {_DIGITS} digits")
    return text


def _float_text(value: float) -> str:
    """0.1 -> '0.1', 1e-05 -> '1.0e-05': without the dot it is a string in YAML 1.1."""
    text = repr(value)
    if "n" in text:
        return {"inf": ".inf", "-inf": "-.inf"}.get(text, ".nan")
    return text.replace("e", ".0e") if "e" in text and "." not in text else text


def _str_text(text: str) -> str:
    """The plainest text that every reader takes for this string: adam, 'no', "two\\nlines"."""
    if text.isidentifier() and text.isascii():  # most keys and words, without the cost of a pattern
        return text if text not in _WORDS else f"'{text}'"
    if not text.isprintable() or not text.isascii() and max(text) > "\uffff":
        return '"' + "".join(map(_escaped, text)) + '"'
    # A letter first: what starts with a digit, a sign or a dot may be a number, a time or a date to some reader.
    if ((text[:1].isalpha() or text.startswith(("_", "/"))) and text[-1] != " " and "  " not in text
            and text.encode().translate(None, _PLAIN_SIGNS).decode().isalnum()):
        return text
    return "'" + text.replace("'", "''") + "'"


def _escaped(char: str) -> str:
    if char in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[char]
    if char.isprintable() and char <= "\uffff":
        return char
    code = ord(char)
    if 0xD800 <= code <= 0xDFFF:
        raise YAMLError(f"the lone surrogate {char!r} is no character")
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


# Exact types only: the repr of a numpy float or of a `class E(str, Enum)` is no YAML.
_EMITTERS: dict[type, Callable[[Any], str]] = {
    str: _str_text, bool: {True: "true", False: "false"}.__getitem__, int: _int_text, float: _float_text,
    type(None): {None: "null"}.__getitem__}
_SHORT_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLAIN_SIGNS = b" _./\\+@%=*()~-"                       # what may stand among the letters of words without quotes
# What YAML 1.1 or YAML 1.2 takes for a bool or a null.
_WORDS = frozenset(form for word in ("y", "n", "yes", "no", "on", "off", "true", "false", "null")
                   for form in (word, word.title(), word.upper()))


@functools.lru_cache(maxsize=None)
def _pattern(pattern: str) -> re.Pattern[str]:
    """A pattern, compiled when it is first used: an import costs nothing."""
    return re.compile(pattern)


def _short(value: Any) -> str:
    """What the user wrote, by its repr, in a line: a text cut to 40 characters, for other things than plain ones their type."""
    if type(value) is str:
        return ascii(value if len(value) <= 40 else value[:37] + "...")
    plain = value is None or type(value) in (bool, float) or type(value) is int and value.bit_length() < 200
    return repr(value) if plain else f"of type {type(value).__name__[:40]}"


# ---------------------------------------------------------------------------------------------------------------------
# YAML in: a strict reader: the value that YAML 1.2 gives the text, or a YAMLError that says what is not read, and where.
# ---------------------------------------------------------------------------------------------------------------------
#
# A rule takes the document and a position and returns the value and the position behind it; its docstring is its grammar.
# The text starts and ends with a line break, so that each line has one on both sides.

_EXPANSION = 10_000_000  # characters that all aliases of one text may stand for


def load_yaml(text: str) -> dict[Any, Any]:
    r"""Read a YAML mapping, types included; what is beyond exman's part of YAML is a YAMLError with its line.

    >>> load_yaml("lr: 1e-3\nsizes:\n- 64\n- 32\ncountry: no\n")
    {'lr': 0.001, 'sizes': [64, 32], 'country': 'no'}
    """
    if text.isascii() and text.endswith("\n"):
        found = _pattern(_OWN_LINE).findall(text)
        if len(found) == text.count("\n"):
            params = _own_params(found)
            if params:
                return params
    return _parse_yaml(text, _resolve)[0]


def _own_params(found: list[tuple[str, ...]]) -> dict[Any, Any]:
    """The values of the lines that _OWN_LINE has taken apart: the fast way through the files that exman writes.

    None of them where a key comes twice, for the full reader says where.
    """
    params: dict[Any, Any] = {}
    comments = 0
    for key, word, number, other in found:
        if word:
            params[key] = _CONSTANTS.get(word, word)
        elif number:
            params[key] = float(number) if "." in number else int(number)
        elif other[:1] == "'":
            params[key] = other[1:-1]
        elif other:
            params[key] = [_resolve(item) for item in other[1:-1].split(", ")] if other != "[]" else []
        else:
            comments += 1
    return params if len(params) + comments == len(found) else {}


def _scalar_line_value(text: str) -> Any:
    """The value of a line that reads 'key: ' and then text: a scalar, a flow collection, a comment behind it."""
    if "\n" in text or "\r" in text:
        raise YAMLError("more than one line", 1)
    return load_yaml(f"key: {text}\n")["key"]


def _parse_yaml(text: str, plain: Callable[[str], Any]) -> tuple[dict[Any, Any], dict[Any, int]]:
    """text = { comment } [ '---' ] mapping [ '...' { comment } ]   ->   the mapping, and the line of each of its keys.

    `plain` turns the text of a plain scalar into its value ('' where a value is missing); keys and quoted ones it never sees.
    """
    lines = text[text.startswith("\ufeff"):].replace("\r\n", "\n").replace("\r", "\n")
    doc = _Document(f"\n{lines}\n", plain)
    odd = _pattern(_UNPRINTABLE).search(doc.text)
    if odd:
        raise doc.error(odd.start(), f"the character {odd.group()!a} is read only as an escape in double quotes")
    start = _cut_to_document(doc)
    params, end = _value(doc, start, -1, 0)
    if type(params) is not dict:
        raise doc.error(start + 1, "no mapping: 'key: value' lines are expected")
    if end < len(doc.text):
        raise doc.error(end, "indented less than the first key")
    line = last = 0
    for key, pos in doc.keys.items():
        line += doc.text.count("\n", last, pos)
        doc.keys[key], last = line, pos
    return params, doc.keys


class _Document:
    """One text while it is read."""

    __slots__ = ("anchors", "deepest", "expanded", "keys", "plain", "text")

    def __init__(self, text: str, plain: Callable[[str], Any]) -> None:
        self.text = text
        self.plain = plain
        self.keys: dict[Any, int] = {}  # the position of each key of the outermost mapping
        self.anchors: dict[str, tuple[Any, int, int] | None] = {}  # value, characters, depth; None while the value is read
        self.expanded = 0  # characters that the aliases so far stand for
        self.deepest = 0  # how many collections stand within each other, at most, since the innermost open anchor

    def error(self, pos: int, reason: str) -> YAMLError:
        return YAMLError(reason, self.text.count("\n", 0, min(pos, len(self.text) - 1)) or 1)

    def column(self, pos: int) -> int:
        """How far right pos stands on its line; -1 behind the text, left of everything."""
        return pos - self.text.rfind("\n", 0, pos) - 1 if pos < len(self.text) else -1

    def enter(self, pos: int, depth: int) -> None:
        """Note that values `depth` collections deep stand at pos."""
        if depth > _NESTING:
            raise self.error(pos, f"more than {_NESTING} lists and mappings within each other")
        self.deepest = max(self.deepest, depth)


def _cut_to_document(doc: _Document) -> int:
    """{ comment } [ newline '---' ] ... [ newline '...' { comment } ]: where the content starts; the text ends before '...'."""
    marker = _pattern(_MARKER)
    first = marker.match(doc.text, _next_line(doc, 0) - 1)
    start = first.end() if first and first.group() == "\n---" else 0
    last = marker.search(doc.text, start)
    if last and (last.group() == "\n---" or _next_line(doc, last.end()) < len(doc.text)):
        raise doc.error(last.end(), "a second document: a text holds one")
    if last:
        doc.text = doc.text[:last.start() + 1]
    return start


def _value(doc: _Document, pos: int, indent: int, depth: int, *, item: bool = False, anchored: bool = False) -> tuple[Any, int]:
    """value = [ '&' name ] ( list | mapping | alias | quoted | flow | plain | nothing )   right of the column `indent`

    pos stands behind the ':' of a key, or the '-' of an item, at that column; the position returned is that of the next line.
    """
    text = doc.text
    here = _skip(_BLANKS, text, pos)
    on_own_line = text[here] == "\n" or text[here] == "#" and here > pos
    if on_own_line:
        here = _next_line(doc, pos)
        column = doc.column(here)
        if column < indent or column == indent and (item or not _is_dash(text, here)):
            return doc.plain(""), here
    if text[here] == "&" and not anchored:
        return _anchored(doc, here, depth, lambda after: _value(doc, after, indent, depth, item=item, anchored=True))
    if text[here] == "*" and anchored:
        raise doc.error(here, "an anchor before an alias")
    if on_own_line or item and not anchored:  # nowhere else may a block collection start
        block = _block_list if _is_dash(text, here) else _block_map if _key(doc, here, False) else None
        if block:
            if "\t" in text[pos:here] and not on_own_line:
                raise doc.error(here, "a tab before a list or mapping: indent by spaces")
            return block(doc, here, depth)
    value, end = _inline(doc, here, indent + 1, depth, False)
    return value, _next_line(doc, end)


def _block_list(doc: _Document, pos: int, depth: int) -> tuple[list[Any], int]:
    """list = '-' value { newline '-' value }   each '-' at one column"""
    doc.enter(pos, depth)
    items = []
    column = here = doc.column(pos)
    while here == column and _is_dash(doc.text, pos):
        item, pos = _value(doc, pos + 1, column, depth + 1, item=True)
        items.append(item)
        here = doc.column(pos)
    if here > column:
        raise doc.error(pos, "indented more than the '-' above")
    return items, pos


def _block_map(doc: _Document, pos: int, depth: int) -> tuple[dict[Any, Any], int]:
    """mapping = key value { newline key value }   each key at one column"""
    doc.enter(pos, depth)
    items: dict[Any, Any] = {}
    column = here = doc.column(pos)
    while here == column:
        found = _key(doc, pos, False)
        if found is None:
            raise doc.error(pos, f"no 'key: value': {_short(_rest(doc, pos))}")
        _add_key(doc, items, found[0], pos, depth)
        items[found[0]], pos = _value(doc, found[1], column, depth + 1)
        here = doc.column(pos)
    if here > column:
        raise doc.error(pos, "indented more than the key above")
    return items, pos


def _key(doc: _Document, pos: int, flow: bool) -> tuple[Any, int] | None:
    """key = ( quoted | plain ) { blank } ':'   on one line, a blank behind it but for '{"a":1}'; None where there is none"""
    text = doc.text
    if text[pos] in "'\"":
        end = _skip(_QUOTED_KEY, text, pos)
        if end == pos or not flow and text[end] not in " \t\n":
            return None
        key, _ = _INLINE[text[pos]](doc, pos, 0, 0)
    else:
        end = _find(_PLAIN_END[flow], text, pos) + 1
        if text[end - 1:end + 1] not in (": ", ":\t", ":\n") or not _pattern(_PLAIN_START[flow]).match(text, pos):
            return None
        name = text[pos:end - 1].rstrip(" \t")
        if name == "<<" or name.lower() == ".nan":
            raise doc.error(pos, f"the key {name!r} is not read: quote it, or write out what it merges")
        key = _resolved(doc, pos, name, _resolve)
    if end - 1 - pos > _KEY_LENGTH:
        raise doc.error(pos, f"a key longer than {_KEY_LENGTH} characters")
    return key, end


def _add_key(doc: _Document, items: dict[Any, Any], key: Any, pos: int, depth: int) -> None:
    if key in items:
        raise doc.error(pos, f"the key {_short(key)} stands here twice")
    items[key] = None
    if depth == 0:
        doc.keys[key] = pos


def _inline(doc: _Document, pos: int, least: int, depth: int, flow: bool) -> tuple[Any, int]:
    """inline = quoted | alias | flow_list | flow_map | plain   whose further lines are indented by `least` spaces or more"""
    read = _INLINE.get(doc.text[pos])
    if read is not None:
        return read(doc, pos, least, depth)
    text, end = _plain(doc, pos, least, flow)
    return _resolved(doc, pos, text, doc.plain), end


def _resolved(doc: _Document, pos: int, text: str, resolve: Callable[[str], Any]) -> Any:
    try:
        return resolve(text)
    except YAMLError as error:
        raise doc.error(pos, str(error)) from None


def _plain(doc: _Document, pos: int, least: int, flow: bool) -> tuple[str, int]:
    """plain = words { newline words }   words end before ': ' and ' #', in a flow collection before ',[]{}' too"""
    text, end = doc.text, _PLAIN_END[flow]
    if not _pattern(_PLAIN_START[flow]).match(text, pos):
        raise doc.error(pos, _REFUSED.get(text[pos]) or f"unexpected {_short(_rest(doc, pos))}")
    pieces = []
    while True:
        stop = _find(end, text, pos)
        pieces.append(text[pos:stop].rstrip(" \t"))
        folded = _fold(doc, stop, least) if text[stop] == "\n" else None
        if folded is None or text[folded[1]] == "#" or _pattern(end).match(text, folded[1]):
            return "".join(pieces), stop
        pieces.append(folded[0])
        pos = folded[1]


def _fold(doc: _Document, pos: int, least: int) -> tuple[str, int] | None:
    """newline { empty line } { ' ' }*least { blank }: ' ', or a break an empty line; None if the next is indented less"""
    breaks = 0
    while doc.text[pos] == "\n":
        indented = _skip(_SPACES, doc.text, pos + 1)
        short = indented - pos - 1 < least
        breaks += 1
        pos = _skip(_BLANKS, doc.text, indented)
        if pos == len(doc.text) or short and (pos > indented or doc.text[pos] != "\n"):
            return None
    return "\n" * (breaks - 1) or " ", pos


def _single(doc: _Document, start: int, least: int, depth: int) -> tuple[str, int]:
    """single = "'" { character | "''" | line break } "'" """
    text, pos = doc.text, start + 1
    pieces: list[str] = []
    while True:
        stop = _find(r"['\n]", text, pos)
        piece = text[pos:stop]
        if text[stop] == "\n":
            fold, pos = _quoted_fold(doc, stop, least, start)
            pieces += [piece.rstrip(" \t"), fold]
        elif text[stop + 1] == "'":
            pieces += [piece, "'"]
            pos = stop + 2
        else:
            return "".join(pieces) + piece, stop + 1


def _double(doc: _Document, start: int, least: int, depth: int) -> tuple[str, int]:
    """double = '"' { character | escape | line break | '\\' line break } '"' """
    text, pos = doc.text, start + 1
    pieces: list[str] = []
    while True:
        stop = _find(r'["\\\n]', text, pos)
        piece = text[pos:stop]
        if text[stop] == '"':
            return "".join(pieces) + piece, stop + 1
        if text[stop] == "\n":
            fold, pos = _quoted_fold(doc, stop, least, start)
            pieces += [piece.rstrip(" \t"), fold]
        elif text[stop + 1] == "\n":
            fold, pos = _quoted_fold(doc, stop + 1, least, start)
            pieces += [piece, fold.lstrip(" ")]
        else:
            char, pos = _escape(doc, stop)
            pieces += [piece, char]


def _quoted_fold(doc: _Document, pos: int, least: int, start: int) -> tuple[str, int]:
    folded = _fold(doc, pos, least)
    if folded is None:
        raise doc.error(start, f"this quote is not closed, or its lines are not indented by {least} or more spaces")
    return folded


def _escape(doc: _Document, pos: int) -> tuple[str, int]:
    r"""escape = '\' ( letter | 'x' 2 hex | 'u' 4 hex | 'U' 8 hex )"""
    letter = doc.text[pos + 1]
    if letter in _ESCAPES:
        return _ESCAPES[letter], pos + 2
    end = pos + 2 + {"x": 2, "u": 4, "U": 8}.get(letter, 0)
    digits = doc.text[pos + 2:end]
    if not _pattern("[0-9A-Fa-f]+").fullmatch(digits) or int(digits, 16) > 0x10FFFF or 0xD800 <= int(digits, 16) <= 0xDFFF:
        raise doc.error(pos, f"the escape {_short(doc.text[pos:max(end, pos + 2)])} is no character")
    return chr(int(digits, 16)), end


def _flow_list(doc: _Document, start: int, least: int, depth: int) -> tuple[list[Any], int]:
    """flow_list = '[' [ value { ',' value } [ ',' ] ] ']'"""
    doc.enter(start, depth)
    items: list[Any] = []
    pos = _gap(doc, start + 1, least, start)
    while doc.text[pos] != "]":
        item, pos = _flow_value(doc, pos, least, depth + 1, start)
        items.append(item)
        pos = _comma(doc, pos, least, start, "]")
    return items, pos + 1


def _flow_map(doc: _Document, start: int, least: int, depth: int) -> tuple[dict[Any, Any], int]:
    """flow_map = '{' [ key [ value ] { ',' key [ value ] } [ ',' ] ] '}'"""
    doc.enter(start, depth)
    items: dict[Any, Any] = {}
    pos = _gap(doc, start + 1, least, start)
    while doc.text[pos] != "}":
        found = _key(doc, pos, True)
        if found is None:
            raise doc.error(pos, f"no 'key: value' on one line: {_short(_rest(doc, pos))}")
        _add_key(doc, items, found[0], pos, depth)
        pos = _gap(doc, found[1], least, start)
        if doc.text[pos] in ",}":
            items[found[0]] = doc.plain("")
        else:
            items[found[0]], pos = _flow_value(doc, pos, least, depth + 1, start)
        pos = _comma(doc, pos, least, start, "}")
    return items, pos + 1


def _flow_value(doc: _Document, pos: int, least: int, depth: int, start: int, anchored: bool = False) -> tuple[Any, int]:
    """flow_value = [ '&' name ] inline"""
    if doc.text[pos] == "&" and not anchored:
        return _anchored(doc, pos, depth, lambda after: _flow_value(
            doc, _gap(doc, after, least, start), least, depth, start, True))
    if doc.text[pos] == "*" and anchored:
        raise doc.error(pos, "an anchor before an alias")
    return _inline(doc, pos, least, depth, True)


def _comma(doc: _Document, pos: int, least: int, start: int, close: str) -> int:
    """The position of what follows the ',' after a value, or of the closing bracket."""
    pos = _gap(doc, pos, least, start)
    if doc.text[pos] == ",":
        return _gap(doc, pos + 1, least, start)
    if doc.text[pos] != close:
        raise doc.error(pos, f"expected ',' or {close!r}, not {_short(_rest(doc, pos))}")
    return pos


def _gap(doc: _Document, pos: int, least: int, start: int) -> int:
    """gap = { blank } [ [ comment ] newline { empty line } { ' ' }*least ]   within the bracket that opens at `start`"""
    here = _skip(_BLANKS, doc.text, pos)
    if doc.text[here] != "\n" and not (doc.text[here] == "#" and here > pos):
        return here
    here = _next_line(doc, pos)
    if here == len(doc.text):
        raise doc.error(start, f"this {doc.text[start]!r} is not closed")
    if doc.column(here) < least:
        raise doc.error(here, f"within {doc.text[start]!r}: indent by {least} or more spaces, the closing bracket too")
    return here


def _anchored(doc: _Document, pos: int, depth: int, read: Callable[[int], tuple[Any, int]]) -> tuple[Any, int]:
    """anchored = '&' name value"""
    name = doc.text[pos + 1:_skip(_ANCHOR_NAME, doc.text, pos + 1)]
    after = pos + 1 + len(name)
    if not name or doc.text[after] not in " \t\n" or doc.anchors.get(name, ()) is None:
        raise doc.error(pos, f"the anchor {_short('&' + name)} has no name or no value, or stands within itself")
    deepest, expanded = doc.deepest, doc.expanded
    doc.anchors[name], doc.deepest = None, depth - 1
    value, end = read(after)
    doc.anchors[name] = value, end - pos + doc.expanded - expanded, doc.deepest - depth
    doc.deepest = max(deepest, doc.deepest)
    return value, end


def _alias(doc: _Document, pos: int, least: int, depth: int) -> tuple[Any, int]:
    """alias = '*' name   ->   the very object of the anchor"""
    name = doc.text[pos + 1:_skip(_ANCHOR_NAME, doc.text, pos + 1)]
    anchor = doc.anchors.get(name)
    if anchor is None:
        raise doc.error(pos, f"the alias {_short('*' + name)} stands for no value above it")
    value, size, height = anchor
    if height >= 0:
        doc.enter(pos, depth + height)
    doc.expanded += size
    if doc.expanded > _EXPANSION:
        raise doc.error(pos, f"a yaml bomb: the aliases stand for more than {_EXPANSION:,} characters")
    return value, pos + 1 + len(name)


def _next_line(doc: _Document, pos: int) -> int:
    """{ blank } [ comment ] newline { empty or comment line }: the position of what comes then, behind its indentation"""
    text = doc.text
    here = _skip(_BLANKS, text, pos)
    if text[here] == "#" and here > pos:
        here = text.index("\n", here)
    elif text[here] == ":":
        raise doc.error(here, "a key within a value: quote the value, or put the key on a line of its own")
    elif text[here] != "\n":
        raise doc.error(here, f"unexpected {_short(_rest(doc, here))} behind a value")
    while True:
        line = here + 1
        here = _skip(_BLANKS, text, line)
        if here == len(text):
            return here
        if text[here] == "#":
            here = text.index("\n", here)
        elif text[here] != "\n":
            break
    if "\t" in text[line:here]:
        raise doc.error(here, "a tab in the indentation: indent by spaces")
    return here


def _is_dash(text: str, pos: int) -> bool:
    return text.startswith(("- ", "-\n", "-\t"), pos)


def _rest(doc: _Document, pos: int) -> str:
    """What stands on the line from pos on, as far as a message shows it."""
    return doc.text[pos:pos + 60].partition("\n")[0]


def _skip(pattern: str, text: str, pos: int) -> int:
    """Where the match of a pattern at pos ends; pos if there is none."""
    match = _pattern(pattern).match(text, pos)
    return match.end() if match else pos


def _find(pattern: str, text: str, pos: int) -> int:
    """Where the pattern matches next; each pattern matches a line break, and the text ends with one."""
    match = _pattern(pattern).search(text, pos)
    return match.start() if match else len(text) - 1


def _resolve(text: str) -> None | bool | int | float | str:
    """A plain scalar by the core schema of YAML 1.2: 'true' -> True, '0x1f' -> 31, '1e3' -> 1000.0, 'no' -> 'no'."""
    if text.isdigit() and text.isascii() and len(text) < 19:  # most of a list's items
        return int(text)
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "+-.0123456789":
        return text
    match = _pattern(_NUMBER).fullmatch(text)
    if match is None:
        return text
    kind = match.lastgroup
    if kind == "float":
        return float(text)
    if len(text.lstrip("+-")) > (_DIGITS if kind == "int" else _DIGITS * 5 // 6):  # one hex digit is 1.2 decimal ones
        raise YAMLError(f"an integer of more than {_DIGITS} digits")
    try:
        return int(text, 10) if kind == "int" else int(text[2:], 16 if kind == "hex" else 8)
    except ValueError:  # beyond sys.set_int_max_str_digits
        raise YAMLError("an integer of more digits than this interpreter reads") from None


# One line that exman writes: a key (a str, not null or true), then words (those too), a number, or 'quoted' and [a, list].
_OWN_LINE = (r"(?m)^(?:# [ -~]*|(?![nNtTfF](?:ull|ULL|rue|RUE|alse|ALSE):)([A-Za-z_][A-Za-z0-9_-]{0,999}): (?:"
             r"([A-Za-z_/][ -\"$-9;-~]*(?<! )|-?\.inf|\.nan)"  # without ':' and '#'
             r"|(-?[0-9]{1,18}(?:\.[0-9]{1,18}(?:e[-+][0-9]{1,3})?)?)"
             r"|('[^'\x00-\x1f\x7f]*'"
             r"|\[(?:-?[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,99}(?:, -?[A-Za-z0-9_.+][A-Za-z0-9_.+-]{0,99})*)?\])))\n")
# With NEL, LS and PS: lines break there in YAML 1.1, and not in YAML 1.2.
_UNPRINTABLE = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]"
_MARKER = r"\n(?:---|\.\.\.)(?=[ \t\n])"
_BLANKS = r"[ \t]*"
_SPACES = r" *"
_ANCHOR_NAME = r"[^ \t\n,\[\]{}]*"
_QUOTED_KEY = r"""(?:"[^"\\\n]*(?:\\[^\n][^"\\\n]*)*"|'[^'\n]*(?:''[^'\n]*)*')[ \t]*:"""
# In a block, and within brackets, where YAML readers differ on '?a' and ':a'.
_PLAIN_START = (r"[^ \t\n?:,\[\]{}#&*!|>'\"%@`-]|[?:-][^ \t\n]", r"[^ \t\n?:,\[\]{}#&*!|>'\"%@`-]|-[^ \t\n,\[\]{}]")
_PLAIN_END = (r":(?=[ \t\n])|[ \t]#|\n", r":(?=[ \t\n,\[\]{}])|[ \t]#|[\n,\[\]{}]")
_NUMBER = (r"(?P<int>[-+]?[0-9]+)|0o(?P<oct>[0-7]+)|0x(?P<hex>[0-9a-fA-F]+)"
           r"|(?P<float>[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)")
_CONSTANTS = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None, "true": True, "True": True, "TRUE": True,
    "false": False, "False": False, "FALSE": False,
    **{sign + form: float(sign + "inf") for sign in ("", "+", "-") for form in (".inf", ".Inf", ".INF")},
    ".nan": float("nan"), ".NaN": float("nan"), ".NAN": float("nan")}
_ESCAPES = {
    "0": "\0", "a": "\a", "b": "\b", "t": "\t", "\t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b", " ": " ",
    '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029"}
_INLINE: dict[str, Callable[[_Document, int, int, int], tuple[Any, int]]] = {
    "'": _single, '"': _double, "[": _flow_list, "{": _flow_map, "*": _alias}
_REFUSED = {
    "!": "a tag is not read: it would run or guess something", "|": "a literal block is not read: write it in double quotes",
    ">": "a folded block is not read: write it in double quotes", "?": "a '? ' key is not read: write 'key: value'",
    "%": "a directive is not read", "&": "an anchor stands before a value, once", "#": "a comment needs a blank before its '#'",
    "-": "a list starts on a line of its own", ":": "a ':' without a key", "@": "'@' starts no value: quote it",
    "`": "'`' starts no value: quote it"}


# ---------------------------------------------------------------------------------------------------------------------
# The table: all runs of a root as rows and columns. It writes nothing.
# ---------------------------------------------------------------------------------------------------------------------

if TYPE_CHECKING:
    _Block = dict[str, Sequence[Any]]                   # a few runs: by column a cell a run, or one cell for all of them
    # A run: the signature of its file; its block, or the bytes to make one of, or why there is none; its id; its place there.
    _Read = tuple[Optional[int], Any, int, int]
    _Task = tuple[str, Optional[_Read]]                 # a file, what is known of its run
    _Column = tuple[str, Sequence[Any], set[type]]      # a key, its cells as in a block, their types
    _Path = Union[str, os.PathLike[str]]

_TEXTS_KEPT = 1 << 15                                   # distinct values remembered while a table is read
_AT_ONCE = 128                                          # files that are parsed at a time: as many as a CPU's cache holds
_FIRST_READS, _SLOW_READ, _READERS, _WINDOW = 32, 0.0005, 16, 512


class Index:
    """Read the runs of a root as one table.

        info = exman.Index("exman").info()              # every run; .info("best"): the runs marked best
        for i, ex in info.iterrows():
            print(ex.id, ex.lr, ex.root / "plot.png")
    """

    def __init__(self, root: _Path) -> None:
        from pathlib import Path
        self.root = Path(os.path.abspath(os.fsdecode(root)))
        self._known: dict[str, _Read] = {}              # by run, as last read

    def info(self, mark: _Path | None = None) -> Any:
        """Return a DataFrame with a row a run, sorted by id; without pandas, a list of dicts.

        Columns: id, time, root (the run's folder, a Path), then the parameters in the order they first appear. An unknown
        mark is a KeyError; a run that cannot be read costs its row and a warning.
        """
        import gc
        try:
            import pandas
        except ImportError:
            pandas = None
        collecting = gc.isenabled()
        gc.disable()                                    # rows make no cycles to look for among all objects of a notebook
        try:
            rows, problems = self._read(mark)
            if pandas is None:
                table: Any = _dicts(_columns(rows), len(rows))
            else:
                # As Series, for the constructor of a frame would guess: str from objects, seconds from times.
                columns = {key: pandas.Series(*_series(key, cells, kinds, len(rows))) for key, cells, kinds in _columns(rows)}
                table = pandas.DataFrame(columns, copy=False)
        finally:
            if collecting:
                gc.enable()
        if problems:
            import warnings
            for problem in problems:
                warnings.warn(problem, stacklevel=2)
        return table

    def _read(self, mark: _Path | None) -> tuple[list[_Read], list[str]]:
        """The rows by id and what kept others out. Files that are as they were are not read again."""
        root = os.fspath(self.root)
        problems: list[str] = []
        try:
            paths = _indexed(root) if mark is None else _marked(root, mark, problems)
        except OSError as error:
            return [], [f"no runs in {root!r}: {error.strerror}: check the path"]
        known = self._known
        found: dict[str, _Read] = {}
        reader = _Reader(self.root / "runs")
        fetched = _fetched(zip(paths.values(), map(known.get, paths)))
        pairs = zip(paths, _counted(fetched, len(paths)))
        for window in iter(lambda: dict(itertools.islice(pairs, _AT_ONCE)), {}):
            window.update(reader.made({name: read for name, read in window.items() if type(read[1]) is bytes}))
            found.update(window)
        reader.make_paths()
        self._known = found if mark is None else {**known, **found}
        rows = [read for read in found.values() if type(read[1]) is dict]
        rows.sort(key=lambda row: row[2])               # stable: runs of one number stay in the order of their names
        if len(rows) < len(found):
            problems += [f"{paths[name]!r} is left out of the table: {why}"
                         for name, (_, why, _, _) in found.items() if type(why) is str and why]
        return rows, problems


def _rows(root: _Path | Index, mark: _Path | None = None) -> tuple[list[str], list[dict[str, Any]], list[str]]:
    """The names of the columns, a dict a run with all of them, and a sentence for each run that could not be read."""
    rows, problems = (root if isinstance(root, Index) else Index(root))._read(mark)
    columns = [*_columns(rows)]
    return [key for key, _, _ in columns], _dicts(columns, len(rows)), problems


def _dicts(columns: Iterable[_Column], count: int) -> list[dict[str, Any]]:
    cells_by_key = {key: _all(cells, count) for key, cells, _ in columns}
    return [dict(zip(cells_by_key, cells)) for cells in zip(*cells_by_key.values())]


def _all(cells: Sequence[Any], count: int) -> Sequence[Any]:
    return cells if len(cells) == count else [*cells] * count


def _columns(rows: list[_Read]) -> Iterator[_Column]:
    """Each column, None where a run lacks the parameter."""
    pieces: list[tuple[_Block, int, list[int]]] = []    # a block, how many runs of it; which ones, where these are not all
    for _, group in itertools.groupby(rows, lambda row: id(row[1])):
        taken = [*group]
        block = taken[0][1]
        places = [place for _, _, _, place in taken]
        pieces.append((block, len(places), [] if places == [*range(len(block["id"]))] else places))
    for key in dict.fromkeys(["id", "time", "root", *itertools.chain.from_iterable([block for block, _, _ in pieces])]):
        columns = [block.get(key, (None,)) for block, _, _ in pieces]
        cells: list[Any] = []
        if all(len(column) == 1 for column in columns) and len({id(cell) for cell, in columns}) == 1:
            cells += columns[0]
        else:
            for column, (_, count, chosen) in zip(columns, pieces):
                cells += _all(column, count) if len(column) == 1 else [column[place] for place in chosen] if chosen else column
        kinds = set(map(type, cells))
        yield key, cells if kinds.isdisjoint(_NESTED) else _own(_all(cells, len(rows))), kinds


_NESTED = frozenset([list, dict])


def _own(cells: Sequence[Any]) -> list[Any]:
    """Lists and dicts of the caller's own in each cell."""
    shared = {id(cell): cell for cell in cells}
    if all(type(cell) is list and _NESTED.isdisjoint(map(type, cell)) for cell in shared.values()):
        return [cell[:] for cell in cells]
    import copy
    return [copy.deepcopy(cell) for cell in cells]


def _series(key: str, cells: Sequence[Any], kinds: set[type], count: int) -> tuple[Any, range, str]:
    """The data, index and dtype of a pandas Series."""
    dtype = _dtype(key, cells, kinds)
    # Of one cell for all pandas makes a column of numbers sooner than of a list; but of None it makes NaN.
    return _all(cells, count) if dtype == "object" or len(cells) == count else cells[0], range(count), dtype


def _dtype(key: str, cells: Sequence[Any], kinds: set[type]) -> str:
    """The pandas dtype that holds every cell unchanged, None among numbers aside."""
    if key == "time":
        return "datetime64[ns]"
    if kinds == {bool}:
        return "bool"
    if kinds == {float}:
        return "float64"
    if kinds == {int} or key == "id" and not kinds:
        return "int64" if -1 << 63 <= min(cells, default=0) and max(cells, default=0) < 1 << 63 else "object"
    if kinds <= {int, float, type(None)} and kinds != {type(None)} and kinds:
        try:
            return "float64" if all(float(cell) == cell for cell in cells if type(cell) is int) else "object"
        except OverflowError:
            return "object"
    return "object"


_PRINTABLE = bytes(range(32, 127))


class _Reader:
    """Makes rows of files, many at a time: of files with the same keys, the same line of all at once.

    Line by line is the same as the full parser: a line is taken only if it reads `key: text`, its key a plain string at
    column 0, and the text complete by itself. Whatever could make it part of something larger (an indented line, `- `, an
    open quote or bracket, an alias) is no such line, and sends its file to load_yaml.
    """

    def __init__(self, runs: pathlib.Path) -> None:
        from datetime import datetime
        self._runs, self._time = runs, datetime.fromisoformat
        self._blocks: list[_Block] = []
        self._values: dict[bytes, Any] = {}             # of texts, each parsed once; numbers are faster parsed than looked up
        self._keys: dict[tuple[bytes, ...], tuple[str, ...]] = {}   # of lines what stands before the values -> the keys
        self._floats = re.compile(rb"(?:-?[0-9]{1,18}\.[0-9]{1,18}(?:e[-+][0-9]{1,3})?\n)*").fullmatch
        self._ints = re.compile(rb"(?:-?[0-9]{1,18}\n)*").fullmatch

    def made(self, files: dict[str, _Read]) -> dict[str, _Read]:
        """The rows of files that have been read; where there is none, why. Their roots are names, until make_paths()."""
        made: dict[str, _Read] = {}
        if files:
            # All at once; if they differ, those with the same keys; if one of these is broken, each by itself.
            self._make(files, made, _starts, id)
        for name in files.keys() - made.keys():
            made[name] = self._slowly(name, *files[name])
        return made

    def make_paths(self) -> None:
        """Make the Paths in one go: in between, they would lie scattered in memory, at a tenth of the table's time."""
        for block in self._blocks:
            block["root"] = [self._runs / name for name in block["root"]]

    def _make(self, files: dict[str, _Read], made: dict[str, _Read], *tests: Callable[[bytes], Any]) -> None:
        """Make the rows of those that exman wrote: of all at once, or if that fails, of those alike by a test."""
        try:
            made.update(self._alike(files))
        except ValueError:
            groups: dict[Any, dict[str, _Read]] = {}
            for name, read in files.items() if tests else ():
                groups.setdefault(tests[0](read[1]), {})[name] = read
            for group in groups.values():
                self._make(group, made, *tests[1:])

    def _alike(self, files: dict[str, _Read]) -> Iterator[tuple[str, _Read]]:
        """The rows of files with the same keys; ValueError where one of them has others, or is not as exman wrote it."""
        # Each starts at a NUL, and no other line gets through with one: no line is taken for that of another file.
        *lines, rest = b"\0".join([b"", *[read[1] for read in files.values()]]).split(b"\n")
        size = len(lines) // len(files)
        if rest or len(lines) != size * len(files):
            raise ValueError("other keys")
        first, *columns, roots, moments, numbers = [lines[at::size] for at in range(size)]
        columns.insert(0, _behind(b"\0", first))
        named = [name.split("-", 1) for name in files]
        ids = [int(number) for number, _ in named]
        times = _times([stamp for _, stamp in named])
        # Name, root, time and id agree until somebody renames or moves the run.
        if (not _are_times(times) or not _are(roots, "root: runs/%s\n", files) or not _are(moments, "time: '%s'\n", times)
                or not _are(numbers, "id: %d\n", ids)):
            raise ValueError("renamed or moved")
        params = [column for column in columns if not self._are_comments(column)]
        starts = [column[0].partition(b": ") for column in params]
        keys = self._plain_keys(tuple([key + colon for key, colon, _ in starts]))
        block: _Block = {"id": ids, "time": [*map(self._time, times)], "root": [*files]}
        for key, (start, colon, text), column in zip(keys, starts, params):
            same = column.count(column[0]) == len(column)
            block[key] = [self._value(text)] if same else self._parsed(_behind(start + colon, column))
        self._blocks.append(block)
        return zip(files, zip([read[0] for read in files.values()], itertools.repeat(block), ids, range(len(ids))))

    def _are_comments(self, lines: list[bytes]) -> bool:
        if not lines[0].startswith(b"# "):
            return False
        return not b"".join(_behind(b"# ", lines)).translate(None, _PRINTABLE)

    def _parsed(self, texts: list[bytes]) -> list[Any]:
        """The values of texts of one key."""
        lines = b"\n".join([*texts, b""])
        return [*map(float if self._floats(lines) else int if self._ints(lines) else self._value, texts)]

    def _value(self, text: bytes) -> Any:
        if text not in self._values:
            if len(self._values) >= _TEXTS_KEPT:
                self._values.clear()
            self._values[text] = _scalar_line_value(text.decode())
        return self._values[text]

    def _plain_keys(self, starts: tuple[bytes, ...]) -> tuple[str, ...]:
        """The keys of lines that start like this; ValueError where they are not plain ones."""
        if starts not in self._keys:
            keys = tuple([start[:-2].decode() for start in starts])
            plain = keys and all(re.fullmatch(b"[A-Za-z_][A-Za-z0-9_]*: ", start) for start in starts)
            if (not plain or not {"root", "time", "id"}.isdisjoint(keys)
                    or load_yaml("".join([f"{key}: 0\n" for key in keys])) != dict.fromkeys(keys, 0)):
                raise ValueError("keys that are not plain")
            self._keys[starts] = keys
        return self._keys[starts]

    def _slowly(self, name: str, signature: int | None, content: bytes, *_: int) -> _Read:
        """The row of any run, or in a sentence why there is none."""
        number, stamp = name.split("-", 1)
        iso, = _times([stamp])
        try:
            if not _are_times([iso]):
                raise ValueError(f"no such time as {iso}")
            time = self._time(iso)
            record = _load_record(content.decode())
            for key in record:
                if type(key) is not str:
                    raise ValueError(f"the key {key!r:.80} is no name")
        except ValueError as error:                     # YAMLError and UnicodeDecodeError are
            reason = f"byte {error.start} is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
            return signature, f"{reason}: mend it, or take the run out with `exman delete {name}`", 0, 0
        root, _, _ = record.pop("root", None), record.pop("time", None), record.pop("id", None)
        part = next((part for part in ("tmp", "fails") if root == f"{part}/{name}"), "runs")
        cells = {"id": int(number), "time": time, "root": self._runs.parent / part / name, **record}
        return signature, {key: [cell] for key, cell in cells.items()}, int(number), 0


def _times(stamps: list[str]) -> list[str]:
    """['2026-11-23-13-27-00-NAME'] -> ['2026-11-23T13:27:00'], in all of them at once."""
    times = bytearray("\n".join([stamp[:19] for stamp in stamps]).encode())
    for place, char in ((10, b"T"), (13, b":"), (16, b":")):
        times[place::20] = char * len(stamps)
    return times.decode().split("\n")


def _are(lines: list[bytes], form: str, values: dict[str, Any] | list[Any]) -> bool:
    """Whether the lines are those that a format makes of the values."""
    return b"\n".join([*lines, b""]) == (form * len(values) % tuple(values)).encode()


def _are_times(times: list[str]) -> bool:
    """Whether datetime64[ns], which ends in 2262, holds all of them; newer Pythons take the hour 24."""
    return "1678" <= min(times) and max(times) < "2262" and "T24" not in "".join(times)


def _behind(prefix: bytes, lines: Sequence[bytes]) -> list[bytes]:
    """What stands behind the prefix of each line; ValueError where one does not start with it."""
    first, *texts = (b"\n" + b"\n".join(lines)).split(b"\n" + prefix)
    if first or len(texts) != len(lines):
        raise ValueError(prefix)
    return texts


def _starts(content: bytes) -> tuple[bytes, ...]:
    """What stands before the first ':' of each line: it tells files with other keys apart."""
    return tuple([line.partition(b":")[0] for line in content.split(b"\n")])


# Numbers to YAML 1.2 and text to YAML 1.1, which exman 0.1.x wrote without quotes: 08, 1e5, 1.5e3, -.5, 0o17.
_TEXT_IN_1_1 = (r"[-+]?0[0-9]+|0o[0-7]+|[-+]?[0-9]+[eE][-+]?[0-9]+|[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+)[eE][0-9]+"
                r"|[-+]\.[0-9]+(?:[eE][-+]?[0-9]+)?")


def _load_record(text: str) -> dict[Any, Any]:
    """A run's parameters with the values that were parsed, whichever exman recorded them; this one quotes such text."""
    if not re.search(f"[ \\[](?:{_TEXT_IN_1_1})", text):
        return load_yaml(text)
    return _parse_yaml(text, _in_record(_resolve))[0]


def _in_record(plain: Callable[[str], Any]) -> Callable[[str], Any]:
    """What makes a value of a plain scalar, for the file of a run."""
    in_1_1 = _pattern(_TEXT_IN_1_1)
    return lambda text: text if in_1_1.fullmatch(text) else plain(text)


def _fetched(tasks: Iterator[_Task]) -> Iterator[_Read]:
    """What _fetch says of each task, in order; many readers where one by one is slow, as on a network mount."""
    start = time.perf_counter()
    first = [*map(_fetch, itertools.islice(tasks, _FIRST_READS))]
    slow = time.perf_counter() - start > _SLOW_READ * _FIRST_READS
    yield from first
    if not slow:
        yield from map(_fetch, tasks)
        return
    from concurrent.futures import ThreadPoolExecutor
    with ThreadPoolExecutor(_READERS) as readers:
        # Window by window: what has been read and not yet used stays small.
        for window in iter(lambda: [*itertools.islice(tasks, _WINDOW)], []):
            yield from readers.map(_fetch, window)


def _fetch(task: _Task) -> _Read:
    """A file's signature and bytes; what is known if it has not changed since; why it cannot be read."""
    path, known = task
    try:
        if known is not None:
            info = os.stat(path)
            if _signature(info) == known[0]:
                return known
        file = os.open(path, _READ_FLAGS)
        try:
            info = os.fstat(file)
            content = os.read(file, 1 << 16)
            if len(content) != info.st_size or not content:
                content += _rest_of(file, info, len(content))
        finally:
            os.close(file)
        return _signature(info), content, 0, 0
    except OSError as error:
        return None, _unread(path, error), 0, 0


def _signature(info: os.stat_result) -> int:
    """Tells the versions of a file apart: inode, size and mtime as one number, for a table keeps one a run."""
    return hash((info.st_ino, info.st_size, info.st_mtime_ns))


def _rest_of(file: int, info: os.stat_result, size: int) -> bytes:
    """What stands behind the first `size` bytes of a file, where they are not all that its size promised."""
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "no regular file")
    with open(file, "rb", closefd=False) as rest:
        content = rest.read(_MAX_YAML + 1 - size)
    if size + len(content) > _MAX_YAML:
        raise OSError(errno.EFBIG, f"larger than {_MAX_YAML >> 20} MiB")
    return content


def _unread(path: str, error: OSError) -> str:
    """Why a file could not be read and what to do; nothing if its entry has been taken away meanwhile."""
    folder, file = os.path.split(path)
    if isinstance(error, FileNotFoundError):
        if not os.path.lexists(folder if file == "params.yaml" else path):
            return ""
        return "its link dangles: take it away with `exman fix`"
    name = os.path.basename(re.sub(r"([/\\]params)?\.yaml\Z", "", path))
    return f"{error.strerror}: mend it, or take the run out with `exman delete {name}`"


def _counted(fetched: Iterator[_Read], total: int) -> Iterator[_Read]:
    """Pass on what is fetched; past two seconds a line on the terminal says how far it is."""
    if sys.stderr is None or sys.stderr.closed or not sys.stderr.isatty():
        return fetched
    return _reported(fetched, total)


def _reported(fetched: Iterator[_Read], total: int) -> Iterator[_Read]:
    due, width = time.monotonic() + 2, 0
    try:
        for count, item in enumerate(fetched):
            if time.monotonic() > due:
                line = f"exman: {count} of {total} runs"
                due, width = time.monotonic() + 0.1, len(line)
                print("\r" + line, end="", file=sys.stderr, flush=True)
            yield item
    finally:
        if width:
            print("\r" + " " * width + "\r", end="", file=sys.stderr, flush=True)


def _indexed(root: str) -> dict[str, str]:
    """Run name -> path of its entry in the index, sorted."""
    folder = os.path.join(root, "index")
    try:
        entries = os.listdir(folder)
    except FileNotFoundError:
        os.stat(root)                                   # its error says that there is no root; without an index it has no runs
        return {}
    folder = os.path.join(folder, "")
    return {entry[:-5]: folder + entry for entry in sorted(filter(_pattern(_ENTRY_NAME).fullmatch, entries))}


def _marks(root: str) -> list[str]:
    """All marks that have an entry, directly or below."""
    return _marks_of(_mark_entries(root, []))


def _marks_of(entries: Iterable[tuple[str, str, str]]) -> list[str]:
    marks = set()
    for mark in {mark for mark, _, _ in entries}:
        while mark:
            marks.add(mark)
            mark = mark.rpartition("/")[0]
    return sorted(marks)


def _marked(root: str, mark: _Path, problems: list[str] | None = None) -> dict[str, str]:
    """Run name -> path to read, sorted, for the runs of a mark and of those below it; KeyError for an unknown mark."""
    from pathlib import PurePath
    problems = [] if problems is None else problems
    entries = list(_mark_entries(root, problems))
    marks = _marks_of(entries)
    wanted = PurePath(mark).as_posix()
    # Looked up among the marks found, a key that is absolute or climbs opens nothing.
    if wanted not in marks:
        there = f"there are {', '.join(map(repr, marks))}" if marks else f"{root!r} has none"
        raise KeyError("; ".join([f"no mark {wanted!r}: {there}", *problems]))
    found: dict[str, str] = {}
    for at, name, path in entries:
        if (at + "/").startswith(wanted + "/"):
            found.setdefault(name, path)
    home = os.path.join(os.path.realpath(root), "")
    for name, path in found.items():
        folder, file = os.path.split(path)
        if file == "params.yaml" and not os.path.realpath(path).startswith(home):
            found[name] = folder                        # left to be refused: a folder is no file
    return dict(sorted(found.items()))


def _mark_entries(root: str, problems: list[str]) -> Iterator[tuple[str, str, str]]:
    """(mark, run name, path to read) of every entry, the outer marks first. Links to folders are not entered."""
    folders = [("", os.path.join(root, "marked"))]
    for mark, folder in folders:                        # it grows while it is walked
        try:
            with os.scandir(folder) as listing:
                entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in listing)
        except FileNotFoundError:
            continue
        except OSError as error:
            problems.append(f"{folder!r} is left out of the marks: {error.strerror}")
            continue
        for entry, is_folder in entries:
            path = os.path.join(folder, entry)
            if mark and _pattern(_ENTRY_NAME).fullmatch(entry):
                yield mark, entry[:-5], path
            elif mark and _pattern(_RUN_NAME).fullmatch(entry):   # exman 0.1.x linked the run's folder
                yield mark, entry, os.path.join(path, "params.yaml")
            elif is_folder and not entry.startswith("."):
                folders.append((f"{mark}/{entry}" if mark else entry, path))


# ---------------------------------------------------------------------------------------------------------------------
# The command line: `exman`, `python -m exman` and `python exman.py` are one program.
# ---------------------------------------------------------------------------------------------------------------------

class _NotFound(Exception):
    """What was asked for is not there: one line on stderr, exit status 1."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line on argv (default: sys.argv[1:]) and return the exit status: 0, 1 (not found); 2 is a usage error.

        exman.main(["mark", "best", "12"])
    """
    parser = _shell_parser()
    if "_ARGCOMPLETE" in os.environ:                    # the shell asks argcomplete for words
        try:
            import argcomplete
        except ImportError:                             # installed for another interpreter
            return 1
        argcomplete.autocomplete(parser)
    args, rest = parser.parse_known_args(argv)
    if any(word.startswith("-") for word in rest) or (rest and not hasattr(args, args.many)):
        args.usage_error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:                                            # `ls best --all lr=0.1`: argparse stops at the option
        getattr(args, args.many).extend(rest)
    if sys.stdout is None:                              # `exman fix >&-`
        sys.stdout = open(os.devnull, "w")
    elif hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")       # a parameter may hold what this terminal cannot show
    return _act(args.verb, os.path.abspath(args.root) if args.root else _root_here(), args)


def _act(verb: Callable[[str, Any], int], root: str, args: Any) -> int:
    """Run a verb; what it does not find, or cannot do, is one line on stderr and status 1."""
    try:
        status = verb(root, args)
        if sys.stdout is not None:                      # `python main.py mark best 3 >&-`
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130                                      # as shells tell it
    except BrokenPipeError:                             # `exman ls | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        _say(_reason(error))
    except (_NotFound, KeyError, ValueError) as error:
        _say(str(error.args[0]))
    return 1


def _root_here() -> str:
    """The working directory where that is a root, else ./exman. A folder `runs` alone may be another program's."""
    if os.path.isdir(".ids") or (os.path.isdir("runs") and os.path.isdir("index")):
        return os.getcwd()
    return os.path.abspath("exman")


def _mark_verb(argv: Sequence[str], prog: str, root: str) -> int:
    """`python main.py mark <key> <#run>...`: the verb of the shell on the script's own root."""
    parser = argparse.ArgumentParser(prog=f"{prog} mark", description="Mark runs: info(KEY) and `exman ls KEY` list them.")
    parser.add_argument("key", type=_argument(_check_mark), metavar="KEY", help="a name, which may nest: best, best/lr")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run's number, or its folder's name")
    return _act(_verb_mark, root, parser.parse_args(argv[1:]))


def _argument(check: Callable[[str], str]) -> Callable[[str], str]:
    """A check as a type=, so that its words reach the usage error."""
    def checked(text: str) -> str:
        try:
            return check(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    return checked


def _shell_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="exman", description="List, compare, mark and delete recorded runs.")
    parser.add_argument("--version", action="version", version=f"exman {__version__}")
    parser.add_argument("--root", metavar="DIR", help="the root of the runs (default: the working directory, or ./exman)")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", dest="verb_name")
    verbs.required = True

    def verb(name: str, act: Callable[[str, Any], int], text: str, example: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=f"example: {example}")
        sub.add_argument("--root", metavar="DIR", default=argparse.SUPPRESS, help="the root of the runs")
        sub.set_defaults(verb=act, usage_error=sub.error, many="words" if name == "ls" else "runs")
        return sub

    ls = verb("ls", _verb_ls, "list runs, the newest last", "exman ls best lr=0.1 model=resnet18")
    ls.add_argument("words", nargs="*", metavar="MARK|key=value",
                    help="runs of this mark, and of those nested in it; runs where this parameter has this value")
    ls.add_argument("--all", action="store_true", help="all parameters, also those that do not differ or do not fit")
    form = ls.add_mutually_exclusive_group()
    form.add_argument("--csv", action="store_true", help="for other programs: comma-separated values")
    form.add_argument("--json", action="store_true", help="for other programs: a list of objects")
    diff = verb("diff", _verb_diff, "show the parameters that differ between two runs", "exman diff 3 7")
    diff.add_argument("a", metavar="A", help="a run's number, or its folder's name")
    diff.add_argument("b", metavar="B", help="another's")
    cmd = verb("cmd", _verb_cmd, "print the shell line that makes a run again, without its yaml", "exman cmd 12")
    cmd.add_argument("run", metavar="RUN", help="a run's number, or its folder's name")
    for name, act, text in (("mark", _verb_mark, "mark runs"), ("unmark", _verb_unmark, "take marks away, the runs stay")):
        sub = verb(name, act, text, f"exman {name} best 3 12")
        sub.add_argument("key", metavar="KEY", type=_argument(_check_mark), help="a name, which may nest: best, best/lr")
        sub.add_argument("runs", metavar="RUN", nargs="+", help="a run's number, or its folder's name")
    verb("marks", _verb_marks, "list the marks, with the number of their runs", "exman marks")
    delete = verb("delete", _verb_delete, "take runs out of index and marks", "exman delete --all 12")
    delete.add_argument("runs", metavar="RUN", nargs="+", help="a run's number, or its folder's name")
    delete.add_argument("--all", action="store_true", help="delete their files too")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    verb("fix", _verb_fix, "make index links that are missing, take away those that dangle", "exman fix")
    return parser


def _existing_root(root: str) -> str:
    if not os.path.isdir(root):
        raise _NotFound(f"there is no root at {_shown(root)}: give --root DIR, or change to its folder")
    return root


def _named_runs(root: str, words: Sequence[str], parts: Sequence[str]) -> tuple[list[tuple[str, str]], list[str]]:
    """The (part, name) of each run that a word names, and a line for each word that names none."""
    names = {part: _run_names(_existing_root(root), part) for part in _PARTS}
    found: list[tuple[str, str]] = []
    missing = []
    for word in words:
        hits = [(part, name) for part in _PARTS for name in names[part] if _is_named(name, word)]
        if hits and hits[0][0] in parts:
            found += hits[:1] if hits[0] not in found else []
        elif hits:
            missing.append(f"run {word} is in {hits[0][0]}/: {'a --tmp run' if hits[0][0] == 'tmp' else 'it failed'}")
        else:
            missing.append(f"no run {word!r:.99}{_nearest(word, [name for part in parts for name in names[part]])}")
    return found, missing


def _existing_mark(root: str, key: str) -> dict[str, str]:
    """Run name -> path of its entry, for the runs of a mark."""
    try:
        return _marked(root, key)
    except KeyError:
        marks = _marks(root)
    known = f": there are {', '.join(marks):.999}" if marks else ": there are none"
    near = f": id={key} is the run of that number" if _is_number(key) else _nearest(key, marks)
    raise _NotFound(f"no mark {key!r:.99}{near or known}") from None


def _nearest(word: str, names: Sequence[str]) -> str:
    """A hint for a word that is not among the names, or ''."""
    import difflib
    if _is_number(word):
        numbers = sorted({_number(name) for name in names}, key=lambda number: (abs(number - int(word)), number))[:3]
        return f": the nearest are {', '.join(map(str, sorted(numbers)))}" if numbers else ": there are no runs"
    near = difflib.get_close_matches(word, names, 1)
    return f": did you mean {near[0]}?" if near else ""


def _one_run(root: str, word: str) -> tuple[str, dict[str, Any], str]:
    """The name, the parameters and the yaml of the run that a word names."""
    found, missing = _named_runs(root, [word], _PARTS)
    if missing:
        raise _NotFound(missing[0])
    path = os.path.join(root, *found[0], "params.yaml")
    text = _read_text(path)
    try:
        params = _load_record(text)
    except YAMLError as error:
        raise _NotFound(f"{path}: {error}") from None
    return found[0][1], {key: value for key, value in params.items() if key not in _OWN_KEYS}, text


def _verb_ls(root: str, args: Any) -> int:
    marks = [word for word in args.words if "=" not in word or ("/" in word and word in _marks(root))]
    if len(marks) > 1:
        args.usage_error(f"one mark at a time, not {', '.join(marks)}")
    _existing_root(root)
    if marks:
        _existing_mark(root, marks[0])
    columns, rows, problems = _rows(root, marks[0] if marks else None)
    for problem in problems:
        _say(problem)
    for row in rows if "name" not in columns else ():   # of --name, which is in the folder's name alone
        row["name"] = "".join(row["root"].name.split("-", 7)[7:])
    for word in args.words:
        key, equals, text = word.partition("=")
        if equals and word not in marks and rows:
            if key not in rows[0]:
                known = f": there are {', '.join(map(str, columns)):.999}"
                raise _NotFound(f"no parameter {key!r:.99}{_nearest(key, [*map(str, rows[0])]) or known}")
            rows = [row for row in rows if _is_value(row[key], text)]
    if args.json:
        import json
        print(json.dumps([{key: _json_cell(row[key]) for key in columns} for row in rows], indent=1))
    elif args.csv:
        import csv
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_csv_cell(row[key]) for key in columns] for row in rows)
    else:
        _print_table(columns, rows, args.all)
    return 0


def _is_value(value: Any, text: str) -> bool:
    """Whether a cell is what somebody typed: lr=0.1, lr=1e-1, model=resnet18, sizes='[64, 32]'."""
    if value is None or isinstance(value, str):
        return text == (value if value is not None else "null") or (value is None and text.lower() in ("", "none"))
    given = _resolve(text)
    if _same(given, value) or text == _flow(value) or text == str(value):
        return True
    if type(value) in (list, dict):
        try:
            return _same(load_yaml(f"value: {text}\n")["value"], value)         # [64,32] is [64, 32]
        except YAMLError:
            return False
    return type(given) in (int, float) and type(value) in (int, float) and given == value


def _json_cell(value: Any) -> Any:
    """A cell as every JSON reader takes it: nan and the infinities as text, which float() reads."""
    value = _plain_cell(value)
    if type(value) is list:
        return [_json_cell(item) for item in value]
    if type(value) is dict:
        return {key: _json_cell(item) for key, item in value.items()}
    return str(value) if type(value) is float and value - value != 0 else value


def _csv_cell(value: Any) -> str:
    value = _plain_cell(value)
    if type(value) in (list, dict):
        import json
        return json.dumps(value)
    return "" if value is None else value if isinstance(value, str) else str(value)


def _plain_cell(value: Any) -> Any:
    """A cell as JSON holds it: a Path and a time as text, as in params.yaml."""
    if value is None or type(value) in (bool, int, float, str, list, dict):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _print_table(columns: list[str], rows: list[dict[str, Any]], everything: bool) -> None:
    """Aligned columns that fit the terminal: numbers to the right, and only what differs between the runs."""
    if not rows:
        _say("no runs")
        return
    shown = [key for key in columns if key not in ("id", "time", "root")]
    if not everything and len(rows) > 1:
        shown = [key for key in shown if len({_cell_text(row[key]) for row in rows}) > 1]
    named = ["name"] if "name" not in columns and any(row["name"] for row in rows) else []
    keys = ["id", "time", *named, *shown]
    right = [all(type(row[key]) in (int, float, type(None)) for row in rows) for key in keys]
    table = [[str(key) for key in keys], *([_cell_text(row[key]) for key in keys] for row in rows)]
    width = 0 if everything else _terminal_width()
    widths = _fitted(table, right, 0)
    if sum(widths) + 2 * len(widths) - 2 > width > 0:
        _shorten(table, [[row[key] for key in keys] for row in rows])
        widths = _fitted(table, right, width)
    while sum(widths) + 2 * len(widths) - 2 > width > 0 and len(widths) > 2:
        widths.pop()                                    # the columns that were added last leave first
    for cells in table:
        print("  ".join(map(_padded, cells, widths, right)).rstrip())
    if len(widths) < len(keys):
        sys.stdout.flush()                              # said last, where a long table leaves it in sight
        _say(f"not shown for lack of room (--all shows them): {', '.join(map(str, keys[len(widths):])):.200}")


def _fitted(table: list[list[str]], right: list[bool], width: int) -> list[int]:
    """The width of each column; where all do not fit, long texts and headings shrink, numbers and times never."""
    for most in (10**9, 32, 24, 16, 12, 10):
        widths = []
        for index, cells in enumerate(zip(*table)):
            whole = max(map(_text_width, cells[1:] if right[index] else cells[:2] if index == 1 else ()), default=0)
            widths.append(max(whole, min(most, max(map(_text_width, cells)))))
        if not width or sum(widths) + 2 * len(widths) - 2 <= width:
            break
    return widths


def _shorten(table: list[list[str]], values: list[list[Any]]) -> None:
    """2026-11-23 13:27:00 -> 11-23 13:27, the year only where it differs; 0.00035481338923357 -> 0.00035481."""
    start = 5 if len({cells[1][:4] for cells in table[1:]}) == 1 else 0
    for cells, row in zip(table[1:], values):
        cells[1] = cells[1][start:16]
        cells[2:] = [f"{value:.5g}" if type(value) is float and len(cell) > 8 else cell
                     for cell, value in zip(cells[2:], row[2:])]


def _padded(text: str, width: int, right: bool) -> str:
    if _text_width(text) > width:
        while _text_width(text) >= width:
            text = text[:-1]
        text += "~"
    blanks = " " * (width - _text_width(text))
    return blanks + text if right else text + blanks


def _text_width(text: str) -> int:
    """The cells that a text takes on a terminal, where Chinese and emoji take two."""
    if text.isascii():
        return len(text)
    import unicodedata
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def _cell_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value if value.isprintable() else ascii(value)[1:-1]
    if hasattr(value, "isoformat"):
        return str(value.isoformat(" "))
    return _flow(value) if type(value) in (bool, int, float, list, dict) else str(value)


def _terminal_width() -> int:
    """The width that the table must fit, in characters; 0 where a program reads it."""
    if not sys.stdout.isatty():
        return 0
    import shutil
    return shutil.get_terminal_size().columns


def _verb_diff(root: str, args: Any) -> int:
    (_, one, _), (_, other, _) = _one_run(root, args.a), _one_run(root, args.b)
    different = [key for key in {**one, **other} if key not in one or key not in other or not _same(one[key], other[key])]
    for key in different:
        sides = [_flow(params[key]) if key in params else "(none)" for params in (one, other)]
        print(f"{_cell_text(key)}: {sides[0]} -> {sides[1]}")
    if not different:
        _say("no parameter differs")
    return 0


def _verb_cmd(root: str, args: Any) -> int:
    import shlex
    import shutil
    name, _, text = _one_run(root, args.run)
    line = next((line for line in text.split("\n") if line.startswith(_ARGV)), None)
    if line is None:
        raise _NotFound(f"{name} does not say how it was launched: run it with --config")      # one of exman 0.1.x, for example
    words = [_text(word) for word in load_yaml(f"argv: {line[len(_ARGV):]}\n")["argv"]]
    python = "python" if shutil.which("python") or not shutil.which("python3") else "python3"
    line = " ".join([python, *map(shlex.quote, words)]) + "\n"
    if hasattr(sys.stdout, "buffer"):
        sys.stdout.buffer.write(line.encode("utf-8", "surrogateescape"))       # undecodable words as they were typed
    else:
        print(line, end="")
    return 0


def _verb_mark(root: str, args: Any) -> int:
    found, missing = _named_runs(root, args.runs, ("runs",))
    for _, name in found:
        _mark(root, args.key, name, _is_shared(root))
    for line in missing:
        _say(f"{line}: not marked")
    return 1 if missing else 0


def _is_shared(root: str) -> bool:
    """Whether the group may write in this root, as shared=True makes it: then it may write what a verb makes there."""
    return os.name == "posix" and bool(os.stat(os.path.join(root, "runs")).st_mode & stat.S_IWGRP)


def _verb_unmark(root: str, args: Any) -> int:
    entries = _existing_mark(_existing_root(root), args.key)
    status = 0
    for word in args.runs:
        names = [name for name in entries if _is_named(name, word)]
        for name in names:
            for entry in _entries_below(root, args.key, name):
                _unlink(entry)
        if not names:
            _say(f"run {word!r:.99} is not marked {args.key!r}{_nearest(word, list(entries))}")
            status = 1
    return status


def _verb_marks(root: str, args: Any) -> int:
    entries = [*_mark_entries(_existing_root(root), [])]
    runs = {mark: {name for at, name, _ in entries if (at + "/").startswith(mark + "/")} for mark in _marks_of(entries)}
    if not runs:
        _say("no marks")
    width = max(map(_text_width, map(_cell_text, runs)), default=0)
    for mark, names in runs.items():
        print(f"{_padded(_cell_text(mark), width, False)}  {len(names)}")
    return 0


def _verb_delete(root: str, args: Any) -> int:
    import shutil
    found, missing = _named_runs(root, args.runs, _PARTS)
    if args.all and found and not args.yes and sys.stdin is not None and sys.stdin.isatty():
        names = ", ".join(name for _, name in found)
        print(f"delete {names} with all files? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            _say("nothing was deleted")
            return 1
    for part, name in found:
        _unlist(root, name)
        if not args.all and part != "runs":
            _say(f"run {_number(name)} is in {part}/ and so in no index: --all deletes its files")
        if args.all:                                    # hidden first: a kill leaves no run without its files in sight
            hidden = os.path.join(root, part, f".{name}.deleted")
            os.rename(os.path.join(root, part, name), hidden)
            with _naming(hidden):
                shutil.rmtree(hidden)
    for line in missing:
        _say(f"{line}: not deleted")
    return 1 if missing else 0


def _verb_fix(root: str, args: Any) -> int:
    runs = set(_run_names(_existing_root(root), "runs"))
    index = os.path.join(root, "index")
    entries = set(_indexed(root))
    dangling = {entry for entry in entries if entry not in runs or not os.path.exists(os.path.join(index, f"{entry}.yaml"))}
    for name in sorted(dangling):
        _unlink(os.path.join(index, f"{name}.yaml"))
        print(f"took away index/{_shown(name)}.yaml: it led nowhere")
    for name in sorted(runs - (entries - dangling)):
        if os.path.isfile(os.path.join(root, "runs", name, "params.yaml")):
            _link(root, os.path.join("index", f"{name}.yaml"), name, _is_shared(root))
            print(f"made index/{_shown(name)}.yaml")
        else:
            _say(f"runs/{_shown(name)} has no params.yaml: left alone")
    for mark, name, _ in [*_mark_entries(root, [])]:
        for entry in _entries_below(root, mark, name) if name not in runs else ():
            if _unlink(entry):
                print(f"took away {_shown(os.path.relpath(entry, root))}: its run is gone")
    return 0


if __name__ == "__main__":
    sys.exit(main())
