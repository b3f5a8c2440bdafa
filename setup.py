"""The list of native extensions and the one set of compiler directives; everything else stands in pyproject.toml."""

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).parent
sys.path.insert(0, str(ROOT / "src" / "esa_core"))
from tables import generate  # noqa: E402  (character tables, written beside the sources that include them)

generate.write_all()

BUILT = os.environ.get("ESA_CORE_BUILT") == "1"  # `make install`: the core stands beside its sources already
DEBUG = os.environ.get("ESA_CORE_DEBUG") == "1"  # `make core-debug`: bounds checks, ASan, UBSan
SANITIZE = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g", "-O1"]
# The debug build also tells a fuzzer which way it went: the Makefile has built what that calls, see tests/fuzz/native.
TRACER = os.environ.get("ESA_FUZZ_LIBRARY", "")
TRACE = ["-fsanitize-coverage=trace-pc,trace-cmp"] if TRACER else []
WRAP = ["-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc"] if TRACER else []  # a test makes them fail
TRACED = {"extra_objects": [f"{TRACER}/trace.o"], "libraries": ["esafuzz"], "library_dirs": [TRACER], "runtime_library_dirs": [TRACER]}
COVERAGE = os.environ.get("ESA_CORE_COVERAGE") == "1"  # `make coverage`: gcov counts lines
COUNT = ["-O0", "-g0", "--coverage", "-fprofile-update=atomic"]
MODULES = [
    *("_document", "_parameter", "_boundary", "_header", "_media", "_tree", "_inflate", "_cms", "_rtf", "_tnef", "_uuencode", "_reading"),
    *("_mime", "_utf8", "_unicode_forms", "_east_asian", "_charset", "_transfer", "_field", "_field_text"),
    *("_compose", "_fold", "_disguise", "_place", "_text", "_text_links", "_parsed"),
    *("_entity", "_colour", "_style", "_sheet", "_look", "_reader", "_raw", "_link", "_element", "_inner", "_html", "_domain", "_url"),
    *("_image", "_grams", "_identifiers", "_anchors", "_shapes", "_program", "_results", "_masked"),
    *("_terms", "_automaton", "_features", "_lexicon", "_names", "_tokens", "_tally", "_link_facts", "_facts", "_cards"),
    *(
        "_linear",
        "_mail_data",
        "_smtp_parameters",
        "_smtp_content",
        "_smtp",
        "_rates",
        "_group_writer",
        "_batch",
        "_steps",
        "_fields",
        "_addresses",
        "_header_lines",
        "_json_lines",
    ),
]

extensions = [
    Extension(
        f"esa_core.{name}",
        [f"src/esa_core/{name}.pyx"],
        include_dirs=["src/esa_core", "src/esa_core/tables"],
        extra_compile_args=[*SANITIZE, *TRACE] if DEBUG else COUNT if COVERAGE else ["-O3", "-g0"],
        extra_link_args=[*WRAP, *(SANITIZE if DEBUG else ["--coverage"] if COVERAGE else [])],
        **(TRACED if TRACER else {}),
    )
    for name in MODULES
    if (ROOT / "src" / "esa_core" / f"{name}.pyx").exists()
]

setup(
    ext_modules=[]
    if BUILT
    else cythonize(
        extensions,
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": 3,
            "freethreading_compatible": True,
            "boundscheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": False,
            "auto_pickle": False,
            "embedsignature": True,
        },
    )
)
