/* The benchmark's client: many connections in one thread, as cheap as can be, so that the core it
 * runs on is never what is measured. Times are nanoseconds on CLOCK_MONOTONIC, which all processes
 * of a machine share.
 *
 * Every event is a JSON object {"tick":N,"due":T,"padding":"..."}: N counts on without a hole, T is
 * when the event was due (or was published).
 */
#ifndef FANOUT_CLIENT_H
#define FANOUT_CLIENT_H

#define _GNU_SOURCE
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define SECOND 1000000000LL
#define PAYLOAD_BYTES 100

/* What the command line asks for; main.c says what each option means. */
typedef struct {
    const char *mode;
    int port;
    const char *path;
    const char *header;
    const char *protocol;
    const char *message;
    bool websocket;
    bool tls;
    int connections;
    int at_once;
    int stalled;
    const char *stalled_path;
    long wanted;
    long first;
    double rate;
    double seconds;
    double warm_up;
    int nap;
    const char *reply;
} Options;

/* payload.c: the events, and the clock. */
int64_t now_ns(void);
double cpu_seconds(void);
size_t payload(char out[PAYLOAD_BYTES + 1], int64_t tick, int64_t due);
/* The next event in text[0..size): true, its numbers, and where to look on; or false. */
bool next_event(const char **text, const char *end, int64_t *tick, int64_t *due);
_Noreturn void fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* link.c: a socket, with TLS where it is asked for. */
typedef struct {
    int fd;
    void *tls;
} Link;
enum { LINK_WAITS = -1, LINK_CLOSED = 0 };
void link_start(Link *link, const Options *options, int receive_buffer);
/* Finish connecting and the TLS handshake: true once done; else *events is what to wait for. */
bool link_ready(Link *link, const Options *options, uint32_t *events);
/* Bytes received, or LINK_CLOSED or LINK_WAITS. */
ssize_t link_receive(Link *link, char *into, size_t room);
/* Send all of it, waiting where the socket is full; false where the peer is gone. */
bool link_send(Link *link, const char *data, size_t size);
void link_open(Link *link, const Options *options);

/* frames.c: HTTP heads, chunks and WebSocket frames. */
typedef struct {
    enum { SIZE_LINE, DATA, DATA_END, RAW } part;
    uint64_t left;
    uint64_t chunks;
} Chunks;
size_t head_size(const char *text, size_t size);
bool head_says(const char *head, size_t size, const char *lowercase);
long head_number(const char *head, size_t size, const char *lowercase_name);
/* The body bytes among `size` bytes of a chunked body, copied to `out`; gives how many. */
size_t dechunk(Chunks *chunks, const char *data, size_t size, char *out);

typedef struct {
    int opcode;
    const char *payload;
    size_t size;
} Frame;
/* The frame that data[0..size) begins with: its whole size, or 0 where it isn't there yet. */
size_t read_frame(const char *data, size_t size, Frame *frame);
/* A client's frame; the masking key is 0, which leaves the payload as it is. */
size_t write_frame(char *out, int opcode, const char *payload, size_t size);
size_t reading_request(char *out, size_t room, const Options *options, const char *path);

/* tally.c: what was measured. */
void tally_latency(int64_t nanoseconds);
double tally_rank_ms(double rank);
double tally_max_ms(void);
uint64_t tally_count(void);

/* The modes. */
void run_readers(const Options *options);
void run_resuming(const Options *options);
void run_http_publishers(const Options *options);
void run_websocket_publisher(const Options *options);
void run_paced_publisher(const Options *options);

#endif
