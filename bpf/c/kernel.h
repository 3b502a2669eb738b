/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/*
 * The part of the kernel's BPF interface that tracer.c uses, so that building it
 * needs a compiler and nothing else. Numbers are those of the kernel's
 * include/uapi/linux/bpf.h and never change.
 */
#pragma once

typedef unsigned char u8;
typedef signed char s8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int s32;
typedef unsigned long long u64;
typedef long long s64;

#define SEC(name) __attribute__((section(name), used))
#define inline_always inline __attribute__((always_inline))
#define noinline_always __attribute__((noinline))
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __ksym __attribute__((section(".ksyms")))
#define __weak __attribute__((weak))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Hides a value from the compiler, so that a bounds check right behind is kept
 * and done on the very register that is used: the verifier needs to see it. */
#define opaque(var) asm volatile("" : "+r"(var))

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_RINGBUF = 27,

	BPF_RB_NO_WAKEUP = 1,
	BPF_RB_FORCE_WAKEUP = 2,
	BPF_RB_AVAIL_DATA = 0,
};

struct bpf_dynptr {
	u64 opaque[2];
} __attribute__((aligned(8)));

struct bpf_pidns_info {
	u32 pid;
	u32 tgid;
};

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u32 (*bpf_get_smp_processor_id)(void) = (void *)8;
static u64 (*bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*bpf_probe_read_user)(void *dst, u32 size, const void *src) = (void *)112;
static long (*bpf_probe_read_user_str)(void *dst, u32 size, const void *src) = (void *)114;
static long (*bpf_get_ns_current_pid_tgid)(u64 dev, u64 ino, struct bpf_pidns_info *nsdata,
					   u32 size) = (void *)120;
static u64 (*bpf_ktime_get_boot_ns)(void) = (void *)125;
static u64 (*bpf_ringbuf_query)(void *ring, u64 flags) = (void *)134;
static long (*bpf_copy_from_user)(void *dst, u32 size, const void *src) = (void *)148;
static struct task_struct *(*bpf_get_current_task_btf)(void) = (void *)158;
static u64 (*bpf_get_attach_cookie)(void *ctx) = (void *)174;
static long (*bpf_loop)(u32 n, void *callback, void *ctx, u64 flags) = (void *)181;
static long (*bpf_ringbuf_reserve_dynptr)(void *ring, u32 size, u64 flags,
					  struct bpf_dynptr *ptr) = (void *)198;
static void (*bpf_ringbuf_submit_dynptr)(struct bpf_dynptr *ptr, u64 flags) = (void *)199;
static void (*bpf_ringbuf_discard_dynptr)(struct bpf_dynptr *ptr, u64 flags) = (void *)200;
static long (*bpf_dynptr_write)(const struct bpf_dynptr *dst, u32 offset, void *src, u32 len,
				u64 flags) = (void *)202;
static void *(*bpf_dynptr_data)(const struct bpf_dynptr *ptr, u32 offset, u32 len) = (void *)203;

/* Since Linux 6.16. The loader sets have_kfuncs only if both are there. */
extern int bpf_probe_read_user_dynptr(struct bpf_dynptr *dst, u32 off, u32 size,
				      const void *src) __ksym __weak;
extern int bpf_copy_from_user_dynptr(struct bpf_dynptr *dst, u32 off, u32 size,
				     const void *src) __ksym __weak;

/* Fields of the running thread, found at load time by the kernel's own type
 * information wherever they lie. */
struct sched_entity {
	u64 exec_start;
	u64 sum_exec_runtime;
} __attribute__((preserve_access_index));

struct task_struct {
	struct sched_entity se;
} __attribute__((preserve_access_index));

#define field_exists(f) __builtin_preserve_field_info(f, 2 /* BPF_FIELD_EXISTS */)

/* The registers of the traced thread: struct pt_regs on x86-64 and struct
 * user_pt_regs on arm64 are arrays of 64-bit words for this purpose. */
#if defined(__TARGET_ARCH_x86)
#define REGISTERS 21
#elif defined(__TARGET_ARCH_arm64)
#define REGISTERS 33 /* x0 to x30, sp, pc */
#else
#error "only x86-64 and arm64"
#endif

struct registers {
	u64 word[REGISTERS];
};
