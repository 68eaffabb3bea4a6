/* The C library's randomness, drawn from STELE_SIM_RANDOM where that is set, and a wall clock that stands still: hash keys and
 * generators that libraries seed by themselves, and the dates that they send, are then the same in each run. The roles have
 * another clock, and nothing but them goes by the wall. Linked into the program `simulation` only.
 *
 * Numbers are splitmix64's, counted by one atomic, so that any thread may ask. What is not the simulation's goes on to the C
 * library, whose own functions are looked up behind these. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

/* Where the wall clock stands, in seconds since the Unix epoch. */
static const time_t WALL = 1800000000;

static int seeded;
static uint64_t seed;
static _Atomic uint64_t drawn;

__attribute__((constructor)) static void begin(void) {
    const char *text = getenv("STELE_SIM_RANDOM");
    if (text != NULL) {
        seed = strtoull(text, NULL, 10);
        seeded = 1;
    } else {
        /* Some hash keys are made of addresses: the program that this one becomes has the same ones each time. */
        personality(ADDR_NO_RANDOMIZE);
    }
}

static uint64_t draw(void) {
    uint64_t z = seed + (atomic_fetch_add(&drawn, 1) + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static ssize_t fill(uint8_t *bytes, size_t length) {
    uint64_t number = 0;
    for (size_t i = 0; i < length; i++) {
        if (i % 8 == 0) {
            number = draw();
        }
        bytes[i] = (uint8_t)(number >> (i % 8 * 8));
    }
    return (ssize_t)length;
}

ssize_t getrandom(void *into, size_t length, unsigned int flags) {
    if (seeded) {
        return fill(into, length);
    }
    ssize_t (*real)(void *, size_t, unsigned int) = (ssize_t(*)(void *, size_t, unsigned int))dlsym(RTLD_NEXT, "getrandom");
    return real(into, length, flags);
}

int getentropy(void *into, size_t length) {
    if (length > 256) {
        errno = EIO;
        return -1;
    }
    return getrandom(into, length, 0) == (ssize_t)length ? 0 : -1;
}

/* Some libraries ask the kernel past the C library's functions. */
long syscall(long number, ...) {
    static _Atomic(void *) found;
    long a[6];
    va_list args;
    va_start(args, number);
    for (int i = 0; i < 6; i++) {
        a[i] = va_arg(args, long);
    }
    va_end(args);
    if (seeded && number == SYS_getrandom) {
        return fill((uint8_t *)a[0], (size_t)a[1]);
    }
    void *real = atomic_load(&found);
    if (real == NULL) {
        real = dlsym(RTLD_NEXT, "syscall");
        atomic_store(&found, real);
    }
    return ((long (*)(long, ...))real)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

int clock_gettime(clockid_t clock, struct timespec *into) {
    static _Atomic(void *) found;
    if (seeded && clock == CLOCK_REALTIME) {
        into->tv_sec = WALL;
        into->tv_nsec = 0;
        return 0;
    }
    void *real = atomic_load(&found);
    if (real == NULL) {
        real = dlsym(RTLD_NEXT, "clock_gettime");
        atomic_store(&found, real);
    }
    return ((int (*)(clockid_t, struct timespec *))real)(clock, into);
}
