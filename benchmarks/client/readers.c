/* Readers of one stream of events, on one epoll: live, resuming, idle, and some that stall.
 *
 * Each event is looked at: a reader's ticks must count on without a hole, and in the measured time
 * every reader must have received every event. An event's latency ends right after the recv that
 * brought it.
 */
#include "client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#define CONNECT_SECONDS 120
#define DRAIN_SECONDS 3 /* how long after the end the last events may take; then they are lost */
#define ARRIVAL (256 * 1024)
#define LONGEST_HEAD 16384
#define STALLED_RECEIVE_BUFFER 4096

typedef enum { CONNECTING, AWAITING_HEAD, STREAMING, STALLED, CLOSED } Stage;

typedef struct {
    Link link;
    Stage stage;
    bool stalls, finished;
    int64_t last;       /* tick; -1 before the first */
    uint64_t delivered; /* events of the measured time, or of those wanted */
    uint64_t comments, comments_before;
    Chunks chunks;
    char *kept; /* what is no whole line or frame yet */
    size_t kept_size, kept_room;
} Reader;

static struct {
    const Options *options;
    Reader *all;
    int count, started, connecting, connected, finished, closed, epoll;
    int64_t begin, end; /* of the measured time; in the far future while there is none */
    int64_t resumed_at;
    int64_t lowest, highest; /* ticks due in the measured time */
    uint64_t disordered, gaps, received, units;
    char *work;
    size_t work_room;
} load;

static void keep(Reader *reader, const char *data, size_t size) {
    if (size > reader->kept_room) {
        reader->kept_room = size + 256;
        reader->kept = realloc(reader->kept, reader->kept_room);
        if (reader->kept == NULL) fail("no memory");
    }
    if (size > 0) memmove(reader->kept, data, size);
    reader->kept_size = size;
}

static void watch(Reader *reader, uint32_t events, int how) {
    struct epoll_event event = {.events = events, .data.ptr = reader};
    if (epoll_ctl(load.epoll, how, reader->link.fd, &event) < 0)
        fail("epoll: %s", strerror(errno));
}

static void close_reader(Reader *reader) {
    epoll_ctl(load.epoll, EPOLL_CTL_DEL, reader->link.fd, NULL);
    close(reader->link.fd);
    reader->stage = CLOSED;
    load.closed++;
}

static void finish(Reader *reader) {
    if (!reader->finished) load.finished++;
    reader->finished = true;
}

/* One of the `wanted` events that a resuming reader has missed: it ends with the last of them. */
static void take_missed_event(Reader *reader, int64_t now) {
    if (reader->finished) return;
    reader->delivered++;
    if (reader->delivered < (uint64_t)load.options->wanted) return;
    tally_latency(now - load.resumed_at);
    finish(reader);
}

static void take_event(Reader *reader, int64_t tick, int64_t due, int64_t now) {
    bool expected = reader->last >= 0 ? tick == reader->last + 1
                                      : load.options->first < 0 || tick == load.options->first;
    load.disordered += !expected;
    reader->last = tick;
    if (load.options->wanted > 0) {
        take_missed_event(reader, now);
        return;
    }
    bool measured = due >= load.begin && due < load.end;
    bool received = now >= load.begin && now < load.end;
    load.received += received;
    if (measured) {
        reader->delivered++;
        if (tick < load.lowest) load.lowest = tick;
        if (tick > load.highest) load.highest = tick;
    }
    /* The late events of a server that is behind since before the measured time count, too. */
    if (measured || received) tally_latency(now - due);
    if (due >= load.end) finish(reader);
}

static bool take_events(Reader *reader, const char *text, size_t size, int64_t now) {
    int64_t tick, due;
    bool any = false;
    for (const char *end = text + size; next_event(&text, end, &tick, &due); any = true)
        take_event(reader, tick, due, now);
    return any;
}

static bool begins(const char *line, size_t size, const char *with) {
    return size >= strlen(with) && memcmp(line, with, strlen(with)) == 0;
}

/* The lines of an event stream (WHATWG HTML, section 9.2.6); gives how many bytes they were. */
static size_t take_lines(Reader *reader, const char *text, size_t size, int64_t now) {
    size_t done = 0;
    const char *newline;
    while ((newline = memchr(text + done, '\n', size - done)) != NULL) {
        const char *line = text + done;
        size_t length = (size_t)(newline - line);
        if (begins(line, length, "data:")) take_events(reader, line, length, now);
        else if (begins(line, length, ":")) reader->comments++;
        else if (begins(line, length, "event: gap")) load.gaps++;
        done += length + 1;
    }
    return done;
}

static size_t take_frames(Reader *reader, const char *data, size_t size, int64_t now) {
    size_t done = 0, whole;
    Frame frame;
    while ((whole = read_frame(data + done, size - done, &frame)) > 0) {
        done += whole;
        if (frame.opcode == 9 && frame.size < 126) { /* a ping */
            char pong[140];
            link_send(&reader->link, pong, write_frame(pong, 10, frame.payload, frame.size));
        } else if (frame.opcode == 8) {
            close_reader(reader);
            return done;
        } else if (take_events(reader, frame.payload, frame.size, now)) {
            load.units += now >= load.begin && now < load.end;
        } else if (memmem(frame.payload, frame.size, "\"type\":\"gap\"", 12) != NULL) {
            load.gaps++;
        }
    }
    return done;
}

static void take_bytes(Reader *reader, const char *data, size_t size, int64_t now) {
    size_t kept = reader->kept_size;
    if (kept + size > load.work_room) {
        load.work_room = kept + size + ARRIVAL;
        load.work = realloc(load.work, load.work_room);
        if (load.work == NULL) fail("no memory");
    }
    if (kept > 0) memcpy(load.work, reader->kept, kept);
    size_t done;
    if (load.options->websocket) {
        memcpy(load.work + kept, data, size);
        size += kept;
        done = take_frames(reader, load.work, size, now);
    } else {
        uint64_t chunks = reader->chunks.chunks;
        size = kept + dechunk(&reader->chunks, data, size, load.work + kept);
        if (now >= load.begin && now < load.end) load.units += reader->chunks.chunks - chunks;
        done = take_lines(reader, load.work, size, now);
    }
    if (reader->stage == STREAMING) keep(reader, load.work + done, size - done);
}

static void take_head(Reader *reader, char *data, size_t size, int64_t now) {
    size_t before = reader->kept_size;
    static char text[LONGEST_HEAD + ARRIVAL];
    if (before > LONGEST_HEAD) fail("the answer's head has over %d bytes", LONGEST_HEAD);
    if (before > 0) memcpy(text, reader->kept, before);
    memcpy(text + before, data, size);
    size += before;
    size_t head = head_size(text, size);
    if (head == 0) {
        keep(reader, text, size);
        return;
    }
    const char *wanted = load.options->websocket ? "HTTP/1.1 101" : "HTTP/1.1 200";
    if (!begins(text, head, wanted)) fail("refused: %.*s", (int)size, text);
    bool chunked = head_says(text, head, "transfer-encoding: chunked");
    reader->chunks = (Chunks){.part = chunked ? SIZE_LINE : RAW};
    reader->kept_size = 0;
    load.connecting--;
    load.connected++;
    const char *message = load.options->message;
    if (load.options->websocket && message[0]) {
        char frame[1024];
        if (strlen(message) > 1000) fail("the first message is too long");
        link_send(&reader->link, frame, write_frame(frame, 1, message, strlen(message)));
    }
    if (reader->stalls) {
        epoll_ctl(load.epoll, EPOLL_CTL_DEL, reader->link.fd, NULL);
        reader->stage = STALLED;
        return;
    }
    reader->stage = STREAMING;
    if (size > head) take_bytes(reader, text + head, size - head, now);
}

static void connect_on(Reader *reader) {
    uint32_t events = 0;
    if (!link_ready(&reader->link, load.options, &events)) {
        watch(reader, events, EPOLL_CTL_MOD);
        return;
    }
    const Options *options = load.options;
    char request[2048];
    const char *path = reader->stalls ? options->stalled_path : options->path;
    if (!link_send(&reader->link, request, reading_request(request, sizeof request, options, path)))
        fail("the server closed a connection before the request");
    reader->stage = AWAITING_HEAD;
    watch(reader, EPOLLIN, EPOLL_CTL_MOD);
}

static void on_readable(Reader *reader) {
    static char arrival[ARRIVAL];
    /* OpenSSL may hold more than one read gives; of a plain socket epoll tells again. */
    do {
        ssize_t got = link_receive(&reader->link, arrival, sizeof arrival);
        int64_t now = now_ns();
        if (got == LINK_WAITS) return;
        if (got == LINK_CLOSED) {
            if (reader->stage == AWAITING_HEAD) fail("a connection was closed without an answer");
            close_reader(reader);
            return;
        }
        if (reader->stage == AWAITING_HEAD) take_head(reader, arrival, (size_t)got, now);
        else take_bytes(reader, arrival, (size_t)got, now);
    } while (load.options->tls && reader->stage == STREAMING);
}

static void turn(void) {
    struct epoll_event events[4096];
    if (load.options->nap > 0) poll(NULL, 0, load.options->nap);
    int ready = epoll_wait(load.epoll, events, 4096, 20);
    for (int i = 0; i < ready; i++) {
        Reader *reader = events[i].data.ptr;
        if (reader->stage == CONNECTING) connect_on(reader);
        else if (reader->stage != CLOSED) on_readable(reader);
    }
}

static void turn_until(int64_t moment) {
    while (now_ns() < moment) turn();
}

/* Start connections, the stalled ones first, at most `at_once` of them without an answer yet. */
static void start_more(void) {
    const Options *options = load.options;
    while (load.started < load.count && load.connecting < options->at_once) {
        Reader *reader = &load.all[load.started++];
        reader->last = -1;
        reader->stalls = load.started <= options->stalled;
        link_start(&reader->link, options, reader->stalls ? STALLED_RECEIVE_BUFFER : 0);
        watch(reader, EPOLLOUT, EPOLL_CTL_ADD);
        load.connecting++;
    }
}

static void prepare(const Options *options) {
    load.options = options;
    load.count = options->connections + options->stalled;
    load.all = calloc((size_t)load.count, sizeof *load.all);
    load.epoll = epoll_create1(EPOLL_CLOEXEC);
    load.begin = load.end = load.lowest = INT64_MAX;
    load.highest = -1;
    if (load.all == NULL || load.epoll < 0) fail("no memory or no epoll");
}

static void connect_all(void) {
    int64_t latest = now_ns() + CONNECT_SECONDS * SECOND;
    while (load.connected < load.count) {
        start_more();
        turn();
        if (now_ns() > latest)
            fail("after %d s %d of %d were connected", CONNECT_SECONDS, load.connected, load.count);
    }
}

static void print_result(double busy_share) {
    uint64_t delivered = 0, comments = 0, fewest = UINT64_MAX;
    uint64_t published = load.highest < 0 ? 0 : (uint64_t)(load.highest - load.lowest + 1);
    int complete = 0;
    for (int i = load.options->stalled; i < load.count; i++) {
        const Reader *reader = &load.all[i];
        uint64_t own = reader->comments - reader->comments_before;
        delivered += reader->delivered;
        complete += reader->delivered == published;
        comments += own;
        if (own < fewest) fewest = own;
    }
    printf("{\"published\":%llu,\"delivered\":%llu,\"received\":%llu,\"complete_readers\":%d,"
           "\"finished_readers\":%d,\"disordered\":%llu,\"gaps\":%llu,\"closed\":%d,\"units\":%llu,"
           "\"comments\":%llu,\"fewest_comments\":%llu,\"client_cpu_share\":%.4f,"
           "\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}\n",
           (unsigned long long)published, (unsigned long long)delivered,
           (unsigned long long)load.received, complete, load.finished,
           (unsigned long long)load.disordered, (unsigned long long)load.gaps, load.closed,
           (unsigned long long)load.units, (unsigned long long)comments,
           (unsigned long long)fewest, busy_share, tally_rank_ms(0.5), tally_rank_ms(0.99),
           tally_max_ms());
    fflush(stdout);
}

void run_readers(const Options *options) {
    prepare(options);
    int64_t started = now_ns();
    connect_all();
    double took = (double)(now_ns() - started) / SECOND;
    load.begin = now_ns() + (int64_t)(options->warm_up * SECOND);
    load.end = load.begin + (int64_t)(options->seconds * SECOND);
    printf("{\"begin\":%lld,\"end\":%lld,\"connect_seconds\":%.3f}\n", (long long)load.begin,
           (long long)load.end, took);
    fflush(stdout);
    turn_until(load.begin);
    double busy = -cpu_seconds();
    for (int i = 0; i < load.count; i++) load.all[i].comments_before = load.all[i].comments;
    turn_until(load.end);
    busy += cpu_seconds();
    int64_t latest = load.end + DRAIN_SECONDS * SECOND;
    /* A stream without events has nothing to wait for. */
    while (load.highest >= 0 && load.finished < options->connections && now_ns() < latest) turn();
    print_result(busy / options->seconds);
}

void run_resuming(const Options *options) {
    prepare(options);
    double busy = -cpu_seconds();
    load.resumed_at = now_ns();
    load.lowest = 1;
    load.highest = options->wanted; /* what is to be delivered to each */
    int64_t latest = load.resumed_at + CONNECT_SECONDS * SECOND;
    while (load.finished < load.count && now_ns() < latest) {
        start_more();
        turn();
    }
    double took = (double)(now_ns() - load.resumed_at) / SECOND;
    print_result((busy + cpu_seconds()) / took);
}
