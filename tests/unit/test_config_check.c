/* SPDX-License-Identifier: Apache-2.0 */
/* Keys that contradict each other: each message names both places. */
#include "config_testing.h"

#define STATIC "backend: {kind: static, urls: [http://h]}"

static void names_are_unique_over_models_and_aliases(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "models:\n  a: {" STATIC ", aliases: [x, b]}\n  b: {" STATIC ", aliases: [x]}\n",
			"c.yaml:3:3: models.b: 'b' is already the name or an alias of models.a.aliases[1] "
			"(c.yaml:2:63)\n"
			"c.yaml:3:60: models.b.aliases[0]: 'x' is already the name or an alias of "
			"models.a.aliases[0] "
			"(c.yaml:2:60)" },
		{ "models:\n  a: {" STATIC ", aliases: [a]}\n",
			"c.yaml:2:60: models.a.aliases[0]: 'a' is already the name or an alias of models.a "
			"(c.yaml:2:3)" },
		{ "models:\n  a: {" STATIC ", aliases: ['*', 'x*y', 'x**', 'x*']}\n",
			"c.yaml:2:60: models.a.aliases[0]: '*' matches every name; set default_model "
			"instead\n"
			"c.yaml:2:65: models.a.aliases[1]: 'x*y' is no pattern: one * at the end matches "
			"every name that "
			"begins so\n"
			"c.yaml:2:72: models.a.aliases[2]: 'x**' is no pattern: one * at the end matches "
			"every name that "
			"begins so" },
		{ "models:\n  a: {backend: {kind: static, urls: [http://h, http://i, http://h]}}\n",
			"c.yaml:2:58: models.a.backend.urls[2]: 'http://h' is already the URL of "
			"models.a.backend.urls[0] "
			"(c.yaml:2:38)" },
		{ "models:\n  a: {" STATIC ", adapters: {b: {path: /p, aliases: [x]}}}\n  b: {" STATIC ", aliases: [x]}\n",
			"c.yaml:3:3: models.b: 'b' is already the name or an alias of models.a.adapters.b (c.yaml:2:61)\n"
			"c.yaml:3:60: models.b.aliases[0]: 'x' is already the name or an alias of "
			"models.a.adapters.b.aliases[0] (c.yaml:2:85)" },
		{ "models:\n  a: {" STATIC ", adapters: {'b c': {path: /p}, d: {path: ''}, e: {}, f: /p}}\n",
			"c.yaml:2:61: models.a.adapters.b c: the name has a space, quote, backslash or control "
			"character in it\n"
			"c.yaml:2:83: models.a.adapters.d.path: is empty; write where the engine finds the adapter\n"
			"c.yaml:2:95: models.a.adapters.e: key 'path' is missing; it is text\n"
			"c.yaml:2:105: models.a.adapters.f: expected a mapping with at least the key 'path'" },
	};

	(void)state;
	config_check_mistakes(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

static void references_name_models_that_exist(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "default_model: smal\nresidency: {preload: [small, larg]}\n"
		  "models:\n  small: {" STATIC "}\n  large: {" STATIC ", fallback: {model: smalll}}\n",
			"c.yaml:1:16: default_model: there is no model 'smal'; did you mean 'small'?\n"
			"c.yaml:2:30: residency.preload[1]: there is no model 'larg'; did you mean 'large'?\n"
			"c.yaml:5:72: models.large.fallback.model: there is no model 'smalll'; did you mean "
			"'small'?" },
		{ "models:\n  a: {" STATIC ", fallback: {model: a}}\n",
			"c.yaml:2:68: models.a.fallback.model: a model cannot fall back to itself" },
		{ "models:\n  a: {" STATIC ", aliases: [x], fallback: {model: b}}\n"
		  "  b: {" STATIC ", fallback: {model: x}}\n",
			"c.yaml:2:82: models.a.fallback.model: this chain of fallbacks comes back to 'a'\n"
			"c.yaml:3:68: models.b.fallback.model: this chain of fallbacks comes back to 'b'" },
		{ "trusted_proxies: [127.0.0.1, unix, 10.0.0.1/8]\nmodels: {a: {" STATIC "}}\n",
			"c.yaml:1:18: trusted_proxies: '10.0.0.1/8' is not an address (127.0.0.1), a network (10.0.0.0/8, "
			"without bits behind it) or unix" },
	};
	struct config *config =
		config_load_good("default_model: tiny\nmodels:\n  a: {" STATIC ", aliases: [tiny]}\n", NULL);

	(void)state;
	config_free(config);
	config_check_mistakes(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

static void bounds_hold_each_other(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "timeouts: {first_byte: 20m, total: 10m}\n" CONFIG_MODEL,
			"c.yaml:1:36: timeouts.total: 10m is less than timeouts.first_byte, which is 20m "
			"(c.yaml:1:24); "
			"raise this or lower that" },
		{ "timeouts: {first_byte: 2h}\n" CONFIG_MODEL, "c.yaml:1:24: timeouts.first_byte: 2h is more "
							       "than timeouts.total, which is 1h (default); "
							       "lower this or raise that" },
		{ "timeouts: {total: 10m}\n" CONFIG_MODEL, "c.yaml:1:19: timeouts.total: 10m is less than "
							   "timeouts.first_byte, which is 20m (default); "
							   "raise this or lower that" },
		{ "limits: {body: 1GiB}\n" CONFIG_MODEL, "c.yaml:1:16: limits.body: 1GiB is more than "
							 "limits.queue.bytes, which is 512MiB (default); "
							 "lower this or raise that" },
		{ "residency: {min_resident: 1h, idle_ttl: {sleep: 10m, stop: 5m}}\n" CONFIG_MODEL,
			"c.yaml:1:27: residency.min_resident: 1h is more than residency.max_wait, which is "
			"20m (default); "
			"lower this or raise that\n"
			"c.yaml:1:60: residency.idle_ttl.stop: 5m is less than residency.idle_ttl.sleep, "
			"which is 10m "
			"(c.yaml:1:49); raise this or lower that" },
	};

	(void)state;
	config_check_mistakes(mistakes, sizeof(mistakes) / sizeof(mistakes[0]));
}

static void an_address_is_listened_on_once(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "listen: [127.0.0.1:1, 127.0.0.1:1]\nadmin: {listen: 127.0.0.1:1}\n" CONFIG_MODEL,
			"c.yaml:1:23: listen[1]: '127.0.0.1:1' is already listened on by listen[0] "
			"(c.yaml:1:10)\n"
			"c.yaml:2:17: admin.listen: '127.0.0.1:1' is already listened on by listen[1] "
			"(c.yaml:1:23)" },
	};

	(void)state;
	config_check_mistakes(mistakes, 1);
}

static void memory_fits_its_device(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "devices: {gpu0: {memory: 24GiB}}\nmodels:\n"
		  "  a: {" STATIC ", memory: {gpu0: 25GiB, gpu1: 1GiB, host: 1TiB}, devices: [gpu2]}\n",
			"c.yaml:3:65: models.a.memory: 25GiB do not fit on gpu0, which has 24GiB "
			"(c.yaml:1:17)\n"
			"c.yaml:3:78: models.a.memory: there is no device 'gpu1' under 'devices'\n"
			"c.yaml:3:107: models.a.devices: there is no device 'gpu2' under 'devices'" },
		{ "devices: {gpu0: {}, gpu1: {}, host: {}}\nmodels:\n"
		  "  a: {" STATIC ", tensor_parallel: 3, memory: {each: 1GiB}}\n"
		  "  b: {" STATIC ", tensor_parallel: 2, devices: [gpu1]}\n  c: {" STATIC ", tensor_parallel: 2}\n",
			"c.yaml:3:65: models.a.tensor_parallel: takes 3 devices, but there are only 2 it may run on\n"
			"c.yaml:4:65: models.b.tensor_parallel: takes 2 devices, but there is only 1 it may run on" },
	};

	(void)state;
	config_free(config_load_good(
		"models:\n  a: {" STATIC ", memory: {gpu7: 1GiB}, devices: [gpu7]}\n", NULL));
	config_free(config_load_good("devices: {host: {memory: 1GiB}}\n"
		"models:\n  a: {" STATIC ", devices: [gpu7], tensor_parallel: 1}\n", NULL));
	config_check_mistakes(mistakes, 1);
}

static void pinning_more_than_may_be_resident_is_a_warning(void **state)
{
	char *lines;
	struct config *config =
		config_load_text("models:\n  a: {backend: {kind: process, command: [x]}, pin: true}\n"
				 "  b: {backend: {kind: process, command: [x]}, pin: true}\n",
			NULL, &lines);

	(void)state;
	assert_non_null(config);
	assert_string_equal(lines, "warning: c.yaml:1:1: models: 2 are pinned, but only 1 may be resident "
				   "(residency.max_resident)");
	free(lines);
	config_free(config);
}

static void all_mistakes_are_reported_from_top_to_bottom(void **state)
{
	static const struct config_mistake mistakes[] = {
		{ "default_model: x\nworkers: many\nmodels:\n  a: {" STATIC ", pinn: true}\n",
			"c.yaml:1:16: default_model: there is no model 'x'\n"
			"c.yaml:2:10: workers: 'many' is not a whole number; write a whole number or auto\n"
			"c.yaml:4:50: models.a.pinn: unknown key; did you mean 'pin'?" },
	};

	(void)state;
	config_check_mistakes(mistakes, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_unique_over_models_and_aliases),
		cmocka_unit_test(references_name_models_that_exist),
		cmocka_unit_test(bounds_hold_each_other),
		cmocka_unit_test(an_address_is_listened_on_once),
		cmocka_unit_test(memory_fits_its_device),
		cmocka_unit_test(pinning_more_than_may_be_resident_is_a_warning),
		cmocka_unit_test(all_mistakes_are_reported_from_top_to_bottom),
	};

	return cmocka_run_group_tests_name("config_check", tests, NULL, NULL);
}
