/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * One program for every tracepoint. The attach cookie is the index of the site
 * in the map sites, and the entry there says where the arguments lie and what
 * they are. A hit becomes one record of exact size in one ring buffer:
 *
 *	struct header | arguments, 8 bytes each | strings and hashes | pad to 8 | payload
 *
 * The slot of an integer argument holds its value, extended to 64 bits. The slot
 * of a string, hash or payload holds its offset from the start of the record in
 * the lower and its length in bytes in the upper 32 bits.
 *
 * Accounting: for each tracepoint on each CPU
 *	hits = records + filtered + lost_ring + lost_scratch
 * holds exactly once no hit is under way; hits of unknown sites and of processes
 * that are not wanted are counted apart and are no hits.
 *
 * No function may use more than 48 bytes of stack. From 64 on, kernels since 6.13
 * give a function of this program type one stack for each CPU, on the premise
 * that the program never runs twice at a time on a CPU. That holds for kprobes,
 * but a uprobe program is preempted by another thread's hit, or waits for a page
 * while others hit: two runs then share a stack, and the kernel crashes. So what
 * a hit needs to remember is in its scratch area, and functions that would need
 * more registers than there are have been split. A test checks the limit.
 */
#include "kernel.h"
#include "record.h"
#include "argument.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct counters {
	u64 hits;
	u64 records;
	u64 filtered;	    /* dropped by a rule */
	u64 lost_ring;	    /* no room in the ring, not even without the payload */
	u64 lost_scratch;   /* too many hits under way on one CPU */
	u64 shed;	    /* records without their payload, for lack of room */
	u64 truncated;	    /* records with a payload cut by a limit */
	u64 payload_fault;  /* records without their payload, which could not be read */
	u64 argument_fault; /* records with an unreadable argument */
	u64 string_cut;	    /* records with a cut string */
	u64 paged_in;	    /* payloads that needed a page fault */
	u64 foreign;	    /* not hits: processes that are not wanted */
	u64 unknown_site;   /* not hits: no such site */
	u64 wakeups;	    /* of the reader */
};

struct scratches {
	struct scratch entry[SCRATCHES];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* the loader sets it */
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MAX_SITES);
	__type(key, u32);
	__type(value, struct site);
} sites SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, MAX_TRACEPOINTS);
	__type(key, u32);
	__type(value, struct counters);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratches);
} scratch SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct rule_key);
	__type(value, struct rule);
} rules SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u32);
} processes SEC(".maps");

/* Set before loading. */
const volatile u32 have_kfuncs = 0; /* user-copy kfuncs of Linux 6.16 */
const volatile u64 wake_step = 4096; /* wake the reader whenever the fill crosses a multiple; power of two */
const volatile u64 pidns_dev = 0, pidns_ino = 0; /* report ids of this PID namespace; 0: the initial one */

/* Changed while running. */
struct settings {
	u32 filter_processes; /* look processes up */
	u32 have_rules;
	u32 limit[2]; /* bytes of payload to keep without a rule, by direction */
};
volatile struct settings config = {0, 0, {MAX_PAYLOAD, MAX_PAYLOAD}};

/* Programs may be preempted on their CPU by another hit: hence atomic. */
#define count(c, field) __sync_fetch_and_add(&(c)->field, 1)

/* A record that is being written. */
struct copy {
	struct bpf_dynptr ptr;
	struct scratch *s;
};

/* Copies the payload where the kernel lacks the kfuncs: slices of constant size,
 * the last one short. The record's room is rounded up to whole smallest slices. */
static inline_always long copy_slice(struct copy *c, u32 at, u32 size, u32 n)
{
	struct scratch *s = c->s;
	const u8 *src = s->src + at;
	void *dst = bpf_dynptr_data(&c->ptr, s->head + at, size);

	if (dst && !bpf_probe_read_user(dst, n, src))
		return 0;
	if (dst && !bpf_copy_from_user(dst, n, src)) {
		s->paged_in = 1;
		return 0;
	}
	s->failed = 1;
	return 1;
}

#define BIG (64 << 10)
#define MIDDLE (4 << 10)
#define SMALL 256

static long copy_big(u32 i, struct copy *c)
{
	return copy_slice(c, i * BIG, BIG, BIG);
}

static long copy_middle(u32 i, struct copy *c)
{
	return copy_slice(c, c->s->at + i * MIDDLE, MIDDLE, MIDDLE);
}

static long copy_small(u32 i, struct copy *c)
{
	return copy_slice(c, c->s->at + i * SMALL, SMALL, SMALL);
}

static noinline_always int copy_slices(struct copy *c)
{
	struct scratch *s = c->s;
	u32 whole;

	s->at = 0;
	whole = s->want / BIG;
	if (whole) {
		bpf_loop(whole, copy_big, c, 0);
		s->at += whole * BIG;
	}
	whole = (s->want % BIG) / MIDDLE;
	if (whole && !s->failed) {
		bpf_loop(whole, copy_middle, c, 0);
		s->at += whole * MIDDLE;
	}
	whole = (s->want % MIDDLE) / SMALL;
	if (whole && !s->failed) {
		bpf_loop(whole, copy_small, c, 0);
		s->at += whole * SMALL;
	}
	if (s->want % SMALL && !s->failed)
		copy_slice(c, s->at, SMALL, s->want % SMALL);
	return 0;
}

static inline_always void copy_payload(struct copy *c, struct scratch *s)
{
	if (!have_kfuncs) {
		copy_slices(c);
		return;
	}
	if (!bpf_probe_read_user_dynptr(&c->ptr, s->head, s->want, s->src))
		return;
	if (!bpf_copy_from_user_dynptr(&c->ptr, s->head, s->want, s->src))
		s->paged_in = 1;
	else
		s->failed = 1;
}

/* Reads a string of at most max bytes with its NUL. The first try never waits;
 * if it meets a page that is not there, its two possible pages are asked for. */
static inline_always long read_string(struct scratch *s, void *dst, u32 max, const u8 *src)
{
	long n = bpf_probe_read_user_str(dst, max, src);

	if (likely(n > 0))
		return n;
	bpf_copy_from_user(&s->touch, 1, src);
	bpf_copy_from_user(&s->touch, 1, src + max - 1);
	return bpf_probe_read_user_str(dst, max, src);
}

/* Fills the slots of all arguments with their values or addresses. */
static noinline_always int read_arguments(struct scratch *s, const struct site *site)
{
	for (u32 i = 0; i < MAX_ARGS; i++) {
		if (i >= site->nargs)
			break;
		set_arg(s, i, argument(s, &site->args[i], i));
	}
	s->used = MAX_ARGS * 8;
	return 0;
}

/* Reads the message type into the body and looks up its rule. Returns the number
 * of payload bytes to keep, or -1 to forget the message. */
static noinline_always s64 apply_rules(struct scratch *s, const struct site *site)
{
	u32 i = site->type_arg;
	struct rule *rule;
	long n;

	__builtin_memset(&s->key, 0, sizeof(s->key));
	s->key.direction = site->direction & 1;
	n = read_string(s, s->key.type, TYPE_SIZE, (const u8 *)get_arg(s, i));
	if (n <= 0 || n > TYPE_SIZE) {
		s->header.fault |= 1 << (i & 7);
		set_arg(s, i, 0);
		return config.limit[site->direction & 1];
	}
	if (n == TYPE_SIZE)
		s->header.cut |= 1 << (i & 7);
	/* As the first string, so that it need not be read again. */
	__builtin_memcpy(s->body + MAX_ARGS * 8, s->key.type, TYPE_SIZE);
	set_arg(s, i, slot(sizeof(struct header) + MAX_ARGS * 8, n - 1));
	s->used = MAX_ARGS * 8 + n;
	if (config.have_rules) {
		rule = bpf_map_lookup_elem(&rules, &s->key);
		if (rule)
			return rule->drop ? -1 : (s64)rule->limit;
	}
	return config.limit[site->direction & 1];
}

/* Reads a string or hash behind what is in the body already, and makes the slot
 * of its argument point there. */
static noinline_always int read_blob(struct scratch *s, const struct arg *a, u32 i)
{
	const u8 *src = (const u8 *)get_arg(s, i);
	u32 at = s->used, max;
	long n;

	opaque(at);
	if (at > MAX_HEAD_USED) /* the table of tracepoints rules it out */
		at = MAX_HEAD_USED;
	if (a->kind == KIND_HASH) {
		n = HASH_SIZE;
		if (bpf_probe_read_user(s->body + at, HASH_SIZE, src) &&
		    bpf_copy_from_user(s->body + at, HASH_SIZE, src))
			n = 0;
		set_arg(s, i, n ? slot(sizeof(struct header) + at, HASH_SIZE) : 0);
	} else {
		max = a->max;
		opaque(max);
		if (max < 1 || max > MAX_STRING)
			max = MAX_STRING;
		n = read_string(s, s->body + at, max, src);
		if (n > MAX_STRING)
			n = 0;
		if (n == max)
			s->header.cut |= 1 << (i & 7);
		set_arg(s, i, n > 0 ? slot(sizeof(struct header) + at, n - 1) : 0);
	}
	if (n > 0)
		s->used = at + n;
	else
		s->header.fault |= 1 << (i & 7);
	return 0;
}

static noinline_always int read_blobs(struct scratch *s, const struct site *site)
{
	for (u32 i = 0; i < MAX_ARGS; i++) {
		const struct arg *a = &site->args[i];

		if (i >= site->nargs)
			break;
		if ((a->kind == KIND_STRING || a->kind == KIND_HASH) && i != site->type_arg)
			read_blob(s, a, i);
	}
	return 0;
}

/* Decides how much of the payload to keep. */
static noinline_always int plan_payload(struct scratch *s, const struct site *site, struct counters *c, u32 limit)
{
	u64 size = get_arg(s, site->args[site->payload_arg & 7].size_arg);
	u32 want = size < MAX_PAYLOAD ? size : MAX_PAYLOAD;

	if (want > limit)
		want = limit;
	if (want < size) {
		s->header.flags |= RECORD_TRUNCATED;
		count(c, truncated);
	}
	s->want = want;
	s->room = have_kfuncs ? want : (want + SMALL - 1) & ~(SMALL - 1);
	s->src = (const u8 *)get_arg(s, site->payload_arg);
	return 0;
}

/* Completes the header and writes everything but the payload. */
static noinline_always int write_head(struct copy *copy, struct scratch *s, const struct site *site,
				      struct counters *c)
{
	u32 head = s->head;

	if (site->payload_arg != NO_ARG)
		set_arg(s, site->payload_arg, slot(head, s->want));
	if (s->header.fault) {
		s->header.flags |= RECORD_ARGUMENT_FAULT;
		count(c, argument_fault);
	}
	if (s->header.cut) {
		s->header.flags |= RECORD_STRING_CUT;
		count(c, string_cut);
	}
	opaque(head);
	if (head > sizeof(struct header) + BODY_SIZE)
		head = sizeof(struct header) + BODY_SIZE;
	return bpf_dynptr_write(&copy->ptr, 0, &s->header, head, 0);
}

/* Reserves room for the record without its payload, after something went wrong
 * with the record as it was: what happened is worth more than the bytes of it. */
static inline_always long reserve_head(struct copy *copy, struct scratch *s)
{
	bpf_ringbuf_discard_dynptr(&copy->ptr, BPF_RB_NO_WAKEUP);
	s->want = 0;
	s->room = 0;
	return bpf_ringbuf_reserve_dynptr(&ring, s->head, 0, &copy->ptr);
}

/* Never lets the kernel decide whether to wake the reader: it would only wake one
 * that had caught up, and a single record without a wake-up before can leave the
 * reader asleep for good. The reader looks by itself now and then, and is woken
 * when that might be too late. */
static inline_always u64 wakeup(struct scratch *s, struct counters *c, u64 fill)
{
	u64 after = fill + s->head + s->room;

	if (!((fill ^ after) & ~(wake_step - 1)))
		return BPF_RB_NO_WAKEUP;
	count(c, wakeups);
	return BPF_RB_FORCE_WAKEUP;
}

/* Writes the record of a hit into the ring. */
static noinline_always int publish(struct scratch *s, const struct site *site, struct counters *c)
{
	struct copy copy;
	u64 fill;

	copy.s = s;
	s->head = (sizeof(struct header) + s->used + 7) & ~7;
	fill = bpf_ringbuf_query(&ring, BPF_RB_AVAIL_DATA);
	if (bpf_ringbuf_reserve_dynptr(&ring, s->head + s->room, 0, &copy.ptr)) {
		if (s->want) {
			s->header.flags |= RECORD_SHED;
			count(c, shed);
		}
		if (reserve_head(&copy, s))
			goto lost;
	}
	if (s->want) {
		copy_payload(&copy, s);
		if (s->failed) {
			/* Its room holds what an older record left there. */
			s->header.flags |= RECORD_PAYLOAD_FAULT;
			count(c, payload_fault);
			if (reserve_head(&copy, s))
				goto lost;
		} else if (s->paged_in) {
			count(c, paged_in);
		}
	}
	write_head(&copy, s, site, c);
	bpf_ringbuf_submit_dynptr(&copy.ptr, wakeup(s, c, fill));
	count(c, records);
	return 0;
lost:
	bpf_ringbuf_discard_dynptr(&copy.ptr, BPF_RB_NO_WAKEUP);
	count(c, lost_ring);
	return 0;
}

/* Makes the record of a hit. */
static inline_always void record(struct scratch *s, const struct site *site, struct counters *c)
{
	s64 limit = MAX_PAYLOAD;

	s->want = 0;
	s->room = 0;
	s->failed = 0;
	s->paged_in = 0;
	read_arguments(s, site);
	if (site->type_arg != NO_ARG) {
		limit = apply_rules(s, site);
		if (limit < 0) {
			count(c, filtered);
			return;
		}
	}
	read_blobs(s, site);
	if (site->payload_arg != NO_ARG)
		plan_payload(s, site, c, limit);
	publish(s, site, c);
}

static noinline_always int fill_header(struct header *h, const struct site *site, u32 index, u64 id, u64 hit)
{
	struct task_struct *task = bpf_get_current_task_btf();

	h->hit = hit;
	h->tgid = id >> 32;
	h->tid = id;
	h->site = index;
	h->tracepoint = site->tracepoint;
	h->nargs = site->nargs;
	h->flags = 0;
	h->fault = 0;
	h->cut = 0;
	h->run_time = 0;
	h->run_start = 0;
	if (field_exists(task->se.sum_exec_runtime) && field_exists(task->se.exec_start)) {
		h->run_time = task->se.sum_exec_runtime;
		h->run_start = task->se.exec_start;
	}
	h->cpu = bpf_get_smp_processor_id();
	h->time = bpf_ktime_get_boot_ns();
	return 0;
}

/* Process and thread id, in the PID namespace that the loader asked for if the
 * thread is in it. */
static noinline_always u64 thread_id(void)
{
	u64 id = bpf_get_current_pid_tgid();
	struct bpf_pidns_info ns = {};

	if (pidns_ino && !bpf_get_ns_current_pid_tgid(pidns_dev, pidns_ino, &ns, sizeof(ns)))
		id = (u64)ns.tgid << 32 | ns.pid;
	return id;
}

static noinline_always int is_wanted(u32 tgid)
{
	return !config.filter_processes || bpf_map_lookup_elem(&processes, &tgid);
}

/* Takes a scratch area that no other hit uses. */
static noinline_always struct scratch *take_scratch(void)
{
	u32 zero = 0, i;
	struct scratches *all = bpf_map_lookup_elem(&scratch, &zero);

	if (!all)
		return 0;
	for (i = 0; i < SCRATCHES; i++)
		if (!__sync_val_compare_and_swap(&all->entry[i].busy, 0, 1))
			return &all->entry[i];
	return 0;
}

SEC("uprobe.multi.s")
int on_hit(struct registers *regs)
{
	u32 index = bpf_get_attach_cookie(regs), key;
	struct counters *c;
	struct scratch *s;
	struct site *site;
	u64 id;

	site = bpf_map_lookup_elem(&sites, &index);
	key = site && site->nargs && site->tracepoint < UNKNOWN_TRACEPOINT ? site->tracepoint : UNKNOWN_TRACEPOINT;
	c = bpf_map_lookup_elem(&counts, &key);
	if (!c)
		return 0;
	if (!site || key == UNKNOWN_TRACEPOINT) {
		count(c, unknown_site);
		return 0;
	}
	id = thread_id();
	if (!is_wanted(id >> 32)) {
		count(c, foreign);
		return 0;
	}
	s = take_scratch();
	if (!s) {
		count(c, hits);
		count(c, lost_scratch);
		return 0;
	}
	for (u32 r = 0; r < REGISTERS; r++)
		s->words[r] = regs->word[r];
	fill_header(&s->header, site, index, id, count(c, hits));
	record(s, site, c);
	__sync_lock_test_and_set(&s->busy, 0);
	return 0;
}
