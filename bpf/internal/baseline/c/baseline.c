/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * What the benchmarks compare with: a program that does nothing; one that does the
 * least with which a small message reaches user space at all; and one of the layout
 * that the existing peer-observer (Rust) has, with the four size classes and rings of
 * its messages and the kernel's own wake-ups. They read arguments with the same code
 * as the real program. Not for use: see c/tracer.c on what happens when two threads
 * hit on one CPU.
 */
#include "../../../c/kernel.h"
#include "../../../c/record.h"
#define PAGE_IN(dst, size, src) 1
#include "../../../c/argument.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

static void *(*bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, u64 flags) = (void *)132;

#define RING(name, size)                              \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_RINGBUF);   \
		__uint(max_entries, size);            \
	} name SEC(".maps")

RING(small, 512 << 10);
RING(medium, 8 << 20);
RING(large, 128 << 20);
RING(huge, 1 << 30);
RING(single, 32 << 20);

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_SITES);
	__type(key, u32);
	__type(value, struct site);
} sites SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratch);
} scratch SEC(".maps");

struct meta {
	u64 peer;
	char address[68];
	char connection[20];
	char type[12];
	u64 size;
};

#define CLASS(name, bytes)                                                                                \
	static noinline_always int record_##name(struct scratch *s, u32 n)                               \
	{                                                                                                 \
		struct {                                                                                  \
			struct meta meta;                                                                 \
			u8 payload[bytes];                                                                \
		} *r = bpf_ringbuf_reserve(&name, sizeof(*r), 0);                                         \
		u64 *args = (u64 *)s->body;                                                               \
                                                                                                          \
		if (!r)                                                                                   \
			return 1;                                                                         \
		r->meta.peer = args[0];                                                                   \
		bpf_probe_read_user_str(r->meta.address, sizeof(r->meta.address), (const void *)args[1]); \
		bpf_probe_read_user_str(r->meta.connection, sizeof(r->meta.connection), (const void *)args[2]); \
		bpf_probe_read_user_str(r->meta.type, sizeof(r->meta.type), (const void *)args[3]);       \
		r->meta.size = n;                                                                         \
		opaque(n);                                                                                \
		if (n <= bytes)                                                                           \
			bpf_probe_read_user(r->payload, n, (const void *)args[5]);                        \
		bpf_ringbuf_submit(r, 0);                                                                 \
		return 0;                                                                                 \
	}

CLASS(small, 256)
CLASS(medium, 4096)
CLASS(large, 65536)
CLASS(huge, 4194304)

SEC("uprobe.multi")
int nothing(struct registers *regs)
{
	return 0;
}

SEC("uprobe.multi.s")
int nothing_sleepable(struct registers *regs)
{
	return 0;
}

/* Messages of at most LEAST bytes: one record of constant size with the time, the
 * arguments, the three strings and the payload. No account of losses, no rules, no
 * whole addresses, and a page that isn't there is a payload lost. */
#define LEAST 256
#define WAKE_FILL (1 << 20)

SEC("uprobe.multi")
int least(struct registers *regs)
{
	u32 index = bpf_get_attach_cookie(regs), zero = 0;
	struct scratch *s = bpf_map_lookup_elem(&scratch, &zero);
	struct site *site = bpf_map_lookup_elem(&sites, &index);
	struct {
		u64 time;
		struct meta meta;
		u8 payload[LEAST];
	} *r;
	u64 *args, n;

	if (!s || !site)
		return 0;
	for (u32 i = 0; i < REGISTERS; i++)
		s->words[i] = regs->word[i];
	args = (u64 *)s->body;
	for (u32 i = 0; i < 6; i++)
		args[i] = argument(s, &site->args[i], i);
	r = bpf_ringbuf_reserve(&single, sizeof(*r), 0);
	if (!r)
		return 0;
	r->time = bpf_ktime_get_boot_ns();
	r->meta.peer = args[0];
	bpf_probe_read_user_str(r->meta.address, sizeof(r->meta.address), (const void *)args[1]);
	bpf_probe_read_user_str(r->meta.connection, sizeof(r->meta.connection), (const void *)args[2]);
	bpf_probe_read_user_str(r->meta.type, sizeof(r->meta.type), (const void *)args[3]);
	n = args[4];
	r->meta.size = n;
	opaque(n);
	if (n <= LEAST)
		bpf_probe_read_user(r->payload, n, (const void *)args[5]);
	bpf_ringbuf_submit(r, bpf_ringbuf_query(&single, BPF_RB_AVAIL_DATA) > WAKE_FILL ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("uprobe.multi")
int classes(struct registers *regs)
{
	u32 index = bpf_get_attach_cookie(regs), zero = 0;
	struct scratch *s = bpf_map_lookup_elem(&scratch, &zero);
	struct site *site = bpf_map_lookup_elem(&sites, &index);
	u64 n;

	if (!s || !site)
		return 0;
	for (u32 r = 0; r < REGISTERS; r++)
		s->words[r] = regs->word[r];
	for (u32 i = 0; i < 6; i++)
		((u64 *)s->body)[i] = argument(s, &site->args[i], i);
	n = ((u64 *)s->body)[4];
	if (n <= 256)
		return record_small(s, n);
	if (n <= 4096)
		return record_medium(s, n);
	if (n <= 65536)
		return record_large(s, n);
	return record_huge(s, n);
}
