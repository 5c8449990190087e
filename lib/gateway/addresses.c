/* SPDX-License-Identifier: Apache-2.0 */
/* Requests of addresses, in a table of fixed size: however many addresses there are, memory stays what it is. An
 * address has 16 places it may be in. When others have them all, the one that owes least is forgotten: a flood of new
 * addresses costs those who have hardly asked yet, not those at their limit. Addresses are hashed with a secret, so
 * that nobody can choose whose places to take. */
#include "gateway/limits.h"
#include "util/alloc.h"
#include "util/clock.h"

#include <string.h>
#include <sys/random.h>

enum { SETS = 4096, WAYS = 16, LOCKS = 64 };

struct place {
	uint64_t tag; /* of the address; 0: free */
	struct vgw__gcra requests;
};

struct vgw__addresses {
	uint64_t limit;
	uint64_t secret[2];
	pthread_mutex_t locks[LOCKS]; /* set i is guarded by lock i % LOCKS */
	struct place sets[SETS][WAYS];
};

vgw_status vgw__addresses_new(struct vgw__addresses **out, uint64_t limit, vgw_error *err)
{
	struct vgw__addresses *addresses = vgw__alloc(sizeof(*addresses));

	*out = addresses;
	if (!addresses)
		return vgw_error_set(err, VGW_NOMEM, 0, "the table of addresses");
	addresses->limit = limit;
	for (size_t i = 0; i < LOCKS; i++)
		(void)pthread_mutex_init(&addresses->locks[i], NULL);
	if (getrandom(addresses->secret, sizeof(addresses->secret), GRND_NONBLOCK) !=
		(ssize_t)sizeof(addresses->secret))
		addresses->secret[0] = (uint64_t)vgw__now_ns(); /* early at boot */
	return VGW_OK;
}

void vgw__addresses_free(struct vgw__addresses *addresses)
{
	if (!addresses)
		return;
	for (size_t i = 0; i < LOCKS; i++)
		(void)pthread_mutex_destroy(&addresses->locks[i]);
	vgw__free(addresses);
}

static uint64_t rotate(uint64_t x, int bits)
{
	return x << bits | x >> (64 - bits);
}

struct sip {
	uint64_t a, b, c, d;
};

static void sip_round(struct sip *s)
{
	s->a += s->b;
	s->b = rotate(s->b, 13) ^ s->a;
	s->a = rotate(s->a, 32);
	s->c += s->d;
	s->d = rotate(s->d, 16) ^ s->c;
	s->a += s->d;
	s->d = rotate(s->d, 21) ^ s->a;
	s->c += s->b;
	s->b = rotate(s->b, 17) ^ s->c;
	s->c = rotate(s->c, 32);
}

/* SipHash-1-3. */
static uint64_t hash(const uint64_t secret[2], const char *text)
{
	struct sip s = { secret[0] ^ UINT64_C(0x736f6d6570736575), secret[1] ^ UINT64_C(0x646f72616e646f6d),
		secret[0] ^ UINT64_C(0x6c7967656e657261), secret[1] ^ UINT64_C(0x7465646279746573) };
	size_t len = strlen(text);
	uint64_t word;

	for (size_t at = 0; at <= len; at += 8) {
		size_t left = len - at < 8 ? len - at : 8;

		word = left < 8 ? (uint64_t)len << 56 : 0;
		for (size_t i = 0; i < left; i++)
			word |= (uint64_t)(unsigned char)text[at + i] << (8 * i);
		s.d ^= word;
		sip_round(&s);
		s.a ^= word;
	}
	s.c ^= 0xff;
	sip_round(&s);
	sip_round(&s);
	sip_round(&s);
	return s.a ^ s.b ^ s.c ^ s.d;
}

static struct place *find(struct place *set, uint64_t tag)
{
	struct place *least = &set[0];

	for (size_t i = 0; i < WAYS; i++) {
		if (set[i].tag == tag)
			return &set[i];
		if (set[i].requests.paid_at_ns < least->requests.paid_at_ns)
			least = &set[i];
	}
	*least = (struct place){ .tag = tag };
	return least;
}

int64_t vgw__addresses_take(struct vgw__addresses *addresses, const char *address, int64_t now_ns)
{
	uint64_t tag = hash(addresses->secret, address);
	size_t set = tag % SETS;
	pthread_mutex_t *lock = &addresses->locks[set % LOCKS];
	struct place *place;
	int64_t wait_ns;

	(void)pthread_mutex_lock(lock);
	place = find(addresses->sets[set], tag ? tag : 1);
	wait_ns = vgw__gcra_wait_ns(&place->requests, addresses->limit, 1, now_ns);
	if (!wait_ns)
		vgw__gcra_take(&place->requests, addresses->limit, 1, now_ns);
	(void)pthread_mutex_unlock(lock);
	return wait_ns;
}
