/* SPDX-License-Identifier: Apache-2.0 */
/* compat.aic_vllm_proxy stands for the two things that proxy consists of, and for where it listens. */
#include "compat_imply.h"

#include <string.h>

/* Its place is that of the key which stands for it. */
static void put_unless_given(struct config_arena *arena, struct node *root, const struct node *by, const char *path,
	const char *text)
{
	struct node *node = node_get_path(root, path) ? NULL : node_new(arena, NODE_SCALAR, &by->place);

	if (!node)
		return;
	node->is_literal = true;
	node->text = text;
	(void)node_put_path(arena, root, path, node);
}

void compat_imply(struct config_arena *arena, struct node *root)
{
	const struct node *by = node_get_path(root, "compat.aic_vllm_proxy");

	if (!by || by->kind != NODE_SCALAR || strcmp(by->text, "true") != 0)
		return;
	put_unless_given(arena, root, by, "allow_adhoc_models", "true");
	put_unless_given(arena, root, by, "passthrough", "true");
	put_unless_given(arena, root, by, "listen", "127.0.0.1:8224");
}
