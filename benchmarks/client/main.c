/* The command line of the benchmark's client: fanout_client OPTION=VALUE ...
 *
 * It prints a line of JSON when the measured time is known, {"begin","end",...}, and another with
 * the result after it; the mode `resume` prints only the result, `pace` nothing.
 */
#include "client.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

typedef struct {
    const char *name;
    enum { TEXT, INTEGER, LONG, NUMBER, SWITCH } kind;
    void *into;
} Known;

static Options options = {.mode = "read", .path = "/", .header = "", .protocol = "", .message = "",
                          .connections = 1, .at_once = 100, .stalled_path = "/", .first = -1,
                          .rate = 100, .seconds = 5, .warm_up = 1, .reply = ""};

static const Known known[] = {
    {"mode", TEXT, &options.mode}, /* read, resume, post, publish, pace */
    {"port", INTEGER, &options.port},
    {"path", TEXT, &options.path},
    {"header", TEXT, &options.header},     /* one more request header */
    {"websocket", SWITCH, &options.websocket},
    {"protocol", TEXT, &options.protocol}, /* the WebSocket subprotocol that is offered */
    {"message", TEXT, &options.message},   /* what a WebSocket reader says first; what a publisher
                                              says, with @ for the event */
    {"reply", TEXT, &options.reply},       /* the text that acknowledges a publication */
    {"tls", SWITCH, &options.tls},
    {"connections", INTEGER, &options.connections},
    {"at_once", INTEGER, &options.at_once},           /* connecting at a time */
    {"stalled", INTEGER, &options.stalled},           /* further readers that stop reading */
    {"stalled_path", TEXT, &options.stalled_path},
    {"wanted", LONG, &options.wanted},                /* resume: events until a reader is done */
    {"first", LONG, &options.first},                  /* resume: the tick that must come first */
    {"rate", NUMBER, &options.rate},                  /* pace: events a second */
    {"seconds", NUMBER, &options.seconds},            /* measured, after warm_up */
    {"warm_up", NUMBER, &options.warm_up},
    {"nap", INTEGER, &options.nap}, /* milliseconds between two looks at the sockets */
};

static void set_option(char *argument) {
    char *value = strchr(argument, '=');
    if (value == NULL) fail("%s is no OPTION=VALUE", argument);
    *value++ = 0;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].name, argument) != 0) continue;
        switch (known[i].kind) {
        case TEXT: *(const char **)known[i].into = value; return;
        case INTEGER: *(int *)known[i].into = atoi(value); return;
        case LONG: *(long *)known[i].into = atol(value); return;
        case NUMBER: *(double *)known[i].into = atof(value); return;
        case SWITCH: *(bool *)known[i].into = strcmp(value, "1") == 0; return;
        }
    }
    fail("no option %s", argument);
}

static void allow_descriptors(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int count, char **arguments) {
    static const struct {
        const char *name;
        void (*run)(const Options *);
    } modes[] = {{"read", run_readers},
                 {"resume", run_resuming},
                 {"post", run_http_publishers},
                 {"publish", run_websocket_publisher},
                 {"pace", run_paced_publisher}};
    for (int i = 1; i < count; i++) set_option(arguments[i]);
    allow_descriptors();
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(modes[i].name, options.mode) != 0) continue;
        modes[i].run(&options);
        return 0;
    }
    fail("no mode %s", options.mode);
}
