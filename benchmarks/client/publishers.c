/* Publishers: as fast as the server acknowledges, over HTTP or one WebSocket, or at a steady rate. */
#include "client.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#define ANSWER 16384
#define WINDOW 64 /* publications under way on the one WebSocket */

typedef struct {
    Link link;
    int64_t sent_at;
    char answer[ANSWER];
    size_t size;
} Publisher;

static int64_t tick, begin, end;
static uint64_t acknowledged; /* in the measured time */

static void count_answer(Publisher *publisher, int64_t now) {
    if (now < begin || now >= end) return;
    acknowledged++;
    tally_latency(now - publisher->sent_at);
}

static void post(Publisher *publisher, const Options *options, int64_t stamp) {
    char body[PAYLOAD_BYTES + 1], request[1024];
    payload(body, tick++, stamp);
    int size = snprintf(request, sizeof request,
                        "POST %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                        options->path, options->port, PAYLOAD_BYTES, body);
    publisher->sent_at = stamp;
    publisher->size = 0;
    if (!link_send(&publisher->link, request, (size_t)size))
        fail("the server closed a publisher's connection");
}

/* Whether the whole answer is there: its head, and a body by its length or in chunks. */
static bool answered(const Publisher *publisher) {
    size_t head = head_size(publisher->answer, publisher->size);
    if (head == 0) return false;
    if (memcmp(publisher->answer, "HTTP/1.1 20", 11) != 0)
        fail("a publication was refused: %.*s", (int)publisher->size, publisher->answer);
    long length = head_number(publisher->answer, head, "content-length:");
    if (length >= 0) return publisher->size >= head + (size_t)length;
    if (!head_says(publisher->answer, head, "transfer-encoding: chunked")) return true;
    const char *body = publisher->answer + head;
    return memmem(body, publisher->size - head, "0\r\n\r\n", 5) != NULL;
}

/* Take what has arrived; false where nothing has. */
static bool receive(Publisher *publisher) {
    if (publisher->size == ANSWER) fail("an answer has over %d bytes", ANSWER);
    ssize_t got = link_receive(&publisher->link, publisher->answer + publisher->size,
                               ANSWER - publisher->size);
    if (got == LINK_CLOSED) fail("the server closed a publisher's connection");
    if (got > 0) publisher->size += (size_t)got;
    return got > 0;
}

static void announce(const Options *options) {
    begin = now_ns() + (int64_t)(options->warm_up * SECOND);
    end = begin + (int64_t)(options->seconds * SECOND);
    printf("{\"begin\":%lld,\"end\":%lld}\n", (long long)begin, (long long)end);
    fflush(stdout);
}

static void print_result(double busy_seconds, const Options *options) {
    printf("{\"published\":%llu,\"client_cpu_share\":%.4f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
           "\"max_ms\":%.3f}\n",
           (unsigned long long)acknowledged, busy_seconds / (options->seconds + options->warm_up),
           tally_rank_ms(0.5), tally_rank_ms(0.99), tally_max_ms());
    fflush(stdout);
}

void run_http_publishers(const Options *options) {
    Publisher *all = calloc((size_t)options->connections, sizeof *all);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (all == NULL || epoll < 0) fail("no memory or no epoll");
    for (int i = 0; i < options->connections; i++) {
        link_open(&all[i].link, options);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(epoll, EPOLL_CTL_ADD, all[i].link.fd, &event);
        post(&all[i], options, now_ns());
    }
    announce(options);
    double busy = -cpu_seconds();
    while (now_ns() < end) {
        struct epoll_event events[256];
        int ready = epoll_wait(epoll, events, 256, 20);
        for (int i = 0; i < ready; i++) {
            Publisher *publisher = events[i].data.ptr;
            if (!receive(publisher) || !answered(publisher)) continue;
            count_answer(publisher, now_ns());
            post(publisher, options, now_ns());
        }
    }
    print_result(busy + cpu_seconds(), options);
}

/* The next event as a message of the server's, `message` with the event in place of the @. */
static void publish_frame(Publisher *publisher, const Options *options) {
    char body[PAYLOAD_BYTES + 1], message[1024], frame[1100];
    const char *place = strchr(options->message, '@');
    if (place == NULL) fail("message has no @, which stands for the event");
    payload(body, tick++, now_ns());
    int size = snprintf(message, sizeof message, "%.*s%s%s", (int)(place - options->message),
                        options->message, body, place + 1);
    if (size < 0 || (size_t)size >= sizeof message) fail("the message is too long");
    if (!link_send(&publisher->link, frame, write_frame(frame, 1, message, (size_t)size)))
        fail("the server closed the publisher's connection");
}

/* How many acknowledgements the whole frames hold, which are then dropped. */
static int take_acknowledgements(Publisher *publisher, const Options *options) {
    size_t done = 0, whole, length = strlen(options->reply);
    Frame frame;
    int found = 0;
    while ((whole = read_frame(publisher->answer + done, publisher->size - done, &frame)) > 0) {
        done += whole;
        if (frame.opcode == 8) fail("the server closed the publisher's WebSocket");
        if (frame.opcode == 9 && frame.size < 126) {
            char pong[140];
            link_send(&publisher->link, pong, write_frame(pong, 10, frame.payload, frame.size));
        }
        const char *text = frame.payload, *text_end = text + frame.size;
        while ((text = memmem(text, (size_t)(text_end - text), options->reply, length)) != NULL) {
            found++;
            text += length;
        }
        if (memmem(frame.payload, frame.size, "\"type\":\"error\"", 14) != NULL)
            fail("a publication was refused: %.*s", (int)frame.size, frame.payload);
    }
    memmove(publisher->answer, publisher->answer + done, publisher->size - done);
    publisher->size -= done;
    return found;
}

static void await_readable(Publisher *publisher) {
    poll(&(struct pollfd){.fd = publisher->link.fd, .events = POLLIN}, 1, 20);
}

static void upgrade(Publisher *publisher, const Options *options) {
    char request[2048];
    size_t size = reading_request(request, sizeof request, options, options->path), head;
    link_open(&publisher->link, options);
    link_send(&publisher->link, request, size);
    int64_t latest = now_ns() + 10 * SECOND;
    while ((head = head_size(publisher->answer, publisher->size)) == 0) {
        if (now_ns() > latest) fail("the WebSocket was not opened");
        await_readable(publisher);
        receive(publisher);
    }
    if (memcmp(publisher->answer, "HTTP/1.1 101", 12) != 0)
        fail("refused: %.*s", (int)publisher->size, publisher->answer);
    memmove(publisher->answer, publisher->answer + head, publisher->size - head);
    publisher->size -= head;
}

void run_websocket_publisher(const Options *options) {
    static Publisher publisher;
    static int64_t sent_at[WINDOW]; /* acknowledgements come in the order of the publications */
    upgrade(&publisher, options);
    announce(options);
    double busy = -cpu_seconds();
    uint64_t sent = 0, answers = 0;
    while (now_ns() < end) {
        while (sent - answers < WINDOW) {
            sent_at[sent++ % WINDOW] = now_ns();
            publish_frame(&publisher, options);
        }
        await_readable(&publisher);
        if (!receive(&publisher)) continue;
        int64_t now = now_ns();
        for (int found = take_acknowledgements(&publisher, options); found > 0; found--) {
            publisher.sent_at = sent_at[answers++ % WINDOW];
            count_answer(&publisher, now);
        }
    }
    print_result(busy + cpu_seconds(), options);
}

/* Each event is stamped with when it is due and sent then, whether those before it were answered or
 * not: a server that is behind can't hide it. The answers are read, and dropped. */
void run_paced_publisher(const Options *options) {
    static Publisher publisher;
    link_open(&publisher.link, options);
    int64_t started = now_ns();
    for (int64_t n = 0;; n++) { /* until the benchmark ends this process */
        int64_t due = started + (int64_t)((double)n / options->rate * SECOND);
        struct timespec until = {due / SECOND, due % SECOND};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
        while (receive(&publisher)) {
            if (memmem(publisher.answer, publisher.size, "HTTP/1.1 4", 10) != NULL)
                fail("a publication was refused: %.*s", (int)publisher.size, publisher.answer);
            publisher.size = 0;
        }
        post(&publisher, options, due);
    }
}
