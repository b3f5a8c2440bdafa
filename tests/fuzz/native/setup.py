"""Builds the targets of the fuzzer beside an esa_core: `setup.py build_ext --build-lib FOLDER`; see the Makefile.

With ESA_CORE_DEBUG=1 also under sanitizers; the core's modules then bring the tracing with them.
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

NATIVE = Path(__file__).parent
DEBUG = os.environ.get("ESA_CORE_DEBUG") == "1"
SANITIZE = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer", "-g", "-O1"]
LIBRARY = os.environ["ESA_FUZZ_LIBRARY"]  # the folder of libesafuzz.so
CORE = os.environ["ESA_CORE_SOURCES"]  # the folder above esa_core

setup(
    name="esa-fuzz",
    ext_modules=cythonize(
        [
            Extension(
                "esa_fuzz",
                [str(NATIVE / "targets.pyx")],
                include_dirs=[str(NATIVE), f"{CORE}/esa_core", f"{CORE}/esa_core/tables"],
                library_dirs=[LIBRARY],
                libraries=["esafuzz"],
                runtime_library_dirs=[LIBRARY],
                extra_compile_args=["-Wno-unused-function", *(SANITIZE if DEBUG else ["-O2", "-g0"])],
                extra_link_args=SANITIZE if DEBUG else [],
            )
        ],
        include_path=[CORE],
        build_dir=f"{LIBRARY}/generated",
        force=True,  # the Makefile knows when: times of sources that were copied or checked out say nothing
        compiler_directives={"language_level": 3, "boundscheck": True, "wraparound": False, "cdivision": True},
    ),
)
