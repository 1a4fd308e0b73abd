"""Memory of a step is there for the next."""

import subprocess
import sys

import pytest

PAGES = """
import ctypes, resource
from contextlib import nullcontext
import torch
from recsys.training.memory import kept_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        torch.empty(12_000_000).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()

faults()
plain = faults()
with kept_memory():
    faults()
    kept = faults()
    held = [torch.ones(1_000_000) for _ in range(50)]
    full = resident()
    del held
print(plain, kept, full - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="of glibc")
def test_freed_memory_is_used_again_and_goes_back_at_the_end():
    done = subprocess.run([sys.executable, "-c", PAGES], capture_output=True, text=True, check=True)
    plain, kept, given_back = map(int, done.stdout.split())
    # Each of the 50 arrays has 11,718 pages; one that is used again needs none of them anew.
    assert kept < 100 < plain / 10
    assert given_back > 150_000_000
