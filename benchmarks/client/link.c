/* A socket to the server on the loopback, non-blocking; TLS over it where it is asked for. */
#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#ifndef WITHOUT_TLS
#include <openssl/ssl.h>

static SSL *secure(int fd) {
    static SSL_CTX *context;
    if (context == NULL) { /* The certificate is made for the run: there is nobody to check it. */
        context = SSL_CTX_new(TLS_client_method());
        if (context == NULL) fail("OpenSSL gave no context");
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL);
        SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE);
    }
    SSL *tls = SSL_new(context);
    if (tls == NULL || SSL_set_fd(tls, fd) != 1) fail("OpenSSL gave no connection");
    SSL_set_connect_state(tls);
    return tls;
}

/* What OpenSSL waits for, as epoll events; 0 where the connection is lost. */
static uint32_t tls_waits_for(void *tls, int result) {
    int error = SSL_get_error(tls, result);
    return error == SSL_ERROR_WANT_READ ? EPOLLIN : error == SSL_ERROR_WANT_WRITE ? EPOLLOUT : 0;
}

static int tls_handshake(void *tls) { return SSL_do_handshake(tls); }
static int tls_read(void *tls, char *into, size_t room) { return SSL_read(tls, into, (int)room); }
static int tls_write(void *tls, const char *data, size_t n) { return SSL_write(tls, data, (int)n); }
#else
static void *secure(int fd) {
    (void)fd;
    fail("compiled without OpenSSL's headers, so without TLS");
}
static uint32_t tls_waits_for(void *tls, int result) { return (void)tls, (void)result, 0; }
static int tls_handshake(void *tls) { return tls == NULL; }
static int tls_read(void *tls, char *into, size_t room) { return (void)tls, *into = 0, (int)room; }
static int tls_write(void *tls, const char *p, size_t n) { return (void)tls, (void)p, (int)n; }
#endif

void link_start(Link *link, const Options *options, int receive_buffer) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    if (fd < 0) fail("no socket: %s", strerror(errno));
    if (receive_buffer > 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)options->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0 && errno != EINPROGRESS)
        fail("can't connect: %s", strerror(errno));
    *link = (Link){.fd = fd};
}

bool link_ready(Link *link, const Options *options, uint32_t *events) {
    if (!options->tls) return true;
    if (link->tls == NULL) link->tls = secure(link->fd);
    int result = tls_handshake(link->tls);
    if (result == 1) return true;
    *events = tls_waits_for(link->tls, result);
    if (*events == 0) fail("the TLS handshake failed");
    return false;
}

ssize_t link_receive(Link *link, char *into, size_t room) {
    if (link->tls != NULL) {
        int got = tls_read(link->tls, into, room);
        return got > 0 ? got : tls_waits_for(link->tls, got) ? LINK_WAITS : LINK_CLOSED;
    }
    ssize_t got = recv(link->fd, into, room, 0);
    if (got > 0) return got;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? LINK_WAITS : LINK_CLOSED;
}

static ssize_t send_some(Link *link, const char *data, size_t size) {
    if (link->tls != NULL) {
        int sent = tls_write(link->tls, data, size);
        return sent > 0 ? sent : tls_waits_for(link->tls, sent) ? 0 : -1;
    }
    ssize_t sent = send(link->fd, data, size, MSG_NOSIGNAL);
    return sent >= 0 ? sent : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

bool link_send(Link *link, const char *data, size_t size) {
    while (size > 0) {
        ssize_t sent = send_some(link, data, size);
        if (sent < 0) return false;
        if (sent == 0) poll(&(struct pollfd){.fd = link->fd, .events = POLLOUT}, 1, 100);
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

void link_open(Link *link, const Options *options) {
    link_start(link, options, 0);
    struct pollfd writable = {.fd = link->fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof error;
    if (poll(&writable, 1, 10000) != 1) fail("the server didn't accept a connection");
    getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) fail("can't connect: %s", strerror(error));
}
