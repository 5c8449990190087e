/* SPDX-License-Identifier: Apache-2.0 */
/* What the lines of an engine's log mean: why a start failed, and how far it has come. Substrings only, because the
 * texts belong to others and change; nothing depends on a match but a better answer. */
#ifndef VGW_BACKEND_CLASSIFY_H
#define VGW_BACKEND_CLASSIFY_H

#include <vllmgw/controller.h>

enum { VGW__LINE_MAX = 1024 };

/* What was learned so far; zero it at a start. Lines are kept raw, redact them before showing. */
struct vgw__classifier {
	vgw_failure failure;
	bool has_decisive;    /* a line of the table was seen */
	bool is_generic;      /* it only says that something failed; a better one replaces it */
	char decisive[VGW__LINE_MAX];
	char last[VGW__LINE_MAX]; /* the last line with something in it */
	int percent;              /* -1: not told */
	const char *progress;     /* a few constant words; NULL: none yet */
};

/* Take one line, without its end. True when the progress changed. */
bool vgw__classify_line(struct vgw__classifier *classifier, const char *line, size_t len);
/* The line to show with a failure: the decisive one, else the last. */
const char *vgw__classify_get_line(const struct vgw__classifier *classifier);

#endif
