/* SPDX-License-Identifier: Apache-2.0 */
/* Does the residency's thread still answer? Whoever asks leaves a message for it and looks how old the last one that
 * was not delivered is: nobody waits, and an idle thread is woken only as often as somebody asks. */
#include "residency/internal.h"

#include "util/clock.h"

static void heard_pulse(vgw_message *message)
{
	vgw_residency *residency = message->user;

	atomic_store(&residency->pulse_asked_ms, 0);
}

int64_t vgw_residency_get_silence_ms(vgw_residency *residency)
{
	int64_t now_ms = vgw_now_ms(), asked_ms = 0;

	/* Whoever sets it may post the message, and nobody else does until it was delivered. */
	if (!atomic_compare_exchange_strong(&residency->pulse_asked_ms, &asked_ms, now_ms))
		return now_ms - asked_ms;
	residency->pulse.user = residency;
	vgw_loop_post(residency->loop, &residency->pulse, heard_pulse);
	return 0;
}
