/*
 * log: one event with fields, at the place that decided. Libraries return errors and never log; processes
 * and the glue of src/proc log. An event is one line on stderr, `key=value` for people or JSON for
 * programs, written with one write(2); bytes outside printable ASCII are escaped, so a peer cannot
 * forge a line.
 *
 *	log_info("delivery.deferred", K("host", mx), K("reply", text), K_NSEC("next_try", at));
 */
#pragma once

#include "base/id.h"
#include "base/str.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_form { LOG_TEXT, LOG_JSON };
enum log_kind { LOG_END, LOG_STR, LOG_INT, LOG_ID, LOG_SECONDS };

struct log_field {
	const char *key;
	enum log_kind kind;
	str text;
	int64_t number;
	msg_id id;
};

/* clang-format off */
#define K(name, value_str) { .key = (name), .kind = LOG_STR, .text = (value_str) }
#define K_Z(name, z) { .key = (name), .kind = LOG_STR, .text = str_of(z) }
#define K_INT(name, value) { .key = (name), .kind = LOG_INT, .number = (int64_t)(value) }
#define K_ID(name, value_id) { .key = (name), .kind = LOG_ID, .id = (value_id) }
/* A duration, shown in seconds with three decimals. */
#define K_NSEC(name, value) { .key = (name), .kind = LOG_SECONDS, .number = (value) }
/* A negative errno, shown as its text. */
#define K_ERR(value) { .key = "error", .kind = LOG_STR, .text = str_of(strerror(-(value))) }
/* clang-format on */

/* The process name on every line; levels below `least` are dropped. Call once, early. */
void log_open(const char *process, enum log_level least, enum log_form form);
void log_event(enum log_level level, const char *event, const struct log_field *fields);

#define LOG_AT_(level, event, ...)                                                                 \
	log_event(level, event, (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } })
#define log_debug(event, ...) LOG_AT_(LOG_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) LOG_AT_(LOG_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) LOG_AT_(LOG_WARN, event, __VA_ARGS__)
#define log_error(event, ...) LOG_AT_(LOG_ERROR, event, __VA_ARGS__)
