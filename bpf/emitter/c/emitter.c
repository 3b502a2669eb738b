/* SPDX-License-Identifier: MIT */
/*
 * Fires Bitcoin Core's tracepoints on command: same names, argument types and
 * semaphores as Core has since v29, but no node behind them. For tests and
 * benchmarks. It reads commands from standard input, one a line, and answers each
 * with one line:
 *
 *	fire PROBE [key=value ...]
 *		-> done fired=N skipped=N cpu_ns=N wall_ns=N [sum over threads; wall: longest]
 *	semaphore PROBE		-> semaphore N
 *	wait PROBE		-> semaphore N, once it is not 0, or after ten seconds
 *	ping			-> pong
 *
 * A hit is skipped when the semaphore is 0, as in Core. Keys of fire:
 *
 *	count=1 threads=1 rate=0 (hits a second and thread; 0: as fast as can be)
 *	seed=1 size=0 hex=... file=... (the payload: random bytes, or those given)
 *	place=heap|anonymous|file|half|wild (where the payload lies; file and half
 *		map the file anew for each hit, half touches every second page)
 *	shape=register|memory|index|constant (of net:inbound_message's arguments)
 *	peer=0 address=... connection=... type=...
 *	reason=... (last: takes the rest of the line)
 *
 * The n-th hit of a thread has peer + n as its peer id, and n in the first eight
 * payload bytes if place is heap, the payload is random and has as many.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SDT_USE_VARIADIC 1
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

#define SEMAPHORE(provider, name) \
	__extension__ unsigned short provider##_##name##_semaphore __attribute__((section(".probes")))
#define PROBES(X)                          \
	X(net, inbound_message)            \
	X(net, outbound_message)           \
	X(net, inbound_connection)         \
	X(net, outbound_connection)        \
	X(net, closed_connection)          \
	X(net, evicted_inbound_connection) \
	X(net, misbehaving_connection)     \
	X(net, block_header)               \
	X(net, compact_block_reconstructed) \
	X(mempool, added)                  \
	X(mempool, removed)                \
	X(mempool, replaced)               \
	X(mempool, rejected)               \
	X(validation, block_connected)     \
	X(utxocache, flush)                \
	X(utxocache, add)                  \
	X(utxocache, spent)                \
	X(utxocache, uncache)

#define DEFINE(p, n) SEMAPHORE(p, n);
PROBES(DEFINE)

static const struct probe {
	const char *name;
	volatile unsigned short *semaphore;
} probes[] = {
#define ENTRY(p, n) {#p ":" #n, &p##_##n##_semaphore},
	PROBES(ENTRY)
};
#define NPROBES (sizeof(probes) / sizeof(probes[0]))

enum shape { REGISTER, MEMORY, INDEX, CONSTANT };
enum place { HEAP, ANONYMOUS, MAPPED, HALF, WILD };

struct job {
	size_t probe;
	uint64_t count, rate, seed, size;
	unsigned threads;
	enum shape shape;
	enum place place;
	int64_t peer;
	const char *address, *connection, *type, *reason;
	char *file;
	unsigned char *given; /* payload of hex= or file= */
	pthread_barrier_t start;
};

struct worker {
	pthread_t thread;
	struct job *job;
	unsigned char *payload;
	unsigned char hash[32], hash2[32];
	uint64_t fired, skipped, cpu_ns, wall_ns;
};

static uint64_t now(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The sequence that the tests make too: xorshift64*. */
static void fill(unsigned char *p, size_t n, uint64_t seed)
{
	uint64_t x = seed * 0x9E3779B97F4A7C15u + 1, w;
	size_t i;

	for (i = 0; i < n; i += 8) {
		x ^= x >> 12;
		x ^= x << 25;
		x ^= x >> 27;
		w = x * 0x2545F4914F6CDD1Du;
		memcpy(p + i, &w, n - i < 8 ? n - i : 8);
	}
}

/* Also keeps the compiler from specialising a function for its only caller. */
#define NOINLINE __attribute__((noipa))

/* One site for each way a compiler may pass arguments. */
static NOINLINE void message_register(int64_t peer, const char *address, const char *connection, const char *type,
				      uint64_t size, const unsigned char *payload)
{
	STAP_PROBEV(net, inbound_message, peer, address, connection, type, size, payload);
}

/* From here to the #undef the compiler must pass arguments in memory. */
#undef STAP_SDT_ARG_CONSTRAINT
#define STAP_SDT_ARG_CONSTRAINT m

static NOINLINE void message_memory(int64_t peer, const char *address, const char *connection, const char *type,
				    uint64_t size, const unsigned char *payload)
{
	volatile struct {
		int64_t peer;
		const char *address, *connection, *type;
		uint64_t size;
		const unsigned char *payload;
	} m = {peer, address, connection, type, size, payload};

	STAP_PROBEV(net, inbound_message, m.peer, m.address, m.connection, m.type, m.size, m.payload);
}

/* Base and index registers, and globals relative to the program counter. One
 * thread at a time: the globals are shared. */
volatile int64_t emitter_peer;
const unsigned char *volatile emitter_payload;

static NOINLINE void message_index(int64_t peer, const char *volatile *strings, unsigned long i, uint64_t size,
				   const unsigned char *payload)
{
	volatile uint64_t sizes[4];

	sizes[i] = size;
	emitter_peer = peer;
	emitter_payload = payload;
	STAP_PROBEV(net, inbound_message, emitter_peer, strings[i], strings[i + 1], strings[i + 2], sizes[i],
		    emitter_payload);
}

#undef STAP_SDT_ARG_CONSTRAINT
#if defined(__x86_64__) || defined(__aarch64__)
#define STAP_SDT_ARG_CONSTRAINT nor
#endif

static NOINLINE void message_constant(const char *address, const char *connection, const char *type,
				      const unsigned char *payload)
{
	STAP_PROBEV(net, inbound_message, (int64_t)-7, address, connection, type, (uint64_t)300, payload);
}

static NOINLINE void fire(struct worker *w, uint64_t n, unsigned char *payload)
{
	struct job *j = w->job;
	int64_t peer = j->peer + (int64_t)n;
	uint64_t size = j->size;
	const char *volatile strings[4] = {0, j->address, j->connection, j->type};

	switch (j->probe) {
	case 0:
		switch (j->shape) {
		case REGISTER:
			message_register(peer, j->address, j->connection, j->type, size, payload);
			break;
		case MEMORY:
			message_memory(peer, j->address, j->connection, j->type, size, payload);
			break;
		case INDEX:
			message_index(peer, strings, 1, size, payload);
			break;
		case CONSTANT:
			message_constant(j->address, j->connection, j->type, payload);
			break;
		}
		break;
	case 1:
		STAP_PROBEV(net, outbound_message, peer, j->address, j->connection, j->type, size, payload);
		break;
	case 2:
		STAP_PROBEV(net, inbound_connection, peer, j->address, j->connection, (uint32_t)3, size);
		break;
	case 3:
		STAP_PROBEV(net, outbound_connection, peer, j->address, j->connection, (uint32_t)3, size);
		break;
	case 4:
		STAP_PROBEV(net, closed_connection, peer, j->address, j->connection, (uint32_t)3, (int64_t)size);
		break;
	case 5:
		STAP_PROBEV(net, evicted_inbound_connection, peer, j->address, j->connection, (uint32_t)3,
			    (int64_t)size);
		break;
	case 6:
		STAP_PROBEV(net, misbehaving_connection, peer, j->reason);
		break;
	case 7:
		STAP_PROBEV(net, block_header, (int32_t)size, peer, (bool)(n & 1), w->hash);
		break;
	case 8:
		STAP_PROBEV(net, compact_block_reconstructed, peer, size, size + 1, size + 2, size + 3, size + 4,
			    w->hash);
		break;
	case 9:
		STAP_PROBEV(mempool, added, w->hash, (int32_t)size, peer);
		break;
	case 10:
		STAP_PROBEV(mempool, removed, w->hash, j->reason, (int32_t)size, peer, size + 1);
		break;
	case 11:
		STAP_PROBEV(mempool, replaced, w->hash, (int32_t)size, peer, size + 1, w->hash2, (int32_t)size + 2,
			    peer + 3, (bool)(n & 1));
		break;
	case 12:
		STAP_PROBEV(mempool, rejected, w->hash, j->reason);
		break;
	case 13:
		STAP_PROBEV(validation, block_connected, w->hash, (int32_t)size, size + 1, (int32_t)size + 2,
			    size + 3, peer);
		break;
	case 14:
		STAP_PROBEV(utxocache, flush, peer, (uint32_t)size, size + 1, size + 2, (bool)(n & 1));
		break;
	case 15:
		STAP_PROBEV(utxocache, add, w->hash, (uint32_t)size, (uint32_t)size + 1, peer, (bool)(n & 1));
		break;
	case 16:
		STAP_PROBEV(utxocache, spent, w->hash, (uint32_t)size, (uint32_t)size + 1, peer, (bool)(n & 1));
		break;
	case 17:
		STAP_PROBEV(utxocache, uncache, w->hash, (uint32_t)size, (uint32_t)size + 1, peer, (bool)(n & 1));
		break;
	}
}

/* Maps the payload's bytes at a place whose pages are not there yet. */
static unsigned char *map_cold(struct job *j)
{
	size_t page = sysconf(_SC_PAGESIZE), i;
	unsigned char *p;
	int fd;

	if (j->place == ANONYMOUS)
		return mmap(NULL, j->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	fd = open(j->file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return MAP_FAILED;
	p = mmap(NULL, j->size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (p != MAP_FAILED)
		madvise(p, j->size, MADV_RANDOM); /* no fault-around */
	if (p != MAP_FAILED && j->place == HALF)
		for (i = 0; i < j->size; i += 2 * page)
			(void)*(volatile unsigned char *)(p + i);
	return p;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct job *j = w->job;
	uint64_t n, cpu, wall;
	volatile unsigned short *semaphore = probes[j->probe].semaphore;

	pthread_barrier_wait(&j->start);
	cpu = now(CLOCK_THREAD_CPUTIME_ID);
	wall = now(CLOCK_MONOTONIC);
	for (n = 0; n < j->count; n++) {
		unsigned char *payload = w->payload;

		if (j->rate) {
			uint64_t due = wall + n * (1000000000 / j->rate);
			struct timespec t = {due / 1000000000, due % 1000000000};

			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
		}
		if (j->place == WILD)
			payload = (unsigned char *)16;
		else if (j->place != HEAP)
			payload = map_cold(j);
		else if (!j->given && j->size >= 8)
			memcpy(payload, &n, 8);
		if (payload == MAP_FAILED) {
			w->skipped++;
			continue;
		}
		if (*semaphore) {
			fire(w, n, payload);
			w->fired++;
		} else {
			w->skipped++;
		}
		if (j->place != HEAP && j->place != WILD)
			munmap(payload, j->size);
	}
	w->cpu_ns = now(CLOCK_THREAD_CPUTIME_ID) - cpu;
	w->wall_ns = now(CLOCK_MONOTONIC) - wall;
	return NULL;
}

static int run(struct job *j)
{
	struct worker *w = calloc(j->threads, sizeof(*w)), sum = {0};
	unsigned i;

	if (!w || pthread_barrier_init(&j->start, NULL, j->threads))
		return -1;
	for (i = 0; i < j->threads; i++) {
		w[i].job = j;
		fill(w[i].hash, 32, j->seed + 1);
		fill(w[i].hash2, 32, j->seed + 2);
		if (j->given) {
			w[i].payload = j->given;
		} else {
			w[i].payload = malloc(j->size + 8);
			if (!w[i].payload)
				return -1;
			fill(w[i].payload, j->size, j->seed);
		}
		if (pthread_create(&w[i].thread, NULL, work, &w[i]))
			return -1;
	}
	for (i = 0; i < j->threads; i++) {
		pthread_join(w[i].thread, NULL);
		sum.fired += w[i].fired;
		sum.skipped += w[i].skipped;
		sum.cpu_ns += w[i].cpu_ns;
		if (w[i].wall_ns > sum.wall_ns)
			sum.wall_ns = w[i].wall_ns;
		if (!j->given)
			free(w[i].payload);
	}
	pthread_barrier_destroy(&j->start);
	free(w);
	printf("done fired=%llu skipped=%llu cpu_ns=%llu wall_ns=%llu\n", (unsigned long long)sum.fired,
	       (unsigned long long)sum.skipped, (unsigned long long)sum.cpu_ns, (unsigned long long)sum.wall_ns);
	return 0;
}

static size_t find_probe(const char *name)
{
	size_t i;

	for (i = 0; name && i < NPROBES; i++)
		if (!strcmp(name, probes[i].name))
			break;
	return name ? i : NPROBES;
}

static int nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static int read_payload(struct job *j)
{
	int fd = open(j->file, O_RDONLY | O_CLOEXEC);
	struct stat st;
	size_t got = 0;

	if (fd < 0 || fstat(fd, &st))
		return -1;
	j->size = st.st_size;
	if (j->place == HEAP) {
		j->given = malloc(j->size + 1);
		while (j->given && got < j->size) {
			ssize_t n = read(fd, j->given + got, j->size - got);

			if (n <= 0)
				break;
			got += n;
		}
		if (got != j->size)
			return -1;
	}
	close(fd);
	return 0;
}

/* Parses one key=value. Returns nonzero if it is not understood. */
static int set(struct job *j, const char *key, char *value)
{
	static const char *const shapes[] = {"register", "memory", "index", "constant"};
	static const char *const places[] = {"heap", "anonymous", "file", "half", "wild"};
	size_t i, n;

	if (!strcmp(key, "count"))
		j->count = strtoull(value, NULL, 10);
	else if (!strcmp(key, "threads"))
		j->threads = strtoul(value, NULL, 10);
	else if (!strcmp(key, "rate"))
		j->rate = strtoull(value, NULL, 10);
	else if (!strcmp(key, "seed"))
		j->seed = strtoull(value, NULL, 10);
	else if (!strcmp(key, "size"))
		j->size = strtoull(value, NULL, 10);
	else if (!strcmp(key, "peer"))
		j->peer = strtoll(value, NULL, 10);
	else if (!strcmp(key, "address"))
		j->address = value;
	else if (!strcmp(key, "connection"))
		j->connection = value;
	else if (!strcmp(key, "type"))
		j->type = value;
	else if (!strcmp(key, "reason"))
		j->reason = value;
	else if (!strcmp(key, "file"))
		j->file = value;
	else if (!strcmp(key, "hex")) {
		n = strlen(value);
		j->given = malloc(n / 2 + 1);
		if (!j->given || n % 2)
			return -1;
		for (i = 0; i < n / 2; i++) {
			int hi = nibble(value[2 * i]), lo = nibble(value[2 * i + 1]);

			if (hi < 0 || lo < 0)
				return -1;
			j->given[i] = hi << 4 | lo;
		}
		j->size = n / 2;
	} else if (!strcmp(key, "shape")) {
		for (i = 0; i < 4 && strcmp(value, shapes[i]); i++)
			;
		j->shape = i;
		return i == 4;
	} else if (!strcmp(key, "place")) {
		for (i = 0; i < 5 && strcmp(value, places[i]); i++)
			;
		j->place = i;
		return i == 5;
	} else {
		return -1;
	}
	return 0;
}

static int command_fire(char *rest)
{
	struct job j = {.count = 1, .threads = 1, .seed = 1, .address = "192.0.2.1:8333",
			.connection = "inbound", .type = "ping", .reason = "reason"};
	char *word = strsep(&rest, " ");
	int err = 0;

	j.probe = find_probe(word);
	if (j.probe == NPROBES)
		return -1;
	while (rest && *rest) {
		if (!strncmp(rest, "reason=", 7)) {
			j.reason = rest + 7;
			break;
		}
		word = strsep(&rest, " ");
		char *value = strchr(word, '=');
		if (!value)
			return -1;
		*value++ = 0;
		if (set(&j, word, value))
			return -1;
	}
	if (!j.threads || j.threads > 1024)
		return -1;
	if (j.file)
		err = read_payload(&j);
	if (!err)
		err = run(&j);
	free(j.given);
	return err;
}

int main(void)
{
	char *line = NULL;
	size_t cap = 0;
	ssize_t n;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((n = getline(&line, &cap, stdin)) > 0) {
		char *rest = line, *word;
		size_t i;

		if (line[n - 1] == '\n')
			line[n - 1] = 0;
		word = strsep(&rest, " ");
		if (!strcmp(word, "ping")) {
			puts("pong");
		} else if (!strcmp(word, "fire") && rest) {
			if (command_fire(rest))
				puts("error: bad fire command");
		} else if (!strcmp(word, "semaphore") || !strcmp(word, "wait")) {
			i = find_probe(rest);
			if (i == NPROBES) {
				puts("error: no such probe");
				continue;
			}
			for (int tries = 0; *word == 'w' && !*probes[i].semaphore && tries < 10000; tries++)
				usleep(1000);
			printf("semaphore %u\n", *probes[i].semaphore);
		} else {
			puts("error: unknown command");
		}
	}
	free(line);
	return 0;
}
