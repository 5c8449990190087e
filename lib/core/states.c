/* SPDX-License-Identifier: Apache-2.0 */
/* Names of the lists in states.h. */
#include "core/states.h"

#include <stddef.h>

#define NAME_OF(table, index)                                                                                \
	((size_t)(index) < sizeof(table) / sizeof((table)[0]) ? (table)[(size_t)(index)] : "?")

const char *vgw__state_name(enum vgw__state state)
{
	static const char *const names[] = {
#define XX(name, text, meaning) [VGW__STATE_##name] = text,
		VGW__STATE_MAP(XX)
#undef XX
	};

	return NAME_OF(names, state);
}

const char *vgw__input_name(enum vgw__input input)
{
	static const char *const names[] = {
#define XX(name, text, meaning) [VGW__INPUT_##name] = text,
		VGW__INPUT_MAP(XX)
#undef XX
	};

	return NAME_OF(names, input);
}

const char *vgw__cause_name(enum vgw__cause cause)
{
	static const char *const names[] = {
#define XX(name, text) [VGW__CAUSE_##name] = text,
		VGW__CAUSE_MAP(XX)
#undef XX
	};

	return NAME_OF(names, cause);
}

const char *vgw__failure_name(enum vgw__failure failure)
{
	static const char *const names[] = {
#define XX(name, text) [VGW__FAILURE_##name] = text,
		VGW__FAILURE_MAP(XX)
#undef XX
	};

	return NAME_OF(names, failure);
}

const char *vgw__reason_name(enum vgw__reason reason)
{
	static const char *const names[] = {
#define XX(name, text, fault, sentence) [VGW__REASON_##name] = text,
		VGW__REASON_MAP(XX)
#undef XX
	};

	return NAME_OF(names, reason);
}

const char *vgw__reason_text(enum vgw__reason reason)
{
	static const char *const sentences[] = {
#define XX(name, text, fault, sentence) [VGW__REASON_##name] = sentence,
		VGW__REASON_MAP(XX)
#undef XX
	};

	return NAME_OF(sentences, reason);
}

vgw_fault vgw__reason_fault(enum vgw__reason reason)
{
	static const vgw_fault faults[] = {
#define XX(name, text, fault, sentence) [VGW__REASON_##name] = VGW_FAULT_##fault,
		VGW__REASON_MAP(XX)
#undef XX
	};

	return (size_t)reason < sizeof(faults) / sizeof(faults[0]) ? faults[(size_t)reason]
								   : VGW_FAULT_INTERNAL_ERROR;
}

const char *vgw__decision_name(enum vgw__decision_kind kind)
{
	static const char *const names[] = {
#define XX(name, text) [VGW__DECISION_##name] = text,
		VGW__DECISION_MAP(XX)
#undef XX
	};

	return NAME_OF(names, kind);
}
