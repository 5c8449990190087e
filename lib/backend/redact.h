/* SPDX-License-Identifier: Apache-2.0 */
/* Takes secrets out of texts that people see: values of variables whose names say so, keys among the arguments. */
#ifndef VGW_BACKEND_REDACT_H
#define VGW_BACKEND_REDACT_H

#include "util/strings.h"

/* Collect the secrets of a command and an environment into `secrets`. False: no memory. */
bool vgw__redact_collect(struct vgw__strings *secrets, const struct vgw__strings *argv,
	const struct vgw__strings *env);
/* Is there a secret among the arguments, where every user of the machine can read it? */
bool vgw__redact_has_secret_argument(const struct vgw__strings *argv);

/* Make `line` fit for eyes: each secret becomes "[redacted]", control characters and broken UTF-8 become '?', what
 * does not fit is cut. `out` holds `size` > 0 bytes. */
void vgw__redact_line(char *out, size_t size, const char *line, size_t len, const struct vgw__strings *secrets);

#endif
