"""What the comparisons need and the repository does not have, made or fetched once and kept under
${XDG_CACHE_HOME:-~/.cache}/millrace: a Python environment, random models, llama.cpp's benchmark."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / "bench/requirements.txt"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "millrace"
LLAMA = "llama-cpp-python==0.3.36"  # its source distribution has llama.cpp's
# Its kernels for AMX crashed in Q8_0 where they were tried.
LLAMA_FLAGS = "-mno-amx-tile -mno-amx-int8 -mno-amx-bf16"


def run(*command):
    subprocess.run([str(part) for part in command], check=True, stdout=sys.stderr)


def python():
    """-> the Python that has OpenVINO GenAI, numpy and gguf."""
    command = [ROOT / "tests/support/venv", REQUIREMENTS]
    folder = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    return pathlib.Path(folder) / "bin/python"


def keep(name, make):
    """-> CACHE/name, which make(path) makes if it is not there: whole or not at all."""
    path = CACHE / name
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE, prefix=".part-") as folder:
            part = pathlib.Path(folder) / name
            make(part)
            part.rename(path)
    return path


def model(shape, gguf_type=None):
    """-> a folder of random weights, or a GGUF file of the same."""
    arguments = ["--shape", shape, *(["--gguf", gguf_type] if gguf_type else [])]
    name = f"random-{shape}" + (f"-{gguf_type}.gguf" if gguf_type else "")
    return keep(name, lambda part: run(python(), ROOT / "bench/make-model", part, *arguments))


def build_llama(part):
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        fetch = ["download", "-q", "--no-deps", "--no-binary", LLAMA.partition("==")[0], LLAMA]
        run(python(), "-m", "pip", *fetch, "--dest", folder)
        run("tar", "-xzf", next(folder.glob("*.tar.gz")), "-C", folder)
        source = next(folder.glob("*/vendor/llama.cpp"))
        options = dict.fromkeys(("TESTS", "EXAMPLES", "SERVER", "APP", "UI"), "OFF")
        command = ["cmake", "-S", source, "-B", folder / "build", "-DCMAKE_BUILD_TYPE=Release"]
        command += [f"-DLLAMA_BUILD_{name}={value}" for name, value in options.items()]
        command += ["-DLLAMA_OPENSSL=OFF", "-DBUILD_SHARED_LIBS=OFF"]
        command += [f"-DCMAKE_{language}_FLAGS={LLAMA_FLAGS}" for language in ("C", "CXX")]
        run(*command)
        run("nice", "cmake", "--build", folder / "build", "--target", "llama-batched-bench")
        shutil.copy(folder / "build/bin/llama-batched-bench", part)


def llama_batched_bench():
    return keep(f"llama-batched-bench-{LLAMA.partition('==')[2]}", build_llama)
