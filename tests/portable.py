"""Runs the tests under other instruction sets, numbers of threads and surroundings: `make test-portable`.

Each setting is a set of environment variables. A probe in a process of its own first says what they brought about, so
that a variable that a library no longer reads is noticed. onnxruntime, LightGBM and numba's kernels cannot be limited.

    python tests/portable.py [SETTING …] [-- PYTEST ARGUMENTS]
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

_UNITS = "data features funnel evaluation losses metrics nn ranking recall release retrieval scoring training"
NUMERIC = ("tests/contracts", "tests/pipelines", *(f"tests/unit/{name}" for name in _UNITS.split()))
"""Where floats are computed: what is left out is text, files, HTTP and the command line."""
EVERYTHING = ("tests",)
NOT = "not slow and not gpu and not network"
SETS = "X86_V4 AVX512_ICL AVX512_SPR"


@dataclass(frozen=True, slots=True)
class Setting:
    """Environment variables, which tests run under them, and what a probe then has to find.

    Attributes:
        variables: of the environment.
        paths: of the tests.
        expected: by what the probe names; only what is asked is compared.
        needs: an instruction set, in Linux' words, without which the setting says nothing.
    """

    variables: dict[str, str]
    paths: tuple[str, ...] = NUMERIC
    expected: dict[str, object] = field(default_factory=dict)
    needs: str = ""


SETTINGS = {
    "generic": Setting(
        {
            # Builds of FAISS that dispatch by themselves read the first, those that are several libraries the second.
            "FAISS_SIMD_LEVEL": "NONE",
            "FAISS_OPT_LEVEL": "generic",
            "OPENBLAS_CORETYPE": "Nehalem",
            "NPY_DISABLE_CPU_FEATURES": f"X86_V3 {SETS}",
            "ATEN_CPU_CAPABILITY": "default",
            "ONEDNN_MAX_CPU_ISA": "SSE41",
            "MKL_ENABLE_INSTRUCTIONS": "SSE4_2",
        },
        expected={"faiss": "NONE", "numpy": [], "openblas": "Nehalem", "torch": "DEFAULT", "mkl": "SSE4.2"},
        needs="sse4_2",
    ),
    "avx2": Setting(
        {
            "FAISS_SIMD_LEVEL": "AVX2",
            "FAISS_OPT_LEVEL": "avx2",
            "OPENBLAS_CORETYPE": "Haswell",
            "NPY_DISABLE_CPU_FEATURES": SETS,
            "ATEN_CPU_CAPABILITY": "avx2",
            "ONEDNN_MAX_CPU_ISA": "AVX2",
            "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        },
        expected={"faiss": "AVX2", "numpy": ["X86_V3"], "openblas": "Haswell", "torch": "AVX2", "mkl": "AVX2"},
        needs="avx2",
    ),
    "one-thread": Setting({"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}, expected={"threads": 1}),
    # torch lowers the number to that of the cores, for all of OpenMP.
    "four-threads": Setting(
        {"OMP_NUM_THREADS": "4", "OPENBLAS_NUM_THREADS": "4"}, expected={"threads": min(4, os.cpu_count() or 4)}
    ),
    # Dotted and dotless i in lower(), decimal commas in format(): the first that is installed.
    "locale": Setting({"LC_ALL": "tr_TR.UTF-8 de_DE.UTF-8 C"}, EVERYTHING),
    "time-zone": Setting({"TZ": "Asia/Kathmandu"}, EVERYTHING, {"utc_offset": 20_700}),
    # Not a folder: nobody can write there, root neither.
    "no-home": Setting({"HOME": os.devnull, "MPLCONFIGDIR": "", "XDG_CACHE_HOME": ""}, EVERYTHING, {"home": False}),
}

_PROBE = """
import json, os, time
import torch, faiss, numpy
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
from threadpoolctl import threadpool_info
blas = {p["architecture"] for p in threadpool_info() if p["internal_api"] == "openblas" and "numpy" in p["filepath"]}
torch.ones(64, 64) @ torch.ones(64, 64)
level = faiss.SIMDConfig.get_level_name() if hasattr(faiss, "SIMDConfig") else faiss.get_compile_options()
print("PROBE" + json.dumps({
    "faiss": level,
    "numpy": [name for name in __cpu_dispatch__ if __cpu_features__[name]],
    "openblas": " ".join(blas),
    "torch": torch.backends.cpu.get_cpu_capability(),
    "threads": faiss.omp_get_max_threads(),
    "utc_offset": time.localtime(1.7e9).tm_gmtoff,
    "home": os.access(os.path.expanduser("~"), os.W_OK | os.X_OK),
}))
"""
_MKL = {"SSE4.2": "(Intel(R) SSE4.2)", "AVX2": "(Intel(R) AVX2)", "AVX512": "AVX-512"}


def main(arguments: Sequence[str]) -> int:
    """Runs the settings asked for, prints a table, and gives the exit status: 1 when anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", nargs="*", metavar="SETTING", help=f"of {', '.join(SETTINGS)}; by default all")
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    asked = parser.parse_args(arguments[:end]).settings or list(SETTINGS)
    if unknown := sorted({*asked} - {*SETTINGS}):
        parser.error(f"unknown setting {', '.join(unknown)}; expected one of {', '.join(SETTINGS)}")
    rows = [(name, *_run(SETTINGS[name], list(arguments[end + 1 :]))) for name in asked]
    width = max(map(len, asked))
    print(f"\n{'setting':{width}}  result   minutes  in effect")
    for name, result, minutes, effect in rows:
        print(f"{name:{width}}  {result:7}  {minutes:7.1f}  {effect}")
    return int(any(result not in ("passed", "skipped") for _, result, _, _ in rows))


def _run(setting: Setting, own: list[str]) -> tuple[str, float, str]:
    if setting.needs and not _has(setting.needs):
        return "skipped", 0.0, f"this processor has no {setting.needs}"
    environment = _environment(setting.variables)
    found = _probed(environment)
    wrong = [
        f"{key}: found {found[key]}, expected {value}" for key, value in setting.expected.items() if found[key] != value
    ]
    if wrong:
        return "failed", 0.0, "the variables have no effect: " + "; ".join(wrong)
    paths = [] if any(argument.startswith("tests/") for argument in own) else setting.paths
    start = time.monotonic()
    code = subprocess.call([sys.executable, "-m", "pytest", "-q", "-m", NOT, *paths, *own], env=environment)
    effect = ", ".join(f"{key} {found[key]}" for key in setting.expected) or " ".join(
        f"{key}={environment[key]}" for key in setting.variables
    )
    return "passed" if code == 0 else "failed", (time.monotonic() - start) / 60, effect


def _environment(variables: dict[str, str]) -> dict[str, str]:
    chosen = {name: _installed(value) if name == "LC_ALL" else value for name, value in variables.items()}
    return {name: value for name, value in {**os.environ, **chosen}.items() if value}


def _installed(locales: str) -> str:
    """The first of some locales that this machine has."""
    have = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=True).stdout.lower().split()
    return next(name for name in locales.split() if name.lower().replace("utf-8", "utf8") in have)


def _probed(environment: dict[str, str]) -> dict[str, object]:
    command = [sys.executable, "-c", _PROBE]
    output = subprocess.run(
        command, env={**environment, "MKL_VERBOSE": "1"}, capture_output=True, text=True, check=True
    ).stdout
    found: dict[str, object] = json.loads(next(line[5:] for line in output.splitlines() if line.startswith("PROBE")))
    mkl = next((line for line in output.splitlines() if line.startswith("MKL_VERBOSE")), "")
    return found | {"mkl": next((name for name, text in _MKL.items() if text in mkl), "none")}


def _has(feature: str) -> bool:
    """Whether the processor has an instruction set; no other system than Linux on x86 is asked."""
    if platform.machine() != "x86_64" or not os.path.exists("/proc/cpuinfo"):
        return False
    with open("/proc/cpuinfo") as file:
        return feature in file.read().split()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
