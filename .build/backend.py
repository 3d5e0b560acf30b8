"""Builds exman's wheel and sdist (PEP 517, PEP 660) with the standard library alone.

Nothing is fetched, nothing is left in the clone, and what is built twice is the same to the byte.
"""
from __future__ import annotations

import ast
import base64
import gzip
import hashlib
import io
import pathlib
import shutil
import tarfile
import zipfile

import stubs

ROOT = pathlib.Path(__file__).resolve().parent.parent
SDIST = [".build/backend.py", ".build/stubs.py", "LICENSE", "README.md", "exman.py", "pyproject.toml",
         "test_exman.py"]
KEYS = {"name", "dynamic", "description", "readme", "keywords", "classifiers", "requires-python",
        "dependencies"}

# Nothing stays in the clone, the bytecode of this import neither.
shutil.rmtree(str(ROOT / ".build" / "__pycache__"), ignore_errors=True)


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, "exman.py", _read("exman.py"))


def build_editable(wheel_directory, config_settings=None, metadata_directory=None):
    return _wheel(wheel_directory, "exman.pth", f"{ROOT}\n")


def build_sdist(sdist_directory, config_settings=None):
    folder = f"exman-{_version()}"
    files = {name: (ROOT / name).read_bytes() for name in SDIST}
    files["PKG-INFO"] = _metadata().encode()
    path = pathlib.Path(sdist_directory, f"{folder}.tar.gz")
    with path.open("wb") as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for name in sorted(files):
                member = tarfile.TarInfo(f"{folder}/{name}")        # of 1970, nobody's, 0644
                member.size = len(files[name])
                archive.addfile(member, io.BytesIO(files[name]))
    return path.name


def _wheel(directory, module, content):
    """Write a wheel with exman.py itself, or with the .pth file that leads to it."""
    name = f"exman-{_version()}"
    info = f"{name}.dist-info"
    files = {
        module: content,
        "exman-stubs/__init__.pyi": stubs.stub(_read("exman.py")),
        f"{info}/licenses/LICENSE": _read("LICENSE"),
        f"{info}/METADATA": _metadata(),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: exman\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": _entry_points(),
    }
    record = [f"{path},{_digest(text)},{len(text.encode())}" for path, text in files.items()]
    files[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""])
    wheel = pathlib.Path(directory, f"{name}-py3-none-any.whl")
    with zipfile.ZipFile(str(wheel), "w") as archive:       # not packed: each zlib packs in its own way
        for path, text in files.items():
            member = zipfile.ZipInfo(path)                  # of 1980, as every file of a ZipInfo
            member.create_system = 3                        # on Windows too: Unix, whose modes these are
            member.external_attr = 0o100644 << 16
            archive.writestr(member, text.encode())
    return wheel.name


def _digest(text):
    digest = hashlib.sha256(text.encode()).digest()
    return "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _metadata():
    """What pyproject.toml says, as the core metadata that setuptools makes of it, with README.md behind."""
    tables = _tables()
    project = tables["project"]
    unknown = set(project) - KEYS
    if unknown or project["dependencies"]:
        raise ValueError(f".build/backend.py does not know what to do with {unknown or 'dependencies'}")
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {_version()}",
        f"Summary: {project['description']}",
        f"Author: {tables['project.authors']['name']}",
        f"License: {tables['project.license']['text']}",
        f"Keywords: {','.join(project['keywords'])}",
        *(f"Classifier: {classifier}" for classifier in project["classifiers"]),
        f"Requires-Python: {project['requires-python']}",
        "Description-Content-Type: text/markdown",
        "License-File: LICENSE",
    ]
    for extra, packages in tables["project.optional-dependencies"].items():
        lines += [f"Provides-Extra: {extra}"]
        lines += [f'Requires-Dist: {package}; extra == "{extra}"' for package in packages]
    return "\n".join([*lines, "Dynamic: license-file", "", _read("README.md")])


def _entry_points():
    scripts = _tables()["project.scripts"].items()
    return "\n".join(["[console_scripts]", *(f"{name} = {target}" for name, target in scripts), ""])


def _tables():
    """{name: {key: value}} of the tables of pyproject.toml that begin with `project`.

    Their values are strings and lists of strings, which TOML writes as Python does: Python 3.8 has no
    tomllib.
    """
    tables = {}
    name = ""
    lines = iter(_read("pyproject.toml").splitlines())
    for line in lines:
        if line.startswith("["):
            name = line.strip("[]")
        elif name.startswith("project") and line and not line.startswith("#"):
            key, value = line.split(" = ", 1)
            tables.setdefault(name, {})[key] = _value(value, lines)
    return tables


def _value(text, lines):
    while True:
        try:
            return ast.literal_eval(text)
        except SyntaxError:                     # a list that goes on in the next line
            text += "\n" + next(lines)


def _version():
    """The version, which stands in exman.py alone."""
    start = "__version__ = "
    [line] = [line for line in _read("exman.py").splitlines() if line.startswith(start)]
    return ast.literal_eval(line[len(start):])


def _read(name):
    return (ROOT / name).read_text(encoding="utf-8")
