/* SPDX-License-Identifier: MIT OR GPL-2.0 */
/* What the loader tells the program, what the program tells the reader, and what
 * a hit under way remembers. The Go side is generated from here. */
#pragma once

#include "kernel.h"

#define MAX_SITES 256
#define MAX_TRACEPOINTS 32
#define UNKNOWN_TRACEPOINT (MAX_TRACEPOINTS - 1)
#define MAX_ARGS 8
#define MAX_STRING 1024		   /* bytes of one string, with its NUL */
#define MAX_HEAD_USED 512	   /* bytes of the body before the last string */
#define BODY_SIZE (MAX_HEAD_USED + MAX_STRING)
#define TYPE_SIZE 24		   /* message type, with its NUL; Core documents at most 20 */
#define HASH_SIZE 32
#define MAX_PAYLOAD (4 << 20)	   /* above Core's limit of 4,000,000 bytes */
#define SCRATCHES 4		   /* hits under way on one CPU: preempted or waiting for a page */
#define NO_REGISTER 63		   /* a word of the register copy that stays 0 */
#define NO_ARG 255

enum kind { KIND_INTEGER, KIND_STRING, KIND_BYTES, KIND_HASH };

enum arg_flag { ARG_SIGNED = 1, ARG_INDEX_UXTW = 2, ARG_INDEX_SXTW = 4 };

enum record_flag {
	RECORD_TRUNCATED = 1,	   /* the payload was cut by a limit */
	RECORD_SHED = 2,	   /* the payload was left out because the ring was full */
	RECORD_PAYLOAD_FAULT = 4,  /* the payload could not be read and is left out */
	RECORD_ARGUMENT_FAULT = 8, /* an argument, string or hash could not be read */
	RECORD_STRING_CUT = 16,	   /* a string was longer than its limit */
};

/* Where one argument lies: load ? *(address) : (base << lsh) >> rsh with
 * address = base + (index << scale) + disp. */
struct arg {
	s64 disp;
	u8 base;  /* word of struct registers, or NO_REGISTER */
	u8 index; /* likewise */
	u8 scale;
	u8 flags;
	u8 load; /* bytes to load from the address; 0: the sum is the value */
	u8 lsh, rsh;
	u8 kind;
	u16 max;     /* of a string, bytes with its NUL */
	u8 size_arg; /* of a payload: the argument with its size */
	u8 pad[5];
};

struct site {
	u8 tracepoint;
	u8 nargs;
	u8 type_arg;	/* argument with the message type, or NO_ARG */
	u8 payload_arg; /* argument with the payload, or NO_ARG */
	u8 direction;	/* 0 inbound, 1 outbound: of messages */
	u8 pad[3];
	struct arg args[MAX_ARGS];
};

struct header {
	u64 time;	/* CLOCK_BOOTTIME, ns */
	u64 hit;	/* number of this hit among those of its tracepoint on its CPU, from 0 */
	u64 run_time;	/* CPU time of the thread when the scheduler last looked, ns; 0 if unknown */
	u64 run_start;	/* the scheduler's clock at that moment, ns; 0 if unknown */
	u32 tgid, tid;
	u16 cpu;
	u16 site;
	u8 tracepoint;
	u8 nargs;
	u8 flags;
	u8 fault;	/* bit i: argument i could not be read and is 0 or empty */
	u8 cut;		/* bit i: argument i is a string that was cut */
	u8 pad[7];
};

struct rule_key {
	u8 type[TYPE_SIZE];
	u32 direction;
	u32 pad;
};

struct rule {
	u32 limit; /* bytes of payload to keep */
	u32 drop;  /* count and forget */
};

/* What a hit under way remembers. */
struct scratch {
	u64 busy;
	u64 words[NO_REGISTER + 1]; /* registers of the thread; the rest is 0 */
	struct rule_key key;
	u64 loaded;    /* an argument from memory */
	const u8 *src; /* of the payload */
	u32 used;      /* bytes of the body */
	u32 want;      /* bytes of payload to copy */
	u32 room;      /* the same, rounded up if it is copied in slices */
	u32 head;      /* bytes of the record before the payload */
	u32 at;	       /* where a slice of the payload goes */
	u32 failed, paged_in;
	u8 touch;
	struct header header;
	u8 body[BODY_SIZE];
};
