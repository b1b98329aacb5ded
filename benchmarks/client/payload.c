/* The events of the benchmark, and the clock that dates them. */
#include "client.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static int64_t read_clock(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec;
}

int64_t now_ns(void) { return read_clock(CLOCK_MONOTONIC); }

double cpu_seconds(void) { return (double)read_clock(CLOCK_PROCESS_CPUTIME_ID) / SECOND; }

size_t payload(char out[PAYLOAD_BYTES + 1], int64_t tick, int64_t due) {
    int written = snprintf(out, PAYLOAD_BYTES, "{\"tick\":%lld,\"due\":%lld,\"padding\":\"",
                           (long long)tick, (long long)due);
    memset(out + written, 'x', PAYLOAD_BYTES - 2 - (size_t)written);
    memcpy(out + PAYLOAD_BYTES - 2, "\"}", 3);
    return PAYLOAD_BYTES;
}

static int64_t number(const char **text, const char *end) {
    int64_t value = 0;
    const char *p = *text;
    while (p < end && *p >= '0' && *p <= '9') value = value * 10 + (*p++ - '0');
    *text = p;
    return value;
}

bool next_event(const char **text, const char *end, int64_t *tick, int64_t *due) {
    static const char TICK[] = "\"tick\":", DUE[] = ",\"due\":";
    const char *p = memmem(*text, (size_t)(end - *text), TICK, sizeof TICK - 1);
    if (p == NULL) return false;
    p += sizeof TICK - 1;
    *tick = number(&p, end);
    size_t due_size = sizeof DUE - 1;
    if ((size_t)(end - p) <= due_size || memcmp(p, DUE, due_size) != 0)
        fail("an event that is none of the benchmark's: %.*s", (int)(end - *text), *text);
    p += due_size;
    *due = number(&p, end);
    *text = p;
    return true;
}

_Noreturn void fail(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("fan-out client: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(1);
}
