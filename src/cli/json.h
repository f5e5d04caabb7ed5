/*
 * json: what --json prints. One document a command, two spaces of indentation, names in the order of the
 * manual; times are RFC 3339 in UTC with milliseconds, null for never. Bytes from mail that are not UTF-8 are
 * written as \xNN. Functions that make values give them to the caller (json_object_set_new takes them);
 * NULL, out of memory, makes the whole document fail when it is printed.
 */
#pragma once

#include "cli/client.h"

#include <jansson.h>

json_t *js_text(str text);
json_t *js_bytes(ProtobufCBinaryData bytes);
json_t *js_time(nsec at_wall);
json_t *js_id(ProtobufCBinaryData id);
json_t *js_number(uint64_t number);

json_t *js_message(const Locum__MessageRow *m);
json_t *js_event(const Locum__EventRow *e);
/* From a packed Envelope; null when it is none. */
json_t *js_envelope(ProtobufCBinaryData packed);

/* Prints and frees. CLI_OK, or CLI_NOTHING after saying why. */
int js_print(struct cli *cli, json_t *document);
void js_print_error(struct cli *cli, str text, int status);
int js_print_version(struct cli *cli, const char *version);
/* {"command": …, "count": …} */
int js_print_count(struct cli *cli, uint64_t count);
