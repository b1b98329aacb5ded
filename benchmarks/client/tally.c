/* Latencies, counted by the microsecond: exact ranks of any number of them in bounded memory. */
#include "client.h"

#include <stdlib.h>

#define LONGEST 20000000 /* microseconds; what is longer counts as this long */

static uint32_t *counts;
static uint64_t total;
static int64_t longest;

void tally_latency(int64_t nanoseconds) {
    if (counts == NULL && (counts = calloc(LONGEST + 1, sizeof *counts)) == NULL)
        fail("no memory for the latencies");
    int64_t microseconds = nanoseconds / 1000;
    if (microseconds < 0) microseconds = 0;
    if (nanoseconds > longest) longest = nanoseconds;
    counts[microseconds > LONGEST ? LONGEST : microseconds]++;
    total++;
}

uint64_t tally_count(void) { return total; }

double tally_max_ms(void) { return (double)longest / 1e6; }

double tally_rank_ms(double rank) {
    if (total == 0) return 0;
    uint64_t before = (uint64_t)((double)(total - 1) * rank), seen = 0;
    for (int64_t microseconds = 0; microseconds <= LONGEST; microseconds++) {
        seen += counts[microseconds];
        if (seen > before) return (double)microseconds / 1e3;
    }
    return tally_max_ms();
}
