"""A system clock that can be set while processes run: a preloaded library adds a number from a file to the time.

Every process that is started with ``environment()`` sees the step at the same moment, as after ``date --set`` or an NTP
step: Python's ``time.time``, ``datetime`` and every other caller of the C library. Monotonic clocks do not change.
"""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.required_tools import without

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile long *step;

static long seconds(void) {
    if (!step) {
        static volatile long none = 0;
        const char *path = getenv("CLOCK_STEP_FILE");
        int file = path ? open(path, O_RDONLY) : -1;
        void *shared = file < 0 ? MAP_FAILED : mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0);
        if (file >= 0) close(file);
        step = shared == MAP_FAILED ? &none : (volatile long *)shared;
    }
    return *step;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (!result && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += seconds();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec moment;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &moment);
    now->tv_sec = moment.tv_sec;
    now->tv_usec = moment.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec moment;
    clock_gettime(CLOCK_REALTIME, &moment);
    if (out) *out = moment.tv_sec;
    return moment.tv_sec;
}
"""


@dataclass(frozen=True)
class SteppedClock:
    """The library, and the file with the seconds that it adds (a C long in native byte order)."""

    library: Path
    file: Path

    def environment(self) -> dict[str, str]:
        """Return the environment variables for this clock; child processes inherit them."""
        return {"LD_PRELOAD": str(self.library), "CLOCK_STEP_FILE": str(self.file)}


def stepped_clock(folder: Path) -> SteppedClock:
    """Build the library in ``folder``; without a C compiler the test is skipped, or fails under CI=true."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        without("cc", "setting the clock of some processes only needs a C compiler (cc), which is not here")
    clock = SteppedClock(folder / "clock.so", folder / "clock_step")
    clock.file.write_bytes(bytes(8))
    (folder / "clock.c").write_text(SOURCE)
    words = [compiler, "-shared", "-fPIC", "-O1", "-o", str(clock.library), str(folder / "clock.c"), "-ldl"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return clock
