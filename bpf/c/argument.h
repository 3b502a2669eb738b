/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* Reading a tracepoint's arguments by what its note says. */
#pragma once

#include "kernel.h"
#include "record.h"

/* How to read memory that may have to be fetched first: only programs that may
 * sleep can do it. */
#ifndef PAGE_IN
#define PAGE_IN bpf_copy_from_user
#endif

/* Loads an argument that is in memory. */
static noinline_always u64 load(struct scratch *s, u32 n, const void *src, u32 i)
{
	n &= 15;
	opaque(n);
	if (n > 8)
		n = 8;
	s->loaded = 0;
	if (bpf_probe_read_user(&s->loaded, n, src) && PAGE_IN(&s->loaded, n, src)) {
		s->header.fault |= 1 << (i & 7);
		s->loaded = 0;
	}
	return s->loaded;
}

static inline_always u64 argument(struct scratch *s, const struct arg *a, u32 i)
{
	u64 index = s->words[a->index & NO_REGISTER];
	u64 v;

	if (a->flags & ARG_INDEX_UXTW)
		index = (u32)index;
	else if (a->flags & ARG_INDEX_SXTW)
		index = (s64)(s32)index;
	v = s->words[a->base & NO_REGISTER] + (index << (a->scale & 3)) + a->disp;
	if (a->load)
		v = load(s, a->load, (const void *)v, i);
	v <<= a->lsh & 63;
	return a->flags & ARG_SIGNED ? (u64)((s64)v >> (a->rsh & 63)) : v >> (a->rsh & 63);
}

static inline_always u64 slot(u32 at, u32 len)
{
	return ((u64)len << 32) | at;
}

static inline_always void set_arg(struct scratch *s, u32 i, u64 v)
{
	*(u64 *)(s->body + (i & (MAX_ARGS - 1)) * 8) = v;
}

static inline_always u64 get_arg(struct scratch *s, u32 i)
{
	return *(u64 *)(s->body + (i & (MAX_ARGS - 1)) * 8);
}
