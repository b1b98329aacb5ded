/* As much of HTTP/1.1 (RFC 9112) and of WebSocket framing (RFC 6455, section 5) as a reader needs. */
#include "client.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t head_size(const char *text, size_t size) {
    const char *end = memmem(text, size, "\r\n\r\n", 4);
    return end == NULL ? 0 : (size_t)(end - text) + 4;
}

static const char *find_in_head(const char *head, size_t size, const char *lowercase) {
    size_t length = strlen(lowercase);
    for (size_t at = 0; at + length <= size; at++) {
        size_t same = 0;
        while (same < length && tolower((unsigned char)head[at + same]) == lowercase[same]) same++;
        if (same == length) return head + at;
    }
    return NULL;
}

bool head_says(const char *head, size_t size, const char *lowercase) {
    return find_in_head(head, size, lowercase) != NULL;
}

long head_number(const char *head, size_t size, const char *lowercase_name) {
    const char *found = find_in_head(head, size, lowercase_name);
    return found == NULL ? -1 : strtol(found + strlen(lowercase_name), NULL, 10);
}

/* One byte of the line with a chunk's size; extensions and the line's end are left out. */
static void size_byte(Chunks *chunks, char byte) {
    if (byte == '\n') {
        chunks->part = DATA;
        chunks->chunks += chunks->left > 0;
    } else if (isxdigit((unsigned char)byte)) {
        int digit = byte <= '9' ? byte - '0' : (byte | 0x20) - 'a' + 10;
        chunks->left = chunks->left * 16 + (uint64_t)digit;
    } else if (byte != '\r') {
        fail("a chunk's size with the byte %d", byte);
    }
}

size_t dechunk(Chunks *chunks, const char *data, size_t size, char *out) {
    size_t written = 0;
    for (size_t at = 0; at < size;) {
        if (chunks->part == SIZE_LINE) {
            size_byte(chunks, data[at++]);
        } else if (chunks->part == DATA_END) { /* the \r\n after a chunk's data */
            if (data[at++] == '\n') chunks->part = SIZE_LINE;
        } else {
            size_t piece = size - at;
            if (chunks->part == DATA && chunks->left < piece) piece = (size_t)chunks->left;
            memcpy(out + written, data + at, piece);
            written += piece;
            at += piece;
            if (chunks->part == RAW) continue;
            chunks->left -= piece;
            if (chunks->left == 0) chunks->part = DATA_END;
        }
    }
    return written;
}

size_t read_frame(const char *data, size_t size, Frame *frame) {
    const unsigned char *bytes = (const unsigned char *)data;
    if (size < 2) return 0;
    size_t length = bytes[1] & 0x7f, head = length == 126 ? 4 : length == 127 ? 10 : 2;
    if (size < head) return 0;
    if (head > 2) {
        length = 0;
        for (size_t at = 2; at < head; at++) length = length << 8 | bytes[at];
    }
    if (!(bytes[0] & 0x80)) fail("a fragmented message; none of the servers should send one");
    if (size - head < length) return 0;
    *frame = (Frame){bytes[0] & 0x0f, data + head, length};
    return head + length;
}

size_t write_frame(char *out, int opcode, const char *text, size_t size) {
    size_t head = 2;
    out[0] = (char)(0x80 | opcode);
    if (size < 126) {
        out[1] = (char)(0x80 | size);
    } else {
        out[1] = (char)(0x80 | 126);
        out[2] = (char)(size >> 8);
        out[3] = (char)size;
        head = 4;
    }
    memset(out + head, 0, 4); /* the masking key */
    memcpy(out + head + 4, text, size);
    return head + 4 + size;
}

size_t reading_request(char *out, size_t room, const Options *options, const char *path) {
    static const char UPGRADE[] = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
                                  "Sec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    bool offers = options->websocket && options->protocol[0];
    int size = snprintf(out, room, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s%s%s%s%s%s\r\n", path,
                        options->port,
                        options->websocket ? UPGRADE : "Accept: text/event-stream\r\n",
                        offers ? "Sec-WebSocket-Protocol: " : "", offers ? options->protocol : "",
                        offers ? "\r\n" : "", options->header, options->header[0] ? "\r\n" : "");
    if (size < 0 || (size_t)size >= room) fail("the request is too long");
    return (size_t)size;
}
